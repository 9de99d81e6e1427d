"""Tests of verify.py: stores and bundles made from the format document, attacks on
them, and random changes. Run: python3 -m unittest evidence/bundle/verify_test.py
"""

import contextlib
import copy
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("verify", HERE / "verify.py")
verify = importlib.util.module_from_spec(spec)
sys.modules["verify"] = verify
spec.loader.exec_module(verify)

T0 = verify.nanoseconds("2026-03-01T12:00:00Z")
SECOND = 10**9
CHANGES = int(os.environ.get("CHANGES", "20"))  # random changes of each kind; 250 is a good evening
ISSUER = "https://idp"


def at(seconds):
    """A time so many seconds after T0, as text."""
    ns = T0 + int(seconds * SECOND)
    base = verify.datetime.datetime.fromtimestamp(ns // SECOND, verify.datetime.timezone.utc)
    return base.strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % SECOND:09d}".rstrip("0").rstrip(".") + "Z"


def base36(n, digits):
    out = ""
    for _ in range(digits):
        n, d = divmod(n, 36)
        out = "0123456789abcdefghijklmnopqrstuvwxyz"[d] + out
    return out


def base32hex(data):
    n, out = int.from_bytes(data, "big"), ""
    for _ in range(len(data) * 8 // 5):
        n, d = divmod(n, 32)
        out = "0123456789abcdefghijklmnopqrstuv"[d] + out
    return out


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Signer:
    """Ed25519 signing: RFC 8032 section 5.1.6."""

    def __init__(self, name, seed):
        self.name = name
        h = hashlib.sha512(hashlib.sha256(seed.encode()).digest()).digest()
        self.scalar = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix = h[32:]
        self.public = verify.point_encode(verify.base_multiples().times(self.scalar))
        key = b"\x01" + self.public
        self.hash = verify.sha256(name.encode() + b"\n" + key)[:4]
        self.line = f"{name}+{self.hash.hex()}+{verify.base64_text(key)}"

    def sign(self, message):
        r = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % verify.L
        point = verify.point_encode(verify.base_multiples().times(r))
        k = int.from_bytes(hashlib.sha512(point + self.public + message).digest(), "little") % verify.L
        return point + ((r + k * self.scalar) % verify.L).to_bytes(32, "little")

    def note(self, text):
        return text + b"\n\xe2\x80\x94 " + f"{self.name} {verify.base64_text(self.hash + self.sign(text))}\n".encode()


class Batch:
    """The records of one segment."""

    def __init__(self, records, time, durable):
        self.records, self.time, self.durable = records, time, durable


class Writer:
    """A writer's log, made as the format says."""

    def __init__(self, instance, signer, start, heartbeat_ms=60000):
        self.instance, self.signer, self.start = instance, signer, start
        tail = base32hex(hashlib.sha256(f"{instance}{start}".encode()).digest()[:5])
        self.name = f"{instance}-{base36((T0 + start * SECOND) // 10**6, 9)}-{tail}"
        self.heartbeat_ms = heartbeat_ms
        self.predecessors = []
        self.batches = []
        self.sequence = 0
        self.queries = 0
        self.rendered = []  # (object, note) by segment

    def announcement(self):
        values = {"writer": self.name, "instance": self.instance, "key": self.signer.line, "started": at(self.start),
                  "gateway_version": "test", "config_digest": "abc", "heartbeat_ms": self.heartbeat_ms}
        if self.predecessors:
            values["predecessors"] = self.predecessors
        return self.signer.note(verify.WRITER_MAGIC + compact(values) + b"\n")

    def query_id(self, seconds):
        self.queries += 1
        ms = (T0 + int(seconds * SECOND)) // 10**6
        data = ms.to_bytes(6, "big") + verify.sha256(self.name.encode())[:4] + hashlib.sha256(f"{self.name}{self.queries}".encode()).digest()[:10]
        return "q_" + base32hex(data)

    def record(self, seconds, type_, body=None, **fields):
        """A record at a time: its entry without the body's digest, and its body."""
        entry = {"id": f"{self.name}.{self.sequence}", "writer": self.name, "sequence": self.sequence, "time": at(seconds), "type": type_}
        entry.update(fields)
        self.sequence += 1
        return entry, b"" if body is None else compact({"salt": f"s{self.sequence}", **body})

    def write(self, seconds, *records, durable=None):
        """Writes a segment."""
        self.batches.append(Batch(list(records), at(seconds), len(self.batches) if durable is None else durable))
        self.rendered = self.render(self.batches, self.rendered)

    def say(self, seconds, type_, body=None, durable=None, **fields):
        self.write(seconds, self.record(seconds, type_, body, **fields), durable=durable)

    def render(self, batches, done=(), signer=None, tree=None):
        """Objects and notes of batches; `done` are those of the first of them."""
        out, signer = list(done), signer or self.signer
        self.tree = [] if not done else self.tree
        size = sum(len(b.records) for b in batches[: len(out)])
        for n, batch in list(enumerate(batches))[len(out) :]:
            header = {"writer": self.name, "segment": n, "first": size, "count": len(batch.records), "durable": batch.durable, "time": batch.time}
            if n:
                header["previous"] = verify.base64_text(verify.sha256(out[n - 1][1]))
            if self.tree:
                header["subtrees"] = [verify.base64_text(s) for s in self.tree]
            entries = []
            for entry, body in batch.records:
                line = dict(entry, body=verify.base64_text(verify.sha256(body))) if body else entry
                entries.append((compact(line), body))
            line = compact(header)
            self.tree = verify.add_leaves(self.tree, size, [e for e, _ in entries])
            size += len(entries)
            text = f"{signer.name}/{self.name}\n{size}\n{verify.base64_text(verify.fold(self.tree))}\n{verify.base64_text(verify.sha256(line))}\n"
            note = signer.note(text.encode())
            out.append((verify.SEGMENT_MAGIC + line + b"\n" + b"".join(e + b"\n" + b + b"\n" for e, b in entries) + note, note))
        return out

    def checkpoint(self, segments=None):
        return self.rendered[(segments or len(self.rendered)) - 1][1].decode()

    def key(self, n):
        return f"evidence/{self.name}/segments/{n:016d}"

    @property
    def announcement_key(self):
        return f"evidence/writers/{self.name}"


def actor(subject, **more):
    return {"subject": subject, "issuer": ISSUER, **more}


def intent_of(writer, seconds, query, subject, **fields):
    return writer.record(seconds, "query.intent", {"statement": {"normalized": "SELECT ssn"}, "sealed": "QUFB"}, query_id=query,
                         session_id="s-" + subject, connection="clinic", actor=actor(subject), relations=["public.patients"],
                         patients=["p_" + subject], **{"effect": "allow", **fields})


def outcome_of(writer, seconds, query, subject, **fields):
    return writer.record(seconds, "query.outcome", {"result": {"rows": [["[redacted]"]]}}, query_id=query, session_id="s-" + subject,
                         connection="clinic", actor=actor(subject), **{"effect": "allow", "status": "succeeded", **fields})


def observation(writer):
    return {"writer": writer.name, "announcement": verify.base64_text(verify.sha256(writer.announcement())), "checkpoint": writer.checkpoint()}


class World:
    """Two gateways' recordings: a writer that closed (closed), one that died and left
    segments behind a gap (died), one that closed later (last), and one of another
    gateway that is running (other); and one that has just been announced (young)."""

    def __init__(self):
        one, two, three = Signer("gw-1", "one"), Signer("gw-2", "two"), Signer("gw-3", "three")
        self.keys = "# keys\n\n" + "".join(s.line + "\n" for s in (one, two, three))
        self.closed, self.died, self.last = Writer("gw-1", one, 0), Writer("gw-1", one, 60), Writer("gw-1", one, 120)
        self.other, self.young = Writer("gw-2", two, 121), Writer("gw-3-x", three, 190)
        self.writers = [self.closed, self.died, self.last, self.other, self.young]
        self.dropped, self.links = set(), set()
        self.record_early()
        self.record_late()
        self.objects = self.store()

    def simple_query(self, writer, seconds, subject, **fields):
        query = writer.query_id(seconds)
        writer.write(seconds, intent_of(writer, seconds, query, subject, **fields))
        writer.write(seconds + 1, outcome_of(writer, seconds + 1, query, subject))
        return query

    def record_early(self):
        closed, died = self.closed, self.died
        closed.say(0, "writer.started")
        self.simple_query(closed, 1, "alice")
        closed.say(50, "writer.closed")
        died.predecessors = [{"writer": closed.name, "segments": 4, "checkpoint": closed.checkpoint(), "closed": True}]
        died.say(60, "writer.started")
        died.say(61, "writer.heartbeat")
        died.say(62, "auth.failed")  # never stored
        died.say(63, "auth.failed", durable=2)
        died.write(64, intent_of(died, 64, died.query_id(64), "alice"), durable=2)
        self.dropped = {died.key(2)}
        stranded = [{"segment": n, "sha256": hashlib.sha256(died.rendered[n][0]).hexdigest()} for n in (3, 4)]
        self.last.predecessors = [{"writer": died.name, "segments": 2, "checkpoint": died.checkpoint(2), "stranded": stranded}]

    def record_late(self):
        last, other = self.last, self.other
        last.say(120, "writer.started")
        other.write(121, other.record(121, "writer.started"), other.record(121, "config.loaded", {"data": {"config": "x"}}))
        self.simple_query(last, 122, "alice")
        self.simple_query(other, 123, "bob")
        other.say(125, "writer.observed", observed=[observation(last)])
        self.approved = query = last.query_id(126)
        last.say(126, "approval.requested", {}, query_id=query, actor=actor("alice"), effect="approve", status="pending_approval", connection="clinic")
        other.say(127, "approval.decided", {"approval": {}}, query_id=query, actor=actor("carol"), effect="approve", connection="clinic")
        self.links.add(f"evidence/links/{query}/{other.name}.{len(other.rendered) - 1:016d}")
        approved = {"effect": "approve", "approvers": [ISSUER + "#carol"]}
        last.write(128, intent_of(last, 128, query, "alice", **approved))
        last.write(129, outcome_of(last, 129, query, "alice", **approved))
        last.say(130, "writer.observed", observed=[observation(other)])
        several = [last.query_id(131) for _ in range(3)]
        last.write(131, *(intent_of(last, 131, q, "dave") for q in several))
        last.write(132, *(outcome_of(last, 132, q, "dave") for q in several))
        other.say(140, "writer.observed", observed=[observation(last)])
        last.say(150, "writer.heartbeat")
        self.simple_query(last, 151, "alice")
        last.say(160, "writer.closed")
        self.simple_query(other, 161, "bob")
        other.say(170, "writer.heartbeat")

    def store(self):
        """The objects of a copy, made 200 s after the first start."""
        objects = {}
        for w in self.writers:
            objects[w.announcement_key] = w.announcement()
            objects.update((w.key(n), o) for n, (o, _) in enumerate(w.rendered) if w.key(n) not in self.dropped)
        objects.update((k, verify.LINK_MAGIC + k.encode() + b"\n") for k in self.links)
        objects["fetched.json"] = self.fetched()
        return objects

    def fetched(self, **changes):
        checkpoints = {w.name: w.checkpoint(2 if w is self.died else None) for w in self.writers if w.rendered}
        return compact({"format": "chaperone-evidence-fetch/v1", "time": at(200), "checkpoints": checkpoints, "anomalies": {}, **changes})

    def forged(self, writer, from_, change, signer=None):
        """The objects of a log that was made again from a segment on, by somebody who
        has its key (or another); change gets each entry and may change it."""
        batches = copy.deepcopy(writer.batches)
        for batch in batches[from_:]:
            batch.records = [(change(dict(e)), b) for e, b in batch.records]
        done = writer.render(batches[:from_])
        out = writer.render(batches, done, signer)
        return {writer.key(n): out[n][0] for n in range(from_, len(out)) if writer.key(n) not in self.dropped}


def matches(filter_, entry):
    """The filter of the tests' bundles: a principal's subject, or an effect."""
    return all(entry.get("actor", {}).get("subject") == v if n == "principal" else entry.get(n) == v for n, v in filter_.items())


class Plan:
    """What a bundle of a world is to hold."""

    def __init__(self, world, since=-1, until=199, created=200, filter_=None, spans=None, signer=None, proofs=()):
        self.world, self.since, self.until, self.created = world, since, until, created
        self.filter, self.signer, self.proofs = filter_ or {}, signer, proofs
        self.spans = {w: (0, 2 if w is world.died else len(w.batches)) for w in world.writers if w.batches}
        self.spans.update(spans or {})

    def records(self):
        """The records of the spans: writer, segment, entry."""
        for w, (start, to) in self.spans.items():
            for n in range(start, to):
                for entry, _ in w.batches[n].records:
                    yield w, n, entry

    def chosen(self):
        since, until = (T0 + int(s * SECOND) for s in (self.since, self.until))
        inside = [e for _, _, e in self.records() if since <= verify.nanoseconds(e["time"]) < until]
        queries = {e.get("query_id") for e in inside if matches(self.filter, e)} - {None}
        return [e for e in inside if matches(self.filter, e) or e.get("query_id") in queries]

    def files(self):
        files, runs, chosen = {"keys": self.world.keys.encode(), "report.html": b"<p>report\n"}, {}, self.chosen()
        ids = {e["id"] for e in chosen}
        for w in self.world.writers:
            files[w.announcement_key] = w.announcement()
        for w, (start, to) in self.spans.items():
            sizes = [sum(len(b.records) for b in w.batches[:n]) for n in (start, to)]
            runs[w.name] = {"from": start, "to": to, "first": sizes[0], "size": sizes[1]}
            files[f"evidence/runs/{w.name}"] = b"".join(self.segment(w, n, ids) for n in range(start, to))
        for w in self.proofs:
            files[f"evidence/proofs/{w.name}"] = compact(proof_of(w, runs[w.name]["size"]))
        self.manifest = {"since": at(self.since), "until": at(self.until), "created": at(self.created), "maker": "a test", "runs": runs,
                         "records": len(chosen), "queries": sum(e["type"] == "query.intent" for e in chosen)}
        if self.filter:
            self.manifest["filter"] = self.filter
        return relist(files, self.manifest, self.signer)

    def segment(self, w, n, ids):
        """A segment's bytes, without the bodies of records that the filter drops."""
        object_, records = w.rendered[n][0], w.batches[n].records
        if not self.filter:
            return object_
        lines = object_.split(b"\n")
        for i, (entry, body) in enumerate(records):
            if body and entry["id"] not in ids:
                lines[3 + 2 * i] = b"-"
        return b"\n".join(lines)


def relist(files, manifest, signer=None):
    """The files with a manifest that lists them."""
    files = {n: b for n, b in files.items() if n != "manifest"}
    listed = {n: {"sha256": hashlib.sha256(b).hexdigest(), "size": len(b)} for n, b in files.items()}
    text = verify.BUNDLE_MAGIC + compact({**manifest, "files": listed}) + b"\n"
    return {**files, "manifest": signer.note(text) if signer else text}


def tree_root(leaves):
    """RFC 6962 section 2.1, as it is defined."""
    if len(leaves) == 1:
        return verify.sha256(b"\0" + leaves[0])
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return verify.node_hash(tree_root(leaves[:k]), tree_root(leaves[k:]))


def consistency(m, leaves, whole=True):
    """RFC 6962 section 2.1.2, as it is defined."""
    if m == len(leaves):
        return [] if whole else [tree_root(leaves)]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m <= k:
        return consistency(m, leaves[:k], whole) + [tree_root(leaves[k:])]
    return consistency(m - k, leaves[k:], False) + [tree_root(leaves[:k])]


def proof_of(writer, size):
    leaves = []
    for object_, _ in writer.rendered:
        lines = object_.split(b"\n")
        leaves += lines[2 : 2 + 2 * json.loads(lines[1])["count"] : 2]
    return {"size": size, "checkpoint": writer.checkpoint(), "proof": [verify.base64_text(h) for h in consistency(size, leaves)]}


WORLD = World()


def run(arguments):
    """Runs the program: its exit status and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = verify.main(arguments)
    return status, out.getvalue(), err.getvalue()


AUDITOR = Signer("auditor-1", "an auditor")


class Case(unittest.TestCase):
    """A test with a folder for what it verifies."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.keys = self.file("trusted-keys", f"{WORLD.keys}{AUDITOR.line}\n".encode())

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def unpack(self, files, name="evidence-copy"):
        root = os.path.join(self.folder, name)
        shutil.rmtree(root, ignore_errors=True)
        for file, data in files.items():
            path = os.path.join(root, *file.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(data)
        return root

    def report(self, path, *more):
        status, out, err = run(["--json", "--keys", self.keys, *more, path])
        self.assertIn(status, (0, 1), err)
        report = json.loads(out)
        self.assertEqual(status, 1 if report["findings"] else 0)
        return report

    def verify(self, files, kept=None, *more):
        if kept is not None:
            more += ("--checkpoints", self.file("kept.json", compact({"checkpoints": kept})))
        return self.report(self.unpack(files), *more)

    def found(self, report, kind, prefix, record=None):
        """Whether a finding of the kind names the object."""
        return any(f["kind"] == kind and f["object"].startswith(prefix) and record in (None, f["record"]) for f in report["findings"])


def flip(data, position, bit=0):
    data = bytearray(data)
    data[position] ^= 1 << bit
    return bytes(data)


def replaced(old, new, count=1):
    def change(data):
        assert old in data
        return data.replace(old, new, count)

    return change


def edit(key, change):
    def do(files):
        files[key] = change(files[key])

    return do


def remove(*prefixes):
    def do(files):
        gone = [k for k in files if k.startswith(prefixes)]
        assert gone
        for key in gone:
            del files[key]

    return do


def put(key, data):
    return lambda files: files.__setitem__(key, data)


def swap(a, b):
    def do(files):
        files[a], files[b] = files[b], files[a]

    return do


def together(*attacks):
    def do(files):
        for attack in attacks:
            attack(files)

    return do


def forge(writer, from_, old, new, signer=None, only=None):
    """Makes a log again with its key, text of the entries replaced."""
    changed = []

    def change(entry):
        text = json.dumps(entry)
        changed.append(old in text)
        return json.loads(text.replace(old, new))

    def do(files):
        objects = WORLD.forged(writer, from_, change, signer)
        assert any(changed)
        files.update({k: o for k, o in objects.items() if only is None or k == writer.key(only)})

    return do


forget = remove("fetched.json")
A, B, C, D, E = WORLD.closed, WORLD.died, WORLD.last, WORLD.other, WORLD.young
STRANGER = Signer("gw-1", "a stranger")
FOREIGN = Writer("gw-1", C.signer, 500)
FOREIGN.say(500, "writer.started")
FOREIGN.say(501, "writer.heartbeat")
FORKED = Writer("gw-2", D.signer, 121, 59999)
LINK = min(WORLD.links)
LAST = len(C.batches)
NOW = ("--now", at(200))


def record_of(writer, type_, nth=0):
    """(segment, id) of a record of a type."""
    found = [(n, e["id"]) for n, b in enumerate(writer.batches) for e, _ in b.records if e["type"] == type_]
    return found[nth]


APPROVED = record_of(C, "query.intent", 1)

# name, what is done, kind and object of the finding, record (or None)
ON_STORES = [
    ("a header is changed", edit(C.key(1), replaced(b'"durable":1', b'"durable":0')), "content", C.key(1), None),
    ("a count is changed", edit(C.key(1), replaced(b'"count":1', b'"count":3')), "content", C.key(1), None),
    ("an entry is changed", edit(C.key(1), replaced(b"alice", b"mallo")), "content", C.key(1), None),
    ("a body is changed", edit(A.key(2), replaced(b"[redacted]", b"[readacte]")), "content", A.key(2), A.name + ".2"),
    ("a body is removed", edit(A.key(2), lambda d: b"\n".join(l if i != 3 else b"" for i, l in enumerate(d.split(b"\n")))), "content", A.key(2), A.name + ".2"),
    ("a body is withheld", edit(A.key(2), lambda d: b"\n".join(l if i != 3 else b"-" for i, l in enumerate(d.split(b"\n")))), "content", A.key(2), A.name + ".2"),
    ("a signature is changed", edit(C.key(1), lambda d: flip(d, -30)), "signature", C.key(1), None),
    ("a checkpoint's root is cut", edit(C.key(1), replaced(b"=\n", b"\n")), "signature", C.key(1), None),
    ("bytes are added", edit(C.key(1), lambda d: d + b"x\n"), "signature", C.key(1), None),
    ("a segment is cut", edit(C.key(1), lambda d: d[:200]), "malformed", C.key(1), None),
    ("a segment is empty", edit(C.key(1), lambda d: b""), "malformed", C.key(1), None),
    ("an announcement is changed", edit(D.announcement_key, lambda d: flip(d, 100)), "signature", D.announcement_key, None),
    ("an announcement is another's", edit(D.announcement_key, lambda d: C.announcement()), "misplaced", D.announcement_key, None),
    ("an announcement is made again", edit(D.announcement_key, lambda d: FORKED.announcement()), "forked", D.announcement_key, None),
    ("the first segment is removed", remove(C.key(0)), "missing", C.key(0), None),
    ("a segment is removed", remove(C.key(2)), "missing", C.key(2), None),
    ("two segments are swapped", swap(C.key(1), C.key(2)), "misplaced", C.key(1), None),
    ("segments of two writers are swapped", swap(C.key(1), D.key(1)), "misplaced", D.key(1), None),
    ("a segment is stored again", put(C.key(LAST), C.rendered[1][0]), "misplaced", C.key(LAST), None),
    ("a segment is renamed", together(remove(C.key(1)), put(C.key(1) + ".old", C.rendered[1][0])), "unexplained", C.key(1) + ".old", None),
    ("an object is added", put("evidence/note", b"x"), "unexplained", "evidence/note", None),
    ("the end of a closed log is cut", remove(C.key(LAST - 1)), "cut", C.key(LAST - 1), None),
    ("the end of a log with a successor is cut", together(forget, remove(A.key(3))), "cut", A.key(3), None),
    ("the end of a running log is cut, and a checkpoint was kept", remove(D.key(len(D.batches) - 1)), "cut", D.key(len(D.batches) - 1), None),
    ("a writer is removed", remove(A.announcement_key, f"evidence/{A.name}/"), "missing", A.announcement_key, None),
    ("an announcement is removed", remove(C.announcement_key), "missing", C.announcement_key, None),
    ("a log is removed", together(forget, remove(f"evidence/{D.name}/")), "cut", D.key(0), None),
    ("a segment is signed with an unknown key", forge(C, 1, "alice", "mallo", STRANGER), "signature", C.key(1), None),
    ("one segment is signed with an unknown key", forge(C, 1, "alice", "mallo", STRANGER, only=1), "signature", C.key(1), None),
    ("a segment is signed with another gateway's key", forge(C, 1, "alice", "mallo", D.signer), "signature", C.key(1), None),
    ("a segment of another store is put in", put(C.key(1), FOREIGN.rendered[1][0]), "misplaced", C.key(1), None),
    ("one segment is made again", forge(C, 1, "alice", "mallo", only=1), "forked", C.key(2), None),
    ("the past is made again, another saw it", together(forget, forge(C, 1, "alice", "mallo")), "forked", f"evidence/{C.name}/", None),
    ("the past is made again, a successor saw it", together(forget, forge(A, 1, "alice", "mallo")), "forked", f"evidence/{A.name}/", None),
    ("what nobody saw is made again, a checkpoint was kept", forge(D, 7, "bob", "eve"), "forked", f"evidence/{D.name}/", None),
    ("records are dated back", together(forget, forge(D, 7, "2026-", "2001-")), "order", D.key(7), record_of(D, "query.outcome", 1)[1]),
    ("an approver is forged", together(forget, forge(C, 0, "#carol", "#mallo")), "order", C.key(APPROVED[0]), APPROVED[1]),
    ("an approval is removed", together(forget, forge(D, 0, "approval.decided", "approval.viewed")), "order", C.key(APPROVED[0]), APPROVED[1]),
    ("an approval is made a denial", together(forget, forge(D, 0, '"effect": "approve"', '"effect": "deny"')), "order", C.key(APPROVED[0]), APPROVED[1]),
    ("who asked approved", together(forget, forge(C, 0, "#carol", "#alice"), forge(D, 0, '"carol"', '"alice"')), "order", C.key(APPROVED[0]), APPROVED[1]),
    ("an intent is made something else", together(forget, forge(A, 0, "query.intent", "request.rejected")), "order", A.key(2), A.name + ".2"),
    ("a type is unknown", together(forget, forge(A, 0, "query.intent", "query.intend")), "malformed", A.key(1), A.name + ".1"),
    ("a record calls itself another", together(forget, forge(A, 1, f'"id": "{A.name}.1"', f'"id": "{A.name}.9"')), "misplaced", A.key(1), A.name + ".1"),
    ("a record follows writer.closed", together(forget, forge(C, 0, "writer.observed", "writer.closed")), "order", C.key(APPROVED[0] + 3), None),
    ("a writer starts twice", together(forget, forge(D, 0, "writer.heartbeat", "writer.started")), "order", D.key(len(D.batches) - 1), None),
    ("a stranded segment is changed", edit(B.key(4), replaced(b"alice", b"mallo")), "content", B.key(4), None),
    ("a stranded segment is removed", remove(B.key(4)), "missing", B.key(4), None),
    ("a segment before a gap is removed", together(forget, remove(B.key(1))), "missing", B.key(1), None),
    ("a link is removed", remove(LINK), "missing", LINK, None),
    ("a link is changed", edit(LINK, lambda d: flip(d, -3)), "content", LINK, None),
    ("a link is added", put(LINK[:-1] + "1", verify.LINK_MAGIC + LINK[:-1].encode() + b"1\n"), "unexplained", LINK[:-1] + "1", None),
    ("the copier noted something", put("fetched.json", WORLD.fetched(anomalies={C.key(1): "two versions"})), "anomaly", C.key(1), None),
    ("a kept checkpoint is changed", edit("fetched.json", replaced(A.name.encode() + b"\\n4", A.name.encode() + b"\\n5")), "signature", "fetched.json", None),
    ("a log is dated into the future", put("fetched.json", WORLD.fetched(time=at(-200))), "clock", C.key(0), None),
    ("a writer was silent for too long", put("fetched.json", WORLD.fetched(time=at(400))), "cut", D.key(len(D.batches)), None),
    ("a young writer was silent for too long", put("fetched.json", WORLD.fetched(time=at(400))), "cut", E.key(0), None),
]


class StoreTest(Case):
    def test_clean(self):
        report = self.verify(WORLD.objects)
        self.assertEqual(report["findings"], [])
        self.assertEqual((report["writers"], report["objects"]), (5, len(WORLD.objects) - 1))
        self.assertEqual(report["records"], sum(w.sequence for w in WORLD.writers) - 3)
        self.assertEqual(report["checkpoints"][C.name], C.checkpoint())
        self.assertEqual(self.verify(WORLD.objects, report["checkpoints"])["findings"], [])

    def test_clean_without_fetched(self):
        files = {k: v for k, v in WORLD.objects.items() if k != "fetched.json"}
        self.assertEqual(self.verify(files, None, *NOW)["findings"], [])

    def test_attacks(self):
        for name, attack, kind, prefix, record in ON_STORES:
            with self.subTest(name):
                files = dict(WORLD.objects)
                attack(files)
                more = () if "fetched.json" in files else NOW
                report = self.verify(files, None, *more)
                self.assertTrue(self.found(report, kind, prefix, record), json.dumps(report["findings"], indent=1))

    def test_few_findings(self):
        """What one broken segment explains is not reported as well."""
        for name, attack in (("removed", remove(C.key(2))), ("changed", edit(C.key(2), lambda d: flip(d, 120)))):
            with self.subTest(name):
                files = dict(WORLD.objects)
                attack(files)
                self.assertEqual(len(self.verify(files)["findings"]), 1)

    def test_newest_end_needs_a_kept_checkpoint(self):
        files = dict(WORLD.objects)
        together(forget, remove(D.key(len(D.batches) - 1)))(files)
        self.assertEqual(self.verify(files, None, *NOW)["findings"], [])
        report = self.verify(files, {D.name: D.checkpoint()}, *NOW)
        self.assertTrue(self.found(report, "cut", D.key(len(D.batches) - 1)))

    def test_any_bit(self):
        """Any flipped bit of an announcement or a segment is found."""
        chance = random.Random(20260301)
        keys = sorted(k for k in WORLD.objects if k != "fetched.json")
        root = self.unpack(WORLD.objects)
        for _ in range(CHANGES):
            key = chance.choice(keys)
            data, bit = WORLD.objects[key], chance.randrange(8 * len(WORLD.objects[key]))
            path = os.path.join(root, *key.split("/"))
            with open(path, "wb") as f:
                f.write(flip(data, bit // 8, bit % 8))
            report = self.report(root)
            self.assertTrue(any(f["object"] == key for f in report["findings"]), f"{key} bit {bit}: {report['findings']}")
            with open(path, "wb") as f:
                f.write(data)


ALL = Plan(WORLD)
SIGNED = Plan(WORLD, signer=C.signer)
ALICE = Plan(WORLD, filter_={"principal": "alice"}, signer=C.signer)
APPROVALS = Plan(WORLD, filter_={"effect": "approve"})
# Only from 123.5 s to 130.5 s: runs begin and end in the middle of their logs.
PART = Plan(WORLD, since=123.5, until=130.5, proofs=[C, D],
            spans={A: (3, 4), B: (1, 2), C: (2, record_of(C, "query.intent", 2)[0] + 1), D: (1, record_of(D, "writer.observed", 1)[0] + 1)})


def unlisted(attack):
    """An attack on a bundle that leaves the manifest as it is."""
    return lambda files, manifest: attack(files) or files


def listed(attack, **changes):
    """An attack whose maker lists the changed files anew, without a signature."""

    def do(files, manifest):
        attack(files)
        return relist(files, {**manifest, **changes})

    return do


def run_of(writer):
    return f"evidence/runs/{writer.name}"


def runs(manifest, writer, **changes):
    return {**manifest["runs"], writer.name: {**manifest["runs"][writer.name], **changes}}


def segments_of(data):
    return [verify.SEGMENT_MAGIC + s for s in data.split(verify.SEGMENT_MAGIC)[1:]]


def segmentwise(writer, change):
    return edit(run_of(writer), lambda d: b"".join(change(segments_of(d))))


def withhold(writer, drop):
    """Withholds the bodies of records that drop chooses."""

    def change(segments):
        for n, segment in enumerate(segments):
            lines = segment.split(b"\n")
            for i in range(json.loads(lines[1])["count"]):
                if lines[3 + 2 * i] and drop(json.loads(lines[2 + 2 * i])):
                    lines[3 + 2 * i] = b"-"
            segments[n] = b"\n".join(lines)
        return segments

    return segmentwise(writer, change)


def cut_run(files, manifest):
    segmentwise(C, lambda s: s[:-2])(files)
    size = sum(len(b.records) for b in C.batches[:-2])
    return relist(files, {**manifest, "created": at(4000), "runs": runs(manifest, C, to=LAST - 2, size=size)})


def behead_run(files, manifest):
    segmentwise(C, lambda s: s[2:])(files)
    return relist(files, {**manifest, "runs": runs(manifest, C, **{"from": 2, "first": 2})})


def drop_run(files, manifest):
    remove(run_of(D))(files)
    return relist(files, {**manifest, "created": at(4000), "runs": {w: r for w, r in manifest["runs"].items() if w != D.name}})


def drop_writer(files, manifest):
    remove(run_of(D), D.announcement_key)(files)
    return relist(files, {**manifest, "runs": {w: r for w, r in manifest["runs"].items() if w != D.name}})


def keep_signature(files, manifest):
    note = files["manifest"].split(b"\n\n")[1]
    files = relist({**files, "report.html": b"<p>nothing\n"}, manifest)
    return {**files, "manifest": files["manifest"] + b"\n" + note}


def has(query, type_=None):
    return lambda e: e.get("query_id") == query and type_ in (None, e["type"])


FIRST_QUERY = C.batches[1].records[0][0]["query_id"]

# name, plan, what is done, kind and object of the finding, record (or None)
ON_BUNDLES = [
    ("the report is edited", SIGNED, unlisted(put("report.html", b"<p>nothing\n")), "content", "report.html", None),
    ("the report is edited and keeps its size", SIGNED, unlisted(put("report.html", b"<p>REPORT\n")), "content", "report.html", None),
    ("the report is edited, the manifest made to fit", SIGNED, keep_signature, "signature", "manifest", None),
    ("a report is removed", SIGNED, unlisted(remove("report.html")), "missing", "report.html", None),
    ("a file is added", SIGNED, unlisted(put("evidence/more", b"x")), "unexplained", "evidence/more", None),
    ("the manifest is removed", SIGNED, unlisted(remove("manifest")), "missing", "manifest", None),
    ("the manifest is no manifest", SIGNED, unlisted(put("manifest", b"x\ny\n")), "malformed", "manifest", None),
    ("the period is moved", PART, listed(lambda f: None, since=at(122)), "content", "manifest", None),
    ("the period is moved before the runs", PART, listed(lambda f: None, since=at(100)), "missing", C.key(1), None),
    ("the period ends in the future", ALL, listed(lambda f: None, until=at(300)), "order", "manifest", None),
    ("a count is changed", ALL, listed(lambda f: None, queries=1), "content", "manifest", None),
    ("a filter is unknown", ALL, listed(lambda f: None, filter={"colour": "red"}), "malformed", "manifest", None),
    ("the filter is narrowed", ALICE, listed(lambda f: None, filter={"principal": "alice", "session_id": "s-bob"}), "content", "manifest", None),
    ("an entry is changed", ALL, listed(edit(run_of(C), replaced(b"alice", b"mallo"))), "content", C.key(1), None),
    ("a body is changed", ALL, listed(edit(run_of(C), replaced(b"[redacted]", b"[readacte]"))), "content", C.key(2), C.name + ".2"),
    ("a segment is removed", ALL, listed(segmentwise(C, lambda s: s[:1] + s[2:])), "missing", C.key(1), None),
    ("two segments are swapped", ALL, listed(segmentwise(C, lambda s: [s[0], s[2], s[1], *s[3:]])), "missing", C.key(1), None),
    ("a segment is there twice", ALL, listed(segmentwise(C, lambda s: [s[0], s[1], s[1], *s[2:]])), "misplaced", C.key(1), None),
    ("a segment of another writer is in a run", ALL, listed(segmentwise(C, lambda s: [s[0], D.rendered[1][0], *s[2:]])), "misplaced", C.key(1), None),
    ("a segment's first line is changed", ALL, listed(segmentwise(C, lambda s: [*s[:2], b"C" + s[2][1:], *s[3:]])), "malformed", C.key(2), None),
    ("a segment is signed by a stranger", ALL, listed(segmentwise(C, lambda s: [s[0], *WORLD.forged(C, 1, dict, STRANGER).values()])), "signature", C.key(1), None),
    ("one segment is made again", ALL, listed(segmentwise(C, lambda s: [s[0], WORLD.forged(C, 1, lambda e: {**e, "purpose_of_use": "x"})[C.key(1)], *s[2:]])), "forked", C.key(2), None),
    ("a run is made again", ALL, listed(segmentwise(C, lambda s: [s[0], *WORLD.forged(C, 1, lambda e: {**e, "purpose_of_use": "x"}).values()])), "forked", f"evidence/{C.name}/", None),
    ("a run is cut", ALL, cut_run, "cut", C.key(LAST - 2), None),
    ("a run is cut, the manifest left", ALL, listed(segmentwise(C, lambda s: s[:-1])), "cut", C.key(LAST - 1), None),
    ("a run's beginning is cut", ALL, behead_run, "missing", C.key(1), None),
    ("a run is left out", ALL, drop_run, "missing", run_of(D), None),
    ("a writer is left out", ALL, drop_writer, "missing", D.announcement_key, None),
    ("a record that the filter chooses is withheld", ALICE, listed(withhold(C, has(FIRST_QUERY, "query.outcome"))), "withheld", C.key(2), C.name + ".2"),
    ("a record of a chosen query is withheld", ALICE, listed(withhold(D, has(WORLD.approved))), "withheld", f"evidence/{D.name}/", None),
    ("a body is withheld without a filter", ALL, listed(withhold(C, has(FIRST_QUERY))), "content", C.key(1), C.name + ".1"),
    ("a proof is no proof", PART, listed(put(f"evidence/proofs/{C.name}", b'{"size":1,"checkpoint":"x","proof":[]}')), "content", f"evidence/proofs/{C.name}", None),
    ("a proof is edited", PART, listed(edit(f"evidence/proofs/{C.name}", lambda d: compact({**json.loads(d), "proof": json.loads(d)["proof"][::-1]}))), "content", f"evidence/proofs/{C.name}", None),
    ("a proof's checkpoint is edited", PART, listed(edit(f"evidence/proofs/{C.name}", replaced(C.name.encode() + b"\\n", C.name.encode() + b"\\n9"))), "signature", f"evidence/proofs/{C.name}", None),
]


class BundleTest(Case):
    def test_clean(self):
        for name, plan in (("all", ALL), ("signed", SIGNED), ("alice", ALICE), ("approvals", APPROVALS), ("part", PART)):
            with self.subTest(name):
                files = plan.files()
                report = self.verify(files)
                self.assertEqual(report["findings"], [])
                self.assertEqual((report["records"], report["queries"]), (plan.manifest["records"], plan.manifest["queries"]))
                self.assertEqual(self.verify(files, report["checkpoints"])["findings"], [])

    def test_attacks(self):
        for name, plan, attack, kind, prefix, record in ON_BUNDLES:
            with self.subTest(name):
                files = plan.files()
                before = dict(files)
                files = attack(files, plan.manifest)
                self.assertNotEqual(files, before)
                report = self.verify(files)
                self.assertTrue(self.found(report, kind, prefix, record), json.dumps(report["findings"], indent=1))

    def test_kept_checkpoints(self):
        """A kept checkpoint finds a past that was made again, within a run and,
        with the proof, behind it."""
        forged = copy.deepcopy(C)
        for batch in forged.batches[-2:]:
            for entry, _ in batch.records:
                entry["purpose_of_use"] = "x"
        forged.rendered = forged.render(forged.batches)
        kept = {C.name: forged.checkpoint()}
        for plan in (ALL, PART):
            report = self.verify(plan.files(), kept)
            self.assertTrue(self.found(report, "forked", f"evidence/{C.name}/"), report)

    def test_manifest_without_signature_is_said(self):
        self.assertTrue(any(n["object"] == "manifest" for n in self.verify(ALL.files())["notes"]))

    def test_used_keys_in_the_bundle(self):
        """The key file that the auditor uses may lie in the bundle."""
        root = self.unpack({**ALL.files(), "my-keys": WORLD.keys.encode()})
        self.assertTrue(self.found(self.report(root), "unexplained", "my-keys"))
        self.keys = os.path.join(root, "my-keys")
        self.assertEqual(self.report(root)["findings"], [])

    def test_any_bit(self):
        """Any flipped bit of what the manifest's digests do not protect is found: of
        the signed manifest itself, and of runs and announcements that are listed anew."""
        chance = random.Random(20260302)
        files = SIGNED.files()
        for _ in range(CHANGES):
            bit = chance.randrange(8 * len(files["manifest"]))
            report = self.verify({**files, "manifest": flip(files["manifest"], bit // 8, bit % 8)})
            self.assertTrue(self.found(report, "signature", "manifest") or self.found(report, "malformed", "manifest"), bit)
        files, manifest = ALL.files(), ALL.manifest
        names = sorted(n for n in files if n.startswith("evidence/"))
        for _ in range(CHANGES):
            name = chance.choice(names)
            bit = chance.randrange(8 * len(files[name]))
            report = self.verify(relist({**files, name: flip(files[name], bit // 8, bit % 8)}, manifest))
            writer = name.rpartition("/")[2]
            self.assertTrue(any(writer in f["object"] for f in report["findings"]), f"{name} bit {bit}: {report['findings']}")


ORDER = "0mm7p9zzz-0123456v"


def order(signer=AUDITOR, done=False, **changes):
    """An auditor's order of a legal hold, or that it was carried out."""
    values = {"order": ORDER, "key": signer.line, "time": at(180)}
    values.update({"changed": 1, "already": 0} if done else {"action": "hold", "query_id": WORLD.approved, "reason": "QUFB", "segments": [], "objects": []})
    values = {k: v for k, v in {**values, **changes}.items() if v is not None}
    return signer.note((verify.ORDER_DONE_MAGIC if done else verify.ORDER_MAGIC) + compact(values) + b"\n")


class OrderTest(Case):
    KEY = f"evidence/holds/{ORDER}"

    def test_clean(self):
        orders = {self.KEY: order(), self.KEY + ".done": order(done=True)}
        self.assertEqual(self.verify({**WORLD.objects, **orders})["findings"], [])
        period = order(query_id=None, since=at(0), until=at(1), action="extend", to=at(9))
        self.assertEqual(self.verify({**WORLD.objects, self.KEY: period})["findings"], [])

    def test_wrong(self):
        for name, data, kind in (
            ("a gateway's key", order(C.signer), "signature"), ("an unknown key", order(Signer("auditor-1", "x")), "signature"),
            ("two signatures", C.signer.note(order()), "malformed"), ("a changed byte", flip(order(), 60), "signature"),
            ("another order", order(order="0mm7p9zzz-0123456u"), "malformed"), ("no action", order(action="x"), "malformed"),
            ("two things", order(session_id="s"), "malformed"), ("half a period", order(query_id=None, since=at(0)), "malformed"),
            ("extend to when", order(action="extend"), "malformed"),
        ):
            with self.subTest(name):
                report = self.verify({**WORLD.objects, self.KEY: data})
                kinds = ("signature", "malformed") if name == "two signatures" else (kind,)
                self.assertTrue(any(self.found(report, k, self.KEY) for k in kinds), report["findings"])

    def test_done_without_order(self):
        report = self.verify({**WORLD.objects, self.KEY + ".done": order(done=True)})
        self.assertTrue(self.found(report, "missing", self.KEY))

    def test_auditor_writes_no_log(self):
        writer = Writer("gw-4", AUDITOR, 195)
        report = self.verify({**WORLD.objects, writer.announcement_key: writer.announcement()})
        self.assertTrue(self.found(report, "signature", writer.announcement_key))


def zipped(files, add=()):
    """A zip of files, and of (ZipInfo, bytes) that are added to it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files.items():
            z.writestr(name, data)
        for info, data in add:
            z.writestr(info, data)
    return out.getvalue()


def member(name, mode=0o100644, compress=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, compress
    return info


class ZipTest(Case):
    def zip(self, data):
        return self.report(self.file("bundle.zip", data))

    def test_clean(self):
        for plan in (SIGNED, ALICE, PART):
            self.assertEqual(self.zip(zipped(plan.files()))["findings"], [])

    def test_attack(self):
        files = ALL.files()
        edit(run_of(C), replaced(b"alice", b"mallo"))(files)
        self.assertTrue(self.found(self.zip(zipped(relist(files, ALL.manifest))), "content", C.key(1)))

    def test_odd_members(self):
        for info in (member("../evil"), member("/etc/evil"), member("a/../../evil"), member("a\\evil"), member("C:evil"),
                     member("link", 0o120777), member("report.html"), member("bz", compress=zipfile.ZIP_BZIP2)):
            with self.subTest(info.filename), self.assertWarnsOrNot():
                report = self.zip(zipped(SIGNED.files(), [(info, b"x")]))
                self.assertTrue(self.found(report, "unexplained", info.filename), report)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "..", "evil")))

    @contextlib.contextmanager
    def assertWarnsOrNot(self):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of the second name
            yield

    def test_bomb(self):
        """A member that unpacks to much more than the manifest says is not read."""
        data = zipped({k: v for k, v in SIGNED.files().items() if k != "report.html"}, [(member("report.html"), bytes(64 << 20))])
        self.assertLess(len(data), 1 << 20)
        self.assertTrue(self.found(self.zip(data), "content", "report.html"))

    def test_lying_sizes(self):
        """A member whose directory entry gives another size than its data has."""
        data = zipped(ALL.files())
        at_ = data.rfind(b"PK\x01\x02", 0, data.rfind(b"evidence/runs/"))
        size = struct.unpack("<L", data[at_ + 24 : at_ + 28])[0]
        for wrong in (0, 1, size - 1, size + 1, 1 << 31):
            changed = data[: at_ + 24] + struct.pack("<L", wrong) + data[at_ + 28 :]
            self.assertTrue(self.zip(changed)["findings"], wrong)

    def test_too_much(self):
        huge = zipped({f"{i}": b"" for i in range(verify.MAX_ZIP_FILES + 1)})
        status, out, err = run(["--json", "--keys", self.keys, self.file("huge.zip", huge)])
        self.assertEqual((status, out), (2, ""), err)

    def test_random_bytes(self):
        """Whatever happens to a zip, the exit status tells, and nothing is raised."""
        chance, data = random.Random(20260303), zipped(SIGNED.files())
        for _ in range(CHANGES):
            changed = bytearray(data)
            for _ in range(chance.choice((1, 1, 5, 200))):
                changed[chance.randrange(len(data))] = chance.randrange(256)
            if chance.random() < 0.2:
                changed = changed[: chance.randrange(len(data))]
            path = self.file("changed.zip", bytes(changed))
            status, _, err = run(["--keys", self.keys, path])
            self.assertIn(status, (0, 1, 2))
            self.assertNotIn("could not check", err)


NASTY_JSON = [b"", b"{", b"[]", b"null", b"1" * 30, b"[" * 100000, b'{"a":' * 50000, b'{"writer":1e999}', b"\xff\xfe{}", b'{"a":1,"a":2}', b'{"a":NaN}',
              b'{"since":"\\ud800","until":[],"created":{}}', b'{"writer":"\\udfff"}', b'{"segment":' + b"9" * 5000 + b"}", b'\xef\xbb\xbf{}', b"{}\x00"]


class RobustTest(Case):
    def exits(self, *arguments):
        status, _, err = run(["--keys", self.keys, *arguments])
        self.assertIn(status, (0, 1, 2))
        self.assertNotIn("could not check: ", err)
        return status

    def test_nasty_json(self):
        signer, bundle = C.signer, ALL.files()
        for nasty in NASTY_JSON:
            with self.subTest(nasty[:30]):
                for key, data in ((D.announcement_key, signer.note(verify.WRITER_MAGIC + nasty + b"\n")), (C.key(1), verify.SEGMENT_MAGIC + nasty + b"\n"),
                                  ("fetched.json", nasty), (C.key(2), C.rendered[2][0].replace(b'{"id"', nasty + b'{"ID"', 1))):
                    self.assertEqual(self.exits(self.unpack({**WORLD.objects, key: data})), 1, key)
                for key, data in (("manifest", verify.BUNDLE_MAGIC + nasty + b"\n"), (f"evidence/proofs/{C.name}", nasty)):
                    files = {**bundle, key: data}
                    self.assertEqual(self.exits(self.unpack(files if key == "manifest" else relist(files, ALL.manifest))), 1, key)
                self.exits("--checkpoints", self.file("kept", nasty), self.unpack(bundle))

    def test_signed_nonsense(self):
        """Somebody with a gateway's key signs fields of wrong types."""
        for name in sorted(verify.ENTRY_TYPES) + ["Type", "new"]:
            for value in (None, 1, -1, 1 << 70, 1.5, True, "x", "\ud800", [1], [{}], {"issuer": 1}, {"subject": []}):
                with self.subTest(name=name, value=ascii(value)):
                    objects = dict(WORLD.objects)
                    objects.update(self.forge_raw(name, value))
                    self.exits(self.unpack(objects))

    def forge_raw(self, name, value):
        writer = Writer("gw-1", A.signer, 0)
        writer.say(0, "writer.started")
        entry, body = writer.record(1, "query.intent", {}, query_id=writer.query_id(1), actor=actor("x"))
        line = compact_ascii({**entry, "body": verify.base64_text(verify.sha256(body)), name: value})
        real = compact
        globals()["compact"] = lambda v: line if v.get("id") == entry["id"] else real(v)
        try:
            writer.write(1, (entry, body))
        finally:
            globals()["compact"] = real
        return {writer.key(n): o for n, (o, _) in enumerate(writer.rendered)}

    def test_symbolic_links(self):
        for name in (C.key(1), C.announcement_key, "fetched.json"):
            root = self.unpack(WORLD.objects)
            path = os.path.join(root, *name.split("/"))
            os.rename(path, os.path.join(self.folder, "elsewhere"))
            os.symlink(os.path.join(self.folder, "elsewhere"), path)
            report = self.report(root, *NOW)
            if name.startswith("evidence/"):
                self.assertTrue(self.found(report, "unexplained", name) and self.found(report, "missing", name), name)
        root = self.unpack(ALL.files())
        os.symlink("/", os.path.join(root, "evidence", "runs", "loop"))
        self.assertTrue(self.found(self.report(root), "unexplained", "evidence/runs/loop"))

    def test_could_not_check(self):
        root = self.unpack(WORLD.objects)
        for arguments in ([self.folder + "/none"], ["--now", "yesterday", root], ["--checkpoints", self.folder + "/none", root],
                          [self.unpack({"x": b""}, "other")], [self.file("x.zip", b"PK")]):
            self.assertEqual(self.exits(*arguments), 2, arguments)
        self.keys = self.file("no-keys", b"gw-1+00000000+AAAA\n")
        self.assertEqual(self.exits(root), 2)

    def test_terminal(self):
        """What an attacker names does not command the auditor's terminal."""
        root = self.unpack({**WORLD.objects, "evidence/\x1b[2Jx": b"x"})
        status, out, _ = run(["--keys", self.keys, root])
        self.assertEqual(status, 1)
        self.assertNotIn("\x1b", out)

    def test_as_a_program(self):
        root = self.unpack(ALL.files())
        done = subprocess.run([sys.executable, str(HERE / "verify.py"), "--keys", self.keys, "--json", root], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(set(json.loads(done.stdout)), {"findings", "notes", "objects", "writers", "segments", "records", "queries", "checkpoints", "bundle"})


def compact_ascii(value):
    return json.dumps(value, separators=(",", ":")).encode()


class PartsTest(unittest.TestCase):
    def test_types(self):
        """The types of records are those of the document."""
        text = (HERE.parent.parent / "docs" / "evidence-format.md").read_text(encoding="utf-8")
        listed = text.split("\nTypes: ", 1)[1].split(". A type", 1)[0]
        self.assertEqual(set(verify.re.findall(r"`([a-z.]+)`", listed)), verify.TYPES)

    def test_ed25519_vectors(self):
        """RFC 8032 section 7.1, tests 1 to 3."""
        for public, message, signature in (
            ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
            ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
            ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82", "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
        ):
            public, message, signature = (bytes.fromhex(x) for x in (public, message, signature))
            self.assertTrue(verify.ed25519_verify(public, message, signature))
            self.assertFalse(verify.ed25519_verify(public, message + b"x", signature))
            s = int.from_bytes(signature[32:], "little") + verify.L
            self.assertFalse(verify.ed25519_verify(public, message, signature[:32] + s.to_bytes(32, "little")))
            for bit in range(0, 512, 7):
                self.assertFalse(verify.ed25519_verify(public, message, flip(signature, bit // 8, bit % 8)))

    def test_points_that_are_refused(self):
        for y in (0, 1, verify.P - 1, verify.P, verify.P + 1, 2):  # small order, not canonical, no point
            self.assertIsNone(verify.negated_multiples(y.to_bytes(32, "little")), y)

    def test_consistency(self):
        leaves = [str(i).encode() for i in range(20)]
        for n in range(1, 21):
            for m in range(1, n + 1):
                roots = tree_root(leaves[:m]), tree_root(leaves[:n])
                self.assertEqual(roots[0], verify.fold(verify.add_leaves([], 0, leaves[:m])))
                proof = consistency(m, leaves[:n])
                self.assertTrue(verify.is_consistent(m, roots[0], n, roots[1], proof), (m, n))
                self.assertFalse(verify.is_consistent(m, roots[0], n, roots[1], proof + [b"x" * 32]))
                self.assertFalse(verify.is_consistent(m, b"x" * 32, n, roots[1], proof))
                if proof:
                    self.assertFalse(verify.is_consistent(m, roots[0], n, roots[1], proof[:-1]))

    def test_times(self):
        self.assertEqual(verify.nanoseconds("1970-01-01T00:00:01.5Z"), 1_500_000_000)
        self.assertLess(verify.nanoseconds("0001-01-01T00:00:00Z"), 0)
        for wrong in ("", "1970-01-01T00:00:00", "1970-01-01T00:00:00+00:00", "1970-01-01T00:00:60Z", "1970-02-30T00:00:00Z", "1970-01-01T00:00:00.1234567890Z", "1970-01-01t00:00:00z"):
            with self.assertRaises(verify.Malformed):
                verify.nanoseconds(wrong)

    def test_base64(self):
        self.assertEqual(verify.base64_bytes("AA=="), b"\0")
        for wrong in ("AB==", "AA", "AA=", "A A==", "AA==\n", "\u00e4", "AA==AA=="):
            with self.assertRaises(verify.Malformed):
                verify.base64_bytes(wrong)


if __name__ == "__main__":
    unittest.main()
