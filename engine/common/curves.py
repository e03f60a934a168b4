"""How well scores tell a class from the rest: ROC and precision–recall curves, and the threshold with the best F1."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Curve:
    """How many images every threshold finds: those whose score is at least the threshold.

    Attributes
    ----------
    thresholds
        float64 [M]: the distinct scores, falling.
    found, false
        int64 [M]: images of the class, and others, that score at least so much.
    positives, negatives
        Images of the class, and others.
    """

    thresholds: np.ndarray = field(repr=False)
    found: np.ndarray = field(repr=False)
    false: np.ndarray = field(repr=False)
    positives: int
    negatives: int

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray) -> "Curve":
        """Return the curve of scores float [N]; `positive` bool [N] tells the images of the class."""
        order = np.argsort(-scores, kind="stable")
        ranked, right = scores[order].astype(np.float64), positive[order]
        ends = np.flatnonzero(np.diff(ranked, append=-np.inf))  # the last image of each score
        found = np.cumsum(right)[ends]
        count = int(positive.sum())
        return cls(ranked[ends], found, ends + 1 - found, count, len(scores) - count)

    @property
    def recall(self) -> np.ndarray:
        """float64 [M], also called true positive rate; 0 where the class has no images."""
        return self.found / max(self.positives, 1)

    @property
    def fall_out(self) -> np.ndarray:
        """float64 [M], also called false positive rate."""
        return self.false / max(self.negatives, 1)

    @property
    def precision(self) -> np.ndarray:
        """float64 [M]."""
        return self.found / (self.found + self.false)

    @property
    def auc(self) -> float | None:
        """The area under the ROC curve, by trapezoids; None without images of the class, or of others."""
        if not self.positives or not self.negatives:
            return None
        x, y = np.append(0, self.fall_out), np.append(0, self.recall)
        return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())

    @property
    def average_precision(self) -> float | None:
        """Σ (R_n − R_n−1) P_n over the thresholds; None without images of the class."""
        return float((np.diff(self.recall, prepend=0) * self.precision).sum()) if self.positives else None

    @property
    def best_threshold(self) -> float | None:
        """The threshold with the best F1, halfway to the next lower score; None without images of the class."""
        if not self.positives:
            return None
        k = int(np.argmax(2 * self.found / (self.found + self.false + self.positives)))
        score = self.thresholds[k]
        below = self.thresholds[k + 1] if k + 1 < len(self.thresholds) else min(0.0, score)
        return float((score + below) / 2) if np.isfinite(score + below) else None

    def at(self, threshold: float) -> tuple[float | None, float | None]:
        """Return precision and recall at a threshold; None where nothing is found, or there is nothing to find."""
        reached = int(np.count_nonzero(self.thresholds >= threshold))
        found, false = (int(counts[reached - 1]) if reached else 0 for counts in (self.found, self.false))
        precision = found / (found + false) if reached else None
        return precision, found / self.positives if self.positives else None

    def points(self, most: int) -> dict[str, list[list[float]]]:
        """Return the ROC curve (fall-out, recall) and the precision–recall curve (recall, precision) as points.

        Of more than about `most`, those that are evenly spaced along the curve.
        """
        roc = np.array([[0, *self.fall_out], [0, *self.recall]])
        return {"roc": spaced(roc, most), "precision_recall": spaced(np.array([self.recall, self.precision]), most)}


def spaced(line: np.ndarray, most: int) -> list[list[float]]:
    """Return points [[x, y], …] of a line float64 [2, M], ends included, about `most` of them along its length."""
    if line.shape[1] > most:
        way = np.append(0, np.abs(np.diff(line)).sum(0).cumsum())
        wanted = np.searchsorted(way, np.linspace(0, way[-1], most))
        line = line[:, np.unique([0, *wanted.clip(max=line.shape[1] - 1), line.shape[1] - 1])]
    return np.round(line.T, 6).tolist()
