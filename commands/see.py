"""Commands to look into trained networks: plot, report."""

import shlex
from pathlib import Path

import click

from lenumba.commands.base import PATH, RUN_HELP, tell_notes

CHECKPOINT = click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option("--out", type=PATH, help="The folder for the plots  [default: RUN/plots]")
@click.option("--format", "kind", type=click.Choice(["png", "svg"]), default="png", show_default=True)
@click.option("--image", type=PATH, help="A picture for the feature maps  [default: the first test image]")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@CHECKPOINT
def plot(
    run: str, overrides: tuple[str, ...], out: Path | None, kind: str, image: Path | None, quiet: bool, checkpoint: str
) -> None:
    """Draw a trained network: curves, confusion matrix, kernels, feature maps, worst mistakes, histograms.

    RUN may also be a folder of 'train --seeds': curves of the means, with a band of one standard error.

    Needs pip install 'lenumba[plot]'. Histograms over time need a run with plots=true. OVERRIDES such as
    data.root=PATH tell where the data are now.
    """
    from lenumba.engine.report.findings import look_into
    from lenumba.engine.report.plots import draw_plots, draw_seeds
    from lenumba.engine.runs.extras import need
    from lenumba.engine.runs.folders import seed_folders

    need("matplotlib", "plot", "plot")  # before anything is computed
    if seeds := seed_folders(run):
        if image is not None or overrides:
            raise click.UsageError(f"of seeds, curves alone are drawn: for images and other data, give {seeds[0]}")
        path = draw_seeds(seeds, out or seeds[0].parent / "plots", kind)
        if not quiet:
            click.echo(f"{path}  mean and standard error of {len(seeds)} seeds in each epoch")
        return
    found = look_into(run, checkpoint, overrides)
    tell_notes(found.dataset.notes)
    picture = None if image is None else found.model.read_picture(image)
    for path, what in draw_plots(found, out or found.model.folder / "plots", kind, picture):
        if not quiet:
            click.echo(f"{path}  {what}")


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option("--out", type=PATH, help="The file  [default: RUN/report.html]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@CHECKPOINT
def report(run: str, overrides: tuple[str, ...], out: Path | None, force: bool, quiet: bool, checkpoint: str) -> None:
    """Write a page to play with a trained network: draw, see every layer, step through backpropagation.

    One HTML file that needs no network: curves, confusion matrix, kernels and mistakes, and the network itself in
    JavaScript. OVERRIDES such as data.root=PATH tell where the data are now.
    """
    from lenumba.engine.common.files import check_new_file
    from lenumba.engine.report.findings import look_into
    from lenumba.engine.report.report import write_report

    if out is not None:
        check_new_file(out, force)
    found = look_into(run, checkpoint, overrides)
    tell_notes(found.dataset.notes)
    path = out or found.model.folder / "report.html"
    write_report(found, path)
    if not quiet:
        click.echo(f"{path}  ({path.stat().st_size / 1000:,.0f} kB)\nopen {shlex.quote(path.absolute().as_uri())}")
