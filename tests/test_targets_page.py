"""docs/targets.md: its script, recipes and commands, run as they stand there."""

import csv
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import r2_score, roc_auc_score

import lenumba

PAGE = Path(lenumba.__file__).parent / "docs" / "targets.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def column(path: str, name: str) -> np.ndarray:
    with open(path, newline="") as file:
        return np.array([float(row[name]) for row in csv.DictReader(file)])


def test_the_pages_commands_do_what_it_says(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from lenumba.cli import main

    monkeypatch.chdir(tmp_path)
    said = {}
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            Path("make_pump.py").write_text(text)
        elif kind == "yaml":
            Path(text.partition("\n")[0].removeprefix("# ")).write_text(text)
        for line in text.splitlines() * (kind == ""):
            program, *arguments = shlex.split(line, comments=True)
            if program == "python":
                runpy.run_path(*arguments)
            else:
                result = CliRunner().invoke(main, arguments)
                assert result.exit_code == 0, f"{line}\n{result.output}"
                said[arguments[0], Path(arguments[1]).stem] = result.output
    assert r2_score(column("power.csv", "power"), column("watts.csv", "power")) > 0.98
    for label in ("overload", "worn"):
        assert roc_auc_score(column("faults.csv", label), column("found.csv", label)) > 0.97
    with np.load("normal.npz") as file:
        assert roc_auc_score(file["y_test"], column("scores.csv", "score")) > 0.9
    assert "targets in columns 33, 34" in said["train", "faults"]
    assert "targets are learned standardised" in said["train", "power"]
    assert "AUC" in said["evaluate", "normal"]
    assert "largest difference" in said["export", "power"]


def test_the_scripts_for_sound_are_python_and_their_recipes_take_what_they_write(tmp_path, monkeypatch):
    from lenumba.cli import main

    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.with_name("sound.md").read_text(encoding="utf-8"))
    scripts = [compile(text, "script", "exec") for kind, text in blocks if kind == "python"]
    assert len(scripts) == 2
    rng = np.random.default_rng(0)
    words = {"x_train": (350, 49, 10), "x_test": (35, 49, 10)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in words.items()}
    labels = {f"y_{name[2:]}": np.arange(len(array)) % 35 for name, array in arrays.items()}
    np.savez("words.npz", **arrays, **labels)
    np.savez(
        "sounds.npz", x_train=rng.normal(size=(600, 640)), x_test=rng.normal(size=(8, 640)), y_test=np.arange(8) % 2
    )
    trained = [
        shlex.split(line, comments=True)[2:] for line in re.findall(r"^lenumba train .*$", blocks_text(blocks), re.M)
    ]
    assert [arguments[0] for arguments in trained] == ["kws-dscnn", "ad-autoencoder"]
    for arguments in trained:
        result = CliRunner().invoke(main, ["check", *arguments])
        assert result.exit_code == 0, result.output


def blocks_text(blocks: list[tuple[str, str]]) -> str:
    return "\n".join(text for kind, text in blocks if kind == "")
