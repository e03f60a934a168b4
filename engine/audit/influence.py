"""What training images did to an answer: random halves of them train networks, and their answers are compared.

V. Feldman, C. Zhang, "What neural networks memorize and why: discovering the long tail via influence estimation",
NeurIPS 2020. Their estimate, the mean over trainings with an image minus that over trainings without it, is taken here
from pairs: one network learns from a random half, another one with the same seed from the other half.
"""

from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

HALVES_KEY = 0x68616C766573  # "halves": keeps this stream apart from others with the same seed
LEAST_SHARE = 1e-30
LEVEL = 0.05  # the chance that noise alone lifts any image beyond the line


class Effect(NamedTuple):
    """An effect of each training image and its standard error, float64 [N] each."""

    mean: np.ndarray
    error: np.ndarray


def draw_halves(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut images into two random halves with as many of each class in both as can be.

    Returns
    -------
    first, second
        int64, ascending: the same for labels int64 [N] and a seed on every machine.
    """
    philox = np.random.Philox(key=np.array([seed, HALVES_KEY], np.uint64))
    order = np.lexsort((philox.random_raw(len(labels)), labels))
    return np.sort(order[::2]), np.sort(order[1::2])


def effects(halves: Iterable[np.ndarray], differences: Sequence[float | np.ndarray], count: int) -> Effect:
    """Estimate from pairs of trainings what it does to a value to have an image among those trained on.

    Every image lies in one half of every pair; ± the pair's difference is one estimate of its effect, with the sign of
    the half that it lies in. The sums run over the pairs in their order, so they have the same bits everywhere.

    Parameters
    ----------
    halves
        int64: of each pair, the images of the first half.
    differences
        Of each pair, the value of the first half's network minus that of the other: a number, or float64 [count], one
        for each image.
    count
        How many images there are.
    """
    total, squares = np.zeros(count), np.zeros(count)
    for half, difference in zip(halves, differences, strict=True):
        signed = np.full(count, -1.0)
        signed[half] = 1.0
        signed *= difference
        total += signed
        squares += signed * signed
    pairs = len(differences)
    mean = total / pairs
    variance = np.maximum(squares / pairs - mean * mean, 0) / max(1, pairs - 1)
    return Effect(mean, np.sqrt(variance))


def log_odds(shares: np.ndarray, wanted: int) -> np.ndarray:
    """Return float64 [M], log p/(1 − p) of one class, of probabilities float64 [M, classes].

    A share near 1 has lost the digits of 1 − p, so that is summed up from the others.
    """
    others = np.delete(shares, wanted, axis=1).sum(1)
    return np.log(np.maximum(shares[:, wanted], LEAST_SHARE)) - np.log(np.maximum(others, LEAST_SHARE))


def noise_line(count: int) -> float:
    """Return how many standard errors noise alone exceeds for any of `count` images in one case of twenty."""
    return NormalDist().inv_cdf(1 - LEVEL / (2 * count))
