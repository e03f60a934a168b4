"""What a compiled program is given, written once: the loops read it by name, the engine fills it in by name."""

from struct import Struct
from typing import Annotated, NamedTuple, TypeAlias, get_type_hints

# A number, or an address: with its type as `kernels.compile.jit.TYPES` calls it.
Whole: TypeAlias = Annotated[int, "i64"]
Real: TypeAlias = Annotated[float, "f64"]
Wholes: TypeAlias = Annotated[int, "i64*"]
Floats: TypeAlias = Annotated[int, "f32*"]
Doubles: TypeAlias = Annotated[int, "f64*"]

PIXELS = {"uint8": "u8*", "float32": "f32*"}  # what images can be made of, and the type of their address
LABELS = {"int64": "i64*", "float32": "f32*"}  # and labels


class Run(NamedTuple):
    """The arguments of one worker's run of a program, in order; a run reads only what it needs.

    Attributes
    ----------
    purpose
        TRAIN on batches first_batch … last_batch − 1 of the epoch, EVALUATE all `count` images, or SERVE those who do.
    worker, workers
        This thread's number among those of its machine, and how many these are.
    machine, machines, exchange
        This machine's number, how many train together, and a function's address: ``exchange(stage, batch, segment)``
        of int64 returns whether any machine is to stop. Each takes a run of a batch's shards and updates a part of
        the parameters.
    control
        int64: what threads meet with (see `kernels.constants`).
    images, labels, order
        Images [N, C, H, W] of PIXELS; classes int64 [N], or float32 [N, K], a number for each output; and int64
        [count]: which images, in which order.
    max_shards
        Shards of a batch, at most.
    scale, shift
        float32 [C]: pixels become pixel · scale + shift.
    theta, state, gradients
        float32 [size], [states · size] and [shards · size]: parameters, the optimiser's state, the shards' gradients.
    decay, hyper
        float32 [vectors] and [batches, HYPER_COLUMNS]: where weight decay applies, and each step's hyperparameters.
    work
        float32: this worker's own memory, laid out as the program's names say.
    blocks, stride
        float32: the memory of a batch's blocks, each laid out so, and how many floats lie between two of them; for
        programs in which blocks wait for one another.
    results
        float64: summed loss and right answers, 8 numbers a shard (training), or 2 a block (evaluation); behind the
        shards' there is room for [vectors] sums of squares where gradients are clipped.
    totals, outputs
        float64 [2]: sums of the epoch (training); float32 [count, width]: the network's outputs (evaluation), or
        float32 [N]: the images' weights (training, where they are weighted).
    smoothing, key
        Label smoothing, and the epoch's key: what its random numbers depend on.
    company, patience
        int64 [COMPANY_SIZE]: where threads that evaluate together meet (:mod:`lenumba.kernels.program.company`); and
        for how many nanoseconds one that SERVEs waits for more to do.
    """

    purpose: Whole
    worker: Whole
    workers: Whole
    machine: Whole
    machines: Whole
    exchange: Whole
    control: Wholes
    images: Annotated[int, "u8*"]
    labels: Wholes
    order: Wholes
    count: Whole  # type: ignore[assignment]  # not what tuples call so
    first_batch: Whole
    last_batch: Whole
    batch_size: Whole
    max_shards: Whole
    scale: Floats
    shift: Floats
    work: Floats
    blocks: Floats
    stride: Whole
    theta: Floats
    state: Floats
    gradients: Floats
    decay: Floats
    hyper: Floats
    results: Doubles
    totals: Doubles
    outputs: Floats
    smoothing: Real
    key: Whole
    company: Wholes
    patience: Whole


# What differs from block to block, beside the run: the place in the epoch of its first image and how many there are,
# its shard's gradient and result, and what its loss is multiplied by.
BLOCK = {"first": "i64", "count": "i64", "gradient": "f32*", "result": "f64*", "weight": "f64"}
# And in training: the segment of the program, the block's number in its batch, and the batch's images.
SEGMENT = {"segment": "i64", "block": "i64", "batch": "i64"}
# And of its worker: `run.work`, which is not the block's where blocks wait for one another.
WORKER = {"own": "f32*"}
# Of a step that several threads compute together: which of its pieces.
PIECE = {"piece": "i64"}
UPDATE_ARGUMENTS = ("theta", "state", "gradients", "decay", "hyper", "shards", "size", "first", "last")


def types_of(pixels: str, labels: str = "int64") -> dict[str, str]:
    """Return the types of a run's arguments by name, in order, for images made of `pixels`, and for such labels."""
    types = {name: hint.__metadata__[0] for name, hint in get_type_hints(Run, include_extras=True).items()}
    return types | {"images": PIXELS[pixels], "labels": LABELS[labels]}


PACKED = Struct("".join("d" if kind == "f64" else "q" for kind in types_of("uint8").values()))  # as a program reads it
