"""IDX and npz files, plain and compressed."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np

from .base import MEGABYTE, Rng, deflated_zeros
from .damage import NUMBERS, damaged


def idx_plain(rank: int = 3, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    shape = (7, 6, 5)[:rank]
    array = rng.integers(0, 256 if seed % 2 else 3, shape, np.uint8)  # noise, and what compresses well
    return struct.pack(f">BBBB{rank}I", 0, 0, 8, rank, *shape) + array.tobytes()


def says_idx(content: bytes) -> np.ndarray:
    if content[:2] == b"\x1f\x8b":
        member = zlib.decompressobj(wbits=31)  # verifies CRC and length
        plain = member.decompress(content) + member.flush()
        assert member.eof
        assert not member.unused_data
    else:
        plain = content
    *_, kind, rank = plain[:4]
    shape = struct.unpack(f">{rank}I", plain[4 : 4 + 4 * rank])
    assert (plain[:2], kind, rank) == (b"\0\0", 8, 3)
    return np.frombuffer(plain[4 + 4 * rank :], np.uint8).reshape(shape)


def informed_idx(rng: Rng, content: bytes) -> bytes:
    """Change the header or the data inside, and compress again."""
    plain = bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    for _ in range(rng.integers(1, 3)):
        place = int(rng.integers(4)) if rng.random() < 0.3 else 4 * int(rng.integers(1, 5))
        number = int(NUMBERS[rng.integers(len(NUMBERS))]) % 2**32 if rng.random() < 0.7 else int(rng.integers(300))
        width = 1 if place < 4 else 4
        plain[place : place + width] = (number % 256**width).to_bytes(width, "big")
    packed = gzip.compress(plain, mtime=0) if rng.random() < 0.8 else bytes(plain)
    return packed + packed * (rng.random() < 0.1) + bytes(int(rng.integers(1, 600))) * (rng.random() < 0.1)


def hostile_idx() -> dict[str, bytes]:
    def squeezed(*shape: int, size: int) -> bytes:
        head = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        crc = zlib.crc32(head)
        for _ in range(size >> 20):
            crc = zlib.crc32(MEGABYTE, crc)
        start = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = start.compress(head) + start.flush(zlib.Z_FULL_FLUSH) + deflated_zeros(size)
        return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + data + struct.pack("<LL", crc, (len(head) + size) % 2**32)

    return {
        "1 GiB in 1 MB": squeezed(10, 10, 10, size=1 << 30),
        "three times 2³² − 1": squeezed(*[0xFFFFFFFF] * 3, size=0),
        "a product that overflows to little": squeezed(2**16, 2**16, 2**32 - 1, size=0),
        "4 GiB declared": squeezed(64, 8192, 8192, size=0),
        "a thousand empty members": gzip.compress(b"") * 1000,
        "empty": b"",
        "a web page": b"<!DOCTYPE html><html></html>",
        "a million blocks of nothing": b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\0\0\0\xff\xff" * 200_000,
        "a name without end": b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"a" * 1_000_000,
    }


def npz_arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    if seed % 2:
        names = ("x_train", "y_train", "x_test", "y_test")
    return {
        name: rng.integers(0, 3, (5 + k // 2, 4, 3, 3)[: 4 if k % 2 == 0 else 1]).astype(
            np.int64 if k % 2 else np.uint8
        )
        for k, name in enumerate(names)
    }


def npz_seeds() -> list[bytes]:
    files = []
    for seed, save in enumerate([np.savez, np.savez_compressed, np.savez_compressed]):
        buffer = io.BytesIO()
        save(buffer, **npz_arrays(seed))
        files.append(buffer.getvalue())
    return files


def says_npz(content: bytes) -> list:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = list(npz_arrays(0)) if "train_images.npy" in archive.namelist() else list(npz_arrays(1))
        # Reading a member whole makes zipfile verify its CRC.
        members = [io.BytesIO(archive.read(f"{name}.npy")) for name in names]
    arrays = [np.lib.format.read_array(member, allow_pickle=False) for member in members]
    assert not any(member.read(1) for member in members)
    return arrays


def informed_npz(rng: Rng, content: bytes) -> bytes:
    """Change a member's header or data, or its name, and write the archive anew with right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    chosen = list(members)[rng.integers(len(members))]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            if name == chosen:
                words = [(b"|u1", b"|O8"), (b"|u1", b"<M8"), (b"<i8", b">i8"), (b"<i8", b"<c8"), (b"False", b"True ")]
                words += [(b"(5,", b"(9,"), (b"(5,", b"(-5,"), (b"4, 3", b"3, 4"), (b"(5,", b"(9999999999999,")]
                kind = rng.integers(4)
                if kind == 0:
                    name = "../" + name if rng.random() < 0.5 else name.upper()
                elif kind == 1:
                    data = damaged(rng, [data], [b"'descr'", b"(", b")", b"True", b"\n", b"\x93NUMPY", b"lambda:"])
                else:
                    data = data.replace(*words[rng.integers(len(words))])
            archive.writestr(name, data)
    return damaged(rng, [buffer.getvalue()]) if rng.random() < 0.2 else buffer.getvalue()


def hostile_npz() -> dict[str, bytes]:
    def archive(member: bytes, names: int = 4) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for name in [*npz_arrays(0), *map(str, range(names - 4))]:
                file.writestr(f"{name}.npy", member)
        return buffer.getvalue()

    def npy(shape: str, kind: str = "|u1", size: int = 0) -> bytes:
        head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + bytes(size)

    return {
        "16 MB behind a small header": archive(npy("(5, 4, 3)", size=16 << 20)),
        "a large header in front of nothing": archive(npy("(4294967296, 1, 1)")),
        "overflow": archive(npy("(4294967296, 4294967296, 4294967296)")),
        "many axes": archive(npy("(" + "1," * 2000 + ")")),
        "nested shape": archive(npy("(" * 2000 + ")" * 2000)),
        "long number": archive(npy("(" + "9" * 5000 + ",)")),
        "pickle": archive(npy("(5,)", "|O") + b"cos\nsystem\n(S'false'\ntR."),
        "version 3 with a header of 4 GiB": archive(b"\x93NUMPY\x03\0" + b"\xff" * 4),
        "version 2 with a header of 4 GiB": archive(b"\x93NUMPY\x02\0" + b"\xff" * 4),
        "version 2 with a header of 12 MB": archive(b"\x93NUMPY\x02\0" + struct.pack("<I", 12 << 20) + bytes(12 << 20)),
        "two hundred thousand members": many_members(200_000),
        "empty": b"",
        "no member": b"PK\5\6" + bytes(18),
    }


def many_members(count: int) -> bytes:
    """Return an archive whose directory alone is long: 46 bytes and a name for each member."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * count
    return directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
