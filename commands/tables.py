"""Results as text: the tables that the command line shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.common.metrics import METRICS
from lenumba.engine.common.targets import TARGETS, WORDS
from lenumba.engine.common.text import table
from lenumba.engine.runs.compare import Comparison
from lenumba.engine.runs.figures import Figure
from lenumba.engine.runs.seeds import SeedsResult, TargetSeeds


def runs_table(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return past runs (name and ``run.json``) as a table."""
    rows = []
    for name, run in runs:
        accuracy, speed = number(run, "test_accuracy", ".2f", 100), number(run, "images_per_second", ",.0f")
        started = str(run.get("started", ""))[:16].replace("T", " ")
        cells = [
            run.get("status", "?"),
            run.get("epochs", ""),
            run.get("seed", ""),
            (accuracy and f"{accuracy} %") or target_figure(run),
            speed,
        ]
        overrides = run.get("overrides", [])
        changes = " ".join(map(str, overrides)) if isinstance(overrides, list) else "?"
        rows.append([name, *cells, started, changes])
    return table(
        ["run", "status", "epochs", "seed", "test accuracy", "images/s", "started (UTC)", "overrides"],
        rows,
        2,
    )


def target_figure(run: Mapping[str, Any]) -> str:
    """Write the figure of a run whose answers are not right or wrong that tells most; nothing where there is none."""
    target = TARGETS.get(run.get("target", {}).get("name", "")) if isinstance(run.get("target"), dict) else None
    names = ("auc", *target.metrics) if target else ()
    found = next((name for name in names if run.get(f"test_{name}") is not None), None)
    return f"{WORDS[found]} {number(run, f'test_{found}', '.4f')}" if found else ""


def number(record: Mapping[str, Any], key: str, form: str, scale: float = 1) -> str:
    """Write a number of a record; nothing where there is none, "?" where someone has made something else of it."""
    if (value := record.get(key)) is None:
        return ""
    return format(scale * value, form) if isinstance(value, int | float) else "?"


def cell(figure: Figure, scale: float = 100.0, digits: int = 2) -> str:
    """Write a figure, scaled, as mean ± standard error."""
    error = "" if figure.error is None else f" ± {scale * figure.error:.{digits}f}"
    return f"{scale * figure.mean:.{digits}f}{error}"


def seeds_table(result: SeedsResult | TargetSeeds) -> str:
    """Return each seed's test accuracy and test error, or figures, and seconds of training, and their means."""
    about = "\n\nmean ± standard error; seconds: of training alone" if len(result.runs) > 1 else ""
    if isinstance(result, TargetSeeds):
        lines = [[run.seed, *(f"{v:.4f}" for v in run.figures.values()), f"{run.seconds:.1f}"] for run in result.runs]
        lines.append(["mean", *(cell(v, 1, 4) for v in result.figures.values()), cell(result.seconds, 1, 1)])
        return table(["seed", *(f"test {WORDS.get(name, name)}" for name in result.figures), "seconds"], lines) + about
    rows = [
        [run.seed, f"{100 * run.test_accuracy:.2f}", f"{100 - 100 * run.test_accuracy:.2f}", f"{run.seconds:.1f}"]
        for run in result.runs
    ]
    accuracy = result.test_accuracy
    error = Figure(1 - accuracy.mean, accuracy.error)
    rows.append(["mean", cell(accuracy, digits=3), cell(error, digits=3), cell(result.seconds, 1, 1)])
    return table(["seed", "test accuracy %", "test error %", "seconds"], rows) + about


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return configurations side by side: size, seconds, accuracies in percent and their gap in points."""
    rows, judged_by = [], comparisons[0].judged_by
    for item in comparisons:
        accuracies = [item.train_accuracy, item.test_accuracy, item.gap, *item.shifted_accuracy.values()]
        sizes = [f"{item.parameters:,}", f"{item.multiply_adds:,}", cell(item.seconds, 1)]
        chance = [] if len(item.runs) < 2 else ["" if item.p_value is None else f"{item.p_value:.2g}"]
        score = [] if judged_by == "accuracy" else [cell(item.score, 1, 4)]
        rows.append([item.name, *sizes, *map(cell, accuracies), *score, *chance])
    shifts = list(comparisons[0].shifted_accuracy)
    header = ["configuration", "parameters", "multiply-adds", "seconds", "train", "test", "gap"]
    header += [f"shifted {distance} px" for distance in shifts]
    header += [] if judged_by == "accuracy" else [f"test {METRICS[judged_by]}"]
    note, count = "", len(comparisons[0].runs)
    if count > 1:
        header.append("p")
        note = (
            f"\np: of a paired t-test that the test {METRICS[judged_by]} is the first one's, corrected by Holm's method"
        )
    means = f"mean ± standard error over {count} seeds" if count > 1 else "one seed"
    pixels = " or ".join(map(str, shifts))
    return (
        f"{table(header, rows)}\n\n"
        f"{means}; accuracies in %, their gap (train − test) in points\n"
        f"shifted: test images moved by {pixels} pixels, mean of right, left, down and up; 0 comes in\n"
        f"multiply-adds: of one image's forward pass; seconds: of training alone{note}"
    )
