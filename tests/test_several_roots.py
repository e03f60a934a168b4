"""Several folders or files as one data set: classes by name, each divided as it would be alone, and told of."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import read_config
from lenumba.engine.data.dataset import load_dataset
from lenumba.engine.data.picture_folder import is_for_test

SIZE = (6, 6, 1)
RECIPE = """\
data: {name: folder, root: jan, image_size: [6, 6, 1], batch_size: 8, validation: 0.2}
network:
  layers: [flatten, {type: dense, units: 3, activation: softmax}]
train: {epochs: 2}
"""
GREY = {"dent": 20, "ok": 120, "scratch": 220}


def draw(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Write pictures of a grey level for each class, no two alike."""
    rng = np.random.default_rng(first)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            pixels = GREY[name] + rng.integers(-15, 16, (6, 6))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def months(place) -> list[str]:
    """January has all three classes and no division, February two and the folders train and test."""
    draw(place / "jan", {"dent": 12, "ok": 20, "scratch": 15})
    draw(place / "feb/train", {"ok": 9, "scratch": 8}, first=100)
    draw(place / "feb/test", {"ok": 3, "scratch": 2}, first=200)
    (place / "own.yaml").write_text(RECIPE)
    return ["jan", "feb"]


def test_classes_are_united_by_name_and_each_folder_keeps_its_division(months):
    joined = load_dataset("folder", months, image_size=SIZE)
    jan, feb = (load_dataset("folder", root, image_size=SIZE) for root in months)
    assert joined.class_names == ("dent", "ok", "scratch")
    assert len(joined.test_labels) == len(jan.test_labels) + 5
    assert len(joined.train_labels) == len(jan.train_labels) + 17
    np.testing.assert_array_equal(joined.train_images, np.concatenate([jan.train_images, feb.train_images]))
    for labels, images in ((joined.train_labels, joined.train_images), (joined.test_labels, joined.test_images)):
        np.testing.assert_array_equal(np.rint((images.mean((1, 2, 3)) - 20) / 100), labels)
    assert joined.notes[0] == (
        f"joined: jan ({len(jan.train_labels)} for training, {len(jan.test_labels)} for the test), "
        "feb (17 for training, 5 for the test)"
    )
    assert joined.notes[1] == "the classes differ: feb has no dent"
    assert any(note.startswith("jan: no folders train and test") for note in joined.notes)
    assert joined.files[1][-1] == "feb/test/scratch/201.png"
    assert joined.files[0][0].startswith("jan/dent/")


def test_one_of_several_may_have_one_class_or_one_part(place, months):
    """Few new pictures of one class: none of them need be for the test."""
    number = next(number for number in range(300, 400) if not is_for_test("dent", f"{number}.png"))
    draw(place / "march", {"dent": 1}, first=number)
    draw(place / "april/train", {"dent": 4}, first=500)
    joined = load_dataset("folder", [*months, "march", "april"], image_size=SIZE)
    assert joined.files[0][-5:] == (f"march/dent/{number}.png", *(f"april/train/dent/{k}.png" for k in range(500, 504)))
    assert len(joined.test_labels) == len(load_dataset("folder", months, image_size=SIZE).test_labels)


def test_folders_for_validation_validate(place, months):
    draw(place / "feb/val", {"ok": 4}, first=300)
    joined = load_dataset("folder", months, image_size=SIZE)
    assert [joined.files[0][k] for k in joined.validation] == [f"feb/val/ok/{k}.png" for k in range(300, 304)]


def npz(path: str, count: int, names: list[str] | None, size: int = 6) -> str:
    labels = np.arange(count) % 2
    arrays = {f"{part}_images": np.full((count, size, size), 7, np.uint8) for part in ("train", "test")}
    extra = {} if names is None else {"class_names": np.array(names)}
    np.savez(path, **arrays, train_labels=labels, test_labels=labels, **extra)
    return path


def test_files_are_joined_too(place):
    roots = [npz("a.npz", 4, ["ok", "dent"]), npz("b.npz", 6, ["dent", "crack"])]
    joined = load_dataset("npz", roots)
    assert joined.class_names == ("ok", "dent", "crack")
    assert joined.train_labels.tolist() == [0, 1] * 2 + [1, 2] * 3
    assert joined.notes[1] == "the classes differ: a.npz has no crack; b.npz has no ok"
    numbered = load_dataset("npz", [npz("c.npz", 4, None), npz("d.npz", 6, None)])
    assert (numbered.named, numbered.class_names, len(numbered.test_labels)) == (False, ("0", "1"), 10)


def test_what_does_not_fit_is_refused_with_the_root(place, months):
    npz("a.npz", 4, ["ok", "dent"])
    for other, line in {
        npz("b.npz", 4, ["ok", "dent"], size=7): "b.npz: expected images of 6×6×1, as in a.npz, found 7×7×1",
        npz("c.npz", 4, None): "c.npz: expected class_names, as a.npz has them",
        "d.npz": "d.npz: .*No such file",
    }.items():
        with pytest.raises(DataError, match=line):
            load_dataset("npz", ["a.npz", other])
    for root in ("nowhere", "own.yaml"):
        with pytest.raises(DataError, match=f"^{root}: expected a folder"):
            load_dataset("folder", [*months, root], image_size=SIZE)
    for text, line in {
        "[jan, jan]": "data.root.1: 'jan' is already item 0",
        "[jan, 3]": "data.root: expected a string of at most 1024 characters or a list",
        "[]": "data.root: expected",
    }.items():
        with pytest.raises(ConfigError, match=line):
            read_config(RECIPE, "own.yaml", [f"data.root={text}"])
    with pytest.raises(ConfigError, match=r"data\.root: expected one folder for the data set mnist, found a list"):
        read_config(RECIPE, "own.yaml", ["data.name=mnist", "data.image_size=null", "data.root=[a, b]"])


def test_a_run_of_several_folders(months, place, lenumba, monkeypatch):
    """From the command line, also with ~; recorded, resumed from elsewhere, judged, verified."""
    monkeypatch.setenv("HOME", str(place))
    result = lenumba("train", "own.yaml", "data.root=[~/jan, feb]", "--out", "run")
    assert result.exit_code == 0, result.output
    record = json.loads(Path("run/run.json").read_text())
    assert record["notes"][0].startswith("joined: ~/jan (")
    assert record["notes"][0] in result.stdout
    assert read_config(Path("run/config.yaml"), "x").config.data.root == (str(place / "jan"), str(place / "feb"))
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert lenumba("train", "--resume", "../run", "train.epochs=3", "-q").exit_code == 0
    (place / "feb").rename(place / "february")
    assert f"{place}/feb: expected a folder" in lenumba("evaluate", "../run").stderr
    moved = "data.root=['../jan', '../february']"
    assert lenumba("evaluate", "../run", moved).exit_code == 0
    assert lenumba("train", "--resume", "../run", moved, "train.epochs=4", "-q").exit_code == 0
    verified = lenumba("verify", "../run")
    assert verified.exit_code == 0, verified.output
    assert lenumba("check", "../own.yaml", "data.root=[../jan, ../february]").exit_code == 0


def test_next_months_pictures(months, place, lenumba, refused):
    """Resuming with another folder says how to go on with both, and that command works as it is."""
    assert lenumba("train", "own.yaml", "--out", "runs/first", "-q").exit_code == 0
    new = draw(place / "next month, all", {"dent": 9, "ok": 9, "scratch": 9}, first=400)
    line = refused(3, "train", "--resume", "runs/first", f'data.root="{new.name}"')
    assert "was trained on other data than folder now is; restore them; to train on with both: lenumba train " in line
    command = shlex.split(line.rpartition("both: ")[2])
    assert command[1:] == [
        "train",
        "runs/first",
        f'data.root=[{place / "jan"}, "{new.name}"]',
        "init_from=runs/first",
    ]
    assert lenumba(*command[1:], "-q").exit_code == 0
    record = json.loads(Path("runs/own-001/run.json").read_text())
    assert record["init_from"]["drawn"] == []
    assert record["train_images"] + record["validation_images"] > 60
    draw(place / "few", {"dent": 2}, first=500)  # too few to be trained on alone
    line = refused(3, "train", "--resume", "runs/first", "data.root=few")
    assert lenumba(*shlex.split(line.rpartition("both: ")[2])[1:], "-q").exit_code == 0
    assert "both" not in refused(3, "train", "--resume", "runs/first", "data.root=nowhere")


def test_pictures_added_to_the_same_folder(months, place, lenumba, refused):
    assert lenumba("train", "own.yaml", "--out", "runs/first", "-q").exit_code == 0
    draw(place / "jan", {"ok": 9}, first=600)
    line = refused(3, "train", "--resume", "runs/first", "train.epochs=3")
    command = "or train on with what is there: lenumba train runs/first init_from=runs/first"
    assert line.endswith(f"{command}\n")
    assert lenumba(*shlex.split(command)[8:], "-q").exit_code == 0
