"""A trained network as a folder of C files, with a test of its own."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError, LenumbaError
from lenumba.engine.common.files import write_text
from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.deploy import floats, int8
from lenumba.engine.deploy.calibration import assess_int8, calibrate
from lenumba.engine.deploy.graph import Graph, written
from lenumba.engine.deploy.kinds import TEXTS, fill
from lenumba.engine.deploy.lowering import lower_run
from lenumba.engine.deploy.source import Source
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.export import TOLERANCE, check_images
from lenumba.engine.models.model import Model

TESTED = 20  # images of the test beside the C file
NEAR = 1e-5  # how near probabilities come in float32
LARGE = 128 << 10  # bytes of flash from which the emulated board is given more than a micro:bit has


@dataclass(frozen=True)
class Deployed:
    """A folder of C files.

    Attributes
    ----------
    flash, ram
        Bytes of weights and tables, and of the tensors.
    notes
        What to tell of how it was made.
    warning
        What must not be overlooked; empty where there is nothing of the kind.
    """

    folder: Path
    name: str
    flash: int
    ram: int
    notes: tuple[str, ...]
    warning: str = ""


def export_c(
    folder: Path,
    out: Path | None = None,
    checkpoint: str = "best",
    *,
    whole: bool = False,
    force: bool = False,
    overrides: Sequence[str] = (),
) -> Deployed:
    """Write a run's network as C: NAME.c, NAME.h, a test with images, a Makefile, and what emulated boards need.

    Parameters
    ----------
    out
        The folder, new or empty; its name is the functions'. None: the run's name, in the working directory.
    whole
        Whether to compute in int8.
    force
        Whether files in the folder may be replaced.

    Raises
    ------
    ConfigError
        Where the folder holds files already, or a layer has no C.
    DataError
        Where the run is damaged, the images to calibrate with are missing, or NumPy computes other numbers.
    """
    out = Path(folder.resolve().name) if out is None else out
    name = identifier(out)
    check_new_folder(out, force)
    model = Model(folder, checkpoint, overrides=overrides)
    graph, notes, images = lower_run(model.trained), [], check_images(model)
    notes.append(check_graph(model, graph, *images))
    source, shown, assessed = Source(graph, name, model.class_names), images[0][:TESTED], None
    expected, test = graph.in_units(model.predict_proba(shown)), evaluate(model)
    if whole:
        quantized, told = calibrate(model, graph)
        notes += told
        assessed = assess_int8(model, quantized, told) if isinstance(test, Evaluation) else None
        source = Source(quantized.network, name, model.class_names)
        expected = int8.probabilities(quantized.network, shown)
    files = {
        f"{name}.c": source.body(comment(source, test, assessed.whole if assessed else None, notes)),
        f"{name}.h": source.header(),
        f"{name}_test.c": source.test(
            shown, expected, 0.0 if whole else NEAR * max(1.0, float(np.abs(expected).max()))
        ),
        **board(source, len(shown)),
    }
    out.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        write_text(out / file, text)
    return Deployed(out, name, source.flash, source.ram, tuple(notes), assessed.warning if assessed else "")


def identifier(out: Path) -> str:
    """Return a C name for a folder."""
    name = re.sub(r"\W", "_", out.resolve().name, flags=re.ASCII).lower().strip("_")
    return f"net_{name}" if not name or name[0].isdigit() or name == "board" else name  # board.c is another file


def check_new_folder(out: Path, force: bool) -> None:
    """Raise ConfigError or DataError where a folder cannot be made or holds files."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: expected a folder, found a file; choose another")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ConfigError(f"--out {out}: the folder is not empty; choose another, or write into it with --force")
    place = out.resolve() if out.is_dir() else out.resolve().parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise DataError(f"{out}: cannot write there; make the folder {out.parent} or choose another with --out")


def check_graph(model: Model, graph: Graph, images: np.ndarray, source: str) -> str:
    """Return how near the operations come to the compiled network; raise DataError where they do not."""
    expected, found = graph.in_units(model.predict_proba(images)), floats.probabilities(graph, images)
    difference = float(np.abs(expected - found).max())
    differing = int((predicted_classes(expected) != predicted_classes(found)).sum())
    classes = f"; {differing} classes differ" if model.network.target == "class" else ""
    text = f"checked in NumPy on {len(images)} {source}: largest difference of outputs {difference:.1e}{classes}"
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise DataError(f"{model.folder}: not written, as it would differ by more than {TOLERANCE:g}: {text}")
    return text


def evaluate(model: Model) -> Any:
    """Return how the network does on its test images: an evaluation, or why that is not known."""
    try:
        return model.evaluate()
    except LenumbaError as error:
        return str(error).splitlines()[0]


def comment(source: Source, test: Any, whole: Evaluation | None, notes: Sequence[str]) -> str:
    """Return what stands on top of the C file."""
    graph, kind = source.graph, "int8" if source.whole else "float32"
    lines = [
        f"{source.name}: a trained network in {kind}. Written by lenumba {version('lenumba')}.",
        "",
        f"{source.input.capitalize()} {written(graph.shape)} -> {graph.outputs} outputs",
        *(f"  {operation}" for operation in graph.operations),
        "",
        f"Flash: {source.flash:,} bytes of weights and tables, and the code ('make size').",
        f"RAM: {source.ram:,} bytes, the array arena; the {source.input} is the caller's.",
        f"Multiply-adds: {graph.multiply_adds:,}",
    ]
    if isinstance(test, str):
        lines.append(f"Accuracy: not known ({test})")
    elif isinstance(test, Evaluation):
        accuracy = f"{100 * test.accuracy:.2f} % in float32"
        accuracy = f"{100 * whole.accuracy:.2f} % in int8, {accuracy}" if whole else accuracy
        lines.append(f"Accuracy: {accuracy}, on {test.images:,} test images")
    else:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in test.measured.figures.items() if value is not None)
        lines.append(f"In float32, on {test.samples:,} test samples: {figures}")
    lines += [*(note[0].upper() + note[1:] for note in notes), ""]
    lines.append("C99, for processors whose int has 32 bits. Nothing is allocated. The test compares with Python.")
    return "\n".join(lines)


def board(source: Source, images: int) -> dict[str, str]:
    """Return the Makefile, and what emulated boards need."""
    size = int(np.prod(source.graph.shape)) * (4 if source.graph.signals else 1)
    small = source.flash + images * size < LARGE and source.ram < 8 << 10
    values: dict[str, object] = {"name": source.name, "flash": 256 if small else 4096, "ram": 16 if small else 4096}
    values["boards"] = "m4 m0" if small else "m4"
    return {name: fill((TEXTS / name).read_text("utf-8"), **values) for name in ("Makefile", "board.c", "board.ld")}
