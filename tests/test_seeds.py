"""Several seeds in one command: each a run of its own, figures over all, and nothing trained twice."""

import json
import signal

import numpy as np
import pytest

from lenumba.engine.common.files import read_json


@pytest.fixture
def trained(lenumba, place):
    result = lenumba("train", "tiny.yaml", "train.seed=5", "--seeds", 3, "--out", "here", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_each_seed_is_the_run_that_it_would_be_alone(lenumba, place, trained):
    assert [run["seed"] for run in trained["runs"]] == [5, 6, 7]
    lenumba("train", "tiny.yaml", "train.seed=6", "--out", "alone", "-q")
    alone, among = read_json(place / "alone/run.json"), read_json(place / "here/seed-6/run.json")
    assert (
        alone["weights_sha256"]
        == among["weights_sha256"]
        != read_json(place / "here/seed-7/run.json")["weights_sha256"]
    )
    assert trained["runs"][1]["test_accuracy"] == alone["test_accuracy"]
    assert lenumba("evaluate", "here/seed-6").exit_code == 0


def test_runs_lists_each_seed(lenumba, place):
    assert lenumba("train", "tiny.yaml", "--seeds", 2, "-q").exit_code == 0
    listed = json.loads(lenumba("runs", "--json").stdout)
    assert [(run["run"], run["seed"]) for run in listed] == [("tiny-001/seed-0", 0), ("tiny-001/seed-1", 1)]
    assert all(lenumba("evaluate", name).exit_code == 0 for name in ("tiny-001/seed-0", "latest"))


def test_figures_are_mean_and_standard_error(place, trained):
    for key in ("test_accuracy", "seconds"):
        values = np.array([run[key] for run in trained["runs"]])
        assert trained[key]["mean"] == pytest.approx(values.mean())
        assert trained[key]["error"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 2 / 3))
    assert read_json(place / "here/seeds.json") == trained


def test_finished_seeds_are_not_trained_again(lenumba, place, trained):
    before = (place / "here/seed-5/run.json").stat().st_mtime_ns
    result = lenumba("train", "tiny.yaml", "train.seed=5", "--seeds", 4, "--out", "here")
    assert result.exit_code == 0, result.output
    assert (place / "here/seed-5/run.json").stat().st_mtime_ns == before
    assert [line.split()[0] for line in result.stdout.splitlines()[2:7]] == ["5", "6", "7", "8", "mean"]


def test_finished_seed_whose_configuration_was_edited_is_not_taken_for_another(lenumba, refused, place, trained):
    config = place / "here/seed-5/config.yaml"
    text = config.read_text()
    config.write_text(text.replace("batch_size: 32", "batch_size: 64"))
    command = ["train", "tiny.yaml", "train.seed=5", "--seeds", 1, "--out", "here"]
    fault = refused(2, *command, "data.batch_size=64")
    assert "here/seed-5/config.yaml:" in fault
    assert "data.batch_size: expected 32, which here/seed-5 was trained with, found 64" in fault

    config.write_text(text.replace("epochs: 3", "epochs: 5"))
    assert lenumba(*command, "train.epochs=5").exit_code == 0
    assert len((place / "here/seed-5/metrics.jsonl").read_text().splitlines()) == 5
    assert read_json(place / "here/seed-5/run.json")["epochs"] == 5


def test_interrupted_seeds_go_on_to_the_same_weights(lenumba, spawn, place, trained):
    process = spawn("train", "tiny.yaml", "train.seed=5", "train.threads=1", "--seeds", 3, "--out", "again", patch=STOP)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, errors
    assert errors.splitlines()[-1].endswith(
        "go on with: lenumba train tiny.yaml train.seed=5 train.threads=1 --seeds 3 --out again"
    )
    assert not (place / "again/seeds.json").exists()
    assert read_json(place / "again/seed-6/run.json")["status"] == "interrupted"
    assert lenumba("train", "tiny.yaml", "train.seed=5", "--seeds", 3, "--out", "again", "-q").exit_code == 0
    for name in ("seed-5", "seed-6", "seed-7"):
        found, expected = (read_json(place / folder / name / "run.json") for folder in ("again", "here"))
        assert found["weights_sha256"] == expected["weights_sha256"]


# Ctrl-C while the second seed trains its second epoch.
STOP = """
import os, signal
from lenumba.engine.training.trainer import Trainer
finish = Trainer._finish_epoch
def interrupted(self, *arguments):
    if self.config.train.seed == 6 and self.progress.epoch == 1:
        os.kill(os.getpid(), signal.SIGINT)
    return finish(self, *arguments)
Trainer._finish_epoch = interrupted
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.epochs=9", "--out", "here"], "--out here: seed-5 was trained with another train.epochs"),
        (["--out", "."], "--out .: expected a new folder or one of --seeds, found"),
        (["--resume", "here"], "--seeds and --resume exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused(refused, trained, arguments, message):
    config = [] if "--resume" in arguments else ["tiny.yaml", "train.seed=5"]
    assert message in refused(2, "train", *config, "--seeds", 3, *arguments)


def test_signal_that_comes_when_a_seed_is_done_ends_the_command_before_the_next(place, spawn):
    patch = """
import os, signal
from lenumba.engine.runs.facts import RunRecord
real = RunRecord.write
def write(self, status, **values):
    if status == "finished":
        os.kill(os.getpid(), signal.SIGINT)
    return real(self, status, **values)
RunRecord.write = write
"""
    process = spawn("train", "tiny.yaml", "--seeds", 3, "--out", "seeds", "-q", patch=patch)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.endswith("go on with: lenumba train tiny.yaml --seeds 3 --out seeds\n")
    assert read_json(place / "seeds/seed-0/run.json")["status"] == "finished"
    assert [path.name for path in (place / "seeds").iterdir()] == ["seed-0"]


def test_lock_that_a_kill_at_the_very_end_left_goes(lenumba, place, trained):
    (place / "here/seed-6/.lock").touch()
    assert lenumba("train", "tiny.yaml", "train.seed=5", "--seeds", 3, "--out", "here", "-q").exit_code == 0
    assert not list((place / "here").rglob(".*"))


@pytest.mark.parametrize("way", ["kill", "error"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_seeds_killed_at_the_start_of_one_go_on(lenumba, spawn, place, at, way):
    fault = {"kill": "os.kill(os.getpid(), 9)", "error": "raise OSError(28, os.strerror(28))"}[way]
    patch = f"""
import os
real, calls = os.replace, []
def replace(*names):
    calls.append(names)
    if len(calls) == {at}:
        {fault}
    real(*names)
os.replace = replace
"""
    _, errors = spawn("train", "tiny.yaml", "--seeds", 2, "--out", "seeds", "-q", patch=patch).communicate(timeout=120)
    name = ["run.json", "best.safetensors", "last.safetensors", "config.yaml"][at - 1]
    assert way == "kill" or (f"seeds/seed-0/{name}: " in errors and errors.count("\n") == 1), errors
    result = lenumba("train", "tiny.yaml", "--seeds", 2, "--out", "seeds", "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(path.name for path in (place / "seeds").iterdir()) == ["seed-0", "seed-1", "seeds.json"]
    assert len(list((place / "seeds" / "seed-0").iterdir())) == 5
