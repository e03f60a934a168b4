"""The paired bootstrap: how much the difference of two networks depends on which images they were tested with."""

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
FEWEST, MEASURED = 200, 20_000_000  # draws of any figures, and values that are measured in all of them
MOST = 1 << 24  # counts that are held at once


def paired_intervals(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, classes: int
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the second classifier's accuracy, and macro F1, minus the first's.

    The images are drawn again with replacement, 10 000 times, both answers with each; the intervals are those between
    the percentiles 2.5 and 97.5 (Efron and Tibshirani 1993, chapter 13). The same data give the same intervals.

    Parameters
    ----------
    labels, first, second
        int64 [N]: the right classes and both answers.
    """
    # Images with the same label and answers are alike, so that only their numbers need to be drawn.
    kinds, counts = np.unique(np.stack([labels, first, second]), axis=1, return_counts=True)
    rng = np.random.default_rng(0)
    part = max(1, MOST // len(counts))
    found = []
    for start in range(0, RESAMPLES, part):
        drawn = rng.multinomial(len(labels), counts / len(labels), min(part, RESAMPLES - start))
        scores = [drawn_scores(drawn, kinds[0], answers, classes) for answers in kinds[1:]]
        found.append(scores[1] - scores[0])
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(found, axis=1), [tail, 100 - tail], axis=1)
    return {name: (float(low[k]), float(high[k])) for k, name in enumerate(("accuracy", "macro_f1"))}


def drawn_scores(drawn: np.ndarray, labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Return accuracy and macro F1, float64 [2, draws], of numbers of images of each kind int64 [draws, kinds]."""
    right = labels == answers
    found = summed(drawn[:, right], labels[right], classes)
    both = summed(drawn, labels, classes) + summed(drawn, answers, classes)
    there = np.maximum((both > 0).sum(1), 1)
    return np.array([found.sum(1) / drawn[0].sum(), (2 * found / np.maximum(both, 1)).sum(1) / there])


def summed(drawn: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
    """Return int64 [draws, classes]: the sums of the columns of int64 [draws, kinds] that belong to each class."""
    total = np.zeros((len(drawn), classes), np.int64)
    if len(groups):
        order = np.argsort(groups, kind="stable")
        names, starts = np.unique(groups[order], return_index=True)
        total[:, names] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return total


def resampled(count: int, size: int, measured: Callable[[np.ndarray], Sequence[float]]) -> np.ndarray:
    """Return what samples drawn again with replacement bring, float64 [draws, figures]; the same for the same data.

    Parameters
    ----------
    count, size
        How many samples there are, and how many values are measured of all of them, which decides how many draws there
        are: 200 to 10 000.
    measured
        The figures of some samples, by their indices int64 [count].
    """
    rng = np.random.default_rng(0)
    draws = min(RESAMPLES, max(FEWEST, MEASURED // (4 * max(size, 1) + 20_000)))
    return np.array([measured(rng.integers(0, count, count)) for _ in range(draws)])


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of what resamples bring, float64 [draws]; NaN are those that had nothing to measure."""
    known = values[~np.isnan(values)]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def chance(values: np.ndarray) -> float:
    """Return the two-sided p value that a difference is 0, of its resamples float64 [draws].

    Twice the share on the rarer side of 0; the samples as they are count, too (Davison and Hinkley 1997, section 4.2).
    """
    known = values[~np.isnan(values)]
    rarer = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(known) + 1)))
