"""The optimisers, in one table: their hyperparameters, kernels, state, each step's numbers, twins and equations."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lenumba.engine.network.layers.strict import Strictly
from lenumba.engine.network.tables import Array, NameIn
from lenumba.kernels.constants import AVERAGE_SHARE, HYPER_COLUMNS, MAX_NORM
from lenumba.kernels.program.catalogue import TABLES, Kernel, find_twin
from lenumba.kernels.program.counts import update_bytes
from lenumba.kernels.program.plan import Call, Place, call


class Optimizer:
    """How parameters change.

    Parameters
    ----------
    config
        The configuration's section `optimizer`.

    Attributes
    ----------
    name
        Its name in configurations, its update kernel's, and that of the kernel's plain-loop twin.
    moments
        Tensors of the parameters' size that it keeps between steps.
    module, twins
        The modules that hold the kernel and its twin.
    """

    name: ClassVar[str]
    moments: ClassVar[int]
    module: ClassVar[str] = ".update"
    twins: ClassVar[str] = ".steps"

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def kernels(cls) -> dict[str, Kernel]:
        """Return the catalogue's row of its kernel."""
        return {cls.name: Kernel(cls.module, f"{cls.twins}.{cls.name}", own=update_bytes)}

    def row(self, rate: float, step: int) -> tuple[float, ...]:
        """Return a step's hyperparameters, in the kernel's order; steps count from 1."""
        raise NotImplementedError

    def gradient_row(self) -> tuple[float, ...]:
        """Return hyperparameters with which a step from rest leaves the gradient in the first of the states."""
        raise NotImplementedError

    def twin_arguments(self, step: int) -> tuple[Any, ...]:
        """Return what the twin takes behind θ, its states, the gradient, learning rate and weight decay."""
        raise NotImplementedError

    def equation(self) -> str:
        """Return the first step, which finds no momentum yet."""
        raise NotImplementedError

    @property
    def flags(self) -> dict[str, bool]:
        """What the kernel's compilation freezes."""
        return {}

    @property
    def max_norm(self) -> float | None:
        """Gradients whose norm over all parameters is larger are scaled down to it; None: never."""
        return self.config.max_norm  # type: ignore[no-any-return]

    @property
    def average(self) -> float:
        """Decay of the weights' exponential moving average; 0: none is kept."""
        return self.config.average  # type: ignore[no-any-return]

    @property
    def states(self) -> int:
        """Tensors of the parameters' size that a training keeps: the moments, and last the weights' average."""
        return self.moments + bool(self.average)

    def hyper(self, learning_rates: "Sequence[float] | Array", first_step: int) -> Array:
        """Return float32 [steps, HYPER_COLUMNS] for steps from `first_step` (counted from 1)."""
        import numpy as np

        table = np.zeros((len(learning_rates), HYPER_COLUMNS), np.float32)
        for k, rate in enumerate(learning_rates):
            row = self.row(float(rate), first_step + k)
            table[k, : len(row)] = row
            table[k, MAX_NORM], table[k, AVERAGE_SHARE] = self.max_norm or 0, self.average_share(first_step + k)
        return table

    def gradient_hyper(self) -> Array:
        """Return float32 [1, HYPER_COLUMNS] for a step that leaves the gradient, unclipped, in the first state."""
        table, row = self.hyper([0.0], 1), self.gradient_row()
        table[0, : len(row)], table[0, MAX_NORM] = row, math.inf
        return table

    def calls(self, size: int) -> list[Call]:
        """Return the calls that turn the gradients of `size` parameters into weights."""
        average = Place("state", (self.states - 1) * size, "average", str(size))
        return [call(self.name, **self.flags), *[call("average_weights", average=average)] * bool(self.average)]

    def average_share(self, step: int) -> float:
        """Return the share of a step's weights in their average: larger in the beginning, all of it in step 1."""
        return max(1 - self.average, 10 / (9 + step))

    def plain_step(
        self, theta: Array, states: list[Array], gradient: Array, rate: float, decay: float, step: int
    ) -> None:
        """Take a step in plain loops; overwrites theta[n] and the states, one [n] for each of the moments."""
        twin = find_twin(self.kernels()[self.name].twin)
        twin(theta, *states, gradient, rate, decay, *self.twin_arguments(step))


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (handout 004: θ ← θ − λ·Δθ for momentum 0)."""

    name, moments = "sgd", 1

    @property
    def flags(self) -> dict[str, bool]:
        """Whether it looks ahead."""
        return {"NESTEROV": self.config.nesterov}

    def row(self, rate: float, step: int) -> tuple[float, ...]:
        """Return η, λ, μ."""
        return rate, self.config.weight_decay, self.config.momentum

    def gradient_row(self) -> tuple[float, ...]:
        """Return η = λ = μ = 0: the velocity is the gradient."""
        return 0, 0, 0

    def twin_arguments(self, step: int) -> tuple[Any, ...]:
        """Return μ, and whether it looks ahead."""
        return self.config.momentum, self.config.nesterov

    def equation(self) -> str:
        """Return θ ← θ − η·Δθ, in its variants."""
        decay = self.config.weight_decay
        gradient = f"(Δθ + {decay:g}·θ (no biases))" if decay else "Δθ"
        return f"θ ← θ − η·{f'{1 + self.config.momentum:g}·' if self.config.nesterov else ''}{gradient}"


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); weight decay is a part of the gradient, as the loss's L2 term λ/2·θ² is."""

    name, moments = "adam", 2

    def row(self, rate: float, step: int) -> tuple[float, ...]:
        """Return η, λ, β₁, β₂, ε, the corrections of the means' start at zero, 1 − β₁, 1 − β₂."""
        b1, b2 = self.config.beta1, self.config.beta2
        corrections = 1 - b1**step, (1 - b2**step) ** 0.5
        return rate, self.config.weight_decay, b1, b2, self.config.epsilon, *corrections, 1 - b1, 1 - b2

    def gradient_row(self) -> tuple[float, ...]:
        """Return η = λ = 0, and β₁ = 0: the running mean is the gradient."""
        return 0, 0, 0, 0, 1, 1, 1, 1, 1

    def twin_arguments(self, step: int) -> tuple[Any, ...]:
        """Return β₁, β₂, ε and the step."""
        return self.config.beta1, self.config.beta2, self.config.epsilon, step

    def equation(self) -> str:
        """Return the first step: its corrected means are the gradient, with the weight decay, and its square."""
        decay = self.config.weight_decay
        g = f"Δθ + {decay:g}·θ (no biases)" if decay else "Δθ"
        return f"θ ← θ − η·{f'({g})' if decay else g}/(|{g}| + {self.config.epsilon:g})"


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name = "adamw"

    def equation(self) -> str:
        """Return the first step: its corrected means are Δθ and Δθ²."""
        decay = self.config.weight_decay
        shrink = f" − η·{decay:g}·θ (no biases)" if decay else ""
        return f"θ ← θ − η·Δθ/(|Δθ| + {self.config.epsilon:g}){shrink}"


OPTIMIZERS: dict[str, type[Optimizer]] = {optimizer.name: optimizer for optimizer in (SGD, Adam, AdamW)}
TABLES.append(OPTIMIZERS)


class Hyperparameters(Strictly):
    """The settings of all optimisers: those with the same meaning are the same field."""

    name: Annotated[str, NameIn(OPTIMIZERS)] = Field("sgd", description="Stochastic gradient descent, Adam or AdamW.")
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: share of the last step kept in the next one.")
    nesterov: bool = Field(False, description="sgd: look ahead along the momentum.")
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="Pull λ of the weights (not of biases) towards zero: sgd and adam add λ·θ to the gradient, as a "
        "term λ/2·θ² of the loss does; adamw shrinks θ by learning_rate·λ·θ per step.",
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="adam, adamw: decay of the gradient's running mean.")
    beta2: float = Field(0.999, ge=0, lt=1, description="adam, adamw: decay of the squared gradient's running mean.")
    epsilon: float = Field(1e-8, gt=0, description="adam, adamw: added to the denominator.")
    max_norm: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Scale gradients down where their norm over all parameters is larger; null: never."
    )
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Keep an exponential moving average of the weights with this decay per step, such as 0.999, and "
        "validate, test and export with it; 0: off.",
    )


def make_optimizer(config: Any) -> Optimizer:
    """Return the optimiser of a configuration's `optimizer` section."""
    return OPTIMIZERS[config.name](config)


def update_equation(optimizer: Optimizer) -> str:
    """Return an optimiser's first step with what comes before it."""
    clip = f"Δθ ← Δθ·min(1, {optimizer.max_norm:g}/‖all Δθ‖); " if optimizer.max_norm else ""
    return clip + optimizer.equation()
