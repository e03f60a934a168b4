"""What tests of compiled programs against PyTorch share."""

import numpy as np

from lenumba.engine.config.sections import Optimizer
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.engine.training.executor import Executor

# With momentum 0 the optimiser's state is the batch's gradient; the learning rates are the callers', mostly 0.
STILL = make_optimizer(Optimizer(name="sgd", momentum=0.0))


def executor_for(network: Network, *, threads: int = 1, smoothing: float = 0.0) -> Executor:
    """An executor that sees pixels as value / 255, with the parameters of seed 0."""
    channels = network.input_shape[0]
    executor = Executor(
        network,
        network.compile(STILL),
        STILL,
        normalization=Normalization(np.zeros(channels), np.ones(channels)),
        threads=threads,
        smoothing=smoothing,
    )
    executor.theta[:] = network.initial_parameters(0)
    return executor


def gradients(executor: Executor, images, labels, order=None, key=0) -> tuple[float, float, dict]:
    """One batch's mean loss, right answers and gradients."""
    order = np.arange(len(images)) if order is None else order
    batches, totals = executor.train(images, labels, order, len(order), STILL.hyper(np.zeros(1), 1), key=key)
    assert batches == 1
    found = {name: value.astype(np.float64) for name, value in executor.network.views(executor.state).items()}
    return totals[0] / len(order), totals[1], found


def leaves_of(executor: Executor) -> dict:
    """The parameters as PyTorch tensors, float64, to differentiate by."""
    import torch

    views = executor.network.views(executor.theta)
    return {name: torch.tensor(value.astype(np.float64), requires_grad=True) for name, value in views.items()}
