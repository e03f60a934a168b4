"""Where a training stands, and what an epoch brought."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch brought; `learning_rate` is its last step's, `seconds` and speed are of training alone.

    Without validation images, all that begins with `val_` is None; `val_recall` and `val_f1` are by class. Where the
    target is no class, `figures` has what begins with `val_`.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None = None
    val_accuracy: float | None = None
    learning_rate: float
    seconds: float
    images_per_second: float
    val_balanced_accuracy: float | None = None
    val_macro_f1: float | None = None
    val_recall: dict[str, float] | None = None
    val_f1: dict[str, float] | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values; what the target has no figure for is left out where it is no class."""
        values = asdict(self)
        if not (figures := values.pop("figures")):
            return values
        return {key: value for key, value in values.items() if value is not None} | figures

    def validated(self, metric: str) -> float | None:
        """Return a figure of the validation images; None without them, or where it is not defined."""
        return self.figures.get(f"val_{metric}", getattr(self, f"val_{metric}", None))


@dataclass
class Progress:
    """Where a run stands: `epoch` epochs are complete, and `batch` batches of the next one.

    `loss_sum` and `correct` are that epoch's sums so far, `best_epoch` (0: none yet) the best by validation, and
    `risen_epoch` the last one whose score was higher than all before by more than `train.min_delta`. A score is what
    `train.best_by` names, of a loss the negative.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    best_epoch: int = 0
    best_score: float = -1.0
    best_loss: float = float("inf")
    risen_epoch: int = 0
    risen_score: float = -1.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Progress":
        """Return it from a checkpoint's state; older ones know no score but the accuracy."""
        return cls(**{name.replace("_accuracy", "_score"): value for name, value in values.items()})

    def stalled(self, patience: int | None) -> bool:
        """Return whether the last `patience` epochs have not raised the validation score, and no epoch has begun."""
        return patience is not None and not self.batch and self.epoch - self.risen_epoch >= patience
