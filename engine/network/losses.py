"""The losses, in one table: kernel, final activations, and what outputs and labels each one fits."""

from dataclasses import dataclass
from typing import get_args

from lenumba.engine.network.layers.base import ActivationName


@dataclass(frozen=True)
class Loss:
    """A loss, and the kernel that computes it together with its gradient.

    Attributes
    ----------
    name
        Its name in configurations.
    kernel
        Name of its kernel.
    activations
        Final activations that it fits.
    fused
        Those of them that the kernel computes itself; the others are ordinary layers before it.
    single
        Whether one output is enough for two classes.
    smooths
        Whether labels can be smoothed.
    """

    name: str
    kernel: str
    activations: tuple[str, ...]
    fused: tuple[str, ...] = ()
    single: bool = False
    smooths: bool = False


# Of the losses that fit an activation, "auto" takes the first.
TABLE = (
    Loss("sparse_categorical_cross_entropy", "softmax_cross_entropy", ("softmax",), ("softmax",), smooths=True),
    # Labels are class numbers inside, one-hot ones are converted when they come in: so it is the same kernel.
    Loss("categorical_cross_entropy", "softmax_cross_entropy", ("softmax",), ("softmax",), smooths=True),
    Loss("binary_cross_entropy", "sigmoid_cross_entropy", ("sigmoid",), ("sigmoid",), single=True, smooths=True),
    Loss("mean_squared_error", "squared_error", ("none", "relu", "leaky_relu", "tanh", "sigmoid"), single=True),
)
LOSSES = {loss.name: loss for loss in TABLE}
LOSSES_FOR = {
    activation: tuple(loss.name for loss in TABLE if activation in loss.activations)
    for activation in get_args(ActivationName)
}


def loss_for(name: str, activation: str) -> Loss:
    """Return the loss called `name`; ``"auto"`` goes by the last layer's activation.

    Raises
    ------
    ValueError
        If it does not fit the activation.
    """
    fitting = LOSSES_FOR[activation]
    if name == "auto":
        return LOSSES[fitting[0]]
    if name not in fitting:
        raise ValueError(f"expected {' or '.join(fitting)} for the last activation {activation}, found {name}")
    return LOSSES[name]


def fitting_outputs(loss: Loss, classes: int) -> tuple[int, ...]:
    """Return the numbers of outputs that fit `classes` classes, the usual one first."""
    return (1, 2) if loss.single and classes == 2 else (classes,)


def outputs_misfit(loss: Loss, outputs: int, classes: int) -> str | None:
    """Say in one line why a network with `outputs` outputs does not fit `classes` classes, or return None."""
    fitting = fitting_outputs(loss, classes)
    if outputs in fitting:
        return None
    remedy = f"give the last layer {' or '.join(map(str, fitting))} units"
    if classes == 2 and outputs == 1:
        remedy += ", or end with sigmoid"
    expected = f"{' or '.join(map(str, fitting))} outputs for {classes} classes and {loss.name}"
    return f"expected {expected}, found {outputs}; {remedy}"
