"""The command that shows every number of one forward and backward pass."""

import json
import shutil
from collections.abc import Sequence
from typing import Any

import click

from lenumba.commands.base import RUN_HELP, tell_notes

SLOW = 500_000  # multiply-adds of a forward pass from which it takes more than some seconds


@click.command(epilog=RUN_HELP)
@click.argument("config", required=False)
@click.argument("image", required=False)
@click.argument("overrides", nargs=-1)
@click.option(
    "--image",
    "matrix",
    metavar="MATRIX",
    help="A matrix as the input, values as they are: [[1, 2], [3, 4]], or a CSV file.",
)
@click.option("--layers", metavar="YAML", help="Layers without a network, on --image: '[{type: conv, kernel: …}]'.")
@click.option("--delta", metavar="MATRIX", help="With --layers: ∂L/∂y of the last layer's output, to go back from.")
@click.option("--layer", metavar="NAME", help="Print this layer alone, and all of its values.")
@click.option("--cell", metavar="CELL", help="Print how a value came about: conv1/0,2,3 is LAYER/CHANNEL,ROW,COLUMN.")
@click.option("--label", metavar="CLASS", help="The image's class; a picture's is else what the network takes it for.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all values of every layer.")
def explain(
    config: str | None,
    image: str | None,
    overrides: tuple[str, ...],
    matrix: str | None,
    layers: str | None,
    delta: str | None,
    layer: str | None,
    cell: str | None,
    label: str | None,
    checkpoint: str,
    as_json: bool,
) -> None:
    """Show one image's way through a network and back: equations, shapes and numbers, layer by layer.

    CONFIG is a recipe's name or a YAML file's path, for a network before its training, or a RUN. IMAGE is a picture's
    path, a matrix, or an index into the test set; the first test image if it is left out. Of signals it is an index, or
    a file (CSV, npy, npz), its first row or another one: data.csv:12. OVERRIDES such as data.root=PATH tell
    where the data are, or change the network.

    CONFIG may also be a worked example, such as those that 'lenumba configs' lists: layers with given weights on a
    given matrix. --layers and --image make one of the command line alone.

    Small tensors are printed whole, as in 'lenumba explain tiny15'; of large ones extremes, mean and first values.
    """
    from lenumba.engine.common.files import is_file
    from lenumba.engine.explain.worked import find_worked

    if image is not None and "=" in image and not is_file(image):
        overrides, image = (image, *overrides), None
    if matrix is not None and image is not None:
        raise click.UsageError(f"unexpected argument {image!r} beside --image; give one of them")
    worked = find_worked(config, layers, matrix or image, delta, overrides)
    if worked is not None:
        show_worked(worked, layer, cell, as_json=as_json)
        return
    if config is None:
        raise click.UsageError("expected CONFIG, or --layers and --image")
    if delta is not None:
        raise click.UsageError("--delta belongs to --layers, or to a worked example: a network's loss tells its own")
    show_network(config, matrix or image, overrides, layer, cell, label, checkpoint, as_json=as_json)


def show_worked(worked: Any, layer: str | None, cell: str | None, *, as_json: bool) -> None:
    """Print a worked example, or one cell of it."""
    from lenumba.engine.explain.cell_text import worked_text

    check_layer(layer, [item.unit.name for item in worked.layers])
    tell_notes(worked.notes)
    if cell is not None:
        show_cell(cell, layer, worked.layers, worked.image, worked.image_delta, as_json=as_json)
    elif as_json:
        click.echo(json.dumps(worked.as_dict(layer), ensure_ascii=False))
    else:
        click.echo(worked_text(worked, columns(), layer))


def show_network(
    config: str,
    image: str | None,
    overrides: Sequence[str],
    layer: str | None,
    cell: str | None,
    label: str | None,
    checkpoint: str,
    *,
    as_json: bool,
) -> None:
    """Print an image's way through a network, or one cell of it."""
    from lenumba.engine.explain.explain import explain
    from lenumba.engine.explain.explain_text import explanation_text
    from lenumba.engine.explain.subject import find_sample, find_subject

    subject = find_subject(config, list(overrides), checkpoint, progress=not as_json)
    check_layer(layer, [unit.name for unit in subject.network.units])
    sample = find_sample(subject, image, label, progress=not as_json)
    if subject.network.multiply_adds > SLOW:
        click.echo(f"{subject.network.multiply_adds:,} multiply-adds in plain loops: some seconds …", err=True)
    explanation = explain(subject, sample)
    if cell is not None:
        first = explanation.layers[0].x
        show_cell(cell, layer, explanation.layers, first, explanation.image_delta, as_json=as_json)
    elif as_json:
        click.echo(json.dumps(explanation.as_dict(layer), ensure_ascii=False))
    else:
        click.echo(explanation_text(explanation, columns(), layer))


def show_cell(
    text: str, layer: str | None, layers: Sequence[Any], image: Any, image_delta: Any, *, as_json: bool
) -> None:
    """Print how one value came about."""
    from lenumba.engine.explain.cell_text import cell_text
    from lenumba.engine.explain.cells import find_cell

    cell = find_cell(text, layer, layers, image, image_delta)
    click.echo(json.dumps(cell.as_dict(), ensure_ascii=False) if as_json else cell_text(cell, columns()))


def check_layer(layer: str | None, names: Sequence[str]) -> None:
    """Refuse a layer that is not there."""
    from lenumba.engine.common.errors import ConfigError

    if layer not in (None, *names):
        raise ConfigError(f"--layer {layer}: expected one of {', '.join(names)}")


def columns() -> int:
    """Return the terminal's width."""
    return shutil.get_terminal_size((80, 24)).columns
