"""docs/targets.md and docs/sound.md: their scripts, recipes and commands, run as they stand there."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pages import blocks, command_lines, run_line, run_page
from sklearn.metrics import r2_score, roc_auc_score


def column(path: str, name: str) -> np.ndarray:
    with open(path, newline="") as file:
        return np.array([float(row[name]) for row in csv.DictReader(file)])


def test_the_pages_commands_do_what_it_says(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    done = {tuple(line.split()[1:3]): result.output for line, result in run_page("targets.md").items()}
    said = {(command, Path(subject).stem): output for (command, subject), output in done.items()}
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
    monkeypatch.chdir(tmp_path)
    scripts = [compile(text, "script", "exec") for text in blocks("sound.md", "python")]
    assert len(scripts) == 2
    rng = np.random.default_rng(0)
    words = {"x_train": (350, 49, 10), "x_test": (35, 49, 10)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in words.items()}
    labels = {f"y_{name[2:]}": np.arange(len(array)) % 35 for name, array in arrays.items()}
    np.savez("words.npz", **arrays, **labels)
    np.savez(
        "sounds.npz", x_train=rng.normal(size=(600, 640)), x_test=rng.normal(size=(8, 640)), y_test=np.arange(8) % 2
    )
    trained = [line for line in command_lines("sound.md") if line.startswith("lenumba train ")]
    assert [line.split()[2] for line in trained] == ["kws-dscnn", "ad-autoencoder"]
    for line in trained:
        run_line(line.replace(" train ", " check "))
