"""What outputs that are no classes look like beside the truth, as charts that plots and pages draw alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenumba.engine.common.curves import Curve, spaced
from lenumba.engine.models.target_evaluation import TargetEvaluation

MOST_OUTPUTS, MOST_POINTS, MOST_STEPS = 12, 2000, 200  # outputs drawn, samples as dots, points of a line
Points = list[list[float]]


@dataclass(frozen=True)
class Chart:
    """A chart: `x` and `y` label its axes.

    Attributes
    ----------
    form
        How the series are drawn: "lines", "points", or "bars", of a histogram, whose points are [edge, count] with the
        last edge's count 0.
    series
        Points [[x, y], …] by what they are.
    ideal
        Both ends of a line to compare with.
    unit
        Whether both axes go from 0 to 1.
    """

    title: str
    x: str
    y: str
    form: str
    series: dict[str, Points]
    ideal: tuple[tuple[float, float], tuple[float, float]] | None = None
    unit: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for a page's scripts."""
        series = [{"name": name, "points": points} for name, points in self.series.items()]
        ideal = self.ideal and [list(end) for end in self.ideal]
        about = {"title": self.title, "x": self.x, "y": self.y, "form": self.form}
        return {**about, "series": series, "ideal": ideal, "unit": self.unit}


@dataclass(frozen=True)
class Group:
    """Charts that are shown together: what they show, what is left out of them, and how many make a row."""

    what: str
    charts: list[Chart]
    note: str = ""
    across: int = 3


def number_charts(found: TargetEvaluation) -> dict[str, Group]:
    """Return predicted over true values of each number, and residuals over predicted ones and as histograms."""
    chosen, note = hardest(found.names, found.measured.each["r2"], "numbers", "R²")
    shown, samples = some(found.samples)
    predicted, residuals = [], []
    for k in chosen:
        name, y, truth = found.names[k], found.outputs[:, k], found.truth[:, k]
        low, high = float(min(y.min(), truth.min())), float(max(y.max(), truth.max()))
        dots = points(truth[shown], y[shown])
        predicted.append(
            Chart(f"{name}{samples}", f"true {name}", "predicted", "points", {"": dots}, ((low, low), (high, high)))
        )
        span = ((float(y.min()), 0.0), (float(y.max()), 0.0))
        dots = points(y[shown], (y - truth)[shown])
        residuals.append(Chart(f"{name}{samples}", f"predicted {name}", "predicted − true", "points", {"": dots}, span))
        bars = histogram([y - truth])[0]
        residuals.append(Chart(name, f"predicted − true {name}", "samples", "bars", {"": bars}))
    return {
        "predicted": Group("predicted over true values; on the dotted line they are equal", predicted, note),
        "residuals": Group("residuals, predicted − true, over predicted values and as histograms", residuals, note, 4),
    }


def label_charts(found: TargetEvaluation) -> dict[str, Group]:
    """Return precision and recall of each label over the threshold, and over one another."""
    chosen, note = hardest(found.names, found.measured.each["average_precision"], "labels", "average precision")
    thresholds, curves = [], []
    for k in chosen:
        curve = found.curves[k]
        if curve.average_precision is None:
            continue
        name = found.names[k]
        lines = {
            "precision": spaced(np.array([curve.thresholds, curve.precision]), MOST_STEPS),
            "recall": spaced(np.array([curve.thresholds, curve.recall]), MOST_STEPS),
        }
        thresholds.append(Chart(name, "threshold", "share", "lines", lines, unit=True))
        line = curve.points(MOST_STEPS)["precision_recall"]
        title = f"{name}, average precision {curve.average_precision:.4f}"
        curves.append(Chart(title, "recall", "precision", "lines", {"": line}, unit=True))
    return {
        "thresholds": Group("precision and recall of each label over the threshold", thresholds, note),
        "precision_recall": Group("precision over recall of each label", curves, note),
    }


def input_charts(found: TargetEvaluation) -> dict[str, Group]:
    """Return the anomaly scores as histograms, and where there are anomalies the ROC curve."""
    kinds, auc = {"all": found.outputs}, found.measured.figures.get("auc")
    if auc is not None:
        kinds = {"normal": found.outputs[~found.anomalous], "anomalous": found.outputs[found.anomalous]}
    bars = dict(zip(kinds, histogram([*kinds.values()]), strict=True))
    scores = Chart("Anomaly scores", "anomaly score", "samples", "bars", bars)
    groups = {"scores": Group("anomaly scores, each sample's mean squared error", [scores])}
    if auc is not None:
        line = Curve.of(found.outputs, found.anomalous).points(MOST_STEPS)["roc"]
        title = f"AUC {auc:.4f}"
        roc = Chart(title, "normal ones called so", "anomalies found", "lines", {"": line}, ((0, 0), (1, 1)), unit=True)
        groups["roc"] = Group("anomalies found over normal samples called so, by threshold (ROC)", [roc])
    return groups


CHARTS: dict[str, Callable[[TargetEvaluation], dict[str, Group]]] = {
    "labels": label_charts,
    "numbers": number_charts,
    "input": input_charts,
}


def charts_of(found: TargetEvaluation) -> dict[str, Group]:
    """Return the charts by their files' names; none without samples whose answers are finite."""
    finite = np.isfinite(found.outputs.reshape(found.samples, -1)).all(1) if found.samples else np.zeros(0, bool)
    if not finite.any():
        return {}
    shown = found if finite.all() else found.only(finite)
    groups = {name: group for name, group in CHARTS[found.target](shown).items() if group.charts}
    if shown is found:
        return groups
    left = f"{found.samples - shown.samples:,} samples are left out, whose answers are not finite"
    return {name: replace(group, note="; ".join(filter(None, [group.note, left]))) for name, group in groups.items()}


def hardest(names: Sequence[str], figures: Sequence[float | None], what: str, by: str) -> tuple[list[int], str]:
    """Return the outputs to draw, in their order, and a note where those with the best figures are left out."""
    if len(names) <= MOST_OUTPUTS:
        return list(range(len(names))), ""
    known = np.array([np.inf if value is None else value for value in figures])
    chosen = sorted(np.argsort(known, kind="stable")[:MOST_OUTPUTS].tolist())
    return chosen, f"the {MOST_OUTPUTS} of {len(names)} {what} with the lowest {by}"


def some(samples: int) -> tuple[np.ndarray, str]:
    """Return int64 [M], the samples that are drawn as dots, evenly spread, and a title's words where these are some."""
    if samples <= MOST_POINTS:
        return np.arange(samples), ""
    return np.linspace(0, samples - 1, MOST_POINTS).astype(np.int64), f", {MOST_POINTS:,} of {samples:,} samples"


def points(x: np.ndarray, y: np.ndarray) -> Points:
    """Return [[x, y], …] with six digits each."""
    return [[float(f"{a:.6g}"), float(f"{b:.6g}")] for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def histogram(kinds: Sequence[np.ndarray]) -> list[Points]:
    """Return a histogram [[edge, count], …] of each kind of values, in the same bins."""
    edges = np.histogram_bin_edges(np.concatenate(kinds), min(40, max(8, round(sum(map(len, kinds)) ** 0.5))))
    return [points(edges, np.append(np.histogram(values, edges)[0], 0)) for values in kinds]
