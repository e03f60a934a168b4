"""Where everything lies in a worker's memory: activations with their margins, gradients, scratch."""

from collections.abc import Sequence

import numpy as np

from lenumba.engine.network.augmentation import AMOUNTS, Distortion
from lenumba.engine.network.channels import Channels
from lenumba.engine.network.layers import Shape
from lenumba.engine.network.turns import Gradient, turns
from lenumba.engine.network.units import LayerError, Unit
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Place, Tensor

MARGIN = 32  # floats: buffers are whole multiples of 128 bytes, two cache lines
NO_MARGINS = (0, 0, 0, 0)


def whole_vectors(size: int) -> int:
    """Round floats up to whole vectors."""
    return -(-size // LANES) * LANES


class Layout:
    """Offsets, in floats, of everything in a worker's memory `work`.

    Layers that may work in place share the tensor of the layer before. Gradients of activations live only until the
    layer before has read them, so a few buffers in turn hold all of them: two where nothing branches.

    Parameters
    ----------
    units
        The computing layers in order.
    shape
        (channels, height, width) of the input.
    unit
        Images in a block: 16, or 1. A single image lies without margins but for `channels`.
    distortion
        What distorts the training images, if anything does.
    channels
        Where tensors lie with 16 channels of a single image in a vector.
    targets
        Numbers that come with each image, for the loss to compare the outputs with.

    Attributes
    ----------
    tensors
        The input, and each unit's output.
    slopes
        For each unit, the gradients with respect to its inputs, as it leaves them; None where nobody needs them.
    gradients
        The gradient of each tensor as a whole, or None.
    sums
        For each tensor that several units read, the slopes that add up to its gradient, in the order of the sum.
    temporary
        Where that begins which lasts as long as a step, behind the rest: each worker's own, for all layers the same.
    """

    apart = False  # whether every gradient has a buffer of its own

    def __init__(
        self,
        units: Sequence[Unit],
        shape: Shape,
        unit: int,
        distortion: Distortion | None = None,
        targets: int = 0,
        channels: Channels | None = None,
    ) -> None:
        self.units, self.unit, self.size = units, unit, 0
        self.padded = unit > 1 or channels is not None
        shapes = [shape, *(each.output for each in units)]
        self.readers = [[k for k, each in enumerate(units) if t in each.inputs] for t in range(len(shapes))]
        self.in_place = self._in_place()
        self.fills: list[tuple[Tensor, float]] = []
        self.labels = self.part("labels", 2 * LANES)
        self.tensors: list[Tensor] = []
        for t, (one, margin) in enumerate(zip(shapes, self._margins(shapes), strict=True)):
            tensor = channels.tensor(t, margin) if channels else Tensor(*one, *margin, unit=unit)
            if t and self.in_place[t - 1]:
                tensor = tensor.moved(self.tensors[units[t - 1].inputs[0]].start)
            else:
                tensor = tensor.moved(self.part(f"x {t}", tensor.vectors * LANES))
            self.tensors.append(tensor)
            if self.values[t] and not any(self.in_place[k] for k in self.readers[t]):
                self.fills.append((tensor, self.values[t]))
        # Outputs, and what the loss reads and writes where blocks are single images.
        outputs = shapes[-1][0]
        self.output, self.loss_input, self.loss_gradient = (
            Place("work", self.part(name, outputs * LANES), name, f"{outputs}×{LANES}")
            for name in ("loss_p", "loss_z", "loss_dz")
        )
        found = turns(units, self.tensors, self.readers, self.in_place, self.apart)
        buffers = [
            self.part(f"dx {number}", max(self.tensors[t].vectors for t, each in found.all if each == number) * LANES)
            for number in range(found.count)
        ]

        def placed(row: Sequence[Gradient | None]) -> list[Tensor | None]:
            return [None if each is None else self.tensors[each[0]].moved(buffers[each[1]]) for each in row]

        self.gradients, *self.slopes = map(placed, (found.gradients, *found.slopes))
        self.sums = {t: placed(row) for t, row in found.sums.items()}
        self.scratches = [
            self.part(f"scratch {k}", whole_vectors(0 if channels else each.layer.scratch(each.shape, unit)))
            for k, each in enumerate(units)
        ]
        self.distortion = distortion
        self.augmentation = self.part("augmentation", distortion.size if distortion else 0)
        self.targets = self.part("targets", targets * LANES)
        self.filled = self.size = -(-self.size // MARGIN) * MARGIN
        shared = max(
            (
                each.layer.answer_temporary(each.shape) if channels else each.layer.temporary(each.shape, unit)
                for each in units
            ),
            default=0,
        )
        self.temporary = self.part("temporary", -(-shared // MARGIN) * MARGIN)

    def part(self, name: str, size: int) -> int:
        """Set `size` floats aside and return where they begin."""
        self.size += size
        return self.size - size

    def _in_place(self) -> list[bool]:
        """Return of each unit whether its output lies where its first input does."""
        in_place: list[bool] = []
        # Of each tensor: whether a backward pass reads what it holds now, and whether several units do.
        needed, shared = [False], [len(self.readers[0]) > 1]
        for k, unit in enumerate(self.units):
            layer, first = unit.layer, unit.inputs[0]
            in_place.append(layer.passes_through or (layer.in_place and not needed[first] and not shared[first]))
            needed.append(layer.reads_output or (layer.passes_through and needed[first]))
            shared.append(len(self.readers[k + 1]) > 1 or (in_place[k] and shared[first]))
        return in_place

    def _margins(self, shapes: Sequence[Shape]) -> list[tuple[int, int, int, int]]:
        """Return the margins of each tensor: the largest that a unit which reads it needs."""
        margins, self.values = [NO_MARGINS] * len(shapes), [0.0] * len(shapes)
        for t in reversed(range(len(shapes) if self.padded else 0)):
            wanted: dict[int, tuple[int, int, int, int]] = {}
            values: dict[float, str] = {}  # what the margins hold, and the layer that wants it
            for k in self.readers[t]:
                unit = self.units[k]
                lies_alike = self.in_place[k] or unit.layer.passes_gradient
                wanted[k] = margins[k + 1] if lies_alike else unit.layer.margins(shapes[t])
                if any(wanted[k]) and (self.in_place[k] or not lies_alike):
                    values[self.values[k + 1] if self.in_place[k] else unit.layer.margin_value] = unit.path
            if len(values) > 1 or (any(map(any, wanted.values())) and self._needs_none(t)):
                where = self.units[self.readers[t][-1]].path
                layers = " and ".join(values.values())
                raise LayerError(where, f"its input is also that of another layer with other padding ({layers}); use 0")
            margins[t] = tuple(max(each) for each in zip(NO_MARGINS, *wanted.values(), strict=True))  # type: ignore[assignment]
            self.values[t] = next(iter(values), 0.0)
        return margins

    def _needs_none(self, t: int) -> bool:
        """Return whether a unit reads a tensor as one row of numbers."""
        return any(self.units[k].layer.takes_row for k in self.readers[t])

    def fill(self, work: np.ndarray) -> None:
        """Set `work` (float32 [size]) to zero but for what steps overwrite; write the margins that are not zero."""
        work[: self.filled] = 0
        if self.distortion:
            work[self.augmentation :][:AMOUNTS] = self.distortion.augment.amounts()
        for tensor, value in self.fills:
            block = work[tensor.start : tensor.start + tensor.vectors * LANES]
            block = block.reshape(tensor.channels, tensor.rows, tensor.row, LANES)
            inside = np.zeros(block.shape[1:3], bool)
            inside[tensor.top : tensor.top + tensor.height, tensor.left : tensor.left + tensor.width] = True
            block[:, ~inside] = value
