"""Every system call with which a study changes files fails or kills it once: the same command makes that good.

The parent of a study is tried with workers that answer at once and need no process, so that every call can be tried;
whole studies with real workers, of which each process is hit, are fewer.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from campaigns.commands import WARM, may_trace, serving
from campaigns.test_calls import NAMED, own_calls
from tune_studies import write_study

pytest.importorskip("optuna", reason="studies need Optuna")

pytestmark = pytest.mark.long("fails many calls")

FAULTS = ("error=ENOSPC", "error=EIO", "signal=KILL")
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
CHANGING = ("write", "ftruncate", "fsync", "rename", "unlink", "rmdir", "mkdir")  # fail in every way; others by turns
SHORT = (("journal", 2), ("database", 1))  # of storages and jobs, what every run of the tests tries
STORAGES = {"journal": (), "database": ("--storage", "sqlite:///study.db")}
PLAIN = "import sys\nsys.modules['matplotlib'] = None\n"
# Workers that need no process, and everything imported before a command begins.
INSTANT = f"""{PLAIN}{WARM}
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import optuna, optuna.storages.journal, cmaes, sqlalchemy.dialects.sqlite, tune_studies
import lenumba.commands.tuning_command
from lenumba.engine.tuning import search
search.Pool = tune_studies.InstantPool
optuna.storages.RDBStorage("sqlite://")
"""


@pytest.fixture(autouse=True)
def traceable():
    if not may_trace():
        pytest.skip("needs strace, and leave to trace processes")


def outcome() -> tuple:
    """What a study has found, and the names of all that is left in its folder and around it."""
    folder = Path("studies/tiny")
    with (folder / "trials.csv").open() as file:
        rows = [{k: row[k] for k in row if k not in ("seconds", "compile_s", "cached")} for row in csv.DictReader(file)]
    record = json.loads((folder / "study.json").read_text())
    result = {key: record[key] for key in ("status", "counts", "best", "confirmed", "finals")}
    around = {path.name for path in Path().iterdir()} - {"stdout", "stderr", "trace"}
    return rows, (folder / "best.yaml").read_bytes(), result, sorted(path.name for path in folder.iterdir()), around


def clean() -> None:
    shutil.rmtree("studies", ignore_errors=True)
    for path in Path().glob("study.db*"):
        path.unlink()


def check_end(code: int, errors: str, fault: str, where: str) -> None:
    """Check that a command whose call went wrong was killed, or told of it in one line, or managed."""
    assert "Traceback" not in errors, f"{where}: {errors}"
    assert code in ((-9, 137, 0) if "KILL" in fault else (0, 2, 3)), f"{where}: exit code {code}, {errors}"
    if code > 0 and "KILL" not in fault:
        assert len(re.findall("^error: ", errors, re.MULTILINE)) == 1, f"{where}: {errors}"
        assert re.search(NAMED, errors, re.MULTILINE) or errors.startswith("error: "), f"{where}: {errors}"


def every_fault(calls: list[tuple[str, int]]) -> list[tuple[str, int, str]]:
    return [
        (call, at, fault)
        for number, (call, at) in enumerate(calls)
        for fault in (FAULTS if call in CHANGING else [FAULTS[number % 3]])
    ]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("storage", STORAGES)
def test_every_call_of_a_study_s_parent_may_fail(place, campaign, storage, jobs):
    if not campaign.full and (storage, jobs) not in SHORT:
        pytest.skip("with --campaign")
    write_study(trials=2)
    command = ("tune", "tiny.yaml", "--jobs", str(jobs), "-q", *STORAGES[storage])
    done, missed = Counter(), 0
    with serving(INSTANT) as server:
        assert server.run(*command)[:3] == (0, "", "")
        whole = outcome()
        clean()
        every = every_fault(own_calls(server.traced(*command, calls=CALLS).calls, place))
        assert outcome() == whole
        assert {call for call, _, _ in every} >= {"openat", "write", "fsync", "rename"}
        for call, at, fault in campaign.each(every, 2, seed=jobs):
            clean()
            ended = server.traced(*command, calls=CALLS, injection=f"{call}:{fault}:when={at}")
            met = next((line for line in ended.calls if "INJECTED" in line), "")
            if not met and ended.code == 0:
                missed += 1
                continue
            where = f"{call} number {at}, {fault}: {met}"
            check_end(ended.code, ended.errors, fault, where)
            again = server.run(*command)
            assert again[:3] == (0, "", ""), f"{where}, then the same again: {again}"
            assert outcome() == whole, where
            done[f"{fault} {'passed' if ended.code == 0 else 'ended it'}"] += 1
    assert missed <= len(every) / 10
    campaign.note(
        f"study faults, {storage}, {jobs} jobs: {sum(done.values())} of {len(every)} calls of the parent "
        f"({', '.join(f'{n} {what}' for what, n in sorted(done.items()))}), then the same command again: the same "
        "trials, the same best.yaml, nothing left over"
    )


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("storage", STORAGES)
def test_calls_of_a_study_and_its_workers_may_fail(place, campaign, storage, jobs):
    if not campaign.full and (storage, jobs) not in SHORT:
        pytest.skip("with --campaign")
    write_study(trials=2)
    arguments = ["tune", "tiny.yaml", "--jobs", str(jobs), "-q", *STORAGES[storage]]
    calls = ("write", "fsync", "rename", "pwrite64", "fdatasync", "unlink", "flock")

    def run(injection: str | None = None) -> tuple[int, str]:
        tracer = ["strace", "-f", "--seccomp-bpf", "-o", "trace", "-e", f"trace={','.join(calls)}"]
        tracer += ["-e", f"inject={injection}"] if injection else []
        command = [sys.executable, "-c", f"{PLAIN}from lenumba.cli import main\nmain()", *arguments]
        process = subprocess.run(
            [*(tracer if injection is not None else ()), *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=900, check=False,
        )  # fmt: skip
        return process.returncode, process.stderr

    assert run("")[0] == 0
    whole = outcome()
    made = [line.split() for line in re.findall(r"^(\d+ +\w+)\(", Path("trace").read_text(), re.MULTILINE)]
    each = Counter((call, process) for process, call in made if process != made[0][0])  # the parent's are tried above
    most = {call: max((n for (name, _), n in each.items() if name == call), default=0) for call in calls}
    every = [(call, at, fault) for call in calls for at in range(1, most[call] + 1) for fault in FAULTS]
    done = Counter()
    for call, at, fault in campaign.each(every, 1, seed=jobs):
        clean()
        where = f"{call} number {at} of each process, {fault}"
        check_end(*run(f"{call}:{fault}:when={at}"), fault, where)
        assert run() == (0, ""), where
        assert outcome() == whole, where
        done[call] += 1
    campaign.note(
        f"study faults, {storage}, {jobs} jobs with real workers: {sum(done.values())} of {len(every)} calls of each "
        f"worker ({', '.join(f'{n} {c}' for c, n in done.items())}): the same trials, the same best.yaml, no leftovers"
    )
