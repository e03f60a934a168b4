"""A network: layers with their shapes and parameters, and the plan of its compiled program."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lenumba.engine.common.html import heading_html, table_html
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.network.augmentation import Augment, Distortion
from lenumba.engine.network.channels import Channels
from lenumba.engine.network.layers import Parameter, Shape, activation_of
from lenumba.engine.network.layers.signals import along
from lenumba.engine.network.layout import MARGIN, Layout, whole_vectors
from lenumba.engine.network.losses import Loss, loss_for, outputs_misfit
from lenumba.engine.network.optimizers import Optimizer
from lenumba.engine.network.planning import make_plan
from lenumba.engine.network.units import Assembly, LayerError, Unit
from lenumba.kernels.compile.native import Native, Source, get_program
from lenumba.kernels.constants import LANES
from lenumba.kernels.program.plan import Place, Plan
from lenumba.kernels.program.source import program_source

MAX_SHARDS = 64
SHARD_MEMORY = 64 << 20  # bytes for all shards' gradients together
SMALL_BATCH = 8  # up to here 16 lanes of pixels beat 16 lanes of images, on two threads


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
    signals
        Whether the images, of one row, are signals: then one-number sizes of layers lie along them.
    augment
        How training images are distorted; that is done for 16 at a time, so then small batches are blocks of 16, too.
    weighted
        Whether the losses of training images count differently.
    answers
        Whether it only answers: then its program does not train, and has norms and groups take images one by one, too.
    target
        What it is trained to give: a key of `TARGETS` (:mod:`lenumba.engine.common.targets`).

    Attributes
    ----------
    unit
        Images in a block: 16, or 1.
    channels
        How its program has 16 channels of a single image in the lanes of a vector; None where it does not.

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
        signals: bool = False,
        augment: Augment | None = None,
        weighted: bool = False,
        target: str = "class",
        convolution: str = "auto",
        answers: bool = False,
    ) -> None:
        height, width, channels = self.image_shape = image_shape
        self.input_shape: Shape = (channels, height, width)
        self.name, self.pixels, self.weighted, self.target = name, pixels, weighted, target
        self._sources: dict[Optimizer, Source] = {}
        layers = [along(layer) for layer in layers] if signals else layers
        try:
            self.loss: Loss = loss_for(loss, activation_of(layers[-1]), target)
        except ValueError as error:
            raise LayerError(len(layers) - 1, f"loss: {error}") from None
        self.units = Assembly(layers, self.input_shape, self.loss, fast=convolution == "auto").units
        if not self.units:
            raise LayerError(len(layers) - 1, "expected a layer before the loss, found none; put 'dense' before this")
        self.offsets, self.size = parameter_offsets(self.units)
        self.distortion = Distortion(augment, self.input_shape) if augment and augment.active else None
        self.answers = answers
        self.channels: Channels | None = None  # where its program has 16 channels of an image in a vector
        self.unit = 1 if self._takes_single_images(batch_size) else LANES
        if self.units[-1].output[1:] != (1, 1):
            raise LayerError(len(layers) - 1, "the last layer must be flat: end with 'dense' (or 'flatten')")
        values = channels * height * width
        if target == "input" and (misfit := outputs_misfit(self.loss, self.outputs, values, target)):
            raise LayerError(len(layers) - 1, misfit)
        if any(len(unit.inputs) > 1 for unit in self.units):
            _ = self.layout  # raises where branches want other margins around the same tensor

    def _repr_html_(self) -> str:
        height, width, channels = self.image_shape
        rows = [["input", f"{height}×{width}×{channels}", "", ""]]
        for unit in self.units:
            maps, *size = unit.output
            count = f"{unit.parameter_count:,}" if unit.parameter_count else ""
            work = f"{unit.multiply_adds:,}" if unit.multiply_adds else ""
            rows.append([unit.name, "×".join(map(str, (*size, maps))), count, work])
        rows.append(["total", "", f"{self.parameter_count:,}", f"{self.multiply_adds:,}"])
        return heading_html(self.name, {"loss": self.loss.name}) + table_html(
            ["layer", "output", "parameters", "multiply-adds"], rows
        )

    def _takes_single_images(self, batch_size: int | None) -> bool:
        small = batch_size is not None and batch_size <= SMALL_BATCH
        if self.answers:
            folded = {unit.name for unit in self.folded.values()}
            in_rows = small and all(unit.layer.answers_single_images or unit.name in folded for unit in self.units)
            found = Channels(self.units, self.input_shape, self.folded)
            if found.fits and (found.pays_for_batches or (small and (found.pays or not in_rows))):
                self.channels = found
            return in_rows or self.channels is not None
        return small and not self.distortion and all(unit.layer.takes_single_images for unit in self.units)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.units[-1].output[0]

    @property
    def parameter_count(self) -> int:
        """Number of parameters of all layers, frozen ones and running statistics included."""
        return sum(unit.parameter_count for unit in self.units)

    @property
    def trainable_count(self) -> int:
        """Number of the parameters that training changes by their gradient."""
        return sum(unit.trainable_count for unit in self.units)

    @functools.cached_property
    def sees_batch(self) -> bool:
        """Whether what training does to an image depends on the others of its batch."""
        return any(unit.layer.sees_batch for unit in self.units)

    @property
    def sees_single_values(self) -> bool:
        """Whether a statistic of a batch is taken over a single value of each image."""
        return any(unit.layer.sees_batch and unit.shape[1:] == (1, 1) for unit in self.units)

    @functools.cached_property
    def folded(self) -> dict[int, Unit]:
        """The norms whose work evaluation leaves to the weights before them, by the number of the unit before."""
        return {
            norm.inputs[0] - 1: norm
            for norm in self.units
            if norm.layer.kind == "batch_norm"
            and norm.inputs[0]
            and "kernel" in {parameter.name for parameter in self.units[norm.inputs[0] - 1].parameters}
            and sum(norm.inputs[0] in unit.inputs for unit in self.units) == 1
        }

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return sum(unit.multiply_adds for unit in self.units)

    @property
    def max_shards(self) -> int:
        """How many shards a batch is cut into at most: never a function of the threads."""
        return int(np.clip(SHARD_MEMORY // (4 * self.size), 4, MAX_SHARDS))

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
            if unit.learns and f"{unit.name}.kernel" in views:
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
        targets = 0 if self.target == "class" else self.outputs
        return Layout(self.units, self.input_shape, self.unit, self.distortion, targets, self.channels)

    @property
    def ends_in_activation(self) -> bool:
        """Whether an activation bounds or bends the outputs."""
        return self.loss.fused is not None or self.units[-1].layer.kind == "activation"

    @property
    def labels(self) -> str:
        """What the program takes labels as: int64 [N], or float32 [N, outputs] where each output has a number."""
        return "float32" if TARGETS[self.target].numbered else "int64"

    def no_labels(self, count: int) -> np.ndarray:
        """Return labels for `count` images of which nothing is known."""
        return np.zeros((count, self.outputs) if self.labels == "float32" else count, self.labels)

    def evaluated(self, theta: np.ndarray) -> np.ndarray:
        """Return float32 parameters as evaluation takes them: every folded norm lies in the weights before it.

        The bias of those is the norm's: a layer before a norm may have none.
        """
        flat = theta.copy()
        views = self.views(flat)
        for number, norm in self.folded.items():
            before, own = self.units[number].name, norm.name
            variance, epsilon = views[f"{own}.running_var"].astype(np.float64), norm.layer.epsilon  # type: ignore[attr-defined]
            scale = views[f"{own}.weight"] / np.sqrt(variance + epsilon)
            kernel = views[f"{before}.kernel"]
            kernel[...] = kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))
            bias = views.get(f"{before}.bias", 0.0)
            views[f"{own}.bias"][...] += (bias - views[f"{own}.running_mean"]) * scale
        return flat if self.channels is None else self.channels.evaluated(views)

    def plan(self, optimizer: Optimizer) -> Plan:
        """Return the plan of the program that trains and evaluates this network."""
        return make_plan(self, optimizer)

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


def parameter_offsets(units: Sequence[Unit]) -> tuple[dict[str, int], int]:
    """Lay out the parameters in one flat vector; return each one's offset and the vector's size, in floats."""
    offsets, size = {}, 0
    for unit in units:
        for parameter in unit.parameters:
            offsets[f"{unit.name}.{parameter.name}"] = size
            size += whole_vectors(int(np.prod(parameter.shape)))
    return offsets, -(-(size + LANES) // MARGIN) * MARGIN
