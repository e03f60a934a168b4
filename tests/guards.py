"""Guarded memory: every buffer of a program between margins of NaN, and so every part of the buffers.

What a kernel writes outside its part is found in a margin, and what it reads there makes NaN of the results. Margins
of buffers are 0xFF throughout: NaN as float32 and float64, −1 as an integer. Parts are an activation, its gradient, a
layer's scratch, a parameter; a network lays them out otherwise for that, so its program is another one, compiled anew.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.network import network as network_module
from lenumba.engine.network.layout import Layout, whole_vectors
from lenumba.engine.network.network import Network
from lenumba.engine.training import answering as answering_module
from lenumba.engine.training import executor as executor_module
from lenumba.engine.training.buffers import address
from lenumba.kernels.constants import LANES

MARGIN = 32 * LANES  # floats: 32 vectors on either side of every part
HUGE = 1e30  # instead of NaN where a kernel may read a number that it multiplies by zero
PAGE = 4096  # bytes on either side of every buffer


class Part(NamedTuple):
    """A part of a buffer, in floats."""

    name: str
    start: int
    size: int


class GuardedLayout(Layout):
    """A layout whose parts lie apart, with margins of NaN between them; `shorter` floats are cut off the output."""

    shorter = 0

    apart = True

    def __init__(self, units, shape, unit, distortion=None, targets=0, channels=None) -> None:
        self.between = np.float32(np.nan if unit > 1 else HUGE)
        self.parts: list[Part] = []
        super().__init__(units, shape, unit, distortion, targets, channels)

    def part(self, name: str, size: int) -> int:
        self.size = self.size or MARGIN
        self.parts.append(Part(name, self.size, size - (self.shorter if name == "loss_p" else 0)))
        # The next one starts at a boundary of two cache lines, as all did before.
        self.size += -(-size // (2 * LANES)) * 2 * LANES + MARGIN
        return self.parts[-1].start

    def fill(self, work: np.ndarray) -> None:
        """Fill the parts as ever, and what lies between them as the class says."""
        super().fill(work)
        work[~inside(self.parts, len(work))] = self.between


def inside(parts: list[Part], size: int) -> np.ndarray:
    """Return bool [size]: which floats belong to a part."""
    found = np.zeros(size, bool)
    for part in parts:
        found[part.start : part.start + part.size] = True
    return found


def guarded_offsets(units: Any) -> tuple[dict[str, int], int]:
    """Lay out the parameters with margins between them, as `engine.network.parameter_offsets` does without."""
    offsets, size = {}, MARGIN
    for unit in units:
        for parameter in unit.parameters:
            offsets[f"{unit.name}.{parameter.name}"] = size
            size += whole_vectors(int(np.prod(parameter.shape))) + MARGIN
    return offsets, size


class Guards:
    """Buffers between margins, and what is wrong with them."""

    def __init__(self) -> None:
        self.buffers: list[tuple[str, np.ndarray, int, int]] = []

    def aligned(self, size: int, dtype: type = np.float32) -> np.ndarray:
        """Stand in for `engine.training.buffers.aligned`: zeros [size] at a boundary of 128 bytes."""
        return self.guarded(np.zeros(size, dtype), f"{np.dtype(dtype).name}[{size}]")

    def guarded(self, array: np.ndarray, name: str, behind: int = 0) -> np.ndarray:
        """Return a copy of an array between margins, the upper one `behind` bytes further."""
        memory = np.full(array.nbytes + behind + 2 * PAGE + 128, 0xFF, np.uint8)
        start = PAGE + -(address(memory) + PAGE) % 128
        memory[start + array.nbytes : start + array.nbytes + behind] = 0
        self.buffers.append((name, memory, start, start + array.nbytes + behind))
        copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def faults(self) -> list[str]:
        """Return the buffers whose margins were written to."""
        return [
            name
            for name, memory, start, stop in self.buffers
            if (memory[:start] != 0xFF).any() or (memory[stop:] != 0xFF).any()
        ]


@contextlib.contextmanager
def guarded(shorter: int = 0) -> Iterator[Guards]:
    """While it lasts, networks and executors have guarded memory."""
    guards = Guards()
    old = network_module.Layout, network_module.parameter_offsets, executor_module.aligned
    kind = type("GuardedLayout", (GuardedLayout,), {"shorter": shorter})
    network_module.Layout, network_module.parameter_offsets = kind, guarded_offsets
    executor_module.aligned = answering_module.aligned = guards.aligned
    try:
        yield guards
    finally:
        network_module.Layout, network_module.parameter_offsets, executor_module.aligned = old
        answering_module.aligned = executor_module.aligned


def parameter_parts(network: Network) -> list[Part]:
    """Return where a network's parameters lie, in whole vectors."""
    return [
        Part(name, network.offsets[name], whole_vectors(int(np.prod(parameter.shape))))
        for name, parameter in network.parameters.items()
    ]


def work_faults(network: Network, work: np.ndarray) -> list[str]:
    """Return what was written in a worker's memory outside the parts, and into the paddings of activations."""
    layout: Any = network.layout
    outside = ~inside(layout.parts, len(work)) & (work.view(np.uint32) != layout.between.view(np.uint32))
    faults = []
    for place in np.flatnonzero(outside)[:3]:
        near = min(layout.parts, key=lambda part: min(abs(place - part.start), abs(place - part.start - part.size)))
        faults.append(f"work[{place}] near {near}")
    padding = {tensor.start: value for tensor, value in layout.fills}  # tensors that share a place share it, too
    for k, tensor in enumerate(layout.tensors):
        if layout.unit > 1:
            block = work[tensor.start : tensor.start + tensor.vectors * LANES]
            block = block.reshape(tensor.channels, tensor.rows, tensor.row, LANES).copy()
            value = padding.get(tensor.start, 0.0)
            block[:, tensor.top : tensor.top + tensor.height, tensor.left : tensor.left + tensor.width] = value
            faults += [f"padding of x {k}"] * bool((block != value).any())
    return faults
