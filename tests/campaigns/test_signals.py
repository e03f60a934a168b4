"""Signals at any time, to all commands: each ends soon, with its code, one line at most, and nothing half-written."""

import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
from campaigns.commands import serving, signalled

from lenumba.engine.config.config import load_config
from lenumba.engine.runs.run import start_run

pytestmark = pytest.mark.long("signals many commands")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

LIMIT = 10.0  # seconds that a command may live on
LONG = "train.epochs=100000"
COMMANDS = [
    ["train", "tiny.yaml", LONG, "--out", "new"],
    ["train", "tiny.yaml", LONG, "--out", "new", "-q"],
    ["train", "tiny.yaml", "--seeds", "50", "--out", "new"],
    ["train", "--resume", "whole", LONG],
    ["compare", "tiny.yaml", "tiny.yaml", LONG],
    ["compare", "tiny.yaml", "tiny.yaml", "--seeds", "50", "--out", "new"],
    ["tune", "study.yaml", "--name", "new", "-q"],
    ["evaluate", "whole"],
    ["report", "whole"],
    ["plot", "whole", "--out", "new"],
    ["verify", "whole"],
    ["explain", "whole"],
    ["profile", "tiny.yaml", "--seconds", "5"],
    ["export", "whole", "--out", "x.npz", "--format", "npz", "--force"],
    ["summary", "tiny.yaml"],
    ["check", "tiny.yaml"],
    ["runs"],
    ["schema"],
    ["doctor"],
]
LASTING = 1.5  # seconds until which a signal may come; many commands are over before


def test_no_command_outlives_a_signal(place, campaign):
    from tune_studies import write_study

    every = range(2000 - 2000 % len(COMMANDS))
    write_study("study.yaml", trials=4)
    start_run(load_config("tiny.yaml"), out=Path("template"))
    ended: Counter[int] = Counter()
    slowest, slow = 0.0, ""
    with serving() as server:
        for number in campaign.each(every, 12):
            command, rng = COMMANDS[number % len(COMMANDS)], random.Random(f"signal {number}")
            for folder in ("new", "whole", "studies"):
                shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree("template", "whole")
            kind = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
            delay = rng.uniform(0, LASTING)
            found, seconds = signalled(server, kind, delay, *command)
            where = f"{command}, {kind.name} after {delay:.3f} s: {found}"
            assert seconds < LIMIT, where
            # Killed by the signal itself: it came before the command line had begun, or after it had ended.
            assert found.code in (0, 1, 128 + kind, -kind), where
            if found.code == 128 + kind:
                assert found.errors.rpartition("error: ")[2].startswith("interrupted"), where
            assert "Traceback" not in found.errors, where
            if "new" not in command:  # studies keep their journal
                assert not list(Path("whole").rglob(".*")), where
            ended[found.code] += 1
            if seconds > slowest:
                slowest, slow = seconds, where.partition(":")[0]
    assert ended[0] < ended.total() or campaign.full
    campaign.note(
        f"signals: {ended.total()} over {len(COMMANDS)} commands, exit codes {dict(sorted(ended.items()))}; "
        f"the slowest to end took {slowest:.1f} s ({slow})"
    )
