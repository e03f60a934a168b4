"""A whole network in plain loops: every value of every layer, in float64, to check programs and to look inside.

Nothing is fast here. Arrays have the axes [N, C, H, W]; parameters go by their full names, such as ``conv1.kernel``,
as :meth:`lenumba.engine.network.network.Network.views` gives them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.config.sections import Optimizer
from lenumba.engine.network.network import Network, Unit
from lenumba.engine.network.optimizers import make_optimizer
from lenumba.kernels.program.catalogue import find_twin
from lenumba.kernels.reference import steps as reference_steps


class Outcome(NamedTuple):
    """What a loss says about a batch.

    Attributes
    ----------
    loss, correct
        The mean loss and the number of right answers.
    outputs, dz
        float64 [N, outputs]: the network's outputs (probabilities), and the gradient of the mean loss with respect to
        what the last unit computed.
    """

    loss: float
    correct: int
    outputs: np.ndarray
    dz: np.ndarray


def forward(
    network: Network, parameters: dict[str, np.ndarray], images: np.ndarray, *, batch: bool = False
) -> list[np.ndarray]:
    """Run a network forward.

    Parameters
    ----------
    parameters
        Arrays by full name, of any floating-point dtype.
    images
        Normalised images [N, C, H, W].
    batch
        Whether to compute what training does, where that depends on the batch; else what evaluation does.

    Returns
    -------
    outputs
        float64 [N, C, H, W] for each unit. The last is the input of the final activation where the loss computes that.
    """
    return forward_units(network.units, parameters, images, batch=batch)


def forward_units(
    units: Sequence[Unit], parameters: dict[str, np.ndarray], images: np.ndarray, *, batch: bool = False
) -> list[np.ndarray]:
    """Run units forward, as :func:`forward` does."""
    tensors = [np.ascontiguousarray(images, np.float64)]
    for unit in units:
        run = unit.layer.batch_forward if batch else unit.layer.plain_forward
        tensors.append(run(own(unit, parameters), inputs_of(unit, tensors)))
    return tensors[1:]


def backward(
    network: Network,
    parameters: dict[str, np.ndarray],
    images: np.ndarray,
    outputs: list[np.ndarray],
    dz: np.ndarray,
    *,
    batch: bool = False,
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Run a network backward from dz[N, outputs].

    Returns
    -------
    gradients, deltas
        The gradient of every parameter (of frozen layers, too), and for each unit ∂L/∂y, y being its output.
    """
    gradients, deltas = backward_units(network.units, parameters, images, outputs, dz, batch=batch)
    return {name: gradients[name] for name in network.parameters if name in gradients}, deltas[1:]


def backward_units(
    units: Sequence[Unit],
    parameters: dict[str, np.ndarray],
    images: np.ndarray,
    outputs: list[np.ndarray],
    dz: np.ndarray,
    *,
    batch: bool = False,
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Run units backward, as :func:`backward` does; the first delta is the image's, the others the units'."""
    gradients: dict[str, np.ndarray] = {}
    tensors = [np.ascontiguousarray(images, np.float64), *outputs]
    deltas = [np.zeros_like(tensor) for tensor in tensors]
    deltas[-1] = dz.reshape(outputs[-1].shape)
    for k, unit in reversed(list(enumerate(units))):
        run = unit.layer.batch_backward if batch else unit.layer.plain_backward
        dx, own_gradients = run(own(unit, parameters), inputs_of(unit, tensors), outputs[k], deltas[k + 1])
        for tensor, slope in zip(unit.inputs, dx if len(unit.inputs) > 1 else [dx], strict=True):
            deltas[tensor] = deltas[tensor] + slope
        gradients |= {f"{unit.name}.{name}": gradient for name, gradient in own_gradients.items()}
    return gradients, deltas


def inputs_of(unit: Unit, tensors: list[np.ndarray]) -> Any:
    """Return what a unit reads of a network's tensors: an array, or a tuple where it takes several."""
    found = tuple(tensors[tensor] for tensor in unit.inputs)
    return found if len(found) > 1 else found[0]


def judge(
    network: Network, z: np.ndarray, labels: np.ndarray, smoothing: float = 0.0, weights: np.ndarray | None = None
) -> Outcome:
    """Compare the last unit's output z[N, outputs, 1, 1] with the labels; weights [N]: what each image counts.

    Labels are classes int64 [N], or [N, outputs] where the network's target has a number for each output.
    """
    twin, z = find_twin(network.loss.twin(network.target)), z[:, :, 0, 0]
    labels = np.asarray(labels, np.int64 if network.target == "class" else np.float64)
    if weights is None:
        return Outcome(*twin(z, labels, float(smoothing)))
    each = [Outcome(*twin(z[n : n + 1], labels[n : n + 1], float(smoothing))) for n in range(len(z))]
    shares = np.asarray(weights, np.float64) / len(z)
    return Outcome(
        float(sum(share * one.loss for share, one in zip(shares, each, strict=True))),
        sum(one.correct for one in each),
        np.concatenate([one.outputs for one in each]),
        np.concatenate([share * one.dz for share, one in zip(shares, each, strict=True)]),
    )


def loss_and_gradients(
    network: Network,
    parameters: dict[str, np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    smoothing: float = 0.0,
    *,
    batch: bool = False,
) -> tuple[float, int, dict[str, np.ndarray]]:
    """Return a batch's mean loss, its number of right answers, and the gradient of every parameter.

    Parameters
    ----------
    images, labels
        Normalised images [N, C, H, W] and their labels [N].
    """
    outputs = forward(network, parameters, images, batch=batch)
    outcome = judge(network, outputs[-1], labels, smoothing)
    gradients, _ = backward(network, parameters, images, outputs, outcome.dz, batch=batch)
    return outcome.loss, outcome.correct, gradients


def clipped(gradients: dict[str, np.ndarray], max_norm: float | None) -> dict[str, np.ndarray]:
    """Return gradients, scaled so that their norm over all parameters is at most max_norm; None: as they are."""
    if max_norm is None:
        return gradients
    flat = np.concatenate([gradient.ravel() for gradient in gradients.values()])
    ends = np.cumsum([gradient.size for gradient in gradients.values()])
    parts = np.split(reference_steps.clip_gradient(flat[np.newaxis], max_norm), ends[:-1])
    return {name: part.reshape(gradients[name].shape) for name, part in zip(gradients, parts, strict=True)}


def step(
    parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray], optimizer: Optimizer, rate: float
) -> tuple[dict[str, np.ndarray], dict[str, list[np.ndarray]]]:
    """Take an optimiser's first step, from rest; parameters without a gradient stay.

    Returns
    -------
    updated, states
        The parameters, and what the optimiser keeps of each that has a gradient.
    """
    updated, states, rule = dict(parameters), {}, make_optimizer(optimizer)
    for name, gradient in gradients.items():
        theta, flat = parameters[name].ravel().copy(), np.ascontiguousarray(gradient).ravel()
        decay = optimizer.weight_decay if name.endswith(".kernel") else 0.0
        moments = [np.zeros_like(theta) for _ in range(rule.moments)]
        rule.plain_step(theta, moments, flat, rate, decay, 1)
        updated[name], states[name] = theta.reshape(gradient.shape), [m.reshape(gradient.shape) for m in moments]
    return updated, states


def own(unit: Unit, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a unit's parameters in float64, by their short names."""
    return {
        parameter.name: np.ascontiguousarray(parameters[f"{unit.name}.{parameter.name}"], np.float64)
        for parameter in unit.parameters
    }
