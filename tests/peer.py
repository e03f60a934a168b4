"""The same networks in PyTorch, float64: an implementation that shares nothing with this one."""

import numpy as np
import torch
from torch.nn import functional

from lenumba.engine.network.layers import pair
from lenumba.engine.network.network import Network, Unit

torch.set_num_threads(1)

FUNCTIONS = {
    "relu": torch.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.01),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "hard_swish": functional.hardswish,
}


def tensor(array: np.ndarray, grad: bool = False) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(array, np.float64), requires_grad=grad)


def padded(x: torch.Tensor, margins: tuple[int, int, int, int], value: float) -> torch.Tensor:
    top, left, bottom, right = margins
    return functional.pad(x, (left, right, top, bottom), value=value)


def averages_inside(x: torch.Tensor, margins: tuple[int, int, int, int], size: tuple, steps: tuple) -> torch.Tensor:
    """Average pooling that leaves the padding out: PyTorch's, where its padding may be as large."""
    if 2 * margins[0] <= size[0] and 2 * margins[1] <= size[1]:
        return functional.avg_pool2d(x, size, steps, margins[:2], count_include_pad=False)
    sums, counts = (functional.avg_pool2d(padded(each, margins, 0.0), size, steps) for each in (x, torch.ones_like(x)))
    return sums / counts


def torch_unit(unit: Unit, own: dict[str, torch.Tensor], *inputs: torch.Tensor, training: bool = False) -> torch.Tensor:
    layer, x = unit.layer, inputs[0]
    if layer.type == "dropout":
        return x  # as in evaluation
    if layer.type == "add":
        return x + inputs[1]
    if layer.type == "batch_norm":
        statistics = own["running_mean"], own["running_var"], own["weight"], own["bias"]
        return functional.batch_norm(x, *statistics, training, layer.momentum, layer.epsilon)
    if layer.type == "conv":
        kernel = own["kernel"].flip(2, 3) if layer.orientation == "convolution" else own["kernel"]
        return functional.conv2d(
            padded(x, layer.margins(unit.shape), 0.0), kernel, own.get("bias"), pair(layer.stride), groups=layer.groups
        )
    if layer.type == "average_pool" and layer.count_padding:
        return functional.avg_pool2d(padded(x, layer.margins(unit.shape), 0.0), pair(layer.size), layer.steps)
    if layer.type == "average_pool":
        return averages_inside(x, layer.margins(unit.shape), pair(layer.size), layer.steps)
    if layer.type == "global_average_pool":
        return functional.adaptive_avg_pool2d(x, 1)
    if layer.type == "global_max_pool":
        return functional.adaptive_max_pool2d(x, 1)
    if layer.type == "max_pool":
        return functional.max_pool2d(padded(x, layer.margins(unit.shape), -torch.inf), pair(layer.size), layer.steps)
    if layer.type == "flatten":
        return x.flatten(1)
    if layer.type == "dense":
        return functional.linear(x.flatten(1), own["kernel"], own.get("bias"))
    return FUNCTIONS[layer.function](x)


def torch_logits(network: Network, leaves: dict, images: np.ndarray, training: bool = False) -> torch.Tensor:
    """Return what the loss takes, [N, outputs]; training moves the running statistics in `leaves`."""
    tensors = [tensor(images)]
    for unit in network.units:
        own = {p.name: leaves[f"{unit.name}.{p.name}"] for p in unit.parameters}
        tensors.append(torch_unit(unit, own, *(tensors[number] for number in unit.inputs), training=training))
    return tensors[-1].flatten(1)


def torch_network(network: Network, parameters: dict, images: np.ndarray, labels: np.ndarray, smoothing=0.0):
    """Return the mean loss, the probabilities and the gradients."""
    leaves = {name: tensor(array, grad=True) for name, array in parameters.items()}
    z = torch_logits(network, leaves, images)
    loss = functional.cross_entropy(z, torch.tensor(labels), label_smoothing=smoothing)
    loss.backward()
    gradients = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    return loss.item(), torch.softmax(z, 1).detach().numpy(), gradients
