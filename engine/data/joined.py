"""Several folders or files as one data set."""

from collections.abc import Mapping

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.arrays import Arrays, Dataset, extremes


def join(parts: Mapping[str, Dataset]) -> Arrays:
    """Join data sets by the path of each: classes of the same name are one, and each part keeps its own division.

    The classes are in alphabetical order where they are so in every part, else in the order in which they come. The
    notes tell what each part brings, and where the classes differ.

    Raises
    ------
    DataError
        Where the images have different sizes, or only some parts name their classes.
    """
    first, *others = parts
    shape, named = parts[first].image_shape, parts[first].named
    for root in others:
        if parts[root].image_shape != shape:
            size, other = ("×".join(map(str, sides)) for sides in (shape, parts[root].image_shape))
            raise DataError(f"{root}: expected images of {size}, as in {first}, found {other}; use files that fit")
        if parts[root].named != named:
            without, having = (root, first) if named else (first, root)
            raise DataError(f"{without}: expected class_names, as {having} has them, found none; add them to both")
    names = common_names(parts) if named else tuple(map(str, range(max(part.classes for part in parts.values()))))
    train_labels, test_labels, validation, start = [], [], [], 0
    files: tuple[list[str], list[str]] = ([], [])
    for root, part in parts.items():
        numbers = np.array([names.index(name) for name in part.class_names], np.int64)
        train_labels.append(numbers[part.train_labels])
        test_labels.append(numbers[part.test_labels])
        validation.append(start + (np.zeros(0, np.int64) if part.validation is None else part.validation))
        start += len(part.train_labels)
        for kept, found in zip(files, part.files or ((), ()), strict=True):
            kept += [f"{root}/{file}" for file in found]
    divided = any(part.validation is not None for part in parts.values())
    return Arrays(
        np.concatenate([part.train_images for part in parts.values()]),
        np.concatenate(train_labels),
        np.concatenate([part.test_images for part in parts.values()]),
        np.concatenate(test_labels),
        names if named else None,
        np.concatenate(validation) if divided else None,
        (*joined_notes(parts, names), *(note for part in parts.values() for note in part.notes)),
        all(part.divided for part in parts.values()),
        (tuple(files[0]), tuple(files[1])) if any(files) else None,
        extremes([size for part in parts.values() for size in part.sizes or ()]),
    )


def common_names(parts: Mapping[str, Dataset]) -> tuple[str, ...]:
    """Return the names of the classes of all parts."""
    names = tuple(dict.fromkeys(name for part in parts.values() for name in part.class_names))
    in_order = all(list(part.class_names) == sorted(part.class_names) for part in parts.values())
    return tuple(sorted(names)) if in_order else names


def joined_notes(parts: Mapping[str, Dataset], names: tuple[str, ...]) -> list[str]:
    """Say what each part brings, and which classes not all of them have."""
    counts = [
        f"{root} ({len(part.train_labels):,} for training, {len(part.test_labels):,} for the test)"
        for root, part in parts.items()
    ]
    lacking = [
        f"{root} has no {', '.join(missing)}"
        for root, part in parts.items()
        if (missing := [name for name in names if name not in part.class_names])
    ]
    return [f"joined: {', '.join(counts)}", *([f"the classes differ: {'; '.join(lacking)}"] if lacking else [])]
