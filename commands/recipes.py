"""Commands for recipes and data: summary, configs, check, schema, data."""

import json
from pathlib import Path

import click

from lenumba.commands.base import PATH, split_arguments, tell_notes

BEST = "best.safetensors"  # of a run folder


@click.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--svg", type=PATH, help="Draw the architecture into this file, maps as stacks, instead.")
@click.option("--theme", type=click.Choice(["auto", "light", "dark"]), default="auto", help="Of --svg  [default: auto]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(config: str | None, overrides: tuple[str, ...], svg: Path | None, theme: str, as_json: bool) -> None:
    """Show a network: shapes, parameters, multiply-adds and memory, layer by layer; of lenet without CONFIG.

    CONFIG may also be a run folder.
    """
    from lenumba.engine.config.config import load_config
    from lenumba.engine.training.summary import summarize, summary_table

    name, changes = split_arguments(config, overrides)
    loaded = load_config("lenet" if name is None else name, changes)
    shape, trained = None, Path(loaded.source).with_name(BEST)
    if Path(loaded.source).name == "config.yaml" and trained.is_file():  # a run, which needs no data to be summed up
        from lenumba.engine.runs.checkpoint import Checkpoint

        shape = Checkpoint.read(trained).image_shape
    if svg is not None:
        from lenumba.engine.common.files import write_text
        from lenumba.engine.report.architecture import architecture_svg
        from lenumba.engine.training.build import check_network

        write_text(svg, architecture_svg(check_network(loaded, shape), loaded.name, theme))
        click.echo(svg)
        return
    result = summarize(loaded, shape)
    click.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else summary_table(result))


@click.group(invoke_without_command=True)
@click.pass_context
def configs(context: click.Context) -> None:
    """List the shipped recipes, and the worked examples that 'lenumba explain' takes."""
    from lenumba.engine.config.recipes import example_names, example_text, recipe_names, recipe_text

    if context.invoked_subcommand is None:
        for name in recipe_names():
            click.echo(f"{name:<16} {first_comment(recipe_text(name))}")
        click.echo("\nWorked examples, for 'lenumba explain':")
        for name in example_names():
            click.echo(f"{name:<16} {first_comment(example_text(name))}")


def first_comment(text: str) -> str:
    """Return the first line of a recipe."""
    return text.splitlines()[0].lstrip("# ")


@configs.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a recipe or a worked example with its comments, to start one's own from."""
    from lenumba.engine.config.recipes import example_names, example_text, recipe_text

    click.echo(example_text(name) if name in example_names() else recipe_text(name), nl=False)


@click.command()
@click.argument("config")
@click.argument("overrides", nargs=-1)
def check(config: str, overrides: tuple[str, ...]) -> None:
    """Check a configuration as training does before it begins: layers, shapes, own data, the run to start from.

    CONFIG may also be a worked example.
    """
    from lenumba.engine.config.config import load_config
    from lenumba.engine.config.recipes import is_worked
    from lenumba.engine.runs.prepare import check_run
    from lenumba.engine.training.build import network_notes

    if is_worked(config):
        from lenumba.engine.explain.worked import find_worked

        if (worked := find_worked(config, None, None, None, overrides)) is not None:
            tell_notes(worked.notes)
            click.echo(f"{config}: correct; a worked example, which 'lenumba explain' prints")
        return
    loaded = load_config(config, overrides)
    network = check_run(loaded)
    if loaded.config.tune is not None:
        from lenumba.engine.tuning.space import Space

        Space(loaded)
    if (root := loaded.example_root) is not None:
        tell_notes([f"{loaded.name} takes files of yours; {root} is an example: give data.root=PATH"])
    tell_notes(network_notes(network))
    click.echo(
        f"{loaded.source}: correct; {len(loaded.config.network.layers)} layers, {network.parameter_count:,} parameters"
    )


@click.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors that complete and check YAML."""
    from lenumba.engine.config.config import config_schema

    click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@click.group()
def data() -> None:
    """Handle data sets."""


@data.command()
@click.argument("name")
@click.option("--root", type=PATH, help="Download into this folder  [default: the user's cache]")
def fetch(name: str, root: Path | None) -> None:
    """Download a data set, unless its files are there already (NAME: mnist, fashion_mnist or cifar10)."""
    from lenumba.engine.data.download import SOURCES, download, fetch

    if name not in SOURCES:
        raise click.UsageError(f"no data set {name!r} to download; there are {', '.join(SOURCES)}")
    folder = fetch(name, progress=True) if root is None else download(name, root, progress=True)
    click.echo(f"{name}: {folder}")
