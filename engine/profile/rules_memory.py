"""Rules about where a loop goes: its steps through memory, its branches, its ends; and what keeps it from vectors."""

import math
import re
from collections.abc import Iterator

from lenumba.engine.profile.judging import Cause, Judge
from lenumba.engine.profile.loops import WRONG_BRANCH
from lenumba.engine.profile.places import expression
from lenumba.kernels.constants import LINE

SHORT = 12  # rounds
SORTED = 1.35  # times as fast: less is not worth sorting for
EXPLAINED = 0.7  # of a loop's time: with more, what it waits for memory does not matter
NEAR = 0.2  # of the accesses: with fewer misses, a step costs no more than a vector's lanes


def stride(looked: Judge) -> Iterator[Cause]:
    """Yield accesses that step over memory."""
    far = looked.far
    if not far:
        return
    worst = max(far, key=lambda step: step.misses * 1000 + abs(step.step) * step.weight)
    if is_short(looked) and worst.misses < NEAR * worst.count:
        return  # its few rounds matter more
    factor = looked.factor(looked.rest(looked.lanes, ("chain",), dense=True), dense=True)
    step, outer = abs(worst.step), abs(worst.outer)
    if outer and outer < step and outer <= LINE:
        words = f"{expression(worst)} steps {step:,} bytes from round to round"
        advice = f"change the order of the loops: then it steps {outer:,} bytes"
        wide = {array.name for array in looked.context.arrays if max(map(abs, array.strides)) > LINE}
        # What is visited time and again may stay where it is in the other order.
        once = [one for one in looked.steps if one.count * one.bytes < 2 * (one.high - one.low + one.bytes)]
        other = next(
            (one for one in once if abs(one.step) == one.bytes and one.weight > 0.2 and one.array in wide), None
        )
        if other:  # blocks make short runs of both: about half of that
            factor **= 0.5
            advice = f"go through it in blocks, such as 32 by 32: in the other order, {expression(other)} would step so"
        yield looked.cause("column order", factor, words, advice, line=worst.line)
    else:
        words = f"{expression(worst)} steps {step:,} bytes, {worst.bytes} of which it uses"
        advice = "pass contiguous arrays (np.ascontiguousarray), or store side by side what is used together"
        yield looked.cause("strided view", factor, words, advice, line=worst.line)


def is_short(looked: Judge) -> bool:
    """Return whether a loop inside another has few rounds each of many times."""
    fact = looked.fact
    inside = fact.main.loop is not None and fact.main.loop.parent is not None
    return inside and fact.trips <= SHORT and fact.main.starts >= 50


def gather(looked: Judge) -> Iterator[Cause]:
    """Yield accesses at places that other data tell."""
    fact, found = looked.fact, looked.irregular
    count, misses = sum(step.count for step in found), sum(step.misses for step in found)
    near = looked.rest(without=("L2", "L3", "memory"))
    if not found or misses < NEAR * count or near > EXPLAINED * fact.cycles:
        return
    worst = max(found, key=lambda step: step.misses)
    missed = worst.misses / max(1, worst.count)
    words = f"{expression(worst)} goes to {count:,} places without order, {missed:.0%} of them not in L1"
    dense = looked.factor(looked.rest(dense=True))
    # In ascending order, each line comes but once: so many do that this number of accesses meets, at random.
    spans = [max(1.0, (step.high - step.low) / LINE) for step in found]
    lines = sum(span * -math.expm1(-step.count / span) for span, step in zip(spans, found, strict=True))
    ordered = fact.cycles / (near + max(0.0, fact.cycles - near) * min(1.0, lines / max(1, misses)))
    if "load" in fact.chain.split(" → "):
        advice = "lay out the data in the order of use: each address is read at the one before"
        yield looked.cause("gather", dense, words, advice, line=worst.line)
    elif ordered >= SORTED:
        yield looked.cause("gather", min(ordered, dense), words, "sort what it is indexed by", line=worst.line)
    else:
        advice = "lay out the data in the order of use (in order of address alone is no quicker), or make them smaller"
        yield looked.cause("gather", dense, words, advice, line=worst.line)


def branch(looked: Judge) -> Iterator[Cause]:
    """Yield branches that no predictor foretells."""
    fact = looked.fact
    if fact.costs["branch"] > 0.25 * fact.cycles:
        words = f"about {fact.wrong:,.0f} branches a call are guessed wrong, {WRONG_BRANCH:.0f} cycles each"
        advice = "compute both sides and choose (np.where, min, max, arithmetic), or sort the data"
        yield looked.cause("branch", looked.factor(looked.rest(without=("branch",))), words, advice)


def aliasing(looked: Judge) -> Iterator[Cause]:
    """Yield arrays that may overlap."""
    fact = looked.fact
    if fact.vectorised or looked.stray or looked.irregular or looked.exits or not any(a.stores for a in fact.accesses):
        return
    if max(fact.costs["chain"], fact.costs["divide"]) > 0.5 * fact.cycles and not overlap(looked):
        return
    words = ("identify array bounds", "unsafe dependent memory", "pointer checks", "memory conflicts")
    wide, both = any(version.width > 1 for version in fact.idle), overlap(looked)
    if (wide and both) or (
        not wide and not looked.scattered and looked.context.said(fact.place[1], looked.last, *words)
    ):
        factor = looked.factor(looked.rest(looked.lanes, ("chain",)))
        told = f"{both} overlap, so it runs one by one" if both else "LLVM cannot tell whether the arrays overlap"
        advice = "pass arrays that do not share memory; keep in variables what does not change"
        yield looked.cause("aliasing", factor, told, advice)


def overlap(looked: Judge) -> str:
    """Return the names of arguments that share memory which the loop writes into; "" where there are none."""
    for step in looked.steps:
        if step.stores and not step.constant:
            inside = [a for a in looked.context.arrays if a.low <= step.low < a.high or a.low < step.high <= a.high]
            if len(inside) > 1:
                return " and ".join(array.name for array in inside)
    return ""


def checks(looked: Judge) -> Iterator[Cause]:
    """Yield checks in every round that may raise, and so stop vectors."""
    fact = looked.fact
    calls = any(not name.startswith("llvm.") for name in fact.called)
    if not looked.exits or fact.vectorised or calls or not fact.accesses or fact.costs["divide"] > 0.35 * fact.cycles:
        return
    factor = max(1.5, looked.factor(looked.rest(looked.lanes)))
    words = f"{len(looked.exits)} check{'s' * (len(looked.exits) > 1)} in every round keep it from vectors"
    if looked.context.options.get("boundscheck"):
        advice, flags = "leave out boundscheck=True (and NUMBA_BOUNDSCHECK) once it is right", {"boundscheck": False}
        yield looked.cause("bounds checks", factor, words, advice, flags=flags)
    elif re.search(r"with\.overflow|^load i(?!1\b|8\b)", "\n".join(looked.exits), re.M):
        advice = "check the range once, before the loop"
        yield looked.cause("overflow checks", factor, f"whole numbers: {words}", advice)


def short_loop(looked: Judge) -> Iterator[Cause]:
    """Yield loops with few rounds, whose beginning and end take longer than they do."""
    fact = looked.fact
    if not is_short(looked):
        return
    factor = max(1.5, looked.factor(looked.rest(looked.lanes, ("chain", "branch", "end"))))
    words = f"{fact.trips:.0f} rounds each of {fact.main.starts:,} times: beginning and ending take longer"
    advice = "make the long loop the inner one, or write the few rounds out (tuples, a constant length)"
    yield looked.cause("short loop", factor, words, advice)


def scalar(looked: Judge) -> Iterator[Cause]:
    """Yield loops that LLVM left scalar for other reasons."""
    fact = looked.fact
    if fact.vectorised or not fact.accesses or fact.main.loop is None or fact.trips < SHORT or fact.main.loop.children:
        return
    if looked.lanes > 1 and fact.costs["chain"] < 0.5 * fact.cycles:
        factor = 0.8 * looked.factor(looked.rest(looked.lanes))
        if looked.exits:
            words = f"{len(looked.exits)} check{'s' * (len(looked.exits) > 1)} in every round may raise an exception"
            yield looked.cause("checks", factor, words, "check once, before or after the loop")
        else:
            yield looked.cause("not vectorised", factor, "it runs one by one", "see LLVM's remarks (--compile)")
