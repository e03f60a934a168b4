"""From a network's plan to one compiled program: straight-line source that a person can read.

A plan is a list of steps (one forward and one backward step a layer), each a list of kernel calls with every shape
written out. :func:`program_source` prints it as a Python module; :mod:`lenumba.kernels.compile.native` compiles and
caches it. Nothing here imports Numba.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from lenumba.kernels.compile.native import Source
from lenumba.kernels.constants import LANES, UPDATE, WAIT
from lenumba.kernels.program.catalogue import CATALOGUE, Kernel

# The arguments of a compiled program, in order: name and type.
RUN_ARGUMENTS = {
    "training": "i64",
    "worker": "i64",
    "workers": "i64",
    "control": "i64*",
    "images": "u8*",
    "labels": "i64*",
    "order": "i64*",
    "count": "i64",
    "first_batch": "i64",
    "last_batch": "i64",
    "batch_size": "i64",
    "max_shards": "i64",
    "scale": "f32*",
    "shift": "f32*",
    "theta": "f32*",
    "state": "f32*",
    "gradients": "f32*",
    "decay": "f32*",
    "hyper": "f32*",
    "work": "f32*",
    "results": "f64*",
    "totals": "f64*",
    "outputs": "f32*",
    "smoothing": "f64",
    "key": "i64",
}
PIXELS = {"uint8": "u8*", "float32": "f32*"}  # what images can be made of, and the argument's type
BLOCK_ARGUMENTS = (
    "images, labels, order, first, count, scale, shift, theta, gradient, work, result, weight, smoothing, key"
)
# The arguments of a layer's pass. The random numbers of an epoch depend on its `key` and on an image's place in the
# epoch, of which `first` is that of the block's first image: on nothing else, so not on threads, shards or resuming.
STEP_ARGUMENTS = {"work": "f32*", "theta": "f32*", "gradient": "f32*", "key": "i64", "first": "i64"}


@dataclass(frozen=True)
class Place:
    """An address in one of the program's buffers: `buffer` plus `offset` floats."""

    buffer: str
    offset: int

    def __str__(self) -> str:
        return f"at({self.buffer}, {self.offset})"


@dataclass(frozen=True)
class Tensor:
    """Activations f32[channels, height, width, unit] with margins (padding), in the buffer `work`.

    `unit` is 16, a block of images, or 1, a single image; `start` counts floats, `row` and `plane` count values.
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
    def padded(self) -> Place:
        """Where the margins begin."""
        return Place("work", self.start)

    @property
    def interior(self) -> Place:
        """Where the values begin."""
        return Place("work", self.start + (self.top * self.row + self.left) * self.unit)

    def moved(self, start: int) -> "Tensor":
        """Return a tensor of the same geometry at another place."""
        return replace(self, start=start)


@dataclass(frozen=True)
class Call:
    """One call of a kernel: its pointers, functions and frozen shapes."""

    kernel: str
    pointers: Sequence[Place | str]
    shapes: dict[str, int | bool]

    def __str__(self) -> str:
        arguments = [str(pointer) for pointer in self.pointers]
        arguments += [f"{name}={int(value)}" for name, value in self.shapes.items()]
        return f"{self.kernel}({', '.join(arguments)})"

    def functions(self, known: Container[str]) -> set[str]:
        """Return the kernel and those of the `known` ones that it is given as functions."""
        return {self.kernel, *(pointer for pointer in self.pointers if isinstance(pointer, str) and pointer in known)}


@dataclass(frozen=True)
class Step:
    """One layer's forward or backward pass, in training and evaluation or in the one that `only` names."""

    name: str
    comment: str
    calls: Sequence[Call]
    only: Literal["", "training", "evaluation"] = ""


@dataclass(frozen=True)
class Plan:
    """All that a program is made from."""

    name: str
    title: str
    input: Tensor
    output: Place  # the outputs (probabilities) of a block, [width, 16]
    width: int
    forward: Sequence[Step]
    backward: Sequence[Step]
    loss: Sequence[Call]
    update: str
    update_flags: dict[str, bool] = field(default_factory=dict)
    clips: bool = False  # whether gradients are clipped by their norm
    average: int = -1  # where in `state` the weights' moving average begins, in floats; −1: none is kept
    labels: Place = Place("work", 0)  # labels[16] and the mask of valid lanes[16] behind them
    gradient_size: int = 0
    pixels: str = "uint8"  # a key of PIXELS
    augment: Call | None = None  # what packs training images instead of `pack`
    kernels: Mapping[str, Kernel] = field(default_factory=lambda: CATALOGUE)  # where those that it names are found
    clock: int = -1  # where the clock of a profiled program begins in `work`, in floats; −1: not profiled

    def lap(self, slot: int) -> list[str]:
        """Return the line that ends a slot of the clock; none in a program that is not profiled."""
        return [f"    lap(work, CLOCK={self.clock}, SLOT={slot})"] if self.clock >= 0 else []


def program_source(plan: Plan) -> Source:
    """Print a plan as the source text of a Python module."""
    lines = [
        f'"""{plan.title}',
        "",
        "Generated by lenumba: each function is one layer's pass over a block of 16 images, or over one.",
    ]
    lines += ['"""', "", *imports(plan), ""]
    steps = [*plan.forward, *plan.backward]
    for step in steps:
        lines += ["", "@kernel", f"def {step.name}({', '.join(STEP_ARGUMENTS)}):", f"    # {step.comment}"]
        lines += [f"    {call}" for call in step.calls] + [""]
    lines += ["", "STEPS = ["]
    types = ", ".join(f'"{name}"' for name in STEP_ARGUMENTS.values())
    lines += [f"    ({step.name}, [{types}])," for step in steps]
    lines += ["]", ""]
    lines += block_function("evaluate_block", plan, "evaluation")
    lines += block_function("train_block", plan, "training")
    lines += entry_function(plan)
    signature = RUN_ARGUMENTS | {"images": PIXELS[plan.pixels]}
    return Source(plan.name, "\n".join(lines) + "\n", "run", list(signature.values()))


def imports(plan: Plan) -> list[str]:
    """Import what the plan's calls name, and the loops around them."""
    members = {
        "lenumba.kernels.compile.jit": {"kernel"},
        "lenumba.kernels.program.loop": {"evaluate_loop", "train_loop"},
        "lenumba.kernels.vector.simd": {"at"},
    }
    if plan.clock >= 0:
        members["lenumba.kernels.measure.clock"] = {"lap", "start_clock"}
    for name in called(plan):
        members.setdefault(plan.kernels[name].home, set()).add(name)
    return [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(members.items())]


def called(plan: Plan) -> set[str]:
    """Return the kernels of a program, functions that they are given included."""
    calls = [*(call for step in (*plan.forward, *plan.backward) for call in step.calls), *plan.loss]
    calls += [plan.augment] if plan.augment else []
    return {packing(plan), *update_kernels(plan)}.union(*(call.functions(plan.kernels) for call in calls))


def packing(plan: Plan) -> str:
    """Return the kernel that takes images in."""
    if plan.input.unit == 1:
        return "pack_image"
    return "pack" if plan.pixels == "uint8" else "pack_floats"


def update_kernels(plan: Plan) -> list[str]:
    """Return the kernels that turn gradients into weights."""
    return [plan.update] + ["add_shards", "clip_gradient"] * plan.clips + ["average_weights"] * (plan.average >= 0)


def block_function(name: str, plan: Plan, purpose: Literal["training", "evaluation"]) -> list[str]:
    """Print the function that takes one block through the network."""
    forward = [step for step in plan.forward if step.only in ("", purpose)]
    backward = plan.backward if purpose == "training" else []
    arguments = ", ".join(STEP_ARGUMENTS)
    x = plan.input
    labels, valid = plan.labels, Place("work", plan.labels.offset + LANES)
    height, width = x.height, x.width
    if x.row == x.width:  # no margins between rows: an image is one long row
        height, width = 1, x.height * x.width
    shapes = f"C={x.channels}, H={height}, W={width}, X_ROW={x.row}, X_PLANE={x.plane}"
    packed = f"scale, shift, {x.interior}, {labels}, {valid}"
    if purpose == "training" and plan.augment:
        pack = f"    {plan.augment}"
    elif x.unit == 1:
        pack = f"    pack_image(images, labels, order, first, {packed}, C={x.channels}, SIZE={x.plane})"
    else:
        shapes += f", COUNT={min(width, LANES)}" if plan.pixels == "uint8" else ""
        pack = f"    {packing(plan)}(images, labels, order, first, count, {packed}, {shapes})"
    parts = [[pack], *([f"    {step.name}({arguments})"] for step in forward)]
    parts.append([f"    {call}" for call in plan.loss])
    parts += [[f"    {step.name}({arguments})"] for step in backward]
    if purpose == "training":
        parts = [plan.lap(WAIT), *(part + plan.lap(slot) for slot, part in enumerate(parts, UPDATE + 1))]
    return ["", "@kernel", f"def {name}({BLOCK_ARGUMENTS}):", *(line for part in parts for line in part), ""]


def entry_function(plan: Plan) -> list[str]:
    """Print the program's entry point."""
    names = ", ".join(RUN_ARGUMENTS)
    flags = "".join(f", {name}={int(value)}" for name, value in plan.update_flags.items())
    profiled = plan.clock >= 0
    start = [f"        start_clock(work, CLOCK={plan.clock})"] if profiled else []
    unit = plan.input.unit
    extra = f" lap=lap, CLOCK={plan.clock}," if profiled else ""
    extra += " add_shards=add_shards, clip_gradient=clip_gradient," if plan.clips else ""
    average = f"    average_weights(theta, at(state, {plan.average}), hyper, first, last)"
    return [
        "",
        "@kernel",
        "def update(theta, state, gradients, decay, hyper, shards, vectors, first, last):",
        f"    {plan.update}(theta, state, gradients, decay, hyper, shards, vectors, first, last{flags})",
        *([average] if plan.average >= 0 else []),
        "",
        "",
        "@kernel",
        f"def run({names}):",
        "    if training:",
        *start,
        "        train_loop(",
        "            train_block, update, worker, workers, control, images, labels, order, count, first_batch,",
        "            last_batch, batch_size, max_shards, scale, shift, theta, state, gradients, decay, hyper, work,",
        f"            results, totals, smoothing, key, GRADIENT_SIZE={plan.gradient_size}, UNIT={unit},{extra}",
        "        )",
        *(f"    {line}" for line in plan.lap(WAIT)),
        "    else:",
        "        evaluate_loop(",
        "            evaluate_block, control, images, labels, order, count, scale, shift, theta, work, results,",
        f"            outputs, smoothing, WIDTH={plan.width}, OUTPUT={plan.output.offset}, UNIT={plan.input.unit},",
        "        )",
    ]
