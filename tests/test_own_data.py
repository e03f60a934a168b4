"""Data sets of the user's own files and arrays: what is read, and the one line that everything else gets."""

import hashlib
import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.config.config import read_config
from lenumba.engine.data.dataset import dataset_from_arrays, load_dataset
from lenumba.engine.data.drawn import draw_bars, draw_shapes
from lenumba.engine.data.picture_folder import is_for_test

SIZE = (12, 10, 3)


def arrays(shape=(9, 8), classes=3, channels=()):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, *shape, *channels), np.uint8) for count in (12, 6)]
    labels = [np.arange(count) % classes for count in (12, 6)]
    return {
        "train_images": images[0],
        "train_labels": labels[0],
        "test_images": images[1],
        "test_labels": labels[1],
    }


def refused(load, *arguments, match="", **options):
    """Check that loading raises DataError with one line, in moments."""
    start = time.monotonic()
    with pytest.raises(DataError, match=match) as caught:
        load(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5


# Arrays


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_arrays_become_a_data_set(channels):
    given = arrays(channels=channels)
    dataset = dataset_from_arrays(*given.values(), class_names=["a", "b", "c"])
    assert dataset.image_shape == (9, 8, *(channels or (1,)))
    assert (dataset.classes, dataset.class_names) == (3, ("a", "b", "c"))
    np.testing.assert_array_equal(dataset.test_images.reshape(given["test_images"].shape), given["test_images"])
    assert dataset.train_labels.dtype == np.int64


def test_one_hot_labels_are_converted():
    given = arrays()
    plain = dataset_from_arrays(*given.values())
    for kind in (np.uint8, np.float32, bool):
        hot = given | {name: np.eye(3, dtype=kind)[given[name]] for name in ("train_labels", "test_labels")}
        assert dataset_from_arrays(*hot.values()).sha256 == plain.sha256
    assert plain.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"train_images": np.zeros((12, 9, 8), np.float32)}, r"found float32; .*255 \* images"),
        ({"train_images": np.zeros((12, 9, 8), object)}, "found Python objects"),
        ({"train_images": np.zeros((12, 9, 8), complex)}, "found complex128"),
        ({"train_images": np.zeros((12, 72), np.uint8)}, "found 2 axes"),
        ({"test_images": np.zeros((6, 8, 9), np.uint8)}, "test: expected uint8 images of 9×8×1, found uint8 of 8×9×1"),
        ({"test_images": np.zeros((5, 9, 8), np.uint8)}, "found 5 images and 6 labels"),
        ({"test_images": np.zeros((0, 9, 8), np.uint8)}, "at least one sample"),
        ({"test_images": np.zeros((6, 1, 1025), np.uint8)}, "at most 1024 pixels"),
        ({"train_labels": np.zeros(12)}, "expected integer labels"),
        ({"train_labels": np.zeros((12, 3))}, "one-hot labels.*index 0"),
        ({"train_labels": np.full((12, 2), np.nan)}, "one-hot labels.*index 0"),
        ({"train_labels": np.arange(12) - 1}, "labels from 0 to 10, found -1 at index 0"),
        ({"train_labels": np.arange(12).astype(np.uint64) + 2**63}, "at most 1000 classes"),
        ({"train_labels": np.zeros(12, int), "test_labels": np.zeros(6, int)}, "at least 2 classes, found 1"),
    ],
)
def test_refuses_arrays_that_do_not_fit(change, match):
    refused(dataset_from_arrays, *(arrays() | change).values(), match=match)


# npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_equals_its_arrays(tmp_path, save):
    given = arrays(channels=(3,))
    save(tmp_path / "a.npz", **given, remarks=np.array(["not looked at"], object))
    names = dict(zip(("x_train", "y_train", "x_test", "y_test"), given.values(), strict=True))
    names["x_train"] = np.asfortranarray(names["x_train"])
    save(tmp_path / "b.npz", **names | {"y_train": names["y_train"].astype(">i2")[:, None]})
    expected = dataset_from_arrays(*given.values())
    for name in "ab":
        dataset = load_dataset("npz", tmp_path / f"{name}.npz")
        assert dataset.sha256 == expected.sha256
        assert dataset.name == "npz"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"train_images": np.zeros((12, 9, 8), np.float32)}, "train_images: .*found float32"),
        ({"train_images": np.zeros((12, 9, 8), object)}, "found Python objects"),
        ({"train_labels": np.array([{}] * 12)}, "found Python objects"),
        ({"train_labels": np.zeros(12, complex)}, "expected numbers, found complex128"),
        ({"train_labels": np.zeros(12, [("a", int)])}, "expected numbers, found records"),
        ({"train_labels": np.zeros((12, 9, 8), np.uint8)}, "are they images"),
        ({"test_images": np.zeros((0, 9, 8), np.uint8)}, "at least one element"),
    ],
)
def test_refuses_npz_with_other_arrays(tmp_path, change, match):
    np.savez(tmp_path / "a.npz", **arrays() | change)
    refused(load_dataset, "npz", tmp_path / "a.npz", match=match)


def npy(shape, data=b"", descr="|u1"):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (npy((1 << 20, 64, 64)), "expected 4294967296 bytes .* found 0"),
        (npy((2**63, 64, 64)), "expected"),
        (npy((-1, 9, 8)), "at least one element"),
        (npy((12, 9, 8), bytes(864), "O"), "Python objects"),
        (npy((12, 9, 8), bytes(863)), "expected 864 bytes .* found 863"),
        (npy((12, 9, 8), bytes(865)), "expected 864 bytes .* found 865"),
        (b"\x93NUMPY\x09\x00", "version 1 or 2"),
        (b"", "readable npz"),
        (npy("x" * 9000), "readable npz"),
    ],
)
def test_refuses_npz_with_lying_headers(tmp_path, content, match):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in arrays():
            archive.writestr(f"{name}.npy", content)
    refused(load_dataset, "npz", tmp_path / "a.npz", match=match)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_damaged_npz_never_raises_anything_else(tmp_path, place, change, cut):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays())
    content = bytearray(buffer.getvalue())
    place %= len(content)
    content[place] ^= change
    (tmp_path / "a.npz").write_bytes(content[:place] if cut else content)
    fault = ""
    try:
        load_dataset("npz", tmp_path / "a.npz")
    except DataError as error:
        fault = str(error)
    assert "\n" not in fault


def test_nothing_is_unpacked_outside(tmp_path):
    (tmp_path / "inside").mkdir()
    np.savez(tmp_path / "inside/a.npz", **arrays(), **{"../../outside": np.zeros(3), "/outside": np.zeros(3)})
    assert load_dataset("npz", tmp_path / "inside/a.npz").classes == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.npz", "inside"]
    assert not Path("/outside.npy").exists()


def test_refuses_what_is_no_npz(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"hello")
    refused(load_dataset, "npz", tmp_path / "a.npz", match="intact npz file")
    refused(load_dataset, "npz", tmp_path, match="found a folder")
    refused(load_dataset, "npz", tmp_path / "b.npz", match="No such file")
    refused(load_dataset, "npz", match="expected a path in data.root")
    np.savez(tmp_path / "c.npz", images=np.zeros(3))
    refused(load_dataset, "npz", tmp_path / "c.npz", match="expected the arrays train_images.* found images")


# IDX


def test_own_idx_files_have_any_size_and_classes(tmp_path, write_dataset):
    rng = np.random.default_rng(0)
    written = write_dataset(
        tmp_path,
        train_images=rng.integers(0, 256, (12, 5, 7), np.uint8),
        t10k_images=rng.integers(0, 256, (4, 5, 7), np.uint8),
        train_labels=(np.arange(12) % 3).astype(np.uint8),
        t10k_labels=np.array([0, 13, 2, 1], np.uint8),
    )
    dataset = load_dataset("idx", tmp_path)
    assert (dataset.image_shape, dataset.classes) == ((5, 7, 1), 14)
    np.testing.assert_array_equal(dataset.train_images[..., 0], written["train-images"])
    next(tmp_path.glob("t10k-labels*")).unlink()
    refused(load_dataset, "idx", tmp_path, match="t10k-labels-idx1-ubyte.gz or test-labels")


# Folders


@pytest.fixture
def pictures(tmp_path):
    """Twenty pictures in each of three classes, all of one colour, of many sizes and kinds."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "Emu")):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number in range(20):
            colour = tuple(80 * (np.arange(3) == label))
            size = tuple(int(side) for side in rng.integers(8, 40, 2))
            ending = ("png", "jpg", "JPEG")[number % 3]
            Image.new("RGB", size, colour).save(tmp_path / "all" / name / f"{number}.{ending}")
        (tmp_path / "all" / name / "notes.txt").write_text("no picture")
    (tmp_path / "all" / ".hidden").mkdir()
    return tmp_path / "all"


def test_folder_is_read_by_class_and_file_name(pictures):
    dataset = load_dataset("folder", pictures, image_size=SIZE)
    assert dataset.class_names == ("Emu", "cat", "dog")
    assert dataset.image_shape == SIZE
    assert len(dataset.train_labels) + len(dataset.test_labels) == 60
    expected = sum(
        is_for_test(name, path.name) for name in dataset.class_names for path in (pictures / name).glob("*.[pjJ]*")
    )
    assert 0 < len(dataset.test_labels) == expected < 30
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        assert (np.diff(labels) >= 0).all()
        np.testing.assert_array_equal(images.mean((1, 2)).argmax(1), [(2, 0, 1)[label] for label in labels])
    assert load_dataset("folder", pictures, image_size=(12, 10, 1)).image_shape == (12, 10, 1)
    # Pinned: which pictures are for the test must never change.
    assert [number for number in range(40) if is_for_test("cat", f"{number}.png")] == [0, 4, 13, 15, 16, 23, 24, 29]


def test_folder_with_train_and_test(pictures, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "split").mkdir(exist_ok=True)
        (tmp_path / "split" / part).symlink_to(pictures)
    dataset = load_dataset("folder", tmp_path / "split", image_size=SIZE)
    assert len(dataset.train_labels) == len(dataset.test_labels) == 60
    np.testing.assert_array_equal(dataset.train_images, dataset.test_images)


def test_refuses_folders_that_do_not_fit(pictures, tmp_path):
    refused(load_dataset, "folder", pictures, match="data.image_size")
    refused(load_dataset, "folder", tmp_path / "none", image_size=SIZE, match="No such file")
    refused(load_dataset, "folder", pictures / "cat", image_size=SIZE, match="2 to 1000 folders.*found 0")
    refused(load_dataset, "folder", pictures, image_size=(1024, 1024, 1 << 20), match="data.image_size smaller")
    (tmp_path / "few" / "a").mkdir(parents=True)
    (tmp_path / "few" / "b").mkdir()
    refused(load_dataset, "folder", tmp_path / "few", image_size=SIZE, match="2 to 1000 folders of pictures.*found 0")
    (pictures / "cat" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    refused(load_dataset, "folder", pictures, image_size=SIZE, match=r"cat/2.png")


def test_small_pictures_are_averaged_not_sampled(tmp_path):
    """Antialiasing: fine stripes become grey."""
    for name in "ab":
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            stripes = np.zeros((64, 64), np.uint8)
            stripes[:, ::2] = 255
            Image.fromarray(stripes).save(tmp_path / part / name / "0.png")
    dataset = load_dataset("folder", tmp_path, image_size=(8, 8, 1))
    assert abs(dataset.train_images.astype(int) - 127).max() <= 24


# Drawn sets and configuration


@pytest.mark.parametrize(("draw", "digest"), [(draw_bars, "647458c1eb0cf557"), (draw_shapes, "e7390a31a9c42ab9")])
def test_drawn_images_are_the_same_for_ever(draw, digest):
    start = time.monotonic()
    images, labels = draw(600, 3)
    assert time.monotonic() - start < 1
    assert images.dtype == np.uint8
    assert np.bincount(labels).min() > 70
    assert hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()[:16] == digest


def test_colour_matters():
    """Grey, the three colours of a form look alike; the strongest channel inside tells them apart."""
    images, labels = draw_shapes(600, 0)
    middle = images[:, 7:9, 7:9].astype(int).mean((1, 2))
    np.testing.assert_array_equal(middle.argmax(1), labels // 2)
    brightness = [middle.mean(1)[labels // 2 == colour].mean() for colour in range(3)]
    assert max(brightness) - min(brightness) < 8


def test_configuration_asks_for_what_own_files_need():
    text = "data:\n  name: {}\nnetwork:\n  layers: [flatten, {{type: dense, units: 2, activation: softmax}}]\n"

    def faults(name, *overrides):
        with pytest.raises(ConfigError) as caught:
            read_config(text.format(name), "x", overrides)
        return str(caught.value)

    assert "data.root: expected the path of your files for the data set npz" in faults("npz")
    assert "data.image_size: expected [height, width, channels]" in faults("folder", "data.root=/a")
    assert "data.image_size: expected null for the data set idx" in faults(
        "idx", "data.root=/a", "data.image_size=[8, 8, 1]"
    )
    assert "data.image_size.2: expected 1 (grey) or 3 (RGB) channels, found 2" in faults(
        "folder", "data.root=/a", "data.image_size=[8, 8, 2]"
    )
    config = read_config(text.format("folder"), "x", ["data.root=/a", "data.image_size=[8, 9, 3]"]).config
    assert config.data.image_size == (8, 9, 3)
