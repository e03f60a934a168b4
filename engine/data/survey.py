"""What a data set consists of, for people to see before it is trained on: classes, sizes, duplicates."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lenumba.engine.common.text import table
from lenumba.engine.config.sections import IN_MEMORY, OWN_FILES
from lenumba.engine.data.arrays import Dataset

SHOWN = 20  # classes of a table; more would hide what is said beside it
NEAR_IMAGES = 5_000  # more are not searched for near duplicates: that would take seconds
FINGERPRINT = 16  # rows and columns of the small grey copy by which images are compared
NEAR = 3.0  # levels of 255 by which the copies of near duplicates differ on average, at most,
NEAR_SHARE = 0.1  # and as a share of what any two images differ by: pictures of one scene are all alike
OVERFITTING = 1.2  # times the lowest validation loss

Groups = list[list[int]]  # images that are alike; those from the training set come first


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
        ``duplicates``: pairs of equal and of nearly equal images, among all and ``across`` training and test.
    """
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
        found["duplicates"] = duplicates(dataset)
    return found


def duplicates(dataset: Dataset) -> dict[str, int]:
    """Count the images that another one equals or nearly equals: in all, and test images that are so in training."""
    images, border = np.concatenate([dataset.train_images, dataset.test_images]), len(dataset.train_images)
    same: dict[bytes, list[int]] = defaultdict(list)
    for k, image in enumerate(images):
        same[image.tobytes()].append(k)
    exact = [group for group in same.values() if len(group) > 1]
    counted = {"equal": repeated(exact), "equal_across": across(exact, border)}
    if len(images) <= NEAR_IMAGES:
        firsts = np.array([group[0] for group in same.values()])
        near = near_groups(fingerprints(images[firsts]))
        groups = [[k for item in group for k in same[images[firsts[item]].tobytes()]] for group in near]
        only = [sorted(group) for group in groups]
        counted |= {"near": repeated(only), "near_across": across(only, border)}
    return counted


def repeated(groups: Groups) -> int:
    """Return how many images there are beyond the first of each group."""
    return sum(len(group) - 1 for group in groups)


def across(groups: Groups, border: int) -> int:
    """Return how many test images, those from `border` on, are in a group with a training image."""
    return sum(sum(k >= border for k in group) for group in groups if group[0] < border)


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Return float32 [N, at most 256], small grey copies of images uint8 [N, H, W, C] by the means of their blocks."""
    grey = images.mean(axis=3, dtype=np.float32)
    for axis in (1, 2):
        length = grey.shape[axis]
        starts = np.unique(np.linspace(0, length, min(FINGERPRINT, length), endpoint=False).astype(int))
        widths = np.diff([*starts, length]).astype(np.float32)
        grey = np.add.reduceat(grey, starts, axis=axis) / widths.reshape([-1 if k == axis else 1 for k in range(3)])
    return grey.reshape(len(grey), -1)


def near_groups(prints: np.ndarray) -> Groups:
    """Return groups of at least two images whose fingerprints differ by little: float32 [N, M].

    Two fingerprints that differ by little on average differ by no more in their means, so that sorted by them, only
    neighbours need to be compared.
    """
    usual = np.abs(prints - np.roll(prints, len(prints) // 2 or 1, axis=0)).mean()
    limit = min(NEAR, NEAR_SHARE * float(usual))
    means = prints.mean(axis=1)
    order = np.argsort(means, kind="stable")
    ends = np.searchsorted(means[order], means[order] + limit, side="right")
    leader = np.arange(len(prints))
    for place, end in enumerate(ends.tolist()):
        others = order[place + 1 : end]
        distance = np.abs(prints[others] - prints[order[place]]).mean(axis=1)
        for other in others[distance <= limit].tolist():
            leader[leader == leader[other]] = leader[order[place]]
    groups: dict[int, list[int]] = defaultdict(list)
    for k, first in enumerate(leader.tolist()):
        groups[first].append(k)
    return [group for group in groups.values() if len(group) > 1]


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
    counted = found["duplicates"]
    for kind, words in (("equal", "equal"), ("near", "nearly equal")):
        if number := counted.get(f"{kind}_across"):
            lines.append(f"warning: {number:,} test images are {words} to training images: the test is too easy")
        elif number := counted.get(kind):
            lines.append(f"note: {number:,} images are {words} to others")
    return lines


def verdict_lines(summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a run's test result means, as lines.

    For the user's own files, what always guessing the largest class would bring, and the recall of every class; for
    all, classes that were never predicted, and from which epoch on the network learned its training images by heart.

    Parameters
    ----------
    summary
        Of ``run.json``: ``data`` (see :func:`survey`), ``recall`` by class, and ``never_predicted``.
    history
        One dict an epoch.
    """
    found, lines = summary["data"], []
    if "duplicates" in found:
        listed = [f"{name} {100 * share:.1f} %" for name, share in list(summary["recall"].items())[:SHOWN]]
        more = " …" if len(summary["recall"]) > SHOWN else ""
        share = 100 * found["largest_class_accuracy"]
        lines.append(f"always {found['largest_class']!r}: {share:.2f} %   recall: {', '.join(listed)}{more}")
    if never := summary["never_predicted"]:
        lines.append(f"warning: never predicted: {', '.join(never[:SHOWN])}")
    judged = [epoch for epoch in history if epoch["val_loss"] is not None]
    if judged:
        lowest, last = min(judged, key=lambda epoch: epoch["val_loss"]), judged[-1]
        rising = last["val_loss"] > OVERFITTING * lowest["val_loss"]
        if rising and last["train_loss"] < lowest["train_loss"] < lowest["val_loss"]:
            lines.append(
                f"note: overfitting: the validation loss was lowest at epoch {lowest['epoch']} "
                f"({lowest['val_loss']:.4f}) and ended at {last['val_loss']:.4f}, as the training loss went on falling"
            )
    return lines
