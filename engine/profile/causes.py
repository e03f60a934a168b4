"""Why a function takes as long as it does: causes with the factor that mending each should give, the greatest first.

Every cause is told by what ran: operations, addresses, branches and dependences that were counted, and by the time that
samples give. What a loop would take without it follows from what is left: the greatest of the costs of its parts.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lenumba.engine.profile import rules_memory as memory
from lenumba.engine.profile import rules_work as work
from lenumba.engine.profile.judging import SHARED, Cause, Context, Judge
from lenumba.engine.profile.loops import LoopFacts
from lenumba.kernels.measure.listings import BLAS, is_wrapper

LEAST_FACTOR = 1.35  # what promises less is not told
LEAST_SAMPLES = 20  # fewer tell nothing
LEAST_SHARE = 0.08  # of a call: loops with less are not looked at
AROUND = 0.6  # of a call, in what is done before and behind it
LAUNCH = 1e-5  # seconds: a prange that takes no longer is hardly worth its threads
BEGINNING, LATE = 5e-5, 0.2  # seconds; of the longest one's work: in so short a prange, who does less came late
WORKING = 0.25  # of a call: threads that work less wait far more than they work
DISPATCH = 2e-4  # seconds: no call takes longer by itself; then others came between
LEAST_PAGES, PAGING = 32, 0.25  # of a call: fewer new pages, or less of its time in the system, is not told
UNEVEN = 1.3  # of the mean: the work of the thread that has most
EVERYWHERE = ("allocation", "Python objects", "math function", "bounds checks")
TOLD = 0.02  # of a call: samples tell no less
LEAST_LEFT = 1e-3  # of a call, without what Numba does around it
LIMITS = {"compute": "bound by compute", "L1": "bound by L1", "L2": "bound by L2", "L3": "bound by L3",
          "memory": "bound by memory"}  # fmt: skip
WORK = (work.python_objects, work.allocation, work.math_function, work.recursion, work.generator)
RULES = (
    *WORK, memory.checks, memory.stride, memory.gather, memory.branch, work.division, work.chains,
    work.double_in_single, memory.aliasing, work.subnormals, memory.short_loop,
)  # fmt: skip


def judge(facts: Sequence[LoopFacts], context: Context) -> list[Cause]:
    """Return the causes of a function's time, the one first whose mending helps the whole call most."""
    causes: list[Cause] = []
    if context.samples < LEAST_SAMPLES:
        return [cause for cause in whole_causes(facts, context) if cause.name == "parallel overhead"]
    for fact in facts:
        if fact.share < LEAST_SHARE or not fact.blocks or is_wrapper(fact.function.symbol):
            continue
        looked = Judge(fact, context, waiting(fact, facts, context))
        rules = RULES if fact.place[0] else WORK  # the rest is of no use for loops that Numba wrote
        named = {cause.name: cause for rule in rules for cause in rule(looked) if cause.loop_factor >= LEAST_FACTOR}
        # Where a function calls itself, wrong branches and chains are those of its calls.
        found = [named["recursion"]] if "recursion" in named else list(named.values())
        found = found or [cause for cause in memory.scalar(looked) if cause.loop_factor >= LEAST_FACTOR]
        causes += found or [limit_of(looked)]
    causes = [fused(cause, facts, context) if cause.name == "allocation" else cause for cause in together(causes)]
    causes += [*memory_made_anew(facts, context), *whole_causes(facts, context)]
    # What goes wrong between threads is measured, and hides what else the loops could gain.
    return sorted(causes, key=lambda one: (one.limit, not one.measured, -one.share if one.limit else -one.factor))


def waiting(fact: LoopFacts, facts: Sequence[LoopFacts], context: Context) -> float:
    """Return the share of the call in which the loop around one waits for it: what its own work does not explain."""
    outer = fact.main.loop.parent if fact.main.loop else None
    for other in facts:
        if outer and any(version.loop is outer for version in other.versions):
            return other.share * max(0.0, 1 - Judge(other, context).now / max(1.0, other.cycles))
    return 0.0


def together(causes: Sequence[Cause]) -> list[Cause]:
    """Return the causes; those that one change mends everywhere, such as allocations, as one."""
    found: dict[Any, Cause] = {}
    for number, cause in enumerate(causes):
        first = found.setdefault(cause.name if cause.name in EVERYWHERE else number, cause)
        if first is not cause:
            gained = sum(1 - 1 / one.factor for one in (first, cause))
            main = max(first, cause, key=lambda one: one.factor)
            found[cause.name] = replace(main, factor=1 / max(0.02, 1 - gained), share=first.share + cause.share)
    return list(found.values())


def fused(cause: Cause, facts: Sequence[LoopFacts], context: Context) -> Cause:
    """Return what an allocation in a loop costs with what fills and reads the arrays that it makes.

    Without them all of it is one loop, of which arithmetic, accesses to arrays that were there, and chains stay.
    """
    loop = next((f.main.loop for f in facts if f.place == (cause.file, cause.line) and f.main.loop), None)
    before = after = 0.0
    for fact in facts:
        own = fact.main.loop
        if is_wrapper(fact.function.symbol) or (loop and own and own.function is loop.function
                                                and not own.blocks & loop.blocks):  # fmt: skip
            continue
        kept = sum(access.count for access in fact.accesses
                   if any(array.low <= access.low < array.high for array in context.arrays))  # fmt: skip
        # Processors begin the next start of a short loop while its last one still waits.
        chain = fact.costs["chain"] * (not fact.counting and fact.trips > memory.SHORT)
        needed = max(fact.arithmetic, 0.5 * kept, fact.costs["divide"], chain)
        makes = fact.place[0] and any(work.ALLOCATING.search(name) for name in fact.called)
        stays = not fact.flops and not makes and not copies(fact)  # such as sorting
        if stays or any(BLAS.match(name) for name in fact.called):
            needed = fact.cycles
        before, after = before + fact.share, after + fact.share * min(1.0, needed / max(1.0, fact.cycles))
    return replace(cause, factor=min(60.0, max(cause.factor, 1 / max(0.01, 1 - before + after))))


def copies(fact: LoopFacts) -> bool:
    """Return whether a loop stores what it loads, as it is."""
    ran = [one for block in fact.blocks for one in block.instructions]
    stored = {one.operands[0] for one in ran if one.op == "store"}
    return bool(stored) and stored <= {one.result for one in ran if one.op == "load"}


def limit_of(looked: Judge) -> Cause:
    """Return what bounds a loop that nothing is wrong with."""
    fact = looked.fact
    library = {name: share for name, share in fact.called_share.items() if BLAS.match(name)}
    if sum(library.values()) > 0.5 * fact.share:
        words = f"{sum(library.values()):.0%} of the call in BLAS or LAPACK ({', '.join(sorted(library))})"
        return looked.cause("bound by compute", 1.0, words, "nothing to mend here", limit=True)
    parts = {name: value for name, value in fact.costs.items() if name in LIMITS}
    parts["compute"] = max(parts["compute"], fact.costs["divide"])
    name = max(parts, key=lambda key: parts[key])
    reached = min(1.0, parts[name] / max(fact.cycles, 1.0))
    whose = "the units allow" if name == "compute" else f"{name} allows"
    rest = "nothing to mend here" if reached > 0.5 else "the nearest limit; what else takes its time cannot be told"
    return looked.cause(LIMITS[name], 1.0, f"{reached:.0%} of what {whose}", rest, limit=True)


def call_causes(facts: Sequence[LoopFacts], context: Context) -> Iterator[Cause]:
    """Yield what lies in the call itself: arguments that Numba takes apart, and calls too short to be worth one."""
    wrappers = [fact for fact in facts if is_wrapper(fact.function.symbol)]
    share = sum(fact.share for fact in wrappers)
    # What few samples tell of the rest is no better than what its operations need.
    every_cycle = sum(fact.cycles for fact in facts) / max(0.01, 1 - context.beside)
    needed = sum(Judge(fact, context).rest() for fact in facts if not is_wrapper(fact.function.symbol))
    own = 1 - share - context.beside
    left = max(own if own > TOLD else 0.0, needed / max(1.0, every_cycle), LEAST_LEFT)
    every = context.samples / max(0.01, 1 - context.beside)
    if context.object_mode or every < LEAST_SAMPLES or share + context.beside < AROUND:
        return
    factor = 1 / left
    if share > context.beside:
        words = f"{share:.0%} of the call goes into taking its arguments apart and building its result"
        advice = "pass arrays in place of lists and objects, or typed lists that stay compiled"
        yield Cause("Python objects", "", 0, share, factor, words, advice, loop_factor=factor, measured=True)
    elif context.beside * every_cycle < DISPATCH * 1e9 * context.machine["clock_ghz"]:
        words = f"the call itself takes {share + context.beside:.0%} of its time"
        advice = "call it less often: put the loop around it into a compiled function"
        yield Cause("call overhead", "", 0, share, factor, words, advice, loop_factor=factor, measured=True)


def memory_made_anew(facts: Sequence[LoopFacts], context: Context) -> Iterator[Cause]:
    """Yield that large arrays are made in every call: the system gives their pages, cleared, and takes them back."""
    if not facts or context.new_pages < LEAST_PAGES or context.system < PAGING:
        return
    # New pages slow down those who touch them first, too.
    alone = 1 / max(0.02, 1 - context.system)
    left = sum(Judge(fact, context).now * given(fact, context) for fact in facts if fact.share >= LEAST_SHARE)
    factor = max(alone, min(3 * alone, sum(fact.cycles for fact in facts) / max(left, 1.0)))
    words = (
        f"{context.new_pages:,.0f} new pages of memory ({context.new_pages * mmap.PAGESIZE / 2**20:,.1f} MiB) take "
        f"{context.system:.0%} of a call: it makes large arrays and gives them back"
    )
    advice = "write into arrays that exist (array expressions make one for their result)"
    yield Cause("allocation", *facts[0].place, context.system, factor, words, advice, loop_factor=factor)


def given(fact: LoopFacts, context: Context) -> float:
    """Return the share of a loop's cache lines that belong to arrays which were there before the call."""
    lines = sum(access.misses[0] for access in fact.accesses)
    there = sum(access.misses[0] for access in fact.accesses
                if any(array.low <= access.low < array.high for array in context.arrays))  # fmt: skip
    return there / lines if lines else 1.0


def round_trip(facts: Sequence[LoopFacts], context: Context) -> float:
    """Return the seconds from the start of a prange to the next one's; 0 where none was counted."""
    starts = sum(count for fact in facts for name, count in fact.called.items() if name == "numba_parallel_for")
    seconds = sum(fact.cycles for fact in facts) / context.machine["clock_ghz"] / 1e9
    return seconds / starts if starts else 0.0


def whole_causes(facts: Sequence[LoopFacts], context: Context) -> Iterator[Cause]:
    """Yield the causes that lie between threads."""
    if not facts or len(context.threads) < 2 or not sum(context.threads):
        return
    first, total, least, most = facts[0], sum(context.threads), min(context.threads), max(context.threads)
    uneven = most * len(context.threads) / max(1, total)
    shared = [
        (access.count, access.place.one)
        for fact in facts
        for access in fact.accesses
        if context.contested.get(access.place.one.at, 0.0) > SHARED and access.stores
    ]
    rounds, trip = sum(version.rounds for version in first.versions), round_trip(facts, context)
    waits = context.working < WORKING * (1 - context.away) or 0 < trip < LAUNCH
    late = least < LATE * most and 0 < trip < BEGINNING
    if context.crowded > LEAST_FACTOR and shared and sum(count for count, _ in shared) > 0.2 * rounds:
        file, line = max(shared, key=lambda item: item[0])[1].source or first.place
        words = "threads write into the same cache lines, which go to and fro between cores"
        advice = "give each thread a variable of its own, or places 64 bytes apart"
        yield Cause("false sharing", file, line, first.share, context.crowded, words, advice,
                    loop_factor=context.crowded, measured=True)  # fmt: skip
    elif waits or late:
        words = (
            f"threads wait for {1 - context.working:.0%} of the call: for their start, and for one another at its end"
        )
        factor = 1 / max(0.05, context.working)
        if not waits:
            words = f"a thread does {least / most:.0%} of the longest one's work: it begins when all is done"
            factor = uneven
        advice = "give a prange more work, or leave out parallel=True for so little"
        yield Cause("parallel overhead", *first.place, 1.0, factor, words, advice, loop_factor=factor, measured=True)
    elif uneven > UNEVEN and total > 60:
        words = f"threads work {', '.join(f'{part / most:.0%}' for part in context.threads)} of the longest one's time"
        advice = "give rounds of equal work, or smaller chunks (numba.set_parallel_chunksize)"
        yield Cause("imbalance", *first.place, first.share, uneven, words, advice, loop_factor=uneven, measured=True)
