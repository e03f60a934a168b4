"""Runs: training into a run folder, resuming there, and the record of it."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError, DivergedError, InterruptedRunError
from lenumba.engine.common.files import read_json, sync, write_json, write_text
from lenumba.engine.common.host import peak_rss_mb
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.common.metrics import predicted_classes
from lenumba.engine.config.config import LoadedConfig, dump_config
from lenumba.engine.data.selection import load_data
from lenumba.engine.network.network import Network
from lenumba.engine.runs.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from lenumba.engine.runs.extras import check_extras
from lenumba.engine.runs.facts import describe_run
from lenumba.engine.runs.folders import (
    check_empty,
    check_overrides,
    check_writable,
    keep_history,
    load_run_config,
    locked,
    make_folder,
    portable,
    read_history,
)
from lenumba.engine.runs.hooks import Hooks
from lenumba.engine.runs.recording import recording
from lenumba.engine.runs.transfer import absolute_source, read_source, take_over
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.training.trainer import Progress, Trainer

RESUMABLE = ("train.epochs", "train.threads", "data.root")
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
    """

    path: Path
    summary: dict[str, Any]
    history: list[dict[str, Any]] = field(repr=False)

    @property
    def test_accuracy(self) -> float:
        """Share of right answers on the test set."""
        return self.summary["test_accuracy"]


def start_run(
    loaded: LoadedConfig,
    *,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> RunResult:
    """Train a configuration in a new run folder.

    Parameters
    ----------
    out
        The run folder, which must be new or empty; without it ``runs/<recipe>-NNN`` with the next free number.
    overrides
        How the configuration was changed on the command line, for the record.

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
    trainer = make_trainer(loaded, hooks)
    take_over(trainer, source)
    with Graceful(trainer.stop) as interruption, locked(folder := make_folder(out, loaded.name)):
        check_empty(folder)  # again: another process may have been quicker while this one compiled
        facts = describe_run(trainer, loaded, overrides)
        save(trainer, folder)
        # Last, as it makes the folder a run: whatever interrupts this, each run has a checkpoint to resume from.
        write_text(folder / "config.yaml", dump_config(portable(loaded.config)))
        return carry_on(trainer, folder, facts, started, hooks, interruption)


def resume_run(folder: Path, overrides: Sequence[str] = (), hooks: Hooks | None = None) -> RunResult:
    """Go on with an interrupted run, or train a finished one for more epochs (override ``train.epochs``).

    The result is bit-identical to that of a run that was never interrupted.

    Raises
    ------
    ConfigError
        Where an override changes more than the length of the run, the threads or the data's folder, or the network is
        not the checkpoint's.
    DataError
        Where the folder is no run, its checkpoint is damaged, another process trains in it, or the data differ.
    """
    hooks = hooks or Hooks()
    started = time.monotonic()
    check_overrides(overrides, RESUMABLE)
    loaded = load_run_config(folder, overrides)
    with locked(folder):
        tensors, state = load_checkpoint(folder / "last.safetensors")
        check_checkpoint(loaded, tensors, state, folder)
        trainer = make_trainer(loaded, hooks)
        check_data(trainer, state, folder)
        restore(trainer, tensors, state, folder)
        keep_history(folder, trainer.progress.epoch)
        before = read_json(folder / "run.json")
        if (planned := load_run_config(folder).config.train.epochs) != loaded.config.train.epochs:
            # The learning rates so far were those of a run of other length, as whoever replays it must know.
            progress = {"epoch": trainer.progress.epoch, "batch": trainer.progress.batch}
            before["extended"] = [*before.get("extended", []), {**progress, "epochs": planned}]
            write_json(folder / "run.json", before)
        if overrides:
            write_text(folder / "config.yaml", dump_config(portable(loaded.config)))
        trainer.init_from = before.get("init_from")
        facts = describe_run(trainer, loaded, [*before.get("overrides", []), *overrides])
        facts |= {name: before[name] for name in KEPT if name in before}
        started -= before.get("wall_s", 0.0)
        with Graceful(trainer.stop) as interruption:
            return carry_on(trainer, folder, facts, started, hooks, interruption)


def check_data(trainer: Trainer, state: Mapping[str, Any], folder: Path) -> None:
    """Raise DataError where a checkpoint was trained on other data than the trainer has."""
    if state["data_sha256"] not in (None, trainer.dataset.sha256):  # None: imported, so trained on no data yet
        raise DataError(f"{folder}: was trained on other data than {trainer.dataset.name} now is; restore them")


def make_trainer(loaded: LoadedConfig, hooks: Hooks) -> Trainer:
    """Check the configuration, read the data and compile the network, in this order."""
    check_extras(loaded.config)
    if stated_shape(loaded.config) is not None:  # else only the files tell the size of the images
        check_network(loaded)
    return Trainer(loaded, load_data(loaded, hooks.download_bar), hooks.compile)


def carry_on(
    trainer: Trainer,
    folder: Path,
    facts: dict[str, Any],
    started: float,
    hooks: Hooks,
    interruption: Graceful,
) -> RunResult:
    """Train to the last epoch, keeping the folder up to date, then read the test set once."""
    saved = time.monotonic()
    status = {"status": "running", **facts}
    write_json(folder / "run.json", status)
    if hooks.start:
        hooks.start(trainer, folder)
    try:
        with (
            (folder / "metrics.jsonl").open("a", encoding="utf-8") as metrics,
            recording(trainer, folder) as record_epoch,
        ):
            for record in trainer.epochs(hooks.watch):
                metrics.write(json.dumps(record.as_dict()) + "\n")
                metrics.flush()
                record_epoch(record)
                if hooks.epoch:
                    hooks.epoch(record)
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    save(trainer, folder)
                    saved = time.monotonic()
            save(trainer, folder)
    except DivergedError as error:
        write_json(folder / "run.json", {**status, "status": "diverged", "wall_s": time.monotonic() - started})
        raise DivergedError(f"{error}; the last finite checkpoint is {folder / 'last.safetensors'}") from None
    if interruption.signal is None:
        test_loss, outputs = trainer.test()
    if interruption.signal is not None:  # it may have come during the test, which is repeated then
        write_json(folder / "run.json", {**status, "status": "interrupted", "wall_s": time.monotonic() - started})
        raise InterruptedRunError(folder, trainer.progress.epoch, interruption.signal)
    history = read_history(folder)
    best = trainer.network.views(trainer.best_theta)
    summary = {
        "status": "finished",
        "test_accuracy": float((predicted_classes(outputs) == trainer.dataset.test_labels).mean()),
        "test_loss": test_loss,
        "epochs": trainer.progress.epoch,
        "best_epoch": trainer.progress.best_epoch,
        "images_per_second": median([line["images_per_second"] for line in history[1:] or history] or [0.0]),
        "weights_sha256": weights_sha256(trainer.network.views(trainer.executor.theta)),
        "best_weights_sha256": weights_sha256(best),
        **facts,
        "wall_s": time.monotonic() - started,
        "peak_rss_mb": peak_rss_mb(),
    }
    write_json(folder / "run.json", summary)
    if trainer.config.plots and hooks.finished:
        hooks.finished(folder)
    return RunResult(folder, summary, history)


# ------------------------------------------------------------------------------------------- checkpoints of a run


def save(trainer: Trainer, folder: Path) -> None:
    """Write `best.safetensors` and `last.safetensors`, once the record of their epochs is durable."""
    sync(folder / "metrics.jsonl")
    state = {
        "progress": asdict(trainer.progress),
        "seed": trainer.config.train.seed,
        "mean": trainer.mean.tolist(),
        "deviation": trainer.deviation.tolist(),
        "data_sha256": trainer.dataset.sha256,
        "class_names": list(trainer.dataset.class_names),
        "image_shape": list(trainer.dataset.image_shape),
    }
    write_checkpoints(
        folder, trainer.network, trainer.executor.theta, trainer.best_theta, trainer.executor.state, state
    )


def write_checkpoints(
    folder: Path,
    network: Network,
    theta: np.ndarray,
    best_theta: np.ndarray,
    optimizer_state: np.ndarray,
    state: Mapping[str, Any],
) -> None:
    """Write both checkpoints: float32 [network.size] parameters, and as much for each number the optimiser keeps."""
    best = {name: view.copy() for name, view in network.views(best_theta).items()}
    save_checkpoint(folder / "best.safetensors", best, state)
    tensors = {name: view.copy() for name, view in network.views(theta).items()}
    for number, slot in enumerate(optimizer_state.reshape(-1, network.size)):
        tensors |= {f"optimizer.{number}.{name}": view.copy() for name, view in network.views(slot).items()}
    tensors |= {f"best.{name}": view for name, view in best.items()}
    save_checkpoint(folder / "last.safetensors", tensors, state)


def check_checkpoint(
    loaded: LoadedConfig, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any], folder: Path
) -> None:
    """Raise ConfigError where a checkpoint does not fit its run's configuration, before anything is compiled."""
    network = check_network(loaded, tuple(state["image_shape"]), len(state["class_names"]))
    fill_parameters(network.views(np.zeros(network.size, np.float32)), tensors, folder)
    epochs, done = loaded.config.train.epochs, state["progress"]["epoch"]
    if epochs < done:
        raise loaded.error(
            "train.epochs", f"expected at least the {done} epochs that {folder} has done, found {epochs}"
        )


def restore(trainer: Trainer, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any], folder: Path) -> None:
    """Put a checkpoint's tensors and position into a trainer."""
    network, executor = trainer.network, trainer.executor
    fill_parameters(network.views(executor.theta), tensors, folder)
    fill_parameters(network.views(trainer.best_theta), tensors, folder, "best.")
    for number in range(trainer.optimizer.states):
        slot = executor.state[number * network.size : (number + 1) * network.size]
        fill_parameters(network.views(slot), tensors, folder, f"optimizer.{number}.")
    trainer.progress = Progress(**state["progress"])
    # Of an imported network they are not the data's own.
    trainer.mean, trainer.deviation = np.array(state["mean"]), np.array(state["deviation"])
    executor.normalize(trainer.mean, trainer.deviation)


def fill_parameters(
    views: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray], where: Path, prefix: str = ""
) -> None:
    """Copy tensors into views of the same names and shapes, or raise ConfigError listing what does not fit."""
    wrong = []
    for name, view in views.items():
        found = tensors.get(prefix + name)
        if found is None or found.shape != view.shape:
            shape = "nothing" if found is None else "×".join(map(str, found.shape))
            wrong.append(f"{prefix}{name} expected {'×'.join(map(str, view.shape))}, found {shape}")
        else:
            view[...] = found
    if wrong:
        raise ConfigError(f"{where}: the checkpoint is of another network: {'; '.join(wrong)}")
