"""What pages show of networks whose target is no class: figures, a table of each output, charts."""

from collections.abc import Mapping
from typing import Any

from lenumba.engine.common.targets import TARGETS, WORDS, written
from lenumba.engine.models.assessment import Assessment
from lenumba.engine.models.target_evaluation import TargetEvaluation
from lenumba.engine.report.charts import charts_of
from lenumba.engine.report.findings import Findings
from lenumba.engine.report.page import escape, fill, html_table

TITLES = {"labels": "Labels", "numbers": "Numbers", "input": "Anomaly scores"}
HINTS = {
    "labels": "A label is given from a probability of ½ on. AP: average precision, the area under the precision–recall "
    "curve. AUC: area under the ROC curve.",
    "numbers": "In the numbers' own units. R² is 1 for perfect answers, 0 where the mean of all is as good. MAE: mean "
    "absolute error. RMSE: root of the mean squared error.",
    "input": "A sample's score is the mean squared difference of what the network gives back from what it sees, "
    "normalised.",
}
WORST = {
    "labels": "The test images whose probabilities are farthest from their labels, with the labels that are farthest.",
    "numbers": "The test images with the largest errors, each counted in its number's deviation, with the numbers that "
    "are farthest.",
    "input": "The test images with the largest errors: above what the network sees, below what it gives back.",
}


def target_figures(found: Findings, summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the test figures; without test images those of the training's end."""
    if not found.absent:
        return {f"test {name}": value for name, value in found.test.told.items()} | {
            "samples": f"{found.test.samples:,}"
        }
    names = dict.fromkeys([*TARGETS[found.model.network.target].compared, *WORDS])
    known = {name: value for name in names if isinstance(value := summary.get(f"test_{name}"), float)}
    return {f"test {WORDS[name]}": f"{written(name, value)} when it was trained" for name, value in known.items()}


def target_results(found: Assessment, absent: str = "") -> str:
    """Return the sections on the answers, as HTML; `absent` says why there are none."""
    target = found.model.network.target
    header, rows = ([], []) if absent else found.test.rows
    hint = escape(absent or HINTS[target])
    return fill(
        "targets.html",
        title=TITLES[target],
        hint=f'<p class="hint">{hint}</p>',
        table=html_table(header, rows) if rows else "",
        worst=escape(WORST[target]),
    )


def target_values(found: Findings) -> dict[str, Any]:
    """Return what scripts need of the answers."""
    judge, truth = found.model.trained.judge, found.test.truth
    units = judge.units
    spans = [[float(m - 2 * d), float(m + 2 * d)] for m, d in zip(units.mean, units.deviation, strict=True)]
    if len(truth) and judge.target == "numbers":
        spans = [[float(column.min()), float(column.max())] for column in truth.T]
    return {
        "groups": group_values(found.test),
        "units": units.as_dict() if judge.target == "numbers" else None,
        "spans": spans if judge.target == "numbers" else None,
        "calibration": None,
    }


def group_values(test: TargetEvaluation) -> list[dict[str, Any]]:
    """Return the charts of answers as plain values."""
    return [
        {"what": group.what, "note": group.note, "charts": [chart.as_dict() for chart in group.charts]}
        for group in charts_of(test).values()
    ]
