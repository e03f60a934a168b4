"""Commands for trained networks: evaluate, predict, runs, export, import."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lenumba.commands.base import PATH, RUN_HELP, tell_notes

LIMITED = ("class", "labels")  # targets whose answers thresholds decide
PROGRESS = 50  # pictures from which a bar shows how far it is


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option("--html", "page", type=PATH, metavar="PAGE", help="Write a page: curves, calibration, mistakes.")
@click.option(
    "--thresholds", is_flag=True, help="Fit thresholds on validation images, of classes or labels; keep them."
)
@click.option(
    "--int8", "whole", is_flag=True, help="Compare with whole numbers, as 'export --format c --int8' has them."
)
@click.option("--force", is_flag=True, help="Replace an existing page.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with everything that the page shows.")
def evaluate(
    run: str,
    overrides: tuple[str, ...],
    page: Path | None,
    thresholds: bool,
    whole: bool,
    force: bool,
    checkpoint: str,
    as_json: bool,
) -> None:
    """Test a trained network: accuracy, loss, precision and recall of each class, confusion matrix.

    RUN may also be a folder of 'train --seeds': means and standard errors over the seeds.

    OVERRIDES such as data.root=PATH tell where the data are now. The page has also each class's precision-recall and
    ROC curve, how far the probabilities can be trusted, and the worst mistakes with their files' names.
    """
    from lenumba.commands.judging_tables import evaluation_table, seeds_evaluation_table, thresholds_table
    from lenumba.commands.target_tables import target_table
    from lenumba.engine.common.files import check_new_file
    from lenumba.engine.common.kinds import without_nan
    from lenumba.engine.models.assessment import assess
    from lenumba.engine.models.model import load
    from lenumba.engine.runs.folders import seed_folders

    if whole:
        _evaluate_int8(run, overrides, checkpoint, as_json, bool(page or thresholds))
        return
    if page is not None:
        check_new_file(page, force, "--html")
    if seeds := seed_folders(run):
        if page or thresholds:
            raise click.UsageError(
                f"--html and --thresholds are of one network: give one seed's run, such as {seeds[0]}"
            )
        from lenumba.engine.models.side_by_side import evaluate_seeds

        several = evaluate_seeds(seeds, checkpoint, overrides)
        tell_notes(several.notes)
        values = json.dumps(without_nan(several.as_dict()), ensure_ascii=False) if as_json else ""
        click.echo(values or seeds_evaluation_table(several))
        return
    model = load(run, checkpoint, overrides=overrides)
    if thresholds:
        model.loaded.only_targets("--thresholds", *LIMITED)
    found, target = assess(model), model.network.target
    fitted = target in LIMITED and (page or as_json)
    tell_notes([*found.test.notes, *([found.missing] if fitted and found.missing else [])])
    if as_json:
        click.echo(json.dumps(without_nan(found.as_dict()), ensure_ascii=False))
    else:
        click.echo((evaluation_table if target == "class" else target_table)(found.test))
    if thresholds:
        from lenumba.engine.models.thresholds import write_thresholds

        path = write_thresholds(found)
        text = f"{thresholds_table(found.threshold_rows())}\n{path}: 'lenumba predict RUN --thresholds' uses them"
        click.echo(f"{path}" if as_json else f"\n{text}", err=as_json)
    if page is not None:
        from lenumba.engine.report.evaluation_page import write_evaluation

        write_evaluation(found, page)
        click.echo(f"{'' if as_json else chr(10)}open {shlex.quote(page.absolute().as_uri())}", err=as_json)


def _evaluate_int8(run: str, overrides: tuple[str, ...], checkpoint: str, as_json: bool, more: bool) -> None:
    """Tell what whole numbers do to a network's accuracy, or figures."""
    from lenumba.commands.judging_tables import int8_table
    from lenumba.commands.target_tables import target_comparison_table
    from lenumba.engine.common.kinds import without_nan
    from lenumba.engine.deploy.calibration import assess_int8, compare_int8
    from lenumba.engine.models.model import load

    if more:
        raise click.UsageError("--html and --thresholds are of the network in float32: leave them or --int8 out")
    model = load(run, checkpoint, overrides=overrides)
    if model.network.target != "class":
        both = compare_int8(model)
        tell_notes(both.notes)
        values = json.dumps(without_nan(both.as_dict()), ensure_ascii=False) if as_json else ""
        click.echo(values or target_comparison_table(both))
        return
    found = assess_int8(model)
    tell_notes(found.notes)
    click.echo(json.dumps(without_nan(found.as_dict()), ensure_ascii=False) if as_json else int8_table(found))
    if found.warning:
        click.echo(f"warning: {found.warning}", err=True)


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("images", nargs=-1, required=True)
@click.option("--csv", "table", type=PATH, help="Write all classes' probabilities into this new file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--threshold", "given", multiple=True, metavar="CLASS=P", help="Say a class, or label, from this on.")
@click.option("--thresholds", is_flag=True, help="Use those that 'evaluate --thresholds' has kept in RUN.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    run: str,
    images: tuple[str, ...],
    table: Path | None,
    force: bool,
    given: tuple[str, ...],
    thresholds: bool,
    checkpoint: str,
    as_json: bool,
) -> None:
    """Recognise pictures of any size: PNG, JPEG, BMP, WebP or TIFF; the three most probable classes each.

    Where RUN was trained on signals, the rows of CSV, npy or npz files; a column of labels is not looked at. Where its
    target is no class: the labels that are likely, the numbers, or the anomaly score.

    IMAGES are files, folders with all that is in them, patterns such as "scans/*.png", or - for names on standard
    input, one a line. A picture that cannot be read is named at the end, with exit code 3; the others are answered.

    Pictures are prepared as the training images were. For MNIST and the drawn digits that means: dark ink on light
    paper is inverted, the digit is cropped, fitted into 20×20 pixels and centred by mass.

    With thresholds, the class is the one that exceeds its own most, as a multiple of it, else the most probable one
    without a threshold, else none. Of several labels, each is given from its own on.
    """
    import contextlib

    from lenumba.commands.display import StepBar
    from lenumba.commands.target_tables import answer_line
    from lenumba.engine.common.errors import DataError
    from lenumba.engine.common.files import check_new_file
    from lenumba.engine.data.images import FORMATS as PICTURES
    from lenumba.engine.data.signal_files import FORMATS as OF_SIGNALS
    from lenumba.engine.models.model import load
    from lenumba.engine.models.predicting import (
        find_inputs,
        predict_files,
        predict_targets,
        table_writer,
        target_writer,
    )
    from lenumba.engine.models.thresholds import FILE, parse_thresholds, read_thresholds

    if table is not None:
        check_new_file(table, force, "--csv")
    model = load(run, checkpoint)
    if thresholds or given:
        model.loaded.only_targets("thresholds", *LIMITED)
    limits = {**(read_thresholds(model) if thresholds else {}), **parse_thresholds(given, model.class_names)}
    if limits:
        source = f" ({model.folder / FILE})" if thresholds else ""
        values = ", ".join(f"{name} {value:.3g}" for name, value in list(limits.items())[:10])
        tell_notes([f"thresholds{source}: {values}{' …' * (len(limits) > 10)}"])
    kind = "signal" if model.loaded.config.network.signals else "image"
    paths = find_inputs(images, sys.stdin, OF_SIGNALS if model.loaded.config.floats else PICTURES)
    answers: list[dict[str, Any]] = []
    faults, count, plain = [], 0, model.network.target == "class"
    width = max(map(len, paths))
    with contextlib.ExitStack() as stack:
        names = ("score",) if model.network.target == "input" else model.class_names
        writer: Any = table_writer if plain else target_writer
        write = None if table is None else stack.enter_context(writer(table, names, kind))
        bar = stack.enter_context(StepBar()) if len(paths) > PROGRESS and kind == "image" else None
        found: Iterator[Any] = predict_files(model, paths, limits) if plain else predict_targets(model, paths, limits)
        for answer in found:
            count += 1
            if bar is not None:
                bar(f"picture {count:,} of {len(paths):,}", count, len(paths))
            if write is not None:
                write(answer)
            if answer.fault:
                faults.append(answer.fault)
            elif as_json and not plain:
                answers.append({kind: answer.path, **answer.as_dict()})
            elif as_json:
                chosen = {"class": answer.best and answer.best[0]} if limits else {}
                answers.append({kind: answer.path, **chosen, "top": answer.top(3)})
            elif table is None and not plain:
                click.echo(f"{answer.path:<{width}}  {answer_line(answer)}")
            elif table is None:
                none = "" if answer.best else "none   "
                listed = none + "   ".join(f"{name} {100 * probability:5.1f} %" for name, probability in answer.top(3))
                click.echo(f"{answer.path:<{width}}  {listed}")
    if as_json:
        click.echo(json.dumps(answers, ensure_ascii=False))
    elif table is not None:
        click.echo(f"{table}: {count - len(faults):,} {'signals' if kind == 'signal' else 'pictures'}")
    if faults:
        raise DataError("\n".join(faults))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(as_json: bool) -> None:
    """List the runs in ./runs."""
    from lenumba.commands.tables import runs_table
    from lenumba.engine.common.errors import DataError
    from lenumba.engine.runs.folders import RUNS, list_runs, read_record

    found = []
    for path in list_runs():
        try:
            record = read_record(path)
        except DataError as error:  # one damaged run hides no other
            click.echo(f"warning: {error}", err=True)
            record = {"status": "damaged"}
        found.append((path.relative_to(RUNS).as_posix(), record))
    if as_json:
        click.echo(json.dumps([{"run": name, **run} for name, run in found], ensure_ascii=False))
    else:
        click.echo(runs_table(found) if found else "no runs in ./runs yet; start one with 'lenumba train'")


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["onnx", "safetensors", "npz", "c"]),
    help="[default: by the ending of --out, else onnx]",
)
@click.option("--int8", "whole", is_flag=True, help="In whole numbers, as TensorFlow Lite computes; c or onnx.")
@click.option("--out", type=PATH, help="The new file, of c the folder  [default: the run's name, here]")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--force", is_flag=True, help="Replace existing files.")
def export(
    run: str,
    overrides: tuple[str, ...],
    kind: str | None,
    whole: bool,
    out: Path | None,
    checkpoint: str,
    force: bool,
) -> None:
    """Export a trained network for other programs, and for microcontrollers.

    onnx takes pixels 0…255 as float32 [N, C, H, W], or signals as float32 [N, C, 1, L] as they are, and gives logits
    and probabilities; safetensors has PyTorch's names and layouts; npz has lenumba's. c makes a folder of C files with
    a test and a Makefile: docs/deploy.md.

    OVERRIDES such as data.root=PATH tell where the data are now: --int8 wants the training images.
    """
    from lenumba.engine.models.export import export_run
    from lenumba.engine.runs.folders import find_run

    if kind == "c":
        from lenumba.engine.deploy.export import export_c

        made = export_c(find_run(run), out, checkpoint, whole=whole, force=force, overrides=overrides)
        click.echo("\n".join(made.notes))
        if made.warning:
            click.echo(f"warning: {made.warning}", err=True)
        click.echo(
            f"flash {made.flash:,} bytes and the code, RAM {made.ram:,} bytes\n"
            f"next: make -C {shlex.quote(str(made.folder))} test"
        )
        return
    if whole:
        from lenumba.engine.deploy.onnx_int8 import export_onnx

        if kind not in (None, "onnx"):
            raise click.UsageError("--int8 goes with --format c or onnx; choose one of these")
        file, notes = export_onnx(find_run(run), out, checkpoint, force=force, overrides=overrides)
        click.echo("\n".join([*notes, f"onnx: {file}"]))
        return
    exported = export_run(find_run(run), kind, out, checkpoint, force=force, overrides=overrides)
    if exported.agreement:
        click.echo(str(exported.agreement))
    click.echo(f"{exported.kind}: {exported.path}")


@click.command("import")
@click.argument("file", type=PATH)
@click.argument("overrides", nargs=-1)
@click.option("--config", required=True, help="The network's configuration: a recipe's name or a YAML file.")
@click.option("--out", type=PATH, help="The run folder, new or empty  [default: runs/RECIPE-NNN]")
def import_(file: Path, overrides: tuple[str, ...], config: str, out: Path | None) -> None:
    """Make a run of parameters from elsewhere: safetensors (PyTorch's names or lenumba's) or npz.

    It has trained for no epoch yet; evaluate, predict, export and train --resume take it like any other.
    """
    from lenumba.engine.config.config import load_config
    from lenumba.engine.models.importing import import_weights

    imported = import_weights(file, load_config(config, overrides), out)
    for note in imported.notes:
        click.echo(note)
    click.echo(f"run folder {imported.path}\nnext: lenumba evaluate {shlex.quote(str(imported.path))}")
