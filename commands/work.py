"""Commands that compute: train, compare, tune, profile."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from lenumba.commands.base import NUMBERS, PATH, SHARE, split_arguments, tell_notes, with_mpi
from lenumba.engine.common.files import is_file
from lenumba.engine.ranks.launch import is_follower

SEEDS = 5  # trainings of each configuration that is compared


@click.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads; all cores by default. Never changes a bit.")
@click.option("--out", type=PATH, help="The run folder, new or empty  [default: runs/RECIPE-NNN]")
@click.option("--resume", metavar="RUN", help="Go on with a run; with train.epochs=N also for more epochs.")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), help="Train with so many seeds, from train.seed on; --out goes on with it."
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's summary as JSON, and nothing else.")
@with_mpi
def train(
    config: str | None,
    overrides: tuple[str, ...],
    threads: int | None,
    out: Path | None,
    resume: str | None,
    seeds: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a network.

    CONFIG is a recipe's name (see 'lenumba configs') or the path of a YAML file; 'quickstart' if it is left out.
    OVERRIDES replace values of it, such as train.epochs=20 or network.layers.0.channels=8.
    """
    from lenumba.commands.display import TrainingDisplay
    from lenumba.engine.common.targets import WORDS
    from lenumba.engine.config.config import load_config
    from lenumba.engine.data.survey import verdict_lines
    from lenumba.engine.ranks.team import current
    from lenumba.engine.runs.ending import ending_line
    from lenumba.engine.runs.folders import find_run, load_run_config
    from lenumba.engine.runs.follow import follow_run
    from lenumba.engine.runs.run import resume_run, start_run

    name, changes = split_arguments(config, overrides)
    if threads is not None:
        changes.append(f"train.threads={threads}")
    if resume is not None and name is not None:
        raise click.UsageError(f"unexpected argument {name!r}: a resumed run has its configuration")
    if seeds is not None:
        if resume is not None:
            raise click.UsageError("--seeds and --resume exclude each other: give --out the folder to go on with")
        run_seeds(name or "quickstart", changes, seeds, out, quiet=quiet, as_json=as_json)
        return
    if not (team := current()).leads:
        follow_run(team)
        return
    with TrainingDisplay(click.echo, silent=quiet or as_json) as display:
        if resume is not None:
            if out is not None:
                raise click.UsageError("--out and --resume exclude each other: a resumed run stays in its folder")
            result = resume_run(find_run(resume), changes, display.hooks, team=team)
        else:
            loaded = load_config("quickstart" if name is None else name, changes)
            result = start_run(loaded, out=out, overrides=changes, hooks=display.hooks, team=team)
    if as_json:
        click.echo(json.dumps({"path": str(result.path), **result.summary}, indent=2, ensure_ascii=False))
    elif not quiet:
        summary, path = result.summary, shlex.quote(str(result.path))
        told = [name for name in WORDS if name not in ("accuracy", "loss") and summary.get(f"test_{name}") is not None]
        if "recall" in summary:  # of classes, what the best epoch was chosen by
            told = [display.metric] if display.metric else []
        also = "".join(f"{WORDS[name]} {summary[f'test_{name}']:.4f}   " for name in told)
        accuracy = summary.get("test_accuracy")
        right = "" if accuracy is None else f"accuracy {100 * accuracy:.2f} %   "
        click.echo(
            f"test {right}loss {summary['test_loss']:.4f}   {also}"
            f"{summary['images_per_second']:,.0f} images/s   {summary['wall_s']:.1f} s"
        )
        for line in [*verdict_lines(summary), ending_line(summary, result.history)]:
            click.echo(line)
        if summary.get("stopped_early"):
            patience = load_run_config(result.path).config.train.patience or 1
            click.echo(f"longer: lenumba train --resume {path} train.patience={2 * patience}")
        click.echo(f"next: lenumba evaluate {path}   ·   lenumba predict {path} {display.sample}")


def run_seeds(name: str, changes: list[str], seeds: int, out: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Train with several seeds and print their figures."""
    from lenumba.commands.display import ComparisonDisplay
    from lenumba.commands.tables import seeds_table
    from lenumba.engine.config.config import load_config
    from lenumba.engine.ranks.team import current
    from lenumba.engine.runs.seeds import train_seeds

    team = current()
    quiet = quiet or not team.leads
    with ComparisonDisplay(lambda line: click.echo(line, err=True), silent=quiet or as_json) as display:
        loaded = load_config(name, changes)
        found = train_seeds(loaded, seeds, out=out, overrides=changes, hooks=display.hooks, team=team)
    if as_json and team.leads:
        click.echo(json.dumps(found.as_dict(), indent=2))
    elif not quiet:
        path = shlex.quote(str(found.path))
        click.echo(f"{seeds_table(found)}\nrun folders {path}/seed-…\nnext: lenumba evaluate {path}")


@click.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG CONFIG...|RUN RUN [OVERRIDES]...")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Trainings of each configuration  [default: 5]")
@click.option("--out", type=PATH, help="Keep the runs in this folder; the same command again goes on there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
@with_mpi
def compare(configs: tuple[str, ...], seeds: int | None, out: Path | None, as_json: bool) -> None:
    """Train configurations with several seeds and compare: size, time, accuracy, also on shifted test images.

    Of two RUNs, nothing is trained: how they differ on the same test images, image by image, and whether that may be
    chance. Two folders of 'train --seeds' are compared seed by seed.
    """
    from lenumba.commands.display import ComparisonDisplay
    from lenumba.engine.config.recipes import recipe_names
    from lenumba.engine.ranks.team import current
    from lenumba.engine.runs.compare import compare
    from lenumba.engine.runs.comparison_table import comparison_table
    from lenumba.engine.runs.folders import is_run

    names = [item for item in configs if "=" not in item or is_file(item) or is_run(item)]
    changes = [item for item in configs if item not in names]
    runs = [name for name in names if name not in recipe_names() and not is_file(name) and is_run(name)]
    if len(names) < 2:
        raise click.UsageError(f"expected at least 2 configurations, found {len(names)}; or 2 runs")
    if runs and len(runs) < len(names):
        recipe = next(name for name in names if name not in runs)
        raise click.UsageError(f"expected configurations or runs alone, found {recipe} and the run {runs[0]}: train it")
    if runs:
        if len(runs) > 2 or seeds is not None or out is not None:
            raise click.UsageError("two runs are compared without --seeds and --out: there is nothing to train")
        if not is_follower():
            compare_trained(runs[0], runs[1], changes, as_json=as_json)
        return
    team = current()
    with ComparisonDisplay(lambda line: click.echo(line, err=True), silent=as_json or not team.leads) as display:
        found = compare(names, changes, seeds or SEEDS, display.hooks, out, team)
    if team.leads:
        click.echo(json.dumps([item.as_dict() for item in found], indent=2) if as_json else comparison_table(found))
    if team.leads and out is not None and (path := draw_comparison(out)) and not as_json:
        click.echo(f"{path}  the curves of all trainings")


def draw_comparison(out: Path) -> Path | None:
    """Draw the curves of a comparison's runs, where Matplotlib is installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        tell_notes(["the curves are not drawn: that needs pip install 'lenumba[plot]'"])
        return None
    from lenumba.engine.report.curves import find_curves, write_curves

    return write_curves(find_curves([str(out)]), out / "plots")


def compare_trained(first: str, second: str, overrides: list[str], *, as_json: bool) -> None:
    """Compare two runs, or folders of seeds, and print how they differ."""
    from lenumba.commands.judging_tables import run_comparison_table
    from lenumba.commands.target_tables import target_comparison_table
    from lenumba.engine.common.kinds import without_nan
    from lenumba.engine.models.side_by_side import RunComparison, compare_runs

    found = compare_runs((first, second), overrides)
    tell_notes(found.notes)
    if as_json:
        click.echo(json.dumps(without_nan(found.as_dict()), ensure_ascii=False))
    elif isinstance(found, RunComparison):
        click.echo(run_comparison_table(found))
    else:
        click.echo(target_comparison_table(found))


@click.command()
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
@click.option("--retry-failed", is_flag=True, help="Try its failed trials again.")
@click.option("--status", is_flag=True, help="Tell how far a study is, and leave it alone.")
@click.option("--storage", metavar="URL", help="A database, such as postgresql://…, for several machines at once.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the study's summary as JSON, and nothing else.")
@with_mpi
def tune(
    config: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    jobs: int,
    threads: int | None,
    name: str | None,
    resume: bool,
    retry_failed: bool,
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
    from lenumba.commands.tuning_command import show_status, tune_command
    from lenumba.engine.ranks.team import current
    from lenumba.engine.tuning.hosts import follow_study

    recipe, changes = split_arguments(config, overrides)
    if status:
        if not is_follower():
            click.echo(show_status(name or recipe, storage, as_json=as_json))
        return
    if recipe is None and not resume:
        raise click.UsageError("expected a recipe with a section 'tune', such as lenet-tune, or --resume")
    changes += [] if threads is None else [f"train.threads={threads}"]
    options = {"trials": trials, "jobs": jobs, "storage": storage, "retry_failed": retry_failed}
    team = current()
    if team.size > 1 and jobs > 1:
        raise click.UsageError("--jobs: each rank is a worker under mpirun; leave it away")
    if not team.leads:
        follow_study(team)
        return
    tune_command(click.echo, recipe, changes, name, resume=resume, quiet=quiet, as_json=as_json, team=team, **options)


@click.command()
@click.argument("config", required=False)
@click.argument("overrides", nargs=-1)
@click.option("--batch-size", type=click.IntRange(1), help="Images in a batch; the recipe's by default.")
@click.option("--threads", type=NUMBERS, metavar="N[,N…]", help="CPU threads; of a function several: how it scales.")
@click.option("--args", "arguments", help="For a function: its arguments, such as 'np.ones(1000), 3'.")
@click.option("--setup", metavar="CODE", help="For a function: statements before --args, whose names it may use.")
@click.option("--seconds", type=click.FloatRange(0, 3600), help="Time to measure  [default: 6; of a function 1]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what --compare reads.")
@click.option("--html", type=PATH, is_flag=False, flag_value="profile.html", help="Write a page with pictures.")
@click.option("--trace", type=PATH, help="Write a timeline for Perfetto or chrome://tracing.")
@click.option(
    "--compare",
    metavar="RUN|FILE|FUNCTION|REVISION",
    help="Compare with a run or what --json printed; a function also with another, or with a Git revision, in turns; "
    "exit code 1 if slower.",
)
@click.option("--tolerance", type=SHARE, help="For a function: what --compare lets pass  [default: 5%]")
@click.option("--sizes", metavar="n=1e3,1e4", help="For a function: its time for several values of a name in --args.")
@click.option("--try", "trying", is_flag=True, help="For a function: try flags of Numba's, and say what each changes.")
@click.option("--compile", "compilation", is_flag=True, help="Also show what compiling costs, kernel by kernel.")
@click.option("--asm", metavar="KERNEL", help="Print a kernel's assembly, with LLVM's remarks and each loop's verdict.")
@click.option("--llvm", metavar="KERNEL", help="Print a kernel's LLVM code, with LLVM's remarks.")
@click.option("--machine", is_flag=True, help="Measure the machine's peaks, and nothing else.")
@with_mpi
def profile(config: str | None, overrides: tuple[str, ...], batch_size: int | None, **options: Any) -> None:
    """Show where the time of a training step goes, why, and how near each kernel comes to the machine's limits.

    CONFIG is a recipe's name or a YAML file's path, 'lenet' if it is left out; or FILE.py:FUNCTION or MODULE:FUNCTION,
    a function of your own that Numba compiles, or several, side by side. Without --args, the function
    FUNCTION_arguments() beside it makes them.
    """
    from lenumba.commands.display import StepBar
    from lenumba.commands.profile_command import run_profile, run_profile_of_ranks
    from lenumba.engine.profile.subject import names_function
    from lenumba.engine.ranks.team import current

    own = config is not None and names_function(config)
    name, changes = (config, list(overrides)) if own else split_arguments(config, overrides)
    changes += [f"data.batch_size={batch_size}"] if batch_size else []
    if (team := current()).size > 1:
        text = run_profile_of_ranks(name, changes, team, **options)
        if team.leads:
            click.echo(text)
        return
    with StepBar() as progress:
        text, fault = run_profile(name, changes, **options, progress=progress)
    click.echo(text)
    if fault:
        raise fault
