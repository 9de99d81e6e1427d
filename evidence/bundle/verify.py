#!/usr/bin/env python3
"""Verifies evidence of a Chaperone gateway: copied objects, or a bundle.

    python3 verify.py --keys FILE [--checkpoints FILE] [--witness-keys FILE] [--now TIME] [--json] PATH

PATH is an unpacked bundle, a bundle's zip, or a folder that "chaperone evidence
fetch" filled. FILE of --keys holds the public keys that you trust, one a line;
take them from somebody you trust, not from the bundle. FILE of --checkpoints is
what an earlier verification printed with --json, kept outside of the store. With
FILE of --witness-keys, the keys of witnesses that you trust, every log must have
been cosigned by one of them in time.

Exit status: 0 nothing found, 1 findings, 2 could not check.

This program was written from docs/evidence-format.md alone, without a look at
the gateway's own verifier, so that one checks the other (but for the cosignatures,
which one hand wrote in both). It needs Python 3.9 and
its standard library, and reads only. The parts, in this order:

  Ed25519            RFC 8032 section 5.1
  encodings          base64 (RFC 4648), times (RFC 3339), JSON (RFC 8259), names
  signed notes       https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint
  Merkle tree        RFC 6962 section 2.1, RFC 9162 section 2.1
  reading            folders, zips, segments
  a log              everything that one writer's segments show by themselves
  between logs       witnesses, ends, approvals, links
  a store, a bundle  what must be there
"""

import argparse
import array
import base64
import binascii
import bisect
import calendar
import collections
import concurrent.futures
import datetime
import functools
import hashlib
import io
import json
import os
import re
import stat
import struct
import sys
import time
import zipfile
import zlib

SEGMENT_MAGIC = b"chaperone-evidence-segment/v1\n"
WRITER_MAGIC = b"chaperone-evidence-writer/v1\n"
BUNDLE_MAGIC = b"chaperone-evidence-bundle/v1\n"
ORDER_MAGIC = b"chaperone-evidence-hold/v1\n"
ORDER_DONE_MAGIC = b"chaperone-evidence-hold-done/v1\n"
AUDITOR_KEY = "auditor-"  # how the names of keys begin that sign orders and nothing else
LINK_MAGIC = b"chaperone-evidence-link/v1\n"

MIB = 1 << 20
SECOND = 10**9  # times are nanoseconds since 1970

MAX_SEGMENT = 64 * MIB  # the format's own limit
MAX_ANNOUNCEMENT = 16 * MIB
MAX_MANIFEST = 32 * MIB
MAX_SMALL_FILE = 16 * MIB  # keys, kept checkpoints, fetched.json, proofs
MAX_NOTE_LINES = 24  # of a checkpoint: four of text, an empty one, signatures
MIN_ENTRY = 100  # bytes: the required fields alone are longer
MAX_ZIP_DIRECTORY = 8 * MIB
MAX_ZIP_FILES = 100_000
MAX_ZIP_CONTENT = 64 * 1024 * MIB  # unpacked, all files together
MAX_FINDINGS = 1000  # of one log; what is beyond is counted

IN_FLIGHT = 64  # segments that a writer may have on their way at a time
GRACE = 15 * SECOND  # silence that is allowed beside two heartbeats
CLOCK_TOLERANCE = 300 * SECOND
WITHIN = 900 * SECOND  # until when a record must be cosigned, if nothing is announced
MAX_WITHIN = 3600 * SECOND  # and if too much is
QUIET = ("writer.witnessed", "writer.heartbeat", "writer.closed")  # may be at the end of a log that nobody cosigned
LOG_KEY, WITNESS_KEY = 1, 4  # types of Ed25519 keys: of logs, and of cosignatures
CHECK_EVERY_SIGNATURE = 500  # segments; of longer logs one in ANCHOR
ANCHOR = 1000  # segments between two signatures that are checked


class CannotCheck(Exception):
    """The verification cannot be done at all: exit status 2."""


class Malformed(ValueError):
    """Some bytes are not what the format says."""


class BadSignature(ValueError):
    """A note is not signed as it must be."""


# ---------------------------------------------------------------- Ed25519

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)


def point_add(a, b):
    """Adds points in extended coordinates (X, Y, Z, T): RFC 8032 section 5.1.4."""
    ax, ay, az, at = a
    bx, by, bz, bt = b
    left = (ay - ax) * (by - bx) % P
    right = (ay + ax) * (by + bx) % P
    c = 2 * at * bt * D % P
    d = 2 * az * bz % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_decode(data):
    """Decodes a point strictly: RFC 8032 section 5.1.3; None if it is none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P != 0:
        x = x * SQRT_MINUS_1 % P
        if (v * x * x - u) % P != 0:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def point_encode(point):
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Multiples:
    """digit * 16^place * point for each place and digit: multiplying is adding."""

    def __init__(self, point):
        self.rows = []
        for _ in range(64):
            row = [IDENTITY]
            for _ in range(15):
                row.append(point_add(row[-1], point))
            self.rows.append(row)
            point = point_add(row[-1], point)

    def times(self, scalar, total=IDENTITY):
        """total + scalar * point, for a scalar below 2^256."""
        for row in self.rows:
            digit = scalar & 15
            if digit:
                total = point_add(total, row[digit])
            scalar >>= 4
        return total


@functools.lru_cache(maxsize=None)
def base_multiples():
    """Multiples of the base point B, whose y is 4/5 and whose x is even."""
    return Multiples(point_decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")))


@functools.lru_cache(maxsize=64)
def negated_multiples(public):
    """Multiples of -A for a public key A; None if A is no point or of small order."""
    point = point_decode(public)
    if point is None:
        return None
    eighth = point
    for _ in range(3):
        eighth = point_add(eighth, eighth)
    if eighth[0] == 0:
        return None
    return Multiples((P - point[0], point[1], 1, P - point[3]))


def ed25519_verify(public, message, signature):
    """RFC 8032 section 5.1.7 without the cofactor: S is below L, and R is the
    canonical encoding of S*B - k*A."""
    if len(public) != 32 or len(signature) != 64:
        return False
    multiples = negated_multiples(public)
    s = int.from_bytes(signature[32:], "little")
    if multiples is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return point_encode(multiples.times(k, base_multiples().times(s))) == signature[:32]


# -------------------------------------------------------------- encodings


def sha256(data):
    return hashlib.sha256(data).digest()


def base64_text(data):
    return base64.b64encode(data).decode("ascii")


def base64_bytes(text, length=None):
    """Decodes base64 with padding; only the one encoding of the bytes is taken."""
    try:
        data = binascii.a2b_base64(text)
    except (ValueError, TypeError) as e:
        raise Malformed("is not base64") from e
    if base64_text(data) != text:
        raise Malformed("is not canonical base64")
    if length is not None and len(data) != length:
        raise Malformed(f"does not have {length} bytes")
    return data


def strict_object(pairs):
    """A JSON object, in which no name is given twice: readers could differ."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("a JSON object names a field twice")
    return result


def bounded_integer(text):
    if len(text) > 20:
        raise Malformed("a number in JSON is too large")
    return int(text)


def refuse_constant(text):
    raise Malformed(f"{text} is not JSON")


JSON = json.JSONDecoder(object_pairs_hook=strict_object, parse_int=bounded_integer, parse_constant=refuse_constant)


def json_object(line):
    """Decodes the bytes of one JSON object."""
    try:
        value = JSON.decode(line.decode("utf-8"))
    except Malformed:
        raise
    except (ValueError, RecursionError) as e:
        raise Malformed("is not JSON") from e
    if not isinstance(value, dict):
        raise Malformed("is not a JSON object")
    return value


def field(values, name, kind, default=None):
    """A field of a JSON object: of its type, or absent if there is a default."""
    value = values.get(name)
    if value is None:
        if default is None:
            raise Malformed(f"has no {name}")
        return default
    if type(value) is not kind:
        raise Malformed(f"has a {name} of the wrong type")
    return value


def natural(values, name):
    value = field(values, name, int)
    if not 0 <= value < 1 << 63:
        raise Malformed(f"has a {name} that is out of range")
    return value


TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z")


@functools.lru_cache(maxsize=4096)
def whole_seconds(text):
    return calendar.timegm(datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").timetuple())


def nanoseconds(text):
    """An RFC 3339 time in UTC as nanoseconds since 1970."""
    match = TIME.fullmatch(text)
    if match is None or text[17] == "6":  # no leap seconds
        raise Malformed("has a time that is not RFC 3339 in UTC")
    try:
        seconds = whole_seconds(match[1])
    except (ValueError, OverflowError) as e:
        raise Malformed("has a time that does not exist") from e
    fraction = match[2]
    return seconds * SECOND + (int(fraction.ljust(9, "0")) if fraction else 0)


WRITER = re.compile(r"([a-z0-9][a-z0-9.-]{0,63})-([0-9a-z]{9})-([0-9a-v]{8})")
ORDER = re.compile(r"([0-9a-z]{9}-[0-9a-v]{8})(\.done)?")
QUERY_ID = re.compile(r"q_([0-9a-v]{32})")
SEGMENT_NAME = re.compile(r"[0-9]{16}")


def writer_parts(writer):
    """(instance, start in nanoseconds) of a writer's name; None if it is none."""
    match = WRITER.fullmatch(writer)
    if match is None or match[1] in ("writers", "links", "holds"):
        return None
    return match[1], int(match[2], 36) * 10**6


def check_writer(writer):
    if writer_parts(writer) is None:
        raise Malformed("names a writer whose name has not the form of one")
    return writer


def query_parts(query_id):
    """(time in nanoseconds, tag of the writer) of a query id."""
    match = QUERY_ID.fullmatch(query_id)
    if match is None:
        raise Malformed("has a query_id that has not the form of one")
    data = int(match[1], 32).to_bytes(20, "big")
    return int.from_bytes(data[:6], "big") * 10**6, data[6:10]


@functools.lru_cache(maxsize=256)
def writer_tag(writer):
    return sha256(writer.encode("ascii"))[:4]


def is_at_home(query_id, writer, at):
    """Whether a record of a query is where a reader looks without a link."""
    received, tag = query_parts(query_id)
    return tag == writer_tag(writer) and received - 2 * SECOND <= at <= received + 30 * SECOND


def announcement_key(writer):
    return f"evidence/writers/{writer}"


def segment_key(writer, number):
    return f"evidence/{writer}/segments/{number:016d}"


def run_file(writer):
    return f"evidence/runs/{writer}"


def proof_file(writer):
    return f"evidence/proofs/{writer}"


# ----------------------------------------------------------- signed notes


class Key:
    """A public key: <name>+<hash>+<base64(type | 32-byte key)>."""

    def __init__(self, line, kind=LOG_KEY):
        parts = line.split("+", 2)
        if len(parts) != 3:
            raise Malformed("is not a public key")
        self.name = parts[0]
        data = base64_bytes(parts[2], 33)
        self.public = data[1:]
        self.hash = sha256(self.name.encode("utf-8", "replace") + b"\n" + data)[:4]
        if not is_key_name(self.name) or data[0] != kind or parts[1] != self.hash.hex():
            raise Malformed("is not a public key: its parts do not agree")
        if negated_multiples(self.public) is None:
            raise Malformed("is not a public key: it is no point of the curve")

    @property
    def identity(self):
        return self.name, self.hash


def is_key_name(name):
    return name != "" and "+" not in name and not any(c.isspace() for c in name) and name.isprintable()


def read_keys(path, kind=LOG_KEY):
    """The trusted keys of a file, by name and hash."""
    trusted = {}
    for number, line in enumerate(read_small_file(path).split(b"\n"), 1):
        try:
            text = line.decode("utf-8").strip()
            if text and not text.startswith("#"):
                key = Key(text, kind)
                trusted[key.identity] = key
        except ValueError as e:
            raise CannotCheck(f"line {number} of {path} {e}") from e
    if not trusted:
        raise CannotCheck(f"{path} holds no key")
    return trusted


def read_small_file(path):
    try:
        with open(path, "rb") as f:
            data = f.read(MAX_SMALL_FILE + 1)
    except (OSError, ValueError) as e:
        raise CannotCheck(f"{path} cannot be read: {e}") from e
    if len(data) > MAX_SMALL_FILE:
        raise CannotCheck(f"{path} is too large")
    return data


SIGNATURE_LINE = "\u2014 ".encode("utf-8")


class Note:
    """A signed note, parsed; verify it before you believe it."""

    def __init__(self, data):
        end = data.rfind(b"\n\n")
        if end < 0 or not data.endswith(b"\n"):
            raise BadSignature("has no signature")
        self.data, self.text = data, data[: end + 1]
        self.signatures = [self.signature(line) for line in data[end + 2 : -1].split(b"\n")]
        if len(self.signatures) > MAX_NOTE_LINES:
            raise BadSignature("has too many signatures")

    @staticmethod
    def signature(line):
        if not line.startswith(SIGNATURE_LINE):
            raise BadSignature("has a line that is no signature where its signatures are")
        try:
            name, _, value = line[len(SIGNATURE_LINE) :].decode("utf-8").partition(" ")
            data = base64_bytes(value, 68)
        except ValueError as e:
            raise BadSignature("has a signature line that was changed") from e
        return name, data[:4], data[4:]

    def verify(self, trusted):
        """Checks all signatures and gives the keys that made them."""
        keys = []
        for name, key_hash, signature in self.signatures:
            key = trusted.get((name, key_hash))
            if key is None:
                raise BadSignature(f"is signed by a key that is not trusted ({name}+{key_hash.hex()})")
            if key in keys:
                raise BadSignature("is signed twice by one key")
            if not ed25519_verify(key.public, self.text, signature):
                raise BadSignature(f"does not have the signature of {name}: it was changed after it was signed")
            keys.append(key)
        return keys


class Checkpoint:
    """The checkpoint of a log: origin, size, root and the header's digest."""

    def __init__(self, data):
        self.note = Note(data)
        try:
            lines = self.note.text.decode("utf-8").split("\n")
            if len(lines) != 5:
                raise Malformed("does not have four lines")
            self.origin = lines[0]
            if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
                raise Malformed("has no size")
            self.size = int(lines[1])
            self.root = base64_bytes(lines[2], 32)
            self.header_digest = base64_bytes(lines[3], 32)
        except ValueError as e:
            raise BadSignature("is not a checkpoint") from e

    def verify(self, trusted, key, writer):
        """Checks that the writer's announced key signed it; any trusted key if the
        announcement cannot be used (key None)."""
        keys = self.note.verify(trusted)
        if key is not None and key not in keys:
            raise BadSignature("is not signed by the key that the writer announced")
        if self.origin not in [f"{k.name}/{writer}" for k in ([key] if key else keys)]:
            raise BadSignature("is a checkpoint of another log")


class Cosigned:
    """A log's checkpoint, with cosignatures: https://c2sp.org/tlog-cosignature."""

    def __init__(self, text):
        data = text.encode("utf-8", "surrogatepass")
        end = data.rfind(b"\n\n")
        lines = data[end + 2 : -1].split(b"\n")
        if end < 0 or not data.endswith(b"\n") or len(lines) > MAX_NOTE_LINES:
            raise BadSignature("is not signed")
        self.checkpoint = Checkpoint(data[: end + 2] + lines[0] + b"\n")
        self.writer = self.checkpoint.origin.rpartition("/")[2]
        self.cosignatures = [self.cosignature(line) for line in lines[1:]]

    @staticmethod
    def cosignature(line):
        if not line.startswith(SIGNATURE_LINE):
            raise BadSignature("has a line that is no signature where its signatures are")
        try:
            name, _, value = line[len(SIGNATURE_LINE) :].decode("utf-8").partition(" ")
            data = base64_bytes(value)
        except ValueError as e:
            raise BadSignature("has a signature line that was changed") from e
        return name, data[:4], data[4:]

    def verify(self, witnesses):
        """Checks the cosignatures of known witnesses; gives the earliest time, or None."""
        earliest = None
        for name, key_hash, data in self.cosignatures:
            key = witnesses.get((name, key_hash))
            if key is None:
                continue
            seconds = int.from_bytes(data[:8], "big")
            message = f"cosignature/v1\ntime {seconds}\n".encode("ascii") + self.checkpoint.note.text
            if len(data) != 72 or seconds >= 1 << 63 or not ed25519_verify(key.public, message, data[8:]):
                raise BadSignature(f"does not have the cosignature of {name}")
            at = seconds * SECOND
            earliest = at if earliest is None else min(earliest, at)
        return earliest


# ------------------------------------------------------------ Merkle tree


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def fold(subtrees):
    """The root of the tree that consists of perfect subtrees, largest first."""
    if not subtrees:
        return sha256(b"")
    root = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        root = node_hash(left, root)
    return root


def add_leaves(subtrees, size, entries):
    """The subtrees of a tree of `size` leaves after adding entries."""
    stack = list(subtrees)
    for entry in entries:
        stack.append(sha256(b"\x00" + entry))
        bits = size
        while bits & 1:
            right = stack.pop()
            stack[-1] = node_hash(stack[-1], right)
            bits >>= 1
        size += 1
    return stack


def is_consistent(first, first_root, second, second_root, proof):
    """Verifies a consistency proof: RFC 9162 section 2.1.4.2."""
    if first > second:
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == fold([])
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(c, old), node_hash(c, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old == first_root and new == second_root


# ---------------------------------------------------------------- findings


class Report:
    """Findings and notes, each said once."""

    def __init__(self):
        self.findings = {}
        self.notes = {}
        self.omitted = 0

    def find(self, kind, object_, message, record=""):
        place = (object_, record, kind)
        if place in self.findings:
            return
        if len(self.findings) >= MAX_FINDINGS:
            self.omitted += 1
            return
        self.findings[place] = message

    def note(self, object_, message, record=""):
        if len(self.notes) < MAX_FINDINGS:
            self.notes.setdefault((object_, record, "note"), message)

    def add(self, other):
        """Takes over what another report says, all of it."""
        for place, message in other.findings.items():
            self.findings.setdefault(place, message)
        for place, message in other.notes.items():
            self.notes.setdefault(place, message)
        self.omitted += other.omitted

    def names(self, object_):
        return any(place[0] == object_ for place in self.findings)

    @staticmethod
    def listed(places):
        return [{"object": o, "record": r, "kind": k, "message": m} for (o, r, k), m in sorted(places.items())]


# ----------------------------------------------------------------- reading


class Digesting(io.RawIOBase):
    """Hashes and counts what is read through it."""

    def __init__(self, source):
        super().__init__()
        self.source, self.sha256, self.size = source, hashlib.sha256(), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.source.read(len(buffer))
        buffer[: len(data)] = data
        self.sha256.update(data)
        self.size += len(data)
        return len(data)


class Folder:
    """The regular files of a folder. Symbolic links are never followed."""

    def __init__(self, path):
        self.path = path
        self.sizes = {}
        self.odd = {}  # names of what is no regular file, and what it is
        try:
            self.walk(path, "")
        except (OSError, RecursionError) as e:
            raise CannotCheck(f"{path} cannot be read: {e}") from e

    def walk(self, path, prefix):
        with os.scandir(path) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_symlink():
                    self.odd[name] = "is a symbolic link"
                elif entry.is_dir(follow_symlinks=False):
                    self.walk(entry.path, name + "/")
                elif entry.is_file(follow_symlinks=False):
                    self.sizes[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    self.odd[name] = "is no regular file"

    def open(self, name):
        return open_in_folder(self.path, name)

    def is_file(self, name, path):
        """Whether a name of the folder is the file of a path."""
        try:
            return os.path.samefile(os.path.join(self.path, *name.split("/")), path)
        except (OSError, ValueError):
            return False


def open_in_folder(path, name):
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.fdopen(os.open(os.path.join(path, *name.split("/")), flags), "rb", MIB)
    except OSError as e:
        raise CannotCheck(f"{name} cannot be read: {e.strerror}") from e


class Archive:
    """The files of a zip, read as a stream; nothing is unpacked to the disk."""

    def __init__(self, path):
        self.path = path
        self.sizes = {}
        self.odd = {}
        check_zip_directory(path)
        try:
            self.zip = zipfile.ZipFile(path)
            infos = self.zip.infolist()
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, struct.error) as e:
            raise CannotCheck(f"{path} is no zip that can be read: {e}") from e
        if len(infos) > MAX_ZIP_FILES or sum(i.file_size for i in infos) > MAX_ZIP_CONTENT:
            raise CannotCheck(f"{path} is too large: at most {MAX_ZIP_FILES} files and {MAX_ZIP_CONTENT} bytes are unpacked")
        self.infos = {}
        for info in infos:
            self.take(info)

    def take(self, info):
        name, kind = info.filename, info.external_attr >> 16
        if name.endswith("/") and info.file_size == 0:
            return  # a folder
        parts = name.split("/")
        if name in self.infos:
            self.odd[name] = "is in the zip more than once"
        elif info.orig_filename != name or "\\" in name or ":" in name or any(p in ("", ".", "..") for p in parts):
            self.odd[name] = "has a name that leads out of the folder"
        elif stat.S_IFMT(kind) not in (0, stat.S_IFREG):
            self.odd[name] = "is no regular file"
        elif info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self.odd[name] = "is encrypted or compressed in a way that bundles do not use"
        self.infos[name] = info
        if name in self.odd:
            self.sizes.pop(name, None)
        else:
            self.sizes[name] = info.file_size

    def open(self, name):
        try:
            return self.zip.open(self.infos[name])
        except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, struct.error) as e:
            raise Malformed(f"cannot be unpacked: {e}") from e

    def is_file(self, name, path):
        return False


# What reading a damaged zip member raises.
READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, struct.error)


def check_zip_directory(path):
    """Refuses a zip whose directory alone would fill the memory."""
    try:
        with open(path, "rb") as f:
            length = f.seek(0, os.SEEK_END)
            f.seek(max(0, length - 66_000))
            tail = f.read()
    except OSError as e:
        raise CannotCheck(f"{path} cannot be read: {e}") from e
    ends = {tail.rfind(b"PK\x05\x06"), len(tail) - 22 if tail[-22:-18] == b"PK\x05\x06" else -1} - {-1}
    if not ends:
        raise CannotCheck(f"{path} is no zip")
    size = max(directory_size(tail, end) for end in ends)
    if size > MAX_ZIP_DIRECTORY:
        raise CannotCheck(f"{path} has a directory of more than {MAX_ZIP_DIRECTORY} bytes")


def directory_size(tail, end):
    """What the end record at `end`, or its ZIP64 record, says of the directory."""
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07" and tail[end - 76 : end - 72] == b"PK\x06\x06":
        size64 = int.from_bytes(tail[end - 36 : end - 28], "little")
        return size64 if size == 0xFFFFFFFF else max(size, size64)
    return size


def read_whole(source, name, limit):
    """The bytes of a small file and nothing of a larger one."""
    if source.sizes[name] > limit:
        raise Malformed(f"is larger than {limit} bytes")
    try:
        with source.open(name) as f:
            data = f.read(limit + 1)
    except READ_ERRORS as e:
        raise Malformed(f"cannot be read: {e}") from e
    if len(data) > limit:
        raise Malformed(f"is larger than {limit} bytes")
    return data


class Segment:
    """The bytes of one segment, taken apart but not yet believed."""

    def __init__(self):
        self.header_line = b""
        self.header = None  # the decoded JSON, if it is whole
        self.entries = []
        self.digests = []  # of the bodies: base64, "" for an empty line, None for a withheld body
        self.note_data = b""
        self.more = False  # whether other lines follow the note
        self.problem = ""  # why it could not be taken apart


class Lines:
    """The lines of a run or of an object: at most a segment's size at once."""

    def __init__(self, stream):
        self.stream = stream
        self.next = stream.readline(MAX_SEGMENT + 1)

    def take(self):
        line, self.next = self.next, self.stream.readline(MAX_SEGMENT + 1)
        return line

    def at_end(self):
        return self.next in (b"", SEGMENT_MAGIC)


class Header:
    """The header of a segment."""

    def __init__(self, line):
        values = json_object(line)
        self.writer = check_writer(field(values, "writer", str))
        self.number, self.first, self.count, self.durable = (natural(values, n) for n in ("segment", "first", "count", "durable"))
        self.time = nanoseconds(field(values, "time", str))
        self.previous = field(values, "previous", str, "")
        if self.previous:
            base64_bytes(self.previous, 32)
        subtrees = field(values, "subtrees", list, [])
        self.subtrees = [base64_bytes(s, 32) for s in subtrees]
        if self.count == 0:
            raise Malformed("says that it has no records")
        if len(self.subtrees) != bin(self.first).count("1"):
            raise Malformed("does not have a subtree for each one-bit of first")
        if self.number > 9999999999999999:
            raise Malformed("has a segment number of more than 16 digits")


def read_segment(lines, may_withhold):
    """Reads a segment up to the next magic line or the end.

    Entries are kept until the segment is verified; of a body only the digest is.
    """
    segment = Segment()
    size = len(lines.next)
    if lines.take() != SEGMENT_MAGIC:
        segment.problem = "does not begin with the line of a segment"
    try:
        if not segment.problem:
            size += read_records(segment, lines, may_withhold)
    except Malformed as e:
        segment.problem = str(e)
    if segment.problem:
        segment.entries, segment.digests = [], []
    size += read_note(segment, lines)
    if size > MAX_SEGMENT and not segment.problem:
        segment.problem = "is larger than 64 MiB"
    return segment


def read_note(segment, lines):
    """Reads what is left of a segment, which should be its note; gives the bytes."""
    size = count = 0
    first, last = [], collections.deque(maxlen=MAX_NOTE_LINES)
    while not lines.at_end():
        line = lines.take()
        size, count, line = size + len(line), count + 1, line[:1000]
        last.append(line)
        if count <= MAX_NOTE_LINES:
            first.append(line)
    end = 5  # four lines of text and an empty one
    while end < len(first) and first[end].startswith(SIGNATURE_LINE):
        end += 1
    if not segment.problem:
        segment.note_data = b"".join(first[:end])
        segment.more = count > end
    else:  # a segment that cannot be taken apart may still end with an intact note
        segment.note_data = last_note(list(last))
    return size


def read_records(segment, lines, may_withhold):
    """Reads header and records; gives the number of bytes."""
    if lines.at_end():
        raise Malformed("ends behind its first line")
    line = lines.take()
    size = len(line)
    segment.header_line = line[:-1]
    header = Header(segment.header_line)
    entries, digests = segment.entries, segment.digests
    for _ in range(header.count):
        if lines.at_end():
            raise Malformed("has fewer records than its header says")
        if len(lines.next) < MIN_ENTRY or lines.next[:1] != b"{":  # it may be the note's
            raise Malformed("has a line that is no entry where one must be")
        entry = lines.take()
        if lines.at_end():
            raise Malformed("ends behind an entry")
        body = lines.take()
        size += len(entry) + len(body)
        if size > MAX_SEGMENT:
            raise Malformed("is larger than 64 MiB")
        entries.append(entry[:-1])
        if body == b"\n":
            digests.append("")
        elif body == b"-\n" and may_withhold:
            digests.append(None)
        else:
            digests.append(base64_text(sha256(body[:-1])))
    segment.header = header
    return size


def last_note(lines):
    """What looks like a checkpoint's note at the end of lines."""
    signatures = 0
    while signatures < len(lines) and lines[-1 - signatures].startswith(SIGNATURE_LINE):
        signatures += 1
    return b"".join(lines[-(signatures + 5) :]) if signatures else b""


# ------------------------------------------------------------------ a log


class Period:
    """The period and the filter of a bundle."""

    FIELDS = ("principal", "connection", "session_id", "query_id", "relation", "patient", "effect", "status")

    def __init__(self, since, until, filter_):
        self.since, self.until, self.filter = since, until, filter_

    def holds(self, at):
        return self.since <= at < self.until

    def matches(self, entry):
        """Whether an entry agrees with all fields of the filter."""
        for name, wanted in self.filter.items():
            if name == "principal":
                if wanted not in principals(entry, with_bare=True):
                    return False
            elif name in ("relation", "patient"):
                if wanted not in (entry.get(name + "s") or ()):
                    return False
            elif entry.get(name, "") != wanted:
                return False
        return True


def principals(entry, with_bare=False):
    """Who acts in an entry: the keys of the actor and of whom it acts for."""
    actor = entry.get("actor") or {}
    issuer = field(actor, "issuer", str, "")
    names = [field(actor, "subject", str, ""), field(actor, "on_behalf_of", str, "")]
    found = {f"{issuer}#{name}" for name in names if name}
    return found.union(n for n in names if n) if with_bare else found


def actor_key(entry):
    actor = entry.get("actor") or {}
    return field(actor, "issuer", str, "") + "#" + field(actor, "subject", str, "")


def short_digest(*texts):
    """16 bytes for texts, to keep many of them in little memory."""
    return sha256("\0".join(texts).encode("utf-8", "surrogatepass"))[:16]


Witnessed = collections.namedtuple("Witnessed", "checkpoint cosigned object record time")  # cosigned: when, or None
Observation = collections.namedtuple("Observation", "writer announcement checkpoint object record time")


class Table:
    """Many rows in little memory: digests, sequence numbers and one more number."""

    def __init__(self):
        self.digests, self.sequences, self.values = bytearray(), array.array("Q"), array.array("Q")

    def append(self, digest, sequence, value):
        self.digests += digest
        self.sequences.append(sequence)
        self.values.append(value)

    def __iter__(self):
        for i, sequence in enumerate(self.sequences):
            yield bytes(self.digests[16 * i : 16 * i + 16]), sequence, self.values[i]


class Log:
    """What the segments of one writer show by themselves."""

    def __init__(self, writer, begin=0):
        self.writer = writer
        self.report = Report()
        self.segments = self.records = 0
        self.chosen = self.queries = 0  # records and query.intent that the filter chooses, or all
        self.begin, self.end = begin, begin  # numbers: first, and after the last
        self.first = self.size = 0  # of the tree: before the first segment, after the last
        self.root = fold([])
        self.checkpoint = b""  # the newest that is sound
        self.closed = False  # whether the last record is writer.closed
        self.heard = None  # time of the newest segment
        self.first_record = self.last_record = None  # times
        self.has_gaps = False  # whether some records could not be read
        self.end_unknown = False  # whether the last segment could not be read
        self.broken = set()  # numbers of segments that are not right by themselves
        # of each segment whose checkpoint is intact:
        self.numbers, self.sizes = array.array("Q"), array.array("Q")
        self.texts, self.notes = bytearray(), bytearray()  # digests of its text and of its note
        self.firsts, self.lasts = array.array("q"), array.array("q")  # times of its records, in milliseconds
        self.observed = []
        self.witnessed = []
        self.substance = 0  # size after the last record that tells more than that the writer lives
        self.decided = set()  # digests of query and approver
        self.reliances = Table()  # digest of query and approver; the value: time of the query id in seconds
        self.links = set()  # that the records need
        self.matching = set()  # digests of queries that match the filter
        self.others = Table()  # digest of the query of a record that does not; the value: 1 withheld, 2 an intent
        self.excused = 0  # outcomes whose intents are before the run
        # of a run: what the file was
        self.file_size, self.file_digest = 0, ""

    def object_of(self, sequence):
        """The key of the segment that holds a record."""
        i = bisect.bisect_right(self.sizes, sequence)
        return segment_key(self.writer, self.numbers[i] if i < len(self.numbers) else self.end)

    def index_of(self, size):
        """The place of the segment that ends at a size; None if none does."""
        i = bisect.bisect_left(self.sizes, size)
        return i if i < len(self.sizes) and self.sizes[i] == size else None

    def is_next(self, i):
        """Whether nothing is missing before the segment at a place."""
        return self.numbers[i] - self.numbers[i - 1] == 1 if i else self.numbers[0] == self.begin


ENTRY_TYPES = {name: str for name in ("id", "writer", "time", "type", "query_id", "session_id", "request_id", "connection", "purpose_of_use", "effect", "status", "body")}
ENTRY_TYPES.update(sequence=int, actor=dict, relations=list, patients=list, approvers=list, observed=list, witnessed=str)


TYPES = frozenset("""
    writer.started writer.closed writer.heartbeat writer.observed writer.witnessed writer.recovered
    query.intent query.outcome lease.issued lease.revoked
    approval.requested approval.viewed approval.decided approval.claimed approval.cancelled
    request.rejected auth.failed auth.succeeded evidence.read evidence.exported evidence.bundled
    config.loaded config.changed keys.changed policy.loaded
""".split())


def read_entry(line):
    """An entry's JSON, its fields of the right types."""
    entry = json_object(line)
    for name, value in entry.items():
        kind = ENTRY_TYPES.get(name)
        if kind is None:
            if name.lower() in ENTRY_TYPES:  # a reader that ignores case would take it for the other
                raise Malformed(f"has a field {name!r} that differs from a known one by capitals only")
        elif type(value) is not kind and value is not None:
            raise Malformed(f"has a {name} of the wrong type")
        elif kind is list and name != "observed" and value and not all(type(v) is str for v in value):
            raise Malformed(f"has {name} that are not text")
    for name in ("id", "writer", "time", "type"):
        field(entry, name, str)
    if entry.get("query_id"):
        query_parts(entry["query_id"])
    if entry["type"] in ("query.intent", "query.outcome") and not entry.get("query_id"):
        raise Malformed("has no query_id")
    return entry


class Before:
    """A segment whose checkpoint is intact, as the next one must continue it."""

    def __init__(self, number, checkpoint):
        self.number, self.checkpoint = number, checkpoint


class Walk:
    """Goes through the segments of a log in order."""

    def __init__(self, log, key, trusted, witnesses, period=None, now=None):
        """key is the announced one, or None if the announcement cannot be used;
        period is that of a bundle, or None for a store."""
        self.log, self.key, self.trusted, self.witnesses, self.period = log, key, trusted, witnesses, period
        self.latest = None if now is None else now + CLOCK_TOLERANCE
        self.report = log.report
        self.before = None
        self.unsigned = []  # segments that rely on the signature of a later one
        self.signatures = 0
        self.header_time = None
        self.record_time = None
        self.segment_time = None  # of the first record
        self.intents = {}  # open ones: query to (who asked, whether in the period)
        self.after_closed = False
        self.started_wrong = False

    # Signatures.

    def check_signature(self, checkpoint):
        """Why a checkpoint is not signed as it must be, or an empty text."""
        if not hasattr(checkpoint, "why"):
            self.signatures += 1
            try:
                checkpoint.verify(self.trusted, self.key, self.log.writer)
                checkpoint.why = ""
            except BadSignature as e:
                checkpoint.why = str(e)
        return checkpoint.why

    def is_signed(self, number, checkpoint):
        """Checks a signature and reports a wrong one."""
        why = self.check_signature(checkpoint)
        if why:
            self.report.find("signature", segment_key(self.log.writer, number), f"The checkpoint of this segment {why}.")
        return not why

    def settle(self):
        """Checks the signature of the newest segment, which vouches for all before
        it; and if it is wrong that of the one before, and so on."""
        for step, (number, checkpoint) in enumerate(reversed(self.unsigned)):
            if step == IN_FLIGHT:
                self.report.note(segment_key(self.log.writer, number), "The signatures of this segment and of some before it were not checked, because those after them are wrong.")
                break
            if self.is_signed(number, checkpoint):
                break
        self.unsigned = []

    # Segments.

    def add(self, number, segment):
        """Takes the segment that is stored as the number."""
        log = self.log
        log.segments += 1
        log.end = number + 1
        checkpoint, sound = self.judge(number, segment)
        if sound:
            self.take(number, segment, checkpoint)
        else:
            log.broken.add(number)
            self.settle()
            self.skip()
            log.end_unknown = True
        if checkpoint is not None:
            self.before = Before(number, checkpoint)
            self.remember(number, checkpoint)

    def skip(self):
        """Says that records are missing here: what they explain is no finding."""
        self.log.has_gaps = True
        self.before = None
        self.intents.clear()

    def judge(self, number, segment):
        """Verifies a segment by itself. Gives its checkpoint, or None if that is not
        intact, and whether all is right."""
        key = segment_key(self.log.writer, number)
        try:
            checkpoint = Checkpoint(segment.note_data)
        except BadSignature as e:
            if segment.problem:
                self.report.find("malformed", key, f"This segment cannot be read: it {segment.problem}.")
            else:
                self.report.find("signature", key, f"The checkpoint of this segment {e}.")
            return None, False
        if segment.problem and self.check_signature(checkpoint):
            self.report.find("malformed", key, f"This segment cannot be read: it {segment.problem}.")
            return None, False
        if segment.problem:
            self.report.find("content", key, f"This segment was changed after it was signed: it {segment.problem}.")
            return checkpoint, False
        if sha256(segment.header_line) != checkpoint.header_digest:
            return self.changed(number, checkpoint, "its header is not the one that was signed")
        header = segment.header
        if (header.writer, header.number) != (self.log.writer, number):
            self.report.find("misplaced", key, f"What is stored here is segment {header.number} of the writer {header.writer}.")
            return None, False
        if checkpoint.size != header.first + header.count:
            return self.changed(number, checkpoint, "its checkpoint has another size than its header")
        if fold(add_leaves(header.subtrees, header.first, segment.entries)) != checkpoint.root:
            return self.changed(number, checkpoint, "its entries are not those that were signed")
        if segment.more:
            self.report.find("signature", key, "Other bytes follow the checkpoint of this segment.")
            return None, False
        wrong_origin = checkpoint.origin.rpartition("/")[2] != self.log.writer
        if (wrong_origin or self.signatures < CHECK_EVERY_SIGNATURE) and not self.is_signed(number, checkpoint):
            return None, False
        return checkpoint, True

    def changed(self, number, checkpoint, what):
        """Reports bytes that are not the signed ones; whether the checkpoint's or
        others, its signature tells."""
        if not self.is_signed(number, checkpoint):
            return None, False
        self.report.find("content", segment_key(self.log.writer, number), f"This segment was changed after it was signed: {what}.")
        return checkpoint, False

    def remember(self, number, checkpoint):
        log = self.log
        if log.sizes and checkpoint.size <= log.sizes[-1]:
            return  # forked, and reported
        log.numbers.append(number)
        log.sizes.append(checkpoint.size)
        log.firsts.append((self.segment_time or 0) // 10**6)
        log.lasts.append((self.record_time or 0) // 10**6)
        log.texts += sha256(checkpoint.note.text)
        log.notes += sha256(checkpoint.note.data)
        log.size, log.root, log.checkpoint = checkpoint.size, checkpoint.root, checkpoint.note.data

    def take(self, number, segment, checkpoint):
        """Takes a segment that is right by itself."""
        log, header, key = self.log, segment.header, segment_key(self.log.writer, number)
        log.end_unknown = False
        if log.segments == 1:
            log.first = header.first
        if not self.continues(number, header, checkpoint):
            self.settle()
        self.unsigned.append((number, checkpoint))
        if len(self.unsigned) >= ANCHOR:
            self.settle()
        if self.header_time is not None and header.time < self.header_time:
            self.report.find("order", key, "The time of this segment is before that of the segment before it.")
        self.header_time = header.time
        log.heard = header.time if log.heard is None else max(log.heard, header.time)
        if self.latest is not None and header.time > self.latest:
            self.report.find("clock", key, "The time of this segment is more than five minutes after the time of copying.")
        self.take_records(key, number, segment)

    def continues(self, number, header, checkpoint):
        """Whether a segment continues the one before, whose signature is then
        vouched for by this one's."""
        key, before = segment_key(self.log.writer, number), self.before
        if number == 0:
            if header.first or header.previous:
                self.report.find("forked", key, "The first segment of this log says that others were before it.")
            return True
        if before is None or before.number != number - 1:
            return False
        old = before.checkpoint
        if header.previous == base64_text(sha256(old.note.data)):
            if header.first != old.size or fold(header.subtrees) != old.root:
                self.report.find("forked", key, "This segment does not continue the tree of the segment before it.")
            return True
        both = [self.is_signed(before.number, old), self.is_signed(number, checkpoint)]
        if all(both):
            self.report.find("forked", key, "This segment and the one before it are both signed, but this one was made after another segment than the one that is stored before it: the log has two histories.")
        return False

    # Records.

    def take_records(self, key, number, segment):
        writer, log = self.log.writer, self.log
        self.segment_time = None
        for i, line in enumerate(segment.entries):
            sequence = segment.header.first + i
            record = f"{writer}.{sequence}"
            log.records += 1
            try:
                entry = read_entry(line)
                at = nanoseconds(entry["time"])
                self.take_record(key, number, record, sequence, entry, at, segment, segment.digests[i])
            except Malformed as e:
                self.report.find("malformed", key, f"The entry of this record {e}.", record)
                log.has_gaps = True

    def take_record(self, key, number, record, sequence, entry, at, segment, digest):
        log, type_ = self.log, entry["type"]
        if (entry["id"], entry["writer"], entry.get("sequence")) != (record, log.writer, sequence):
            self.report.find("misplaced", key, f"The entry at this place calls itself {entry['id']}.", record)
        if self.record_time is not None and at < self.record_time:
            self.report.find("order", key, "The time of this record is before that of the record before it.", record)
        self.record_time = log.last_record = at
        if self.segment_time is None:
            self.segment_time = at
        if type_ not in QUIET:
            log.substance = sequence + 1
        if log.first_record is None:
            log.first_record = at
        self.check_body(key, record, entry, digest)
        if type_ not in TYPES:
            self.report.find("malformed", key, f"The entry of this record has a type that the format does not know: {type_}.", record)
        self.check_life(key, record, sequence, type_, len(segment.entries))
        query = entry.get("query_id")
        in_period = self.period is None or self.period.holds(at)
        if query and self.period is None and not is_at_home(query, log.writer, at):
            log.links.add(f"{query}/{log.writer}.{number:016d}")
        if in_period:
            self.count(key, record, sequence, entry, digest)
        if type_ == "query.intent":
            self.take_intent(key, record, sequence, entry, in_period)
        elif type_ == "query.outcome":
            self.take_outcome(key, record, sequence, entry)
        elif type_ == "approval.decided" and entry.get("effect") == "approve" and query:
            log.decided.add(short_digest(query, actor_key(entry)))
        if type_ == "writer.witnessed":
            self.take_witnessed(key, record, field(entry, "witnessed", str), at)
        elif entry.get("witnessed"):
            self.report.find("unexplained", key, "This record holds cosignatures, which only writer.witnessed does.", record)
        for item in entry.get("observed") or ():
            self.observe(key, record, item, at)

    def check_body(self, key, record, entry, digest):
        committed = entry.get("body") or ""
        if digest is None and committed:
            base64_bytes(committed, 32)
        elif digest is None:
            self.report.find("content", key, "The body of this record is withheld, but its entry says that it has none.", record)
        elif digest != committed:
            self.report.find("content", key, "The body of this record is not the one that its signed entry commits to: it was changed.", record)

    def check_life(self, key, record, sequence, type_, count):
        """The first record, and nothing else, is writer.started; writer.closed is
        the last, alone in its segment."""
        if self.after_closed:
            self.report.find("order", key, "This record follows writer.closed, which must be the last of a log.", record)
        if (type_ == "writer.started") != (sequence == 0):
            what = "The first record of this log is not writer.started." if sequence == 0 else "This record says that the writer started, but is not its first."
            self.report.find("order", key, what, record)
        self.log.closed = self.after_closed = type_ == "writer.closed"
        if self.log.closed and count != 1:
            self.report.find("order", key, "The record writer.closed is not alone in its segment.", record)

    def count(self, key, record, sequence, entry, digest):
        """Counts a record of the period, and what the filter chooses."""
        log, period, query = self.log, self.period, entry.get("query_id")
        is_intent = entry["type"] == "query.intent"
        if period is None or not period.filter or period.matches(entry):
            log.queries += is_intent
            if period is not None and period.filter:
                log.chosen += 1
                if query:
                    log.matching.add(short_digest(query))
                if digest is None:
                    self.report.find("withheld", key, "The bundle's filter chooses this record, but its body is withheld.", record)
            else:
                log.chosen += 1
        elif query:
            log.others.append(short_digest(query), sequence, (digest is None) + 2 * is_intent)

    def take_intent(self, key, record, sequence, entry, in_period):
        asked = principals(entry)
        asked.add(actor_key(entry))
        query = entry["query_id"]
        self.intents[query] = (frozenset(asked), in_period)
        if in_period:
            self.rely(key, record, sequence, entry, asked)

    def take_outcome(self, key, record, sequence, entry):
        query, log = entry["query_id"], self.log
        asked, in_period = self.intents.pop(query, (None, False))
        if entry.get("status") != "succeeded":
            return
        if asked is not None:
            if in_period and entry.get("effect") == "approve":
                if not entry.get("approvers"):
                    self.report.find("order", key, "This query ran on approval, but its outcome names nobody who approved it.", record)
                self.rely(key, record, sequence, entry, asked)
        elif log.has_gaps:
            return
        elif log.begin > 0 and query_parts(query)[0] < self.period.since:
            log.excused += 1
        else:
            self.report.find("order", key, "This record says that a query succeeded, but no record before it says that the query was to run.", record)

    def rely(self, key, record, sequence, entry, asked):
        """Notes on whose approval a record relies."""
        query = entry["query_id"]
        for approver in entry.get("approvers") or ():
            if approver in asked:
                self.report.find("order", key, f"This query ran on the approval of {approver}, who asked for it.", record)
            self.log.reliances.append(short_digest(query, approver), sequence, query_parts(query)[0] // 10**6)

    def observe(self, key, record, item, at):
        """Notes what this writer says that it saw of another."""
        if type(item) is not dict:
            raise Malformed("has an observation that is no JSON object")
        writer = check_writer(field(item, "writer", str))
        announcement = field(item, "announcement", str)
        base64_bytes(announcement, 32)
        self.log.observed.append(Observation(writer, announcement, field(item, "checkpoint", str, ""), key, record, at))

    def take_witnessed(self, key, record, text, at):
        """Notes a checkpoint of the log that witnesses cosigned."""
        try:
            cosigned = Cosigned(text)
            if cosigned.writer != self.log.writer:
                self.report.find("misplaced", key, f"This record holds a cosigned checkpoint of another log, {cosigned.writer}.", record)
                return
            self.log.witnessed.append(Witnessed(cosigned.checkpoint.note.data.decode("utf-8"), cosigned.verify(self.witnesses), key, record, at))
        except BadSignature as e:
            self.report.find("signature", key, f"The cosigned checkpoint in this record {e}.", record)

    def finish(self):
        self.settle()
        return self.log


# ----------------------------------------------------------- announcements


class Predecessor:
    """What an announcement says of an earlier writer of its instance."""

    def __init__(self, values):
        if type(values) is not dict:
            raise Malformed("has a predecessor that is no JSON object")
        self.writer = check_writer(field(values, "writer", str))
        self.segments = natural(values, "segments") if values.get("segments") is not None else 0
        self.checkpoint = field(values, "checkpoint", str, "")
        self.problem = field(values, "problem", str, "")
        self.stranded = {}
        for item in field(values, "stranded", list, []):
            if type(item) is not dict or not re.fullmatch(r"[0-9a-f]{64}", field(item, "sha256", str)):
                raise Malformed("has a stranded segment without a SHA-256 in hex")
            self.stranded[natural(item, "segment")] = item["sha256"]


class Announcement:
    """The announcement of a writer; what cannot be believed is empty."""

    def __init__(self, writer, data=b""):
        self.writer, self.digest = writer, base64_text(sha256(data))
        self.instance = writer_parts(writer)[0]
        self.key = None  # if it cannot be used
        self.started = self.silence = None
        self.within = WITHIN
        self.predecessors = []

    def read(self, data, trusted):
        """Verifies the note and takes what it says."""
        note = Note(data)
        keys = note.verify(trusted)
        lines = note.text.split(b"\n")
        if not note.text.startswith(WRITER_MAGIC) or len(lines) != 3:
            raise Malformed("does not have the lines of an announcement")
        values = json_object(lines[1])
        try:
            key = Key(field(values, "key", str))
        except Malformed as e:
            raise Malformed(f"names a key that {e}") from e
        if key.identity not in [k.identity for k in keys]:
            raise BadSignature("is not signed by the key that it names")
        if key.name.startswith(AUDITOR_KEY):
            raise BadSignature("is signed by an auditor's key, which signs no logs")
        writer, instance = field(values, "writer", str), field(values, "instance", str)
        started, heartbeat = nanoseconds(field(values, "started", str)), natural(values, "heartbeat_ms")
        within = natural(values, "witness_within_ms") if values.get("witness_within_ms") is not None else 0
        predecessors = [Predecessor(p) for p in field(values, "predecessors", list, [])]
        if writer != self.writer:
            return f"The announcement that is stored here is that of {writer}."
        if instance != self.instance:
            raise Malformed("names another instance than its writer does")
        if key.name != instance and not instance.startswith(key.name + "-"):
            raise BadSignature("is signed by a key that was not made for this instance")
        for p in predecessors:
            if writer_parts(p.writer)[0] != instance or not p.writer < writer:
                raise Malformed(f"names {p.writer} as a predecessor, which is no earlier writer of its instance")
        self.key = trusted[key.identity]
        self.started, self.silence, self.predecessors = started, 2 * heartbeat * 10**6 + GRACE, predecessors
        self.within = min(within * 10**6, MAX_WITHIN) or WITHIN
        return ""


def read_announcement(report, source, writer, trusted):
    """Reads an announcement and reports what is wrong with it."""
    name = announcement_key(writer)
    announcement = Announcement(writer)
    try:
        data = read_whole(source, name, MAX_ANNOUNCEMENT)
        announcement = Announcement(writer, data)
        wrong = announcement.read(data, trusted)
        if wrong:
            report.find("misplaced", name, wrong)
    except BadSignature as e:
        report.find("signature", name, f"This announcement {e}.")
    except Malformed as e:
        report.find("malformed", name, f"This announcement {e}.")
    return announcement


ACTIONS = ("hold", "release", "extend")


def read_order(data, order, done, trusted):
    """Verifies an auditor's order of a legal hold or of longer retention, or the
    note that it was carried out."""
    note = Note(data)
    keys = note.verify(trusted)
    lines = note.text.split(b"\n")
    if not note.text.startswith(ORDER_DONE_MAGIC if done else ORDER_MAGIC) or len(lines) != 3:
        raise Malformed("does not have the lines of an order")
    values = json_object(lines[1])
    try:
        key = Key(field(values, "key", str))
    except Malformed as e:
        raise Malformed(f"names a key that {e}") from e
    if [k.identity for k in keys] != [key.identity]:
        raise BadSignature("is not signed by the key that it names, and by no other")
    if not key.name.startswith(AUDITOR_KEY):
        raise BadSignature(f"is signed by {key.name}, which is no auditor's key")
    if field(values, "order", str) != order:
        raise Malformed("is another order than its key says")
    nanoseconds(field(values, "time", str))
    if done:
        return
    if field(values, "action", str) not in ACTIONS:
        raise Malformed("asks for something that is neither hold, release nor extend")
    about = [n for n in ("query_id", "session_id", "since", "until") if n in values]
    if about not in (["query_id"], ["session_id"], ["since", "until"]) or (values["action"] == "extend") != ("to" in values):
        raise Malformed("does not say what it is about, or until when")


class Successors:
    """What the successors of a writer say of its end."""

    def __init__(self):
        self.segments = None  # None if there is no successor
        self.stranded = {}


def successors_of(announcements):
    """What announcements say of earlier writers, by writer."""
    known = collections.defaultdict(Successors)
    for name in sorted(announcements):
        for p in announcements[name].predecessors:
            told = known[p.writer]
            if told.segments is None or p.segments > told.segments:
                told.segments = p.segments
            told.stranded.update(p.stranded)
    return known


# ------------------------------------------------------------ between logs


class Witnesses:
    """What the auditor asks of witnesses; with no keys, nothing."""

    def __init__(self, keys, within, since):
        """within is in nanoseconds, or None for what is announced."""
        self.keys, self.within, self.since = keys, within, since


class Evidence:
    """All that is known together: of a store or of a bundle."""

    def __init__(self, trusted, witnesses):
        self.trusted, self.witnesses = trusted, witnesses
        self.cosigned_beyond = {}  # when a run as a whole was cosigned, by writer
        self.report = Report()
        self.announcements = {}
        self.logs = {}
        self.successors = {}
        self.period = None  # of a bundle

    def need_announcement(self, writer, why):
        if writer in self.announcements:
            return True
        self.report.find("missing", announcement_key(writer), f"There is no announcement of this writer, although {why}.")
        return False

    def about(self):
        """What a bundle is about; None for a store."""
        return None

    def need_announcements(self):
        if not self.announcements:
            self.report.find("missing", "evidence/writers/", "No gateway has announced itself here: there is nothing that could be verified.")

    def check_witnesses(self):
        """Compares the logs with what later and other writers say that they saw."""
        for name in sorted(self.announcements):
            announcement = self.announcements[name]
            for p in announcement.predecessors:
                self.check_predecessor(announcement, p)
        for name in sorted(self.logs):
            for seen in self.logs[name].observed:
                self.check_observation(name, seen)

    def check_cosigned(self):
        """Compares cosigned checkpoints with their logs, and sees whether witnesses
        vouched in time for all of each."""
        for name in sorted(self.logs):
            log = self.logs[name]
            cosigned = {}
            for w in log.witnessed:
                if name in self.announcements:
                    self.check_checkpoint(name, w.checkpoint, w.object, w.record, w.time, "witnesses cosigned and this log")
                checkpoint = Checkpoint(w.checkpoint.encode("utf-8"))
                i = log.index_of(checkpoint.size)
                if w.cosigned is not None and i is not None and log.texts[32 * i : 32 * i + 32] == sha256(checkpoint.note.text):
                    cosigned[checkpoint.size] = min(w.cosigned, cosigned.get(checkpoint.size, w.cosigned))
            if name in self.cosigned_beyond:
                cosigned[log.size] = min(self.cosigned_beyond[name], cosigned.get(log.size, self.cosigned_beyond[name]))
            if self.witnesses.keys and log.sizes and not (log.has_gaps or log.end_unknown or log.broken):
                self.check_coverage(log, sorted(cosigned.items()))

    def check_coverage(self, log, cosigned):
        """cosigned are sizes, and when they were cosigned first."""
        announcement = self.announcements.get(log.writer)
        within = self.witnesses.within or (announcement.within if announcement else WITHIN)
        covered = log.first
        earliest = [at for _, at in cosigned]
        for j in range(len(earliest) - 2, -1, -1):  # what was cosigned later covers the earlier, too
            earliest[j] = min(earliest[j], earliest[j + 1])
        for (size, _), at in zip(cosigned, earliest):
            if size <= covered:
                continue
            first, since = self.uncovered(log, covered, size)
            if first is not None and at - since > within:
                self.report.find("unwitnessed", segment_key(log.writer, log.numbers[first]), "Records from here on were cosigned later than they had to be: until then whoever had the key could make them again.")
            i = log.index_of(size)
            if log.lasts[i] * 10**6 - at > CLOCK_TOLERANCE:
                self.report.find("clock", segment_key(log.writer, log.numbers[i]), "The records of this segment are later than the time at which witnesses cosigned them.")
            covered = size
        first, since = self.uncovered(log, covered, log.size)
        if first is None or log.substance <= covered:
            return
        key = segment_key(log.writer, log.numbers[first])
        if log.closed or log.last_record - since > within:
            self.report.find("unwitnessed", key, "No witness that you know cosigned the records from here on: whoever had the key could make them again.")
        else:
            self.report.note(key, "The records from here on, the last of what is here, are not cosigned: they are as believable as the gateway's key.")

    def uncovered(self, log, covered, size):
        """The place of the first segment between two sizes that must be cosigned, and
        since when; None if there is none."""
        i = bisect.bisect_right(log.sizes, covered)
        while i < len(log.sizes) and log.sizes[i] <= size:
            if log.lasts[i] * 10**6 >= self.witnesses.since:
                return i, max(log.firsts[i] * 10**6, self.witnesses.since)
            i += 1
        return None, None

    def check_predecessor(self, announcement, p):
        key = announcement_key(announcement.writer)
        if p.problem:
            self.report.note(key, f"When this writer started, it could not read the whole log of {p.writer}: {p.problem}")
        if not self.need_announcement(p.writer, f"{announcement.writer} names it as its predecessor"):
            return
        if p.checkpoint:
            self.check_checkpoint(p.writer, p.checkpoint, key, "", announcement.started, f"its successor {announcement.writer}")
        log = self.logs.get(p.writer)
        if log is not None and p.segments > log.end and self.must_reach(log, announcement.started):
            self.cut(log, f"its successor {announcement.writer} found {p.segments} segments of it")

    def check_observation(self, name, seen):
        if not self.need_announcement(seen.writer, f"{name} saw it"):
            return
        announcement = self.announcements[seen.writer]
        if announcement.key is not None and announcement.digest != seen.announcement:
            self.report.find("forked", announcement_key(seen.writer), f"{name} saw another announcement of this writer than the one that is stored.")
        if seen.checkpoint:
            self.check_checkpoint(seen.writer, seen.checkpoint, seen.object, seen.record, seen.time, f"the writer {name}")

    def check_checkpoint(self, writer, text, object_, record, at, who):
        """Compares a checkpoint that somebody saw with the log. The object and the
        record are where it is told; at is when, or None for one that was kept."""
        log, announcement = self.logs.get(writer), self.announcements[writer]
        data = text.encode("utf-8", "surrogatepass")
        try:
            checkpoint = Checkpoint(data)
            i = None if log is None else log.index_of(checkpoint.size)
            if i is not None and log.notes[32 * i : 32 * i + 32] == sha256(data):
                return
            checkpoint.verify(self.trusted, announcement.key, writer)
        except BadSignature as e:
            self.report.find("signature", object_, f"The checkpoint of {writer} that is told of here {e}.", record)
            return
        if log is None:
            self.without_log(writer, at, who)
            self.report.note(announcement_key(writer), f"A checkpoint of this writer that {who} saw cannot be compared: there is no run.")
        elif checkpoint.size <= log.first and log.begin > 0:
            self.report.note(run_file(writer), f"A checkpoint of size {checkpoint.size} cannot be compared: the run begins at {log.first}.")
        elif i is not None:
            if log.texts[32 * i : 32 * i + 32] != sha256(checkpoint.note.text):
                self.forked(writer, log.numbers[i], who)
        elif checkpoint.size > log.size:
            self.check_beyond(log, checkpoint, at, who)
        else:
            after = bisect.bisect_left(log.sizes, checkpoint.size)
            if after < len(log.sizes) and log.numbers[after] not in log.broken and log.is_next(after):
                self.forked(writer, log.numbers[after], who)

    def without_log(self, writer, at, who):
        """A checkpoint tells of a log of which nothing is there."""

    def forked(self, writer, number, who):
        self.report.find("forked", segment_key(writer, number), f"This log has two histories: a signed checkpoint that {who} saw does not fit the records that are stored.")

    def cut(self, log, why):
        if not log.end_unknown:
            self.report.find("cut", segment_key(log.writer, log.end), f"The end of this log is gone: {why}.")

    def must_reach(self, log, at):
        """Whether a log must hold what was seen of it at a time (None: later)."""
        return True

    def check_beyond(self, log, checkpoint, at, who):
        self.cut(log, f"{who} saw a signed checkpoint of {checkpoint.size} records, and {log.size} are stored")

    def check_kept(self, kept):
        """Compares the logs with checkpoints that the auditor kept."""
        for writer, text, file in kept:
            if writer in self.announcements:
                self.check_checkpoint(writer, text, file, "", None, "the auditor")
            else:
                self.check_unknown_kept(writer)

    def check_unknown_kept(self, writer):
        self.need_announcement(writer, "a checkpoint of it was kept")

    def check_approvals(self):
        """Every approval that a query relies on was decided, in whichever log."""
        decided = set().union(*(log.decided for log in self.logs.values()))
        unread = any(log.has_gaps for log in self.logs.values())
        for name in sorted(self.logs):
            log = self.logs[name]
            for digest, sequence, query_ms in log.reliances:
                if digest not in decided:
                    self.miss_approval(log, sequence, query_ms, unread)

    def miss_approval(self, log, sequence, query_ms, unread):
        key, record = log.object_of(sequence), f"{log.writer}.{sequence}"
        if unread:
            self.report.note(key, "No log that could be read holds the approval that this record relies on; it may be among the records that could not be read.", record)
        else:
            self.report.find("order", key, "This record relies on an approval that no log holds: nobody of that name approved this query.", record)

    def ended(self, log):
        """Whether a log ends where it or a successor says."""
        return log.closed or log.end == self.successors[log.writer].segments

    def heard(self, writer, log, now):
        """Whether a writer was heard of so late that it may be running."""
        announcement = self.announcements.get(writer)
        if announcement is None or announcement.key is None:
            return True  # its limit is not known, and it is reported
        last = announcement.started if log is None or log.heard is None else log.heard
        return last >= now - announcement.silence

    def checkpoints(self):
        return {name: log.checkpoint.decode("utf-8", "replace") for name, log in sorted(self.logs.items()) if log.checkpoint}


def run_jobs(function, jobs, sizes):
    """Does independent jobs, in several processes if they are worth it."""
    order = sorted(range(len(jobs)), key=lambda i: -sizes[i])
    workers = min(os.cpu_count() or 1, len(jobs), 8)
    if workers > 1 and sum(sizes) - max(sizes) > 8 * MIB:
        try:
            with concurrent.futures.ProcessPoolExecutor(workers) as pool:
                for result in pool.map(function, [jobs[i] for i in order]):
                    yield result
            return
        except (OSError, ImportError, NotImplementedError) as e:
            raise CannotCheck(f"processes cannot be started: {e}") from e
    for i in order:
        yield function(jobs[i])


# ---------------------------------------------------------------- a store

StoredLog = collections.namedtuple("StoredLog", "path writer numbers key trusted witnesses successors now silence")
Stranded = collections.namedtuple("Stranded", "number digest header")


def read_stored(job, number):
    """Reads a stored segment and the digest of its object."""
    with open_in_folder(job.path, segment_key(job.writer, number)) as f:
        digesting = Digesting(f)
        lines = Lines(io.BufferedReader(digesting, MIB))
        segment = read_segment(lines, False)
        if lines.next and not segment.problem:
            segment.more = True
        while lines.next:
            lines.take()
        return segment, digesting.sha256.hexdigest()


def walk_stored(job):
    """Verifies the log of a writer as far as its own objects show."""
    numbers = job.numbers
    whole = 0  # how many from 0 without a gap
    while whole < len(numbers) and numbers[whole] == whole:
        whole += 1
    stranded = peek_stranded(job, whole)
    log = Log(job.writer)
    walk = Walk(log, job.key, job.trusted, job.witnesses, now=job.now)
    next_ = 0
    for number in numbers[:whole] if stranded else numbers:
        if number > next_:
            report_gap(log, next_, number)
            walk.skip()
        walk.add(number, read_stored(job, number)[0])
        next_ = number + 1
    walk.finish()
    if stranded:
        walk_stranded(job, log, [s.number for s in stranded])
    return log


def report_gap(log, first, after):
    what = f"Segment {first} is missing" if after - first == 1 else f"Segments {first} to {after - 1} are missing"
    log.report.find("missing", segment_key(log.writer, first), f"{what}: later segments of the same log are there.")


def peek_stranded(job, whole):
    """The segments behind a gap if a writer that died, or that is running, can have
    left them; nothing if what is in the gap must have been removed."""
    behind = job.numbers[whole:]
    if not behind or behind[-1] + 1 - whole > IN_FLIGHT or (job.successors.segments or 0) > whole:
        return []
    stranded = [Stranded(n, digest, s.header) for n in behind for s, digest in [read_stored(job, n)]]
    headers = [s.header for s in stranded if s.header is not None]
    if any(h.durable > whole for h in headers):
        return []
    if all(s.number in job.successors.stranded for s in stranded):
        return stranded
    if whole:
        last = read_stored(job, whole - 1)[0].header
        headers += [last] if last is not None else []
    if job.silence is None or any(h.time >= job.now - job.silence for h in headers):
        return stranded
    return []


def walk_stranded(job, log, numbers):
    """Verifies segments behind a gap, in which nothing was ever acknowledged."""
    behind = Log(job.writer, numbers[0])
    walk = Walk(behind, job.key, job.trusted, job.witnesses, now=job.now)
    for i, number in enumerate(numbers):
        if i == 0 or number != numbers[i - 1] + 1:
            walk.skip()
        segment, digest = read_stored(job, number)
        walk.add(number, segment)
        if job.successors.stranded.get(number, digest) != digest:
            behind.report.find("content", segment_key(job.writer, number), "This segment is not the one that a successor of its writer found here.")
    walk.finish()
    log.report.add(behind.report)
    log.report.note(segment_key(job.writer, numbers[0]), f"{len(numbers)} segments of this log are stored behind a gap, as a writer that dies can leave them. Nothing in them was acknowledged, and they are not counted.")
    log.links |= behind.links
    log.broken |= behind.broken
    if behind.heard is not None:
        log.heard = behind.heard if log.heard is None else max(log.heard, behind.heard)


class Store(Evidence):
    """A copy of a whole store."""

    def __init__(self, folder, trusted, witnesses, now, kept):
        super().__init__(trusted, witnesses)
        self.folder, self.now, self.kept = folder, now, kept
        self.numbers = collections.defaultdict(list)
        self.lengths = collections.Counter()
        self.links = set()
        self.orders = set()
        self.objects = 0

    def verify(self):
        self.read_fetched()
        self.sort_objects()
        self.need_announcements()
        self.successors = successors_of(self.announcements)
        self.walk()
        self.check_witnesses()
        self.check_cosigned()
        self.check_kept(self.kept)
        for writer in sorted(self.logs):
            self.check_end(self.logs[writer])
        self.check_stranded()
        self.check_links()
        self.check_approvals()

    def read_fetched(self):
        """Takes the time, the anomalies and the checkpoints that the copier noted."""
        if "fetched.json" not in self.folder.sizes:
            return
        try:
            values = json_object(read_whole(self.folder, "fetched.json", MAX_SMALL_FILE))
            if field(values, "format", str) != "chaperone-evidence-fetch/v1":
                raise Malformed("has another format")
            copied = nanoseconds(field(values, "time", str))
            kept = kept_of(values, "fetched.json")
            anomalies = field(values, "anomalies", dict, {})
        except Malformed as e:
            self.report.find("malformed", "fetched.json", f"The note of the copier {e}.")
            return
        self.now = copied
        self.kept = self.kept + kept
        for key, text in anomalies.items():
            self.report.find("anomaly", key, f"When the store was copied, this was noted: {text}")

    def sort_objects(self):
        """Reads announcements, and notes which segments and links there are."""
        for name, what in self.folder.odd.items():
            if name == "evidence" or name.startswith("evidence/"):
                self.report.find("unexplained", name, f"This {what}: nothing of the kind may be here.")
        for name in sorted(self.folder.sizes):
            if name.startswith("evidence/"):
                self.objects += 1
                if not self.sort_object(name, name.split("/")):
                    self.report.find("unexplained", name, "No object may have this name.")

    def sort_object(self, name, parts):
        if len(parts) == 3 and parts[1] == "writers" and writer_parts(parts[2]):
            self.announcements[parts[2]] = read_announcement(self.report, self.folder, parts[2], self.trusted)
        elif len(parts) == 4 and parts[1] == "links" and QUERY_ID.fullmatch(parts[2]):
            writer, _, number = parts[3].rpartition(".")
            if not writer_parts(writer) or not SEGMENT_NAME.fullmatch(number):
                return False
            self.links.add(f"{parts[2]}/{parts[3]}")
        elif len(parts) == 3 and parts[1] == "holds" and ORDER.fullmatch(parts[2]):
            self.take_order(name, *ORDER.fullmatch(parts[2]).groups())
        elif len(parts) == 4 and parts[2] == "segments" and writer_parts(parts[1]) and SEGMENT_NAME.fullmatch(parts[3]):
            self.numbers[parts[1]].append(int(parts[3]))
            self.lengths[parts[1]] += self.folder.sizes[name]
        else:
            return False
        return True

    def take_order(self, name, order, done):
        """An order comes before the note that it was carried out."""
        try:
            read_order(read_whole(self.folder, name, MAX_ANNOUNCEMENT), order, done, self.trusted)
        except BadSignature as e:
            self.report.find("signature", name, f"This auditor's order {e}.")
        except Malformed as e:
            self.report.find("malformed", name, f"This auditor's order {e}.")
        else:
            if not done:
                self.orders.add(order)
            elif order not in self.orders:
                self.report.find("missing", name, "This says that an order was carried out, but the order itself is gone or damaged.")

    def walk(self):
        writers = sorted(set(self.numbers) | set(self.announcements))
        jobs = []
        for writer in writers:
            self.need_announcement(writer, "it has segments")
            announcement = self.announcements.get(writer) or Announcement(writer)
            jobs.append(StoredLog(self.folder.path, writer, self.numbers[writer], announcement.key, self.trusted,
                                  self.witnesses.keys, self.successors[writer], self.now, announcement.silence))
        for log in run_jobs(walk_stored, jobs, [self.lengths[w] for w in writers]):
            self.logs[log.writer] = log
            self.report.add(log.report)

    def check_end(self, log):
        """A log ends with writer.closed, or where a successor says, or its writer
        was heard of."""
        if log.end_unknown or self.ended(log):
            return
        if self.heard(log.writer, log, self.now):
            if not self.kept:
                self.report.note(segment_key(log.writer, log.end), "This log may be going on. Without a kept checkpoint nothing shows whether its newest end was removed.")
            return
        told = self.successors[log.writer].segments
        if told is None:
            why = "it does not end with writer.closed, no successor says that it ended here, and its writer was not heard of for longer than it may be silent"
        else:
            why = f"it does not end with writer.closed, nor where its successor says, which found {told} segments"
        self.cut(log, why)

    def check_stranded(self):
        for writer, told in sorted(self.successors.items()):
            for number in sorted(set(told.stranded) - set(self.numbers.get(writer, ()))):
                self.report.find("missing", segment_key(writer, number), "This segment is missing: a successor of its writer found it behind a gap.")

    def check_links(self):
        """Links hold their own key and are those that the records need."""
        needed = set().union(*(log.links for log in self.logs.values()))
        for link in sorted(needed - self.links):
            self.report.find("missing", f"evidence/links/{link}", "This link is missing, although a segment holds records of the query.")
        for link in sorted(self.links):
            name = f"evidence/links/{link}"
            try:
                right = read_whole(self.folder, name, 1000) == LINK_MAGIC + name.encode("ascii") + b"\n"
            except Malformed:
                right = False
            if not right:
                self.report.find("content", name, "This link does not hold its own key: it was changed.")
            elif link not in needed and not self.may_be_left(link):
                self.report.find("unexplained", name, "This link belongs to no record of the segment that it names.")

    def may_be_left(self, link):
        """Whether a link that no record needs belongs to a segment that could not be
        read, or that a writer which died did not come to store."""
        writer, _, number = link.partition("/")[2].rpartition(".")
        log, number = self.logs.get(writer), int(number)
        if log is None:
            return False
        if number in log.broken:
            return True
        if self.stored(writer, number):
            return False
        return number < log.end or not log.closed and number < log.end + IN_FLIGHT

    def stored(self, writer, number):
        numbers = self.numbers[writer]
        i = bisect.bisect_left(numbers, number)
        return i < len(numbers) and numbers[i] == number

    def counts(self):
        logs = self.logs.values()
        return {"objects": self.objects, "writers": len(self.announcements), "segments": sum(map(len, self.numbers.values())),
                "records": sum(log.records for log in logs), "queries": sum(log.queries for log in logs)}


def kept_of(values, file):
    """The kept checkpoints of a report's or a fetch's JSON."""
    kept = []
    for writer, note in field(values, "checkpoints", dict, {}).items():
        if type(note) is not str or writer_parts(writer) is None:
            raise Malformed("has checkpoints that are none")
        kept.append((writer, note, file))
    return kept


# --------------------------------------------------------------- a bundle

Run = collections.namedtuple("Run", "start to first size")  # numbers of segments, sizes of the tree
StoredRun = collections.namedtuple("StoredRun", "kind path writer run key trusted witnesses period created")


def walk_run(job):
    """Verifies the run of a writer as far as its own bytes show."""
    log = Log(job.writer, job.run.start)
    walk = Walk(log, job.key, job.trusted, job.witnesses, job.period, job.created)
    name = run_file(job.writer)
    try:
        source = open_in_folder(job.path, name) if job.kind is Folder else Archive(job.path).open(name)
        with source:
            digesting = Digesting(source)
            walk_segments(job, log, walk, Lines(io.BufferedReader(digesting, MIB)))
    except (Malformed, *READ_ERRORS) as e:
        log.report.find("malformed", name, f"This file cannot be read: {e}.")
        walk.skip()
        log.end_unknown = True
    else:
        log.file_size, log.file_digest = digesting.size, digesting.sha256.hexdigest()
    return walk.finish()


def walk_segments(job, log, walk, lines):
    """Goes through the segments of a run; each says its own number."""
    expected, torn, begun = job.run.start, None, False
    while lines.next:
        segment = read_segment(lines, bool(job.period.filter))
        more, segment.more = segment.more, False
        number = number_of(segment, job.writer)
        if number is None:
            number = expected
        if not begun and number < expected:
            log.report.find("content", "manifest", f"The manifest says that the run of {job.writer} begins with segment {expected}, but it begins with {number}.")
            log.begin = log.end = expected = number
        begun = True
        if number < expected:
            log.report.find("misplaced", segment_key(job.writer, number), f"This segment stands in its run where segment {expected} must be.")
            continue
        missing = expected + (torn == expected)
        if number > missing:
            report_gap(log, missing, number)
        if number > expected:
            walk.skip()
        walk.add(number, segment)
        expected = number + 1
        if more:  # behind a whole segment: the first line of the next was changed
            torn = expected
            log.report.find("malformed", segment_key(job.writer, torn), "What stands here in the run does not begin with the line of a segment.")
            walk.skip()
            log.end_unknown = True


def number_of(segment, writer):
    """The number of a segment of the writer, if its header is the one that its
    checkpoint names."""
    header = segment.header
    if header is None or header.writer != writer:
        return None
    try:
        if Checkpoint(segment.note_data).header_digest != sha256(segment.header_line):
            return None
    except BadSignature:
        return None
    return header.number


class Manifest:
    """What a bundle says that it is."""

    def __init__(self, line):
        values = json_object(line)
        self.since, self.until, self.created = (nanoseconds(field(values, n, str)) for n in ("since", "until", "created"))
        self.filter = field(values, "filter", dict, {})
        for name, value in self.filter.items():
            if name not in Period.FIELDS or type(value) is not str:
                raise Malformed("has a filter that this verifier does not know")
        self.filter = {n: v for n, v in self.filter.items() if v}
        self.about = {n: values[n] for n in ("since", "until", "created")}
        self.about["maker"] = field(values, "maker", str, "")
        if self.filter:
            self.about["filter"] = self.filter
        self.runs = {check_writer(w): self.run(r) for w, r in field(values, "runs", dict, {}).items()}
        self.records, self.queries = natural(values, "records"), natural(values, "queries")
        self.files = {name: self.file(f) for name, f in field(values, "files", dict, {}).items()}

    @staticmethod
    def run(values):
        if type(values) is not dict:
            raise Malformed("has a run that is no JSON object")
        run = Run(*(natural(values, n) for n in ("from", "to", "first", "size")))
        if run.start >= run.to or run.first >= run.size:
            raise Malformed("has a run without segments")
        return run

    @staticmethod
    def file(values):
        if type(values) is not dict:
            raise Malformed("has a file that is no JSON object")
        return natural(values, "size"), field(values, "sha256", str)


class Bundle(Evidence):
    """An unpacked bundle or its zip."""

    def __init__(self, source, trusted, witnesses, kept, used_files):
        """used_files are paths of files that the auditor uses beside the bundle."""
        super().__init__(trusted, witnesses)
        self.source, self.kept, self.used_files = source, kept, used_files
        self.manifest = None
        self.proofs = {}  # checkpoints that are proved to continue the runs
        self.chosen = self.queries = 0

    def verify(self):
        for name, what in self.source.odd.items():
            self.report.find("unexplained", name, f"This {what}: a bundle holds nothing of the kind.")
        if not self.read_manifest():
            return
        self.period = Period(self.manifest.since, self.manifest.until, self.manifest.filter)
        self.check_names()
        self.read_announcements()
        self.walk()
        self.check_files()
        self.read_proofs()
        self.check_witnesses()
        self.check_cosigned()
        self.check_kept(self.kept)
        for writer in sorted(set(self.announcements) | set(self.manifest.runs)):
            self.check_run(writer)
        self.check_approvals()
        self.check_filter()

    def read_manifest(self):
        if "manifest" not in self.source.sizes:
            self.report.find("missing", "manifest", "This bundle has no manifest: nothing says what it must hold.")
            return False
        try:
            data = read_whole(self.source, "manifest", MAX_MANIFEST)
            text = self.open_manifest(data)
            lines = text.split(b"\n")
            if not text.startswith(BUNDLE_MAGIC) or len(lines) != 3 or lines[2]:
                raise Malformed("does not have the lines of a manifest")
            self.manifest = Manifest(lines[1])
        except Malformed as e:
            self.report.find("malformed", "manifest", f"The manifest {e}.")
            return False
        if self.manifest.until > self.manifest.created:
            self.report.find("order", "manifest", "The period ends after the bundle was made, so that records of it can be missing.")
        if self.manifest.since >= self.manifest.until:
            self.report.find("order", "manifest", "The period ends before it begins.")
        return True

    def open_manifest(self, data):
        """The text of a manifest, whose signatures are checked if there are any."""
        if data.count(b"\n") == 2 and data.endswith(b"\n"):
            self.report.note("manifest", "The manifest is not signed: the report and the exports are as believable as whoever gave you the bundle. The records are proved all the same.")
            return data
        try:
            note = Note(data)
            note.verify(self.trusted)
            return note.text
        except BadSignature as e:
            self.report.find("signature", "manifest", f"The manifest {e}.")
        return data[: data.find(b"\n\n") + 1] or data

    def check_names(self):
        """There is every file that the manifest lists, and no other."""
        for name in self.manifest.files:
            if name not in self.source.sizes and name not in self.source.odd:
                self.report.find("missing", name, "The manifest lists this file, but it is not there.")
        for name in self.source.sizes:
            known = name == "manifest" or name in self.manifest.files
            if not known and not any(self.source.is_file(name, used) for used in self.used_files):
                self.report.find("unexplained", name, "The manifest does not list this file.")

    def check_files(self):
        """Every file has the digest that the manifest lists."""
        for name, (size, digest) in self.manifest.files.items():
            if name not in self.source.sizes:
                continue
            if self.source.sizes[name] != size:
                self.report.find("content", name, f"This file has {self.source.sizes[name]} bytes, and the manifest says {size}: it was changed.")
                continue
            try:
                found = self.digest_of(name)
            except (Malformed, *READ_ERRORS) as e:
                self.report.find("malformed", name, f"This file cannot be read: {e}.")
                continue
            if found != digest:
                self.report.find("content", name, "This file does not have the digest that the manifest lists: it was changed.")

    def digest_of(self, name):
        log = self.logs.get(name.rpartition("/")[2]) if name.startswith("evidence/runs/") else None
        if log is not None and log.file_digest:
            return log.file_digest
        digest = hashlib.sha256()
        with self.source.open(name) as f:
            for chunk in iter(lambda: f.read(MIB), b""):
                digest.update(chunk)
        return digest.hexdigest()

    def writers_in(self, folder):
        for name in sorted(self.source.sizes):
            if name.startswith(folder) and writer_parts(name[len(folder) :]):
                yield name[len(folder) :]

    def read_announcements(self):
        for writer in self.writers_in("evidence/writers/"):
            self.announcements[writer] = read_announcement(self.report, self.source, writer, self.trusted)
        self.need_announcements()
        self.successors = successors_of(self.announcements)

    def walk(self):
        jobs, sizes, runs = [], [], set(self.writers_in("evidence/runs/"))
        for writer in sorted(runs | set(self.manifest.runs)):
            self.need_announcement(writer, "it has a run")
        for writer in sorted(runs - set(self.manifest.runs)):
            self.report.find("content", "manifest", f"The manifest does not say which segments the run of {writer} has.")
        for writer in sorted(runs & set(self.manifest.runs)):
            announcement = self.announcements.get(writer) or Announcement(writer)
            jobs.append(StoredRun(type(self.source), self.source.path, writer, self.manifest.runs[writer], announcement.key,
                                  self.trusted, self.witnesses.keys, self.period, self.manifest.created))
            sizes.append(self.source.sizes[run_file(writer)])
        for log in run_jobs(walk_run, jobs, sizes):
            self.logs[log.writer] = log
            self.report.add(log.report)

    def check_run(self, writer):
        """A run is what the manifest says, and holds all of the period."""
        log, run = self.logs.get(writer), self.manifest.runs.get(writer)
        if log is None:
            self.check_absent_run(writer, run)
            return
        if log.end < run.to:
            self.cut(log, f"the manifest says that the run goes up to segment {run.to - 1}")
        elif log.end > run.to or not log.has_gaps and (log.first, log.size) != (run.first, run.size):
            self.report.find("content", "manifest", f"The run of {writer} is not the one that the manifest describes.")
        first = log.first_record
        if log.begin > 0 and first is not None and first >= self.period.since and log.begin not in log.broken:
            self.report.find("missing", segment_key(writer, log.begin - 1), "This segment is missing: the run begins within the period, so that records of it can be before.")
        if log.end_unknown or self.ended(log) or self.reaches_until(log) or self.heard(writer, log, self.manifest.created):
            return
        self.cut(log, "the run ends within the period, not with writer.closed nor where a successor says, and its writer was not heard of for longer than it may be silent when the bundle was made")

    def check_absent_run(self, writer, run):
        announcement, told = self.announcements.get(writer), self.successors[writer].segments
        if run is None:
            if announcement.started is None or announcement.started >= self.period.until or told == 0:
                return
            if not told and self.heard(writer, None, self.manifest.created):
                return
        self.report.find("missing", run_file(writer), "The run of this writer is missing, which started before the end of the period.")

    def reaches_until(self, log):
        return log.last_record is not None and log.last_record >= self.period.until

    def must_reach(self, log, at):
        """A run that ends with its log must hold all that was ever seen of it; one of
        a writer that was running what was seen before the end of the period."""
        if self.ended(log):
            return True
        return at is not None and at < self.period.until and not self.reaches_until(log)

    def check_beyond(self, log, checkpoint, at, who):
        proved = self.proofs.get(log.writer)
        if self.must_reach(log, at):
            super().check_beyond(log, checkpoint, at, who)
        elif proved is None or proved.size != checkpoint.size:
            self.report.note(run_file(log.writer), f"A checkpoint of size {checkpoint.size} that {who} saw cannot be compared: the run ends at {log.size}.")
        elif proved.note.text != checkpoint.note.text:
            self.forked(log.writer, log.end - 1, who)

    def without_log(self, writer, at, who):
        if at is not None and at < self.period.until:
            self.report.find("missing", run_file(writer), f"The run of this writer is missing: {who} saw records of it before the end of the period.")

    def check_unknown_kept(self, writer):
        if writer_parts(writer)[1] < self.period.until:
            super().check_unknown_kept(writer)
        else:
            self.report.note(announcement_key(writer), "A kept checkpoint is of a writer that started after the period of this bundle.")

    def read_proofs(self):
        for writer in self.writers_in("evidence/proofs/"):
            name, log = proof_file(writer), self.logs.get(writer)
            if log is None:
                self.report.find("unexplained", name, "This proof belongs to no run.")
                continue
            try:
                self.proofs[writer] = self.read_proof(name, log)
            except BadSignature as e:
                self.report.find("signature", name, f"The checkpoint of this proof {e}.")
            except Malformed as e:
                if not log.end_unknown:
                    self.report.find("content", name, f"This proof {e}.")
            else:
                if self.proofs[writer].size > log.size and self.ended(log):
                    super().check_beyond(log, self.proofs[writer], None, "the maker of the bundle")

    def read_proof(self, name, log):
        """Verifies a consistency proof from a run's end; gives its checkpoint."""
        values = json_object(read_whole(self.source, name, MAX_SMALL_FILE))
        size, text, proof = natural(values, "size"), field(values, "checkpoint", str), field(values, "proof", list, [])
        if size != log.size:
            raise Malformed(f"is one from size {size}, and the run ends at {log.size}")
        hashes = [base64_bytes(h, 32) for h in proof]
        announcement = self.announcements.get(log.writer)
        checkpoint = Checkpoint(text.encode("utf-8", "surrogatepass"))
        checkpoint.verify(self.trusted, announcement.key if announcement else None, log.writer)
        if not is_consistent(log.size, log.root, checkpoint.size, checkpoint.root, hashes):
            raise Malformed("does not show that the later checkpoint continues the run")
        if values.get("witnessed"):
            self.read_witnessed_proof(log, announcement, field(values, "witnessed", str), field(values, "witnessed_proof", list, []))
        return checkpoint

    def read_witnessed_proof(self, log, announcement, text, proof):
        """Takes a cosigned checkpoint that is proved to continue the run."""
        cosigned, hashes = Cosigned(text), [base64_bytes(h, 32) for h in proof]
        checkpoint = cosigned.checkpoint
        checkpoint.verify(self.trusted, announcement.key if announcement else None, log.writer)
        if not is_consistent(log.size, log.root, checkpoint.size, checkpoint.root, hashes):
            raise Malformed("does not show that the cosigned checkpoint continues the run")
        at = cosigned.verify(self.witnesses.keys)
        if at is not None:
            self.cosigned_beyond[log.writer] = at

    def check_filter(self):
        """What the filter chooses is there, and counted right."""
        matching = set().union(*(log.matching for log in self.logs.values()))
        self.chosen = sum(log.chosen for log in self.logs.values())
        self.queries = sum(log.queries for log in self.logs.values())
        for writer in sorted(self.logs):
            log = self.logs[writer]
            for digest, sequence, value in log.others:
                if digest in matching:
                    self.chosen += 1
                    self.queries += value >> 1
                    if value & 1:
                        self.report.find("withheld", log.object_of(sequence), "The bundle's filter chooses a record of the same query, and so this one, but its body is withheld.", f"{writer}.{sequence}")
            if log.excused:
                self.report.note(run_file(writer), f"{log.excused} outcomes are of queries from before the run, whose intents cannot be compared.")
        found, said = (self.chosen, self.queries), (self.manifest.records, self.manifest.queries)
        if found != said and not any(log.has_gaps for log in self.logs.values()):
            self.report.find("content", "manifest", f"The manifest says that {said[0]} records and {said[1]} queries of the period match, but {found[0]} and {found[1]} do.")

    def miss_approval(self, log, sequence, query_ms, unread):
        if query_ms * 10**6 < self.period.since and any(other.begin > 0 for other in self.logs.values()):
            self.report.note(log.object_of(sequence), "The approval that this record relies on may have been given before the period, where this bundle does not reach.", f"{log.writer}.{sequence}")
        else:
            super().miss_approval(log, sequence, query_ms, unread)

    def about(self):
        return self.manifest.about if self.manifest else None

    def checkpoints(self):
        found = super().checkpoints()
        found.update((w, c.note.data.decode("utf-8", "replace")) for w, c in self.proofs.items())
        return found

    def counts(self):
        return {"objects": len(self.source.sizes), "writers": len(self.announcements),
                "segments": sum(log.segments for log in self.logs.values()), "records": self.chosen, "queries": self.queries}


# ------------------------------------------------------------------- main


def kept_checkpoints(path):
    if path is None:
        return []
    try:
        return kept_of(json_object(read_small_file(path)), path)
    except Malformed as e:
        raise CannotCheck(f"{path} {e}") from e


def is_bundle(folder):
    """Whether a folder is an unpacked bundle, perhaps without its manifest."""
    if "manifest" in folder.sizes or "manifest" in folder.odd:
        return True
    if "fetched.json" in folder.sizes:
        return False
    return "README.txt" in folder.sizes and "verify.py" in folder.sizes or any(n.startswith("evidence/runs/") for n in folder.sizes)


def read_witnesses(options):
    """What the options ask of witnesses."""
    if options.witness_keys is None:
        if options.witness_within or options.witness_since:
            raise CannotCheck("--witness-within and --witness-since go with --witness-keys")
        return Witnesses({}, None, 0)
    within = None
    if options.witness_within is not None:
        match = re.fullmatch(r"([1-9][0-9]{0,8})([smh])", options.witness_within)
        if match is None:
            raise CannotCheck("--witness-within is a number and s, m or h, such as 30m")
        within = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] * SECOND
    try:
        since = 0 if options.witness_since is None else nanoseconds(options.witness_since)
    except Malformed as e:
        raise CannotCheck(f"--witness-since {e}") from e
    return Witnesses(read_keys(options.witness_keys, WITNESS_KEY), within, since)


def open_evidence(options):
    """What there is to verify at the path of the options."""
    trusted, kept = read_keys(options.keys), kept_checkpoints(options.checkpoints)
    witnesses = read_witnesses(options)
    try:
        now = time.time_ns() if options.now is None else nanoseconds(options.now)
    except Malformed as e:
        raise CannotCheck(f"--now {e}") from e
    used = [p for p in (options.keys, options.checkpoints, options.witness_keys) if p is not None]
    if not os.path.isdir(options.path):
        return Bundle(Archive(options.path), trusted, witnesses, kept, used)
    folder = Folder(options.path)
    if is_bundle(folder):
        return Bundle(folder, trusted, witnesses, kept, used)
    if "fetched.json" not in folder.sizes and not any(n.startswith("evidence/") for n in [*folder.sizes, *folder.odd]):
        raise CannotCheck(f"{options.path} holds neither a bundle nor copied evidence")
    return Store(folder, trusted, witnesses, now, kept)


def print_json(evidence):
    report = evidence.report
    out = {"findings": report.listed(report.findings), "notes": report.listed(report.notes), **evidence.counts(), "checkpoints": evidence.checkpoints()}
    if evidence.about():
        out["bundle"] = evidence.about()
    print(json.dumps(out, indent=1))


def printable(text):
    """Text without what a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_about(about):
    """What a bundle is about by its manifest: to be compared with what was asked for."""
    if about is None:
        return
    print(printable(f"Bundle from {about['since']} until {about['until']}, made at {about['created']} by {about['maker']!r}"))
    if "filter" in about:
        chosen = ", ".join(f"{name} {value}" for name, value in about["filter"].items())
        print(printable(f"with the content of the queries and records with {chosen}, and of nothing else."))
    print("Compare this with what you asked for.")


def print_text(evidence):
    report = evidence.report
    for title, places in (("finding", report.findings), ("note", report.notes)):
        for f in report.listed(places):
            what = f["kind"] if title == "finding" else "note"
            print(printable(f"{what}: {f['object']} {f['record']}".rstrip() + f": {f['message']}"))
    print_about(evidence.about())
    counts = evidence.counts()
    print(", ".join(f"{n} {name}" for name, n in counts.items()))
    print(f"{len(report.findings)} findings." if report.findings else "Nothing was found: what these files hold is what was recorded.")


def parse_options(arguments):
    parser = argparse.ArgumentParser(description="Verifies evidence of a Chaperone gateway: copied objects or a bundle.")
    parser.add_argument("--keys", required=True, metavar="FILE", help="public keys that you trust, one a line")
    parser.add_argument("--checkpoints", metavar="FILE", help="JSON of an earlier verification, kept outside of the store")
    parser.add_argument("--witness-keys", metavar="FILE", help="keys of witnesses that you trust, one a line: every log must be cosigned")
    parser.add_argument("--witness-within", metavar="TIME", help="until when a record must be cosigned, such as 30m; default what was announced, at most 1h")
    parser.add_argument("--witness-since", metavar="TIME", help="since when there are witnesses (RFC 3339, UTC)")
    parser.add_argument("--now", metavar="TIME", help="time of copying, if fetched.json does not tell it (RFC 3339, UTC)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("path", help="an unpacked bundle, a bundle's zip, or a folder of copied objects")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse_options(arguments)
    try:
        evidence = open_evidence(options)
        evidence.verify()
        if evidence.report.omitted:
            evidence.report.note("", f"{evidence.report.omitted} further findings are not listed.")
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        (print_json if options.json else print_text)(evidence)
        sys.stdout.flush()
    except CannotCheck as e:
        print(printable(f"verify.py: {e}"), file=sys.stderr)
        return 2
    except (Exception, KeyboardInterrupt) as e:  # whatever it is, nothing was verified
        print(printable(f"verify.py: could not check: {type(e).__name__}: {e}"), file=sys.stderr)
        return 2
    return 1 if evidence.report.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
