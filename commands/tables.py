"""Results as text: the tables that the command line shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.common.targets import TARGETS, WORDS
from lenumba.engine.common.text import table
from lenumba.engine.runs.figures import Figure, cell
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
