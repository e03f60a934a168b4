"""The command that shows every number of one forward and backward pass."""

import json
import shutil

import click

from lenumba.commands.base import RUN_HELP

SLOW = 500_000  # multiply-adds of a forward pass from which it takes more than some seconds


@click.command(epilog=RUN_HELP)
@click.argument("config")
@click.argument("image", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--layer", metavar="NAME", help="Print this layer alone, and all of its values.")
@click.option("--label", metavar="CLASS", help="The image's class; a picture's is else what the network takes it for.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all values of every layer.")
def explain(
    config: str,
    image: str | None,
    overrides: tuple[str, ...],
    layer: str | None,
    label: str | None,
    checkpoint: str,
    as_json: bool,
) -> None:
    """Show one image's way through a network and back: equations, shapes and numbers, layer by layer.

    CONFIG is a recipe's name or a YAML file's path, for a network before its training, or a RUN. IMAGE is a picture's
    path or an index into the test set; the first test image if it is left out. Of signals it is an index, or a file
    (CSV, npy, npz), its first row or another one: data.csv:12. OVERRIDES such as data.root=PATH tell
    where the data are, or change the network.

    Small tensors are printed whole, as in 'lenumba explain tiny15'; of large ones extremes, mean and first values.
    """
    from lenumba.engine.common.errors import ConfigError
    from lenumba.engine.common.files import is_file
    from lenumba.engine.explain.explain import explain
    from lenumba.engine.explain.explain_text import explanation_text
    from lenumba.engine.explain.subject import find_sample, find_subject

    if image is not None and "=" in image and not is_file(image):
        overrides, image = (image, *overrides), None
    subject = find_subject(config, list(overrides), checkpoint, progress=not as_json)
    names = [unit.name for unit in subject.network.units]
    if layer not in (None, *names):
        raise ConfigError(f"--layer {layer}: expected one of {', '.join(names)}")
    sample = find_sample(subject, image, label, progress=not as_json)
    if subject.network.multiply_adds > SLOW:
        click.echo(f"{subject.network.multiply_adds:,} multiply-adds in plain loops: some seconds …", err=True)
    explanation = explain(subject, sample)
    if as_json:
        click.echo(json.dumps(explanation.as_dict(layer), ensure_ascii=False))
    else:
        click.echo(explanation_text(explanation, shutil.get_terminal_size((80, 24)).columns, layer))
