"""lenumba: one call for all steps of a slice when training, one call for each batch when answering."""

from typing import Any

import numpy as np
from common import lenumba_network, lenumba_optimizer, with_room

from .job import Job, starts


class Peer:
    """Reads the bytes where they lie; packing and normalising happen inside the program, in every step."""

    def __init__(self, job: Job) -> None:
        self.job, job.images = job, with_room(job.images)
        self.optimizer = lenumba_optimizer(job.optimizer, job.rate)
        self.executors: dict[tuple[int, bool], Any] = {}

    def executor(self, batch: int, answers: bool = False) -> Any:
        """Return the program for a batch size: it takes the images of small ones one by one.

        One that `answers` does not train: that of ``lenumba.load(run, batch_size=batch)``.
        """
        from lenumba.engine.data.normalization import Normalization
        from lenumba.engine.training.executor import Executor

        job = self.job
        network = lenumba_network("peers", job.layers, job.shape, batch_size=batch, target=job.target, answers=answers)
        key = (network.unit, answers)
        if key not in self.executors:
            program = network.compile(self.optimizer)
            normalization = Normalization(job.mean, job.deviation)
            executor = Executor(network, program, self.optimizer, normalization=normalization, threads=job.threads)
            self.executors[key] = executor
            self.start_over(executor)
            if answers:
                executor.weights.freeze()
        return self.executors[key]

    def start_over(self, executor: Any) -> None:
        """Go back to the initial weights and an empty optimiser state."""
        for name, view in executor.network.views(executor.theta).items():
            view[...] = self.job.weights[name]
        executor.state[:] = 0

    def reset(self) -> None:
        """Go back to the initial weights and empty optimiser states."""
        for (_, answers), executor in self.executors.items():
            if not answers:
                self.start_over(executor)

    def order(self, steps: int, batch: int) -> np.ndarray:
        """Return the images' numbers, step after step."""
        first = np.array(starts(steps, batch, len(self.job.labels)))
        return (first[:, None] + np.arange(batch)).ravel()

    def train(self, steps: int, batch: int) -> None:
        """Train; the table of every step's hyperparameters is part of the work, as in a real epoch."""
        hyper = self.optimizer.hyper(np.full(steps, self.job.rate), 1)
        done, _ = self.executor(batch).train(self.job.images, self.job.labels, self.order(steps, batch), batch, hyper)
        assert done == steps, "the loss is not finite any more"

    def infer(self, steps: int, batch: int) -> None:
        """Answer one request of `batch` images after the other."""
        order, executor = self.order(steps, batch), self.executor(batch, answers=True)
        for start in range(0, len(order), batch):
            executor.evaluate(self.job.images, self.job.labels, order[start : start + batch])

    def losses(self, steps: int, batch: int) -> list[float]:
        """Return each step's mean loss."""
        order, losses = self.order(steps, batch), []
        for k in range(steps):
            hyper = self.optimizer.hyper(np.array([self.job.rate]), k + 1)
            part = order[k * batch : (k + 1) * batch]
            _, totals = self.executor(batch).train(self.job.images, self.job.labels, part, batch, hyper)
            losses.append(totals[0] / batch)
        return losses
