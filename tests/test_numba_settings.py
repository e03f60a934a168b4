"""Numba's settings are for functions of the user's own: programs, their bits and their speed do not depend on them."""

import logging
import os
import platform
import subprocess
import sys
import threading

import pytest

from lenumba.kernels.compile import native, target

CONFIG = """
data: {name: digits, samples: 400, validation: 100, batch_size: 32}
network:
  layers:
    - {type: conv, channels: 2, kernel_size: 5, stride: 4, activation: relu}
    - flatten
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: adamw, learning_rate: 0.01}
train: {epochs: 2}
"""
# A function of the user's own is compiled first, so that Numba's code generator is there already, with its settings.
TRAIN = """
from numba import njit
from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run
njit(lambda x: x + 1)(1)
print(start_run(load_config("small.yaml")).summary["weights_sha256"])
"""


def train(cache, **settings: str) -> tuple[str, str]:
    """Train in a process of its own; return the hash of the weights, and stderr."""
    known = {name: value for name, value in os.environ.items() if name not in target.SET_ASIDE}
    environment = known | {"NUMBA_CACHE_DIR": str(cache)} | settings
    done = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.fixture
def small(place):
    (place / "small.yaml").write_text(CONFIG)
    return place


@pytest.mark.long("compiles for long")
def test_code_that_is_compiled_under_numba_opt_0_is_the_code_of_a_plain_start(small, tmp_path):
    forced, told = train(tmp_path / "cache", NUMBA_OPT="0")
    assert told.count("\n") == 1
    assert "NUMBA_OPT: set aside" in told
    assert train(tmp_path / "cache") == (forced, "")  # from the cache
    assert train(tmp_path / "fresh") == (forced, "")


@pytest.mark.long("compiles for long")
def test_settings_of_a_file_and_no_compiler_at_all_change_nothing(small, tmp_path):
    plain, _ = train(tmp_path / "plain")
    (small / ".numba_config.yaml").write_text('opt: "0"\nboundscheck: 1\ncpu_name: generic\n')
    found, told = train(tmp_path / "other", NUMBA_DISABLE_JIT="1", NUMBA_DEBUGINFO="1")
    assert found == plain
    assert told.count("\n") == 1
    assert "NUMBA_DEBUGINFO, NUMBA_DISABLE_JIT: set aside" in told


def test_the_users_own_functions_keep_the_settings(monkeypatch):
    from numba.core import config
    from numba.core.registry import cpu_target

    from lenumba.kernels.compile.jit import own_options

    monkeypatch.setenv("NUMBA_OPT", "1")
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    before = cpu_target.target_context.codegen()
    with own_options(*target.cpu_target(), ""):
        assert (int(config.OPT), config.BOUNDSCHECK) == (3, None)
        assert cpu_target.target_context.codegen() is not before
    assert (int(config.OPT), config.BOUNDSCHECK) == (1, 1)
    assert cpu_target.target_context.codegen() is before


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="features of x86")
def test_a_target_without_fused_multiply_adds_is_told(monkeypatch, caplog):
    for features, lines in (("+sse2", 1), ("+sse2,+fma", 0)):
        monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
        target.tell_settings.cache_clear()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "lenumba"):
            target.tell_settings()
            target.tell_settings()
        assert len(caplog.records) == lines
    target.tell_settings.cache_clear()


@pytest.mark.parametrize(
    ("cpu", "features", "bits", "registers"),
    [
        ("apple-m1", "+fp-armv8,+neon", 128, 8),
        ("znver4", "+avx,+avx2,+fma,+avx512f", 512, 32),
        ("haswell", "+avx,+avx2,+fma", 256, 8),
        ("haswell", "", 256, 8),
    ],
)
def test_the_width_of_vectors_is_that_of_their_registers(monkeypatch, cpu, features, bits, registers):
    from lenumba.engine.profile import machine

    monkeypatch.setattr(target, "cpu_target", lambda: (cpu, features))
    assert (target.vector_bits(), target.vector_registers(), target.fuses()) == (bits, registers, True)
    for name in ("fma_peak", "bandwidth"):
        monkeypatch.setattr(machine, name, lambda *_: 1.0)
    monkeypatch.setattr(machine.native, "get_program", lambda _: lambda _: None)
    assert machine.machine_facts(1)["vector_bits"] == bits


def test_a_user_without_a_home_directory_trains_with_a_cache(lenumba, monkeypatch, tmp_path, caplog):
    def homeless(_=None):
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(native.Path, "home", homeless)
    monkeypatch.setattr(native.Path, "expanduser", homeless)
    monkeypatch.setattr(native.tempfile, "gettempdir", lambda: str(tmp_path))
    native.homeless_cache.cache_clear()
    cached = []
    monkeypatch.setattr(native, "compile_source", lambda source, path, progress: cached.append(path) or ("f", b""))
    monkeypatch.setattr(native, "load_object", lambda *_, **facts: facts["path"])
    source = native.Source("nothing", "x = 1\n", "x", [])
    first, second = native.get_program(source), native.get_program(source)
    assert first == second
    assert first.is_relative_to(tmp_path / f"lenumba-{os.getuid()}")
    assert len(cached) == 1
    assert [record.getMessage().count("no home directory") for record in caplog.records] == [1]
    native.homeless_cache.cache_clear()
    for place in ("data.root=~/mnist", "data.root=~nobody/mnist"):
        result = lenumba("train", "lenet", place)
        assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    monkeypatch.delenv("LENUMBA_DATA", raising=False)
    result = lenumba("train", "lenet")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)


def test_waiting_for_another_process_that_compiles_is_told(tmp_path, caplog):
    import fcntl

    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.5, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        with native.exclusive(tmp_path / "lock"):
            told = [record.getMessage() for record in caplog.records]
    assert told == ["waiting for another process, which compiles the same program"]
    caplog.clear()
    with native.exclusive(tmp_path / "lock"):
        assert caplog.records == []


def test_a_feature_that_the_cpu_lacks_is_refused_in_one_line(refused, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+sse2,+warp-drive")
    assert "expected what this CPU has, found +warp-drive; unset it" in refused(3, "train", "tiny.yaml")


def test_a_damaged_configuration_of_numba_is_refused_in_one_line(small, tmp_path):
    (small / ".numba_config.yaml").write_text("opt: [0\n")
    done = subprocess.run(
        [sys.executable, "-m", "lenumba", "train", "small.yaml"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("error: Numba cannot be imported (ParserError: ")
    assert "Traceback" not in done.stderr
