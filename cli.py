"""The command line. Each command imports its worker only when it runs, so that --help is quick."""

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from lenumba import __version__
from lenumba.engine.errors import DataError, LenumbaError
from lenumba.engine.interrupts import Terminated, leave

PATH = click.Path(path_type=Path)
RUN_HELP = "RUN is a run folder, the name of one in ./runs, or 'latest'."


class Commands(click.Group):
    """A group that turns errors into one line and the right exit code, and lists commands as they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their definition."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        prepare_streams()
        main_thread = threading.current_thread() is threading.main_thread()
        previous = signal.signal(signal.SIGTERM, leave) if main_thread else None
        try:
            super().main(*args, **{**kwargs, "prog_name": "lenumba", "standalone_mode": False})
            code = 0
        except LenumbaError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            code = error.exit_code
        except click.ClickException as error:
            code = error.exit_code
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()
            else:
                context = getattr(error, "ctx", None)
                hint = f" (see '{context.command_path} --help')" if context else ""
                click.echo(f"error: {' '.join(error.format_message().split())}{hint}", err=True)
        finally:
            if main_thread:
                signal.signal(signal.SIGTERM, previous)
            settle_output()
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what click would answer in words of its own becomes an error of ours first."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as signalled:
            error = LenumbaError("interrupted")
            error.exit_code = 128 + (signal.SIGTERM if isinstance(signalled, Terminated) else signal.SIGINT)
            raise error from None
        except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
            return None
        except OSError as failure:
            where = f"{failure.filename}: " if failure.filename else ""
            raise DataError(f"{where}{failure.strerror or failure}") from None


def prepare_streams() -> None:
    """Make output never fail for a closed descriptor, or for a character that the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: take its descriptor, or the next file opened would get it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="replace")


def settle_output() -> None:
    """Flush stdout; where its reader has gone, drop what is left, which Python would complain about at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lenumba")
def main() -> None:
    """Train small CNNs on the CPU, fast: Numba compiles the whole network into one program.

    \b
    lenumba train                              drawn digits, nothing to download
    lenumba train lenet train.epochs=20        a recipe with overrides
    lenumba evaluate latest                    accuracy, confusion matrix
    lenumba predict latest digit.png           your own image
    """  # noqa: D301 (click wants the control character to leave the lines as they are)


@main.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores by default. Never changes a bit.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder, new or empty  [default: runs/RECIPE-NNN]")
@click.option("--resume", metavar="RUN", help="Go on with a run; with train.epochs=N also for more epochs.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's summary as JSON, and nothing else.")
def train(
    config: str | None,
    overrides: tuple[str, ...],
    threads: int | None,
    out: Path | None,
    resume: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a network.

    CONFIG is a recipe's name (see 'lenumba configs') or the path of a YAML file; 'quickstart' if it is left out.
    OVERRIDES replace values of it, such as train.epochs=20 or network.layers.0.channels=8.
    """
    from lenumba.engine.config import load_config
    from lenumba.engine.display import TrainingDisplay
    from lenumba.engine.folders import find_run
    from lenumba.engine.runs import resume_run, start_run

    name, changes = split_arguments(config, overrides)
    if threads is not None:
        changes.append(f"train.threads={threads}")
    if resume is not None and name is not None:
        raise click.UsageError(f"unexpected argument {name!r}: a resumed run has its configuration")
    with TrainingDisplay(click.echo, silent=quiet or as_json) as display:
        if resume is not None:
            if out is not None:
                raise click.UsageError("--out and --resume exclude each other: a resumed run stays in its folder")
            result = resume_run(find_run(resume), changes, display.hooks)
        else:
            loaded = load_config("quickstart" if name is None else name, changes)
            result = start_run(loaded, out=out, overrides=changes, hooks=display.hooks)
    if as_json:
        click.echo(json.dumps({"path": str(result.path), **result.summary}, indent=2, ensure_ascii=False))
    elif not quiet:
        summary, path = result.summary, shlex.quote(str(result.path))
        click.echo(
            f"test accuracy {100 * summary['test_accuracy']:.2f} %   loss {summary['test_loss']:.4f}   "
            f"{summary['images_per_second']:,.0f} images/s   {summary['wall_s']:.1f} s\n"
            f"next: lenumba evaluate {path}   ·   lenumba predict {path} IMAGE.png"
        )


def split_arguments(config: str | None, overrides: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the configuration's name, where one is given, and the overrides. A file may have '=' in its name."""
    given = [item for item in (config, *overrides) if item is not None]
    names = [item for item in given if "=" not in item or Path(item).is_file()]
    if len(names) > 1:
        raise click.UsageError(f"unexpected argument {names[-1]!r}; overrides look like train.epochs=20")
    return (names[0] if names else None), [item for item in given if item not in names]


@main.command(epilog=RUN_HELP)
@click.argument("run")
@click.argument("overrides", nargs=-1)
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(run: str, overrides: tuple[str, ...], checkpoint: str, as_json: bool) -> None:
    """Test a trained network: accuracy, loss, precision and recall of each class, confusion matrix.

    OVERRIDES such as data.root=PATH tell where the data are now.
    """
    from lenumba.engine.model import load
    from lenumba.engine.tables import evaluation_table

    evaluation = load(run, checkpoint, overrides=overrides).evaluate()
    click.echo(json.dumps(evaluation.as_dict(), ensure_ascii=False) if as_json else evaluation_table(evaluation))


@main.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG CONFIG... [OVERRIDES]...")
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Trainings of each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def compare(configs: tuple[str, ...], seeds: int, as_json: bool) -> None:
    """Train configurations with several seeds and compare: size, time, accuracy, also on shifted test images."""
    from lenumba.engine.compare import compare
    from lenumba.engine.display import ComparisonDisplay
    from lenumba.engine.tables import comparison_table

    names = [item for item in configs if "=" not in item or Path(item).is_file()]
    if len(names) < 2:
        raise click.UsageError(f"expected at least 2 configurations, found {len(names)}")
    with ComparisonDisplay(lambda line: click.echo(line, err=True), silent=as_json) as display:
        found = compare(names, [item for item in configs if item not in names], seeds, display.hooks)
    click.echo(json.dumps([item.as_dict() for item in found], indent=2) if as_json else comparison_table(found))


@main.command(epilog=RUN_HELP)
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

    from lenumba.engine.images import load_image, prepare_digit
    from lenumba.engine.model import load

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


@main.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show a network: shapes, parameters, multiply-adds and memory, layer by layer; of lenet without CONFIG."""
    from lenumba.engine.config import load_config
    from lenumba.engine.summary import summarize
    from lenumba.engine.tables import summary_table

    name, changes = split_arguments(config, overrides)
    result = summarize(load_config("lenet" if name is None else name, changes))
    click.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else summary_table(result))


@main.group(invoke_without_command=True)
@click.pass_context
def configs(context: click.Context) -> None:
    """List the shipped recipes."""
    from lenumba.engine.config import recipe_names, recipe_text

    if context.invoked_subcommand is None:
        for name in recipe_names():
            click.echo(f"{name:<14} {recipe_text(name).splitlines()[0].lstrip('# ')}")


@configs.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a recipe with its comments, to start one's own from."""
    from lenumba.engine.config import recipe_text

    click.echo(recipe_text(name), nl=False)


@main.command()
@click.argument("config")
@click.argument("overrides", nargs=-1)
def check(config: str, overrides: tuple[str, ...]) -> None:
    """Check a configuration, layers and shapes included, without training."""
    from lenumba.engine.config import load_config
    from lenumba.engine.trainer import check_network

    loaded = load_config(config, overrides)
    network = check_network(loaded)
    if loaded.config.tune is not None:
        from lenumba.engine.tuning.space import Space

        Space(loaded)
    click.echo(
        f"{loaded.source}: correct; {len(loaded.config.network.layers)} layers, {network.parameter_count:,} parameters"
    )


@main.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors that complete and check YAML."""
    from lenumba.engine.config import config_schema

    click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@main.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--batch-size", type=click.IntRange(1), help="Images in a batch; the recipe's by default.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores by default.")
@click.option("--args", "arguments", help="For MODULE:FUNCTION: its arguments, such as 'np.ones(1000), 3'.")
@click.option("--seconds", type=click.FloatRange(0, 3600), default=6.0, show_default=True, help="Time to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what --compare reads.")
@click.option("--html", type=PATH, is_flag=False, flag_value="profile.html", help="Write a page with pictures.")
@click.option("--trace", type=PATH, help="Write a timeline for Perfetto or chrome://tracing.")
@click.option("--compare", type=PATH, metavar="OLD.json", help="Compare; exit code 1 where a kernel became slower.")
@click.option("--compile", "compilation", is_flag=True, help="Also show what compiling costs, kernel by kernel.")
@click.option("--asm", metavar="KERNEL", help="Print a kernel's assembly, with what its loops were judged to be.")
@click.option("--llvm", metavar="KERNEL", help="Print a kernel's LLVM code.")
@click.option("--machine", is_flag=True, help="Measure the machine's peaks, and nothing else.")
def profile(config: str | None, overrides: tuple[str, ...], batch_size: int | None, **options: Any) -> None:
    """Show where the time of a training step goes, why, and how near each kernel comes to the machine's limits.

    CONFIG is a recipe's name or a YAML file's path, 'lenet' if it is left out; or MODULE:FUNCTION, a function of your
    own that Numba compiles.
    """
    from lenumba.engine.profile_command import run_profile

    name, changes = split_arguments(config, overrides)
    changes += [f"data.batch_size={batch_size}"] if batch_size else []
    text, regression = run_profile(name, changes, **options)
    click.echo(text)
    if regression:
        raise LenumbaError(regression)


@main.group()
def data() -> None:
    """Handle data sets."""


@data.command()
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="Download into this folder  [default: the user's cache]")
def fetch(name: str, root: Path | None) -> None:
    """Download a data set, unless its files are there already (NAME: mnist or fashion_mnist)."""
    from lenumba.engine.download import SOURCES, download, fetch

    if name not in SOURCES:
        raise click.UsageError(f"no data set {name!r} to download; there are {', '.join(SOURCES)}")
    folder = fetch(name, progress=True) if root is None else download(name, root, progress=True)
    click.echo(f"{name}: {folder}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(as_json: bool) -> None:
    """List the runs in ./runs."""
    from lenumba.engine.folders import list_runs, read_json
    from lenumba.engine.tables import runs_table

    found = [(path.name, read_json(path / "run.json")) for path in list_runs()]
    if as_json:
        click.echo(json.dumps([{"run": name, **run} for name, run in found], ensure_ascii=False))
    else:
        click.echo(runs_table(found) if found else "no runs in ./runs yet; start one with 'lenumba train'")


@main.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option(
    "--trials", type=click.IntRange(1, 100_000), help="Finished and pruned ones in all  [default: tune.trials]"
)
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="CPU threads, shared by the workers; all cores by default."
)
@click.option("--name", help="The study's name, its folder in ./studies  [default: the recipe's name]")
@click.option("--resume", is_flag=True, help="Go on with a study as it is recorded: --name, or the latest.")
@click.option("--status", is_flag=True, help="Tell how far a study is, and leave it alone.")
@click.option("--storage", metavar="URL", help="A database, such as postgresql://…, for several machines at once.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the study's summary as JSON, and nothing else.")
def tune(
    config: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    jobs: int,
    threads: int | None,
    name: str | None,
    resume: bool,
    status: bool,
    storage: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Search for better settings: a study of many short trainings (needs pip install 'lenumba[tune]').

    CONFIG is a recipe or YAML file with a section 'tune', such as lenet-tune. The number of trials is a total: the
    same command again goes on with an unfinished study of that name, and with more --trials makes it longer. The
    best trials are trained again with fresh seeds; the test set is read once for the winner and for the recipe.
    """
    from lenumba.engine.tuning.command import show_status, tune_command

    recipe, changes = split_arguments(config, overrides)
    if status:
        click.echo(show_status(name or recipe, storage, as_json=as_json))
        return
    if recipe is None and not resume:
        raise click.UsageError("expected a recipe with a section 'tune', such as lenet-tune, or --resume")
    changes += [] if threads is None else [f"train.threads={threads}"]
    options = {"trials": trials, "jobs": jobs, "storage": storage}
    tune_command(click.echo, recipe, changes, name, resume=resume, quiet=quiet, as_json=as_json, **options)


@main.command(epilog=RUN_HELP)
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
    from lenumba.engine.export import export_run
    from lenumba.engine.folders import find_run

    exported = export_run(find_run(run), kind, out, checkpoint, force=force)
    if exported.comparison:
        click.echo(str(exported.comparison))
    click.echo(f"{kind}: {exported.path}")


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1)
@click.option("--config", required=True, help="The network's configuration: a recipe's name or a YAML file.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder, new or empty  [default: runs/RECIPE-NNN]")
def import_(file: Path, overrides: tuple[str, ...], config: str, out: Path | None) -> None:
    """Make a run of parameters from elsewhere: safetensors (PyTorch's names or lenumba's) or npz.

    It has trained for no epoch yet; evaluate, predict, export and train --resume take it like any other.
    """
    from lenumba.engine.config import load_config
    from lenumba.engine.importing import import_weights

    imported = import_weights(file, load_config(config, overrides), out)
    for note in imported.notes:
        click.echo(note)
    click.echo(f"run folder {imported.path}\nnext: lenumba evaluate {shlex.quote(str(imported.path))}")


if __name__ == "__main__":
    main()
