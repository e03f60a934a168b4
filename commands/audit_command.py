"""The command that judges a data set's labels."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from lenumba.commands.base import PATH, split_arguments, with_mpi

SHOWN = 12  # suspicious labels that are printed


@click.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--folds", type=click.IntRange(2, 100), default=5, show_default=True, help="Parts of the images.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=4, show_default=True, help="Cuts, and so opinions each.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores by default. Never changes a bit.")
@click.option("--out", type=PATH, help="The audit's folder  [default: audits/RECIPE]")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the audit's summary as JSON, and nothing else.")
@with_mpi
def audit(
    config: str | None,
    overrides: tuple[str, ...],
    folds: int,
    seeds: int,
    threads: int | None,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find wrong labels: every training and test image is judged by networks that have not seen it.

    CONFIG is a recipe's name or the path of a YAML file, OVERRIDES replace values of it. Writes audit.csv, all images
    with the most suspicious labels first, and audit.html, a page to keep labels, relabel or drop images on; it saves a
    file of decisions to train with: lenumba train CONFIG data.decisions=FILE. Your own files are not changed.

    The same command again goes on with what was interrupted; with more --seeds it adds to what is there.
    """
    from lenumba.commands.display import StepBar
    from lenumba.engine.audit.audit import Audit, run_audit
    from lenumba.engine.audit.page import audit_page
    from lenumba.engine.audit.trainings import Hooks
    from lenumba.engine.common.files import write_text
    from lenumba.engine.config.config import load_config
    from lenumba.engine.ranks.team import current

    name, changes = split_arguments(config, overrides)
    loaded = load_config(name or "quickstart", [*changes, *([] if threads is None else [f"train.threads={threads}"])])
    team = current()
    silent = quiet or as_json or not team.leads
    with StepBar() as bar:

        def watch(fraction: float, done: int, total: int) -> None:
            bar(f"training {min(done + 1, total)} of {total}", fraction, 1)

        hooks = Hooks() if silent else Hooks(bar, watch, download_bar=True)
        found = run_audit(loaded, folds=folds, seeds=seeds, out=out, overrides=changes, hooks=hooks, team=team)
        if found is None:
            return
        write_text(found.path / "audit.html", audit_page(found))
    if as_json:
        click.echo(json.dumps({"path": str(found.path), **found.summary}, indent=2, ensure_ascii=False))
    elif not quiet:
        click.echo((audit_text if isinstance(found, Audit) else target_audit_text)(found))


def audit_text(found: Any) -> str:
    """Return what an audit found as text."""
    from lenumba.engine.common.text import table

    summary, pool, names = found.summary, found.pool, found.pool.dataset.class_names
    images, suspicious = summary["images"], summary["suspicious"]
    lines = [
        f"{images['train']:,} training and {images['test']:,} test images, judged by {summary['seeds']} "
        f"network{'s' * (summary['seeds'] > 1)} that had not seen it; they agree "
        f"with {100 * summary['accuracy']:.2f} % of the labels",
        f"{suspicious['train']:,} suspicious labels of training images, {suspicious['test']:,} of test images"
        + (f"; {summary['kept']:,} confirmed before" if summary["kept"] else ""),
    ]
    judged = found.found
    rows = [
        [
            pool.file_of(number) or f"{pool.split_of(number)} {pool.index[number]}",
            names[pool.labels[number]],
            with_error(judged.given[number], judged.given_error[number]),
            names[judged.guess[number]],
            with_error(judged.guessed[number], judged.guessed_error[number]),
        ]
        for number in found.suspicious[:SHOWN].tolist()
    ]
    if rows:
        lines.append(table(["image", "given", "probability", "seems", "probability"], rows))
    if found.copies or found.near:
        lines.append(f"duplicates with different labels: {len(found.copies)} equal, {len(found.near)} alike")
    if found.overlaps:
        pairs = [
            f"{names[pair.first]} and {names[pair.second]} {with_error(pair.probability, pair.error)}"
            for pair in found.overlaps[:3]
        ]
        lines.append(f"classes that overlap most: {', '.join(pairs)}")
    path = shlex.quote(str(found.path))
    lines.append(f"{path}/audit.csv  every image, the most suspicious label first")
    lines.append(f"{path}/audit.html  the pictures: keep, relabel or drop, save the decisions, train with them")
    return "\n".join(lines)


def target_audit_text(found: Any) -> str:
    """Return what an audit found of labels or numbers, as text."""
    from lenumba.engine.common.text import table

    summary, judged = found.summary, found.judged
    images, suspicious = summary["images"], summary["suspicious"]
    figures = "   ".join(f"{name} {value}" for name, value in judged.told.items() if name != "loss")
    lines = [
        f"{images['train']:,} training and {images['test']:,} test samples, judged by {summary['seeds']} "
        f"network{'s' * (summary['seeds'] > 1)} that had not seen it: {figures}",
        f"{suspicious['train']:,} training and {suspicious['test']:,} test samples with suspicious "
        f"{judged.target}: {found.rule}",
    ]
    if rows := [[found.called(k), ", ".join(found.doubts(k))] for k in found.suspicious[:SHOWN].tolist()]:
        lines.append(table(["sample", "given, and found"], rows, 2))
    path = shlex.quote(str(found.path))
    lines.append(f"{path}/audit.csv  every sample, the one farthest from its {judged.target} first")
    lines.append(f"{path}/audit.html  the samples, and how the networks do on them")
    return "\n".join(lines)


def with_error(value: float, error: float) -> str:
    """Write a share as percent, with its standard error where there is one (it is NaN else)."""
    return f"{100 * value:.1f}" + ("" if error != error else f" ± {100 * error:.1f}") + " %"
