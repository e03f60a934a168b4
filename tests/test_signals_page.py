"""docs/signals.md: its script, recipe and commands, run as they stand there."""

import csv
from pathlib import Path

import pytest
from pages import run_page


def test_the_pages_commands_do_what_it_says(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    said = {line.split()[1]: result.output for line, result in run_page("signals.md").items()}
    assert "a header, 600 rows of 65 columns, labels in column 65 ('class')" in said["train"]
    with Path("answers.csv").open(newline="") as file:
        answers = list(csv.DictReader(file))
    with Path("bearings/test.csv").open(newline="") as file:
        labels = [row["class"] for row in csv.DictReader(file)]
    assert [row["signal"] for row in answers] == [f"bearings/test.csv:{line}" for line in range(2, 202)]
    right = sum(row["class"] == label for row, label in zip(answers, labels, strict=True))
    assert right >= 190
    assert f"accuracy {right / 2:.2f} %" in said["evaluate"]
    assert "bearings/test.csv:12" in said["explain"]
    assert "0 classes differ" in said["export"]
