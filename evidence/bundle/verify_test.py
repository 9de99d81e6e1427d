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

    def say(self, seconds, type_, body=None, **fields):
        self.write(seconds, self.record(seconds, type_, body, **fields))

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
