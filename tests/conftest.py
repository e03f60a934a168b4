"""Fixtures that several tests share."""

import gzip
import os
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest

CACHE = "NUMBA_CACHE_DIR"
OWN_CACHE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--networks", type=int, default=6, help="how many random networks to compile and check")
    parser.addoption("--first-network", type=int, default=0, help="the first one's seed")


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a program cache of its own, unless one is given; subprocesses inherit it."""
    if CACHE not in os.environ:
        os.environ[CACHE] = config.stash.setdefault(OWN_CACHE, tempfile.mkdtemp(prefix="lenumba-tests-"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWN_CACHE in config.stash:
        shutil.rmtree(config.stash[OWN_CACHE], ignore_errors=True)
        del os.environ[CACHE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "generated_seed" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("--first-network"), metafunc.config.getoption("--networks")
        metafunc.parametrize("generated_seed", range(first, first + count))


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder with the real MNIST files; tests that want it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "mnist"
    folder = Path(os.environ.get("LENUMBA_TEST_MNIST") or default)
    if not (folder / "t10k-labels-idx1-ubyte.gz").is_file():
        pytest.skip(f"no MNIST in {folder}: set LENUMBA_TEST_MNIST to a folder with its four .gz files")
    return folder


@pytest.fixture(scope="session")
def write_dataset():
    """A function that writes four small IDX files in MNIST's form and returns their arrays."""

    def write(folder: Path, name="{}-idx{}-ubyte.gz", pack=gzip.compress, **replaced) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        arrays = {
            "train-images": rng.integers(0, 256, (12, 28, 28), np.uint8),
            "train-labels": rng.integers(0, 10, 12, np.uint8),
            "t10k-images": rng.integers(0, 256, (4, 28, 28), np.uint8),
            "t10k-labels": rng.integers(0, 10, 4, np.uint8),
        } | {stem.replace("_", "-"): array for stem, array in replaced.items()}
        folder.mkdir(parents=True, exist_ok=True)
        for stem, array in arrays.items():
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            rank = 3 if "images" in stem else 1
            (folder / name.format(stem, rank)).write_bytes(pack(header + array.tobytes()))
        return arrays

    return write
