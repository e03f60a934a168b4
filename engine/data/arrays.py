"""Images and labels as arrays: the checks that they must pass, wherever they came from."""

import math
from typing import NamedTuple

import numpy as np

from lenumba.engine.common.errors import DataError

MAX_BYTES = 4 << 30  # of one array
MAX_SIDE = 1024  # pixels or channels
MAX_CLASSES = 1000


class Arrays(NamedTuple):
    """What a data set is read into: two arrays of images, two of labels, and the classes' names if they have any."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...] | None = None


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
            remedy = "if they go from 0 to 1, convert them: (255 * images).round().astype(numpy.uint8)"
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
    """Raise DataError unless images uint8 [N, H, W, C] and labels [N] belong together and to a data set."""
    if len(images) != len(labels):
        raise DataError(
            f"{where}: expected as many images as labels, found {len(images)} images and {len(labels)} "
            "labels; use files that belong together"
        )
    if len(images) == 0:
        raise DataError(f"{where}: expected at least one sample, found none; use other files")
    if images.dtype != np.uint8 or images.shape[1:] != image_shape:
        expected, found = ("×".join(map(str, shape)) for shape in (image_shape, images.shape[1:]))
        raise DataError(
            f"{where}: expected uint8 images of {expected}, found {images.dtype} of {found}; use files of that shape"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"{where}: expected labels from 0 to {classes - 1}, found {labels[wrong[0]]} at index {wrong[0]}; "
            "correct the labels"
        )
