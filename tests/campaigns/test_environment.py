"""Random environments: variables, locales, limits, folders that cannot be written. The same bits, or one line."""

import json
import os
import random
import resource
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# Each variable's values; None leaves it out.
VARIABLES = {
    "NUMBA_OPT": ["0", "1", "max", "nonsense"],
    "NUMBA_DISABLE_JIT": ["1"],
    "NUMBA_BOUNDSCHECK": ["1"],
    "NUMBA_DEBUGINFO": ["1"],
    "NUMBA_LOOP_VECTORIZE": ["0"],
    "NUMBA_SLP_VECTORIZE": ["1"],
    "NUMBA_ENABLE_AVX": ["0"],
    "NUMBA_NUM_THREADS": ["1", "0", "many"],
    "NUMBA_THREADING_LAYER": ["omp", "nonsense"],
    "NUMBA_FULL_TRACEBACKS": ["1"],
    "NUMBA_DEVELOPER_MODE": ["1"],
    "NUMBA_CPU_NAME": ["nonsense", ""],
    "NUMBA_CPU_FEATURES": ["+nonsense", "-fma"],
    "NUMBA_CACHE_DIR": ["FILE", "FILE/below", "EMPTY", "relative"],
    "OMP_NUM_THREADS": ["1", "0", "nonsense"],
    "OMP_WAIT_POLICY": ["ACTIVE"],
    "OMP_STACKSIZE": ["1", "nonsense"],
    "PYTHONHASHSEED": ["1", "77"],
    "PYTHONOPTIMIZE": ["1", "2"],
    "PYTHONIOENCODING": ["ascii", "latin-1:strict", "utf-16"],
    "PYTHONUTF8": ["0", "1"],
    "PYTHONDONTWRITEBYTECODE": ["1"],
    "PYTHONWARNINGS": ["error", "default", "nonsense"],
    "PYTHONMALLOC": ["malloc", "debug"],
    "PYTHONDEVMODE": ["1"],
    "PYTHONUNBUFFERED": ["1"],
    "PYTHONTRACEMALLOC": ["1"],
    "PYTHONFAULTHANDLER": ["1"],
    "PYTHONINTMAXSTRDIGITS": ["640"],
    "PYTHONSAFEPATH": ["1"],
    "LC_ALL": ["C", "POSIX", "de_DE.UTF-8", "nonsense"],
    "LANG": ["C", "tr_TR.UTF-8", ""],
    "TZ": ["Asia/Kathmandu", "nonsense"],
    "TERM": ["dumb", "nonsense"],
    "COLUMNS": ["1", "0", "nonsense"],
    "HOME": ["", "FILE", "/nonexistent", "EMPTY"],
    "XDG_CACHE_HOME": ["FILE", "EMPTY", "relative"],
    "TMPDIR": ["FILE", "/nonexistent", "EMPTY"],
    "CUDA_VISIBLE_DEVICES": ["nonsense"],
}
LIMITS = {
    "NOFILE": [8, 16, 32, 64, 256],
    "AS": [1 << 29, 1 << 30, 1 << 32],
    "FSIZE": [0, 100, 10_000, 10_000_000],
    "STACK": [1 << 17, 1 << 20, 1 << 26],
    "DATA": [1 << 28, 1 << 29, 1 << 30],
    "CORE": [0],
}
OUTS = ["out", "FILE/out", "/proc/out", "/dev/null/out", "x" * 300, "ordner-ä", "."]
CONFIG_FILES = ["opt: '0'\n", "disable_jit: 1\n", "[", "", "- 1\n", "boundscheck: 1\ncpu_name: generic\n"]
FINE = ("same", "refused", "told", "a library ended it")


class Draw:
    """One environment: variables, limits, and where the run goes."""

    def __init__(self, rng: random.Random, config: Path, place: Path):
        self.place = place
        chosen = rng.sample(sorted(VARIABLES), rng.randint(0, 4))
        self.variables = {name: rng.choice(VARIABLES[name]) for name in chosen}
        self.limits = {name: rng.choice(LIMITS[name]) for name in sorted(LIMITS) if rng.random() < 0.07}
        self.out = rng.choice(OUTS) if rng.random() < 0.25 else "out"
        self.numba_config = rng.choice(CONFIG_FILES) if rng.random() < 0.1 else None
        place.mkdir()
        (place / "file").write_text("")
        (place / "empty").mkdir()
        (place / "tiny.yaml").write_text(config.read_text())
        if self.numba_config is not None:
            (place / ".numba_config.yaml").write_text(self.numba_config)

    def __repr__(self) -> str:
        return f"{self.variables} {self.limits} {self.out!r} {self.numba_config!r}"

    def run(self) -> subprocess.CompletedProcess:
        """Train in it."""

        def real(text: str) -> str:
            return text.replace("FILE", str(self.place / "file")).replace("EMPTY", str(self.place / "empty"))

        def limit() -> None:
            for name, value in self.limits.items():
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

        environment = os.environ | {name: real(value) for name, value in self.variables.items()}
        command = [sys.executable, "-m", "lenumba", "train", "tiny.yaml", "--json", "--out", real(self.out)]
        return subprocess.run(
            command, cwd=self.place, env=environment, capture_output=True, preexec_fn=limit, timeout=900, check=False
        )


def text_of(output: bytes) -> str:
    """Return what was printed, in whatever encoding, as far as it is ASCII."""
    return "".join(chr(byte) for byte in output if 0 < byte < 128)


def verdict(draw: Draw, done: subprocess.CompletedProcess, expected: str) -> str:
    """Return one of FINE, or what is wrong."""
    told = text_of(done.stderr)
    if "Traceback" in told:
        return f"a traceback: {told[-600:]}"
    if done.returncode == 0:
        if "without FMA" in told:
            return "told"
        return "same" if json.loads(text_of(done.stdout))["weights_sha256"] == expected else f"other bits: {told}"
    if told.startswith("OpenBLAS"):  # NumPy's, which ends the process where it gets no memory or threads
        return "a library ended it"
    errors = [line for line in told.splitlines() if "error:" in line]
    if done.returncode in (2, 3) and len(errors) == 1:
        return "refused"
    return f"exit code {done.returncode}: {told[-600:]}"


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_a_random_environment_gives_the_same_bits_or_one_line(place, tmp_path, campaign, lenumba):
    whole = lenumba("train", "tiny.yaml", "--json", "--out", "whole")
    expected = json.loads(whole.stdout)["weights_sha256"]
    count, rng, answers, wrong = campaign.size(4, 300), random.Random(26), Counter(), []
    draws = [Draw(rng, place / "tiny.yaml", tmp_path / f"draw-{number}") for number in range(count)]
    with ThreadPoolExecutor(4) as pool:
        for number, (draw, done) in enumerate(zip(draws, pool.map(Draw.run, draws), strict=True)):
            answer = verdict(draw, done, expected)
            answers[answer.partition(":")[0]] += 1
            if answer not in FINE:
                wrong.append(f"{number}: {draw}: {answer}")
    campaign.note(f"environments: {count} drawn: {dict(answers)}")
    assert wrong == []
