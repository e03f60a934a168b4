"""Fixtures that several tests share."""

import contextlib
import gzip
import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY

CACHE = "NUMBA_CACHE_DIR"
OWN_CACHE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--networks", type=int, default=2, help="how many random networks to compile and check")
    parser.addoption("--first-network", type=int, default=0, help="the first one's seed")
    parser.addoption("--campaign", action="store_true", help="run long tests, and tests/campaigns at full length")
    parser.addoption("--campaign-minutes", type=float, default=float("inf"), help="how long each campaign may go on")
    parser.addoption("--soak-minutes", type=float, default=30, help="how long the soak of a full campaign lasts")


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a program cache of its own, unless one is given; subprocesses inherit it.

    They would also inherit that nohup ignores hangups; a handler is not inherited.
    """
    with contextlib.suppress(AttributeError, ValueError):
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: None)
    if CACHE not in os.environ:
        os.environ[CACHE] = config.stash.setdefault(OWN_CACHE, tempfile.mkdtemp(prefix="lenumba-tests-"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if (mark := item.get_closest_marker("long")) and not config.getoption("--campaign"):
            item.add_marker(pytest.mark.skip(reason=f"{mark.args[0]}; with --campaign"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWN_CACHE in config.stash:
        shutil.rmtree(config.stash[OWN_CACHE], ignore_errors=True)
        del os.environ[CACHE]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number: what gzip packs holds the time, and every process must collect the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "generated_seed" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("--first-network"), metafunc.config.getoption("--networks")
        metafunc.parametrize("generated_seed", range(first, first + count))


def published(name: str, member: str) -> Path:
    """The folder of published data that LENUMBA_TEST_NAME tells; tests that want it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / name
    variable = f"LENUMBA_TEST_{name.upper().replace('-', '_')}"
    folder = Path(os.environ.get(variable) or default)
    if not (folder / member).is_file():
        pytest.skip(f"no {member} in {folder}: set {variable} to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder with the real MNIST files; tests that want it are skipped where it is absent."""
    return published("mnist", "t10k-labels-idx1-ubyte.gz")


@pytest.fixture(scope="session")
def mlperf_tiny() -> Path:
    """The folder with the published MLPerf Tiny networks as safetensors, and what they answer to cases."""
    return published("mlperf-tiny", "resnet8.safetensors")


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory) -> Path:
    """CIFAR-10's 10 000 test images as JPEG files, test/CLASS/0000.jpg, and one training image of each class."""
    folder = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(published("cifar10", "cifar10-jpeg.tar") / "cifar10-jpeg.tar") as archive:
        wanted = [one for one in archive if one.name.startswith("test/") or one.name.endswith("/0000.jpg")]
        archive.extractall(folder, wanted, filter="data")
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


@pytest.fixture(scope="session", autouse=True)
def program_cache(tmp_path_factory):
    """One program cache for all tests and their subprocesses, as compiling takes seconds."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("programs")))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty working directory but for tiny.yaml, a network that is quick to compile and train."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """A finished run of tiny.yaml, not to be changed."""
    from lenumba.engine.config.config import read_config
    from lenumba.engine.runs.run import start_run

    out = tmp_path_factory.mktemp("finished") / "tiny-001"
    start_run(read_config(TINY, "tiny.yaml"), out=out)
    return out


@pytest.fixture
def run(place, finished_run) -> Path:
    """A copy of the finished run, as runs/tiny-001 of the working directory."""
    shutil.copytree(finished_run, "runs/tiny-001")
    return Path("runs/tiny-001")


@pytest.fixture
def lenumba(place):
    """Call the command line in this process; returns exit_code, stdout and stderr."""
    from click.testing import CliRunner

    from lenumba.cli import main

    def call(*arguments, **options):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result

    return call


@pytest.fixture
def refused(lenumba, place):
    """Call a command that must fail: one line on stderr, nothing on stdout, no run folder; returns the line."""

    def call(code: int, *arguments) -> str:
        before = sorted(place.glob("runs/*"))
        result = lenumba(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1, result.stderr
        assert sorted(place.glob("runs/*")) == before
        return result.stderr

    return call


@pytest.fixture
def spawn(place):
    """Start a command line as a process; with `patch`, Python text that runs before it."""
    started = []

    def start(*arguments, patch="", **options) -> subprocess.Popen:
        text = f"{patch}\nfrom lenumba.cli import main\nmain()"
        command = [sys.executable, "-c", text, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **(pipes | options)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def wait_for_epoch():
    """Read a training process's output until it has shown an epoch."""

    def wait(process: subprocess.Popen, epoch: int) -> None:
        for line in process.stdout:
            if line.split()[:1] == [str(epoch)]:
                return
        pytest.fail(f"the training ended before epoch {epoch}: {process.stderr.read()}")

    return wait
