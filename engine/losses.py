"""The losses: which final activation each is fused with, and its kernel."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loss:
    """A loss fused with the network's final activation.

    Attributes
    ----------
    fused
        Final activations that the kernel computes itself.
    """

    name: str
    kernel: str
    fused: tuple[str, ...]


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("sparse_categorical_cross_entropy", "softmax_cross_entropy", ("softmax",)),
    )
}
AUTOMATIC = {"softmax": "sparse_categorical_cross_entropy"}


def loss_for(name: str, activation: str) -> Loss:
    """Return the loss called `name`; ``"auto"`` goes by the last layer's activation."""
    return LOSSES[AUTOMATIC[activation] if name == "auto" else name]
