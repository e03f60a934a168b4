"""One configuration trained with several seeds, each in a run folder of its own, side by side in one folder."""

import contextlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from lenumba.engine.common.errors import ConfigError, DivergedError, InterruptedRunError
from lenumba.engine.common.files import SUFFIX, write_json
from lenumba.engine.common.targets import WORDS
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.ranks.folders import check_shared
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.changes import deciding, differences
from lenumba.engine.runs.checkpoint import LAST, Checkpoint
from lenumba.engine.runs.figures import CompareHooks, Figure, SeedFigures, TargetFigures, with_seed
from lenumba.engine.runs.folders import (
    LOCK,
    check_writable,
    load_run_config,
    locked,
    never_began,
    new_folder,
    read_history,
)
from lenumba.engine.runs.records import read_run_json
from lenumba.engine.runs.run import Hooks, resume_run, start_run
from lenumba.engine.runs.transfer import absolute_source
from lenumba.engine.training.trainer import Trainer

SUMMARY = "seeds.json"


@dataclass(frozen=True)
class TargetSeeds:
    """What the trainings brought, where the target is no class: `figures` of the test set over the seeds, by name."""

    path: Path
    figures: dict[str, Figure]
    seconds: Figure
    runs: tuple[TargetFigures, ...] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class SeedsResult:
    """What the trainings brought.

    Attributes
    ----------
    path
        The folder that holds the run folders ``seed-0``, ``seed-1``, …
    test_accuracy, seconds
        Over the seeds: share of right answers on the test set, and seconds of training alone.
    runs
        Each seed's own figures.
    """

    path: Path
    test_accuracy: Figure
    seconds: Figure
    runs: tuple[SeedFigures, ...] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {**asdict(self), "path": str(self.path)}


def train_seeds(
    loaded: LoadedConfig,
    seeds: int,
    *,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    hooks: CompareHooks | None = None,
    team: Alone = ALONE,
) -> SeedsResult | TargetSeeds:
    """Train with the seeds train.seed, train.seed + 1, …, or finish what an earlier call has begun in `out`.

    Parameters
    ----------
    seeds
        How many seeds.
    out
        The folder: a new one, or that of an earlier call, whose finished seeds are kept and whose unfinished one goes
        on; without it ``runs/<recipe>-NNN`` with the next free number.
    overrides
        How the configuration was changed on the command line, for the record.
    team
        The ranks that share out the seeds, each of which calls this alike.

    Raises
    ------
    ConfigError
        Where `out` holds something else than seeds of this configuration; also as :func:`start_run` does.
    DataError, DivergedError, InterruptedRunError
        As :func:`lenumba.engine.runs.run.start_run` does; the first also where the ranks do not share the folder.
    """
    hooks, loaded = hooks or CompareHooks(), team.told(absolute_source(loaded))
    items = seeded_configs(loaded, seeds)
    with contextlib.ExitStack() as stack:
        given = out
        if team.leads:
            if out is not None and out.is_dir():
                check_seeds(out, items)
            else:
                check_writable(out)
            given, _ = stack.enter_context(new_folder(out, loaded.name))
        folder = cast(Path, team.told(given))
        check_shared(team, folder)
        config = loaded.source if Path(loaded.source).is_file() else loaded.name
        command = ["lenumba", "train", config, *overrides, "--seeds", str(seeds), "--out", str(folder)]
        team.resumes_with(shlex.join(command))

        def train_one(number: int) -> Any:
            item = items[number]
            follow = follow_training(hooks, item, item.name, (number, seeds))
            found = train_seed(item, folder, overrides, follow, command, team.own)
            if hooks.done:
                hooks.done(item.name, found, number + 1, seeds)
            return found

        runs: list[Any] = team.share_out(seeds, train_one, shlex.join(command))
        seconds = Figure.of([run.seconds for run in runs])
        result: SeedsResult | TargetSeeds
        if loaded.config.data.target == "class":
            result = SeedsResult(folder, Figure.of([run.test_accuracy for run in runs]), seconds, tuple(runs))
        else:
            figures = {name: Figure.of([run.figures[name] for run in runs]) for name in runs[0].figures}
            result = TargetSeeds(folder, figures, seconds, tuple(runs))
        if team.leads:
            write_json(folder / SUMMARY, result.as_dict())
    return result


def seeded_configs(loaded: LoadedConfig, seeds: int) -> list[LoadedConfig]:
    """Return a configuration with so many seeds, from train.seed on."""
    first = loaded.config.train.seed
    return [with_seed(loaded, seed) for seed in range(first, first + seeds)]


def run_folder(folder: Path, item: LoadedConfig) -> Path:
    """Return the run folder of a configuration's seed."""
    return folder / f"seed-{item.config.train.seed}"


def train_seed(
    item: LoadedConfig,
    folder: Path,
    overrides: Sequence[str],
    hooks: Hooks,
    command: Sequence[str],
    team: Alone = ALONE,
) -> SeedFigures | TargetFigures:
    """Train one seed from where it stands: not begun, begun, or finished; `command` goes on after an interruption."""
    path = run_folder(folder, item)
    record = read_run_json(path)
    if is_finished(path, item, record):
        if (path / LOCK).exists():  # of a process that was killed when all was done
            with locked(path):
                pass
    else:
        try:
            if (path / "config.yaml").is_file():
                result = resume_run(path, hooks=hooks, team=team)
            else:
                result = start_run(item, out=path, overrides=overrides, hooks=hooks, team=team)
            record = result.summary
            if result.signal is not None:
                raise InterruptedRunError(path, record["epochs"], result.signal)
        except InterruptedRunError as stopped:
            raise InterruptedRunError(path, stopped.epochs, stopped.signal, shlex.join(command)) from None
        except DivergedError as error:
            raise DivergedError(f"seed {item.config.train.seed}: {error}") from None
    seconds = sum(line["seconds"] for line in read_history(path))
    if item.config.data.target == "class":
        return SeedFigures(item.config.train.seed, seconds, record["test_accuracy"])
    told = {name: record.get(f"test_{name}") for name in WORDS}
    return TargetFigures(item.config.train.seed, seconds, {name: v for name, v in told.items() if v is not None})


def is_finished(path: Path, item: LoadedConfig, record: Mapping[str, Any]) -> bool:
    """Return whether a seed has been trained with this configuration, whatever its ``config.yaml`` was made to say."""
    known = "test_accuracy" if item.config.data.target == "class" else "test_loss"
    if record.get("status") != "finished" or not isinstance(record.get(known), float):
        return False
    return not any(differences(Checkpoint.read(path / LAST).state.get("config") or {}, deciding(item.config)))


def follow_training(hooks: CompareHooks, item: LoadedConfig, name: str, place: tuple[int, int]) -> Hooks:
    """Return hooks that tell how much of all is done; `place` is (trainings done before, all trainings)."""
    follow = Hooks(compile=hooks.compile, finished=hooks.finished, download_bar=hooks.download_bar)

    def start(trainer: Trainer, path: Path) -> None:
        follow.watch = watcher(hooks, trainer, name, place)

    follow.start = start
    return follow


def watcher(
    hooks: CompareHooks, trainer: Trainer, name: str, place: tuple[int, int]
) -> Callable[[int, int, float, float], None]:
    """Return a function for :meth:`Trainer.epochs` that tells `hooks` how much of all is done."""
    train, images = trainer.config.train, len(trainer.train_indices)

    def watch(epoch: int, done: int, loss: float, accuracy: float) -> None:
        if hooks.watch:
            hooks.watch(name, train.seed, (place[0] + (epoch - 1 + done / images) / train.epochs) / place[1])

    return watch


def check_seeds(out: Path, items: Sequence[LoadedConfig]) -> None:
    """Raise ConfigError where a folder holds anything but seeds of this configuration."""
    known = (LOCK, SUMMARY, "plots")
    others = [
        path.name for path in out.iterdir() if path.name not in known and path.suffix != SUFFIX and not is_seed(path)
    ]
    if others:
        raise ConfigError(f"--out {out}: expected a new folder or one of --seeds, found {others[0]}; choose another")
    for item in items:
        path = run_folder(out, item)
        if (path / "config.yaml").is_file():
            for key, *_ in differences(deciding(load_run_config(path).config), deciding(item.config)):
                raise ConfigError(f"--out {out}: {path.name} was trained with another {key}; choose another folder")


def is_seed(path: Path) -> bool:
    """Return whether a folder is one of a seed: a run's, or one that was killed before it began."""
    begun = (path / "config.yaml").is_file()
    return path.name.startswith("seed-") and path.is_dir() and (begun or never_began(path))
