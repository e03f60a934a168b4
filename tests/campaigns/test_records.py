"""JSON of wrong types in run folders and profiles: every command answers in one line, and no run hides another."""

import json
import random
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.long("damages many runs")

VALUES = [None, True, -1, 0, 3.5, 1e308, -1e308, 1e99, 10**400, "", "text\n$\\bad{$", [], [1, "x"], {}, {"a": [None]},
          [[[]]], float("nan"), float("-inf")]  # fmt: skip
COMMANDS = {
    "run.json": [("runs",), ("runs", "--json"), ("report", "damaged"), ("verify", "damaged"), ("evaluate", "damaged")],
    "metrics.jsonl": [
        ("plot", "damaged"),
        ("report", "damaged"),
        ("verify", "damaged"),
        ("train", "--resume", "damaged"),
    ],
    "histograms.jsonl": [
        ("plot", "damaged"),
        ("report", "damaged"),
        ("train", "--resume", "damaged", "train.epochs=4"),
    ],
}


def damaged(values, rng: random.Random):
    """A copy of JSON values with one of them, at any depth, replaced, removed or renamed."""
    copy = json.loads(json.dumps(values))
    places = []

    def walk(node):
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(copy)
    if not places or rng.random() < 0.05:
        return rng.choice(VALUES)
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.2:
        value = node.pop(key)
        if rng.random() < 0.5:
            node[f"{key}\n"] = value
    else:
        node[key] = rng.choice(VALUES)
    return copy


def spoil(path: Path, rng: random.Random) -> None:
    """Replace a value of a JSON file, or of one line of a file of JSON lines."""
    if path.suffix == ".json":
        path.write_text(json.dumps(damaged(json.loads(path.read_text()), rng)))
        return
    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    lines[number] = json.dumps(damaged(json.loads(lines[number]), rng))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def rich_run(lenumba, place):
    """A finished run with histograms, beside which damaged ones are put."""
    pytest.importorskip("matplotlib")
    result = lenumba("train", "tiny.yaml", "train.epochs=2", "plots=true", "-q", "--out", "runs/whole")
    assert result.exit_code == 0, result.output
    return place / "runs" / "whole"


def test_wrong_types_are_one_line(lenumba, rich_run, campaign):
    """The fixture `lenumba` fails for every exception that is not an exit code."""
    answers = {0: 0, 1: 0, 2: 0, 3: 0}
    for number in campaign.each(range(500), 12):
        rng = random.Random(f"record {number}")
        name = rng.choice(list(COMMANDS))
        folder = rich_run.parent / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(rich_run, folder)
        spoil(folder / name, rng)
        command = rng.choice(COMMANDS[name])
        written = (folder / name).read_text()
        result = lenumba(*command)
        assert result.exit_code in answers, (number, name, command, written, result.output)
        errors = [line for line in result.stderr.splitlines() if line.startswith(("error:", "warning:"))]
        found = (number, name, command, result.stderr)
        assert len(errors) == (result.exit_code != 0) or command[0] == "runs", found
        assert "Traceback" not in result.output
        if command[0] == "runs":
            assert result.exit_code == 0, (number, written, result.output)
            assert "whole" in result.stdout
        answers[result.exit_code] += 1
    shutil.rmtree(rich_run.parent / "damaged")
    campaign.note(f"records: {sum(answers.values())} of wrong types, exit codes {answers}, none with a traceback")


def test_a_profile_of_wrong_types_is_one_line(campaign, place):
    from lenumba.engine.common.errors import LenumbaError
    from lenumba.engine.profile.compare import compare_profiles, read_earlier

    row = {"name": "conv1", "ms": 2.0, "least_ms": 1.5, "noise": 0.1, "kernel": "conv_forward"}
    whole = {"rows": [row, {**row, "name": "dense1"}], "epoch_ms": 5.0, "epochs_ms": [5.0, 5.5, 4.5]}
    whole |= {"images": 100, "batch_size": 10, "threads": 1, "forward_multiply_adds": 1000}
    count, rng, refused, path = campaign.size(60, 500), random.Random(14), 0, Path("earlier.json")
    for _ in range(count):
        path.write_text(json.dumps(damaged(whole, rng)))
        told = ""
        try:
            compare_profiles(read_earlier(str(path)), whole)
        except LenumbaError as error:
            told = str(error)
            refused += 1
        assert "\n" not in told
    path.unlink()
    campaign.note(f"records: {count} profiles of wrong types, {refused} refused in one line, the others compared")
