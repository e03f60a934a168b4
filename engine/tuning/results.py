"""What a training's epochs are worth to a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lenumba.engine.common.html import heading_html, table_html
from lenumba.engine.common.text import short_names
from lenumba.engine.config.tune import Tune

Curve = Sequence[Mapping[str, Any]]  # one item an epoch


def metric_value(tune: Tune, curve: Curve) -> float | None:
    """Return the metric of one training; None where the target accuracy was not reached."""
    if tune.metric != "seconds_to_accuracy":
        known = [epoch[tune.metric] for epoch in curve if epoch[tune.metric] is not None]
        return (min if tune.least else max)(known, default=None)
    assert tune.target is not None
    return next((epoch["seconds"] for epoch in curve if epoch["val_accuracy"] >= tune.target), None)


def progress_value(tune: Tune, epoch: Mapping[str, Any]) -> float:
    """Return what the pruner compares after an epoch, in the study's direction."""
    if tune.metric != "seconds_to_accuracy":
        return epoch[tune.metric]
    return epoch["val_accuracy"] if tune.maximize else -epoch["val_accuracy"]


def result_of(tune: Tune, curves: Sequence[Curve]) -> dict[str, Any]:
    """Return what a study's storage keeps of a trial: values, best accuracies and learning curves, one per seed."""
    return {
        "values": [metric_value(tune, curve) for curve in curves],
        "accuracies": [max((epoch.get("val_accuracy", 0.0) for epoch in curve), default=None) for curve in curves],
        "epochs": sum(len(curve) for curve in curves),
        "seconds": sum(curve[-1]["seconds"] for curve in curves if curve),
        "images": sum(epoch["images"] for curve in curves for epoch in curve),
        "curves": [[progress_value(tune, epoch) for epoch in curve] for curve in curves],
    }


@dataclass(frozen=True)
class Final:
    """What the finals brought.

    Attributes
    ----------
    seeds
        The fresh seeds.
    values
        By trial number, the metric for each seed.
    accuracies
        Likewise, the best epoch's validation accuracy.
    excluded
        Why finalists are out, by trial number.
    winner
        The trial with the best mean.
    p_values
        By trial number, of the paired t-test against the winner, corrected for their number by Holm's method.
    test
        Test accuracies (or what the study decides by) by seed, of the winner and of trial 0.
    test_p_value
        Of the two, None where trial 0 is the winner or out.
    tested_before
        Other trials that the test set was read for, as they led when the study was shorter.
    """

    seeds: list[int]
    values: dict[int, list[float]]
    accuracies: dict[int, list[float]]
    excluded: dict[int, str]
    winner: int
    p_values: dict[int, float]
    test: dict[int, list[float]]
    test_p_value: float | None
    tested_before: list[int]

    @property
    def tied(self) -> list[int]:
        """The finalists that the winner's lead over may be chance."""
        return [slot for slot, p in self.p_values.items() if p >= SIGNIFICANT]


@dataclass(frozen=True)
class Study:
    """What a study has found.

    Attributes
    ----------
    path
        Its folder: `best.yaml`, `trials.csv`, plots, `study.json`.
    summary
        The contents of ``study.json``: counts, the best trial, the finals with p values, test accuracies.
    trials
        One dict per trial: number, state, value, values per seed, what was tried, reason, seconds, …
    """

    path: Path
    summary: dict[str, Any]
    trials: list[dict[str, Any]] = field(repr=False)

    @property
    def best(self) -> dict[str, Any] | None:
        """The trial that ``best.yaml`` holds; None while none has finished."""
        return next((row for row in self.trials if row["trial"] == self.summary["best"]), None)

    @property
    def best_config(self) -> Path:
        """The path of ``best.yaml``."""
        return self.path / "best.yaml"

    def _repr_html_(self) -> str:
        keys = list(self.trials[0]["params"]) if self.trials else []
        best = self.summary.get("best")
        order = sorted(self.trials, key=lambda row: (row["trial"] != best, row["state"] != "finished", row["trial"]))
        rows = [
            [row["trial"], row["state"], "" if row["value"] is None else f"{row['value']:.4f}"]
            + [written(row["params"].get(key, "")) for key in keys]
            for row in order
        ]
        about = {"trials": len(rows), "the best": f"trial {best}", "metric": self.summary.get("metric", "")}
        header = ["trial", "state", "value", *short_names(keys)]
        return heading_html(str(self.path), about) + table_html(header, rows, left=2)


def written(value: Any) -> str:
    """Return a setting as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


SIGNIFICANT = 0.05
