"""Data sets in memory: loading, splitting off a validation part, and the statistics of the pixels."""

import difflib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lenumba.engine import download
from lenumba.engine.errors import DataError
from lenumba.engine.idx import idx_sha256, read_idx

Root = str | os.PathLike[str] | None
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

_SPLIT_KEY = 0x73706C6974  # "split": keeps this stream apart from others with the same seed


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    Attributes
    ----------
    name : str
        Its key in `DATASETS`.
    train_images, test_images : numpy.ndarray
        uint8 [N, H, W, C].
    train_labels, test_labels : numpy.ndarray
        int64 [N], each at least 0 and below `classes`.
    classes : int
        The number of classes.
    class_names : tuple of str
        What each class shows.
    sha256 : str
        Of all shapes and bytes: equal for equal data, however they are stored.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    class_names: tuple[str, ...]
    sha256: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of one image, (H, W, C)."""
        return self.train_images.shape[1:]


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a data set before reading it.

    `load(name, root, progress)` returns training images uint8 [N, H, W, C] and labels (an integer type)
    [N], then the same for the test; `load_dataset` checks them against `image_shape` (H, W, C) and
    `class_names`.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    load: Callable[[str, Root, bool], Arrays]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def _load_idx(name: str, root: Root, progress: bool) -> Arrays:
    folder = download.fetch(name, root, progress)
    arrays = []
    for file in download.SOURCES[name].files:
        path = file.find(folder) or folder / file.name
        arrays.append(read_idx(path, len(file.shape), f"{name} {file.stem}"))
    # Several data sets use the same file names. The labels are enough to tell, and quick to hash.
    owner = download.published_as(idx_sha256(arrays[1]))
    if owner not in (None, name):
        raise DataError(f"{folder}: expected the files of {name}, found those of {owner}; correct the folder")
    return arrays[0][..., np.newaxis], arrays[1], arrays[2][..., np.newaxis], arrays[3]


def _load_digits(name: str, root: Root, progress: bool) -> Arrays:
    from lenumba.kernels.digits import (
        draw_digits,
    )  # compiles on import or first use, so not before it is wanted

    train_images, train_labels = draw_digits(12_000, seed=0)
    test_images, test_labels = draw_digits(2_000, seed=1)
    return train_images[..., np.newaxis], train_labels, test_images[..., np.newaxis], test_labels


_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

#: Every data set by name. A new one needs an entry here, and if it is IDX files, one in `download.SOURCES`.
DATASETS = {
    "mnist": DatasetSpec((28, 28, 1), _DIGITS, _load_idx),
    "fashion_mnist": DatasetSpec((28, 28, 1), _CLOTHES, _load_idx),
    "digits": DatasetSpec((28, 28, 1), _DIGITS, _load_digits),
}


def dataset_spec(name: str) -> DatasetSpec:
    """Return the shape and classes of a data set without reading it.

    Raises
    ------
    DataError
        If there is no data set of this name.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1)
    remedy = f"did you mean {near[0]}?" if near else "choose one of these"
    raise DataError(f"data set: expected one of {', '.join(DATASETS)}, found {name!r}; {remedy}")


def load_dataset(name: str, root: Root = None, progress: bool = False) -> Dataset:
    """Load a data set, downloading it if it is nowhere on this machine.

    A download must have the published SHA-256. Files that are already there need not: any IDX files of the
    right format, shape and label range are accepted under these names, and `Dataset.sha256` tells them
    apart.

    Parameters
    ----------
    name : str
        A key of `DATASETS`.
    root : path-like, optional
        The folder with the files; without it they are searched for as `lenumba.engine.download` describes.
    progress : bool
        Draw a progress bar on standard error for each download.

    Returns
    -------
    Dataset
        Images uint8 [N, H, W, C], labels int64 [N].

    Raises
    ------
    DataError
        If the name is unknown; if files are missing, damaged or cannot be downloaded; or if the counts of
        images and labels differ, a split is empty, a label is out of range, or images have another shape
        than the data set's.
    """
    spec = dataset_spec(name)
    train_images, train_labels, test_images, test_labels = spec.load(name, root, progress)
    _check_split(f"{name} training", train_images, train_labels, spec)
    _check_split(f"{name} test", test_images, test_labels, spec)
    train_labels, test_labels = train_labels.astype(np.int64), test_labels.astype(np.int64)
    digest = hashlib.sha256()
    for array in (train_images, train_labels, test_images, test_labels):
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return Dataset(
        name,
        train_images,
        train_labels,
        test_images,
        test_labels,
        spec.classes,
        spec.class_names,
        digest.hexdigest(),
    )


def split_validation(count: int, validation: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the indices of `count` samples at random into a training and a validation part.

    Parameters
    ----------
    count : int
        The number of samples.
    validation : int or float
        How many of them to set aside: a number of samples, or a fraction in [0, 1) if it is a float.
    seed : int
        At least 0 and below 2**64. The same seed gives the same split on every machine.

    Returns
    -------
    train_indices, validation_indices : numpy.ndarray
        int64 [count - V] and [V], each in ascending order; V may be 0.

    Raises
    ------
    DataError
        If `validation` is negative or not finite, or leaves nothing for training.
    """
    size = validation
    if isinstance(validation, float):
        size = round(count * validation) if 0 <= validation < 1 else -1
    if not 0 <= size < count:
        raise DataError(
            f"validation split: expected less than all of {count} samples (a count, or a fraction below 1), "
            f"found {validation}; set aside fewer"
        )
    philox = np.random.Philox(key=np.array([seed, _SPLIT_KEY], np.uint64))
    # NumPy promises the raw stream for ever, but not what Generator.permutation makes of it.
    order = np.argsort(philox.random_raw(count), kind="stable")
    return np.sort(order[size:]).astype(np.int64), np.sort(order[:size]).astype(np.int64)


def mean_and_std(images: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and standard deviation of the pixels, scaled to [0, 1], of some images.

    The sums are exact integers, so the result depends on neither the order of the images nor the machine.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 [N, H, W, C].
    indices : numpy.ndarray
        Integers [M]: which images to count, at least one.

    Returns
    -------
    mean, std : numpy.ndarray
        float64 [C], of pixels / 255. The std of a constant channel is given as 1, to divide by.

    Raises
    ------
    DataError
        If there are no indices.
    """
    if len(indices) == 0:
        raise DataError("pixel statistics: expected at least one image, found none; set aside fewer samples")
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(indices), 1024):  # bincount widens its input to int64: keep that copy small
        chunk = images[indices[start : start + 1024]]
        for channel in range(channels):
            histogram[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    mean, std = np.empty(channels), np.empty(channels)
    for channel, counts in enumerate(histogram.tolist()):
        n = sum(counts)
        total = sum(value * times for value, times in enumerate(counts))
        squares = sum(value * value * times for value, times in enumerate(counts))
        mean[channel] = total / (255 * n)
        std[channel] = ((n * squares - total * total) / (255 * n) ** 2) ** 0.5 or 1.0
    return mean, std


def _check_split(where: str, images: np.ndarray, labels: np.ndarray, spec: DatasetSpec) -> None:
    if len(images) != len(labels):
        raise DataError(
            f"{where}: expected as many images as labels, found {len(images)} images and {len(labels)} "
            "labels; use files that belong together"
        )
    if len(images) == 0:
        raise DataError(f"{where}: expected at least one sample, found none; use other files")
    if images.dtype != np.uint8 or images.shape[1:] != spec.image_shape:
        expected, found = ("×".join(map(str, shape)) for shape in (spec.image_shape, images.shape[1:]))
        raise DataError(
            f"{where}: expected uint8 images of {expected}, found {images.dtype} of {found}; "
            "use files of that shape"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= spec.classes))
    if len(wrong):
        raise DataError(
            f"{where}: expected labels from 0 to {spec.classes - 1}, found {labels[wrong[0]]} "
            f"at index {wrong[0]}; correct the labels"
        )
