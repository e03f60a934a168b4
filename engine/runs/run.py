"""Runs: training into a run folder, resuming there, and the record of it."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError, DivergedError, InterruptedRunError, resuming
from lenumba.engine.common.files import append, write_json, write_text
from lenumba.engine.common.host import peak_rss_mb
from lenumba.engine.common.html import curves_html, heading_html
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.common.measures import Measured
from lenumba.engine.common.metrics import Judged
from lenumba.engine.common.targets import FALLING, WORDS
from lenumba.engine.config.config import LoadedConfig, dump_config
from lenumba.engine.config.sections import IN_MEMORY
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.sharing import load_shared
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.changes import RESUMABLE, check_overrides, training_on
from lenumba.engine.runs.checkpoint import LAST, Checkpoint, save
from lenumba.engine.runs.facts import RunRecord, describe_run
from lenumba.engine.runs.folders import (
    check_new,
    check_writable,
    keep_history,
    load_run_config,
    locked,
    new_folder,
    portable,
    read_history,
)
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.runs.prepare import check_stated
from lenumba.engine.runs.recording import recording
from lenumba.engine.runs.records import read_run_json
from lenumba.engine.runs.tensor_file import weights_sha256
from lenumba.engine.runs.transfer import absolute_source, read_source, take_over
from lenumba.engine.training.foretelling import foretell
from lenumba.engine.training.together import agreed, spread
from lenumba.engine.training.trainer import Trainer

KEPT = ("started", "imported", "extended")  # of run.json, when a run goes on
CHECKPOINT_SECONDS = 5.0  # at most this much training, and one epoch more, is repeated after a crash


@dataclass(frozen=True)
class RunResult:
    """What a finished run brought.

    Attributes
    ----------
    path
        The run folder.
    summary
        The contents of its ``run.json``.
    history
        One dict an epoch, the lines of its ``metrics.jsonl``.
    signal
        The number of a signal that came too late to end it, for whoever would go on with something else; or None.
    """

    path: Path
    summary: dict[str, Any]
    history: list[dict[str, Any]] = field(repr=False)
    signal: int | None = None

    @property
    def test_accuracy(self) -> float:
        """Share of right answers on the test set; NaN where the target knows none."""
        return self.summary.get("test_accuracy", float("nan"))

    def _repr_html_(self) -> str:
        told = {name: f"{value:.4f}" for name in WORDS if isinstance(value := self.summary.get(f"test_{name}"), float)}
        if "accuracy" in told:
            told = {"test accuracy": f"{100 * self.test_accuracy:.2f} %", "test loss": told["loss"]}
        told["epochs"] = str(self.summary.get("epochs", len(self.history)))
        best = self.summary.get("best_epoch")
        return heading_html(str(self.path), told) + curves_html(self.history, best=best)


def start_run(
    loaded: LoadedConfig,
    *,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    hooks: Hooks | None = None,
    dataset: Dataset | None = None,
    team: Alone = ALONE,
) -> RunResult:
    """Train a configuration in a new run folder.

    Parameters
    ----------
    out
        The run folder, which must be new or empty; without it ``runs/<recipe>-NNN`` with the next free number.
    overrides
        How the configuration was changed on the command line, for the record.
    dataset
        The data, where they are in memory and not what the configuration names.
    team
        The ranks that train together; this one leads, the others call :func:`lenumba.engine.runs.follow.follow_run`.

    Raises
    ------
    ConfigError, DataError
        Before the folder is made, so that a mistake leaves none behind.
    DivergedError
        When the loss is not finite any more; the folder keeps the last finite checkpoint.
    InterruptedRunError
        After SIGINT or SIGTERM, when the checkpoint is written.
    """
    hooks = hooks or Hooks()
    started = time.monotonic()
    check_writable(out)
    loaded = absolute_source(loaded)
    source = read_source(loaded)
    trainer = make_trainer(team.told(loaded), hooks, given=dataset, team=team)
    take_over(trainer, source)
    with Graceful(trainer.stop) as interruption, new_folder(out, loaded.name) as (folder, locks):
        check_new(folder)  # again: another process may have been quicker while this one compiled
        record = RunRecord(folder, started, describe_run(trainer, loaded, overrides, locks=locks))
        record.write("starting")
        save(trainer, folder)
        # Last, as it makes the folder a run: whatever interrupts this, each run has a checkpoint to resume from.
        write_text(folder / "config.yaml", dump_config(portable(loaded.config)))
        result = carry_on(trainer, record, hooks, interruption)
    return replace(result, signal=interruption.signal)


def resume_run(
    folder: Path,
    overrides: Sequence[str] = (),
    hooks: Hooks | None = None,
    dataset: Dataset | None = None,
    team: Alone = ALONE,
) -> RunResult:
    """Go on with an interrupted run, or train a finished one longer (override ``train.epochs``, ``train.patience``).

    The result is bit-identical to that of a run that was never interrupted.

    Raises
    ------
    ConfigError
        Where an override or an edit of ``config.yaml`` changes more than :data:`RESUMABLE`; each change is named.
    DataError
        Where the folder is no run, its checkpoint is damaged, another process trains in it, or the data differ.
    """
    hooks = hooks or Hooks()
    started = time.monotonic()
    check_overrides(overrides, RESUMABLE)
    loaded = load_run_config(folder, overrides)
    if dataset is not None and loaded.config.data.name != IN_MEMORY:
        raise ConfigError(f"{folder}: expected no images, as its data are {loaded.config.data.name}, found some")
    with locked(folder) as locks:
        last = Checkpoint.read(folder / LAST)
        last.check(loaded)
        trainer = make_trainer(team.told(loaded), hooks, last, dataset, team)
        last.restore(trainer)
        keep_history(folder, trainer.progress.epoch)
        before = note_extension(last, loaded)
        os.utime(folder / "config.yaml")  # the run that was started or resumed last is the latest
        if overrides:
            write_text(folder / "config.yaml", dump_config(portable(loaded.config)))
        trainer.init_from = before.get("init_from")
        facts = describe_run(trainer, loaded, [*before.get("overrides", []), *overrides], locks=locks)
        facts |= {name: before[name] for name in KEPT if name in before}
        record = RunRecord(folder, started - before.get("wall_s", 0.0), facts)
        with Graceful(trainer.stop) as interruption:
            result = carry_on(trainer, record, hooks, interruption)
        return replace(result, signal=interruption.signal)


def note_extension(last: Checkpoint, loaded: LoadedConfig) -> dict[str, Any]:
    """Return the ``run.json`` of a run that goes on, having noted there how long it was to be, where that changes.

    The learning rates so far were those of a run of that length, as whoever replays it must know.
    """
    folder, progress = last.path.parent, last.progress
    record = read_run_json(folder)
    planned = last.planned or load_run_config(folder).config.train.epochs
    if planned != loaded.config.train.epochs:
        piece = {"epoch": progress.epoch, "batch": progress.batch, "epochs": planned}
        record["extended"] = [*(known for known in record.get("extended", []) if known != piece), piece]
        write_json(folder / "run.json", record)
    return record


def reason_to_end(trainer: Trainer) -> tuple[str, str]:
    """Say why a run trains no further, empty where it does, and the value that would have to be larger."""
    progress, train = trainer.progress, trainer.config.train
    if progress.stalled(train.patience) and progress.epoch < train.epochs:
        moved = "lowered" if train.best_by in FALLING else "raised"
        return (
            f"stopped early at epoch {progress.epoch}, as no epoch after {progress.risen_epoch} {moved} the validation "
            f"{WORDS[train.best_by]}",
            "train.patience",
        )
    if progress.epoch == train.epochs:
        return f"all {train.epochs} epochs are done" if train.epochs > 1 else "the only epoch is done", "train.epochs"
    return "", ""


def make_trainer(
    loaded: LoadedConfig,
    hooks: Hooks,
    last: Checkpoint | None = None,
    given: Dataset | None = None,
    team: Alone = ALONE,
) -> Trainer:
    """Check the configuration, read the data and compile the network, in this order.

    With a run's last checkpoint, the data must be those that it was trained on. `given`: data in memory.
    """
    check_stated(loaded)
    try:
        dataset = load_shared(loaded, team, hooks.download_bar, given)
    except DataError as error:
        if last is None or loaded.origins.get("data.root") != "override data.root":
            raise
        raise DataError(f"{error}{training_on(last.path.parent, loaded)}") from None
    if last is not None:
        last.check_data(dataset, loaded)
    trainer = Trainer(loaded, dataset, hooks.compile, team=team)
    if last is not None:
        last.check_drawn(trainer)
    return trainer


def carry_on(trainer: Trainer, record: RunRecord, hooks: Hooks, interruption: Graceful) -> RunResult:
    """Train to the last epoch, keeping the folder up to date, then read the test set once."""
    folder = record.folder
    spread(trainer)
    trainer.team.resumes_with(resuming(folder))
    if foretold := foretell(trainer):
        record.facts["ranks"] = foretold.as_dict()
    record.write("running")
    if foretold and hooks.note:
        hooks.note(foretold.line)
    if hooks.start:
        hooks.start(trainer, folder)
    nothing, value = reason_to_end(trainer)
    if nothing and hooks.note:
        hooks.note(f"nothing left to train: {nothing}; resumed with a larger {value} it trains longer")
    try:
        train(trainer, folder, hooks)
    except DivergedError as error:
        record.write("diverged", wall_s=record.seconds)
        raise DivergedError(f"{error}; the last finite checkpoint is {folder / LAST}") from None
    found = {} if agreed(trainer, interruption.signal) else results_and_recall(trainer)
    if signal := agreed(trainer, interruption.signal):  # it may have come during the test, which is repeated then
        record.write("interrupted", wall_s=record.seconds)
        raise InterruptedRunError(folder, trainer.progress.epoch, signal)
    stopped = trainer.progress.epoch < trainer.config.train.epochs
    history = read_history(folder)
    summary = record.write(
        "finished",
        **found,
        epochs=trainer.progress.epoch,
        stopped_early=stopped,
        ended=reason_to_end(trainer)[0],
        best_by=trainer.config.train.best_by,
        images_per_second=median([line["images_per_second"] for line in history[1:] or history] or [0.0]),
        wall_s=record.seconds,
        peak_rss_mb=peak_rss_mb(),
    )
    if trainer.config.plots and hooks.finished:
        hooks.finished(folder)
    return RunResult(folder, summary, history)


def train(trainer: Trainer, folder: Path, hooks: Hooks) -> None:
    """Train to the last epoch, or until a signal comes; metrics and checkpoints are kept as it goes on."""
    saved = time.monotonic()
    append(folder / "metrics.jsonl", "")
    with recording(trainer, folder) as record_epoch:
        for record in trainer.epochs(hooks.watch):
            append(folder / "metrics.jsonl", json.dumps(record.as_dict()) + "\n")
            record_epoch(record)
            if hooks.epoch:
                hooks.epoch(record)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save(trainer, folder)
                saved = time.monotonic()
        save(trainer, folder)


def results(trainer: Trainer, test: Judged | Measured | None = None) -> dict[str, Any]:
    """Return what a finished run's training has brought, and nothing else decides: weights and test results."""
    test = test or trainer.test()
    told = {"accuracy": test.accuracy, "loss": test.loss} if isinstance(test, Judged) else test.told(())
    return {
        **{f"test_{name}": value for name, value in told.items()},
        "best_epoch": trainer.progress.best_epoch,
        "weights_sha256": weights_sha256(trainer.network.views(trainer.executor.theta)),
        "best_weights_sha256": weights_sha256(trainer.network.views(trainer.best_theta)),
    }


def results_and_recall(trainer: Trainer) -> dict[str, Any]:
    """Return the results, what else the test tells of the classes, and which of them were never predicted."""
    test, names = trainer.test(), trainer.dataset.class_names
    if isinstance(test, Measured):
        each = test.by_name(names)
        return results(trainer, test) | ({"each": each} if each else {}) | {"target": trainer.judge.as_dict()}
    tested, predicted = (test.confusion.sum(axis=k) for k in (1, 0))
    told = test.told(names)
    return results(trainer, test) | {
        "test_balanced_accuracy": told["balanced_accuracy"],
        "test_macro_f1": told["macro_f1"],
        "recall": told["recall"],
        "f1": told["f1"],
        "never_predicted": [name for k, name in enumerate(names) if tested[k] and not predicted[k]],
    }
