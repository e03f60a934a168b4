"""What a network is trained to give, in one table: a class, several labels at once, numbers, or the input itself.

Configurations, training, records, tables and commands look a target up here; its losses are rows of `LOSSES`
(:mod:`lenumba.engine.network.losses`), and its figures are computed by :mod:`lenumba.engine.common.measures`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

FALLING = ("loss", "mae", "rmse")  # figures of which less is better
# What epochs and trainings may be judged by where the target is a class, as people call it.
METRICS = {
    "accuracy": "accuracy",
    "loss": "loss",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
LABEL_METRICS = {
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "loss": "loss",
}


@dataclass(frozen=True)
class Target:
    """A kind of target.

    Attributes
    ----------
    name
        As `data.target` says it.
    metrics
        The figures that epochs may be judged by, as people call them; the first is the usual one.
    answers
        Whether answers are right or wrong, so that training counts the right ones.
    numbered
        Whether each sample comes with a number for each output.
    compared
        The figures of a test set by which networks are compared, the best first: of these the first that there is.
    """

    name: str
    metrics: Mapping[str, str]
    answers: bool = False
    numbered: bool = False
    compared: tuple[str, ...] = ()

    @property
    def usual(self) -> str:
        """The figure that epochs are judged by unless another one is asked for."""
        return next(iter(self.metrics))


TABLE = (
    Target("class", METRICS, answers=True, compared=("accuracy",)),
    Target(
        "labels",
        LABEL_METRICS,
        answers=True,
        numbered=True,
        compared=("average_precision", "loss"),
    ),
    Target(
        "numbers",
        {"r2": "R²", "mae": "MAE", "rmse": "RMSE", "loss": "loss"},
        numbered=True,
        compared=("r2", "loss"),
    ),
    Target("input", {"loss": "loss"}, compared=("auc", "loss")),
)
TARGETS = {target.name: target for target in TABLE}
WORDS = {name: words for target in TABLE for name, words in target.metrics.items()}
SHARES = ("accuracy", "balanced_accuracy", "hamming")  # that people write in percent
WORDS |= {"hamming": "labels right", "normal_loss": "loss of normal samples", "f1": "F1"}
DRAWN = ("average_precision", "accuracy", "r2", "mae", "auc")


class Panel(NamedTuple):
    """What is drawn over the epochs: its label, the figure's name, and what to multiply it by."""

    label: str
    figure: str
    scale: float = 1.0

    def keys(self) -> dict[str, str]:
        """Return the lines' names and their keys in an epoch's figures."""
        return {"training": f"train_{self.figure}", "validation": f"val_{self.figure}"}


def panels(history: Sequence[Mapping[str, object]]) -> list[Panel]:
    """Return what is drawn of epochs, one dict an epoch: the loss, and two figures at most of what they know."""
    known: Iterable[str] = {key for line in history for key, value in line.items() if value is not None}
    drawn = [name for name in DRAWN if f"train_{name}" in known or f"val_{name}" in known][:2]
    return [Panel("loss", "loss"), *(Panel(*in_percent(name)) for name in drawn)]


def in_percent(figure: str) -> tuple[str, str, float]:
    """Return how a figure is called on an axis, its name, and what to multiply it by."""
    return (f"{WORDS[figure]} in %", figure, 100.0) if figure in SHARES else (WORDS[figure], figure, 1.0)


def written(figure: str, value: float) -> str:
    """Write a figure's value: shares in percent."""
    return f"{100 * value:.2f} %" if figure in SHARES else f"{value:.4f}"
