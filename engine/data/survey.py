"""What a data set consists of, for people to see before it is trained on: classes, sizes, duplicates."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import chain, pairwise
from typing import Any

import numpy as np

from lenumba.engine.common.text import table
from lenumba.engine.config.sections import IN_MEMORY, OWN_FILES
from lenumba.engine.data.arrays import Dataset
from lenumba.engine.data.nearness import Groups, neighbours

SHOWN = 20  # classes of a table; more would hide what is said beside it
FINGERPRINT = 16  # rows and columns of the small grey copy by which images are compared
NEAR = 4.0  # levels of 255 by which the copies of near duplicates differ, as the root of the mean square, at most,
NEAR_SHARE = 0.1  # and as a share of what any two images differ by: pictures of one scene are all alike
CHUNK = 1024  # images at a time


def survey(dataset: Dataset, train: np.ndarray, validation: np.ndarray) -> dict[str, Any]:
    """Count the images of each class in each part; of the user's own files, find duplicates, too.

    Parameters
    ----------
    train, validation
        int64: the training images that are trained on and that validate.

    Returns
    -------
    dict
        ``classes``: by name, how many images for ``training``, ``validation`` and ``test``. ``largest_class``: the one
        with the most training images, and ``largest_class_accuracy``, the share of the test images that are of it.
        ``pictures``: (width, height) of the smallest and the largest file, and what they became.
        ``duplicates``: pairs of equal and of nearly equal images, among all and ``across`` training and test.
    """
    if dataset.train_targets is not None and dataset.test_targets is not None:
        learned = {"training": dataset.train_targets[train], "validation": dataset.train_targets[validation]}
        return survey_targets(dataset.class_names, {**learned, "test": dataset.test_targets})
    parts = {
        "training": dataset.train_labels[train],
        "validation": dataset.train_labels[validation],
        "test": dataset.test_labels,
    }
    counts = {part: np.bincount(labels, minlength=dataset.classes).tolist() for part, labels in parts.items()}
    largest = int(np.argmax(counts["training"]))
    found: dict[str, Any] = {
        "classes": {name: {part: counts[part][k] for part in parts} for k, name in enumerate(dataset.class_names)},
        "largest_class": dataset.class_names[largest],
        "largest_class_accuracy": float((dataset.test_labels == largest).mean()) if len(dataset.test_labels) else None,
    }
    if dataset.name in (*OWN_FILES, IN_MEMORY) and dataset.train_images.dtype == np.uint8:
        if dataset.sizes is not None:
            height, width, _ = dataset.image_shape
            smallest, most = map(list, dataset.sizes)
            found["pictures"] = {"smallest": smallest, "largest": most, "resized_to": [width, height]}
        found["duplicates"] = duplicates(dataset)
    return found


def survey_targets(names: Sequence[str], parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return mean, deviation and extremes of each label or number [N, K] of each part, and how many samples it has."""
    targets: dict[str, Any] = {name: {} for name in names}
    for part, values in parts.items():
        for name, column in zip(names, values.T, strict=True) if len(values) else ():
            low, high = float(column.min()), float(column.max())
            targets[name][part] = {"mean": float(column.mean()), "deviation": float(column.std()), "range": [low, high]}
    return {"samples": {part: len(values) for part, values in parts.items()}, "targets": targets}


def duplicates(dataset: Dataset) -> dict[str, int]:
    """Count the images that another one equals or nearly equals: in all, and test images that are so in training.

    Without ``near`` where that would take too long (:func:`lenumba.engine.data.nearness.neighbours`).
    """
    border, same = len(dataset.train_images), defaultdict(list)
    for k, image in enumerate(chain(dataset.train_images, dataset.test_images)):
        same[sha256(image).digest()].append(k)
    every = list(same.values())
    exact = [group for group in every if len(group) > 1]
    counted = {"equal": repeated(exact), "equal_across": across(exact, border)}
    prints = np.concatenate([fingerprints(dataset.train_images), fingerprints(dataset.test_images)])
    prints = prints[[group[0] for group in every]]
    usual = np.sqrt(np.square(prints - np.roll(prints, len(prints) // 2 or 1, axis=0)).mean(axis=1)).mean()
    near = neighbours(prints, min(NEAR, NEAR_SHARE * float(usual)) * prints.shape[1] ** 0.5)
    if near is not None:
        groups = [sorted(k for item in group for k in every[item]) for group in near]
        counted |= {"near": repeated(groups), "near_across": across(groups, border)}
    return counted


def repeated(groups: Groups) -> int:
    """Return how many images there are beyond the first of each group."""
    return sum(len(group) - 1 for group in groups)


def across(groups: Groups, border: int) -> int:
    """Return how many test images, those from `border` on, are in a group with a training image."""
    return sum(sum(k >= border for k in group) for group in groups if group[0] < border)


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Return float32 [N, at most 256], small grey copies of images uint8 [N, H, W, C] by the means of their blocks."""
    count, height, width, channels = images.shape
    down, across_ = blocks(height), np.repeat(blocks(width) / channels, channels, axis=1)
    found = np.empty((count, len(down), len(across_)), np.float32)
    for start in range(0, count, CHUNK):
        part = images[start : start + CHUNK].reshape(-1, height, width * channels).astype(np.float32)
        found[start : start + CHUNK] = down @ part @ across_.T
    return found.reshape(count, -1)


def blocks(length: int) -> np.ndarray:
    """Return float32 [M, length]: what means of neighbours make of so many pixels at most :data:`FINGERPRINT`."""
    starts = np.unique(np.linspace(0, length, min(FINGERPRINT, length), endpoint=False).astype(int))
    weights = np.zeros((len(starts), length), np.float32)
    for row, (start, end) in enumerate(pairwise([*starts.tolist(), length])):
        weights[row, start:end] = 1 / (end - start)
    return weights


def survey_lines(found: Mapping[str, Any]) -> list[str]:
    """Return a survey of the user's own files as lines: a table, and warnings of duplicates."""
    if "duplicates" not in found:
        return []
    classes = found["classes"]
    parts = ["training", "validation", "test"]
    rows = [[name, *(counts[part] for part in parts)] for name, counts in list(classes.items())[:SHOWN]]
    if len(classes) > SHOWN:
        rows.append([f"{len(classes) - SHOWN} more", *([""] * len(parts))])
    rows.append(["total", *(sum(counts[part] for counts in classes.values()) for part in parts)])
    lines = table(["class", *parts], rows).splitlines()
    if found["largest_class_accuracy"] is not None:
        share = 100 * found["largest_class_accuracy"]
        lines.append(f"always {found['largest_class']!r} would be right for {share:.2f} % of the test images")
    if pictures := found.get("pictures"):
        smallest, largest, became = ("×".join(map(str, pictures[key])) for key in ("smallest", "largest", "resized_to"))
        own = f"from {smallest} to {largest}" if smallest != largest else f"of {largest}"
        lines.append(f"pictures {own} pixels" + ("" if smallest == largest == became else f", resized to {became}"))
    counted = found["duplicates"]
    for kind, words in (("equal", "equal"), ("near", "nearly equal")):
        if number := counted.get(f"{kind}_across"):
            lines.append(f"warning: {number:,} test images are {words} to training images: the test is too easy")
        elif number := counted.get(kind):
            lines.append(f"note: {number:,} images are {words} to others")
    if "near" not in counted:
        lines.append("note: not searched for nearly equal images, as too many are alike")
    return lines


def verdict_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return what a run's test result means, as lines.

    For the user's own files, what always guessing the largest class would bring, and the recall of every class; for
    all, classes that were never predicted.

    Parameters
    ----------
    summary
        Of ``run.json``: ``data`` (see :func:`survey`), ``recall`` by class, and ``never_predicted``.
    """
    found, lines = summary["data"], []
    if "duplicates" in found and "recall" in summary:
        listed = [f"{name} {100 * share:.1f} %" for name, share in list(summary["recall"].items())[:SHOWN]]
        more = " …" if len(summary["recall"]) > SHOWN else ""
        share = 100 * found["largest_class_accuracy"]
        lines.append(f"always {found['largest_class']!r}: {share:.2f} %   recall: {', '.join(listed)}{more}")
    if never := summary.get("never_predicted"):
        lines.append(f"warning: never predicted: {', '.join(never[:SHOWN])}")
    return lines
