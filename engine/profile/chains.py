"""What a round of a loop must wait for: the longest chain of dependences from the round before."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lenumba.kernels.measure.llvm_code import called_name

if TYPE_CHECKING:
    from lenumba.kernels.measure.llvm_code import Instruction, Loop
    from lenumba.kernels.measure.observation import Access, Observation

LATENCY = {"fadd": 3, "fsub": 3, "fmul": 3, "fdiv": 13, "frem": 40, "load": 5, "mul": 3, "sdiv": 18, "udiv": 18,
           "srem": 18, "urem": 18, "sitofp": 4, "uitofp": 4, "fptosi": 4, "fpext": 4, "fptrunc": 4,
           "fcmp": 1}  # fmt: skip  # with a select, the least or the greatest of two
FREE = ("phi", "getelementptr", "bitcast", "inttoptr", "ptrtoint", "freeze", "zext", "trunc", "extractvalue",
        "insertvalue", "br", "ret", "alloca", "fence")  # fmt: skip
QUICK = re.compile(r"llvm\.(?:[su](?:min|max)|abs|fabs|copysign|fsh[lr]|bswap)\.")
FUNCTIONS = r"a?(?:sin|cos|tan)h?|atan2|sincos|exp(?:2|10|m1)?|log(?:2|10|1p)?|powi?|hypot|cbrt|erfc?|[lt]?gamma|fmod"
MATH = re.compile(rf"llvm\.(?:{FUNCTIONS})\.|^(?:numba_)?(?:{FUNCTIONS})f?$")


def latency(one: "Instruction") -> float:
    """Return the cycles until an instruction's result is there."""
    if one.op == "call":
        if one.fused:
            return 4.0
        name = called_name(one.text)
        if "sqrt" in name:
            return 18.0
        if QUICK.match(name):
            return 1.0
        return 40.0 if MATH.search(name) else 4.0 if name.startswith("llvm.") else 5.0
    if one.op in ("phi", "br", "bitcast", "freeze", "getelementptr", "zext", "trunc", "sext", "store"):
        return 0.0 if one.op != "sext" else 1.0
    return float(LATENCY.get(one.op, 1))


def keeps_sums(loop: "Loop") -> bool:
    """Return whether a sum that goes from round to round is used in each of them, such as stored: a running sum."""
    body = [one for name, block in loop.function.blocks.items() if name in loop.blocks for one in block.instructions]
    made = {one.result: one for one in body if one.op in ("fadd", "fsub")}
    for phi in (one for one in loop.function.blocks[loop.header].instructions if one.op == "phi"):
        after = {phi.result}
        for one in body:
            if one.result in made and after & set(one.operands):
                after.add(one.result)
        before, found = [name for name in phi.operands if name in after], set[str]()
        while before:
            name = before.pop()
            if name in after and name not in found and name != phi.result:
                found.add(name)
                before += made[name].operands
        if found and any(
            {*found, phi.result} & set(one.operands) and one.result not in found for one in body if one.op != "phi"
        ):
            return True
    return False


def chain_of(loop: "Loop", accesses: "Sequence[Access]", found: "Observation") -> tuple[float, str]:
    """Return the cycles that a round must wait for the one before: the longest cycle of dependences.

    They go through phi instructions, and through memory where a load reads what a store behind it wrote.
    """
    body = [one for name, block in loop.function.blocks.items() if name in loop.blocks for one in block.instructions]
    phis = [one for one in loop.function.blocks[loop.header].instructions if one.op == "phi"]
    back: dict[str, str] = {}
    for one in phis:
        for value, block in re.findall(r'\[ ([^,]+), %("[^"]+"|[\w.$-]+) \]', one.text):
            if block.strip('"') in loop.blocks:
                back[one.result] = value
    rounds = max(1, found.count(loop.function, loop.header))
    near = 1.5 * sum(a.count for a in accesses if a.place.block.name in loop.blocks) / rounds
    loads = {
        a.place.one.at: found.accesses[a.store].place.one
        for a in accesses
        if not a.stores and a.forwarded > 0.5 and a.distance <= near and 0 <= a.store < len(found.accesses)
    }
    carried = [one for one in body if one.at in loads and loads[one.at].at > one.at and loads[one.at] in body]
    starts = [(one, back[one.result]) for one in phis if back.get(one.result, "").startswith("%")]
    starts += [(one, loads[one.at].operands[0]) for one in carried if loads[one.at].operands]
    weights: list[list[float]] = []
    best: dict[tuple[int, int], list[str]] = {}
    within = {at: one.operands[0] for at, one in loads.items() if one.at < at and one.operands}
    for row, (start, _) in enumerate(starts):
        longest: dict[str, tuple[float, list[str]]] = {start.result: (9.0 if start.op == "load" else 0.0, [])}
        for one in body:
            if one.op == "phi" and one in phis:
                continue
            sources = [*one.operands, *([within[one.at]] if one.at in within else [])]
            reached = [longest[name] for name in sources if name in longest]
            if reached and one.result and one.result not in longest:
                far = max(reached, key=lambda item: item[0])
                longest[one.result] = (far[0] + latency(one), [*far[1], one.op])
        weights.append([longest[end][0] if end in longest else -1.0 for _, end in starts])
        for column, (_, end) in enumerate(starts):
            if end in longest:
                best[row, column] = longest[end][1] + (["store", "load"] if start.op == "load" else [])
    cycle, which = 0.0, (0, 0)
    for row in range(len(starts)):
        if weights[row][row] > cycle:
            cycle, which = weights[row][row], (row, row)
        for column in range(row):
            if weights[row][column] >= 0 and weights[column][row] >= 0:
                mean = (weights[row][column] + weights[column][row]) / 2
                if mean > cycle:
                    cycle, which = mean, (row, column)
    return cycle, " → ".join(name for name in best.get(which, []) if name not in FREE or name in ("load", "store"))
