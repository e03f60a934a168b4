"""Checkpoints: safetensors files with a checksum over tensors and state, written so that nothing gets lost.

Of a run, ``best.safetensors`` holds the best epoch's parameters, and ``last.safetensors`` what training goes on with:
the parameters in training, each number that the optimiser keeps for them (``optimizer.0.conv1.kernel``) and the best
ones (``best.conv1.kernel``). Nothing else knows these names, nor which parameters a network answers with.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import durable, sync
from lenumba.engine.common.progress import Progress
from lenumba.engine.config.config import Config, LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import Optimizer, make_optimizer
from lenumba.engine.runs.changes import RESUMABLE, deciding, differences, training_on
from lenumba.engine.runs.folders import load_run_config
from lenumba.engine.runs.tensor_file import checksum, read_tensors
from lenumba.engine.training.build import check_network
from lenumba.engine.training.judging import Judge
from lenumba.engine.training.trainer import Trainer

FORMAT_VERSION = 1
BEST, LAST = "best.safetensors", "last.safetensors"
BEST_PREFIX, SLOT_PREFIX = "best.", "optimizer."  # of what `last` holds besides the parameters in training


class State(dict[str, Any]):
    """A checkpoint's state: asking for what it does not have is a DataError."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> NoReturn:
        raise DataError(f"{self.path}: expected {key!r} in the checkpoint's state, found none; use another checkpoint")


def read_state(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> State:
    """Return the state in a checkpoint's metadata, after verifying the checksum over it and the tensors."""
    if (text := metadata.get("state")) is None:
        raise DataError(f"{path}: a safetensors file, but no checkpoint of lenumba; use one from a run folder")
    state = None
    with contextlib.suppress(ValueError, RecursionError):
        state = json.loads(text)
    # Before the checksum, whose definition may be another one in a newer format.
    if isinstance(state, dict) and (written := state.get("format_version")) != FORMAT_VERSION:
        found = ascii(written)[:40]
        raise DataError(f"{path}: written by format {found}, this version reads {FORMAT_VERSION}; update lenumba")
    if not isinstance(state, dict) or checksum(tensors, text) != metadata.get("sha256"):
        raise DataError(f"{path}: damaged (its SHA-256 does not match); use another checkpoint")
    return State(path, state)


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: its file, its tensors by name, and a state that JSON can hold (see :func:`make_state`)."""

    path: Path
    tensors: Mapping[str, np.ndarray]
    state: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read a file, and make sure that it is whole.

        Raises
        ------
        DataError
            Where the file is missing, damaged, of a newer format or no checkpoint of lenumba; also on asking for
            something that the state does not have.
        """
        try:
            tensors, metadata = read_tensors(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such checkpoint; is this a run folder?") from None
        except ValueError as error:
            raise DataError(f"{path}: damaged or no safetensors file ({error}); use another checkpoint") from None
        return cls(path, tensors, read_state(path, tensors, metadata))

    def write(self) -> None:
        """Write the file; the one before stays intact until the new one is durable.

        Raises
        ------
        DataError
            Where the disk is full or fails.
        """
        from safetensors.numpy import save

        text = json.dumps({"format_version": FORMAT_VERSION, **self.state}, sort_keys=True)
        copies = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}
        try:
            with durable(self.path) as temporary:
                temporary.write_bytes(save(copies, {"state": text, "sha256": checksum(copies, text)}))
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot write the checkpoint ({error.strerror}); this or the one before is intact"
            ) from None

    @property
    def progress(self) -> Progress:
        """Where the run stood."""
        return Progress.of(self.state["progress"])

    @property
    def planned(self) -> int | None:
        """How many epochs the run was to have when it was written; None: the configuration beside the file tells."""
        config = self.state.get("config")
        return None if config is None else int(config["train"]["epochs"])

    @property
    def normalization(self) -> Normalization:
        """What the network expects of pixels; of an imported one it is not the data's own."""
        return Normalization(
            np.array(self.state["mean"]), np.array(self.state["deviation"]), self.state.get("levels", 255.0)
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the network tells apart."""
        return tuple(self.state["class_names"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images."""
        height, width, channels = self.state["image_shape"]
        return height, width, channels

    def judge(self, network: Network) -> Judge:
        """Return what the network's outputs are compared with."""
        return Judge.told(self.state.get("target", {}), network, len(self.class_names))

    @property
    def judged(self) -> str:
        """What the names begin with of the tensors that the network is validated and answers with."""
        if "judged" in self.state:
            return str(self.state["judged"])
        # Written before states told it: then the configuration beside the file does.
        if self.path.name != LAST or not (self.path.parent / "config.yaml").is_file():
            return ""
        return judged_prefix(make_optimizer(load_run_config(self.path.parent).config.optimizer), self.progress)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The tensors that the network answers with, by the names of its parameters."""
        if prefix := self.judged:
            return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}
        return {key: value for key, value in self.tensors.items() if not key.startswith((SLOT_PREFIX, BEST_PREFIX))}

    def fill(self, network: Network, theta: np.ndarray, prefix: str) -> None:
        """Copy the tensors whose names begin with `prefix` into a network's parameters, float32 [network.size].

        Raises
        ------
        ConfigError
            Listing what does not fit.
        """
        wrong = []
        for name, view in network.views(theta).items():
            found = self.tensors.get(prefix + name)
            if found is None or found.shape != view.shape:
                shape = "nothing" if found is None else "×".join(map(str, found.shape))
                wrong.append(f"{prefix}{name} expected {'×'.join(map(str, view.shape))}, found {shape}")
            else:
                view[...] = found
        if wrong:
            raise ConfigError(f"{self.path.parent}: the checkpoint is of another network: {'; '.join(wrong)}")

    def check(self, loaded: LoadedConfig) -> None:
        """Raise ConfigError where the checkpoint does not fit its run's configuration, before anything is compiled."""
        wrong = [
            f"{loaded.where(key)}: expected {json.dumps(old)[:80]}, which {self.path.parent} was trained with, "
            f"found {json.dumps(new)[:80]}; put it back, or start a new run"
            for key, old, new in differences(self.state.get("config") or {}, deciding(loaded.config))
            if key not in RESUMABLE
        ]
        if wrong:
            raise ConfigError("\n".join(wrong))
        network = check_network(loaded, self.image_shape, len(self.class_names))
        self.fill(network, np.zeros(network.size, np.float32), "")
        epochs, progress = loaded.config.train.epochs, self.progress
        if epochs < progress.epoch + (progress.batch > 0):
            done = f"{progress.epoch + 1} epochs that {self.path.parent} has begun"
            if not progress.batch:
                done = f"{progress.epoch} epochs that {self.path.parent} has done"
            raise loaded.error("train.epochs", f"expected at least the {done}, found {epochs}")

    def check_data(self, dataset: Dataset, loaded: LoadedConfig) -> None:
        """Raise DataError where the checkpoint was trained on other data, saying how to train on with these."""
        # None: imported, so trained on no data yet.
        if self.state["data_sha256"] not in (None, dataset.sha256):
            folder = self.path.parent
            raise DataError(
                f"{folder}: was trained on other data than {dataset.name} now is; restore them"
                f"{training_on(folder, loaded)}"
            )

    def check_drawn(self, trainer: Trainer) -> None:
        """Raise DataError where the checkpoint was trained on, or validated with, other images of the same data."""
        if self.state["data_sha256"] is None:
            return
        if (known := self.state.get("drawn_sha256")) is not None:
            same = known == trainer.drawn_sha256
        elif trainer.config.data.normalize != "mean_std":  # an earlier version's, which could only draw otherwise
            same = trainer.config.data.samples is None
        else:
            same = np.allclose(self.normalization.mean, trainer.normalization.mean, rtol=1e-12, atol=0)
        if not same:
            folder = self.path.parent
            raise DataError(
                f"{folder}: was trained by an earlier version on other images than data.samples = "
                f"{trainer.config.data.samples} now draws; go on with that version{training_on(folder, trainer.loaded)}"
            )

    def restore(self, trainer: Trainer) -> None:
        """Put tensors and position of a ``last.safetensors`` into a trainer."""
        network, executor = trainer.network, trainer.executor
        self.fill(network, executor.theta, "")
        self.fill(network, trainer.best_theta, BEST_PREFIX)
        for number, slot in enumerate(executor.state.reshape(-1, network.size)):
            self.fill(network, slot, slot_prefix(number))
        trainer.progress = self.progress
        trainer.normalization = self.normalization
        executor.normalize(trainer.normalization)
        trainer.take(self.judge(network))


def slot_prefix(number: int) -> str:
    """Return what the names of the optimiser's state `number` begin with."""
    return f"{SLOT_PREFIX}{number}."


def judged_prefix(optimizer: Optimizer, progress: Progress) -> str:
    """Return what the names begin with, in ``last.safetensors``, of the parameters that a network answers with."""
    averaged = optimizer.average and (progress.epoch or progress.batch)  # before the first step there is no average
    return slot_prefix(optimizer.states - 1) if averaged else ""


def make_state(
    progress: Progress,
    config: Config,
    normalization: Normalization,
    class_names: Sequence[str],
    image_shape: Sequence[int],
    data_sha256: str | None,
    drawn_sha256: str | None = None,
    target: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the state of a run's checkpoints; `data_sha256` None: it may go on with any data and configuration.

    `drawn_sha256` is that of the places, among the training images, of those that train and those that validate;
    `target` is what :meth:`Judge.as_dict` tells.
    """
    return {
        "progress": asdict(progress),
        "seed": config.train.seed,
        "config": None if data_sha256 is None else deciding(config),
        "mean": normalization.mean.tolist(),
        "deviation": normalization.deviation.tolist(),
        **({} if normalization.levels == 255 else {"levels": normalization.levels}),
        "data_sha256": data_sha256,
        "drawn_sha256": drawn_sha256,
        "class_names": list(class_names),
        "image_shape": list(image_shape),
        **({"target": dict(target)} if target else {}),
    }


def make_checkpoints(
    folder: Path,
    network: Network,
    optimizer: Optimizer,
    theta: np.ndarray,
    best_theta: np.ndarray,
    optimizer_state: np.ndarray,
    state: Mapping[str, Any],
) -> tuple[Checkpoint, Checkpoint]:
    """Return best and last checkpoint of float32 [network.size] parameters, and as many for each optimiser's state."""
    best = network.views(best_theta)
    tensors = network.views(theta)
    for number, slot in enumerate(optimizer_state.reshape(-1, network.size)):
        tensors |= {slot_prefix(number) + name: view for name, view in network.views(slot).items()}
    tensors |= {BEST_PREFIX + name: view for name, view in best.items()}
    judged = judged_prefix(optimizer, Progress(**state["progress"]))
    return (
        Checkpoint(folder / BEST, best, {**state, "judged": ""}),
        Checkpoint(folder / LAST, tensors, {**state, "judged": judged}),
    )


def checkpoints_of(trainer: Trainer, folder: Path) -> tuple[Checkpoint, Checkpoint]:
    """Return a trainer's best and last checkpoint, with views of its parameters."""
    dataset, executor = trainer.dataset, trainer.executor
    state = make_state(
        trainer.progress, trainer.config, trainer.normalization,
        dataset.class_names, dataset.image_shape, dataset.sha256, trainer.drawn_sha256,
        trainer.judge.as_dict(),
    )  # fmt: skip
    return make_checkpoints(
        folder, trainer.network, trainer.optimizer, executor.theta, trainer.best_theta, executor.state, state
    )


def save(trainer: Trainer, folder: Path) -> None:
    """Write `best.safetensors` and `last.safetensors`, once the record of their epochs is durable."""
    sync(folder / "metrics.jsonl")
    for checkpoint in checkpoints_of(trainer, folder):
        checkpoint.write()
