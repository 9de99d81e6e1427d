#!/usr/bin/env python3
"""Verifies evidence of a Chaperone gateway: copied objects, or a bundle.

    python3 verify.py --keys FILE [--checkpoints FILE] [--now TIME] [--json] PATH

PATH is an unpacked bundle, a bundle's zip, or a folder that "chaperone evidence
fetch" filled. FILE of --keys holds the public keys that you trust, one a line;
take them from somebody you trust, not from the bundle. FILE of --checkpoints is
what an earlier verification printed with --json, kept outside of the store.

Exit status: 0 nothing found, 1 findings, 2 could not check.

This program was written from docs/evidence-format.md alone, without a look at
the gateway's own verifier, so that one checks the other. It needs Python 3.9 and
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
import datetime
import functools
import hashlib
import io
import json
import multiprocessing
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
QUERY_ID = re.compile(r"q_([0-9a-v]{32})")
SEGMENT_NAME = re.compile(r"[0-9]{16}")


def writer_parts(writer):
    """(instance, start in nanoseconds) of a writer's name; None if it is none."""
    match = WRITER.fullmatch(writer)
    if match is None or match[1] in ("writers", "links"):
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
    """A public key: <name>+<hash>+<base64(0x01 | 32-byte key)>."""

    def __init__(self, line):
        parts = line.split("+", 2)
        if len(parts) != 3:
            raise Malformed("is not a public key")
        self.name = parts[0]
        data = base64_bytes(parts[2], 33)
        self.public = data[1:]
        self.hash = sha256(self.name.encode("utf-8", "replace") + b"\n" + data)[:4]
        if not is_key_name(self.name) or data[0] != 1 or parts[1] != self.hash.hex():
            raise Malformed("is not a public key: its parts do not agree")
        if negated_multiples(self.public) is None:
            raise Malformed("is not a public key: it is no point of the curve")

    @property
    def identity(self):
        return self.name, self.hash


def is_key_name(name):
    return name != "" and "+" not in name and not any(c.isspace() for c in name) and name.isprintable()


def read_keys(path):
    """The trusted keys of a file, by name and hash."""
    trusted = {}
    for number, line in enumerate(read_small_file(path).split(b"\n"), 1):
        try:
            text = line.decode("utf-8").strip()
            if text and not text.startswith("#"):
                key = Key(text)
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
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            return os.fdopen(os.open(os.path.join(self.path, *name.split("/")), flags), "rb")
        except OSError as e:
            raise CannotCheck(f"{name} cannot be read: {e.strerror}") from e

    def is_file(self, name, path):
        """Whether a name of the folder is the file of a path."""
        try:
            return os.path.samefile(os.path.join(self.path, *name.split("/")), path)
        except (OSError, ValueError):
            return False


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
        entry = lines.take()
        if len(entry) < MIN_ENTRY or lines.at_end() or entry[:1] != b"{":
            raise Malformed("has a line that is no entry where one must be")
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
        self.segments = self.records = self.queries = 0
        self.begin, self.end = begin, begin  # numbers: first, and after the last
        self.first = self.size = 0  # of the tree: before the first segment, after the last
        self.root = fold([])
        self.checkpoint = b""  # the newest that is sound
        self.closed = False  # whether the last record is writer.closed
        self.heard = None  # time of the newest segment
        self.first_record = self.last_record = None  # times
        self.has_gaps = False  # whether some records could not be read
        self.end_unknown = False  # whether the last segment could not be read
        # of each segment whose checkpoint is intact:
        self.numbers, self.sizes = array.array("Q"), array.array("Q")
        self.texts, self.notes = bytearray(), bytearray()  # digests of its text and of its note
        self.observed = []
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


ENTRY_TYPES = {name: str for name in ("id", "writer", "time", "type", "query_id", "session_id", "request_id", "connection", "purpose_of_use", "effect", "status", "body")}
ENTRY_TYPES.update(sequence=int, actor=dict, relations=list, patients=list, approvers=list, observed=list)


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
