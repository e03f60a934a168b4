"""The loops of an observed function: time, versions that ran, operations, accesses, chains, costs of each part."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lenumba.engine.profile.chains import FREE, chain_of
from lenumba.engine.profile.places import steppings
from lenumba.kernels.constants import LINE
from lenumba.kernels.measure.llvm_code import ARITHMETIC, called_name

if TYPE_CHECKING:
    from lenumba.kernels.measure.llvm_code import Block, Function, Loop
    from lenumba.kernels.measure.observation import Access, Observation

DIVISIONS = {"fdiv": 5.0, "frem": 40.0, "sdiv": 10.0, "udiv": 10.0, "srem": 10.0, "urem": 10.0}  # cycles apart
WORKING = ("fadd", "fsub", "fmul", "fdiv", "frem", "load", "store", "call", "add", "sub", "mul", "and", "or", "xor",
           "icmp", "select", "fcmp")  # fmt: skip
WRONG_BRANCH = 18.0  # cycles
INTEGER = re.compile(r"^(?:load|store) (?:<\d+ x )?i(8|16|32|64)\b")
MANY = 0.25  # of the accesses
SELDOM = 0.1  # of the rounds
LEVELS = ("L1", "L2", "L3", "memory")


@dataclass
class Version:
    """One of a loop's compiled versions, as it ran: rounds, starts, samples, elements of its widest arithmetic."""

    loop: "Loop | None"
    rounds: int
    starts: int
    samples: float
    width: int

    @property
    def name(self) -> str:
        """What to call it."""
        if self.width > 1:
            return f"{self.width}-wide"
        header = self.loop.header if self.loop else ""
        return "remainder" if re.search(r"epil|prol|\.rem|scalar", header) else "one by one"


@dataclass
class LoopFacts:
    """A loop as it is written, with all its versions; sums are of one call, costs in cycles.

    Attributes
    ----------
    place
        File and line.
    versions
        Those that ran, the one with most samples first; `idle` are those that never did.
    share
        Of the call's time.
    cycles
        That this is.
    unrolled
        How many of those LLVM put into one.
    operations
        How often each LLVM operation ran, vectors counted once; `called` the functions it called.
    flops
        Floating-point operations, a multiply-add counted twice.
    costs
        Cycles that its parts would take alone: ``compute``, ``divide``, ``branch`` and ``end`` (branches guessed wrong
        within and at its end), ``chain``, and a part for each level of memory, L1 first.
    conditional
        Whether it goes to memory in some rounds only.
    arithmetic
        Cycles of its floating-point operations alone.
    """

    place: tuple[str, int]
    function: "Function"
    versions: list[Version]
    idle: list[Version]
    share: float = 0.0
    cycles: float = 0.0
    operations: dict[str, float] = field(default_factory=dict)
    called: dict[str, float] = field(default_factory=dict)
    called_share: dict[str, float] = field(default_factory=dict)
    flops: float = 0.0
    results: float = 0.0
    subnormal: float = 0.0
    bits: int = 64
    accesses: "list[Access]" = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    wrong: float = 0.0
    arithmetic: float = 0.0
    conditional: bool = False
    chain: str = ""
    unrolled: int = 1
    blocks: "list[Block]" = field(default_factory=list)

    @property
    def main(self) -> Version:
        """The version that most of the time goes to."""
        return self.versions[0]

    @property
    def trips(self) -> float:
        """Rounds for each start, of all versions."""
        rounds = sum(version.rounds * max(1, version.width) for version in self.versions)
        starts = max((version.starts for version in self.versions), default=1)
        return self.unrolled * rounds / max(1, starts)

    @property
    def counting(self) -> bool:
        """Whether its longest chain only counts, or adds whole numbers."""
        return only_counts(self.chain)

    @property
    def bytes(self) -> float:
        """Bytes that its accesses read and write."""
        return float(sum(access.count * access.bytes for access in self.accesses))

    @property
    def vectorised(self) -> bool:
        """Whether vectors do most of its work."""
        return self.main.width > 1


def find_facts(found: "Observation", machine: Mapping[str, Any], seconds: float) -> list[LoopFacts]:
    """Return the loops of an observed function, and what lies in none, by function; those that take longest first."""
    total = sum(map(sum, found.samples.values())) or 1
    # Threads that work at the same time spend more cycles than pass.
    ghz = machine["clock_ghz"] * (sum(found.threads) / max(found.threads) if any(found.threads) else 1.0)
    facts = []
    for function in found.functions:
        for place, loops in loops_by_place(function).items():
            if fact := gather(found, function, place, loops, total):
                fact.share *= 1 - found.beside
                fact.cycles = fact.share * seconds * ghz * 1e9
                cost(fact, found, machine)
                facts.append(fact)
    return sorted(facts, key=lambda fact: -fact.share)


def loops_by_place(function: "Function") -> "dict[tuple[str, int], list[Loop | None]]":
    """Return compiled loops by the first line of the loop that they are versions of; None is what lies in none."""
    groups: dict[tuple[str, int], list[Loop | None]] = {}
    for loop in [*function.loops, None]:
        own = [one.source for block in blocks_of(function, loop) for one in block.instructions if one.source]
        whole = loop.blocks if loop else ()
        inherited = [one.source for name in whole for one in function.blocks[name].instructions if one.source]
        groups.setdefault(min(own or inherited or [("", 0)]), []).append(loop)
    return groups


def blocks_of(function: "Function", loop: "Loop | None") -> "list[Block]":
    """Return the blocks that are in a loop and in none inside it, or in none at all."""
    if loop:
        return loop.own
    inside = {name for each in function.loops for name in each.blocks}
    return [block for name, block in function.blocks.items() if name not in inside]


def gather(
    found: "Observation", function: "Function", place: tuple[str, int], loops: "Sequence[Loop | None]", total: float
) -> LoopFacts | None:
    """Return a loop's versions, samples and operations; None where none of it ran."""
    versions, blocks, sometimes = [], [], False
    for loop in loops:
        own = blocks_of(function, loop)
        header = loop.header if loop else next(iter(function.blocks))
        rounds = found.count(function, header)
        starts = rounds
        if loop:
            starts = max(1, round(rounds - sum(edge(found, function, name, header) for name in loop.blocks)))
        samples = sum(sum(found.samples.get(one.at, (0, 0))) for block in own for one in block.instructions)
        width = max((one.width for block in own for one in block.instructions if one.op in WORKING), default=1)
        sometimes |= loop is not None and any(
            SELDOM * rounds < found.count(function, block.name) < (1 - SELDOM) * rounds
            and any(one.op in ("load", "store") for one in block.instructions)
            for block in own
        )
        versions.append(Version(loop, rounds, starts, samples, width))
        blocks += own
    ran = sorted((v for v in versions if v.rounds or v.samples), key=lambda v: (-v.samples, -v.rounds * v.width))
    if not ran:
        return None
    fact = LoopFacts(place, function, ran, [v for v in versions if not v.rounds and not v.samples])
    fact.share, fact.conditional = sum(v.samples for v in ran) / total, sometimes
    fact.blocks = [block for block in blocks if found.count(function, block.name)]
    names = {block.name for block in fact.blocks}
    fact.accesses = [
        a for a in found.accesses if a.place.function is function and a.place.block.name in names and a.count
    ]
    count_operations(fact, found, total)
    return fact


def count_operations(fact: LoopFacts, found: "Observation", total: float) -> None:
    """Fill in what a loop's blocks do: operations, calls, numbers that are subnormal, branches guessed wrong."""
    function = fact.function
    kinds: dict[int, float] = {}
    sizes: dict[int, float] = {}
    for block in fact.blocks:
        count = found.count(function, block.name)
        fact.subnormal += found.subnormals.get((function.symbol, block.name), 0)
        for one in block.instructions:
            fact.operations[one.op] = fact.operations.get(one.op, 0) + count
            if one.op in ("call", "invoke"):
                name = called_name(one.text)
                fact.called[name] = fact.called.get(name, 0) + count
                hit = found.samples.get(one.at, (0, 0))[1] / total
                fact.called_share[name] = fact.called_share.get(name, 0.0) + hit
                fact.results += count * one.width if one.fused else 0
            fact.flops += count * one.flops
            if one.op in (*ARITHMETIC, "load") and re.search(r"\b(double|float)\b", one.text.split(",")[0]):
                fact.results += count * one.width
                bits = 64 if "double" in one.text.split(",")[0] else 32
                kinds[bits] = kinds.get(bits, 0) + count
            if one.op in ("load", "store") and (whole := INTEGER.search(one.text)):
                sizes[int(whole[1])] = sizes.get(int(whole[1]), 0) + count
        wrong = count * found.wrong.get(block.instructions[-1].at, 0.0)
        fact.wrong += wrong * (not ends(fact, block))
        fact.costs["end"] = fact.costs.get("end", 0.0) + WRONG_BRANCH * wrong * ends(fact, block)
    # Of whole numbers, the widest ones that it often goes to memory with.
    often = [bits for bits, count in sizes.items() if count > MANY * sum(sizes.values())]
    fact.bits = max(kinds, key=lambda bits: kinds[bits]) if kinds else max(often, default=64)


def ends(fact: LoopFacts, block: "Block") -> bool:
    """Return whether a block's last branch may end the loop."""
    return any(
        version.loop is not None
        and block.name in version.loop.blocks
        and any(name not in version.loop.blocks for name in block.successors)
        for version in fact.versions
    )


def edge(found: "Observation", function: "Function", name: str, to: str) -> float:
    """Return how often a block went on to another one."""
    block = function.blocks[name]
    if to not in block.successors:
        return 0.0
    count = found.count(function, name)
    if len(set(block.successors)) == 1:
        return count
    last = block.instructions[-1]
    if last.op != "br":
        return count / len(block.successors)
    taken = found.taken.get(last.at, 0.5)
    return count * (taken if block.successors[0] == to else 1 - taken)


def cost(fact: LoopFacts, found: "Observation", machine: Mapping[str, Any]) -> None:
    """Fill in what the parts of a loop would cost alone, in cycles of a call."""
    loads = stores = divide = 0.0
    units = {"add": 0.0, "multiply": 0.0, "other": 0.0}
    for block in fact.blocks:
        count = found.count(fact.function, block.name)
        for one in block.instructions:
            wide = max(1.0, one.width * fact.bits / 256)
            if one.op == "call" and "@llvm.sqrt." in one.text:
                divide += count * 6.0 * max(1.0, one.width / 2)
            elif one.op in DIVISIONS:
                divide += count * DIVISIONS[one.op] * max(1.0, one.width / 2)
            elif one.op in ARITHMETIC or one.fused:
                units["add" if one.op in ("fadd", "fsub") else "multiply"] += count * 0.5 * wide
            elif one.op == "load":
                loads += count * 0.5 * wide
            elif one.op == "store":
                stores += count * wide
            elif one.op not in FREE:
                units["other"] += count * 0.2 * max(1.0, one.width / 4)
    for access in fact.accesses:
        if access.place.stores_lines is not None:  # by a library, at the units' full width
            loads, stores = loads + access.count * (not access.stores), stores + 2 * access.count * access.stores
    compute = sum(units.values())
    fact.arithmetic = units["add"] + units["multiply"]
    if compute > fact.cycles:  # then sums, products and the rest have units of their own here
        compute = max(units.values())
    ghz = machine["clock_ghz"]
    fact.costs |= {"compute": compute, "L1": max(loads, stores), "divide": divide, "branch": WRONG_BRANCH * fact.wrong}
    lines = [sum(a.misses[k] for a in fact.accesses) for k in range(3)]
    speeds = machine["gbytes"]
    for level, count in zip(LEVELS[1:], lines, strict=True):
        speed = speeds.get(level) or speeds["memory"]
        fact.costs[level] = count * LINE / speed * ghz
    fact.costs["chain"], fact.chain = chain_cost(fact, found)
    if fact.costs["branch"] > fact.cycles:  # the processor foretells more of them than simple predictors do
        fact.costs["branch"] = 0.0
        fact.costs["branch"] = max(0.0, fact.cycles - max(fact.costs.values()))
    fact.unrolled = max((one.unrolled for one in steppings(fact.accesses, fact.place) if one.count), default=1)


def chain_cost(fact: LoopFacts, found: "Observation") -> tuple[float, str]:
    """Return the cycles of the longest chain from round to round, and what it is made of."""
    found_chains = []
    for version in fact.versions:
        if version.loop is None or version.rounds < 2:
            continue
        cycles, made = chain_of(version.loop, fact.accesses, found)
        found_chains.append((not only_counts(made), cycles * version.rounds, made))
    if not found_chains:
        return 0.0, ""
    kind, _, words = max(found_chains)  # what only counts runs beside the rest
    return sum(cycles for other, cycles, _ in found_chains if other == kind), words


def only_counts(chain: str) -> bool:
    """Return whether a chain only counts, or adds whole numbers."""
    return set(chain.split(" → ")) <= {"add", "sub", ""}
