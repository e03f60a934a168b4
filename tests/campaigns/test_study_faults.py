"""Every system call with which a study changes something fails or kills it once: the same command makes that good.

The parent of a study is tried with workers that answer at once and need no process, so that every call can be tried;
whole studies with real workers, of which each process is hit, are fewer.
"""

import contextlib
import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tune_studies import InstantPool, write_study

from lenumba.engine.tuning import search

pytest.importorskip("optuna", reason="studies need Optuna")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="files as POSIX has them")

CALLS = (
    "openat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "rmdir",
    "mkdir",
    "flock",
)
ACTIONS = {"ENOSPC": "error=ENOSPC", "EIO": "error=EIO", "SIGKILL": "signal=KILL"}
STORAGES = {"journal": (), "database": ("--storage", "sqlite:///study.db")}
TIMEOUT = 600


def may_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(autouse=True)
def traceable():
    if not may_trace():
        pytest.skip("needs strace, and leave to trace processes")


def forked(arguments: tuple, injection: str = "", wait: float = TIMEOUT) -> tuple[int, str, str]:
    """Run `lenumba tune` in a fork, of which each call may be tampered with; return exit code, stderr and trace."""
    ready, told = os.pipe()
    go, begin = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            handle = os.open("stderr", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(handle, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            search.Pool, sys.modules["matplotlib"] = InstantPool, None
            from lenumba.cli import main

            os.write(told, b"r")
            os.read(go, 1)
            code = 1
            try:
                main(["tune", "tiny.yaml", *arguments])
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                import traceback

                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
        os._exit(99)
    os.read(ready, 1)
    tracer = None
    if injection:
        command = ["strace", "-p", str(child), "-o", "trace", "-e", f"trace={','.join(CALLS)}"]
        command += ["-e", f"inject={injection}"] if injection != "none" else []
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert b"attached" in tracer.stderr.readline()
    os.write(begin, b"g")
    for handle in (ready, told, go, begin):
        os.close(handle)
    end = time.monotonic() + wait
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"hangs with {injection}")
        time.sleep(0.002)
    if tracer is not None:
        tracer.wait()
    trace = Path("trace").read_text() if injection else ""
    return os.waitstatus_to_exitcode(found[1]), Path("stderr").read_text(), trace


def contents(folder: Path) -> tuple:
    """What a study has found, and the names of all that it leaves."""
    with (folder / "trials.csv").open() as file:
        rows = [
            {key: value for key, value in row.items() if key not in ("seconds", "compile_s", "cached")}
            for row in csv.DictReader(file)
        ]
    record = json.loads((folder / "study.json").read_text())
    result = {key: record[key] for key in ("status", "counts", "best", "confirmed", "finals")}
    return rows, (folder / "best.yaml").read_bytes(), result, sorted(path.name for path in folder.iterdir())


def clean() -> None:
    shutil.rmtree("studies", ignore_errors=True)
    for path in Path().glob("study.db*"):
        path.unlink()


def others() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name not in ("stderr", "trace"))


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("storage", STORAGES)
def test_every_call_of_a_study_s_parent_may_fail(place, campaign, storage, jobs):
    write_study(trials=3)
    arguments = ("--jobs", str(jobs), "-q", *STORAGES[storage])
    assert forked(arguments)[:2] == (0, "")
    whole, around = contents(Path("studies/tiny")), others()
    clean()
    code, _, trace = forked(arguments, "none")
    assert code == 0
    counts = Counter(re.findall(r"^(\w+)\(", trace, re.MULTILINE))
    assert counts["fsync"] + counts["fdatasync"] > 20
    cases = [
        (call, name, at)
        for call in CALLS
        for name in ACTIONS
        for at in range(1, counts[call] + 1)
        # A process that dies in openat has changed what it has in the call before, too.
        if name != "SIGKILL" or call != "openat"
    ]
    step = -(-len(cases) // campaign.size(4, len(cases)))
    outcomes, calls = Counter(), Counter()
    for call, name, at in cases[jobs % step :: step]:
        clean()
        what = f"{call} number {at}: {name}"
        code, errors, trace = forked(arguments, f"{call}:{ACTIONS[name]}:when={at}")
        assert "Traceback" not in errors, f"{what}: {errors}"
        assert code in ((-signal.SIGKILL, 0) if name == "SIGKILL" else (0, 3)), f"{what}: {code}, {errors}"
        assert code != 3 or (errors.startswith("error: ") and errors.count("\n") == 1), f"{what}: {errors}"
        again = forked(arguments)
        assert again[:2] == (0, ""), f"{what}, then the same again: {again}"
        assert contents(Path("studies/tiny")) == whole, what
        assert others() == around, what
        outcomes[f"{name} {'ended' if code else 'passed'}"] += 1
        calls[call] += 1
    campaign.note(
        f"study faults, {storage}, {jobs} jobs: {sum(calls.values())} of {len(cases)} calls of the parent "
        f"({', '.join(f'{n} {c}' for c, n in calls.items())}; {', '.join(f'{n} {o}' for o, n in outcomes.items())}), "
        "then the same command again: the same trials, the same best.yaml, nothing left over"
    )


# ---------------------------------------------------------------------------------------------- with real workers


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("storage", STORAGES)
def test_calls_of_a_study_and_its_workers_may_fail(place, campaign, storage, jobs):
    write_study(trials=2)
    arguments = ["tune", "tiny.yaml", "--jobs", str(jobs), "-q", *STORAGES[storage]]
    command = [
        sys.executable,
        "-c",
        "import sys\nsys.modules['matplotlib'] = None\nfrom lenumba.cli import main\nmain()",
    ]
    calls = ("write", "fsync", "rename", "pwrite64", "fdatasync", "unlink", "flock")

    def run(injection: str = "") -> tuple[int, str]:
        tracer = ["strace", "-f", "--seccomp-bpf", "-o", "trace", "-e", f"trace={','.join(calls)}"]
        tracer += ["-e", f"inject={injection}"] if injection != "none" else []
        process = subprocess.run(
            [*(tracer if injection else ()), *command, *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        return process.returncode, process.stderr

    assert run() == (0, "")
    whole, around = contents(Path("studies/tiny")), others()
    clean()
    assert run("none")[0] == 0
    each = Counter(re.findall(r"^(\d+ +\w+)\(", Path("trace").read_text(), re.MULTILINE))
    most = {call: max((n for key, n in each.items() if key.split()[1] == call), default=0) for call in calls}
    cases = [(call, name, at) for call in calls for name in ACTIONS for at in range(1, most[call] + 1)]
    wanted = campaign.size(1, len(cases))
    step = -(-len(cases) // wanted)
    done = Counter()
    for call, name, at in itertools.islice(cases[len(cases) // 2 % step :: step], wanted):
        clean()
        what = f"{call} number {at} of each process: {name}"
        code, errors = run(f"{call}:{ACTIONS[name]}:when={at}")
        assert "Traceback" not in errors, f"{what}: {errors}"
        assert code in (-signal.SIGKILL, 128 + signal.SIGKILL, 0, 3), f"{what}: {code}, {errors}"
        assert run() == (0, ""), what
        assert contents(Path("studies/tiny")) == whole, what
        assert others() == around, what
        done[call] += 1
    campaign.note(
        f"study faults, {storage}, {jobs} jobs with real workers: {sum(done.values())} of {len(cases)} calls of each "
        f"process ({', '.join(f'{n} {c}' for c, n in done.items())}): the same trials, the same best.yaml, no leftovers"
    )
