"""An evaluation as one self-contained HTML page; its scripts lie in ``web``."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.files import write_text
from lenumba.engine.common.metrics import balanced_accuracy, f1_scores, macro_f1
from lenumba.engine.models.assessment import Assessment
from lenumba.engine.report.findings import reconstructions
from lenumba.engine.report.page import escape, fill, html_table, run_page, web_file
from lenumba.engine.report.target_view import group_values, target_results

SCRIPTS = ("network.js", "drawing.js", "charts.js", "evaluation.js")
MISTAKES, MOST_BYTES = 48, 6 << 20  # of pixels: 8 MB of page
NAMED = 100  # images of a cell of the confusion matrix


def write_evaluation(found: Assessment, path: Path) -> None:
    """Write the page."""
    write_text(path, evaluation_page(found))


def evaluation_page(found: Assessment) -> str:
    """Return the page's HTML."""
    model, test = found.model, found.test
    if model.network.target != "class":
        return target_page(found)
    body = fill(
        "evaluation.html",
        classes=class_table(found),
        called="indices among the test images" if test.files is None else "files",
        calibration=fill("calibration.html", calibration=calibration_text(found)),
        thresholds=fill("thresholds.html", thresholds=threshold_text(found)),
    )
    return run_page(
        f"{model.loaded.name} on {found.dataset.name}, evaluated",
        {
            "accuracy": f"{100 * test.accuracy:.2f} % ({len(test.mistakes)} of {test.images:,} wrong)",
            "loss": f"{test.loss:.4f}",
            "balanced accuracy": f"{100 * balanced_accuracy(test.confusion):.2f} %",
            "macro F1": f"{macro_f1(test.confusion):.4f}",
            "run": model.folder.absolute().name,
            "checkpoint": model.checkpoint,
        },
        "".join(f'<p class="hint">{escape(note)}</p>' for note in test.notes) + body,
        model.loaded.config,
        page_values(found),
        [web_file(name) for name in SCRIPTS],
    )


def target_page(found: Assessment) -> str:
    """Return the page's HTML where the target is no class."""
    model, test = found.model, found.test
    height, width, channels = model.image_shape
    worst = test.worst[: max(1, min(MISTAKES, MOST_BYTES // (height * width * channels)))]
    rebuilt = reconstructions(found, worst)
    body = target_results(found)
    if model.network.target == "labels":
        body += fill("thresholds.html", thresholds=threshold_text(found))
    values = {
        "type": model.network.pixels,
        "shape": [channels, height, width],
        "groups": group_values(test),
        "mistakes": {
            "pixels": packed(found.dataset.test_images[worst]),
            "rebuilt": None if rebuilt is None else packed(rebuilt),
            "names": [str(test.name(sample)) for sample in worst],
            "lines": [test.lines(sample) for sample in worst],
        },
    }
    return run_page(
        f"{model.loaded.name} on {found.dataset.name}, evaluated",
        {
            **test.told,
            "samples": f"{test.samples:,}",
            "run": model.folder.absolute().name,
            "checkpoint": model.checkpoint,
        },
        "".join(f'<p class="hint">{escape(note)}</p>' for note in test.notes) + body,
        model.loaded.config,
        values,
        [web_file(name) for name in (*SCRIPTS[:-1], "targets.js")],
    )


def page_values(found: Assessment) -> dict[str, Any]:
    """Return what the page's scripts need, as JSON-able values."""
    test, (height, width, channels) = found.test, found.model.image_shape
    values = found.as_dict()
    worst = test.mistakes[: max(1, min(MISTAKES, MOST_BYTES // (height * width * channels)))]
    precisions = [1.0 if value is None else value for value in values["average_precision"]]
    return {
        **{key: values[key] for key in ("class_names", "confusion", "roc_auc", "average_precision", "curves")},
        "calibration": values["calibration"],
        "hardest": int(np.argmin(precisions)),
        "type": found.model.network.pixels,
        "shape": [channels, height, width],
        "cells": named_cells(found),
        "mistakes": {"pixels": packed(found.dataset.test_images[worst]), "items": values["mistakes"][: len(worst)]},
    }


def named_cells(found: Assessment, most: int = NAMED) -> list[list[Any]]:
    """Return [row, column, names of images] of the confusion matrix: all mistakes, and right answers that are files."""
    test = found.test
    cells = [[cell.label, cell.guess, [test.name(k) for k in cell.images[:most]]] for cell in test.cells]
    if test.files is not None:
        right = test.predicted == test.labels
        for k in range(len(test.class_names)):
            images = np.flatnonzero(right & (test.labels == k))
            if len(images):
                cells.append([k, k, [test.name(image) for image in images[:most]]])
    return cells


def packed(images: np.ndarray) -> str:
    """Return images [N, H, W, C] as base64 values [N, C, H, W]: bytes, of signals little-endian float32."""
    images = images.transpose(0, 3, 1, 2)
    return base64.b64encode(images.astype(images.dtype.newbyteorder("<")).tobytes()).decode()


def class_table(found: Assessment) -> str:
    """Return each class's figures as an HTML table."""
    test = found.test
    counts, f1 = test.confusion.sum(axis=1), f1_scores(test.confusion)
    rows = [
        [
            name,
            f"{counts[k]:,}",
            *shares([test.precision[k], test.recall[k], f1[k], curve.average_precision, curve.auc]),
        ]
        for k, (name, curve) in enumerate(zip(test.class_names, found.curves, strict=True))
    ]
    return html_table(["class", "images", "precision", "recall", "F1", "AP", "AUC"], rows)


def shares(values: Sequence[float | None]) -> list[str]:
    """Write figures from 0 to 1."""
    return ["–" if value is None else f"{value:.4f}" for value in values]


def calibration_text(found: Assessment) -> str:
    """Return what the reliability diagram is about, as HTML."""
    if found.calibration is None:
        return "<p>The network's outputs are no probabilities that sum to 1: they cannot be calibrated.</p>"
    text = (
        "The test images in 15 bins by the probability of the network's answer. Where a point lies below the diagonal, "
        "the network is too sure. The areas of the dots are the numbers of images."
    )
    if found.validation is not None:
        text += (
            f" The temperature was fitted on the {found.validation.images:,} validation images, not on these: every "
            "logit is divided by it, which changes no answer."
        )
    else:
        text += f" There is no temperature: {found.missing}."
    return f'<p class="hint">{escape(text)}</p>'


def threshold_text(found: Assessment) -> str:
    """Return each class's threshold as HTML."""
    if found.validation is None:
        return f"<p>None: {escape(found.missing)}.</p>"
    rows = [
        [next(iter(row.values())), *shares([row[key] for key in ("threshold", "precision", "recall")])]
        for row in found.threshold_rows()
    ]
    text = (
        f"For each, the probability with the best F1 on the {found.validation.images:,} validation images; "
        "precision and recall at it, on the test images. 'lenumba evaluate RUN --thresholds' keeps them for "
        "'lenumba predict RUN IMAGE --thresholds'."
    )
    table = html_table([next(iter(found.threshold_rows()[0])), "threshold", "precision", "recall"], rows)
    return (
        f'<p class="hint">{escape(text)}</p><div class="scroll" tabindex="0" role="region" '
        f'aria-labelledby="thresholds-title">{table}</div>'
    )
