"""Where a training stands, and what an epoch brought."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch brought; `learning_rate` is its last step's, `seconds` and speed are of training alone."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return asdict(self)


@dataclass
class Progress:
    """Where a run stands: `epoch` epochs are complete, and `batch` batches of the next one.

    `loss_sum` and `correct` are that epoch's sums so far, `best_epoch` (0: none yet) the best by validation, and
    `risen_epoch` the last one whose validation accuracy was higher than all before by more than `train.min_delta`.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    risen_epoch: int = 0
    risen_accuracy: float = -1.0

    def stalled(self, patience: int | None) -> bool:
        """Return whether the last `patience` epochs have not raised the validation accuracy, and no epoch has begun."""
        return patience is not None and not self.batch and self.epoch - self.risen_epoch >= patience
