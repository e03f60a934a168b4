"""A run as one self-contained HTML page, in which the trained network runs in JavaScript (see the folder ``web``)."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.files import write_text
from lenumba.engine.common.targets import panels
from lenumba.engine.models.model import Model
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.layers import LAYERS
from lenumba.engine.network.losses import LOSSES
from lenumba.engine.report.evaluation_page import calibration_text, named_cells, packed
from lenumba.engine.report.findings import Findings, as_slid, reconstructions, worst_of
from lenumba.engine.report.page import escape, fill, run_page, web_file
from lenumba.engine.report.target_view import target_figures, target_results, target_values
from lenumba.engine.runs.records import EpochLine, read_run_json

SCRIPTS = (
    *("drawing.js", "picture.js", "digit.js", "rows.js", "charts.js", "pad.js"),
    *("answers.js", "layers.js", "touch.js", "page.js"),
)
MOST_PARAMETERS = 5_000_000  # 27 MB of page
MISTAKES = 24
SAMPLES = 40
ROWS = 200  # of a histogram over time; of more epochs, only every second, third, … is shown
HISTOGRAM_NOTE = (
    "How the values of each tensor are distributed, and those of its gradient on the first training images: one row "
    "an epoch, the first on top, darker where more of them lie."
)
OF_IMAGES = {
    "input": '<figure><div class="frame"><canvas id="input" role="img" aria-label="what the network sees"></canvas>'
    "</div>\n"
    "<figcaption>what the network sees</figcaption></figure>",
    "own": '<h3>A picture of your own</h3>\n<p><label class="file">Choose a picture<input type="file" id="file" '
    'accept="image/*"></label>\n<span id="chosen" role="status" aria-live="polite"></span></p>\n<p class="hint">Or '
    "drop one on this page. It is prepared as 'lenumba predict' does it, and stays here.</p>",
    "tests": "Test images",
}
OF_SIGNALS = {
    "input": '<div id="input" class="charts"></div>',
    "own": '<h3>A signal of your own</h3>\n<p><label class="file">Choose a CSV file<input type="file" id="file" '
    'accept=".csv,.tsv,.txt,text/csv"></label>\n<label hidden>Line <input type="number" id="row" inputmode="numeric">'
    '</label>\n<span id="chosen" role="status" aria-live="polite"></span></p>\n<p class="hint">Or drop one on this '
    "page: a signal in each row, as 'lenumba predict' takes them. It stays here.</p>",
    "tests": "Test signals",
}
REBUILT = {
    "images": '<figure><div class="frame"><canvas id="rebuilt" role="img" aria-label="what the network gives back">'
    "</canvas></div>\n<figcaption>what it gives back</figcaption></figure>",
    "signals": '<div id="rebuilt" class="charts"></div>',
}
TASKS = {
    "class": "Say which class the image is",
    "labels": "Say which labels the image has",
    "numbers": "Say which numbers are right",
    "input": "The image is its own target: look at it",
}
NO_HISTOGRAMS = "Not recorded by this run: train with plots=true to see how they change over the epochs."


def write_report(found: Findings, path: Path) -> None:
    """Write the page.

    Raises
    ------
    ConfigError
        Where the network is too large for a page.
    """
    if (size := found.model.network.parameter_count) > MOST_PARAMETERS:
        raise ConfigError(
            f"{found.model.folder}: expected at most {MOST_PARAMETERS:,} parameters for a page, found {size:,}; "
            "plot it instead"
        )
    write_text(path, report_page(found))


def report_page(found: Findings) -> str:
    """Return the page's HTML."""
    signals, target = found.model.loaded.config.network.signals, found.model.network.target
    texts = OF_SIGNALS if signals else OF_IMAGES
    if target == "input":
        texts = {**texts, "input": f"{texts['input']}\n{REBUILT['signals' if signals else 'images']}"}
    return run_page(
        f"{found.model.loaded.name} on {found.dataset.name}",
        figures(found),
        fill(
            "report.html",
            **texts,
            task=TASKS[target],
            results=class_results(found) if target == "class" else target_results(found, found.absent),
            histogram_note=escape(HISTOGRAM_NOTE if found.histograms else NO_HISTOGRAMS),
        ),
        found.model.loaded.config,
        run_values(found),
        [network_script(), *map(web_file, SCRIPTS)],
    )


def class_results(found: Findings) -> str:
    """Return the sections on answers that are classes, as HTML."""
    calibration = f"<p>{escape(found.absent)}</p>" if found.absent else calibration_text(found)
    return fill("classes.html", calibration=fill("calibration.html", calibration=calibration))


def network_script() -> str:
    """Return the network's JavaScript: its own files, and what the tables say of layers, activations and losses."""
    parts = [
        web_file("network.js"),
        web_file("windows.js"),
        *dict.fromkeys(layer.javascript() for layer in LAYERS.values()),
    ]
    for name, function in ACTIVATIONS.items():
        if function.elementwise:
            parts.append(f"FUNCTIONS.{name} = [{', '.join(function.javascript)}];\n")
    parts += dict.fromkeys(f"LOSSES.{loss.kernel} = {loss.javascript};\n" for loss in LOSSES.values())
    return "".join(parts)


def figures(found: Findings) -> dict[str, str]:
    """Return the figures at the top of the page."""
    summary = read_run_json(found.model.folder)
    values = {
        **(class_figures if found.model.network.target == "class" else target_figures)(found, summary),
        "parameters": f"{found.model.network.parameter_count:,}",
        "epochs": str(len(found.history)),
    }
    if summary.get("images_per_second") is not None:
        values["training speed"] = f"{summary['images_per_second']:,.0f} images/s"
    if "wall_s" in summary:
        values["time"] = f"{summary['wall_s']:.1f} s"
    if "cpu" in summary:
        values["machine"] = f"{summary['cpu']}, {summary.get('threads', '?')} threads"
    return values


def class_figures(found: Findings, summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the test accuracy; without test images that of the training's end."""
    wrong, count = len(found.test.mistakes) if not found.absent else 0, len(found.dataset.test_labels)
    recorded = summary.get("test_accuracy") if found.absent else found.test.accuracy
    about = "when it was trained" if found.absent else f"({wrong} of {count:,} wrong)"
    return {"test accuracy": "not known" if recorded is None else f"{100 * recorded:.2f} % {about}"}


def run_values(found: Findings) -> dict[str, Any]:
    """Return what the page's scripts need, as JSON-able values."""
    model, config = found.model, found.model.loaded.config
    samples = found.samples(max(1, min(3, SAMPLES // found.dataset.classes)))[:SAMPLES]
    worst, target = worst_of(found, MISTAKES), model.network.target
    rebuilt, drawn = reconstructions(found, worst), panels(found.history)
    kept = dict.fromkeys([*EpochLine.__annotations__, *(key for panel in drawn for key in panel.keys().values())])
    return {
        "target": target,
        "network": describe_network(model),
        "weights": base64.b64encode(flat_weights(model)).decode(),
        "class_names": list(model.class_names if target != "input" else found.test.names),
        "folder": model.folder.absolute().name,
        "type": model.network.pixels,
        "pad": pad_kind(model),
        "prepare": preparation(model),
        "rate": config.optimizer.learning_rate,
        "history": [{key: line[key] for key in kept if key in line} for line in found.history],
        "panels": [panel._asdict() for panel in drawn],
        "absent": found.absent,
        **(class_values if target == "class" else target_values)(found),
        "samples": pack(found, samples),
        "mistakes": {
            **pack(found, worst),
            "lines": [found.test.lines(number) for number in worst],
            "rebuilt": None if rebuilt is None else packed(rebuilt),
        },
        "histograms": [
            {
                "name": histogram.name,
                "low": histogram.low,
                "high": histogram.high,
                "counts": np.round(histogram.counts[:: -(-len(histogram.counts) // ROWS)], 1).tolist(),
            }
            for histogram in found.histograms
        ],
    }


def class_values(found: Findings) -> dict[str, Any]:
    """Return what scripts need of answers that are classes."""
    return {
        "confusion": found.test.confusion.tolist(),
        "cells": named_cells(found),
        "calibration": None if found.absent else found.calibration,
    }


def pad_kind(model: Model) -> str | None:
    """Return how the pad prepares a drawing: ``digit`` as MNIST, ``plain`` for other grey images, None: no pad."""
    return preparation(model) if model.image_shape[2] == 1 and not model.loaded.config.network.signals else None


def preparation(model: Model) -> str | None:
    """Return how pictures are prepared: ``digit`` as MNIST, ``plain``; None: there are none of so many channels.

    Where the network is for signals, ``signal``.
    """
    if model.loaded.config.network.signals:
        return "signal"
    if model.image_shape[2] not in (1, 3) or model.loaded.config.floats:
        return None
    return "digit" if model.shows_digits else "plain"


def describe_network(model: Model) -> dict[str, Any]:
    """Return the network as ``network.js`` wants it; shapes are [maps, height, width]."""
    network, executor, weights = model.network, model.executor, model.class_weights
    layers = []
    for unit in network.units:
        layer: Any = unit.layer
        layers.append(
            {
                "name": unit.name,
                "kind": layer.kind,
                "equation": layer.equations(unit.shape).y,
                "shape": list(unit.shape),
                "output": list(unit.output),
                "inputs": list(unit.inputs),
                "tensors": {parameter.name: list(parameter.shape) for parameter in unit.parameters},
                "trainable": unit.learns,
                "margins": list(layer.margins(unit.shape)),
                **layer.described(),
            }
        )
    return {
        "input": list(network.input_shape),
        "scale": executor.scale[: network.input_shape[0]].astype(float).tolist(),
        "shift": executor.shift[: network.input_shape[0]].astype(float).tolist(),
        "loss": network.loss.kernel,
        "spread": 1 / network.loss.spread(network.outputs) if network.loss.spread else 0,
        "smoothing": model.loaded.config.loss.label_smoothing,
        "counts": weights and [weights.get(name, 1.0) for name in model.class_names],
        "layers": layers,
    }


def flat_weights(model: Model) -> bytes:
    """Return all parameters, little-endian float32, in the order of the layers' tensors; kernels as they slide."""
    views: Mapping[str, np.ndarray] = model.network.views(model.executor.theta)
    tensors = [
        as_slid(unit.layer, views[f"{unit.name}.{parameter.name}"])
        for unit in model.network.units
        for parameter in unit.parameters
    ]
    return b"".join(np.ascontiguousarray(tensor, "<f4").tobytes() for tensor in tensors)


def pack(found: Findings, chosen: np.ndarray) -> dict[str, Any]:
    """Return test images as base64 values [N, C, H, W], with what they are and their names."""
    return {
        "pixels": packed(found.dataset.test_images[chosen]),
        "labels": found.dataset.test_truth[chosen].tolist(),
        "names": [str(found.test.name(image)) for image in chosen],
    }
