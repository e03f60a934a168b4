"""Where everything lies in a worker's memory: activations with their margins, gradients, scratch."""

from collections.abc import Sequence

import numpy as np

from lenumba.engine.network.augmentation import AMOUNTS, Distortion
from lenumba.engine.network.layers import LayerBase, Shape
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Place, Tensor

MARGIN = 32  # floats: buffers are whole multiples of 128 bytes, two cache lines


def whole_vectors(size: int) -> int:
    """Round floats up to whole vectors."""
    return -(-size // LANES) * LANES


class Layout:
    """Offsets, in floats, of everything in a worker's memory `work`.

    Layers that may work in place share the tensor of the layer before. Gradients of activations live only from one
    layer to the next, so two buffers in turn hold all of them.

    Parameters
    ----------
    layers, shapes
        The layers in order, and the (channels, height, width) of the input and of each layer's output.
    unit
        Images in a block: 16, or 1. A single image lies without margins.
    distortion
        What distorts the training images, if anything does.
    """

    def __init__(
        self, layers: Sequence[LayerBase], shapes: Sequence[Shape], unit: int, distortion: Distortion | None = None
    ) -> None:
        in_place, needed = [], False  # needed: some backward pass reads what the tensor holds now
        for layer in layers:
            in_place.append(layer.passes_through or (layer.in_place and not needed))
            needed = layer.reads_output or (layer.passes_through and needed)
        margins = [(0, 0, 0, 0)] * len(shapes)
        self.fills: list[tuple[Tensor, float]] = []
        for k in reversed(range(len(layers) if unit > 1 else 0)):
            margins[k] = margins[k + 1] if in_place[k] else layers[k].margins(shapes[k])
        self.labels = 0
        size = 2 * LANES
        self.tensors: list[Tensor] = []
        for k, (shape, margin) in enumerate(zip(shapes, margins, strict=True)):
            tensor = Tensor(*shape, *margin, unit=unit)
            if k and in_place[k - 1]:
                tensor = tensor.moved(self.tensors[-1].start)
            else:
                tensor = tensor.moved(size)
                size += tensor.vectors * LANES
            self.tensors.append(tensor)
            if unit > 1 and k < len(layers) and layers[k].margin_value:
                self.fills.append((tensor, layers[k].margin_value))
        # Outputs, and what the loss reads and writes where blocks are single images.
        block = shapes[-1][0] * LANES
        self.output, self.loss_input, self.loss_gradient = (
            Place("work", size + k * block, name, f"{shapes[-1][0]}×{LANES}")
            for k, name in enumerate(("loss_p", "loss_z", "loss_dz"))
        )
        size += 3 * block
        largest = max(tensor.vectors for tensor in self.tensors) * LANES
        buffers, turn = (size, size + largest), 0
        size += 2 * largest
        gradients = []
        for k in reversed(range(len(shapes))):
            gradients.append(self.tensors[k].moved(buffers[turn]))
            turn ^= not (k and in_place[k - 1])
        self.gradients = gradients[::-1]
        self.scratches = []
        for layer, shape in zip(layers, shapes, strict=False):
            self.scratches.append(size)
            size += whole_vectors(layer.scratch(shape, unit))
        self.distortion, self.augmentation = distortion, size
        size += distortion.size if distortion else 0
        self.size = -(-size // MARGIN) * MARGIN

    def fill(self, work: np.ndarray) -> None:
        """Set `work` (float32 [size]) to zero and write the margins that are not zero."""
        work[:] = 0
        if self.distortion:
            work[self.augmentation :][:AMOUNTS] = self.distortion.augment.amounts()
        for tensor, value in self.fills:
            block = work[tensor.start : tensor.start + tensor.vectors * LANES]
            block = block.reshape(tensor.channels, tensor.rows, tensor.row, LANES)
            inside = np.zeros(block.shape[1:3], bool)
            inside[tensor.top : tensor.top + tensor.height, tensor.left : tensor.left + tensor.width] = True
            block[:, ~inside] = value
