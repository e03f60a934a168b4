"""Commands for trained networks: evaluate, predict, runs, export, import."""

import json
import shlex
from pathlib import Path

import click

from lenumba.commands.base import RUN_HELP


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: str, overrides: tuple[str, ...], checkpoint: str, as_json: bool) -> None:
    """Test a trained network: accuracy, loss, precision and recall of each class, confusion matrix.

    OVERRIDES such as data.root=PATH tell where the data are now.
    """
    from lenumba.commands.tables import evaluation_table
    from lenumba.engine.models.model import load

    evaluation = load(run, checkpoint, overrides=overrides).evaluate()
    click.echo(json.dumps(evaluation.as_dict(), ensure_ascii=False) if as_json else evaluation_table(evaluation))


@click.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(run: str, images: tuple[Path, ...], checkpoint: str, as_json: bool) -> None:
    """Recognise pictures: PNG or JPEG of any size, the three most probable classes each.

    Pictures of digits are prepared as MNIST's were: dark ink on light paper is inverted, the digit is cropped, fitted
    into 20×20 pixels and centred by mass.
    """
    import numpy as np

    from lenumba.engine.data.images import load_image, prepare_digit
    from lenumba.engine.models.model import load

    model = load(run, checkpoint)
    prepare = prepare_digit if model.shows_digits else load_image
    outputs = model.predict_proba(np.stack([prepare(path, model.image_shape) for path in images]))
    answers = []
    for path, row in zip(images, outputs, strict=True):
        if len(row) == 1:
            row = np.array([1 - row[0], row[0]])
        top = np.argsort(-row, kind="stable")[:3]
        answers.append({"image": str(path), "top": [[model.class_names[k], float(row[k])] for k in top]})
    if as_json:
        click.echo(json.dumps(answers, ensure_ascii=False))
        return
    width = max(len(answer["image"]) for answer in answers)
    for answer in answers:
        listed = "   ".join(f"{name} {100 * probability:5.1f} %" for name, probability in answer["top"])
        click.echo(f"{answer['image']:<{width}}  {listed}")


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
@click.option("--format", "kind", type=click.Choice(["onnx", "safetensors", "npz"]), default="onnx", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="The new file  [default: the run's name, here]")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def export(run: str, kind: str, out: Path | None, checkpoint: str, force: bool) -> None:
    """Export a trained network for other programs.

    onnx takes pixels 0…255 as float32 [N, C, H, W] and gives logits and probabilities; safetensors has PyTorch's names
    and layouts; npz has lenumba's.
    """
    from lenumba.engine.models.export import export_run
    from lenumba.engine.runs.folders import find_run

    exported = export_run(find_run(run), kind, out, checkpoint, force=force)
    if exported.agreement:
        click.echo(str(exported.agreement))
    click.echo(f"{kind}: {exported.path}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--config", required=True, help="The network's configuration: a recipe's name or a YAML file.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder, new or empty  [default: runs/RECIPE-NNN]")
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
