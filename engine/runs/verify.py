"""Replaying a run from its beginning, and comparing it bit for bit with what its folder holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.host import versions
from lenumba.engine.common.progress import Progress
from lenumba.engine.runs.changes import check_overrides
from lenumba.engine.runs.checkpoint import BEST, LAST, Checkpoint, checkpoints_of
from lenumba.engine.runs.folders import check_free, load_run_config, read_history
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.runs.records import read_run_json
from lenumba.engine.runs.run import make_trainer, results
from lenumba.engine.runs.transfer import read_source, take_over
from lenumba.engine.training.trainer import Trainer

ALLOWED = ("train.threads", "data.root")
TIMES = ("seconds", "images_per_second")  # what no two trainings have in common

Position = tuple[int, int]  # whole epochs, and batches of the next one


@dataclass(frozen=True)
class Verdict:
    """What a replay found.

    Attributes
    ----------
    path
        The run folder.
    epochs, batches
        How far the run was replayed: whole epochs, and batches of the next one.
    compared
        What was compared, in words.
    difference
        The first thing that differs, in one line; None where every bit is the same.
    note
        What may explain it, such as other versions; empty if nothing is known.
    """

    path: Path
    epochs: int
    batches: int
    compared: list[str]
    difference: str | None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values, ``same`` first."""
        return {"same": self.difference is None, **asdict(self), "path": str(self.path)}


def verify_run(
    folder: Path, overrides: Sequence[str] = (), *, epoch: int | None = None, hooks: Hooks | None = None
) -> Verdict:
    """Train a run again from its first parameters and compare epochs, checkpoints and test results with the folder's.

    Nothing is written. A run that was resumed for more epochs is replayed as it was trained, piece by piece.

    Parameters
    ----------
    overrides
        ``train.threads`` and ``data.root`` alone.
    epoch
        Replay only so many epochs, and compare the weights where a checkpoint is of that epoch.

    Raises
    ------
    ConfigError
        For other overrides, or an epoch that the run has not done.
    DataError
        Where the folder is no run, its checkpoints are damaged, it was imported, another process trains in it, or the
        data differ.
    """
    hooks = hooks or Hooks()
    check_overrides(overrides, ALLOWED)
    loaded = load_run_config(folder, overrides)
    check_free(folder)
    files = {name: Checkpoint.read(folder / name) for name in (LAST, BEST)}
    record, last = read_run_json(folder), files[LAST]
    if "imported" in record:
        raise DataError(
            f"{folder}: its first parameters were imported and are not kept; only a trained run is replayed"
        )
    last.check(loaded)
    done = last.progress
    if epoch is not None and not 1 <= epoch <= done.epoch:
        raise ConfigError(f"--epoch: expected 1 to {done.epoch}, the epochs that {folder} has done, found {epoch}")
    source = read_source(loaded)
    trainer = make_trainer(loaded, hooks, last)
    take_over(trainer, source)
    end = (done.epoch, done.batch) if epoch is None else (epoch, 0)
    if hooks.start:
        hooks.start(trainer, folder)
    history = {line["epoch"]: line for line in read_history(folder)}
    compared: list[str] = []
    difference = None
    for found in replay(trainer, pieces(record, loaded.config.train.epochs, end), hooks):
        difference = difference or compare_values(f"epoch {found['epoch']}", history.get(found["epoch"]), found)
    if end[0]:
        compared.append(f"metrics of {end[0]} epoch{'s' * (end[0] != 1)}")
    mine = {checkpoint.path.name: checkpoint for checkpoint in checkpoints_of(trainer, folder)}
    for name, held in files.items():
        if (what := comparable(name, held.progress, end)) is None:
            continue
        compared.append(f"{name} ({what})")
        difference = difference or compare_tensors(name, held.tensors, mine[name].tensors)
        if what == "all":
            difference = difference or compare_values(name, position(held), position(mine[name]))
    if record.get("status") == "finished" and end == (done.epoch, 0) and record.get("epochs") == done.epoch:
        compared.append("run.json")
        difference = difference or compare_values("run.json", record, results(trainer))
    note = other_versions(record) if difference else ""
    return Verdict(folder, *end, compared, difference, note)


# ------------------------------------------------------------------------------------------------------ replaying


def pieces(record: Mapping[str, Any], epochs: int, end: Position) -> Iterator[tuple[int, Position]]:
    """Yield (planned epochs, where that plan ended): learning rates go by how long a run was to be at the time."""
    for extension in record.get("extended", []):
        until = (extension["epoch"], extension["batch"])
        yield extension["epochs"], min(until, end)
        if until >= end:
            return
    yield epochs, end


def replay(trainer: Trainer, plan: Iterator[tuple[int, Position]], hooks: Hooks) -> Iterator[dict[str, Any]]:
    """Train piece by piece, yielding a dict for each whole epoch."""
    for planned, until in plan:
        for record in trainer.epochs(hooks.watch, planned=planned, until=until):
            if hooks.epoch:
                hooks.epoch(record)
            yield record.as_dict()


# ------------------------------------------------------------------------------------------------------ comparing


def comparable(name: str, progress: Progress, end: Position) -> str | None:
    """Return what of a checkpoint can be compared with a replay that ends at `end`: "all", "weights" or nothing."""
    if name == LAST:
        return "all" if (progress.epoch, progress.batch) == end else None
    return "all" if (progress.epoch, progress.batch) == end else "weights" if (progress.best_epoch, 0) == end else None


def position(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return where a checkpoint stands, and its normalisation."""
    names = ("mean", "deviation")
    return {**asdict(checkpoint.progress), **{name: checkpoint.state[name] for name in names}}


def compare_values(where: str, held: Mapping[str, Any] | None, found: Mapping[str, Any]) -> str | None:
    """Name the first value that differs from the folder's, or return None; what only later versions tell is skipped."""
    if held is None:
        return f"{where}: not in the folder"
    for key, value in found.items():
        if key not in TIMES and held.get(key, value) != value:
            return f"{where}: {key} is {held[key]} in the folder, {value} in the replay"
    return None


def compare_tensors(where: str, held: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> str | None:
    """Name the first tensor that differs in any bit from the folder's, or return None."""
    for name, mine in found.items():
        theirs = held[name]
        different = np.ascontiguousarray(theirs).view(np.uint32) != np.ascontiguousarray(mine).view(np.uint32)
        if count := int(different.sum()):
            place = tuple(np.argwhere(different)[0].tolist())
            return (
                f"{where}: {name} differs in {count} of {mine.size} values, first at {list(place)}: "
                f"{theirs[place]!s} in the folder, {mine[place]!s} in the replay"
            )
    return None


def other_versions(record: Mapping[str, Any]) -> str:
    """Say what differs between the run's software and that of the replay; nothing where nothing does."""
    then, now = record.get("versions", {}), versions()
    changed = [
        f"{name} {then.get(name, '?')}, now {number}" for name, number in now.items() if then.get(name) != number
    ]
    return f"trained with {'; '.join(changed)}" if changed else ""
