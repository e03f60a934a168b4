"""Data sets as arrays: the checks that images and labels must pass, wherever they came from."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.splits import mean_and_std, pixel_sums, signal_mean_and_std

MAX_BYTES = 4 << 30  # of one array
MAX_SIDE = 1024  # pixels or channels
MAX_CLASSES = 1000


class Arrays(NamedTuple):
    """What a data set is read into.

    Attributes
    ----------
    train_images, train_labels, test_images, test_labels
        Two arrays of images, two of labels: of classes, or of what else is the target.
    class_names
        The classes' names if they have any.
    validation
        int64: the training images that the files set aside for validation, if they do.
    notes
        What was left out, divided or guessed, a line each.
    divided
        Whether the test images were chosen by the reader, as the files do not tell which they are.
    files
        The names of the pictures' files, of training and of test, where each picture is a file.
    sizes
        Width and height in pixels of the smallest and the largest picture, where they were resized.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...] | None = None
    validation: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    divided: bool = False
    files: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    Attributes
    ----------
    name : str
        Its key in `DATASETS`, or ``arrays``.
    train_images, test_images : numpy.ndarray
        uint8 [N, H, W, C]; signals float32 [N, 1, L, C].
    train_labels, test_labels : numpy.ndarray
        int64 [N], each at least 0 and below `classes`; zeros where samples have several labels or numbers.
    train_targets, test_targets : numpy.ndarray or None
        float64 [N, K], these labels or numbers.
    classes : int
        The number of classes, or of the labels or numbers of a sample.
    class_names : tuple of str
        What each class shows, or what labels or numbers are called.
    sha256 : str
        Of all shapes and bytes: equal for equal data, however they are stored.
    named : bool
        Whether the classes have names; else they are called by their numbers.
    validation, notes, divided, files, sizes
        As in :class:`Arrays`.
    decided : dict or None
        How many images decisions about labels have changed (:func:`lenumba.engine.data.decisions.apply_decisions`).
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    class_names: tuple[str, ...]
    sha256: str
    named: bool = True
    validation: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    divided: bool = False
    files: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    decided: Mapping[str, Any] | None = None
    train_targets: np.ndarray | None = None
    test_targets: np.ndarray | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of one image, (H, W, C)."""
        return self.train_images.shape[1:]

    @property
    def train_truth(self) -> np.ndarray:
        """What training samples are compared with: float64 [N, K] labels or numbers, else the classes int64 [N]."""
        return self.train_labels if self.train_targets is None else self.train_targets

    @property
    def test_truth(self) -> np.ndarray:
        """Likewise of test samples."""
        return self.test_labels if self.test_targets is None else self.test_targets

    def mean_and_std(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what :func:`lenumba.engine.data.splits.mean_and_std` makes of some of the training images.

        Of signals, what :func:`lenumba.engine.data.splits.signal_mean_and_std` does.
        """
        if self.train_images.dtype != np.uint8:
            return signal_mean_and_std(self.train_images[indices])
        height, width, _ = self.image_shape
        return mean_and_std(self._pixel_sums[:, indices], height * width)

    @cached_property
    def _pixel_sums(self) -> np.ndarray:
        return pixel_sums(self.train_images)


def extremes(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the smallest and the largest of (width, height), by their area."""
    ascending = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    return (ascending[0], ascending[-1]) if ascending else None


def data_sha256(*arrays: np.ndarray) -> str:
    """Return the SHA-256 over the shapes and little-endian bytes of images uint8 and labels int64."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def as_images(where: str, images: np.ndarray) -> np.ndarray:
    """Return uint8 images [N, H, W] or [N, H, W, C] as [N, H, W, C]; `where` begins the message if they are not.

    Raises
    ------
    DataError
        If they have another type or rank, or a size that is zero or too large.
    """
    images = np.asarray(images)
    check_pixels(where, images.shape, images.dtype)
    return images if images.ndim == 4 else images[..., np.newaxis]


def check_pixels(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise DataError unless images of this shape and type can be used."""
    if dtype != np.uint8:
        remedy = "convert them to whole numbers from 0 to 255"
        if dtype.kind == "f":
            remedy = (
                "say data.dtype: float32 for features; if they go from 0 to 1, convert them: (255 * images).round()"
                ".astype(numpy.uint8); of signals [N, L] or [N, L, channels] say network.input: [L] or [L, channels]"
            )
        raise DataError(f"{where}: expected uint8 images, found {dtype_name(dtype)}; {remedy}")
    if len(shape) not in (3, 4):
        raise DataError(f"{where}: expected images [N, H, W] or [N, H, W, C], found {len(shape)} axes; reshape them")
    if math.prod(shape) == 0:
        raise DataError(f"{where}: expected at least one sample, found none in {list(shape)}; use other images")
    if max(shape[1:]) > MAX_SIDE or math.prod(shape) > MAX_BYTES:
        raise DataError(
            f"{where}: expected at most {MAX_SIDE} pixels a side and {MAX_BYTES} bytes, found {list(shape)}; "
            "make the images smaller or fewer"
        )


def dtype_name(dtype: np.dtype) -> str:
    """Say in words what the elements are."""
    if dtype.hasobject:
        return "Python objects"
    return "records" if dtype.names else dtype.name


def as_labels(where: str, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return labels as whole numbers [N], and how many classes they allow for.

    Parameters
    ----------
    where
        Begins the error message.
    labels
        Integers [N] or [N, 1]; or one-hot rows [N, K] of any numeric type, which allow for K classes.

    Raises
    ------
    DataError
        If they are neither, or label one of too many classes.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "iu":
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        wrong = np.flatnonzero(((labels == 1).sum(axis=1) != 1) | ((labels != 0).sum(axis=1) != 1))
        if len(wrong):
            raise DataError(
                f"{where}: expected one-hot labels, a single 1 and else 0 in each row, found another row at index "
                f"{wrong[0]}; correct the labels"
            )
        classes, labels = labels.shape[1], labels.argmax(axis=1)
    elif labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{where}: expected integer labels [N] or one-hot labels [N, K], found {dtype_name(labels.dtype)} "
            f"{list(labels.shape)[:8]}; convert the labels"
        )
    else:
        classes = int(labels.max()) + 1 if len(labels) else 0
    if classes > MAX_CLASSES:
        raise DataError(
            f"{where}: expected at most {MAX_CLASSES} classes, found labels for {classes}; number the classes from 0"
        )
    return labels, classes


def check_split(
    where: str, images: np.ndarray, labels: np.ndarray, image_shape: tuple[int, int, int], classes: int
) -> None:
    """Raise DataError unless images [N, H, W, C] and labels [N] belong together and to a data set."""
    if len(images) != len(labels):
        raise DataError(
            f"{where}: expected as many images as labels, found {len(images)} images and {len(labels)} "
            "labels; use files that belong together"
        )
    if len(images) == 0:
        raise DataError(f"{where}: expected at least one sample, found none; use other files")
    if images.shape[1:] != image_shape:
        expected, found = ("×".join(map(str, shape)) for shape in (image_shape, images.shape[1:]))
        raise DataError(
            f"{where}: expected {images.dtype} images of {expected}, found {images.dtype} of {found}; use files of "
            "that shape"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"{where}: expected labels from 0 to {classes - 1}, found {labels[wrong[0]]} at index {wrong[0]}; "
            "correct the labels"
        )
