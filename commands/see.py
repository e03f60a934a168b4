"""Commands to look into trained networks: plot, report."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from lenumba.commands.base import PATH, RUN_HELP, tell_notes

CHECKPOINT = click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)


@click.command(epilog=RUN_HELP)
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]... [OVERRIDES]...")
@click.option("--out", type=PATH, help="The folder for the plots  [default: RUN/plots; of several ./plots]")
@click.option("--format", "kind", type=click.Choice(["png", "svg"]), default="png", show_default=True)
@click.option("--image", type=PATH, help="A picture for the feature maps  [default: the first test image]")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@CHECKPOINT
def plot(runs: tuple[str, ...], out: Path | None, kind: str, image: Path | None, quiet: bool, checkpoint: str) -> None:
    """Draw a trained network: curves, confusion matrix, kernels, feature maps, worst mistakes, histograms.

    RUN may also be a folder of 'train --seeds' (curves of the means, with a band of one standard error), one of
    'compare --out', or a study of 'tune'. Of several, the curves are drawn in one picture, named by what differs.

    Needs pip install 'lenumba[plot]'. Histograms over time need a run with plots=true. OVERRIDES such as
    data.root=PATH tell where the data are now.
    """
    from lenumba.engine.common.files import is_file
    from lenumba.engine.report.curves import find_curves, own_folder, write_curves
    from lenumba.engine.report.findings import look_into
    from lenumba.engine.report.plots import draw_plots
    from lenumba.engine.runs.extras import need
    from lenumba.engine.runs.folders import is_run
    from lenumba.engine.tuning.record import find_study, is_study

    need("matplotlib", "plot", "plot")  # before anything is computed
    names = [item for item in runs if "=" not in item or is_file(item) or is_run(item)]
    changes = [item for item in runs if item not in names]
    if not names:
        raise click.UsageError(f"expected a run, found only {changes[0]}; 'lenumba runs' lists them")
    drawn: Iterable[tuple[Path, str]]
    own = own_folder(names[0]) if len(names) == 1 else Path()
    if own is not None or is_study(names[0]):
        if image is not None or changes:
            raise click.UsageError("curves alone are drawn: give a single run for images and other data")
        if own is None:
            from lenumba.engine.tuning.study import draw_study

            drawn = draw_study(find_study(names[0]), out, kind)
        else:
            curves = find_curves(names)
            drawn = [(write_curves(curves, out or own / "plots", kind), told(curves))]
    else:
        found = look_into(names[0], checkpoint, changes)
        tell_notes(found.dataset.notes)
        picture = None if image is None else found.model.read_picture(image)
        drawn = draw_plots(found, out or found.model.folder / "plots", kind, picture)
    for path, what in drawn:
        if not quiet:
            click.echo(f"{path}  {what}")


def told(curves: Sequence[Any]) -> str:
    """Say what a picture of curves shows."""
    if len(curves) > 1:
        return f"curves of {len(curves)}: {'; '.join(curve.name for curve in curves)}"
    return f"mean and standard error of {len(curves[0].histories)} seeds in each epoch"


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
