"""Rules about what a loop does: calls, divisions, conversions, small numbers, and what waits for what."""

import re
from collections.abc import Iterator, Sequence

from lenumba.engine.profile.chains import MATH, keeps_sums
from lenumba.engine.profile.judging import LANES_REACHED, Cause, Judge
from lenumba.engine.profile.loops import DIVISIONS
from lenumba.engine.profile.places import expression
from lenumba.engine.profile.rules_memory import SHORT, overlap

ALLOCATING = re.compile(r"^NRT_|^numba_.*alloc|nrt|^(malloc|calloc|free|realloc)$")
MAKING = re.compile(r"alloc|NRT_MemInfo_new", re.I)
PYTHON = re.compile(r"^(Py|_Py|numba_unpickle|numba_gil|NRT_adapt)")

KEPT = 0.05  # of a loop's accesses
OPERATION = re.compile(r"^Py(Number_|Sequence_|Iter_Next|Object_(Get|Set|Call|RichCompare))")


def python_objects(looked: Judge) -> Iterator[Cause]:
    """Yield calls of Python's own functions."""
    share = sum(part for name, part in looked.fact.called_share.items() if PYTHON.match(name))
    if looked.context.object_mode and share > 0.3 * looked.fact.share:
        words = "it runs in object mode: every operation is a call of Python's"
        # Compiled, each of them takes a cycle or so.
        operations = sum(count for name, count in looked.fact.called.items() if OPERATION.match(name))
        factor = max(10.0, looked.fact.cycles / looked.fact.share / max(1.0, operations))
        found = looked.cause("Python objects", factor, words, "use njit, and arrays in place of Python objects")
        found.factor, found.share = factor, 1.0
        yield found
    elif share > 0.15 * looked.fact.share and share > 0.05:
        words = f"{share:.0%} of the call in Python's own functions"
        yield looked.cause(
            "Python objects", looked.scaled(share, 0.05), words, "pass arrays and numbers in place of Python objects"
        )


def allocation(looked: Judge) -> Iterator[Cause]:
    """Yield arrays that are made in a loop."""
    fact = looked.fact
    share = sum(part for name, part in fact.called_share.items() if ALLOCATING.search(name) and not PYTHON.match(name))
    count = max([count for name, count in fact.called.items() if MAKING.search(name)], default=0.0)
    if share > 0.1 * fact.share and count > 2:
        alone = looked.scaled(share, 0.05)
        factor = max(alone, min(5 * alone, looked.factor(looked.rest(without=("calls",)))))
        words = f"{count:,.0f} allocations and releases take {share:.0%} of the call"
        yield looked.cause("allocation", factor, words, "make the array once, before the loop, and write into it")


def math_function(looked: Judge) -> Iterator[Cause]:
    """Yield functions of the C library, called for each number."""
    fact = looked.fact
    found = {name: part for name, part in fact.called_share.items() if MATH.search(name)}
    share = sum(found.values())
    if share > 0.2 * fact.share:
        names = ", ".join(sorted({re.sub(r"^llvm\.|\.v?\d*f\d+$|^numba_", "", name) for name in found}))
        words = f"{names}: {share:.0%} of the call, once for each number"
        advice, flags = "install Intel's SVML (icc-rt) and use fastmath=True, or a polynomial", {"fastmath": True}
        advice += "; float32 is quicker, too"
        if names == "hypot":  # which is what abs of a complex number calls
            advice, flags = "compare or add squares, z.real**2 + z.imag**2, or take their np.sqrt", {}
        yield looked.cause("math function", looked.scaled(share, 0.25), words, advice, flags=flags)


def recursion(looked: Judge) -> Iterator[Cause]:
    """Yield functions that call themselves."""
    fact = looked.fact
    if fact.function.symbol in looked.context.recursive and fact.main.loop is None and fact.main.rounds > 50:
        words = f"{fact.main.rounds:,} calls of itself, each with its frame and status"
        yield looked.cause("recursion", 3.0, words, "write it as a loop, or keep results that it needs again")


def generator(looked: Judge) -> Iterator[Cause]:
    """Yield a generator's state, kept in memory from value to value."""
    if looked.context.generator and not looked.fact.vectorised and looked.fact.main.rounds > 50:
        # Its state is what keeps it from vectors, and much of what it reads and writes.
        after = looked.rest(max(1.0, LANES_REACHED * looked.full), ("end", "calls"))
        factor = min(60.0, max(1.4, looked.fact.cycles / max(1.0, after)))
        words = "a generator keeps its state in memory between values, and nothing is vectorised across it"
        yield looked.cause("generator", factor, words, "write its loop where the values are used")


def division(looked: Judge) -> Iterator[Cause]:
    """Yield divisions, which take many cycles and wait for one unit."""
    fact = looked.fact
    kinds = {op: count for op, count in fact.operations.items() if op in DIVISIONS and count}
    roots = sum(count for name, count in fact.called.items() if name.startswith("llvm.sqrt."))
    kinds |= {"sqrt": roots} if roots and kinds else {}
    checked = looked.context.options.get("error_model", "python") != "numpy" and bool(looked.exits)
    # What does not lie side by side would have to be gathered, which takes as long as the divisions.
    stops = checked and not fact.vectorised and not looked.apart and "fdiv" in kinds
    if not kinds or (fact.costs["divide"] < 0.35 * fact.cycles and not stops):
        return
    words = f"{sum(kinds.values()):,.0f} divisions a call ({', '.join(kinds)})"
    if stops:
        words += ", each with a check for zero that keeps the loop from vectors"
        advice, flags = "error_model='numpy' leaves out the checks", {"error_model": "numpy"}
        yield looked.cause("division", looked.factor(looked.rest(looked.lanes)), words, advice, flags=flags)
    else:
        advice = "multiply by the reciprocal, take it out of the loop, or use powers of two"
        without = ("divide", "chain") if kinds.keys() & set(fact.chain.split(" → ")) else ("divide",)
        yield looked.cause("division", looked.factor(looked.rest(without=without)), words, advice)


def double_in_single(looked: Judge) -> Iterator[Cause]:
    """Yield conversions between float32 and float64."""
    fact = looked.fact
    count = fact.operations.get("fpext", 0) + fact.operations.get("fptrunc", 0)
    rounds = sum(version.rounds for version in fact.versions)
    if count >= 0.5 * rounds and fact.flops and fact.accesses:
        words = f"{count:,.0f} conversions a call: float32 data are computed with in float64"
        advice = "write constants as np.float32(0.5): a literal is a float64"
        yield looked.cause("float64 in float32", 2.0, words, advice)


def subnormals(looked: Judge) -> Iterator[Cause]:
    """Yield numbers so small that they have fewer digits, which many processors are slow with."""
    fact = looked.fact
    if fact.results and fact.subnormal > 0.1 * fact.results:
        factor = 1.4 if fact.cycles < 3 * looked.now else fact.cycles / looked.now
        least = "2.2e-308" if fact.bits == 64 else "1.2e-38"
        words = f"{fact.subnormal / fact.results:.0%} of the numbers are subnormal, below {least}"
        advice = "scale the data, or set to zero what is so small; many processors take 100 cycles for each"
        yield looked.cause("denormals", factor, words, advice)


def chains(looked: Judge) -> Iterator[Cause]:
    """Yield what every round needs of the one before."""
    fact = looked.fact
    cost = min(fact.costs["chain"], fact.cycles)  # more than all of it was not waited for
    if cost < 0.5 * fact.cycles or cost < 1.2 * looked.rest(without=("chain",)):
        return
    names = fact.chain.split(" → ")
    kinds = {name for name in names if name not in ("store", "load")}
    # What steps far would have to be gathered, element by element.
    after = looked.rest(1.0 if looked.far else looked.lanes, ("chain",))
    both = overlap(looked)
    kept = [step for step in looked.steps if step.constant and step.stores and step.weight > KEPT]
    if len(kinds) < len(set(names)) and (both or kept):
        if both:
            words = f"{both} overlap: each round waits for what another wrote"
        else:
            sum_of = expression(max(kept, key=lambda step: step.count))
            words = f"{sum_of} is read from memory and written there in every round"
        advice = "let arrays not overlap, and keep sums in a variable until the loop ends"
        yield looked.cause("aliasing", looked.factor(after), words, advice)
    elif kinds <= {"fadd", "fsub"} and any(version.loop and keeps_sums(version.loop) for version in fact.versions):
        words = "a running sum, of which each round needs that of the one before"
        advice = "sum up several stretches at once, then add to each what comes before it"
        yield looked.cause("latency chain", min(2.0, looked.factor(after)), words, advice)
    elif kinds <= {"fadd", "fsub"}:
        if fact.trips > SHORT and not looked.context.generator:  # across which nothing becomes lanes
            once = max(fact.unrolled, len(names) // len(repeated(names)))  # LLVM puts several rounds into one
            each = cost / max(1, once * sum(version.rounds * version.width for version in fact.versions))
            wait = f" {each:.0f} cycles" if each >= 2 else ""
            words = f"a sum in a fixed order: each round waits{wait} for the one before"
            flags = {"fastmath": ["contract", "nsz", "reassoc"]}
            advice = "fastmath={'reassoc'} lets LLVM sum in lanes"
            yield looked.cause("reduction order", looked.factor(after), words, advice, flags=flags)
    else:
        factor = max(1.5, looked.factor(looked.rest(1.0, ("chain",))))
        words = f"each round waits for the one before: {shortened(names)}"
        yield looked.cause(
            "latency chain", factor, words, "work on several independent chains at once, or shorten this one"
        )


def repeated(names: Sequence[str]) -> Sequence[str]:
    """Return the part of a chain's operations that it consists of, over and over: those of one round."""
    sizes = (size for size in range(1, len(names) // 2 + 1) if len(names) % size == 0)
    whole = (size for size in sizes if list(names[:size]) * (len(names) // size) == list(names))
    return names[: next(whole, len(names))]


def shortened(names: Sequence[str]) -> str:
    """Return a chain's operations, those of rounds that LLVM put into one but once."""
    part = repeated(names)
    return " → ".join(part) if len(part) < len(names) else " → ".join(part[:6]) + (" …" if len(part) > 6 else "")
