"""Arrays become a data set, once they have passed every check."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.data.arrays import Arrays, Dataset, as_images, as_labels, check_split, data_sha256
from lenumba.engine.data.targets import as_targets


def assemble(
    name: str,
    arrays: Arrays,
    image_shape: tuple[int, int, int] | None = None,
    class_names: tuple[str, ...] | None = None,
    judging: bool = False,
    convert: Callable[[str, np.ndarray], np.ndarray] | None = None,
    target: str = "class",
) -> Dataset:
    """Check arrays, and make a data set of them.

    Parameters
    ----------
    image_shape, class_names
        What the data set is known to have, if anything.
    judging
        Whether one of both parts, or images of one class, are enough.
    convert
        What makes images [N, H, W, C] of the arrays, or raises DataError; None: :func:`as_images`.
    target
        A key of `TARGETS`: what the labels are. Where it is the input, one class is enough.

    Raises
    ------
    DataError
        If an array has another type or rank, or if the arrays do not fit each other.
    """
    kinds = {"training": (arrays.train_images, arrays.train_labels), "test": (arrays.test_images, arrays.test_labels)}
    parts, targets, counted = {}, {}, 0
    for kind, (images, labels) in kinds.items():
        if not (judging and len(images) == len(labels) == 0):
            images = (convert or as_images)(f"{name} {kind}", images)
            if TARGETS[target].numbered:
                targets[kind] = as_targets(f"{name} {kind}", labels, target)
                labels, classes = np.zeros(len(targets[kind]), np.int64), targets[kind].shape[1]
            else:
                labels, classes = as_labels(f"{name} {kind}", labels)
            counted = max(counted, classes)
            parts[kind] = images, labels
    if not parts:
        raise DataError(f"{name}: expected at least one sample, found none; use other files")
    names = class_names or arrays.class_names or tuple(map(str, range(counted)))
    if targets:
        check_targets(name, targets, names, target)
    elif len(names) < 2 and not judging and target == "class":
        raise DataError(f"{name}: expected at least 2 classes, found {len(names)}; add labels of another class")
    first = parts.get("training") or parts["test"]
    shape = image_shape or first[0].shape[1:]
    for kind, (images, labels) in parts.items():
        check_split(f"{name} {kind}", images, labels, shape, len(names))
    none = np.zeros((0, *shape), first[0].dtype), np.zeros(0, np.int64)
    train_images, train_labels, test_images, test_labels = (
        *parts.get("training", none),
        *parts.get("test", none),
    )
    train_labels, test_labels = train_labels.astype(np.int64), test_labels.astype(np.int64)
    set_aside = [] if arrays.validation is None else [arrays.validation]
    both = [targets.get(kind, np.zeros((0, len(names)))) if targets else None for kind in kinds]
    return Dataset(
        name,
        train_images,
        train_labels,
        test_images,
        test_labels,
        len(names),
        names,
        data_sha256(
            train_images,
            train_labels,
            test_images,
            test_labels,
            *set_aside,
            *(each for each in both if each is not None),
        ),
        bool(class_names or arrays.class_names),
        arrays.validation,
        arrays.notes,
        arrays.divided,
        arrays.files,
        arrays.sizes,
        train_targets=both[0],
        test_targets=both[1],
    )


def check_targets(name: str, targets: Mapping[str, np.ndarray], names: Sequence[str], target: str) -> None:
    """Raise DataError unless the labels or numbers [N, K] of all parts are as many as their names."""
    for kind, values in targets.items():
        if values.shape[1] != len(names):
            expected = f"{len(names)} {target} for each sample, as many as names or as in the other part"
            raise DataError(f"{name} {kind}: expected {expected}, found {values.shape[1]}; use arrays that fit")
