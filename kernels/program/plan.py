"""The plan of a program: its steps, each a list of kernel calls with every whole number written out.

:mod:`lenumba.kernels.program.source` prints it. Nothing here imports Numba.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Literal, TypeAlias

from lenumba.kernels.constants import LANES
from lenumba.kernels.program.arguments import BLOCK, PIECE, SEGMENT, UPDATE_ARGUMENTS, WORKER, Run
from lenumba.kernels.program.catalogue import find_kernel, signature

VARIABLES = {*Run._fields, *BLOCK, *SEGMENT, *WORKER, *PIECE, *UPDATE_ARGUMENTS}


@dataclass(frozen=True)
class Place:
    """An address in one of the program's buffers: `buffer` plus `offset` floats.

    `name` is that of what lies there, `shape` its shape for people, and `inside` how far inside it the address is.
    """

    buffer: str
    offset: int
    name: str = field(default="", compare=False)
    shape: str = field(default="", compare=False)
    inside: int = field(default=0, compare=False)

    def __str__(self) -> str:
        named = f"{self.name} + {self.inside}" if self.inside else self.name
        return f"at({self.buffer}, {named or self.offset})"

    def part(self, offset: int) -> "Place":
        """Return the address `offset` floats further."""
        return replace(self, offset=self.offset + offset, inside=self.inside + offset)


@dataclass(frozen=True)
class Tensor:
    """Activations f32[channels, height, width, unit] with margins (padding), in the buffer `work`.

    `unit` is 16, a block of images, or 1, a single image; `start` counts floats, `row` and `plane` count values. Of the
    margins, `spare` (top, left, bottom, right) are there for another layer that reads the same tensor.
    """

    channels: int
    height: int
    width: int
    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0
    start: int = 0
    unit: int = LANES
    name: str = ""
    spare: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __str__(self) -> str:
        margins = f", with margins {self.rows}×{self.row}" if self.plane > self.height * self.width else ""
        return shape_text(self.channels, self.height, self.width) + margins

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return (self.channels, self.height, self.width)

    @property
    def rows(self) -> int:
        """Rows with margins."""
        return self.top + self.height + self.bottom

    @property
    def row(self) -> int:
        """Values from one row to the next."""
        return self.left + self.width + self.right

    @property
    def plane(self) -> int:
        """Values from one channel to the next."""
        return self.rows * self.row

    @property
    def vectors(self) -> int:
        """Vectors in the whole tensor, margins included."""
        return -(-self.channels * self.plane * self.unit // LANES)

    @property
    def size(self) -> int:
        """Values of one image, margins not included."""
        return self.channels * self.height * self.width

    @property
    def whole(self) -> Place:
        """Where it begins, with all its margins."""
        return Place("work", self.start, self.name, str(self))

    @property
    def padded(self) -> Place:
        """Where the margins begin that are not spare."""
        return self.whole.part((self.spare[0] * self.row + self.spare[1]) * self.unit)

    @property
    def interior(self) -> Place:
        """Where the values begin."""
        return self.whole.part((self.top * self.row + self.left) * self.unit)

    @property
    def in_vectors(self) -> "Tensor":
        """The tensor as what works value by value sees it: a single image's is one row of whole vectors."""
        return self if self.unit > 1 else Tensor(1, 1, self.vectors, start=self.start, name=self.name)

    def within(self, margins: tuple[int, int, int, int]) -> "Tensor":
        """Return the tensor as a layer sees it that needs these margins."""
        there = (self.top, self.left, self.bottom, self.right)
        top, left, bottom, right = (has - needs for has, needs in zip(there, margins, strict=True))
        return replace(self, spare=(top, left, bottom, right))

    def moved(self, start: int) -> "Tensor":
        """Return a tensor of the same geometry at another place."""
        return replace(self, start=start)


def shape_text(channels: int, height: int, width: int) -> str:
    """Write a shape as people do: 24×24×4, or 50 for a flat one."""
    return str(channels) if (height, width) == (1, 1) else f"{height}×{width}×{channels}"


def geometry(
    x: Tensor, y: Tensor, window: tuple[int, int] = (1, 1), stride: tuple[int, int] = (1, 1)
) -> dict[str, int]:
    """Name the whole numbers of a pass from x to y as kernels do, each of which takes those that it names.

    x[C, H, W], or its N values, with PH rows of padding and all, and what lies between its rows and its maps; UNIT
    images a block; y[M, OH, OW]; windows of KH × KW, SH and SW apart.
    """
    inputs = {"C": x.channels, "H": x.height, "W": x.width, "N": x.size, "X_ROW": x.row, "X_PLANE": x.plane}
    inputs |= {"PH": x.rows - x.spare[0] - x.spare[2], "UNIT": x.unit}
    outputs = {"M": y.channels, "OH": y.height, "OW": y.width, "Y_ROW": y.row, "Y_PLANE": y.plane}
    return inputs | outputs | {"KH": window[0], "KW": window[1], "SH": stride[0], "SW": stride[1]}


Argument: TypeAlias = "Place | str | int | float"


@dataclass(frozen=True)
class Call:
    """One call of a kernel: its arguments by name, in the order of its signature.

    Those in lower case are places, functions, the program's variables and settings; those in capitals are whole numbers
    that are frozen when the program is compiled.
    """

    kernel: str
    arguments: Mapping[str, Argument]

    def __str__(self) -> str:
        return f"{self.kernel}({', '.join(self.words())})"

    def __getitem__(self, name: str) -> Argument:
        return self.arguments[name]

    def changed(self, **arguments: Argument) -> "Call":
        """Return the call with other values of some of its arguments."""
        return replace(self, arguments={**self.arguments, **arguments})

    def words(self) -> list[str]:
        """Return the arguments as source text."""
        numbers = self.numbers
        words = [str(value) for name, value in self.arguments.items() if name not in numbers]
        return words + [f"{name}={value}" for name, value in numbers.items()]

    @property
    def numbers(self) -> dict[str, int]:
        """The whole numbers among the arguments."""
        return {name: int(value) for name, value in self.arguments.items() if isinstance(value, int)}

    @property
    def meets(self) -> bool:
        """Whether all blocks of the batch must have come so far."""
        return find_kernel(self.kernel).meets

    @property
    def places(self) -> list[Place]:
        """The places among the arguments."""
        return [value for value in self.arguments.values() if isinstance(value, Place)]

    @property
    def functions(self) -> set[str]:
        """The kernel, and the functions that it is given."""
        return {self.kernel} | {each for each in self.arguments.values() if isinstance(each, str)} - VARIABLES

    @property
    def variables(self) -> set[str]:
        """The program's variables that it takes."""
        values = self.arguments.values()
        return {each.buffer if isinstance(each, Place) else str(each) for each in values} & VARIABLES


def call(kernel: str, numbers: Mapping[str, int] | None = None, /, **arguments: Argument) -> Call:
    """Return a call of a kernel.

    Parameters
    ----------
    numbers
        Whole numbers (:func:`geometry`) of which the call gets those that the kernel's signature names.
    arguments
        All others, and what shall differ from `numbers`. The program's variables need not be given under their names.

    Raises
    ------
    TypeError
        Where the kernel has no argument of a name, or one of its arguments is missing.
    """
    wanted = signature(kernel)
    known = {name: name for name in VARIABLES} | dict(numbers or {}) | arguments
    faults = [f"has no argument {name}" for name in arguments if name not in wanted]
    faults += [f"lacks the argument {name}" for name in wanted if name not in known]
    if faults:
        raise TypeError(f"{kernel}({', '.join(wanted)}) {faults[0]}")
    return Call(kernel, {name: known[name] for name in wanted})


@dataclass(frozen=True)
class Step:
    """A function of the program: a layer's pass, or what stands before or behind all layers, for a block.

    Attributes
    ----------
    only
        In which of both it runs; "": in both.
    layer, phase
        The layer, and ``forward`` or ``backward``; both "" outside the layers.
    source
        The layer whose output it reads first, "" for the image.
    """

    name: str
    comment: str
    calls: Sequence[Call]
    only: Literal["", "training", "evaluation"] = ""
    layer: str = ""
    phase: str = ""
    source: str = ""

    @property
    def meets(self) -> bool:
        """Whether all blocks of the batch must have come so far before it begins."""
        return self.calls[0].meets

    @property
    def pieces(self) -> int:
        """Into how many pieces its calls are cut, which several threads may compute."""
        return max(call.numbers.get("PIECES", 1) for call in self.calls)

    def parts(self) -> list["Step"]:
        """Return the step cut where all blocks of the batch must have come so far."""
        cuts = [0, *(k for k, call in enumerate(self.calls) if k and call.meets), len(self.calls)]
        parts = [replace(self, calls=self.calls[first:last]) for first, last in pairwise(cuts)]
        return [replace(part, name=f"{self.name}_{part.calls[0].kernel}") for part in parts[:-1]] + parts[-1:]


@dataclass(frozen=True)
class Plan:
    """All that a program is made from.

    Attributes
    ----------
    steps
        In the order of a block: images, forward passes, loss; the backward passes in training only.
    updates
        The calls that turn the gradients of a batch into weights.
    output, width
        Where a block's outputs (probabilities) lie, [width, 16].
    unit, pixels, labels
        Images of a block, and what they and their labels are made of.
    clips
        Whether gradients are clipped by their norm.
    trains
        Whether it trains; else it evaluates alone, and has no updates.
    clock
        Where the clock of a profiled program begins in `work`, in floats; −1: not profiled.
    """

    name: str
    title: str
    steps: Sequence[Step]
    updates: Sequence[Call]
    output: Place
    width: int
    gradient_size: int
    unit: int = LANES
    pixels: str = "uint8"
    labels: str = "int64"
    clips: bool = False
    trains: bool = True
    clock: int = -1

    def block(self, purpose: Literal["training", "evaluation"]) -> list[Step]:
        """Return the steps of training or evaluation."""
        return [step for step in self.steps if step.only in ("", purpose)]

    @property
    def segments(self) -> list[list[Step]]:
        """The steps of training, cut where all blocks of a batch must have come so far."""
        numbers, number = [], 0
        for step in (steps := self.block("training")):
            number += step.meets
            numbers.append(number)
        grouped = groupby(zip(numbers, steps, strict=True), key=lambda pair: pair[0])
        return [[step for _, step in group] for _, group in grouped]

    @property
    def calls(self) -> list[Call]:
        """All calls of the program's kernels, without the loops'."""
        return [call for step in self.steps for call in step.calls] + list(self.updates)
