"""The cache of compiled programs."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness import STILL, make_executor, make_network, random_batch, run_program

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from harness import STILL, make_executor
from test_cache import loss_of, tiny_network

program = tiny_network().compile(STILL)
sys.stdout.write(f"{program.cached} {'numba' in sys.modules} {loss_of(program)!r}")
"""


def tiny_network():
    return make_network([{"type": "flatten"}, {"type": "dense", "units": 2, "activation": "softmax"}], (2, 2, 1))


def loss_of(program) -> float:
    network = tiny_network()
    executor = make_executor(network, program, network.initial_parameters(0))
    return float(run_program(executor, *random_batch(network, 20)).loss)


def start() -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, os.path.dirname(__file__)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> tuple[str, str, float]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    cached, numba, loss = out.split()
    return cached, numba, float(loss)


@pytest.fixture(scope="module")
def cold_start(tmp_path_factory):
    """A cache that two processes, starting at once, have filled; and what they reported."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(folder))
        processes = [start(), start()]
        yield folder, [finish(process) for process in processes]


def entry_of(folder: Path) -> Path:
    (entry,) = folder.rglob("program.o")
    return entry


def test_of_two_processes_that_start_cold_one_compiles(cold_start):
    _, reports = cold_start
    assert sorted(cached for cached, _, _ in reports) == ["False", "True"]
    assert reports[0][2] == reports[1][2]


def test_warm_start_does_not_import_numba(cold_start):
    cached, numba, loss = finish(start())
    assert (cached, numba) == ("True", "False")
    assert loss == cold_start[1][0][2]


def test_cache_is_for_this_user_alone(cold_start):
    assert stat.S_IMODE(entry_of(cold_start[0]).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_damaged_entry_is_compiled_again_with_a_warning(cold_start, caplog, damage):
    entry = entry_of(cold_start[0])
    content = bytearray(entry.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0x10
    entry.write_bytes({"flipped": content, "truncated": content[:middle], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING, "lenumba"):
        program = tiny_network().compile(STILL)
    assert not program.cached
    assert [record.getMessage().count("damaged") for record in caplog.records] == [1]
    assert loss_of(program) == cold_start[1][0][2]
    assert tiny_network().compile(STILL).cached


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_folder_that_others_can_write_to_is_refused(cold_start, caplog):
    folder = entry_of(cold_start[0]).parent
    folder.chmod(0o777)
    try:
        with caplog.at_level(logging.WARNING, "lenumba"):
            program = tiny_network().compile(STILL)
    finally:
        folder.chmod(0o700)
    assert not program.cached
    assert "can be written by other users" in caplog.text
    assert loss_of(program) == cold_start[1][0][2]
