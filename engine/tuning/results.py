"""What a training's epochs are worth to a study."""

from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.config.tune import Tune

Curve = Sequence[Mapping[str, Any]]  # one item an epoch


def metric_value(tune: Tune, curve: Curve) -> float | None:
    """Return the metric of one training; None where the target accuracy was not reached."""
    if tune.metric == "val_accuracy":
        return max(epoch["val_accuracy"] for epoch in curve)
    if tune.metric == "val_loss":
        return min(epoch["val_loss"] for epoch in curve)
    assert tune.target is not None
    return next((epoch["seconds"] for epoch in curve if epoch["val_accuracy"] >= tune.target), None)


def progress_value(tune: Tune, epoch: Mapping[str, Any]) -> float:
    """Return what the pruner compares after an epoch, in the study's direction."""
    if tune.metric == "val_loss":
        return epoch["val_loss"]
    if tune.metric == "val_accuracy":
        return epoch["val_accuracy"]
    return epoch["val_accuracy"] if tune.maximize else -epoch["val_accuracy"]


def result_of(tune: Tune, curves: Sequence[Curve]) -> dict[str, Any]:
    """Return what a study's storage keeps of a trial: values, best accuracies and learning curves, one per seed."""
    return {
        "values": [metric_value(tune, curve) for curve in curves],
        "accuracies": [max((epoch["val_accuracy"] for epoch in curve), default=None) for curve in curves],
        "epochs": sum(len(curve) for curve in curves),
        "seconds": sum(curve[-1]["seconds"] for curve in curves if curve),
        "images": sum(epoch["images"] for curve in curves for epoch in curve),
        "curves": [[progress_value(tune, epoch) for epoch in curve] for curve in curves],
    }
