#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Restores a backup of files from a Holdfast repository, written from protocol/README.md alone.

usage: read.py REPOSITORY (--reader FILE | --kit FILE) BACKUP|latest OUT

REPOSITORY is <store>/<key set>. Everything is checked: signatures, certificates, key commitments, chunk
names. A writer's file cannot read, here as anywhere. Debian: python3-nacl -cryptography -zstandard -msgpack.
"""
import hashlib
import hmac
import os
import pathlib
import re
import struct
import sys
import uuid
import zlib

import msgpack
import nacl.bindings
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Damaged(Exception):
    pass


def need(held, what):
    if not held:
        raise Damaged(what)


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def derive(key, info):
    return mac(key, info + b"\x01")


def open_gcm(key, ad, sealed):
    return AESGCM(key).decrypt(bytes(12), sealed, ad)


def check_signature(public, label, text, signature, what):
    try:
        nacl.bindings.crypto_sign_open(signature + label + b"\0" + hashlib.sha256(text).digest(), public)
    except Exception:
        raise Damaged(f"{what} is not signed as it should be") from None


def key_record(data, magic, label=None, root=None):
    """A key record's members; label None: the record is not signed."""
    need(data[:4] == magic and data[4] == 1, f"not a {magic.decode()} record")
    length = struct.unpack_from("<I", data, 6)[0]
    rest = data[10 + length:]
    if label is None:
        need(rest == b"", "bytes follow a record")
    else:
        need(len(rest) == 64, "a signature is missing")
        check_signature(root, label, data[:10 + length], rest, magic.decode())
    return msgpack.unpackb(data[10:10 + length], raw=False)


def kit_members(text):
    """set, set_id, root's public key and reader's secret from a recovery kit."""
    lines = dict(re.findall(r"^(key set|set id|root|reader|check) +(.+?) *$", text, re.M))

    def seed(digits):
        number = 0
        for digit in re.sub(r"[- ]", "", digits).upper():
            number = number << 5 | CROCKFORD.index({"O": "0", "I": "1", "L": "1"}.get(digit, digit))
        return (number >> 4).to_bytes(32, "big")  # 52 digits are 260 bits

    root, secret, set_id = seed(lines["root"]), seed(lines["reader"]), uuid.UUID(lines["set id"]).bytes
    check = hashlib.sha256(lines["key set"].encode() + b"\0" + set_id + root + secret).hexdigest()[:8]
    need(check == lines["check"], "the recovery kit is mistyped")
    return {"set": lines["key set"], "set_id": set_id, "root": nacl.bindings.crypto_sign_seed_keypair(root)[0],
            "secret": secret}


class Repository:
    def __init__(self, path, holder):
        self.path = pathlib.Path(path)
        self.root, self.set_id, self.secret = holder["root"], holder["set_id"], holder["secret"]
        self.public = nacl.bindings.crypto_scalarmult_base(self.secret)
        self.slot_id = hashlib.sha256(self.public).digest()[:16]
        config = key_record(self.read("config"), b"HFCF", b"holdfast config 1", self.root)
        keys = key_record(self.read("keys/" + holder["set"]), b"HFKY", b"holdfast keys 1", self.root)
        for record in config, keys:
            need(record["root"] == self.root and record["set_id"] == self.set_id, "another key set's repository")
            need(record["generation"] >= holder.get("generation", 0), "an older generation of the key set")
        self.id_secret = None
        for at in range(0, len(keys["readers"]), 32):
            if keys["readers"][at:at + 32] == self.public:
                self.id_secret = self.unseal_box(keys["boxes"][at // 32 * 80:][:80])
        need(self.id_secret, "the repository is not sealed to this reader")
        self.chunk_key = derive(self.id_secret, b"holdfast chunk ids\0")
        self.packs, self.chunks, self.keys = {}, {}, {}
        for name in sorted((self.path / "index").glob("*")):
            self.load_index(f"index/{name.name}")

    def read(self, name):
        return (self.path / name).read_bytes()

    def unseal_box(self, box):
        return nacl.bindings.crypto_box_seal_open(box, self.public, self.secret)

    def unseal(self, data, at, count):
        for slot in range(count):
            start = at + 96 * slot
            if data[start:start + 16] == self.slot_id:
                return self.unseal_box(data[start + 16:start + 96])
        raise Damaged("not sealed to this reader")

    def object(self, name, kind):
        """Head, content and certificate of a stored object."""
        data = self.read(name)
        need(data[:4] == b"HFOB" and data[4] == 1 and data[5] == 1 and data[6] == kind, f"{name}: not this object")
        need(data[8:24] == self.set_id, f"{name}: another key set")
        head_len, body_len = struct.unpack_from("<II", data, 24)
        at = 48 + 96 * data[7]
        key = self.unseal(data, 48, data[7])
        need(hmac.compare_digest(mac(key, data[:at]), data[at:at + 32]), f"{name}: key commitment")
        head = data[at + 32:at + 32 + head_len]
        body = at + 32 + head_len
        need(len(data) == body + body_len + 64, f"{name}: length")
        inner = open_gcm(derive(key, b"holdfast object body"), data[:body], data[body:body + body_len])
        size = struct.unpack_from("<H", inner)[0]
        cert = key_record(inner[2:2 + size], b"HFCT", b"holdfast certificate 1", self.root)
        need(cert["set_id"] == self.set_id and cert["role"] == "write", f"{name}: certificate")
        check_signature(cert["sign"], b"holdfast object %d 1" % kind, data[:-64], data[-64:], name)
        return head, inner[2 + size:], cert

    def load_index(self, name):
        head, body, _ = self.object(name, 1)
        objects = {row[0]: (row[1], row[4]) for row in msgpack.unpackb(head, strict_map_key=False)[2]}
        for pack, rows in msgpack.unpackb(body, strict_map_key=False)[2]:
            self.packs[pack] = objects[pack]
            for row in rows:
                self.chunks.setdefault(row[0], []).append((pack, *row[1:]))

    def object_of(self, pack):
        name = str(uuid.UUID(bytes=self.packs[pack][0]))
        return self.path / "packs" / name[:2] / name

    def pack(self, pack):
        """The stored bytes and the key of a pack."""
        if pack not in self.keys:
            name = self.object_of(pack).name
            data = self.read(f"packs/{name[:2]}/{name}")
            need(data[:4] == b"HFPK" and data[4:6] == b"\1\1" and data[8:40] == self.set_id + pack, f"pack {name}")
            at = 40 + 96 * data[7]
            key = self.unseal(data, 40, data[7])
            need(hmac.compare_digest(mac(key, data[:at]), data[at:at + 32]), f"pack {name}: key commitment")
            self.keys[pack] = data, key
        return self.keys[pack]

    def chunk(self, name):
        need(name in self.chunks, "a chunk is in no index")
        # An index object may name packs that were collected since; what is needed of them lies in others too.
        there = [place for place in self.chunks[name] if self.object_of(place[0]).exists()]
        need(there, "no pack that holds a chunk is there")
        pack, ordinal, codec, offset, stored, plain = there[-1]
        need(plain <= 4 << 20, "a chunk is too long")
        data, key = self.pack(pack)
        place = struct.pack("<I", ordinal)
        ad = self.set_id + pack + place + bytes([data[6], codec]) + struct.pack("<I", plain) + name
        coded = open_gcm(derive(key, b"chunk" + place + name + bytes([codec])), ad, data[offset:offset + stored])
        if codec == 2:
            coded = zstandard.ZstdDecompressor().decompress(coded, max_output_size=plain)
        elif codec == 3:
            coded = zlib.decompress(coded)
        need(len(coded) == plain and mac(self.chunk_key, coded) == name, "a chunk is not what its name says")
        return coded

    def manifest(self, backup):
        _, body, cert = self.object(f"manifests/{backup}", 2)
        root = msgpack.unpackb(body, strict_map_key=False)
        need(uuid.UUID(bytes=root[2]) == backup, "a manifest under another backup's name")
        need(cert["sources"] == "*" or root[3].decode() in cert["sources"].split(), "a writer of another source")
        return root

    def entries(self, references, levels):
        for reference in references:
            page = msgpack.unpackb(self.chunk(reference[0]), strict_map_key=False)
            if levels:
                yield from self.entries(page, levels - 1)
            else:
                yield from page

    def content(self, entry):
        extents = list(entry.get(10, []))
        for page in entry.get(11, []):
            extents += msgpack.unpackb(self.chunk(page), strict_map_key=False)
        total = 0
        for extent in extents:
            piece = bytes(extent[0]) if len(extent) == 1 else self.chunk(extent[0])[extent[1]:extent[1] + extent[2]]
            total += len(piece)
            yield piece
        need(total == entry.get(9, 0), "content does not add up")


def inside(out, path):
    parts = path.split(b"/")
    need(all(part not in (b"", b".", b"..") for part in parts) and b"\0" not in path, "a path that leaves its target")
    return os.path.join(os.fsencode(out), *parts)


def restore(repository, backup, out):
    root = repository.manifest(backup)
    late, count = [], 0
    os.makedirs(out)
    for entry in repository.entries(root[11], root[10]):
        path = inside(out, entry[1])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        count += 1
        if entry[2] == 2:
            os.makedirs(path, exist_ok=True)
            late.append(entry)
        elif entry[2] == 1:
            with open(path, "xb") as file:
                for piece in repository.content(entry):
                    file.write(piece)
            os.chmod(path, entry.get(3, 0) & 0o777)
            os.utime(path, ns=(entry.get(8, 0),) * 2)
        elif entry[2] in (3, 4):
            late.append(entry)
    need(count == root[12], "entries are missing")
    for entry in sorted(late, key=lambda e: (-e[2], e[1])):  # hard links, symbolic links, then directories
        path = inside(out, entry[1])
        if entry[2] == 4:
            os.link(inside(out, entry[12]), path)
        elif entry[2] == 3:
            os.symlink(entry[12], path)
            os.utime(path, ns=(entry.get(8, 0),) * 2, follow_symlinks=False)
    for entry in sorted((e for e in late if e[2] == 2), key=lambda e: e[1], reverse=True):
        os.chmod(inside(out, entry[1]), entry.get(3, 0) & 0o777)
        os.utime(inside(out, entry[1]), ns=(entry.get(8, 0),) * 2)
    print(f"{count} entries of {root[3].decode()}")


def main():
    if len(sys.argv) != 6 or sys.argv[2] not in ("--reader", "--kit"):
        sys.exit(__doc__)
    path, how, holder, backup, out = sys.argv[1:]
    data = pathlib.Path(holder).read_bytes()
    if how == "--kit":
        members = kit_members(data.decode())
    else:
        need(data[:4] == b"HFRF", f"{holder} is no reader's file: a writer's file cannot read")
        members = key_record(data, b"HFRF")
    if backup == "latest":
        backup = max(p.name for p in (pathlib.Path(path) / "manifests").iterdir())
    restore(Repository(path, members), uuid.UUID(backup), out)


if __name__ == "__main__":
    try:
        main()
    except Damaged as damage:
        sys.exit(f"read.py: {damage}")
    except Exception as fault:  # a tag, a frame or a map that does not hold: all the same to a reader
        sys.exit(f"read.py: {type(fault).__name__}: {fault}")
