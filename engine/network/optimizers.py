"""The optimisers: their kernels, their state, and each step's hyperparameters."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lenumba.kernels.constants import AVERAGE_SHARE, HYPER_COLUMNS, MAX_NORM
from lenumba.kernels.program.plan import Call, Place, call


@dataclass(frozen=True)
class Optimizer:
    """How parameters change.

    Attributes
    ----------
    kernel
        Name of the update kernel.
    states
        Tensors of the parameters' size that it keeps between steps.
    row
        ``row(learning_rate, step)``: the step's hyperparameters, in the kernel's order; steps count from 1.
    flags
        What the kernel's compilation freezes.
    max_norm
        Gradients whose norm over all parameters is larger are scaled down to it; None: never.
    average
        Decay of the weights' exponential moving average, which is the last of the states; 0: none is kept.
    """

    kernel: str
    states: int
    row: Callable[[float, int], tuple[float, ...]]
    flags: dict[str, bool] = field(default_factory=dict)
    max_norm: float | None = None
    average: float = 0.0

    def hyper(self, learning_rates: np.ndarray, first_step: int) -> np.ndarray:
        """Return float32 [steps, HYPER_COLUMNS] for steps from `first_step` (counted from 1)."""
        table = np.zeros((len(learning_rates), HYPER_COLUMNS), np.float32)
        for k, rate in enumerate(learning_rates):
            row = self.row(float(rate), first_step + k)
            table[k, : len(row)] = row
            table[k, MAX_NORM], table[k, AVERAGE_SHARE] = self.max_norm or 0, self.average_share(first_step + k)
        return table

    def calls(self, size: int) -> list[Call]:
        """Return the calls that turn the gradients of `size` parameters into weights."""
        average = Place("state", (self.states - 1) * size, "average", str(size))
        return [call(self.kernel, **self.flags), *[call("average_weights", average=average)] * bool(self.average)]

    def average_share(self, step: int) -> float:
        """Return the share of a step's weights in their average: larger in the beginning, all of it in step 1."""
        return max(1 - self.average, 10 / (9 + step))


def sgd(config: Any) -> Optimizer:
    """Stochastic gradient descent with momentum (handout 004: θ ← θ − λ·Δθ for momentum 0)."""

    def row(rate: float, step: int) -> tuple[float, ...]:
        return rate, config.weight_decay, config.momentum

    return Optimizer("sgd", 1, row, {"NESTEROV": config.nesterov})


def adamw(config: Any) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    b1, b2 = config.beta1, config.beta2

    def row(rate: float, step: int) -> tuple[float, ...]:
        corrections = 1 - b1**step, (1 - b2**step) ** 0.5
        return rate, config.weight_decay, b1, b2, config.epsilon, *corrections, 1 - b1, 1 - b2

    return Optimizer("adamw", 2, row)


OPTIMIZERS = {"sgd": sgd, "adamw": adamw}


def make_optimizer(config: Any) -> Optimizer:
    """Return the optimiser of a configuration's `optimizer` section."""
    optimizer = OPTIMIZERS[config.name](config)
    states = optimizer.states + bool(config.average)
    return replace(optimizer, states=states, max_norm=config.max_norm, average=config.average)
