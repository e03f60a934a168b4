"""Names, limits and files as users have them: nothing is overwritten, garbled, or refused against the documents."""

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenumba as package
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import durable
from lenumba.engine.config.config import read_config
from lenumba.engine.data.images import load_image
from lenumba.engine.models import export as exporting
from lenumba.engine.runs.run import start_run

LONG = "x" * 300


@pytest.fixture
def digits(place):
    """Three pictures of bars, which anything may be taken for, and one that is none."""
    folder = place / "scans"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.bmp", "more/c.png")):
        pixels = np.full((28, 28), 240, np.uint8)
        pixels[4:24, 6 + 4 * number : 10 + 4 * number] = 10
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


# Predictions


@pytest.mark.parametrize("names", [["scans"], ["scans/*.png", "scans/b.bmp", "scans/more/c.png"], ["-"]])
def test_one_unreadable_picture_does_not_discard_the_other_answers(lenumba, run, digits, names):
    lines = "".join(f"{path}\n" for path in sorted(digits.rglob("*.*")) if path.suffix != ".txt")
    result = lenumba("predict", run, *names, "--json", input=lines)
    assert result.exit_code == 3
    assert {Path(answer["image"]).name for answer in json.loads(result.stdout)} == {"a.png", "b.bmp", "c.png"}
    assert result.stderr.count("error: ") == 1
    assert "broken.png: expected a PNG, JPEG, BMP, WebP or TIFF file" in result.stderr


def test_table_has_a_row_for_each_picture(lenumba, run, digits):
    assert lenumba("predict", run, "scans", "--csv", "out.csv").exit_code == 3
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).name for row in rows] == ["a.png", "b.bmp", "broken.png", "c.png"]
    model = package.load(run)
    for row in rows:
        if row["fault"]:
            assert "broken.png" in row["fault"]
            continue
        expected = model.predict_proba(model.read_picture(row["image"]))[0]
        np.testing.assert_allclose([float(row[name]) for name in model.class_names], expected, rtol=1e-6)
        assert row["class"] == model.class_names[expected.argmax()]
        assert float(row["probability"]) == pytest.approx(expected.max())
    assert "--force" in lenumba("predict", run, "scans/a.png", "--csv", "out.csv").stderr
    assert lenumba("predict", run, "scans/a.png", "--csv", "out.csv", "--force").exit_code == 0


def test_no_pictures_is_an_error(refused, run, place):
    (place / "empty").mkdir()
    assert "expected pictures" in refused(3, "predict", run, "empty")


@pytest.mark.parametrize("channels", [2, 4])
def test_pictures_for_two_or_four_channels_are_refused_in_one_line(place, refused, channels):
    rng = np.random.default_rng(0)
    arrays = {
        f"{part}_{kind}": array
        for part, count in (("train", 64), ("test", 8))
        for kind, array in (
            ("images", rng.integers(0, 256, (count, 8, 8, channels), np.uint8)),
            ("labels", np.arange(count) % 2),
        )
    }
    np.savez(place / "own.npz", **arrays)
    Image.new("RGB", (8, 8)).save("picture.png")
    text = "data: {name: npz, root: own.npz, batch_size: 16}\nnetwork:\n  layers: [flatten, "
    text += "{type: dense, units: 2, activation: softmax}]\ntrain: {epochs: 1}\n"
    run = start_run(read_config(text, "own.yaml")).path
    for command in (
        ["predict", run, "picture.png"],
        ["plot", run, "--image", "picture.png"],
        ["explain", run, "picture.png"],
    ):
        assert f"the network's images have {channels}" in refused(3, *command)


# Names of files


def test_home_is_meant_by_a_tilde_everywhere(lenumba, run, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert package.load("~/runs/tiny-001").class_names == tuple("0123456789")
    assert lenumba("evaluate", "~/runs/tiny-001").exit_code == 0
    Image.fromarray(np.pad(np.zeros((20, 4), np.uint8), 8, constant_values=255)).save(place / "picture.png")
    assert lenumba("predict", "~/runs/tiny-001", "~/picture.png").exit_code == 0
    assert lenumba("export", "~/runs/tiny-001", "--out", "~/net.npz").exit_code == 0
    assert lenumba("check", "~/tiny.yaml").exit_code == 0
    assert (
        lenumba("train", "~/tiny.yaml", "train.epochs=1", "init_from=~/runs/tiny-001", "--out", "~/b", "-q").exit_code
        == 0
    )
    assert sorted(path.name for path in place.iterdir() if path.name != "runs") == [
        "b",
        "net.npz",
        "picture.png",
        "tiny.yaml",
    ]


def test_long_overrides_are_overrides(lenumba, refused, run):
    layers = "network.layers=[{type: average_pool, size: 4}, flatten, {type: dense, units: 10, activation: softmax}]"
    assert lenumba("check", "tiny.yaml", layers + " " * 300).exit_code == 0
    assert LONG[:40] in refused(2, "train", "tiny.yaml", f"train.epochs={LONG}")
    assert lenumba("evaluate", LONG).exit_code == 2
    assert lenumba("explain", run, f"data.batch_size={' ' * 300}16", "--layer", "x").exit_code == 2


def test_missing_files_are_called_missing(tmp_path, refused, run):
    for load in (lambda path: load_image(path, (8, 8, 1)), lambda path: np_data(path)):
        with pytest.raises(DataError, match="No such file or directory; correct the path"):
            load(tmp_path / "absent.npz")
    assert "save it again" not in refused(3, "predict", run, "absent.png")


def np_data(path: Path):
    from lenumba.engine.data.npz import read_npz

    return read_npz(path)


def test_a_run_in_a_folder_that_is_no_text_can_be_read_again(tmp_path, write_dataset):
    folder = tmp_path.as_posix().encode() + b"/caf\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    write_dataset(Path(os.fsdecode(folder)) / "data")
    text = "data: {name: mnist, root: data, batch_size: 4, validation: 4}\nnetwork:\n  layers: [flatten, "
    text += "{type: dense, units: 10, activation: softmax}]\ntrain: {epochs: 1}\n"
    (Path(os.fsdecode(folder)) / "own.yaml").write_text(text)
    for arguments in (
        ["train", "own.yaml", "--out", "first", "-q"],
        ["train", "own.yaml", "--out", "second", "-q", "init_from=first"],
        ["evaluate", "second"],
        ["train", "--resume", "second", "train.epochs=2", "-q"],
        ["runs"],
    ):
        command = [sys.executable, "-m", "lenumba", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_obey_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        for name, write in {"a": lambda path: path.write_text("a"), "b": another_in_its_place}.items():
            with durable(tmp_path / name) as temporary:
                write(temporary)
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask
    finally:
        os.umask(before)


def another_in_its_place(path: Path) -> None:
    """Write as safetensors does."""
    other = path.with_name("other")
    os.close(os.open(other, os.O_CREAT | os.O_WRONLY, 0o600))
    other.replace(path)


# What is written


def test_report_overwrites_nothing(lenumba, refused, run):
    before = (run / "run.json").read_bytes()
    assert "--force" in refused(2, "report", run, "--out", run / "run.json")
    assert (run / "run.json").read_bytes() == before
    assert lenumba("report", run, "--out", "page.html").exit_code == 0
    assert lenumba("report", run, "--out", "page.html", "--force").exit_code == 0
    assert [lenumba("report", run).exit_code for _ in range(2)] == [0, 0]  # its own page is made anew


def test_the_ending_of_the_file_decides_what_is_exported(lenumba, refused, run):
    assert lenumba("export", run, "--out", "w.npz").exit_code == 0
    assert "dense1.kernel" in np.load("w.npz")
    assert lenumba("export", run, "--out", "w.safetensors").stdout.startswith("safetensors: ")
    assert "expected the ending .onnx" in refused(2, "export", run, "--format", "onnx", "--out", "v.npz")
    assert not Path("v.npz").exists()


def test_a_layer_may_be_called_probabilities(place, lenumba):
    pytest.importorskip("onnx")
    changes = ["network.layers.2.name=probabilities", "train.epochs=1"]
    assert lenumba("train", "tiny.yaml", *changes, "--out", "run", "-q").exit_code == 0
    assert lenumba("export", "run", "--out", "net.onnx").exit_code == 0


def test_large_logits_may_differ_by_their_last_digits(run, monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    usual = exporting.Agreement("onnxruntime", "test images", 10, 0.004, 1e-6, 0, 4000.0)
    monkeypatch.setattr(exporting, "check_agreement", lambda *arguments: usual)
    assert exporting.export_run(run, "onnx", tmp_path / "net.onnx").agreement == usual
    for logits in (40.0, float("nan")):
        worse = exporting.Agreement("onnxruntime", "test images", 10, logits, 1e-6, 0, 4000.0)
        monkeypatch.setattr(exporting, "check_agreement", lambda *arguments, found=worse: found)
        with pytest.raises(DataError, match="not written"):
            exporting.export_run(run, "onnx", tmp_path / "other.onnx")


# What is edited, or given wrongly


def test_a_hand_edited_record_is_listed(lenumba, run):
    record = json.loads((run / "run.json").read_text())
    edited = {"test_accuracy": "fine", "images_per_second": None, "overrides": 3, "started": 5, "epochs": [1]}
    (run / "run.json").write_text(json.dumps({**record, **edited}))
    result = lenumba("runs")
    assert result.exit_code == 0
    assert "tiny-001" in result.stdout
    (run / "run.json").write_text("[]")
    assert lenumba("runs").exit_code == 0


def test_import_refuses_classes_that_the_data_set_lacks(lenumba, refused, run):
    lenumba("export", run, "--out", "w.npz")
    line = refused(2, "import", "w.npz", "--config", "tiny.yaml", "data.classes=[0, 12]", "network.layers.2.units=2")
    assert "expected a class of digits, 0 to 9, found 12" in line


@pytest.mark.parametrize("threads", [-1, 0, 5000])
def test_threads_are_checked(run, threads):
    with pytest.raises(ConfigError, match=f"threads: expected 1 to 1024, or None for all cores, found {threads}"):
        package.load(run, threads=threads)


# Limits


def test_pictures_up_to_12_million_pixels_are_read(tmp_path):
    """Those of phones are turned, and may have more pictures behind the first; 4K has transparency."""
    exif = Image.Exif()
    exif[0x0112] = 6
    slope = Image.linear_gradient("L").resize((4000, 3000))
    phone = slope.convert("RGB")
    phone.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[phone.resize((400, 300))], exif=exif)
    phone.save(tmp_path / "turned.png", exif=exif, compress_level=1)
    slope.resize((3840, 2160)).convert("RGBA").save(tmp_path / "4k.png", compress_level=1)
    turned = np.asarray(slope.rotate(-90, expand=True).resize((12, 16), Image.Resampling.BILINEAR), float)
    for name in ("phone.jpg", "turned.png"):
        assert np.abs(load_image(tmp_path / name, (16, 12, 1))[..., 0] - turned).max() < 6
    straight = np.asarray(slope.resize((16, 9), Image.Resampling.BILINEAR), float)
    assert np.abs(load_image(tmp_path / "4k.png", (9, 16, 1))[..., 0] - straight).max() < 6


def test_several_pages_are_refused(tmp_path):
    pages = [Image.new("L", (8, 8), grey) for grey in (0, 99)]
    for name in ("pages.tiff", "film.webp"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(DataError, match="expected a still picture, found 2 of them"):
            load_image(tmp_path / name, (8, 8, 1))
