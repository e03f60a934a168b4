"""Several ranks: kills at random, the larger recipes, seeds by the dozen."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mpi4py", reason="needs mpi4py: pip install 'lenumba[mpi]'")
from test_mpi import CONFIG, MPIRUN, figures, processes, run, start, wait_for, weights

WITHIN = 10.0  # seconds in which a job ends that has lost a rank
RANKS = [(1, 1, 0), (1, 2, 0), (2, 1, 0), (3, 1, 1), (4, 1, 2), (2, 2, 1)]  # ranks, threads, ranks per machine
# Drawn images, also where the recipe takes files; everything that a batch has in common.
COMMON = [
    "data.name=digits", "data.samples=1500", "data.validation=200", "train.epochs=2", "augment.shift=2",
    "optimizer.max_norm=0.5", "optimizer.average=0.9",
]  # fmt: skip
NETWORKS = {
    "lenet": [*COMMON, "optimizer.max_norm=0.5", "optimizer.average=0.9"],
    "lenet5": [*COMMON, "optimizer.max_norm=0.5", "optimizer.average=0.9"],
    "ic-resnet8": [
        "data.name=shapes",
        "network.layers.6.units=6",
        *COMMON[1:4],
        "optimizer.max_norm=0.5",
        "optimizer.average=0.9",
    ],
}


def test_kills_of_any_rank_at_any_time(campaign, tmp_path):
    """The job ends within seconds, no process is left, and what goes on has the bits of one process."""
    if not campaign.full:
        pytest.skip("the tests of every day kill two; with --campaign")
    rng = random.Random(19)
    config, alone = tmp_path / "small.yaml", tmp_path / "alone"
    config.write_text(CONFIG)
    changes = ("train.epochs=150", "--threads", 1)
    assert run(0, "train", config, *changes, "--out", alone, "-q").returncode == 0
    slowest = 0.0
    for number in campaign.each(range(50), 0):
        out, ranks = tmp_path / f"run-{number}", rng.choice([2, 3, 4])
        job = start(ranks, "train", config, *changes, "--out", out, "-q")
        wait_for(lambda out=out, ranks=ranks: len(processes(out)) == ranks)
        time.sleep(rng.uniform(0.1, 3.0))
        found = processes(out)
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
        killed = time.monotonic()
        said, _ = job.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - killed)
        assert time.monotonic() - killed < WITHIN or job.returncode == 0
        assert job.returncode == 0 or said.count("error:") <= 1, said
        wait_for(lambda out=out: not processes(out))
        begun = (out / "config.yaml").is_file()
        again = ("train", "--resume", out, "-q") if begun else ("train", config, *changes, "--out", out, "-q")
        assert run(rng.choice([0, 2, 3]), *again).returncode == 0
        assert weights(out) == weights(alone), number
        assert figures(out) == figures(alone)
        shutil.rmtree(out)
    campaign.note(f"kills of a rank: the job ended within {slowest:.1f} s, the same bits")


@pytest.mark.parametrize("recipe", NETWORKS)
def test_recipes_have_the_same_bits_on_any_ranks(campaign, tmp_path, recipe):
    if not campaign.full:
        pytest.skip("compiles large networks; with --campaign")
    found = []
    for ranks, threads, apart in RANKS:
        out = tmp_path / f"{ranks}x{threads}"
        result = run(ranks, "train", recipe, *NETWORKS[recipe], "--threads", threads, "--out", out, "-q", apart=apart)
        assert result.returncode == 0, result.stderr
        found.append(weights(out))
    assert found == [found[0]] * len(RANKS)
    campaign.note(f"{recipe}: the same bits for ranks × threads {', '.join(f'{r}×{t}' for r, t, _ in RANKS)}")


def test_forty_seeds_are_those_of_one_process(campaign, tmp_path):
    if not campaign.full:
        pytest.skip("trains 80 times; with --campaign")
    seconds = []
    for ranks, name in ((0, "alone"), (2, "shared")):
        started = time.monotonic()
        result = run(ranks, "train", "quickstart", "--seeds", 40, "--threads", 1, "--out", tmp_path / name, "-q")
        assert result.returncode == 0, result.stderr
        seconds.append(time.monotonic() - started)
    for seed in range(40):
        one, other = (Path(tmp_path, name, f"seed-{seed}") for name in ("alone", "shared"))
        assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
        assert weights(one) == weights(other)
        assert figures(one) == figures(other)
    campaign.note(f"40 seeds: {seconds[0]:.0f} s in one process, {seconds[1]:.0f} s on 2 ranks")


def test_the_launcher_is_there():
    assert subprocess.run([MPIRUN, "-n", "2", sys.executable, "-c", "pass"], check=False).returncode == 0
