"""The command that shows every number of one forward and backward pass."""

import json
import shutil

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
    from lenumba.engine.explain.walk import walk_through

    given = [item for item in (config, image, *overrides) if item is not None]
    changes = [item for item in given if "=" in item and not is_file(item)]
    names = [item for item in given if item not in changes]
    allowed = 2 - (matrix is not None) - (layers is not None)
    if len(names) > allowed:
        raise click.UsageError(f"unexpected argument {names[allowed]!r}; overrides look like train.seed=1")
    name = None if layers is not None or not names else names.pop(0)
    walk = walk_through(
        name, matrix or (names[0] if names else None), changes, layers=layers, delta=delta, layer=layer, cell=cell,
        label=label, checkpoint=checkpoint, progress=not as_json, begins=tell_slow,
    )  # fmt: skip
    tell_notes(walk.notes)
    text = json.dumps(walk.as_dict(), ensure_ascii=False) if as_json else None
    click.echo(text or walk.text(shutil.get_terminal_size((80, 24)).columns))


def tell_slow(multiply_adds: int) -> None:
    """Say that it takes a while."""
    if multiply_adds > SLOW:
        click.echo(f"{multiply_adds:,} multiply-adds in plain loops: some seconds …", err=True)
