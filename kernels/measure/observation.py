"""What is seen of a call of a function: samples of its instructions, counts of its blocks, accesses, branches."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lenumba.kernels.constants import LINE
from lenumba.kernels.measure import tracers
from lenumba.kernels.measure.instrument import Place, pointers_of, size_of
from lenumba.kernels.measure.llvm_code import Function


@dataclass
class Access:
    """What the tracer noted of an access to memory, of a call.

    Attributes
    ----------
    count, bytes
        How often, and bytes of one.
    step, steady
        Bytes from one address to the next, and which share of them is that far apart.
    outer_step
        Bytes from the first address of one round of a loop inside to that of the next; 0 where there is no such.
    near
        Which share goes to within a cache line of the one before.
    outer_steady
        Which share of the accesses is such a first one.
    low, high, last
        The least, the greatest and the last address.
    misses
        Cache lines that came from beyond L1, L2, L3.
    forwarded, store
        Which share reads what was stored shortly before, and the number of the access that stored it.
    distance
        How many accesses ago that was, on average.
    """

    place: Place
    bytes: int
    stores: bool
    count: int
    step: int
    steady: float
    outer_step: int
    outer_steady: float
    near: float
    low: int
    high: int
    last: int
    misses: tuple[int, int, int]
    forwarded: float
    store: int
    distance: float


@dataclass
class Observation:
    """What a call of the function does.

    Attributes
    ----------
    functions
        Its code.
    samples
        (inside, outside) by instruction: samples in its own machine code, and in what it called, by the threads that
        worked.
    sampled
        Seconds of each call while it was sampled; empty where nothing was.
    calls
        How many calls that were.
    rate, overhead
        Samples a second of a thread, and what they add to the time of one that computes, as a share of it.
    method
        How lines were timed, or why they were not.
    beside
        Share of the samples in none of the code: what Numba does around a call.
    library
        Samples in BLAS, until the calls that led there are known.
    threads
        Samples at work of each thread.
    counts, subnormals
        By block, by its function's symbol and its name.
    wrong, taken, contested
        By instruction: the share of a branch's rounds that a predictor is wrong about, and that it is taken in; the
        share of a store's rounds that write into a cache line that another thread writes, too.
    timeline
        (thread, time, instruction) of the first samples.
    """

    functions: list[Function]
    text: str
    samples: dict[int, tuple[float, float]] = field(default_factory=dict)
    sampled: list[float] = field(default_factory=list)
    calls: int = 0
    rate: float = 0.0
    overhead: float = 0.0
    method: str = ""
    beside: float = 0.0
    library: int = 0
    threads: list[int] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    subnormals: dict[tuple[str, str], int] = field(default_factory=dict)
    accesses: list[Access] = field(default_factory=list)
    wrong: dict[int, float] = field(default_factory=dict)
    taken: dict[int, float] = field(default_factory=dict)
    contested: dict[int, float] = field(default_factory=dict)
    timeline: list[tuple[int, float, int]] = field(default_factory=list)

    @property
    def flops(self) -> int | None:
        """Floating-point operations of a call, without those of libraries; None where nothing was counted."""
        if not self.counts:
            return None
        return sum(
            self.count(function, block.name) * one.flops
            for function in self.functions
            for block in function.blocks.values()
            for one in block.instructions
        )

    def count(self, function: Function, block: str) -> int:
        """Return how often a block ran."""
        return self.counts.get((function.symbol, block), 0)


def access_of(place: Place, record: Sequence[int]) -> Access:
    """Return what the tracer's record of an access says."""
    one = place.one
    text = one.text.split(" ", 1)[1] if one.op in ("load", "store") else one.text.split("call ", 1)[-1]
    if text.startswith("void "):
        text = text.partition("(")[2]  # what is stored is the first argument
    kind = text.removeprefix("volatile ").removeprefix("atomic ").split(",")[0].split(" %")[0]
    if one.op == "store":
        kind = kind.split(" ")[0] if not kind.startswith("<") else kind.split(">")[0] + ">"
    count = record[tracers.COUNT]
    steps = max(1, count - 1)
    gathers = one.op == "call" and not pointers_of(one)[0]
    each, stores = (
        max(1, size_of(kind) // (one.width if gathers else 1)),
        pointers_of(one)[1] or ".scatter." in one.text,
    )
    if place.stores_lines is not None:
        each, stores = LINE, place.stores_lines
    return Access(
        place,
        each,
        stores,
        count,
        record[tracers.STRIDE],
        record[tracers.SAME] / steps,
        record[tracers.OUTER] if record[tracers.OUTER_SAME] else 0,
        record[tracers.OUTER_SAME] / steps,
        record[tracers.NEAR] / steps,
        record[tracers.LOW],
        record[tracers.HIGH],
        record[tracers.LAST],
        (record[tracers.MISS_L1], record[tracers.MISS_L2], record[tracers.MISS_L3]),
        record[tracers.FORWARDED] / max(1, count),
        record[tracers.STORE] - 1,
        record[tracers.DISTANCE] / max(1, record[tracers.FORWARDED]),
    )
