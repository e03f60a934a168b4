"""What outputs are worth that are no classes: several labels at once, numbers, reconstructions of the input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.curves import Curve
from lenumba.engine.common.targets import FALLING


@dataclass(frozen=True)
class Measured:
    """What outputs are worth that are no classes: the mean loss, figures by name, and figures of each output."""

    loss: float
    figures: Mapping[str, float | None]
    each: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    def score(self, metric: str) -> float:
        """Return a figure so that more is better: of those in FALLING, the negative; −∞ where it is not defined."""
        value = self.loss if metric == "loss" else self.figures[metric]
        return -np.inf if value is None else -value if metric in FALLING else value

    def told(self, names: Sequence[str]) -> dict[str, Any]:
        """Return loss and figures."""
        return {"loss": self.loss, **self.figures}

    def by_name(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return by figure and by the outputs' `names` the figures of each, of those that have it."""
        return {
            key: {name: value for name, value in zip(names, values, strict=True) if value is not None}
            for key, values in self.each.items()
        }


def measure_labels(loss: float, outputs: np.ndarray, truth: np.ndarray) -> Measured:
    """Measure several labels at once: probabilities [N, K] against [N, K] of 0 and 1; ½ or more means yes.

    ``accuracy`` is the share of samples whose labels are all right, ``hamming`` that of single labels; ``macro_f1`` the
    mean F1 of the labels that occur in truth or answers; ``average_precision`` and ``auc`` are means over the labels
    that have them.
    """
    yes, positive = outputs >= 0.5, truth > 0.5
    both, either = (yes & positive).sum(0), yes.sum(0) + positive.sum(0)
    f1 = [2 * float(b) / float(e) if e else None for b, e in zip(both, either, strict=True)]
    curves = [Curve.of(outputs[:, k], positive[:, k]) for k in range(outputs.shape[1])]
    each = {
        "f1": f1,
        "average_precision": [curve.average_precision for curve in curves],
        "auc": [curve.auc for curve in curves],
    }
    figures = {
        "accuracy": float((yes == positive).all(1).mean()),
        "hamming": float((yes == positive).mean()),
        "macro_f1": mean_of(f1),
        "average_precision": mean_of(each["average_precision"]),
        "auc": mean_of(each["auc"]),
    }
    return Measured(loss, figures, each)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that there are, None where there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def measure_numbers(loss: float, outputs: np.ndarray, truth: np.ndarray) -> Measured:
    """Measure numbers [N, K] against [N, K], in their own units.

    ``r2`` is the mean over the outputs of 1 − Σ(y − ŷ)² / Σ(y − ȳ)², as scikit-learn's ``r2_score`` has it, of those
    whose truth is not constant; ``mae`` the mean absolute error, ``rmse`` the root of the mean squared one, over all.
    """
    truth = truth.astype(np.float64)
    error = outputs.astype(np.float64) - truth
    squares, spread = (error**2).sum(0), ((truth - truth.mean(0)) ** 2).sum(0)
    r2 = [1 - float(s) / float(v) if v > 0 else None for s, v in zip(squares, spread, strict=True)]
    each = {"r2": r2, "mae": np.abs(error).mean(0).tolist(), "rmse": np.sqrt((error**2).mean(0)).tolist()}
    figures = {"r2": mean_of(r2), "mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}
    return Measured(loss, figures, each)


def measure_input(loss: float, errors: np.ndarray, anomalous: np.ndarray) -> Measured:
    """Measure reconstructions: each sample's mean squared error [N] is its anomaly score; `anomalous` bool [N].

    Where there are both kinds, ``auc`` is the area under the ROC curve of the scores, ``normal_loss`` the mean error of
    the normal ones.
    """
    if not anomalous.any() or anomalous.all():
        return Measured(loss, {})
    return Measured(loss, {"auc": Curve.of(errors, anomalous).auc, "normal_loss": float(errors[~anomalous].mean())})


#: ``measure(loss, outputs, truth)`` by target: float32 [N, K] and float [N, K]; of the input itself each sample's
#: error, float64 [N], and bool [N], the anomalous ones.
MEASURES: dict[str, Callable[[float, np.ndarray, np.ndarray], Measured]] = {
    "labels": measure_labels,
    "numbers": measure_numbers,
    "input": measure_input,
}
