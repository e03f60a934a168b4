"""The computing layers of a network, in the order of their work: nested layers become one list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenumba.engine.network.layers import Activation, BatchNorm, Conv, LayerBase, Parameter, Shape, activation_of
from lenumba.engine.network.layers.forms import fastest
from lenumba.engine.network.losses import Loss

UNKNOWN: Shape = (0, 0, 0)  # of what comes out of a layer that does not fit


class LayerError(ValueError):
    """A layer that cannot follow the ones before it; `path` leads to it among the layers: 3, or 3.shortcut.0.

    `faults` are (path, reason) of all such layers, the first one's first.
    """

    def __init__(self, path: int | str, reason: str, others: Sequence["LayerError"] = ()) -> None:
        super().__init__(reason)
        self.path = str(path)
        self.faults = [(self.path, reason), *((other.path, str(other)) for other in others)]


@dataclass(frozen=True)
class Unit:
    """One computing layer.

    `shape` is its input's, `path` leads to it in the configuration. Of a network's tensors, number 0 is the image and
    number k + 1 the output of unit k; `inputs` are those that it reads.
    """

    name: str
    path: str
    layer: LayerBase
    shape: Shape
    output: Shape
    parameters: tuple[Parameter, ...]
    inputs: tuple[int, ...]

    @property
    def parameter_count(self) -> int:
        """Number of all its parameters, frozen ones and running statistics included."""
        return sum(int(np.prod(parameter.shape)) for parameter in self.parameters)

    @property
    def trainable_count(self) -> int:
        """Number of the parameters that training changes by their gradient."""
        learned = [parameter for parameter in self.parameters if parameter.learned] if self.learns else []
        return sum(int(np.prod(parameter.shape)) for parameter in learned)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return self.layer.multiply_adds(self.shape)

    @property
    def learns(self) -> bool:
        """Whether it has parameters that training changes."""
        return bool(self.parameters) and getattr(self.layer, "trainable", True)


class Assembly:
    """Collects the units of layers, which may hold layers: infers shapes, names them, gives activations units."""

    def __init__(self, layers: Sequence[Any], shape: Shape, loss: Loss, *, fast: bool = True) -> None:
        self.units: list[Unit] = []
        self.faults: list[LayerError] = []
        self.fast = fast
        self.shapes, self.flat = [shape], [False]
        self.counts: dict[str, int] = {}
        # The loss computes the last layer's activation itself where it is made for that.
        self.taken = layers[-1] if activation_of(layers[-1]) == loss.fused else None
        self.chain(layers, "", 0)
        names = [unit.name for unit in self.units]
        for unit in self.units:
            if names.count(unit.name) > 1:
                reason = f"the name '{unit.name}' is taken by another layer; choose another"
                self.faults.append(self.error(unit.path, reason))
                break
        if self.faults:
            first, *others = self.faults
            raise LayerError(first.path, str(first), others)

    def error(self, path: str, reason: str) -> LayerError:
        """Return the error of a layer that does not fit."""
        return LayerError(path, reason)

    def chain(self, layers: Sequence[Any], path: str, tensor: int, *, inside: bool = False) -> int:
        """Add the units of layers, one behind the other; return the number of the tensor that they end in.

        Layers that do not fit are remembered; those behind them are looked at as far as that needs no shape.
        """
        for index, layer in enumerate(layers):
            here = f"{path}.{index}" if path else str(index)
            self.counts[layer.stem] = self.counts.get(layer.stem, 0) + 1
            name = getattr(layer, "name", None) or f"{layer.stem}{self.counts[layer.stem]}"
            function = activation_of(layer)
            idle = function == "none" or layer is self.taken
            try:
                if self.flat[tensor] and not layer.takes_flat:
                    raise self.error(here, f"{layer.type} cannot follow a flat layer; put it before 'flatten'")
                if inside and layer.passes_through:
                    raise self.error(here, f"{layer.type} cannot stand in a residual; put it before or behind that")
                if not (isinstance(layer, Activation) and idle):
                    tensor = layer.assemble(self, name, here, tensor)
            except LayerError as error:
                self.faults.append(error)
                flat, tensor = self.flat[tensor], self.add(Unit(name, here, layer, UNKNOWN, UNKNOWN, (), (tensor,)))
                self.flat[tensor] = flat  # where it is in a wrong place, what follows may be in the right one
            if norm := BatchNorm.of(getattr(layer, "norm", "none")):
                tensor = self.unit(f"{name}_norm", here, norm, (tensor,))
            if not (isinstance(layer, Activation) or idle):
                tensor = self.unit(f"{name}_{function}", here, Activation(function=function), (tensor,))
        return tensor

    def unit(self, name: str, path: str, layer: LayerBase, inputs: tuple[int, ...]) -> int:
        """Add a unit and return the number of its output, or raise LayerError where it does not fit its input."""
        shape = self.shapes[inputs[0]]
        if shape == UNKNOWN:
            return self.add(Unit(name, path, layer, UNKNOWN, UNKNOWN, (), inputs))
        try:
            output = layer.output_shape(shape)
        except ValueError as error:
            self.faults.append(self.error(path, str(error)))
            return self.add(Unit(name, path, layer, UNKNOWN, layer.known_shape(shape), (), inputs))
        if self.fast and isinstance(layer, Conv):
            layer = fastest(layer, shape, slopes=inputs != (0,))
        return self.add(Unit(name, path, layer, shape, output, tuple(layer.parameters(shape)), inputs))

    def add(self, unit: Unit) -> int:
        """Add a unit, and return the number of its output."""
        self.units.append(unit)
        self.shapes.append(unit.output)
        self.flat.append(unit.layer.gives_flat or any(self.flat[tensor] for tensor in unit.inputs))
        return len(self.units)
