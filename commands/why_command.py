"""The command that names the training images that an answer rests on."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from lenumba.commands.base import PATH, RUN_HELP, with_mpi


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("image")
@click.argument("overrides", nargs=-1)
@click.option(
    "--trainings", type=click.IntRange(4, 100_000), default=400, show_default=True, help="In all, two for each pair."
)
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="Images named a side.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores by default. Never changes a bit.")
@click.option("--html", "page", type=PATH, metavar="PAGE", help="Write a page with the pictures.")
@click.option("--force", is_flag=True, help="Replace an existing page.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
@with_mpi
def why(
    run: str,
    image: str,
    overrides: tuple[str, ...],
    trainings: int,
    count: int,
    threads: int | None,
    page: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Name the training images that helped and hurt an answer most, by training without them.

    IMAGE is a picture's path or an index into the test set. Networks train on random halves of the run's training
    images, in pairs; an image's influence is by how much it raises the log-odds of the run's answer. The trainings are
    kept in RUN/why: another image takes moments, more --trainings are added, and what was interrupted goes on.
    Writes RUN/why/memorisation.csv, too: by how much each training image raises the probability of its own label.
    """
    from lenumba.commands.display import StepBar
    from lenumba.engine.audit.trainings import Hooks
    from lenumba.engine.audit.why import run_why
    from lenumba.engine.common.files import check_new_file, write_text
    from lenumba.engine.ranks.team import current
    from lenumba.engine.runs.folders import find_run, load_run_config

    if page is not None:
        check_new_file(page, force, "--html")
    changes = [*overrides, *([] if threads is None else [f"train.threads={threads}"])]
    team = current()
    silent = quiet or as_json or not team.leads
    with StepBar() as bar:

        def watch(fraction: float, done: int, total: int) -> None:
            bar(f"training {min(done + 1, total)} of {total}", fraction, 1)

        hooks = Hooks() if silent else Hooks(bar, watch, download_bar=True)
        path = find_run(run)
        found = run_why(path, image, trainings=trainings, count=count, overrides=changes, hooks=hooks, team=team)
    if found is None:
        return
    if page is not None:
        from lenumba.engine.audit.why_page import why_page

        write_text(page, why_page(found, load_run_config(found.path, overrides)))
    if as_json:
        click.echo(json.dumps(found.summary, indent=2, ensure_ascii=False))
    elif not quiet:
        click.echo(why_text(found.summary))
        if page is not None:
            click.echo(f"{page}  the pictures")


def why_text(summary: dict[str, Any]) -> str:
    """Return what was found as text."""
    from lenumba.engine.common.text import table

    line = summary["noise_line"]
    lines = [
        f"{summary['image']}: {summary['answer']} ({100 * summary['probability']:.1f} %); of {summary['trainings']} "
        f"networks trained on halves of {summary['images']:,} images, {100 * summary['answered_alike']:.0f} % answer so"
    ]
    for key, title in (("helped", "helped most"), ("hurt", "hurt most")):
        rows = [
            [
                row.get("file") or f"train {row['index']}",
                row["label"],
                f"{row['influence']:+.3f} ± {row['error']:.3f}" + ("*" if beyond(row, line) else " "),
                f"{row['memorisation']:+.3f} ± {row['memorisation_error']:.3f}",
            ]
            for row in summary[key]
        ]
        lines.append(table([title, "label", "log-odds", "memorised"], rows, left=2) if rows else f"{title}: none")
    lines.append(f"* beyond {line:.1f} standard errors, which noise alone lifts any image to in one case of twenty")
    lines.append(f"{shlex.quote(summary['run'])}/why/memorisation.csv  every training image, the most memorised first")
    return "\n\n".join(lines[:3]) + "\n" + "\n".join(lines[3:])


def beyond(row: dict[str, Any], line: float) -> bool:
    """Return whether an influence is more than noise."""
    return abs(row["influence"]) > line * row["error"]
