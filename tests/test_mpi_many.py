"""Many trainings over the ranks of a job: what one process finds, and a folder that all machines must share."""

import csv
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpi4py", reason="needs mpi4py: pip install 'lenumba[mpi]'")
pytest.importorskip("optuna", reason="needs Optuna: pip install 'lenumba[tune]'")
from test_mpi import LENUMBA, MPIRUN, SECONDS, environment, processes, run, wait_for

CONFIG = """\
data: {name: digits, samples: 400, validation: 100, batch_size: 32}
network:
  layers:
    - {type: average_pool, size: 7}
    - flatten
    - {type: dense, units: 10, activation: softmax}
optimizer: {name: adamw, learning_rate: 0.01}
train: {epochs: 2}
tune:
  sampler: random
  pruner: none
  trials: 4
  finalists: 1
  space:
    optimizer.learning_rate: {low: 1e-3, high: 1, log: true}
"""
LONG = pytest.mark.long("waits for folders")
# Runs a command; in rank 1 with a folder of its own in the place of everybody's.
OWN = """\
if [ "$PMI_RANK$OMPI_COMM_WORLD_RANK" = 1 ]; then
    exec unshare -m sh -c 'mount -t tmpfs none FOLDER && cd FOLDER && cp FOLDER-1/* . ; exec "$@"' sh "$@"
fi
exec "$@"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("many") / "small.yaml"
    path.write_text(CONFIG)
    return path


def mpirun(folder: Path, *command: object, ranks: int = 2, apart: int = 1) -> subprocess.CompletedProcess:
    words = [MPIRUN, "-n", str(ranks), *map(str, command)]
    there = environment(LENUMBA_RANKS_PER_MACHINE=str(apart))
    return subprocess.run(words, capture_output=True, text=True, env=there, cwd=folder, timeout=SECONDS)


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder that is another one in rank 1 of commands that `sh {own}.sh` runs: a copy of {own}-1."""
    folder = tmp_path / "own"
    folder.mkdir()
    (tmp_path / "own-1").mkdir()
    (tmp_path / "own.sh").write_text(OWN.replace("FOLDER", str(folder)))
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", folder], check=False).returncode:
        pytest.skip("needs to mount a folder for one process")
    return folder


def refused(folder: Path, *command: object) -> str:
    """Run a command that must fail for what its second rank has; return the one line that says so."""
    result = mpirun(folder, *command)
    assert result.returncode == 3, result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(told) == 1
    assert "rank 1 on" in told[0]
    return told[0]


def found(study: Path) -> list[dict[str, str]]:
    with (study / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in ("seconds", "compile_s", "cached")} for row in rows]


def test_a_study_on_the_ranks_of_several_machines_finds_what_one_process_finds(config, tmp_path):
    arguments = ("tune", config, "--quiet", "--name", "one")
    alone = subprocess.run([*LENUMBA, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    shutil.move(tmp_path / "studies/one", tmp_path / "alone")
    result = mpirun(tmp_path, *LENUMBA, *arguments, ranks=3)
    assert result.returncode == 0, result.stderr
    one, other = tmp_path / "alone", tmp_path / "studies/one"
    assert found(one) == found(other)
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    summaries = [json.loads((study / "study.json").read_text()) for study in (one, other)]
    assert summaries[1]["jobs"] == 3
    assert summaries[0]["finals"] == summaries[1]["finals"]


def test_a_signal_to_any_rank_interrupts_a_study(config, tmp_path):
    name = tmp_path.name
    words = [MPIRUN, "-n", "2", *LENUMBA, "tune", config, "--trials", 5000, "--name", name]
    with subprocess.Popen(
        [*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=tmp_path
    ) as job:
        assert job.stdout is not None
        assert any(line.split()[:1] == ["3"] for line in job.stdout)
        os.kill(processes(name)[1], signal.SIGTERM)
        _, said = job.communicate(timeout=SECONDS)
    assert job.returncode == 143
    assert said.count("error:") == 1
    assert f"go on with: lenumba tune --resume --name {name}" in said
    wait_for(lambda: not processes(name))


def test_an_audit_on_several_ranks_finds_what_one_process_finds(config, tmp_path):
    arguments = ("audit", config, "--seeds", 1, "--folds", 3, "--quiet", "--out")
    assert run(0, *arguments, tmp_path / "one").returncode == 0
    result = mpirun(tmp_path, *LENUMBA, *arguments, "other")
    assert result.returncode == 0, result.stderr
    kept = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*.[cs]*"))]
    assert len(kept) == 1 + 3
    for path in kept:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "other" / path).read_bytes()


@pytest.mark.parametrize("command", ["seeds", *(pytest.param(name, marks=LONG) for name in ("tune", "compare"))])
def test_a_folder_that_a_rank_does_not_share_is_told_in_one_line(config, own, command):
    arguments = {
        "tune": ("tune", config),
        "seeds": ("train", config, "--seeds", 2, "--out", "runs"),
        "compare": ("compare", config, config, "--out", "runs"),
    }[command]
    told = refused(own, "sh", f"{own}.sh", *LENUMBA, *arguments)
    assert "choose a folder that all machines share" in told


def test_machines_with_other_images_are_told_apart(own):
    rng = np.random.default_rng(0)
    for folder in (own, Path(f"{own}-1")):
        images, labels = rng.integers(0, 256, (40, 8, 8), np.uint8), np.arange(40) % 2
        np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    network = {"layers": ["flatten", {"type": "dense", "units": 2, "activation": "softmax"}]}
    recipe = {"data": {"name": "npz", "root": str(own / "data.npz")}, "network": network}
    (own / "mine.yaml").write_text(json.dumps(recipe))
    told = refused(own, "sh", f"{own}.sh", *LENUMBA, "train", own / "mine.yaml")
    assert "has other images of npz than rank 0" in told


def test_machines_with_other_versions_are_told_apart(config, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata, os\n"
        "if '1' in (os.environ.get('PMI_RANK'), os.environ.get('OMPI_COMM_WORLD_RANK')):\n"
        "    importlib.metadata.version = lambda name: '0.0.1'\n"
    )
    told = refused(tmp_path, "env", f"PYTHONPATH={tmp_path}", *LENUMBA, "train", config)
    assert "install the same on all machines" in told


def test_a_machine_without_mpi_ends_the_job(config, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if '1' in (os.environ.get('PMI_RANK'), os.environ.get('OMPI_COMM_WORLD_RANK')):\n"
        "    sys.modules['mpi4py'] = None\n"
    )
    result = mpirun(tmp_path, "env", f"PYTHONPATH={tmp_path}", *LENUMBA, "train", config)
    assert result.returncode == 3
    assert result.stderr.count("error: rank 1: ") == 1
    assert "pip install 'lenumba[mpi]'" in result.stderr


def test_ranks_are_the_workers_of_a_study(config):
    result = run(2, "tune", config, "--jobs", 2)
    assert result.returncode == 2
    assert "each rank is a worker" in result.stderr
