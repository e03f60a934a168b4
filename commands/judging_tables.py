"""What is found of trained networks, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from lenumba.engine.common.metrics import balanced_accuracy, f1_scores, macro_f1
from lenumba.engine.common.statistics import mcnemar
from lenumba.engine.common.targets import WORDS
from lenumba.engine.common.text import table
from lenumba.engine.deploy.calibration import Int8Assessment
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.side_by_side import Difference, RunComparison, SeedsEvaluation
from lenumba.engine.runs.figures import cell

CELLS, LISTED = 3, 3  # of the confusion matrix, and images of each, that are named
DIFFERING = 10  # images that are named


def evaluation_table(evaluation: Evaluation) -> str:
    """Return accuracy, loss, each class's precision, recall and F1, and the confusion matrix."""
    names = evaluation.class_names
    classes = table(
        ["class", "images", "precision", "recall", "F1"],
        [
            [name, total, *(f"{share:.4f}" for share in shares)]
            for name, total, *shares in zip(
                names,
                evaluation.confusion.sum(axis=1),
                evaluation.precision,
                evaluation.recall,
                f1_scores(evaluation.confusion),
                strict=True,
            )
        ],
    )
    matrix = table(
        ["true \\ predicted", *names],
        [[name, *row] for name, row in zip(names, evaluation.confusion.tolist(), strict=True)],
    )
    return (
        f"accuracy {100 * evaluation.accuracy:.2f} %   loss {evaluation.loss:.4f}   {evaluation.images} images   "
        f"balanced accuracy {100 * balanced_accuracy(evaluation.confusion):.2f} %   "
        f"macro F1 {macro_f1(evaluation.confusion):.4f}\n\n"
        f"{classes}\n\n{matrix}" + (f"\n\n{confused}" if (confused := confused_line(evaluation)) else "")
    )


def int8_table(found: Int8Assessment) -> str:
    """Return accuracy and loss in float32 and in int8, and the share of each class that is recognised."""
    rows = [
        [name, total, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"]
        for name, total, before, after in zip(
            found.floats.class_names,
            found.floats.confusion.sum(axis=1),
            found.floats.recall,
            found.whole.recall,
            strict=True,
        )
    ]
    both = {"float32": found.floats, "int8": found.whole}
    answers = int((found.floats.predicted != found.whole.predicted).sum())
    lines = [f"{name:<8} accuracy {100 * each.accuracy:.2f} %   loss {each.loss:.4f}" for name, each in both.items()]
    classes = table(["class", "images", "recall float32", "recall int8", "difference"], rows)
    luck = f"float32 alone is right about {found.alone[0]}, int8 alone about {found.alone[1]}"
    luck += f" (McNemar's exact test: p = {mcnemar(*found.alone):.2g})"
    return "\n".join([*lines, f"{answers} of {found.floats.images} answers differ; {luck}", "", classes])


def confused_line(evaluation: Evaluation) -> str:
    """Return what is taken for what most often, with the worst images of each; empty without mistakes."""
    names, found = evaluation.class_names, []
    for pair in evaluation.cells[:CELLS]:
        images = ", ".join(str(evaluation.name(image)) for image in pair.images[:LISTED])
        more = ", …" if len(pair.images) > LISTED else ""
        found.append(f"{names[pair.label]} for {names[pair.guess]} {len(pair.images)}× ({images}{more})")
    kind = "test images" if evaluation.files is None else "files"
    return f"most often taken, {kind} in brackets: {'; '.join(found)}" if found else ""


def thresholds_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return each class's threshold, and precision and recall at it on the test images."""
    figures = ("threshold", "precision", "recall")
    kind = next(iter(rows[0]))
    cells = [[row[kind], *("–" if row[key] is None else f"{row[key]:.4f}" for key in figures)] for row in rows]
    return (
        f"{table([kind, *figures], cells)}\n"
        "threshold: with the best F1 on the validation images; precision and recall: at it, on the test images"
    )


def seeds_evaluation_table(found: SeedsEvaluation) -> str:
    """Return the figures of each seed, their means, and each class's means."""
    if "balanced_accuracy" not in found.figures:
        return seeds_target_table(found)
    keys = ("accuracy", "loss", "balanced_accuracy", "macro_f1")
    scales = {"accuracy": (100.0, 2), "loss": (1.0, 4), "balanced_accuracy": (100.0, 2), "macro_f1": (1.0, 4)}
    rows = [
        [seed, *(f"{scales[key][0] * values[key]:.{scales[key][1]}f}" for key in keys)]
        for seed, values in found.seeds.items()
    ]
    rows.append(["mean", *(cell(found.figures[key], *scales[key]) for key in keys)])
    classes = [[name, *(cell(figure, 1, 4) for figure in figures.values())] for name, figures in found.classes.items()]
    return (
        f"{table(['seed', 'accuracy %', 'loss', 'balanced accuracy %', 'macro F1'], rows)}\n\n"
        f"{table(['class', 'precision', 'recall', 'F1'], classes)}\n\n"
        f"{found.images} images; mean ± standard error over {len(found.seeds)} seeds"
    )


def seeds_target_table(found: SeedsEvaluation) -> str:
    """Return the same of networks whose target is no class."""
    keys = list(found.figures)
    rows = [[seed, *(f"{values[key]:.4f}" for key in keys)] for seed, values in found.seeds.items()]
    rows.append(["mean", *(cell(found.figures[key], 1, 4) for key in keys)])
    parts = [table(["seed", *(WORDS[key] for key in keys)], rows)]
    if found.classes:
        each = list(next(iter(found.classes.values())))
        named = [[name, *(cell(figures[key], 1, 4) for key in each)] for name, figures in found.classes.items()]
        parts.append(table(["", *(WORDS[key] for key in each)], named))
    parts.append(f"{found.images} samples; mean ± standard error over {len(found.seeds)} seeds")
    return "\n\n".join(parts)


def run_comparison_table(found: RunComparison) -> str:
    """Return both runs' figures, their difference, whether it may be chance, and on which images they differ."""
    names = found.names

    def row(name: str, key: str) -> list[str]:
        return [name, f"{100 * getattr(found.accuracy, key):.2f}", f"{getattr(found.macro_f1, key):.4f}"]

    def span(item: Difference, scale: float, digits: int) -> str:
        low, high = item.interval
        values = [f"{scale * value:+.{digits}f}" for value in (item.difference, low, high)]
        return f"{values[0]} ({values[1]} to {values[2]})"

    rows = [row(names[0], "first"), row(names[1], "second")]
    rows.append(["difference (95 % interval)", span(found.accuracy, 100, 2), span(found.macro_f1, 1, 4)])
    lines = [table(["run", "accuracy %", "macro F1"], rows), ""]
    if found.seeds:
        pairs = [
            [seed, f"{100 * a:.2f}", f"{100 * b:.2f}", f"{100 * (b - a):+.2f}"] for seed, (a, b) in found.seeds.items()
        ]
        lines += [table(["seed", "first", "second", "difference"], pairs), ""]
        lines.append(
            f"{found.images} images; means over {len(found.seeds)} seeds; intervals and p = {found.p_value:.2g}: of "
            "Student's paired t-test, seed by seed"
        )
        return "\n".join(lines)
    for which, images in (("first", found.only_first), ("second", found.only_second)):
        listed = [f"{item['image']} ({item['label']}, not {item['predicted']})" for item in images[:DIFFERING]]
        more = ", …" if len(images) > DIFFERING else ""
        lines.append(f"right only in the {which}: {len(images)}{': ' * bool(images)}{', '.join(listed)}{more}")
    lines.append(
        f"{found.images} images; p = {found.p_value:.2g}: McNemar's exact test; intervals: paired bootstrap over images"
    )
    return "\n".join(lines)
