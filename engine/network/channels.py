"""Single images with 16 channels in the lanes of a vector: where it pays, and where tensors and weights lie then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lenumba.engine.network.layers import Shape
from lenumba.engine.network.layers.base import Node
from lenumba.engine.network.units import Unit
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call, Place, Tensor

# Of a block of 16 images, for single ones to be no slower: vector operations, and what points save for blocks alone.
MOST_VECTORS, MOST_LOST = 1.1, 0.05


class Channels:
    """A network whose images come one by one, each with 16 channels in the lanes of a vector.

    A flat tensor has its values in the order of the maps that they come from, not in that of PyTorch; the weights
    behind it are arranged for that. The image itself lies in planes of floats.

    Parameters
    ----------
    units, shape
        The computing layers, and the shape of the input.
    folded
        The norms whose work evaluation leaves to the weights before them, by the number of the unit before.

    Attributes
    ----------
    fits
        Whether all layers can do that.
    places, size
        Where each unit's kernel begins, and its bias, by its number, among the weights as the program reads them; and
        how many floats these are.
    """

    def __init__(self, units: Sequence[Unit], shape: Shape, folded: dict[int, Unit]) -> None:
        self.units, self.folded = units, folded
        self.spreads, self.lanes = [shape], [1]
        absent = {norm.name for norm in folded.values()}
        for unit in units:
            first = unit.inputs[0]
            passes = unit.layer.passes_through or unit.name in absent
            self.lanes.append(self.lanes[first] if passes else LANES)
            alike = passes or (unit.output == unit.shape and not unit.parameters)
            self.spreads.append(self.spreads[first] if alike else unit.output)
        self.fits = self.spreads[-1] == units[-1].output and all(
            unit.name in absent
            or unit.layer.passes_through
            or (unit.layer.takes_channels(unit.shape) and (self._in_lanes(unit) or unit.layer.takes_planes))
            for unit in units
        )
        self.size = 0
        self.places = dict(self._places()) if self.fits else {}

    @property
    def vectors(self) -> int:
        """Vector operations of an image, but for what points save."""
        return sum(unit.multiply_adds * -(-unit.output[0] // LANES) // unit.output[0] for unit in self.units)

    @property
    def pays(self) -> bool:
        """Whether an image takes fewer vector operations than in long rows."""
        return self.vectors < sum(unit.layer.row_vectors(unit.shape) for unit in self.units)

    @property
    def pays_for_batches(self) -> bool:
        """Whether an image takes hardly more than in a block of 16, whose tensors go through farther caches.

        There each weight that is read serves 16 images.
        """
        lost = sum(
            unit.multiply_adds
            for unit in self.units
            if unit.layer.form and not unit.layer.answers_at_points(unit.shape, self.lanes[unit.inputs[0]])
        )
        least = sum(unit.multiply_adds for unit in self.units) / LANES
        alike = self.vectors <= MOST_VECTORS * least and lost <= MOST_LOST * LANES * least
        return self.pays and alike and least >= self.size

    def tensor(self, t: int, margins: tuple[int, int, int, int]) -> Tensor:
        """Return tensor number t, without its place."""
        channels, height, width = self.spreads[t]
        return Tensor(-(-channels // self.lanes[t]), height, width, *margins, unit=self.lanes[t])

    def calls(self, number: int, node: Node) -> list[Call]:
        """Return a unit's kernel calls."""
        unit = self.units[number]
        if number in self.places:
            names = zip(("kernel", "bias"), self.places[number], strict=True)
            places = {name: Place("theta", start, f"{unit.name}_{name}") for name, start in names}
            node = replace(node, parameters=places)
        return unit.layer.answer(node, self.spreads[unit.inputs[0]])

    def evaluated(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return float32 [size] weights as the program reads them, of parameters into which norms are folded."""
        found = np.zeros(self.size, np.float32)
        for number, (start, end) in self.places.items():
            unit, first = self.units[number], self.units[number].inputs[0]
            kernel = views[f"{unit.name}.kernel"]
            if unit.parameters[0].flipped:
                kernel = kernel[:, :, ::-1, ::-1]
            found[start:end] = unit.layer.arrange(kernel, self.spreads[first], self.lanes[first]).ravel()
            bias = views.get(f"{self.folded.get(number, unit).name}.bias")
            if bias is not None:
                found[end : end + len(bias)] = bias
        return found

    def _in_lanes(self, unit: Unit) -> bool:
        """Return whether the channels of all that a unit reads lie in lanes, in the same order."""
        return {(LANES, self.spreads[unit.inputs[0]])} == {(self.lanes[t], self.spreads[t]) for t in unit.inputs}

    def _places(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield where each unit's kernel begins, and its bias, by the unit's number."""
        end = 0
        for number, unit in enumerate(self.units):
            shapes = {parameter.name: parameter.shape for parameter in unit.parameters}
            if "kernel" in shapes:
                start, first = end, unit.inputs[0]
                empty = np.zeros(shapes["kernel"], np.float32)
                bias = start + unit.layer.arrange(empty, self.spreads[first], self.lanes[first]).size
                end = bias + LANES * -(-unit.output[0] // LANES)
                yield number, (start, bias)
        self.size = end
