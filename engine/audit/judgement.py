"""What networks that have not seen an image make of it: how suspicious its label is, and which classes overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SURE = 0.75  # mean probability of another class from which on a label is called suspicious
LEAST = 1e-6  # a probability below this is no better measured than this
SIDE = 16  # pixels of the small images that are compared first
ALIKE_SMALL, ALIKE = 0.95, 0.98  # correlations of small and whole images from which on they are near-duplicates
CHUNK = 1 << 24  # products that are held at once


@dataclass(frozen=True)
class Judgement:
    """What is found of every image.

    Attributes
    ----------
    given, given_error
        float64 [N]: the mean over the seeds of the given label's probability, and its standard error (NaN for one
        seed, which tells nothing of it).
    guess
        int64 [N]: the class with the highest mean probability.
    guessed, guessed_error
        float64 [N]: that probability, and its standard error.
    votes
        int64 [N]: of how many seeds the network takes the image for another class than the label.
    order
        int64 [N]: the images, the most suspicious label first: by the mean logarithm of the given label's probability,
        the cross-entropy that the label costs networks that have not seen it.
    suspicious
        bool [N].
    """

    given: np.ndarray
    given_error: np.ndarray
    guess: np.ndarray
    guessed: np.ndarray
    guessed_error: np.ndarray
    votes: np.ndarray
    order: np.ndarray
    suspicious: np.ndarray


class Overlap(NamedTuple):
    """How much two classes overlap: the mean `probability` of the other one over the images of both, and its error.

    `first_as_second` and its twin count the images of one class that were taken for the other. Images with suspicious
    labels are left out.
    """

    first: int
    second: int
    probability: float
    error: float
    first_as_second: int
    second_as_first: int


def judge(probabilities: np.ndarray, labels: np.ndarray) -> Judgement:
    """Judge labels int64 [N] by probabilities float64 [seeds, N, classes] of networks that had not seen the images."""
    images = np.arange(len(labels))
    mean = probabilities.mean(0)
    guess = mean.argmax(1)
    others = mean.copy()
    others[images, labels] = -1.0
    given = mean[images, labels]
    return Judgement(
        given,
        standard_error(probabilities[:, images, labels]),
        guess,
        mean[images, guess],
        standard_error(probabilities[:, images, guess]),
        (probabilities.argmax(2) != labels).sum(0),
        np.argsort(np.log(np.maximum(probabilities[:, images, labels], LEAST)).mean(0), kind="stable"),
        others.max(1) >= SURE,
    )


def standard_error(values: np.ndarray) -> np.ndarray:
    """Return the standard error of the mean over the first axis; NaN where that has one element."""
    if len(values) == 1:
        return np.full(values.shape[1:], np.nan)
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))


def overlaps(probabilities: np.ndarray, labels: np.ndarray, found: Judgement) -> list[Overlap]:
    """Return every pair of classes whose networks took an image of one for the other, the largest overlap first."""
    seeds, _, classes = probabilities.shape
    left = ~found.suspicious
    counts = np.bincount(labels[left], minlength=classes)
    taken = np.bincount(labels[left] * classes + found.guess[left], minlength=classes**2).reshape(classes, classes)
    mass = np.zeros((seeds, classes, classes))  # summed probabilities, by label and class
    for label in range(classes):
        mass[:, label] = probabilities[:, left & (labels == label)].sum(1)
    pairs = []
    for first in range(classes):
        for second in range(first + 1, classes):
            if taken[first, second] + taken[second, first]:
                images = counts[first] + counts[second]
                shares = (mass[:, first, second] + mass[:, second, first]) / images
                error = float(standard_error(shares[:, np.newaxis])[0])
                there, back = int(taken[first, second]), int(taken[second, first])
                pairs.append(Overlap(first, second, float(shares.mean()), error, there, back))
    return sorted(pairs, key=lambda pair: -pair.probability)


def conflicting_copies(content: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """Return the groups of exact duplicates, by equal numbers int64 [N], that have different labels."""
    order = np.argsort(content, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(content[order])) + 1)
    return [group.tolist() for group in groups if len(group) > 1 and len(set(labels[group].tolist())) > 1]


def near_copies(
    images: np.ndarray, labels: np.ndarray, content: np.ndarray, asked: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the pairs (asked image, other image) that look alike but have different labels, exact copies left out.

    Alike means that their pixels correlate, so brightness, contrast and noise do not matter; shifts do.

    Parameters
    ----------
    images, labels, content
        uint8 [N, H, W, C], int64 [N], and numbers that are equal for exact duplicates, int64 [N].
    asked
        The images whose near-duplicates are wanted.
    """
    small = correlated(shrunk(images))
    pairs: list[tuple[int, int]] = []
    step = max(1, CHUNK // len(images))
    for start in range(0, len(asked), step):
        numbers = np.asarray(asked[start : start + step])
        likely = (small[numbers] @ small.T) >= ALIKE_SMALL
        likely &= (labels[numbers, np.newaxis] != labels) & (content[numbers, np.newaxis] != content)
        pairs += [(int(numbers[row]), int(other)) for row, other in zip(*np.nonzero(likely), strict=True)]
    # Whole images one by one: these sums do not depend on the number of threads.
    whole = {number: correlated(images[number : number + 1]).ravel() for pair in pairs for number in pair}
    alike = {tuple(sorted(pair)) for pair in pairs if float((whole[pair[0]] * whole[pair[1]]).sum()) >= ALIKE}
    return sorted((first, second) for first, second in alike)


def shrunk(images: np.ndarray) -> np.ndarray:
    """Return float32 [N, h, w, C] with at most SIDE pixels a side: means of blocks, what is left over cut off."""
    height, width = images.shape[1:3]
    down, across = -(-height // SIDE), -(-width // SIDE)
    cut = images[:, : height // down * down, : width // across * across]
    blocks = cut.reshape(len(images), height // down, down, width // across, across, -1)
    return blocks.mean((2, 4), dtype=np.float32)


def correlated(images: np.ndarray) -> np.ndarray:
    """Return float32 [N, pixels] of mean 0 and length 1, whose products are correlations; flat images are zeros."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(1, keepdims=True)
    lengths = np.sqrt((rows * rows).sum(1, keepdims=True))
    return rows / np.where(lengths > 0, lengths, 1)
