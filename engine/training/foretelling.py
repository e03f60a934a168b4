"""How long a step takes on several ranks, measured before the first one counts: whether they are worth it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.training.executor import Executor
from lenumba.engine.training.trainer import Trainer

SECONDS = 0.15  # of each measurement
REPEATS = 3  # of which the fastest counts
WORTH = 1.03  # how much faster one process must be to be recommended: less is noise


@dataclass(frozen=True)
class Foretold:
    """What a step takes, in ms.

    Attributes
    ----------
    step_ms
        On all ranks.
    compute_ms
        Of it, what every machine would take for its share of the batch alone.
    communicate_ms
        The rest: exchanging, and waiting for one another.
    alone_ms
        In one process, with the threads of all ranks of one machine.
    """

    ranks: int
    machines: int
    threads: int
    batch_size: int
    step_ms: float
    compute_ms: float
    communicate_ms: float
    alone_ms: float

    @property
    def line(self) -> str:
        """Say it in one line."""
        where = f"{self.ranks} ranks" + f" on {self.machines} machines" * (self.machines > 1)
        line = (
            f"a step of {self.batch_size} images on {where}: {self.step_ms:.3g} ms, of which {self.compute_ms:.3g} "
            f"computing and {self.communicate_ms:.3g} communicating and waiting; in one process {self.alone_ms:.3g} ms"
        )
        if self.step_ms > WORTH * self.alone_ms:
            line += ": one process would be faster; leave mpirun away, or raise data.batch_size"
        return line

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def foretell(trainer: Trainer) -> Foretold | None:
    """Measure a step on all ranks and in one process, and leave the training as it was; None for a process alone.

    Every rank calls it.
    """
    team, executor = trainer.team, trainer.executor
    if team.size == 1:
        return None
    kept = executor.theta.copy(), executor.state.copy()
    step = time_steps(trainer, executor, team)
    team.barrier()
    executor.theta[:], executor.state[:] = kept
    team.barrier()
    threads, alone = executor.threads * team.local_size, 0.0
    if team.leads:
        other = trainer.make_executor(executor.program, threads)
        other.theta[:] = kept[0]
        alone = time_steps(trainer, other, ALONE)
    team.wait()
    alone = team.told(alone)
    compute = min(alone / team.machines, step)
    size = trainer.config.data.batch_size
    figures = (1e3 * seconds for seconds in (step, compute, step - compute, alone))
    return Foretold(team.size, team.machines, executor.threads, size, *figures)


def time_steps(trainer: Trainer, executor: Executor, team: Alone) -> float:
    """Return the seconds of a step, as rank 0 measures them."""
    steps = trainer.steps_per_epoch
    order, rates = trainer.epoch_order(0), np.full(steps, trainer.config.optimizer.learning_rate)
    hyper = trainer.optimizer.hyper(rates, 1)

    def seconds(count: int) -> float:
        start = time.perf_counter()
        executor.train(
            trainer.images, trainer.train_targets, order, trainer.config.data.batch_size, hyper,
            last_batch=count, weights=trainer.weights,
        )  # fmt: skip
        return team.told((time.perf_counter() - start) / count)

    return measured(seconds, steps)


def measured(seconds: Callable[[int], float], most: int) -> float:
    """Return the smallest of some measurements, each of as many steps as take SECONDS, at most `most`."""
    count, taken = min(2, most), 0.0
    while (taken := seconds(count)) * count < SECONDS / 4 and count < most:
        count = min(most, 4 * count)
    count = max(1, min(most, round(SECONDS / taken)))
    return min(seconds(count) for _ in range(REPEATS))
