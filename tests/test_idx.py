"""IDX files: what is read is exactly what was written, and everything else is refused."""

import gzip
import hashlib
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.idx import idx_sha256, read_idx


def header(*dimensions: int, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(dimensions)}I", 0, 0, kind, len(dimensions), *dimensions)


def encode(array: np.ndarray) -> bytes:
    return header(*array.shape) + array.tobytes()


IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
PLAIN = encode(IMAGES)
PACKED = gzip.compress(PLAIN, mtime=0)


@pytest.fixture
def read(tmp_path):
    """Write bytes to a file and read it back as IDX."""

    def read(content: bytes, rank: int = 3) -> np.ndarray:
        path = tmp_path / "file"
        path.write_bytes(content)
        return read_idx(path, rank, "training images")

    return read


@pytest.mark.parametrize("array", [IMAGES, np.arange(7, dtype=np.uint8), np.ones((2, 3, 4, 3), np.uint8)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_plain_and_compressed(read, array, pack):
    result = read(pack(encode(array)), array.ndim)
    assert result.dtype == np.uint8
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)


def test_reads_more_than_one_chunk(read):
    array = np.random.default_rng(0).integers(0, 256, (300, 50, 60), np.uint8)
    np.testing.assert_array_equal(read(gzip.compress(encode(array), 1)), array)


def test_sha256_is_that_of_the_file():
    assert idx_sha256(IMAGES) == hashlib.sha256(PLAIN).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no data at all"),
        (gzip.compress(b""), "no data at all"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PNG and so on", "50 4e 47 20"),
        (header(5, 4, 3, kind=0x0D) + bytes(60), "type uint8, found float32"),
        (header(5, 4, 3, kind=0x42) + bytes(60), "unknown type 0x42"),
        (header(5) + bytes(5), "looks like labels .*files for images and labels swapped"),
        (header(5, 4) + bytes(20), "found what looks like 2 dimensions"),
        (header(5, 0, 3), "at least one sample"),
        (header(0, 4, 3), "at least one sample"),
        (header(*[0xFFFFFFFF] * 3) + bytes(60), "at most 4294967296 bytes"),
        (gzip.compress(header(*[0xFFFFFFFF] * 3)), "at most 4294967296 bytes"),
        (header(1024, 1024, 1024), r"1073741824 bytes \(1024×1024×1024\) after the header, found 0"),
        (gzip.compress(header(3072, 1024, 1024)), "too small to hold"),
        (PLAIN[:3], "bytes of header, found 3"),
        (PLAIN[:10], "16 bytes of header, found 10"),
        (PLAIN[:-1], "found 59"),
        (PLAIN + b"\0", "found 61"),
        (gzip.compress(PLAIN[:-1]), "expected 60 bytes after the header, found 59"),
        (gzip.compress(PLAIN + b"\0"), "found more"),
        (PACKED + bytes(8), "one gzip member"),
        (PACKED + PACKED, "one gzip member"),
        (PACKED + b"garbage", "one gzip member"),
        (PACKED[:-1], "truncated"),
        (PACKED[:30], "truncated"),
        (PACKED[:2], "truncated"),
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "incorrect data check"),
        (PACKED[:-4] + b"\0\0\0\0", "incorrect length check"),
        (PACKED[:10] + b"\xff" * 20, "corrupt"),
    ],
)
def test_refuses_in_one_line(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)
    assert "training images" in str(caught.value)


def test_labels_expected_images_found(read):
    with pytest.raises(DataError, match=r"expected labels .*greyscale images .*swapped"):
        read(PLAIN, rank=1)


def test_bomb_is_left_unexploded(read):
    squeezer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    pieces = [squeezer.compress(header(10, 10, 10)), *(squeezer.compress(zeros) for _ in range(64))]
    bomb = b"".join([*pieces, squeezer.flush()])
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="found more"):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "absent", 3)
    with pytest.raises(DataError, match="a folder or a device"):
        read_idx(tmp_path, 3)
    with pytest.raises(DataError, match="null byte"):
        read_idx("a\0b", 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a folder or a device"):
        read_idx(tmp_path / "pipe", 3)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), packed=st.booleans())
def test_mutated_files_are_refused_or_right(read, data, packed):
    content = bytearray(PACKED if packed else PLAIN)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content)))
        removed = data.draw(st.integers(0, 4))
        content[position : position + removed] = data.draw(st.binary(max_size=4))
    try:
        result = read(bytes(content))
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 (some mutations are harmless)
        return
    if packed:  # only what no checksum covers may differ: the member's time stamp and the like
        np.testing.assert_array_equal(result, IMAGES)
    else:  # nothing protects the bytes of a plain file, but they must all be there
        assert encode(result) == bytes(content)


def test_real_mnist(mnist_root):
    images = read_idx(mnist_root / "t10k-images-idx3-ubyte.gz", 3)
    assert images.shape == (10000, 28, 28)
    assert idx_sha256(images) == "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
