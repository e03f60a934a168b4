"""docs/signals.md: its script, recipe and commands, run as they stand there."""

import csv
import re
import runpy
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import lenumba

PAGE = Path(lenumba.__file__).parent / "docs" / "signals.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_pages_commands_do_what_it_says(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from lenumba.cli import main

    monkeypatch.chdir(tmp_path)
    blocks = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    Path("make_bearings.py").write_text(blocks["python"])
    Path("bearings.yaml").write_text(blocks["yaml"])
    said = {}
    for line in blocks[""].splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "python":
            runpy.run_path(*arguments)
        else:
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            said[arguments[0]] = result.output
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
