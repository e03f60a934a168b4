"""Data sets of arrays in memory, in the layouts and types that people have them in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.data.arrays import Arrays, Dataset, as_labels, dtype_name
from lenumba.engine.data.assemble import assemble
from lenumba.engine.data.signals import as_features, as_signals
from lenumba.engine.data.splits import draw_stratified
from lenumba.engine.data.targets import as_targets

TEST_SHARE = 1 / 6  # of the images, where none are given for the test
CHANNELS = (1, 3)  # grey and RGB: what a layout is told by

Layout = Literal["first", "last"]


class Pixels(NamedTuple):
    """Images uint8 or float32 [N, H, W, C], or signals float32 [N, 1, L, C]; the factor they were multiplied by.

    And remarks.
    """

    images: np.ndarray
    factor: int
    remarks: tuple[str, ...]


def dataset_in_memory(
    images: Any,
    labels: Any = None,
    *,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | float | None = None,
    class_names: Sequence[str] | None = None,
    channels: Layout | None = None,
    signals: bool = False,
    floats: bool = False,
    target: str = "class",
) -> Dataset:
    """Make a data set of arrays in memory; its notes tell what was converted and divided.

    Parameters
    ----------
    images
        [N, H, W], [N, H, W, C] or [N, C, H, W]: whole numbers from 0 to 255, or floating-point numbers from 0 to 1,
        which are rounded to 255 levels.
    labels
        Integers [N] from 0, names [N], or one-hot rows [N, K]; several labels, 0 or 1, or numbers [N, K], as `target`
        says; None where that is the input.
    validation
        Images and labels that validate; None: as the configuration says.
    test
        Images and labels for the test, or which share of the images they are; None: one in six.
    class_names
        In the order of the labels; without them, names are sorted and numbers are names.
    channels
        ``"first"`` or ``"last"``; None: as the axis of 1 or 3 channels tells.
    signals
        Whether the images are signals [N, L] or [N, L, C], of any numbers.
    floats
        Whether the images [N, H, W] or [N, H, W, C] are floating-point numbers, taken as they are.
    target
        A key of `TARGETS`.

    Returns
    -------
    Dataset
        Images uint8 or float32 [N, H, W, C], or signals float32 [N, 1, L, C]; labels int64 [N].

    Raises
    ------
    ConfigError
        For another `test` or `channels`.
    DataError
        Where arrays do not fit, or their layout is ambiguous.
    """
    names = None if class_names is None else tuple(map(str, class_names))
    if names is not None and len(set(names)) < len(names):
        raise DataError(f"class_names: expected different names, found {', '.join(names)[:200]}; correct them")
    convert = as_signals if signals else as_features if floats else None
    pixels = as_pixels("images", images, channels) if convert is None else floats_as_pixels("images", images, convert)
    numbers, names = as_numbers("labels", labels, names, target, len(pixels.images))
    check_lengths("images", pixels.images, numbers)
    train_images, train_labels, set_aside = pixels.images, numbers, None
    notes = list(pixels.remarks)
    if validation is not None:
        more, also = part("validation", validation, pixels, names, channels, convert, target)
        set_aside = np.arange(len(numbers), len(numbers) + len(also))
        train_images, train_labels = np.concatenate([train_images, more]), np.concatenate([numbers, also])
        notes.append(f"arrays: {len(also):,} images were given for validation; data.validation is not used")
    if test is None or isinstance(test, float):
        share = TEST_SHARE if test is None else test
        if not 0 < share < 1:
            raise ConfigError(f"test: expected images and labels, or a share above 0 and below 1, found {share:g}")
        strata = numbers if numbers.ndim == 1 else np.zeros(len(numbers), np.int64)
        chosen = draw_stratified(strata, max(1, round(len(numbers) * share)), 0)
        rest = np.setdiff1d(np.arange(len(train_labels)), chosen)
        test_images, test_labels = train_images[chosen], train_labels[chosen]
        count = f"{len(chosen):,} of {len(numbers):,} images"
        notes.append(f"arrays: {count} are for the test, drawn, of each class its share")
        train_images, train_labels = train_images[rest], train_labels[rest]
        set_aside = None if set_aside is None else set_aside - len(chosen)
    else:
        test_images, test_labels = part("test", test, pixels, names, channels, convert, target)
    found = Arrays(train_images, train_labels, test_images, test_labels, names, set_aside)
    dataset = assemble("arrays", found, convert=convert, target=target)
    note = f"arrays: in memory, {len(train_labels):,} images for training and {len(test_labels):,} for the test"
    return replace(dataset, notes=(f"{note}; SHA-256 {dataset.sha256}", *notes))


def part(
    where: str,
    given: tuple[Any, Any],
    training: Pixels,
    names: tuple[str, ...] | None,
    channels: Layout | None,
    convert: Callable[[str, np.ndarray], np.ndarray] | None,
    target: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of another part, converted as those for training were."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ConfigError(f"{where}: expected images and labels as a pair, found {type(given).__name__}")
    if convert is None:
        images = as_pixels(f"{where} images", given[0], channels, training.factor).images
    else:
        images = convert(f"{where} {'signals' if convert is as_signals else 'images'}", given[0])
    labels, _ = as_numbers(f"{where} labels", given[1], names, target, len(images))
    check_lengths(where, images, labels)
    return images, labels


def check_lengths(where: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Raise DataError unless there are as many images as labels."""
    if len(images) != len(labels):
        found = f"{len(images)} images and {len(labels)} labels"
        raise DataError(f"{where}: expected a label for each image, found {found}; use those that belong together")


def as_pixels(where: str, images: Any, channels: Layout | None = None, factor: int | None = None) -> Pixels:
    """Bring images to uint8 [N, H, W, C].

    Parameters
    ----------
    images
        As :func:`dataset_in_memory` takes them.
    factor
        255 where floating-point numbers go from 0 to 1, and 1 where to 255; None: as they themselves tell.

    Raises
    ------
    DataError
        Where they are of another type or range, or the layout is ambiguous.
    """
    images, remarks = np.asarray(images), []
    if channels not in (None, "first", "last"):
        raise ConfigError(f"channels: expected 'first', 'last' or None, found {channels!r}")
    if images.ndim not in (3, 4) or images.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: expected numbers [N, H, W], [N, H, W, C] or [N, C, H, W], found {dtype_name(images.dtype)} "
            f"{list(images.shape)[:8]}; convert them"
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    else:
        usual = [images.shape[axis] in CHANNELS for axis in (1, 3)]
        if channels is None and usual[0] == usual[1]:
            raise DataError(
                f"{where}: expected 1 or 3 channels, in [N, H, W, C] or [N, C, H, W], found {list(images.shape)}, "
                f"which may be {'both' if all(usual) else 'neither'}; say channels='last' or channels='first'"
            )
        if channels == "first" or (channels is None and usual[0]):
            images = np.moveaxis(images, 1, -1)
            remarks.append(f"{where}: [N, C, H, W], {images.shape[-1]} channels of {images.shape[1]}×{images.shape[2]}")
    if images.dtype != np.uint8 and images.size:
        images, factor = rescaled(where, images, factor)
        if factor == 255:
            remarks.append(f"{where}: numbers from 0 to 1, rounded to 255 levels")
    return Pixels(np.ascontiguousarray(images), factor or 1, tuple(remarks))


def floats_as_pixels(where: str, given: Any, convert: Callable[[str, np.ndarray], np.ndarray]) -> Pixels:
    """Return what `convert` makes of signals, or of images of floating-point numbers."""
    values = np.asarray(given)
    remark = () if values.dtype == np.float32 else (f"{where}: {values.dtype.name} values are rounded to float32",)
    return Pixels(convert(where, values), 1, remark)


def rescaled(where: str, images: np.ndarray, factor: int | None) -> tuple[np.ndarray, int]:
    """Return images of other types as uint8, and what they were multiplied by (`factor`: see :func:`as_pixels`)."""
    low, high, real = images.min(), images.max(), images.dtype.kind == "f"
    expected = {
        255: "numbers from 0 to 1, as in training",
        1: "whole numbers from 0 to 255",
        None: "numbers from 0 to 1, or whole numbers from 0 to 255",
    }[factor if real else 1]
    if factor is None or not real:
        factor = 255 if real and high <= 1 else 1
    # NaN fits no bounds either.
    if not (low >= 0 and high <= 255 // factor) or (real and factor == 1 and (images != np.rint(images)).any()):
        raise DataError(f"{where}: expected {expected}, found {images.dtype} from {low:g} to {high:g}; scale them")
    return np.rint(images * factor).astype(np.uint8), factor


def as_numbers(
    where: str, labels: Any, names: tuple[str, ...] | None, target: str = "class", count: int = 0
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return labels int64 [N] of numbers, one-hot rows or names, and the classes' names: those given, or the labels'.

    Several labels or numbers are float64 [N, K]. Where the target is the input, None stands for `count` zeros.

    Raises
    ------
    DataError
        Where they are of another type, or one of them has no name.
    """
    if labels is None and target == "input":
        labels = np.zeros(count, np.int64)
    labels = np.asarray(labels)
    if TARGETS[target].numbered:
        return as_targets(where, labels, target), names
    if labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind != "U":
        numbers, _ = as_labels(where, labels)
        return numbers.astype(np.int64), names
    if labels.ndim != 1:
        raise DataError(f"{where}: expected names [N], found {list(labels.shape)}; give one for each image")
    found, numbers = np.unique(labels, return_inverse=True)
    names = names or tuple(found.tolist())
    if unknown := [name for name in found.tolist() if name not in names]:
        raise DataError(
            f"{where}: expected {', '.join(names[:10])}{', …' * (len(names) > 10)}, found also {unknown[0][:80]!r}; "
            "correct it, or train with images of that class"
        )
    return np.array([names.index(name) for name in found.tolist()], np.int64)[numbers], names
