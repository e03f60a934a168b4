"""Data sets in memory, against small IDX files written here and, where present, the real MNIST."""

import dataclasses
import gzip
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenumba.engine.common.errors import DataError
from lenumba.engine.config import sections
from lenumba.engine.data.dataset import DATASETS, dataset_from_arrays, dataset_spec, load_dataset, split_validation
from lenumba.engine.data.idx import idx_sha256
from lenumba.engine.data.published import SOURCES, IdxFile


@pytest.mark.parametrize("name", ["{}-idx{}-ubyte", "{}.idx{}-ubyte"])
@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_loads_every_file_name(tmp_path, write_dataset, name, suffix, pack):
    arrays = write_dataset(tmp_path, name=name + suffix, pack=pack)
    dataset = load_dataset("mnist", tmp_path)
    np.testing.assert_array_equal(dataset.train_images[..., 0], arrays["train-images"])
    np.testing.assert_array_equal(dataset.test_labels, arrays["t10k-labels"])
    assert dataset.train_labels.dtype == np.int64
    assert dataset.train_images.dtype == np.uint8
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.classes == len(dataset.class_names) == 10


def test_sha256_tells_data_apart_but_not_their_storage(tmp_path, write_dataset):
    labels = write_dataset(tmp_path / "a")["t10k-labels"].copy()
    write_dataset(tmp_path / "b", name="{}.idx{}-ubyte", pack=bytes)
    labels[-1] = (labels[-1] + 1) % 10
    write_dataset(tmp_path / "c", t10k_labels=labels)
    a, b, c = (load_dataset("mnist", tmp_path / folder).sha256 for folder in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("stem", "array", "message"),
    [
        ("train_labels", np.zeros(11, np.uint8), "found 12 images and 11 labels"),
        ("t10k_labels", np.array([0, 1, 10, 2], np.uint8), "labels from 0 to 9, found 10 at index 2"),
        ("train_images", np.zeros((12, 32, 30), np.uint8), "images of 28×28×1, found uint8 of 32×30×1"),
        ("train_images", np.zeros(12, np.uint8), "mnist train-images .*looks like labels.*swapped"),
        ("t10k_images", np.zeros((0, 28, 28), np.uint8), "at least one sample"),
    ],
)
def test_refuses_files_that_do_not_fit(tmp_path, write_dataset, stem, array, message):
    write_dataset(tmp_path, **{stem: array})
    with pytest.raises(DataError, match=message):
        load_dataset("mnist", tmp_path)


def test_files_of_another_data_set(tmp_path, write_dataset, monkeypatch):
    labels = write_dataset(tmp_path)["train-labels"]
    published = IdxFile("train-labels", (12,), idx_sha256(labels))
    images, _, *rest = SOURCES["mnist"].files
    mnist = dataclasses.replace(SOURCES["mnist"], files=(images, published, *rest))
    monkeypatch.setitem(SOURCES, "mnist", mnist)
    load_dataset("mnist", tmp_path)
    with pytest.raises(DataError, match="expected the files of fashion_mnist, found those of mnist"):
        load_dataset("fashion_mnist", tmp_path)


def test_digits_come_from_the_generator(monkeypatch):
    def draw_digits(count, seed):
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count)

    kernel = types.ModuleType("lenumba.kernels.digits.digits")
    kernel.draw_digits = draw_digits
    monkeypatch.setitem(sys.modules, "lenumba.kernels.digits.digits", kernel)
    dataset = load_dataset("digits")
    assert dataset.train_images.shape == (12000, 28, 28, 1)
    assert dataset.test_labels.shape == (2000,)
    np.testing.assert_array_equal(dataset.test_images[..., 0], draw_digits(2000, 1)[0])


def test_digits8x8_are_scikit_learns():
    """Against scikit-learn's own reader, which this one does without."""
    from sklearn.datasets import load_digits

    dataset, published = load_dataset("digits8x8"), load_digits()
    images = np.concatenate([dataset.train_images, dataset.test_images])[..., 0]
    np.testing.assert_array_equal(images, np.rint(published.images * 255 / 16))
    np.testing.assert_array_equal(np.concatenate([dataset.train_labels, dataset.test_labels]), published.target)
    assert len(dataset.test_labels) == 500
    assert len(np.unique(images)) == 17  # no two of the 17 levels have become one


def test_digits8x8_without_scikit_learn_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"expected scikit-learn.*pip install 'lenumba\[sklearn\]'"):
        load_dataset("digits8x8")
    (tmp_path / "datasets/data").mkdir(parents=True)
    (tmp_path / "datasets/data/digits.csv.gz").write_bytes(b"not gzip")
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(DataError, match=r"digits\.csv\.gz: expected a table .* reinstall scikit-learn"):
        load_dataset("digits8x8")


def test_specs_need_no_files():
    assert tuple(DATASETS) == sections.DATASETS
    unknown = {name for name, spec in DATASETS.items() if spec.image_shape is None}
    assert unknown == {*sections.OWN_FILES, sections.IN_MEMORY}
    assert dataset_spec("fashion_mnist").image_shape == (28, 28, 1)
    assert dataset_spec("fashion_mnist").class_names[9] == "Ankle boot"
    with pytest.raises(DataError, match="did you mean mnist"):
        dataset_spec("mnits")


@given(st.integers(2, 500), st.data(), st.integers(0, 2**64 - 1))
def test_split_is_a_partition(count, data, seed):
    size = data.draw(st.integers(0, count - 1))
    train, validation = split_validation(count, size, seed)
    assert train.dtype == validation.dtype == np.int64
    assert len(validation) == size
    assert (np.diff(validation) > 0).all()
    assert (np.diff(train) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(count))


def test_split_depends_on_the_seed_alone():
    first, again, other = (split_validation(1000, 100, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # Pinned: a run that is resumed or repeated must see the same split for ever.
    assert split_validation(20, 4, 7)[1].tolist() == [11, 12, 13, 17]
    assert len(split_validation(60000, 0.1, 0)[1]) == 6000


@pytest.mark.parametrize("validation", [10, 11, -1, 1.0, -0.5, 0.99, float("nan"), float("inf")])
def test_split_leaves_something_for_training(validation):
    with pytest.raises(DataError, match="validation split"):
        split_validation(10, validation, 0)


def test_mean_and_std():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), np.uint8)
    images[..., 2] = 51
    indices = np.arange(0, 50, 2)
    dataset = dataset_from_arrays(images, np.arange(50) % 2, images[:1], np.zeros(1, np.int64))
    mean, std = dataset.mean_and_std(indices)
    expected = images[indices].astype(np.float64) / 255
    np.testing.assert_allclose(mean, expected.mean((0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(std[:2], expected.std((0, 1, 2))[:2], rtol=1e-12)
    assert std[2] == 1
    for backwards, forwards in zip(dataset.mean_and_std(indices[::-1]), (mean, std), strict=True):
        np.testing.assert_array_equal(backwards, forwards)
    with pytest.raises(DataError, match="at least one image"):
        dataset.mean_and_std(indices[:0])


def test_real_mnist(mnist_root):
    dataset = load_dataset("mnist", mnist_root)
    assert dataset.train_images.shape == (60000, 28, 28, 1)
    assert np.bincount(dataset.test_labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    mean, std = dataset.mean_and_std(np.arange(60000))
    assert (mean.round(4), std.round(4)) == (0.1307, 0.3081)
    with pytest.raises(DataError, match="those of mnist"):
        load_dataset("fashion_mnist", mnist_root)
