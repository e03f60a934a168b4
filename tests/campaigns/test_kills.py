"""Training killed with signal 9 at random instants, and resumed until it is done."""

import os
import random
import time
from pathlib import Path

import pytest
from campaigns.folders import assert_same_run, assert_sound

from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run

pytestmark = pytest.mark.long("kills many trainings")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills as POSIX has them")

# A checkpoint after each epoch: as often as there can be one.
PATCH = "import lenumba.engine.runs.run as runs\nruns.CHECKPOINT_SECONDS = 0.0"
KILLS_PER_RUN = 20
EPOCHS = 120


def wait_until_it_trains(process) -> bool:
    """Wait for the first line of an epoch; False where the process ends before."""
    return any(line.split()[:1] and line.split()[0].isdecimal() for line in process.stdout)


def test_killed_runs_end_as_if_nothing_had_happened(place, spawn, campaign):
    wanted, rng = campaign.size(4, 200), random.Random(1)
    kills, early, lost, number, epochs = 0, 0, 0, 0, []
    while kills < wanted:
        number += 1
        changes = [f"train.epochs={EPOCHS}", f"train.seed={number}", "optimizer.momentum=0.9", "schedule.name=cosine"]
        run, before = Path(f"runs/tiny-{number:03d}"), kills
        while kills < min(wanted, before + KILLS_PER_RUN):
            begun = (run / "config.yaml").exists()
            assert begun or not run.exists(), "killed before it was a run: start again elsewhere"
            command = ["--resume", run] if begun else ["tiny.yaml", *changes]
            process = spawn("train", *command, patch=PATCH)
            if kills % 4 == 3:  # now and then while it starts
                time.sleep(rng.uniform(0, 1))
            elif not wait_until_it_trains(process):
                break  # it was quicker than the kills
            else:
                time.sleep(rng.uniform(0, 0.2))
            process.kill()
            process.communicate()
            kills += 1
            if (run / "config.yaml").exists():
                lost += assert_sound(run)
            else:
                early += 1
                for path in run.glob("*") if run.exists() else ():
                    path.unlink()
                if run.exists():
                    run.rmdir()
        if (run / "config.yaml").exists():
            process = spawn("train", "--resume", run, "-q", patch=PATCH)
            assert process.communicate() == ("", "")
            assert process.returncode == 0
            whole = start_run(load_config("tiny.yaml", changes), out=Path(f"whole-{number}")).path
            assert_same_run(run, whole)
            epochs.append(number)
    assert epochs
    campaign.note(
        f"kills: {kills} with signal 9 in {number} runs of {EPOCHS} epochs ({early} before there was a run), "
        f"{lost} epochs trained twice, {len(epochs)} runs compared bit for bit, all the same"
    )
