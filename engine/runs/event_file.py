"""TensorBoard's event files, written by tensorboardX (an extra): ``log: tensorboard``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.progress import EpochRecord

FOLDER = "tensorboard"
TAGS = {
    "loss/training": "train_loss",
    "loss/validation": "val_loss",
    "accuracy/training": "train_accuracy",
    "accuracy/validation": "val_accuracy",
    "balanced_accuracy/validation": "val_balanced_accuracy",
    "macro_f1/validation": "val_macro_f1",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}


class EventFile:
    """Writes a run's scalars and histograms to its folder ``tensorboard``, as the epochs end.

    Epochs after `epochs`, written before an interruption, are about to be repeated: TensorBoard is told to drop them.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        from tensorboardX import SummaryWriter

        before = len(list((folder / FOLDER).glob("*")))
        # Files are read in the order of their names, which tell the second that they were begun in, and no more.
        suffix = f".{before:06d}"
        self.writer: Any = SummaryWriter(
            str(folder / FOLDER), purge_step=epochs + 1 if before else None, filename_suffix=suffix
        )

    def epoch(self, record: EpochRecord, tensors: Mapping[str, np.ndarray]) -> None:
        """Write an epoch's scalars, and its histograms of weights and gradients."""
        values = record.as_dict()
        tags = TAGS | {f"{key.removeprefix('val_')}/validation": key for key in record.figures}
        for tag, key in tags.items():
            if values.get(key) is not None:
                self.writer.add_scalar(tag, values[key], record.epoch)
        for name, tensor in tensors.items():
            if np.isfinite(tensor).all():
                kind, _, own = name.rpartition("∂")
                self.writer.add_histogram(f"{'gradients' if kind else 'weights'}/{own}", tensor, record.epoch)
        self.writer.flush()  # a checkpoint may follow, after which the epoch is not repeated

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()
