"""A network: layers with their shapes and parameters, and the plan of its compiled program."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenumba.engine.network.augmentation import Augment, Distortion
from lenumba.engine.network.fusion import fused
from lenumba.engine.network.layers import Activation, Flatten, LayerBase, Node, Parameter, Shape, activation_of
from lenumba.engine.network.layout import MARGIN, Layout, whole_vectors
from lenumba.engine.network.losses import Loss, loss_for
from lenumba.engine.network.optimizers import Optimizer
from lenumba.kernels.compile.native import Native, get_program
from lenumba.kernels.compile.target import vector_registers
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Call, Place, Plan, Step, program_source

SMALL_BATCH = 8  # up to here 16 lanes of pixels beat 16 lanes of images, on two threads
FLAT_ONLY = ("dense", "activation", "dropout", "flatten")


class LayerError(ValueError):
    """A layer that cannot follow the ones before it; `index` is its number in the configuration."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class Unit:
    """One computing layer: `shape` is its input's, `index` its number in the configuration."""

    name: str
    index: int
    layer: LayerBase
    shape: Shape
    output: Shape
    parameters: tuple[Parameter, ...]

    @property
    def parameter_count(self) -> int:
        """Number of trainable and frozen parameters."""
        return sum(int(np.prod(parameter.shape)) for parameter in self.parameters)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return self.layer.multiply_adds(self.shape)

    @property
    def learns(self) -> bool:
        """Whether it has parameters that training changes."""
        return bool(self.parameters) and getattr(self.layer, "trainable", True)


class Network:
    """Layers for images of one shape.

    Parameters
    ----------
    layers
        The configured layers, in order.
    image_shape
        (height, width, channels) of an image; every `Shape`, such as `input_shape`, is (channels, height, width).
    loss
        Name of the loss, or ``"auto"``.
    name
        What people call it.
    batch_size
        Small batches take images one by one, as they cannot fill the lanes; None: blocks of 16.
    pixels
        What the images are made of, ``uint8`` or ``float32``.
    augment
        How training images are distorted; that is done for 16 at a time, so then small batches are blocks of 16, too.

    Attributes
    ----------
    unit
        Images in a block: 16, or 1.

    Raises
    ------
    LayerError
        Where a layer cannot follow the ones before it, or the last one does not fit the loss.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        image_shape: tuple[int, int, int],
        *,
        loss: str = "auto",
        name: str = "network",
        batch_size: int | None = None,
        pixels: str = "uint8",
        augment: Augment | None = None,
    ) -> None:
        height, width, channels = self.image_shape = image_shape
        self.input_shape: Shape = (channels, height, width)
        self.name, self.pixels = name, pixels
        try:
            self.loss: Loss = loss_for(loss, activation_of(layers[-1]))
        except ValueError as error:
            raise LayerError(len(layers) - 1, f"loss: {error}") from None
        self.units = list_units(layers, self.input_shape, self.loss)
        if not self.units:
            raise LayerError(len(layers) - 1, "expected a layer before the loss, found none; put 'dense' before this")
        self.offsets, self.size = parameter_offsets(self.units)
        self.distortion = Distortion(augment, self.input_shape) if augment and augment.active else None
        singly = batch_size is not None and batch_size <= SMALL_BATCH and not self.distortion
        self.unit = 1 if singly and all(unit.layer.takes_single_images for unit in self.units) else LANES
        if self.units[-1].output[1:] != (1, 1):
            raise LayerError(len(layers) - 1, "the last layer must be flat: end with 'dense' (or 'flatten')")

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.units[-1].output[0]

    @property
    def parameter_count(self) -> int:
        """Number of parameters of all layers."""
        return sum(unit.parameter_count for unit in self.units)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return sum(unit.multiply_adds for unit in self.units)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters by their full names, such as ``conv1.kernel``."""
        return {f"{unit.name}.{parameter.name}": parameter for unit in self.units for parameter in unit.parameters}

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return each parameter as a view of a flat float32 vector laid out as this network's.

        Kernels of the orientation ``convolution`` are views with negative strides: memory holds them rotated.
        """
        views = {}
        for name, parameter in self.parameters.items():
            offset = self.offsets[name]
            view = flat[offset : offset + int(np.prod(parameter.shape))].reshape(parameter.shape)
            views[name] = view[..., ::-1, ::-1] if parameter.flipped else view
        return views

    def decay_mask(self) -> np.ndarray:
        """Return float32 [vectors]: 1 where weight decay applies (trainable kernels), else 0."""
        flat = np.zeros(self.size, np.float32)
        views = self.views(flat)
        for unit in self.units:
            if unit.learns:
                views[f"{unit.name}.kernel"][...] = 1
        return flat.reshape(-1, LANES).max(axis=1)

    def initial_parameters(self, seed: int) -> np.ndarray:
        """Draw float32 [size] initial parameters (handout 004: Glorot uniform kernels, biases zero).

        Each tensor has a random stream of its own, keyed by the seed and its number.
        """
        flat = np.zeros(self.size, np.float32)
        views = self.views(flat)
        for number, (name, parameter) in enumerate(self.parameters.items()):
            generator = np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
            views[name][...] = parameter.draw(generator)
        for unit in self.units:
            if (given := getattr(unit.layer, "kernel", None)) is not None:
                views[f"{unit.name}.kernel"][...] = np.array(given, np.float32)
        return flat

    @functools.cached_property
    def layout(self) -> Layout:
        """Where activations and gradients lie in a worker's memory."""
        return Layout(
            [unit.layer for unit in self.units],
            [self.input_shape, *(unit.output for unit in self.units)],
            self.unit,
            self.distortion,
        )

    def plan(self, optimizer: Optimizer) -> Plan:
        """Return the plan of the program that trains and evaluates this network."""
        layout, registers = self.layout, vector_registers()
        lowest = min((k for k, unit in enumerate(self.units) if unit.learns), default=len(self.units))
        forward: list[Step] = []
        backward: list[Step] = []
        for k, unit in enumerate(self.units):
            places = {p.name: self.offsets[f"{unit.name}.{p.name}"] for p in unit.parameters}
            node = Node(
                x=layout.tensors[k],
                y=layout.tensors[k + 1],
                dx=layout.gradients[k] if k > lowest else None,
                dy=layout.gradients[k + 1],
                parameters={name: Place("theta", offset) for name, offset in places.items()},
                gradients={name: Place("gradient", offset) for name, offset in places.items()},
                scratch=Place("work", layout.scratches[k]),
                registers=registers,
                number=k,
            )
            text = f"{describe(unit.shape)} → {describe(unit.output)}"
            forward += forward_steps(unit, node, text)
            if k >= lowest and (calls := unit.layer.backward(node)):
                backward.insert(0, Step(f"backward_{unit.name}", text.replace("→", "←"), calls))
        return Plan(
            name="network",  # not the recipe's: equal networks share their machine code
            title=f"A network of {self.parameter_count} parameters: {describe(self.input_shape)} → "
            + " → ".join(describe(unit.output) for unit in self.units if unit.parameters),
            input=layout.tensors[0],
            output=layout.output,
            width=self.outputs,
            forward=fused(forward),
            backward=fused(backward),
            loss=self.loss_calls(),
            update=optimizer.kernel,
            update_flags=optimizer.flags,
            clips=optimizer.max_norm is not None,
            average=(optimizer.states - 1) * self.size if optimizer.average else -1,
            labels=Place("work", layout.labels),
            gradient_size=self.size,
            pixels=self.pixels,
            augment=self.augment_call(),
        )

    def augment_call(self) -> Call | None:
        """Return the call that distorts and packs training images, None where `pack` does for training, too."""
        if self.distortion is None:
            return None
        layout = self.layout
        label, valid = Place("work", layout.labels), Place("work", layout.labels + LANES)
        return self.distortion.call(layout.augmentation, layout.tensors[0], label, valid)

    def loss_calls(self) -> list[Call]:
        """Return the calls that compare the last layer's output with the labels; a single image lies in lane 0."""
        layout, outputs = self.layout, {"K": self.outputs}
        z, dz, labels = layout.tensors[-1].interior, layout.gradients[-1].interior, Place("work", layout.labels)
        pointers: list[Place | str] = [z, layout.output, dz, labels, Place("work", layout.labels + LANES)]
        pointers += ["result", "weight", "smoothing"]
        if self.unit == LANES:
            return [Call(self.loss.kernel, pointers, outputs)]
        pointers[0], pointers[2] = layout.loss_input, layout.loss_gradient
        column = {"C": 1, "H": 1, "W": self.outputs, "X_PLANE": 0, "X_ROW": 0, "Y_PLANE": 0, "Y_ROW": 0}
        return [
            Call("copy_strided", [z, layout.loss_input], column | {"X_STEP": 1, "Y_STEP": LANES}),
            Call(self.loss.kernel, pointers, outputs),
            Call("copy_strided", [layout.loss_gradient, dz], column | {"X_STEP": LANES, "Y_STEP": 1}),
        ]

    def compile(self, optimizer: Optimizer, progress: Any = None) -> Native:
        """Return the compiled program, from the cache or newly compiled (`progress`: see get_program)."""
        return get_program(program_source(self.plan(optimizer)), progress)


def forward_steps(unit: Unit, node: Node, text: str) -> list[Step]:
    """Return a layer's forward pass: one step, or one for training and one for evaluation, leaving out empty ones."""
    training, evaluation = unit.layer.forward(node), unit.layer.evaluate(node)
    if training == evaluation:
        steps = [Step(f"forward_{unit.name}", text, training)]
    else:
        steps = [
            Step(f"forward_{unit.name}", text, training, only="training"),
            Step(f"evaluate_{unit.name}", text, evaluation, only="evaluation"),
        ]
    return [step for step in steps if step.calls]


def describe(shape: Shape) -> str:
    """Write (channels, height, width) as people do: 24×24×4, or 50 for a flat one."""
    channels, height, width = shape
    return str(channels) if (height, width) == (1, 1) else f"{height}×{width}×{channels}"


def list_units(layers: Sequence[Any], shape: Shape, loss: Loss) -> list[Unit]:
    """Infer shapes, name the layers and give each activation a unit of its own."""
    units: list[Unit] = []
    counts: dict[str, int] = {}
    flat = False
    for index, layer in enumerate(layers):
        kind = "pool" if layer.type.endswith("pool") else layer.type
        counts[kind] = counts.get(kind, 0) + 1
        name = getattr(layer, "name", None) or f"{kind}{counts[kind]}"
        if flat and layer.type not in FLAT_ONLY:
            raise LayerError(index, f"{layer.type} cannot follow a flat layer; put it before 'flatten'")
        function: Any = activation_of(layer)
        last = index == len(layers) - 1
        if not (isinstance(layer, Activation) and (function == "none" or (last and function in loss.fused))):
            units.append(make_unit(name, index, layer, shape))
            shape = units[-1].output
        if not isinstance(layer, Activation) and function != "none" and not (last and function in loss.fused):
            units.append(make_unit(f"{name}_{function}", index, Activation(function=function), shape))
        flat = flat or isinstance(layer, Flatten) or layer.type == "dense"
    names = [unit.name for unit in units]
    for unit in units:
        if names.count(unit.name) > 1:
            raise LayerError(unit.index, f"the name '{unit.name}' is taken by another layer; choose another")
    return units


def make_unit(name: str, index: int, layer: LayerBase, shape: Shape) -> Unit:
    """Return the unit of a layer, or raise LayerError where it does not fit its input."""
    try:
        output = layer.output_shape(shape)
    except ValueError as error:
        raise LayerError(index, str(error)) from None
    return Unit(name, index, layer, shape, output, tuple(layer.parameters(shape)))


def parameter_offsets(units: Sequence[Unit]) -> tuple[dict[str, int], int]:
    """Lay out the parameters in one flat vector; return each one's offset and the vector's size, in floats."""
    offsets, size = {}, 0
    for unit in units:
        for parameter in unit.parameters:
            offsets[f"{unit.name}.{parameter.name}"] = size
            size += whole_vectors(int(np.prod(parameter.shape)))
    return offsets, -(-(size + LANES) // MARGIN) * MARGIN
