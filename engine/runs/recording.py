"""What a run records for people beside its metrics: ``plots: true`` and ``log: tensorboard``."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lenumba.engine.common.progress import EpochRecord
from lenumba.engine.runs.event_file import EventFile
from lenumba.engine.runs.histograms import HistogramFile
from lenumba.engine.training.trainer import Trainer

IMAGES = 256  # for the gradient


@contextlib.contextmanager
def recording(trainer: Trainer, folder: Path) -> Iterator[Callable[[EpochRecord], None]]:
    """Yield a function to call after each epoch; it does nothing where the configuration asks for nothing."""
    config, epochs = trainer.config, trainer.progress.epoch
    files: list[HistogramFile | EventFile] = [HistogramFile(folder, epochs)] if config.plots else []
    files += [EventFile(folder, epochs)] if config.log == "tensorboard" else []
    probe = GradientProbe(trainer) if files else None

    def record_epoch(record: EpochRecord) -> None:
        if probe is not None:
            tensors = probe.tensors()
            for file in files:
                file.epoch(record, tensors)

    with contextlib.ExitStack() as stack:
        for file in files:
            stack.callback(file.close)
        yield record_epoch


class GradientProbe:
    """Computes gradients at a trainer's parameters, in buffers of its own, so that training does not notice.

    They are the mean over the first training images, in the order of the validation split: the same in every epoch.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.order = trainer.train_indices[:IMAGES]
        self.hyper = trainer.optimizer.gradient_hyper()
        self.executor = trainer.make_executor(trainer.executor.program, threads=1)
        self.executor.decay[:] = 0

    def gradients(self) -> dict[str, np.ndarray]:
        """Return float32 arrays by the parameters' full names; zeros for frozen layers."""
        executor, trainer = self.executor, self.trainer
        executor.theta[:] = trainer.executor.theta
        executor.state[:] = 0
        labels, count = trainer.train_targets, len(self.order)
        executor.train(trainer.images, labels, self.order, count, self.hyper, weights=trainer.weights)
        return trainer.network.views(executor.state[: trainer.network.size].copy())

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the parameters by their full names, and their gradients by those with ∂L/∂ before."""
        weights = self.trainer.network.views(self.trainer.executor.theta)
        return {**weights, **{f"∂L/∂{name}": gradient for name, gradient in self.gradients().items()}}
