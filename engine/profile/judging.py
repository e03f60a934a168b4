"""One loop, and what it would take without each of its parts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lenumba.engine.profile.loops import LEVELS, LoopFacts
from lenumba.engine.profile.places import Array, Stepping, filled, steppings
from lenumba.kernels.constants import LINE

LANES_REACHED = 0.5  # of a vector's lanes, as a speed-up: what vectorising usually gives
SHARED = 0.2  # of a store's rounds, in lines that another thread writes into, too
DIVIDED = 3.0  # times as many quotients by vectors: processors have a unit of 2 to 4 elements
SUMMED = 10.0  # cycles for a vector's lanes to become one number, beside other work
CALLING = 0.2  # of a loop's time in functions that it calls: it does not become vectors
MANY = 16  # accesses
STRAYING = 0.25  # of a loop's accesses: with fewer that step over memory, the others matter more
STEADY = 0.9  # of an access's steps, for vectors of neighbours


@dataclass
class Cause:
    """A cause: its name, place, share of the call, factor to expect of the whole call, words, and what to do.

    `measured` says that samples alone tell the factor; `limit` that nothing is wrong, as far as can be told: the loop
    is as quick as the machine allows.
    """

    name: str
    file: str
    line: int
    share: float
    factor: float
    words: str
    advice: str
    limit: bool = False
    flags: Mapping[str, Any] | None = None
    loop_factor: float = 1.0
    measured: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass
class Context:
    """What is known beside the loop: the function's options, LLVM's remarks by line, its arguments, its threads.

    `working` is the share of the call that the thread with most work works, `beside` that of what Numba does around it,
    `system` that of the system's work; `new_pages` are the pages of memory that it gives to a call; `away` is the share
    of the time that other processes had the cores; `crowded` is how many times as long its threads work together as one
    alone would.
    """

    machine: Mapping[str, Any]
    options: Mapping[str, Any]
    remarks: Sequence[str]
    arrays: Sequence[Array]
    threads: Sequence[int]
    contested: Mapping[int, float]
    generator: bool
    object_mode: bool
    recursive: frozenset[str]
    samples: float = 1000.0
    working: float = 1.0
    beside: float = 0.0
    new_pages: float = 0.0
    system: float = 0.0
    away: float = 0.0
    crowded: float = 1.0

    def said(self, line: int, last: int, *words: str) -> bool:
        """Return whether LLVM remarked one of some words on lines of a loop, or without a place."""
        for remark in self.remarks:
            place = re.match(r"[^:]+:(\d+): ", remark)
            if (not place or line <= int(place[1]) <= last) and any(word in remark for word in words):
                return True
        return False


class Judge:
    """One loop and what it would take without each of its parts."""

    def __init__(self, fact: LoopFacts, context: Context, around: float = 0.0) -> None:
        """Judge a loop; `around` is the share of the call in which the loop around it waits for its results."""
        self.fact, self.context, self.around = fact, context, around
        calls = sum(fact.called_share.values()) / max(fact.share, 1e-9)
        self.costs = fact.costs | {"calls": fact.cycles * min(1.0, calls)}
        self.steps: list[Stepping] = steppings(fact.accesses, fact.place, context.arrays)
        lines = [one.source[1] for block in fact.blocks for one in block.instructions if one.source]
        self.last = max([fact.place[1], *lines])
        lanes = context.machine["vector_bits"] / fact.bits
        self.full = lanes
        self.lanes = 1.0 if fact.vectorised or self.scattered or calls > CALLING else max(1.0, LANES_REACHED * lanes)
        self.now = self.rest()

    def rest(self, lanes: float = 1.0, without: Sequence[str] = (), dense: bool = False) -> float:
        """Return the cycles that are left: `lanes` times as much at once, without some parts.

        `dense`: no more cache lines come from afar than the bytes fill that are used, and none from beyond a cache that
        would hold them.
        """
        costs = {name: value for name, value in self.costs.items() if name not in without}
        # Counting and adding whole numbers goes on in lanes, too.
        wait = costs.get("chain", 0.0) / (lanes if self.fact.counting else 1.0)
        work = costs.get("compute", 0.0) / lanes + costs.get("divide", 0.0) / DIVIDED
        if lanes == 1:
            work = max(costs.get("compute", 0.0), costs.get("divide", 0.0))
        far, filled = 0.0, self.filled
        for k, level in enumerate(LEVELS[1:]):
            lines = sum(access.misses[k] for access in self.fact.accesses)
            least = min(1.0, self.fact.bytes / LINE / lines) if dense and lines else 1.0
            fits = dense and filled <= self.context.machine["caches"].get(LEVELS[k], 0)
            far = max(far, 0.0 if fits else costs.get(level, 0.0) * least)
        beside = costs.get("branch", 0.0) + costs.get("end", 0.0) + costs.get("calls", 0.0)
        beside += self.left_over if lanes > 1 and "end" not in without else 0.0
        return max(work, costs.get("L1", 0.0) / lanes, far, wait) + beside

    def factor(self, after: float, dense: bool = False) -> float:
        """Return how many times as fast a loop is that takes so many cycles; what the costs miss stays in part.

        `dense`: it no longer waits for cache lines, which may take longer than their bytes do.
        """
        waits = dense and max(self.costs.get(level, 0.0) for level in LEVELS[1:]) > 0.5 * self.now
        missed = 1.0 if waits else min(1.5, max(1.0, self.fact.cycles / max(self.now, 1.0)))
        return min(60.0, max(1.0, self.fact.cycles / max(after * missed, 1.0)))

    def cause(self, name: str, factor: float, words: str, advice: str, **more: Any) -> Cause:
        """Return a cause; `factor` is the loop's, its own that of the call."""
        share = self.fact.share
        whole = 1 / max(1e-3, 1 - min(1.0, share + self.around) * (1 - 1 / max(1.0, factor)))
        file, line = self.fact.place
        return Cause(name, file, more.pop("line", line), share, whole, words, advice, loop_factor=factor, **more)

    def scaled(self, share: float, left: float = 0.0) -> float:
        """Return the factor where a share of the loop's time goes, but for a part that is left of it."""
        part = min(0.98, share / max(self.fact.share, 1e-9))
        return 1 / (1 - part * (1 - left))

    @property
    def left_over(self) -> float:
        """Cycles that a loop in vectors takes for the rounds that fill none, and for its lanes' sum."""
        starts = max(version.starts for version in self.fact.versions)
        each = self.fact.cycles / max(1.0, starts * self.fact.trips)
        summed = SUMMED * (not self.fact.counting)
        return starts * (self.fact.trips % max(1.0, self.full / 2) * min(each, SUMMED) + summed)

    @property
    def filled(self) -> float:
        """Bytes that its accesses would fill, were none left out between those that they use."""
        return min(float(filled(self.fact.accesses)), self.fact.bytes)

    @property
    def scattered(self) -> bool:
        """Whether it reads or writes at places, or under conditions, that only data tell: vectors would gain little."""
        for version in self.fact.versions:
            steady = STEADY * (1 - version.starts / max(1, version.rounds))
            if version.loop and any(
                access.steady < steady and access.count > MANY and access.high > access.low
                for access in self.fact.accesses
                if access.place.block.name in version.loop.blocks
            ):
                return True
        return self.fact.conditional

    @property
    def stray(self) -> list[Stepping]:
        """Accesses that do not step from an element to the next; those of some rounds only leave some out."""
        least = LINE if self.fact.conditional else 0
        return [
            step
            for step in self.steps
            if step.regular and abs(step.step) > max(step.bytes, least) and step.weight > 0.02
        ]

    @property
    def far(self) -> list[Stepping]:
        """Accesses that step over memory, where they are a good part of all; else none."""
        found = [step for step in self.stray if not step.constant]
        return found if sum(step.weight for step in found) >= STRAYING else []

    @property
    def apart(self) -> bool:
        """Whether what rounds read or write does not lie side by side, also where they leave nothing out together."""
        return any(access.steady > 0.5 and abs(access.step) > access.bytes for access in self.fact.accesses)

    @property
    def irregular(self) -> list[Stepping]:
        """Accesses without a regular step."""
        return [step for step in self.steps if not step.regular and step.weight > 0.05]

    def raises(self, name: str, depth: int = 3) -> bool:
        """Return whether a block, or what follows on it alone, notes an exception."""
        block = self.fact.function.blocks[name]
        if any("excinfo" in one.text or "picklebuf" in one.text for one in block.instructions):
            return True
        return depth > 0 and len(block.successors) == 1 and self.raises(block.successors[0], depth - 1)

    @property
    def exits(self) -> list[str]:
        """Conditions, as LLVM has them, of branches that leave the loop to raise an exception, and never did."""
        found = []
        for block in self.fact.blocks:
            last = block.instructions[-1]
            if last.op != "br" or len(block.successors) < 2 or not self.fact.main.loop:
                continue
            ran = {other.name for other in self.fact.blocks}
            away = [name for name in block.successors if name not in self.fact.main.loop.blocks]
            if (
                block.name in self.fact.main.loop.blocks
                and away
                and not any(name in ran or not self.raises(name) for name in away)
            ):
                found.append(slice_of(self.fact, last.operands[:1]))
        return found


def slice_of(fact: LoopFacts, names: Sequence[str], depth: int = 6) -> str:
    """Return the text of the instructions that some values are made by."""
    made = {one.result: one for block in fact.function.blocks.values() for one in block.instructions if one.result}
    text, level = [], list(names)
    for _ in range(depth):
        ones = [made[name] for name in level if name in made]
        text += [one.text for one in ones]
        level = [name for one in ones if one.op != "phi" for name in one.operands]
    return "\n".join(text)
