"""PNG and JPEG files."""

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.images import load_image, prepare_digit

from .base import Anything, Rng, zeros
from .damage import NUMBERS, damaged

PICTURE = (9, 11, 3)


def picture_seeds(kind: str) -> list[bytes]:
    rng, files = np.random.default_rng(0), []
    smooth = np.add.outer(np.arange(PICTURE[0]), np.arange(PICTURE[1])).astype(np.uint8) * 9
    noise = rng.integers(0, 256, PICTURE, np.uint8)
    images = [Image.fromarray(smooth), Image.fromarray(noise)]
    if kind == "PNG":
        images += [images[1].convert("P"), images[1].convert("RGBA"), Image.fromarray(smooth.astype(np.uint16) * 200)]
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files.append(buffer.getvalue())
    return files


def read_picture(path: Path) -> np.ndarray:
    """Read it both ways that there are; a picture without ink is no digit."""
    found = load_image(path, PICTURE)
    try:
        prepare_digit(path)
    except DataError as error:
        if "no ink" not in str(error):
            raise
    return found


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return a PNG's chunks as (type, data), after verifying every CRC."""
    found, place = [], 8
    while not found or found[-1][0] != b"IEND":
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        data, crc = content[place + 8 : place + 8 + length], content[place + 8 + length : place + 12 + length]
        assert struct.pack(">I", zlib.crc32(kind + data)) == crc
        found.append((kind, data))
        place += 12 + length
    return found


def join_chunks(parts: list[tuple[bytes, bytes]]) -> bytes:
    crcs = [struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts]
    pieces = [struct.pack(">I", len(d)) + k + d + crc for (k, d), crc in zip(parts, crcs, strict=True)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def says_png(content: bytes) -> Any:
    """The pixels of the whole file that has the same chunks; for other chunks, whose CRCs are right, anything."""
    essential = [chunk for chunk in chunks(content) if not chunk[0][0] & 0x20 or chunk[0] == b"tRNS"]
    return PIXELS.get(hashlib.sha256(repr(essential).encode()).hexdigest(), Anything)


def pixels(content: bytes) -> np.ndarray:
    """Decode by hand: Pillow's decoder, but nothing of lenumba."""
    image = Image.open(io.BytesIO(content))
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image, np.float64) / 257).round().astype(np.uint8))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB").resize(PICTURE[1::-1], Image.Resampling.BILINEAR))


PIXELS = {hashlib.sha256(repr(chunks(file)).encode()).hexdigest(): pixels(file) for file in picture_seeds("PNG")}


def informed_png(rng: Rng, content: bytes) -> bytes:
    """Change, add, drop or swap chunks, with right CRCs."""
    parts = chunks(content)
    for _ in range(rng.integers(1, 3)):
        k = int(rng.integers(len(parts)))
        kind, data = parts[k]
        action = rng.integers(6)
        if action == 0:  # IHDR: width, height, depth, colour type, compression, filter, interlace
            fields = list(struct.unpack(">IIBBBBB", parts[0][1][:13].ljust(13, b"\0")))
            field = rng.integers(7)
            fields[field] = int(NUMBERS[rng.integers(len(NUMBERS))]) % (2**32 if field < 2 else 256)
            if field > 1 and rng.random() < 0.7:
                fields[field] = int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16]))
            parts[0] = (parts[0][0], struct.pack(">IIBBBBB", *fields))
        elif action == 1 and data:
            parts[k] = (kind, damaged(rng, [data]))
        elif action == 2:
            del parts[k]
        elif action == 3:
            parts.insert(k, parts[rng.integers(len(parts))])
        elif action == 4:
            names = [b"tRNS", b"PLTE", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"pHYs"]
            parts.insert(k, (names[rng.integers(len(names))], rng.bytes(int(rng.integers(0, 40)))))
        else:
            parts[k] = (bytes(damaged(rng, [kind])[:4].ljust(4, b"x")), data)
        if not parts:
            break
    return join_chunks(parts)


def png(width: int, height: int, colour: int, data: bytes, depth: int = 8, *more: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return join_chunks([(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")])


def hostile_png() -> dict[str, bytes]:
    text = zlib.compress(bytes(1 << 20))
    return {
        "7000×7000 RGBA without data": png(7000, 7000, 6, b""),
        "7000×7000 RGBA, all there": png(7000, 7000, 6, zeros(7000 * 28001)),
        "7000×7000 grey, all there": png(7000, 7000, 0, zeros(7000 * 7001)),
        "3800×3800 RGB, all there": png(3800, 3800, 2, zeros(3800 * 11401)),
        "2700×2700 RGBA, all there": png(2700, 2700, 6, zeros(2700 * 10801)),
        "5000×5000, 16 bits": png(5000, 5000, 0, zeros(5000 * 10001), 16),
        "1×49 000 000": png(1, 49_000_000, 0, zeros(98_000_000)),
        "49 000 000×1": png(49_000_000, 1, 0, zeros(49_000_001)),
        "1×10 000 bits": png(1, 10_000, 0, zeros(20_000), 1),
        "60000×60000": png(60000, 60000, 0, b""),
        "2³¹×2³¹": png(2**31 - 1, 2**31 - 1, 0, b""),
        "0×0": png(0, 0, 0, b""),
        "texts of 200 MB": png(28, 28, 0, zeros(28 * 29), 8, *[(b"zTXt", b"a\0\0" + text)] * 200),
        "one text of 100 MB": png(28, 28, 0, zeros(28 * 29), 8, (b"zTXt", b"a\0\0" + zeros(100 << 20))),
        "a profile of 100 MB": png(28, 28, 0, zeros(28 * 29), 8, (b"iCCP", b"a\0\0" + zeros(100 << 20))),
        "more pixels than announced": png(28, 28, 0, zeros(100 << 20)),
        "a hundred thousand chunks": png(28, 28, 0, zeros(28 * 29), 8, *[(b"teSt", b"")] * 100_000),
        "a palette of nothing": png(28, 28, 3, zeros(28 * 29)),
        "a chunk of 2 GiB": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**31 - 1, b"teSt"),
        "empty": b"",
    }


def hostile_jpeg() -> dict[str, bytes]:
    def blank(width: int, height: int, **options: bool) -> bytes:
        buffer = io.BytesIO()
        Image.new("L" if options.pop("grey", False) else "RGB", (width, height), "white").save(
            buffer, "JPEG", **options
        )
        return buffer.getvalue()

    return {
        "48 million pixels": blank(8000, 6000),
        "16000×16000, grey": blank(16000, 16000, grey=True),
        "12 million pixels, progressive": blank(4000, 3000, progressive=True),
        "10 million pixels, progressive": blank(4000, 2500, progressive=True),
        "65000×900": blank(65000, 900),
        "twenty thousand empty segments": b"\xff\xd8" + b"\xff\xe1\0\2" * 20_000,
        "empty": b"",
    }


def says_anything(content: bytes) -> Any:
    return Anything
