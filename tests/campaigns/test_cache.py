"""The cache of compiled programs: cold starts at once, flipped bits, and folders that are not private."""

import logging
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness import STILL, make_executor, make_network, random_batch, run_program

from lenumba.kernels.compile import native

SCRIPT = """
import os, sys
sys.path[:0] = [sys.argv[1], os.path.dirname(sys.argv[1])]
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
def cold_start(tmp_path_factory, pytestconfig):
    """A cache that two processes (eight in a full campaign), starting at once, have filled; and what they reported."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(folder))
        processes = [start() for _ in range(8 if pytestconfig.getoption("--campaign") else 2)]
        yield folder, [finish(process) for process in processes]


def entry_of(folder: Path) -> Path:
    (entry,) = folder.rglob("program.o")
    return entry


def test_of_processes_that_start_cold_one_compiles(cold_start, campaign):
    _, reports = cold_start
    compiled = [cached == "False" for cached, _, _ in reports]
    assert sum(compiled) == 1
    assert len({loss for _, _, loss in reports}) == 1
    campaign.note(f"cache: {len(reports)} processes starting cold at once, {sum(compiled)} compiled, one result")


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


@pytest.fixture
def compilations(cold_start, monkeypatch):
    """Let compiling take no time, as tests above do it in earnest, and count how often it is done."""
    intact, compiled = entry_of(cold_start[0]).read_bytes(), []

    def compile_source(*_):
        compiled.append(1)
        symbol, _, code = intact[64:].partition(b"\n")
        return symbol.decode(), code

    monkeypatch.setattr(native, "compile_source", compile_source)
    return compiled


def test_flipped_bits_never_reach_the_processor(cold_start, compilations, campaign):
    entry, expected = entry_of(cold_start[0]), cold_start[1][0][2]
    intact = entry.read_bytes()
    flips, rng = campaign.size(60, 300), random.Random(5)
    for number in range(1, flips + 1):
        place, content = rng.randrange(8 * len(intact)), bytearray(intact)
        content[place // 8] ^= 1 << place % 8
        entry.write_bytes(content)
        program = tiny_network().compile(STILL)
        assert len(compilations) == number, f"bit {place} passed unnoticed"
        assert entry.read_bytes() == intact
        if number % 10 == 0:
            assert loss_of(program) == expected
    assert tiny_network().compile(STILL).cached
    campaign.note(f"cache: {flips} flips of one bit, {len(compilations)} noticed, no crash, no wrong result")


def test_flipped_bits_in_processes_of_their_own(cold_start, campaign):
    if not campaign.full:
        pytest.skip("each compiles anew: with --campaign")
    entry, rng = entry_of(cold_start[0]), random.Random(6)
    for _ in range(30):
        content, place = bytearray(entry.read_bytes()), rng.randrange(8 * entry.stat().st_size)
        content[place // 8] ^= 1 << place % 8
        entry.write_bytes(content)
        assert finish(start()) == ("False", "True", cold_start[1][0][2])
    campaign.note("cache: 30 flips of one bit met by a new process each: compiled again, right results")


def test_entry_of_another_program_is_not_run(cold_start, compilations, caplog):
    """As when two processes mix up what they write: each entry knows whose it is."""
    entry = entry_of(cold_start[0])
    body = entry.read_bytes()[64:]
    entry.write_bytes(native.entry_digest(entry.parent.parent / "network-of-others" / "program.o", body) + body)
    with caplog.at_level(logging.WARNING, "lenumba"):
        assert not tiny_network().compile(STILL).cached
    assert "damaged" in caplog.text
    assert tiny_network().compile(STILL).cached
    assert len(compilations) == 1


@pytest.mark.parametrize("operation", ["mkstemp", "replace", "open"])
def test_cache_that_cannot_be_written_costs_only_time(cold_start, compilations, caplog, monkeypatch, operation):
    entry = entry_of(cold_start[0])
    entry.unlink()
    (entry.parent / ".program.o.x1y2").write_bytes(b"half an entry of a killed process")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "lenumba"):
        patch.setattr({"mkstemp": native.tempfile, "replace": os, "open": Path}[operation], operation, fail)
        program = tiny_network().compile(STILL)
    assert not program.cached
    assert "No space left" in caplog.text
    assert loss_of(program) == cold_start[1][0][2]
    assert not tiny_network().compile(STILL).cached
    assert sorted(path.name for path in entry.parent.iterdir()) == ["lock", "program.o", "program.py"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("level", [0, 1])
def test_folder_that_others_can_write_to_is_refused(cold_start, caplog, level):
    folder = [entry_of(cold_start[0]).parent, native.cache_root()][level]
    folder.chmod(0o777)
    try:
        with caplog.at_level(logging.WARNING, "lenumba"):
            program = tiny_network().compile(STILL)
    finally:
        folder.chmod(0o700)
    assert not program.cached
    assert "can be written by other users" in caplog.text
    assert loss_of(program) == cold_start[1][0][2]
