"""Training: from a configuration and a data set to epochs, one record each. No files, no printing."""

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DivergedError
from lenumba.engine.common.interrupts import Unmissed
from lenumba.engine.common.measures import Measured
from lenumba.engine.common.metrics import Judged
from lenumba.engine.common.progress import EpochRecord, Progress
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.balance import balance_notes, balanced_order, class_weights, image_weights
from lenumba.engine.data.dataset import Dataset, data_sha256
from lenumba.engine.data.selection import division_notes, pixel_statistics
from lenumba.engine.network.layers.dropout import epoch_key
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.network.schedules import learning_rates
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.build import check_training, network_notes
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.judging import Judge, holding
from lenumba.engine.training.memory import check_memory
from lenumba.kernels.compile.native import Native

ORDER_KEY = 0x6F72646572  # "order": keeps the epochs' random streams apart from others with the same seed


class Trainer:
    """One training run in memory.

    Parameters
    ----------
    loaded
        The configuration.
    dataset
        Its data.
    on_compile
        Called as ``on_compile(step, done, total)`` while the program is compiled.
    indices
        int64, ascending: the training images to train on, without any for validation; None: as the configuration
        splits them.
    planes
        ``planar(dataset.train_images)``, for trainers of one data set to share; None: a copy of this one's own.
    weights
        float32 [N], above 0: what the loss of each training image counts; None: as `loss.class_weight` says.
    team
        The ranks that train together, each with a trainer of its own; alone by default.

    Attributes
    ----------
    network, executor
        The network; its parameters and optimiser state are ``executor.theta`` and ``executor.state``.
    progress
        Where the run stands.
    best_theta
        float32 [network.size]: the parameters after the best epoch.
    notes
        What was left out, divided, drawn or weighted of the data, and what to know of the layers, a line each.
    judge
        What outputs are compared with, and in which units.
    class_weights
        By class with training images, what the loss of an image counts; None where all count alike.
    init_from
        The run that parameters came from, and the names of those taken and drawn; None: all are drawn.
    compile_seconds
        Time to compile or load the program.

    Raises
    ------
    ConfigError
        Where a layer does not fit, or there are fewer training images than in a batch.
    DataError
        Where there is not enough memory.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        dataset: Dataset,
        on_compile: Callable[[str, int, int], None] | None = None,
        *,
        indices: np.ndarray | None = None,
        planes: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        team: Alone = ALONE,
    ) -> None:
        self.team = team
        self.loaded, self.config = loaded, loaded.config
        self.dataset = dataset
        data, train = self.config.data, self.config.train
        self.network, self.train_indices, self.val_indices = check_training(
            loaded, dataset, indices, weighted=weights is not None
        )
        labels = dataset.train_labels[self.train_indices]
        self.weights, self.class_weights = weights, None
        if weights is None and (by_class := class_weights(loaded, dataset.class_names, labels)) is not None:
            self.weights = image_weights(by_class, dataset.train_labels)
            self.class_weights = {dataset.class_names[k]: float(by_class[k]) for k in np.unique(labels)}
        self.notes = [*dataset.notes, *division_notes(loaded, dataset)]
        self.notes += balance_notes(loaded, self.class_weights, len(labels))
        self.notes += network_notes(self.network)
        self.judge = Judge.of(self.network, dataset, self.train_indices)
        self.notes += self.judge.notes(dataset.name, dataset.class_names)
        self.normalization = pixel_statistics(loaded, dataset, self.train_indices)
        self.optimizer = make_optimizer(self.config.optimizer)
        threads = train.threads or team.threads()
        check_memory(self.network, self.optimizer, dataset, threads, data.batch_size, len(self.val_indices))
        start = time.perf_counter()
        with Unmissed():
            program = self.network.compile(self.optimizer, on_compile)
        self.compile_seconds, self.cached = time.perf_counter() - start, program.cached
        self.restart(self.make_executor(program, threads, team=team))
        self.images = team.share(lambda: planar(dataset.train_images)) if planes is None else planes
        self.init_from: dict[str, Any] | None = None
        self.stopped = False

    @cached_property
    def drawn_sha256(self) -> str:
        """SHA-256 of which of the data set's training images train, and which validate."""
        return data_sha256(self.train_indices, self.val_indices)

    @cached_property
    def train_targets(self) -> np.ndarray:
        """What the program compares outputs with: classes int64 [N], or float32 [N, K]."""
        return self.judge.learned(self.dataset.train_truth)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-len(self.train_indices) // self.config.data.batch_size)

    def make_executor(self, program: Native, threads: int, spare: int = 0, team: Alone = ALONE) -> Executor:
        """Return an executor of the trainer's network, with a program for its optimiser (the rest: see there)."""
        return Executor(
            self.network,
            program,
            self.optimizer,
            normalization=self.normalization,
            threads=threads,
            smoothing=self.config.loss.label_smoothing,
            spare=spare,
            team=team,
        )

    def restart(self, executor: Executor) -> None:
        """Begin anew, from the initial parameters, in an executor of :meth:`make_executor`."""
        self.executor = executor
        executor.theta[:], executor.state[:] = self.network.initial_parameters(self.config.train.seed), 0
        self.best_theta = executor.theta.copy()
        self.progress = Progress()

    def take(self, judge: Judge) -> None:
        """Go on with the units, say, of a training that went on before."""
        self.judge = judge
        self.__dict__.pop("train_targets", None)

    def stop(self) -> None:
        """End :meth:`epochs` after the running batch; what is done so far stays in `progress` and the executor."""
        self.stopped = True
        self.executor.stop()

    def ends(self) -> bool:
        """Return whether :meth:`stop` was called, on any rank."""
        self.stopped = bool(self.team.largest(self.stopped))
        return self.stopped

    def epoch_order(self, epoch: int) -> np.ndarray:
        """Return int64 [train images], this epoch's order (epochs count from 0): a function of seed and epoch."""
        if self.config.data.sampling == "balanced":
            return balanced_order(self.dataset.train_labels, self.train_indices, self.config.train.seed, epoch)
        philox = np.random.Philox(key=np.array([self.config.train.seed, ORDER_KEY + epoch], np.uint64))
        return self.train_indices[np.argsort(philox.random_raw(len(self.train_indices)), kind="stable")]

    def epochs(
        self,
        watch: Callable[[int, int, float, float], None] | None = None,
        *,
        planned: int | None = None,
        until: tuple[int, int] | None = None,
    ) -> Iterator[EpochRecord]:
        """Train from where the run stands, yielding a record after each epoch.

        Parameters
        ----------
        watch
            Called about 20 times a second as ``watch(epoch, images_done, mean_loss, accuracy)``.
        planned
            The epochs that the learning rates are planned for; None: the configuration's.
        until
            How far to train, as whole epochs and batches of the next one, which is not validated; None: all epochs
            that are planned, or until patience ends. An epoch that has begun is always finished.

        Raises
        ------
        DivergedError
            When the loss or a parameter is not finite any more; it names epoch and step.
        """
        planned = planned or self.config.train.epochs
        patience = self.config.train.patience if until is None else None
        until, progress = until or (planned, 0), self.progress
        while (progress.epoch, progress.batch) < until and not self.ends():
            if progress.stalled(patience):
                return
            part = until[1] if progress.epoch == until[0] else None
            start = time.perf_counter()
            already = progress.batch
            if not self._train_epoch(watch, planned, part) or part is not None:
                return
            seconds = time.perf_counter() - start
            record = self._finish_epoch(seconds, len(self.train_indices) - already * self.config.data.batch_size)
            if record is None:
                return
            yield record

    def _train_epoch(
        self, watch: Callable[[int, int, float, float], None] | None, planned: int, part: int | None
    ) -> bool:
        """Train on the rest of the current epoch, or up to `part` batches of it; False where some are left."""
        progress, steps, size = self.progress, self.steps_per_epoch, self.config.data.batch_size
        first = progress.epoch * steps
        rate = self.config.optimizer.learning_rate
        rates = learning_rates(self.config.schedule, rate, first, first + steps, steps, planned)
        self.learning_rate = float(rates[-1])

        def report(batches: int, loss_sum: float, correct: float) -> None:
            done = min(batches * size, len(self.train_indices))
            if watch and done:
                watch(progress.epoch + 1, done, loss_sum / done, correct / done)

        done, totals = self.executor.train(
            self.images,
            self.train_targets,
            self.epoch_order(progress.epoch),
            size,
            self.optimizer.hyper(rates, first + 1),
            first_batch=progress.batch,
            last_batch=part,
            totals=np.array([progress.loss_sum, progress.correct]),
            weights=self.weights,
            watch=report,
            key=epoch_key(self.config.train.seed, progress.epoch),
        )
        if not np.isfinite(totals[0]) or not np.isfinite(self.executor.theta).all():
            raise DivergedError(
                f"training diverged: the loss is not finite at epoch {progress.epoch + 1}, step {first + done}; "
                "lower optimizer.learning_rate"
            )
        progress.batch, progress.loss_sum, progress.correct = done, float(totals[0]), float(totals[1])
        return done == steps

    def _finish_epoch(self, seconds: float, trained: int) -> EpochRecord | None:
        """Validate and count the epoch; None if :meth:`stop` came in between (the validation is repeated then)."""
        progress, count = self.progress, len(self.train_indices)
        found = self.validate() if len(self.val_indices) else None
        if self.ends():
            return None
        if found is not None and not np.isfinite(found.loss):
            raise DivergedError(
                f"training diverged: the validation loss is not finite after epoch {progress.epoch + 1}; "
                "lower optimizer.learning_rate"
            )
        told = {} if found is None else found.told(self.dataset.class_names)
        figures = {f"val_{name}": value for name, value in told.items()}
        record = EpochRecord(
            epoch=progress.epoch + 1,
            train_loss=progress.loss_sum / count,
            train_accuracy=progress.correct / count if TARGETS[self.network.target].answers else None,
            learning_rate=self.learning_rate,
            seconds=seconds,
            images_per_second=trained / max(seconds, 1e-9),
            **(figures if self.network.target == "class" else {"figures": figures}),  # type: ignore[arg-type]
        )
        score, loss = (0.0, float("inf")) if found is None else (found.score(self.config.train.best_by), found.loss)
        best = (progress.best_score, -progress.best_loss)
        if found is None or not progress.best_epoch or (score, -loss) > best:
            progress.best_epoch, progress.best_score, progress.best_loss = record.epoch, score, loss
            self.best_theta[:] = self.executor.judged
        if not progress.risen_epoch or score > progress.risen_score + self.config.train.min_delta:
            progress.risen_epoch, progress.risen_score = record.epoch, score
        progress.epoch, progress.batch, progress.loss_sum, progress.correct = record.epoch, 0, 0.0, 0.0
        return record

    def unsmoothed_loss(self) -> float:
        """Return the validation loss without label smoothing, which trainings with another smoothing can be judged by.

        The epochs' `val_loss` is the loss that is trained, and grows with the smoothing.
        """
        self.executor.smooth(0.0)
        try:
            return self.validate().loss
        finally:
            self.executor.smooth(self.config.loss.label_smoothing)

    def validate(self) -> Any:
        """Return what the parameters that training would keep now bring on the validation images (see evaluate)."""
        return self.evaluate(self.executor.judged, self.images, self.dataset.train_truth, self.val_indices)

    def test(self, images: np.ndarray | None = None) -> Any:
        """Return what the best parameters bring on the test set (see evaluate); `images`: in place of the set's own."""
        images, truth = self.dataset.test_images if images is None else images, self.dataset.test_truth
        return self.evaluate(self.best_theta, planar(images), truth, np.arange(len(truth)))

    def evaluate(
        self, theta: np.ndarray, images: np.ndarray, truth: np.ndarray, indices: np.ndarray
    ) -> Judged | Measured:
        """Return what other parameters, float32 [network.size], than those in training bring.

        Images and indices are as :meth:`Executor.evaluate` takes them, `truth` as a :class:`Dataset` has it. Where the
        target is a class, the result is a Judged.
        """
        with holding(self.executor, theta):
            loss, outputs = self.judge.answers(self.executor, images, truth, indices)
        return self.judge.measure(loss, outputs, truth[indices], self.dataset.class_names)
