"""Own pictures: how they are divided, drawn and prepared, and how a network that knows them judges others."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenumba as package
from lenumba.engine.config.config import read_config
from lenumba.engine.data.dataset import dataset_from_arrays, load_dataset
from lenumba.engine.data.picture_folder import is_for_test
from lenumba.engine.data.selection import split
from lenumba.engine.data.splits import draw_stratified
from lenumba.engine.explain.subject import find_sample, find_subject
from lenumba.engine.runs.run import start_run

SIZE = (12, 10, 3)
COLOURS = {"ant": (220, 40, 40), "bee": (40, 220, 40), "cat": (40, 40, 220)}
RECIPE = """\
data: {{name: {name}, root: "{root}", batch_size: 8, validation: 0.2{more}}}
network:
  layers: [flatten, {{type: dense, units: {units}, activation: softmax}}]
optimizer: {{name: adamw, learning_rate: 0.02}}
train: {{epochs: 12}}
"""
IN_COLOUR = ", image_size: [8, 8, 3]"


def paint(folder: Path, count: int, classes=tuple(COLOURS), suffix="png", first=0) -> Path:
    """Write `count` noisy pictures of each class, nearly of its colour."""
    rng = np.random.default_rng(len(str(folder)) + first)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            pixels = np.array(COLOURS[name]) + rng.integers(-30, 30, (16, 14, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.{suffix}")
    return folder


def recipe(root: Path, *overrides: str, name="folder", units=3, more=IN_COLOUR):
    return read_config(RECIPE.format(name=name, root=root, units=units, more=more), "own.yaml", overrides)


@pytest.fixture(scope="module")
def insects(tmp_path_factory) -> Path:
    """A finished run on ant, bee and cat, not to be changed; its pictures are in the folder beside it."""
    folder = tmp_path_factory.mktemp("insects")
    start_run(recipe(paint(folder / "pictures", 30)), out=folder / "run")
    assert package.load(folder / "run").evaluate().accuracy == 1
    return folder


# Pictures are prepared as in training


def digit_picture(path: Path, label: int) -> np.ndarray:
    """Save dark-on-light bars at a place that tells the class, which cropping and centring would lose."""
    pixels = np.full((20, 20), 230, np.uint8)
    pixels[2 * label : 2 * label + 2] = 30
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_ten_classes_named_0_to_9_are_not_taken_for_mnist(place, lenumba, channels):
    for label in range(10):
        for number in range(8):
            digit_picture(place / "pictures" / str(label) / f"{number}.png", label)
    loaded = recipe(place / "pictures", "train.epochs=150", units=10, more=f", image_size: [20, 20, {channels}]")
    folder = start_run(loaded).path
    model = package.load(folder)
    assert model.evaluate().accuracy == 1
    assert not model.shows_digits
    paths = sorted((place / "pictures").glob("*/0.png"))
    answers = json.loads(lenumba("predict", folder, *paths, "--json").stdout)
    assert [answer["top"][0][0] for answer in answers] == [str(label) for label in range(10)]
    expected = load_dataset("folder", place / "pictures", image_size=(20, 20, channels))
    sample = find_sample(find_subject(str(folder), [], "best"), str(paths[3]), None)
    np.testing.assert_array_equal(sample.pixels, expected.train_images[expected.train_labels == 3][0])


def test_npz_of_digits_and_digits8x8_are_not_taken_for_mnist(place):
    from lenumba.engine.data.dataset import dataset_spec
    from lenumba.engine.data.images import load_image, prepare_digit

    assert [dataset_spec(name).prepare for name in ("mnist", "digits")] == [prepare_digit] * 2
    others = ("fashion_mnist", "digits8x8", "bars", "shapes", "folder", "npz", "idx")
    assert {dataset_spec(name).prepare for name in others} == {load_image}


# Other data are matched by the names of their classes


def test_classes_of_another_folder_are_matched_by_name(insects, lenumba, place):
    paint(place / "new", 10, ["bee", "cat"])
    result = lenumba("evaluate", insects / "run", f"data.root={place / 'new'}", "--json")
    found = json.loads(result.stdout)
    assert (found["accuracy"], found["images"], found["class_names"]) == (1, 20, ["ant", "bee", "cat"])
    assert np.array(found["confusion"]).diagonal().tolist() == [0, 10, 10]
    assert "note: folder: no images of ant, which the network knows, too" in result.stderr.splitlines()
    for command in (["plot", "--out", "plots"], ["report", "--out", "page.html"]):
        assert lenumba(command[0], insects / "run", f"data.root={place / 'new'}", *command[1:]).exit_code == 0


def test_a_single_class_can_be_judged(insects, place):
    paint(place / "new", 5, ["cat"])
    model = package.load(insects / "run")
    loaded = type(model)(insects / "run", overrides=[f"data.root={place / 'new'}"])
    assert loaded.evaluate().confusion.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 5]]


def test_a_class_that_the_network_does_not_know_is_an_error(insects, refused, place, monkeypatch):
    monkeypatch.setitem(COLOURS, "dog", (9, 9, 9))
    paint(place / "new", 5, ["bee", "dog"])
    line = refused(3, "evaluate", insects / "run", f"data.root={place / 'new'}")
    assert "expected classes that the network knows (ant, bee, cat), found also dog" in line


def test_chosen_classes_keep_their_labels(run, lenumba):
    whole = json.loads(lenumba("evaluate", run, "--json").stdout)
    part = json.loads(lenumba("evaluate", run, "data.classes=[7, 8]", "--json").stdout)
    assert part["confusion"][7:9] == whole["confusion"][7:9]
    assert not np.array(part["confusion"])[:7].any()


def test_a_run_of_some_classes_finds_them_by_name_in_another_folder(tmp_path):
    folder = start_run(recipe(paint(tmp_path / "old", 30), "data.classes=[2, 0]", units=2), out=tmp_path / "run").path
    paint(tmp_path / "new", 6, ["bee", "cat"])
    model = type(package.load(folder))(folder, overrides=[f"data.root={tmp_path / 'new'}"])
    assert model.class_names == ("cat", "ant")
    assert model.evaluate().confusion.tolist() == [[6, 0], [0, 0]]


# What divides the pictures


def test_a_folder_without_train_and_test_is_divided_aloud(place, lenumba):
    paint(place / "pictures", 20)
    (place / "own.yaml").write_text(RECIPE.format(name="folder", root="pictures", units=3, more=IN_COLOUR))
    result = lenumba("train", "own.yaml")
    test = sum(is_for_test(name, f"{number}.png") for name in COLOURS for number in range(20))
    line = f"pictures: no folders train and test, so {test} of 60 pictures are for the test"
    assert f"note: {line}, about one in six, chosen by their names" in result.stdout.splitlines()
    record = json.loads(Path("runs/own-001/run.json").read_text())
    assert record["notes"][0].startswith(line)
    assert record["train_images"] + record["validation_images"] + test == 60


def test_all_of_a_new_folder_is_judged_and_the_test_part_of_the_old_one(insects, lenumba, place):
    paint(place / "new", 20)
    new = json.loads(lenumba("evaluate", insects / "run", f"data.root={place / 'new'}", "--json").stdout)
    assert new["images"] == 60
    (place / "moved").symlink_to(insects / "pictures")
    test = sum(is_for_test(name, f"{number}.png") for name in COLOURS for number in range(30))
    for overrides in ([], [f"data.root={place / 'moved'}"]):
        assert json.loads(lenumba("evaluate", insects / "run", *overrides, "--json").stdout)["images"] == test


def test_an_npz_of_a_test_set_alone_is_judged_whole(insects, lenumba, place):
    whole = load_dataset("folder", insects / "pictures", image_size=(8, 8, 3))
    names = np.array(whole.class_names[1:])
    chosen = whole.test_labels > 0
    arrays = {"test_images": whole.test_images[chosen], "test_labels": whole.test_labels[chosen] - 1}
    np.savez(place / "new.npz", **arrays, class_names=names)
    overrides = ["data.name=npz", f"data.root={place / 'new.npz'}", "data.image_size=null"]
    found = json.loads(lenumba("evaluate", insects / "run", *overrides, "--json").stdout)
    assert (found["accuracy"], found["images"]) == (1, chosen.sum())
    np.savez(place / "new.npz", **arrays, class_names=names[:1])
    assert lenumba("evaluate", insects / "run", *overrides).exit_code == 3


@pytest.mark.parametrize(("validation", "test"), [("val", None), ("valid", "test"), ("val", "test")])
def test_usual_layouts_are_read(tmp_path, validation, test):
    paint(tmp_path / "train", 10)
    paint(tmp_path / validation, 4, first=100)
    if test:
        paint(tmp_path / test, 3, first=200)
    dataset = load_dataset("folder", tmp_path, image_size=SIZE)
    assert len(dataset.test_labels) == (9 if test else 12)
    train, found = split(recipe(tmp_path, "data.validation=5"), dataset)
    names = [dataset.files[0][k] for k in found]
    if test:
        assert sorted({name.partition("/")[0] for name in names}) == [validation]
        assert (len(train), len(found)) == (30, 12)
        assert dataset.notes == (f"{tmp_path / validation}: validates; data.validation is not used",)
    else:
        assert (len(train), len(found)) == (25, 5)
        assert dataset.notes == (f"{tmp_path / validation}: taken as the test set, as there is no folder test",)


def test_samples_are_drawn_by_seed_of_every_class_its_share(tmp_path):
    labels = np.repeat(np.arange(3), (80, 15, 5))
    for seed in range(4):
        drawn = draw_stratified(labels, 40, seed)
        assert np.bincount(labels[drawn]).tolist() == [32, 6, 2]
        assert (np.diff(drawn) > 0).all()
    assert draw_stratified(labels, 40, 0).tolist() == draw_stratified(labels, 40, 0).tolist()
    assert draw_stratified(labels, 40, 0).tolist() != draw_stratified(labels, 40, 1).tolist()
    assert draw_stratified(labels, 100, 1).tolist() == list(range(100))
    images = np.zeros((100, 8, 8, 3), np.uint8)
    dataset = dataset_from_arrays(images, labels, images[:3], labels[[0, 90, 99]])
    train, validation = split(recipe(tmp_path, "data.samples=40"), dataset)
    assert len(validation) == 8
    assert np.bincount(labels[np.concatenate([train, validation])]).tolist() == [32, 6, 2]


# What is left out


def test_what_is_left_out_is_said_and_makes_no_class(tmp_path):
    root = paint(tmp_path / "pictures", 8)
    (root / "__MACOSX").mkdir()
    (root / "drafts").mkdir()
    (root / "drafts" / "plan.gif").write_bytes(b"GIF89a")
    (root / "bee" / "notes.txt").write_text("no picture")
    (root / "cat" / ".DS_Store").write_text("")
    dataset = load_dataset("folder", root, image_size=SIZE)
    assert dataset.class_names == ("ant", "bee", "cat")
    assert dataset.notes[1] == (
        f"{root}: left out: 1 × .gif, 1 × .txt, 1 × hidden file, the folder __MACOSX (no pictures: no class), "
        "the folder drafts (no pictures: no class)"
    )


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "tiff", "jpeg", "png"])
def test_every_format_is_read_everywhere(insects, tmp_path, lenumba, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    for part in ("train", "test"):
        for path in paint(tmp_path / "png" / part, 3).glob("*/*.png"):
            copy = tmp_path / suffix / part / path.parent.name / f"{path.stem}.{suffix}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(copy, **options)
    expected, found = (load_dataset("folder", tmp_path / kind, image_size=SIZE) for kind in ("png", suffix))
    np.testing.assert_array_equal(found.test_labels, expected.test_labels)
    if suffix != "jpeg":  # which loses some
        np.testing.assert_array_equal(found.train_images, expected.train_images)
    answers = json.loads(
        lenumba("predict", insects / "run", tmp_path / suffix / "test" / "bee" / f"0.{suffix}", "--json").stdout
    )
    assert answers[0]["top"][0][0] == "bee"


@pytest.mark.parametrize("name", ["digits", "bars", "shapes", "digits8x8"])
def test_data_root_is_refused_where_nothing_is_read(refused, name):
    line = refused(2, "train", "tiny.yaml", f"data.name={name}", "data.root=/nonexistent")
    assert f"data.root: expected null for the data set {name}, which reads no files" in line


def test_patience_needs_a_validation_image(refused):
    line = refused(2, "train", "tiny.yaml", "train.patience=3", "data.validation=0.0001")
    assert "train.patience: expected null without validation images" in line


# One function decides for `check` and `train`


@pytest.fixture
def own(place):
    """An npz file of 40 training images, and a recipe that leaves the size of the images to the file."""
    rng = np.random.default_rng(0)
    arrays = {f"{part}_images": rng.integers(0, 256, (n, 6, 6), np.uint8) for part, n in (("train", 40), ("test", 8))}
    arrays |= {f"{part}_labels": np.arange(n) % 2 for part, n in (("train", 40), ("test", 8))}
    np.savez(place / "own.npz", **arrays)
    (place / "own.yaml").write_text(RECIPE.format(name="npz", root="own.npz", units=2, more=""))
    return place


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["init_from=nowhere"],
        ["data.validation=70000"],
        ["data.validation=40"],
        ["data.batch_size=60000"],
        ["data.root=absent.npz"],
        ["network.layers.1.units=3"],
        ["data.classes=[0, 7]"],
        ["data.samples_per_class=21"],
        ["train.patience=2", "data.validation=0.001"],
    ],
)
def test_check_and_train_agree(own, lenumba, overrides):
    checked, trained = (lenumba(name, "own.yaml", *overrides, "train.epochs=1") for name in ("check", "train"))
    assert (checked.exit_code, checked.stderr) == (trained.exit_code, trained.stderr)
    assert checked.exit_code == (0 if not overrides else checked.exit_code or 99)


@pytest.mark.parametrize(
    ("name", "override"),
    [("lenet", "data.validation=70000"), ("lenet", "data.batch_size=60000"), ("quickstart", "data.validation=12000")],
)
def test_sizes_of_known_data_sets_are_checked_without_reading_them(lenumba, monkeypatch, tmp_path, name, override):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lenumba("check", name).exit_code == 0
    assert lenumba("check", name, override).exit_code in (2, 3)


@pytest.mark.parametrize("name", ["digits", "bars", "shapes", "digits8x8"])
def test_known_counts_are_true(name):
    from lenumba.engine.data.dataset import dataset_spec

    assert dataset_spec(name).train_count == len(load_dataset(name).train_labels)
