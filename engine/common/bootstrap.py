"""The paired bootstrap: how much the difference of two classifiers depends on which images they were tested with."""

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
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
