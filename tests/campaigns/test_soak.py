"""Training, resuming, checking, tuning and killing at random for a long time: nothing grows and nothing is left."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaigns.folders import FILES, assert_sound
from tune_studies import write_study

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into Linux's /proc")

SHORT_SECONDS = 3
GROWTH_MB = 4  # of a process that trains again and again, in the second half of its trainings
MARK = "LENUMBA_SOAK"  # an environment variable that every process of the soak inherits

BEGUN = "print('begun', flush=True)"

# Trains and checks until its standard input is closed, printing the resident memory after each round.
STEADY = """
import select, shutil, sys
from pathlib import Path
import lenumba
from lenumba.engine.training.memory import numbers_of
from lenumba.engine.runs.verify import verify_run
number = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    result = lenumba.train("tiny.yaml", {"train.epochs": 2, "train.seed": number % 5}, out="steady")
    assert verify_run(result.path).difference is None
    lenumba.load(result.path).evaluate()
    shutil.rmtree("steady")
    number += 1
    print(numbers_of(Path("/proc/self/status"))["VmRSS"] / 1e6, flush=True)
"""


def marked_processes(mark: str) -> list[int]:
    """Return the processes that have the soak's mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_soak_leaves_nothing_and_grows_nowhere(place, spawn, monkeypatch, campaign, pytestconfig, tmp_path):
    minutes = pytestconfig.getoption("--soak-minutes")
    end = time.monotonic() + (60 * minutes if campaign.full else SHORT_SECONDS)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    mark, rng = f"{os.getpid()}-{time.monotonic_ns()}", random.Random(9)
    write_study("study.yaml", trials=4)
    environment = {**os.environ, MARK: mark}
    steady = subprocess.Popen(
        [sys.executable, "-c", STEADY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    done = {"finished": 0, "killed": 0, "signalled": 0, "resumed": 0, "verified": 0, "studies": 0}
    peaks = []
    try:
        while time.monotonic() < end:
            act(rng, spawn, done, peaks, environment)
    finally:
        steady.stdin.close()
    sizes = [float(line) for line in steady.stdout]
    assert steady.wait() == 0
    for run in sorted(Path("runs").glob("*/config.yaml")):  # killed ones go on and end
        finish(spawn, run.parent, environment)
        done["resumed"] += 1
    for study in Path("studies").glob("*"):
        process = spawn("tune", "study.yaml", "--name", study.name, "-q", env=environment)
        assert process.communicate() == ("", "")
    assert marked_processes(mark) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    cache = Path(os.environ["NUMBA_CACHE_DIR"], "lenumba")
    assert [*Path("runs").rglob(".*"), *Path("studies").rglob(".*"), *cache.rglob(".*")] == []
    assert sizes
    # The first hundred rounds or so load what later ones use again, and let the allocator find its size.
    settled = sizes[len(sizes) // 2 :]
    growth = max(settled) - settled[0]
    allowed = GROWTH_MB if len(sizes) > 100 else 4 * GROWTH_MB
    assert growth < allowed, f"a process that trained {len(sizes)} times grew by {growth:.1f} MB"
    seconds = 60 * minutes if campaign.full else SHORT_SECONDS
    campaign.note(
        f"soak of {seconds:g} seconds: {json.dumps(done)}; a process trained and "
        f"verified {len(sizes)} times, its memory {settled[0]:.1f} → {settled[-1]:.1f} MB; peaks of finished trainings "
        f"{min(peaks, default=0):.0f} to {max(peaks, default=0):.0f} MB; nothing left over"
    )


def act(rng: random.Random, spawn, done: dict, peaks: list, environment: dict) -> None:
    """Start something and perhaps end it before its time."""
    runs = sorted(path.parent for path in Path("runs").glob("*/config.yaml"))
    kind = rng.choices(["train", "resume", "verify", "tune"], [4, 4, 1, 1])[0]
    if kind in ("resume", "verify") and not runs:
        kind = "train"
    if kind == "tune":
        pytest.importorskip("optuna")
        process = spawn("tune", "study.yaml", "--name", f"study-{rng.randrange(3)}", "-q", env=environment, patch=BEGUN)
        done["studies"] += 1
    elif kind == "verify":
        process = spawn("verify", rng.choice(runs), "-q", env=environment, patch=BEGUN)
        done["verified"] += 1
    elif kind == "resume":
        process = spawn("train", "--resume", rng.choice(runs), "-q", env=environment, patch=BEGUN)
        done["resumed"] += 1
    else:
        options = [f"train.epochs={rng.choice([2, 50, 400])}", f"train.threads={rng.choice([1, 2, 3])}"]
        process = spawn(
            "train", "tiny.yaml", *options, f"train.seed={rng.randrange(9)}", "-q", env=environment, patch=BEGUN
        )
    ending = rng.choice([None, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    if ending is not None:
        process.stdout.readline()  # Python itself has started, which answers to signals in ways of its own
        try:
            process.wait(rng.uniform(0, 3))
        except subprocess.TimeoutExpired:
            process.send_signal(ending)
            done["killed" if ending == signal.SIGKILL else "signalled"] += 1
    _, errors = process.communicate(timeout=120)
    # Killed by the signal itself: it came before the command line had begun, or after it had ended.
    unseen = (-signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM)
    assert process.returncode in (0, 130, 143, *unseen), (process.returncode, errors)
    assert process.returncode in unseen or "Traceback" not in errors, errors
    if process.returncode == 0 and kind in ("train", "resume"):
        done["finished"] += 1
    for run in (path.parent for path in Path("runs").glob("*/config.yaml")):
        record = json.loads((run / "run.json").read_text()) if (run / "run.json").exists() else {}
        peaks += [record["peak_rss_mb"]] if record.get("status") == "finished" else []
        if ending == signal.SIGKILL and kind in ("train", "resume"):
            assert_sound(run, interval=math.inf)  # in the seconds between two checkpoints there are many epochs
    discard(Path("runs"))


def discard(runs: Path) -> None:
    """Remove what a kill left that never became a run: no command takes it for one."""
    for folder in runs.glob("*"):
        if not (folder / "config.yaml").exists():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


def finish(spawn, run: Path, environment: dict) -> None:
    """Resume a run to its end."""
    process = spawn("train", "--resume", run, "-q", env=environment)
    assert process.communicate() == ("", "")
    assert sorted(path.name for path in run.iterdir()) == FILES
