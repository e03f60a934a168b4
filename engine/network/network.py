"""A network: layers with their shapes and parameters, and the plan of its compiled program."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenumba.engine.network.augmentation import Augment, Distortion
from lenumba.engine.network.ends import image_steps, loss_step
from lenumba.engine.network.fusion import fused
from lenumba.engine.network.layers import Activation, LayerBase, Node, Parameter, Shape, activation_of
from lenumba.engine.network.layout import MARGIN, Layout, whole_vectors
from lenumba.engine.network.losses import Loss, loss_for
from lenumba.engine.network.optimizers import Optimizer
from lenumba.kernels.compile.native import Native, Source, get_program
from lenumba.kernels.compile.target import vector_registers
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Place, Plan, Step, shape_text
from lenumba.kernels.program.source import program_source

SMALL_BATCH = 8  # up to here 16 lanes of pixels beat 16 lanes of images, on two threads


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
    weighted
        Whether the losses of training images count differently.

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
        weighted: bool = False,
    ) -> None:
        height, width, channels = self.image_shape = image_shape
        self.input_shape: Shape = (channels, height, width)
        self.name, self.pixels, self.weighted = name, pixels, weighted
        self._sources: dict[Optimizer, Source] = {}
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
        names = ["image", *(f"{unit.name}_y" for unit in self.units)]
        tensors = [replace(tensor, name=name) for tensor, name in zip(layout.tensors, names, strict=True)]
        gradients = [
            replace(tensor, name=f"{unit.name}_dy")
            for tensor, unit in zip(layout.gradients[1:], self.units, strict=True)
        ]
        lowest = min((k for k, unit in enumerate(self.units) if unit.learns), default=len(self.units))
        forward: list[Step] = []
        backward: list[Step] = []
        for k, unit in enumerate(self.units):
            node = Node(
                x=tensors[k],
                y=tensors[k + 1],
                dx=gradients[k - 1] if k > lowest else None,
                dy=gradients[k],
                parameters=self.places(unit, "theta"),
                gradients=self.places(unit, "gradient"),
                scratch=Place("work", layout.scratches[k], f"{unit.name}_scratch"),
                registers=registers,
                number=k,
            )
            forward += forward_steps(unit, node)
            if k >= lowest and (calls := unit.layer.backward(node)):
                text = f"{shape_text(*unit.shape)} ← {shape_text(*unit.output)}"
                backward.insert(0, Step(f"backward_{unit.name}", text, calls, "training", unit.name, "backward"))
        images = image_steps(layout, tensors[0], self.pixels, self.weighted)
        loss = loss_step(layout, self.loss, tensors[-1], gradients[-1])
        return Plan(
            name="network",  # not the recipe's: equal networks share their machine code
            title=f"A network of {self.parameter_count} parameters: {shape_text(*self.input_shape)} → "
            + " → ".join(shape_text(*unit.output) for unit in self.units if unit.parameters),
            steps=[*images, *fused(forward), loss, *fused(backward)],
            updates=optimizer.calls(self.size),
            output=layout.output,
            width=self.outputs,
            gradient_size=self.size,
            unit=self.unit,
            pixels=self.pixels,
            clips=optimizer.max_norm is not None,
        )

    def places(self, unit: Unit, buffer: str) -> dict[str, Place]:
        """Return where a unit's parameters lie in a buffer that is laid out as they are."""
        return {
            parameter.name: Place(
                buffer,
                self.offsets[f"{unit.name}.{parameter.name}"],
                f"{unit.name}_{parameter.name}",
                "×".join(map(str, parameter.shape)),
            )
            for parameter in unit.parameters
        }

    def source(self, optimizer: Optimizer) -> Source:
        """Return the source of the program that trains this network with an optimiser, printed once."""
        if optimizer not in self._sources:
            self._sources[optimizer] = program_source(self.plan(optimizer))
        return self._sources[optimizer]

    def compile(self, optimizer: Optimizer, progress: Any = None) -> Native:
        """Return the compiled program, from the cache or newly compiled (`progress`: see get_program)."""
        return get_program(self.source(optimizer), progress)


def forward_steps(unit: Unit, node: Node) -> list[Step]:
    """Return a layer's forward pass: one step, or one for training and one for evaluation, leaving out empty ones."""
    training, evaluation = unit.layer.forward(node), unit.layer.evaluate(node)
    text = f"{shape_text(*unit.shape)} → {shape_text(*unit.output)}"
    step = Step(f"forward_{unit.name}", text, training, layer=unit.name, phase="forward")
    steps = [step]
    if training != evaluation:
        other = replace(step, name=f"evaluate_{unit.name}", calls=evaluation, only="evaluation")
        steps = [replace(step, only="training"), other]
    return [step for step in steps if step.calls]


def list_units(layers: Sequence[Any], shape: Shape, loss: Loss) -> list[Unit]:
    """Infer shapes, name the layers and give each activation a unit of its own."""
    units: list[Unit] = []
    counts: dict[str, int] = {}
    flat = False
    for index, layer in enumerate(layers):
        counts[layer.stem] = counts.get(layer.stem, 0) + 1
        name = getattr(layer, "name", None) or f"{layer.stem}{counts[layer.stem]}"
        if flat and not layer.takes_flat:
            raise LayerError(index, f"{layer.type} cannot follow a flat layer; put it before 'flatten'")
        function = activation_of(layer)
        idle = function == "none" or (index == len(layers) - 1 and function == loss.fused)
        if not (isinstance(layer, Activation) and idle):
            units.append(make_unit(name, index, layer, shape))
            shape = units[-1].output
        if not (isinstance(layer, Activation) or idle):
            units.append(make_unit(f"{name}_{function}", index, Activation(function=function), shape))
        flat = flat or layer.gives_flat
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
