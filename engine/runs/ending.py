"""How a training ended, in one line: why, with which epoch's weights, and whether they overfit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.common.targets import WORDS, written

OVERFITTING = 1.2  # times the lowest validation loss
GAP, ERRORS = 0.02, 3.0  # by which accuracy on training images exceeds validation's: a share, and standard errors of it


def ending_line(summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Return why a run ended, its best epoch, and whether it learned its training images by heart.

    Parameters
    ----------
    summary
        Of ``run.json``: ``ended``, ``best_epoch``, ``best_by`` and ``validation_images``.
    history
        One dict an epoch.
    """
    parts = [summary["ended"]]
    metric, number = summary["best_by"], summary.get("best_epoch")
    best = next((line for line in history if line["epoch"] == number), {})
    if (value := best.get(f"val_{metric}")) is not None:
        equal = sum(line.get(f"val_{metric}") == value for line in history) > 1 and metric != "loss"
        chosen = f"{written(metric, value)}{', the lowest loss of equals' * equal}"
        parts.append(f"best epoch {number} (validation {WORDS[metric]} {chosen})")
    return "; ".join([part for part in (*parts, overfitting(best, history, summary.get("validation_images"))) if part])


def overfitting(best: Mapping[str, Any], history: Sequence[Mapping[str, Any]], images: int | None) -> str:
    """Say that, and how, the best epoch's weights or the training after it overfit; empty where they do not.

    The accuracy on training images is the epoch's mean while it trained, so rather too low. Where labels are several or
    numbers, losses alone decide.
    """
    found = []
    train, validation = best.get("train_accuracy"), best.get("val_accuracy")
    if train is not None and validation is not None and images:
        error = math.sqrt(max(validation * (1 - validation), 1 / images) / images)
        if train - validation >= max(GAP, ERRORS * error):
            found.append(f"training accuracy {100 * train:.2f} %, validation {100 * validation:.2f} %")
    judged = [epoch for epoch in history if epoch.get("val_loss") is not None]
    if judged:
        lowest, last = min(judged, key=lambda epoch: epoch["val_loss"]), judged[-1]
        rising = last["val_loss"] > OVERFITTING * lowest["val_loss"]
        if rising and last["train_loss"] < lowest["train_loss"] < lowest["val_loss"]:
            found.append(
                f"the validation loss was lowest at epoch {lowest['epoch']} ({lowest['val_loss']:.4f}) and ended at "
                f"{last['val_loss']:.4f}, as the training loss went on falling"
            )
    return f"overfitting: {'; '.join(found)}" if found else ""
