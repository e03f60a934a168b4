"""A comparison as a table: text for a terminal, HTML for a notebook."""

from collections.abc import Sequence
from typing import Any

from lenumba.engine.common.html import heading_html, table_html, text_html
from lenumba.engine.common.targets import WORDS
from lenumba.engine.common.text import table
from lenumba.engine.runs.figures import cell
from lenumba.engine.runs.measuring import Comparison, TargetComparison

SIZES = "multiply-adds: of one image's forward pass; seconds: of training alone"


class Comparisons(list[Any]):
    """What :func:`lenumba.compare` returns: a list, which a notebook shows as a table."""

    def __str__(self) -> str:
        return comparison_table(self)

    def _repr_html_(self) -> str:
        header, rows, notes = comparison_rows(self)
        return heading_html("comparison", {}) + table_html(header, rows) + text_html("\n".join(notes))


def comparison_table(comparisons: Sequence[Any]) -> str:
    """Return configurations side by side: size, seconds, accuracies or figures, and whether they differ by chance."""
    header, rows, notes = comparison_rows(comparisons)
    return "\n".join([table(header, rows), "", *notes])


def comparison_rows(comparisons: Sequence[Any]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the table's header and rows, and what its columns mean, a line each."""
    return (class_rows if isinstance(comparisons[0], Comparison) else target_rows)(comparisons)


def target_rows(comparisons: Sequence[TargetComparison]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the same where the target is no class: the figures of the test set, first the one that is compared."""
    judged_by, count = comparisons[0].judged_by, len(comparisons[0].runs)
    shared = [name for name in comparisons[0].figures if all(name in item.figures for item in comparisons)]
    names = [judged_by, *(name for name in shared if name != judged_by)]
    seen = [judged_by] if all(judged_by in item.seen for item in comparisons) else []
    header = ["configuration", "parameters", "multiply-adds", "seconds", *(f"train {WORDS[name]}" for name in seen)]
    header += [f"test {WORDS[name]}" for name in names] + ["p"] * (count > 1)
    rows = []
    for item in comparisons:
        sizes = [f"{item.parameters:,}", f"{item.multiply_adds:,}", cell(item.seconds, 1)]
        told = [cell(item.seen[name], 1, 4) for name in seen] + [cell(item.figures[name], 1, 4) for name in names]
        chance = ["" if item.p_value is None else f"{item.p_value:.2g}"] * (count > 1)
        rows.append([item.name, *sizes, *told, *chance])
    notes = [f"mean ± standard error over {count} seeds" if count > 1 else "one seed", SIZES]
    return header, rows, notes + [chance_note(judged_by)] * (count > 1)


def chance_note(judged_by: str) -> str:
    """Say what p means."""
    return f"p: of a paired t-test that the test {WORDS[judged_by]} is the first one's, corrected by Holm's method"


def class_rows(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the same of classes: accuracies in percent, their gap in points, and what shifted images make of them."""
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
    header += [] if judged_by == "accuracy" else [f"test {WORDS[judged_by]}"]
    count = len(comparisons[0].runs)
    pixels = " or ".join(map(str, shifts))
    notes = [
        f"{f'mean ± standard error over {count} seeds' if count > 1 else 'one seed'}; accuracies in %, their gap "
        "(train − test) in points",
        f"shifted: test images moved by {pixels} pixels, mean of right, left, down and up; 0 comes in",
        SIZES,
    ]
    if count > 1:
        header.append("p")
        notes.append(chance_note(judged_by))
    return header, rows, notes
