"""What predictions are worth: accuracy, confusion matrix, precision, recall, F1."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.common.targets import METRICS


def predicted_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return int64 [N], the most probable class of each row of float32 [N, outputs]; one output is a yes or no."""
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] >= 0.5).astype(np.int64)
    return probabilities.argmax(axis=1)


def accuracy_of(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows of float32 [N, outputs] whose most probable class is that of int64 [N] labels."""
    return float((predicted_classes(probabilities) == labels).mean())


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return int64 [classes, classes]: images of class i (row) that were taken for class j (column)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def precision_and_recall(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 [classes] each: right among those taken for a class, and among those of the class.

    A class that was never predicted (or never occurs) gets 0.
    """
    right = np.diag(confusion).astype(float)
    return right / np.maximum(confusion.sum(axis=0), 1), right / np.maximum(confusion.sum(axis=1), 1)


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """Return float64 [classes], the harmonic mean of each class's precision and recall; 0 where both are."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return 2 * np.diag(confusion) / np.maximum(both, 1)


def macro_f1(confusion: np.ndarray) -> float:
    """Return the mean F1 of the classes that occur, among images or among predictions."""
    return float(f1_scores(confusion)[confusion.sum(axis=0) + confusion.sum(axis=1) > 0].mean())


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Return the mean recall of the classes that there are images of: each class counts alike."""
    return float(precision_and_recall(confusion)[1][confusion.sum(axis=1) > 0].mean())


class Judged(NamedTuple):
    """Mean loss and accuracy, and int64 [classes, classes]: images of class i (row) that were taken for class j."""

    loss: float
    accuracy: float
    confusion: np.ndarray

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that there are images of."""
        return balanced_accuracy(self.confusion)

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur."""
        return macro_f1(self.confusion)

    def score(self, metric: str) -> float:
        """Return one of METRICS so that more is better: of a loss, the negative."""
        return -self.loss if metric == "loss" else float(getattr(self, metric))

    def told(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return METRICS as plain values, and by class ``recall`` and ``f1``.

        These are of the classes that there are images of, F1 also of those that some were taken for.
        """
        found: dict[str, Any] = {metric: getattr(self, metric) for metric in METRICS}
        images, answers = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        recall, f1 = precision_and_recall(self.confusion)[1].tolist(), f1_scores(self.confusion).tolist()
        found["recall"] = {name: recall[k] for k, name in enumerate(class_names) if images[k]}
        found["f1"] = {name: f1[k] for k, name in enumerate(class_names) if images[k] or answers[k]}
        return found
