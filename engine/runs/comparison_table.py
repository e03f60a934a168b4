"""A comparison as a table: text for a terminal, HTML for a notebook."""

from collections.abc import Sequence

from lenumba.engine.common.html import heading_html, table_html, text_html
from lenumba.engine.common.metrics import METRICS
from lenumba.engine.common.text import table
from lenumba.engine.runs.compare import Comparison
from lenumba.engine.runs.figures import cell


class Comparisons(list[Comparison]):
    """What :func:`lenumba.compare` returns: a list, which a notebook shows as a table."""

    def __str__(self) -> str:
        return comparison_table(self)

    def _repr_html_(self) -> str:
        header, rows, notes = comparison_rows(self)
        return heading_html("comparison", {}) + table_html(header, rows) + text_html("\n".join(notes))


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return configurations side by side: size, seconds, accuracies in percent and their gap in points."""
    header, rows, notes = comparison_rows(comparisons)
    return "\n".join([table(header, rows), "", *notes])


def comparison_rows(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return the table's header and rows, and what its columns mean, a line each."""
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
    count = len(comparisons[0].runs)
    pixels = " or ".join(map(str, shifts))
    notes = [
        f"{f'mean ± standard error over {count} seeds' if count > 1 else 'one seed'}; accuracies in %, their gap "
        "(train − test) in points",
        f"shifted: test images moved by {pixels} pixels, mean of right, left, down and up; 0 comes in",
        "multiply-adds: of one image's forward pass; seconds: of training alone",
    ]
    if count > 1:
        header.append("p")
        notes.append(
            f"p: of a paired t-test that the test {METRICS[judged_by]} is the first one's, corrected by Holm's method"
        )
    return header, rows, notes
