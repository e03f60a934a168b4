"""Many trainings on parts of one data set, side by side; what each brings is kept on disk, so that they can go on."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DivergedError, LenumbaError
from lenumba.engine.common.files import durable
from lenumba.engine.common.interrupts import Graceful
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.tensor_file import checksum, read_tensors
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.trainer import Trainer

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Part:
    """A training to be made: `name` of its file, seed, and the training images to train on, int64, ascending."""

    name: str
    seed: int
    indices: np.ndarray


@dataclass
class Hooks:
    """How a caller follows many trainings.

    Attributes
    ----------
    compile
        ``compile(step, done, total)`` while the program is compiled.
    watch
        ``watch(fraction, done, total)`` about 20 times a second: the share of all that is done, and trainings.
    download_bar
        Whether a download draws a progress bar.
    """

    compile: Callable[[str, int, int], None] | None = None
    watch: Callable[[float, int, int], None] | None = None
    download_bar: bool = False


class InterruptedTrainingsError(LenumbaError):
    """Trainings ended early after a signal; what had finished is kept."""

    def __init__(self, done: int, total: int, signal: int, command: str) -> None:
        super().__init__(f"interrupted after {done} of {total} trainings; go on with: {command}")
        self.exit_code = 128 + signal


class Trainings:
    """Trains a configuration on parts of a data set's training images and keeps what each training brings.

    Parameters
    ----------
    loaded
        The configuration. Nothing is set aside for validation, so that `train.patience` is left out: each training
        goes on to its last epoch.
    dataset
        The images.
    folder
        Where a file a training is kept.
    measure
        ``measure(trainer, part)`` → arrays by name, once a training is over; called from several threads.
    command
        What goes on after an interruption.
    team
        The ranks that share out the trainings, each of which makes and runs this alike; `folder` must be theirs.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        dataset: Dataset,
        folder: Path,
        measure: Callable[[Trainer, Part], dict[str, np.ndarray]],
        command: str,
        team: Alone = ALONE,
    ) -> None:
        self.team = team
        self.loaded, self.dataset, self.folder = loaded, dataset, folder
        self.measure, self.command = measure, command
        self.planes = planar(dataset.train_images)
        self.running: dict[str, tuple[Trainer, float]] = {}
        self.lock, self.loading, self.stopped = threading.Lock(), threading.Lock(), False

    def run(self, parts: Sequence[Part], hooks: Hooks) -> list[dict[str, np.ndarray]]:
        """Return what each training brings, in order; those that are on disk are not made again.

        Ranks that others lead return nothing.

        Raises
        ------
        DataError, ConfigError
            Where the data do not fit the configuration, or there is too little memory.
        DivergedError
            Where a loss is not finite any more; it names the training.
        InterruptedTrainingsError
            After SIGINT or SIGTERM.
        """
        team, found = self.team, {}
        if team.leads:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = {part.name: read_kept(self.folder / f"{part.name}.safetensors") for part in parts}
        due = team.told([part for part in parts if found.get(part.name) is None])
        team.resumes_with(self.command)
        if due:
            self.trainer(due[0], 1, hooks.compile)  # compiles, and finds what does not fit, before there are threads
            found |= self._train(due, len(parts), hooks)
        return [values for part in parts if (values := found.get(part.name)) is not None]

    def _train(self, due: Sequence[Part], total: int, hooks: Hooks) -> dict[str, dict[str, np.ndarray]]:
        team, next_number = self.team, self.team.counter()
        threads = self.loaded.config.train.threads or team.threads()
        jobs = min(threads, len(due))  # one thread a training loses no time at barriers; it never changes a bit
        made: dict[str, dict[str, np.ndarray]] = {}

        def train() -> None:
            while not self.stopped and (number := next_number()) < len(due):
                if (values := self._train_part(due[number], threads // jobs)) is not None:
                    made[due[number].name] = values

        with Graceful(self.stop) as interruption, team.on_its_own(), ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(train) for _ in range(jobs)]
            pending = set(futures)
            try:
                while pending:
                    _, pending = wait(pending, POLL_SECONDS, FIRST_EXCEPTION)
                    for future in set(futures) - pending:
                        future.result()
                    if hooks.watch:
                        with self.lock:
                            partly = sum(share for _, share in self.running.values())
                        done = total - len(due) + len(made)  # on several ranks, those of this one
                        hooks.watch((done + partly) / total, done, total)
            except BaseException:
                self.stop()
                raise
            if interruption.signal:
                team.pass_on(interruption.signal)
            team.wait()
        made = {name: values for part in team.collected(made) for name, values in part.items()}
        if signal := team.largest(interruption.signal or 0):
            raise InterruptedTrainingsError(total - len(due) + len(made), total, signal, self.command)
        return made

    def _train_part(self, part: Part, threads: int) -> dict[str, np.ndarray] | None:
        """Train and keep what comes of it; None where :meth:`stop` came in between."""
        trainer = self.trainer(part, threads)
        count, epochs = len(part.indices), trainer.config.train.epochs

        def watch(epoch: int, done: int, loss: float, accuracy: float) -> None:
            with self.lock:
                self.running[part.name] = trainer, (epoch - 1 + done / count) / epochs

        with self.lock:
            self.running[part.name] = trainer, 0.0
        try:
            if self.stopped:  # before `running` had this one
                return None
            for _ in trainer.epochs(watch):
                pass
            if trainer.progress.epoch < epochs:
                return None
            values = self.measure(trainer, part)
            if self.stopped:  # what comes while answers are computed leaves some of them out
                return None
        except DivergedError as error:
            raise DivergedError(f"{part.name}: {error}") from None
        finally:
            with self.lock:
                del self.running[part.name]
        keep(self.folder / f"{part.name}.safetensors", values)
        return values

    def trainer(self, part: Part, threads: int, on_compile: Callable[[str, int, int], None] | None = None) -> Trainer:
        """Return the trainer of a part, before its first epoch."""
        loaded = for_part(self.loaded, part.seed, threads)
        with self.loading:  # one at a time reads the program from the cache; others would say that they wait
            return Trainer(loaded, self.dataset, on_compile, indices=part.indices, planes=self.planes)

    def stop(self) -> None:
        """End all trainings after their running batch; safe from a signal handler."""
        self.stopped = True
        for trainer, _ in list(self.running.values()):
            trainer.stop()


def for_part(loaded: LoadedConfig, seed: int, threads: int) -> LoadedConfig:
    """Return the configuration of one training: without validation images, and so without an early end."""
    config = loaded.config
    train = config.train.model_copy(update={"seed": seed, "threads": threads, "patience": None})
    data = config.data.model_copy(update={"validation": 0})
    return replace(loaded, config=config.model_copy(update={"train": train, "data": data}))


def keep(path: Path, values: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file, with a checksum, durably."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(value) for name, value in values.items()}
    with durable(path) as temporary:
        temporary.write_bytes(save(arrays, {"sha256": checksum(arrays, "")}))


def read_kept(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file, None where it is missing or damaged: then the training is made again."""
    try:
        values, about = read_tensors(path)
    except (OSError, ValueError):
        return None
    return values if about.get("sha256") == checksum(values, "") else None
