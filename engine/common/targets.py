"""What a network is trained to give, in one table: a class, several labels at once, numbers, or the input itself.

Configurations, training, records, tables and commands look a target up here; its losses are rows of `LOSSES`
(:mod:`lenumba.engine.network.losses`), and its figures are computed by :mod:`lenumba.engine.common.measures`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
    """

    name: str
    metrics: Mapping[str, str]
    answers: bool = False
    numbered: bool = False

    @property
    def usual(self) -> str:
        """The figure that epochs are judged by unless another one is asked for."""
        return next(iter(self.metrics))


TABLE = (
    Target("class", METRICS, answers=True),
    Target("labels", LABEL_METRICS, answers=True, numbered=True),
    Target("numbers", {"r2": "R²", "mae": "MAE", "rmse": "RMSE", "loss": "loss"}, numbered=True),
    Target("input", {"loss": "loss"}),
)
TARGETS = {target.name: target for target in TABLE}
WORDS = {name: words for target in TABLE for name, words in target.metrics.items()}
WORDS |= {"hamming": "labels right", "normal_loss": "loss of normal samples", "f1": "F1"}
