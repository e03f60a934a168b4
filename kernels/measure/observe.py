"""A function while it runs: samples of every instruction, and counts of its blocks, accesses and branches.

The function is compiled afresh with lines of Python; out of what LLVM's passes leave, it is compiled once more to be
sampled, with the same machine code, and once to be counted.
"""

import ctypes
import inspect
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lenumba.kernels.measure import tracers
from lenumba.kernels.measure.instrument import COUNTS, SUBNORMALS, instrument, tracer_call
from lenumba.kernels.measure.listings import BLAS
from lenumba.kernels.measure.llvm_code import Block, Function, Instruction, called_name, parse
from lenumba.kernels.measure.observation import Observation, access_of
from lenumba.kernels.measure.rebuilt import Rebuilt, numbered
from lenumba.kernels.measure.sampling import Sampler, behind_call, why_not
from lenumba.kernels.measure.ufuncs import LOOP
from lenumba.kernels.measure.user_function import folded, use_threads

LIBRARIES = re.compile(r"blas|lapack|mkl", re.I)
ENOUGH, REPEATS = 150, 4  # samples: with fewer, calls are sampled again, so many times at the most


def lines_of(function: Any) -> tuple[str, int, int]:
    """Return the file of a function, and its first and last line."""
    code = function.py_func.__code__
    if code.co_filename == LOOP:
        return "", 1, 0
    try:
        lines, first = inspect.getsourcelines(function.py_func)
    except (OSError, TypeError):
        return code.co_filename, code.co_firstlineno, code.co_firstlineno + 1000
    return code.co_filename, first, first + len(lines) - 1


def libraries_code() -> list[tuple[int, int]]:
    """Return where the code of linear algebra's libraries lies."""
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            place, kind, *_, name = line.split(None, 5)
            if "x" in kind and LIBRARIES.search(name.rpartition("/")[2]):
                low, high = place.split("-")
                found.append((int(low, 16), int(high, 16)))
    return found


def calls_of(functions: Sequence[Function], wanted: Callable[[str], Any]) -> list[tuple[Function, Block, Instruction]]:
    """Return the calls of functions whose names are wanted, and where they stand."""
    return [
        (function, block, one)
        for function in functions
        for block in function.blocks.values()
        for one in block.instructions
        if one.op == "call" and wanted(called_name(one.text))
    ]


class Observer:
    """Observes one function with one kind of arguments.

    Parameters
    ----------
    text
        LLVM's code after all passes, with lines.
    values
        Returns the arguments of the next call.
    """

    def __init__(self, function: Any, overload: Any, text: str, values: Callable[[], Sequence[Any]]) -> None:
        self.function, self.overload, self.values = function, overload, values
        self.parallel = bool(function.targetoptions.get("parallel"))
        self.code: Rebuilt | None = None
        self.found = Observation(parse(text, lines_of(function)), text)

    def fold(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return a call's arguments as compiled code takes them."""
        return tuple(folded(self.function, values, lambda _: None, tuple))

    def sample(self, time_calls: Callable[[Callable[..., Any]], list[float]]) -> None:
        """Sample calls, which `time_calls` makes."""
        if reason := why_not():
            self.found.method = reason
            return
        code = Rebuilt(numbered(self.found.text, self.found.functions), self.overload)
        places = code.places()
        if not places:
            self.found.method = "this machine's object files are not known"
            return
        call, self.code = code.function(), code  # which keeps it in memory
        call(self.fold(self.values()))  # every thread is there from now on
        sampler = Sampler(places[0][0], places[-1][0], self.parallel)

        def run(*values: Any) -> Any:
            folded = self.fold(values)
            self.found.calls += 1
            sampler.watch(True)
            try:
                return call(folded)
            finally:
                sampler.watch(False)

        self.found.rate, self.found.overhead = sampler.bearable()
        sampler.forget()
        with sampler.running(self.found.rate):
            for _ in range(REPEATS):
                self.found.sampled += time_calls(run)
                if sampler.state[3] >= ENOUGH:
                    break
        self.found.method = "sampled by timers (SIGPROF)"
        self.attribute(sampler, places, code.starts())

    def attribute(self, sampler: Sampler, places: Sequence[tuple[int, int]], starts: Sequence[int] = ()) -> None:
        """Give the samples to instructions."""
        noted, found = sampler.samples(), self.found
        addresses = [address for address, _ in places]
        firsts = {f.at + 1: next(iter(f.blocks.values())).instructions[0].at + 1 for f in found.functions}
        # What belongs to no instruction, such as a register's spill (line 0), goes to the one before it.
        lines, last = [], 0
        for _, line in places:
            last = firsts.get(line, line) if line else last
            lines.append(last)
        waits = {one.at + 1 for _, _, one in calls_of(found.functions, "numba_parallel_for".__eq__)}
        begins = set(starts)
        # BLAS keeps so much on its stack that its caller is not found there.
        libraries = libraries_code() if calls_of(found.functions, BLAS.match) else []
        work: dict[int, int] = {}
        beside = working = 0
        first = int(noted.times[0]) if len(noted.times) else 0
        own = int(noted.threads[np.argmax(noted.sites > 0)]) if len(noted.sites) else 0
        waiting = self.parallel and {pc for pc in set(noted.counters[~noted.inside].tolist()) if behind_call(pc)}
        for site, inside, thread, when, counter in zip(
            noted.sites.tolist(), noted.inside.tolist(), noted.threads.tolist(), noted.times.tolist(),
            noted.counters.tolist(), strict=True,
        ):  # fmt: skip
            if waiting and counter in waiting:
                continue
            if not inside and site in begins:  # a function's address, which a thread that waits was started with
                beside += thread == own and not self.parallel
                continue
            # A return address lies behind its call.
            line = lines[bisect_right(addresses, site - (not inside)) - 1] if site else 0
            library = not site and any(low <= counter < high for low, high in libraries)
            if line in waits:
                continue
            if not line and not library:
                beside += thread == own and not self.parallel
                continue
            working += 1
            work[thread] = work.get(thread, 0) + 1
            if library:
                found.library += 1
                continue
            if len(found.timeline) < 20_000:
                found.timeline.append((thread, float(when - first), line - 1))
            before = found.samples.get(line - 1, (0, 0))
            found.samples[line - 1] = (before[0] + inside, before[1] + (not inside))
        found.beside = beside / max(1, beside + working)
        found.threads = [work[thread] for thread in sorted(work)]

    def count(self, caches: Mapping[str, int]) -> None:
        """Count a call: block by block, access by access; the call before fills the simulated caches."""
        found = self.found
        most = sum(len(block.instructions) for f in found.functions for block in f.blocks.values())
        access, state = tracers.access_tracer(caches, most)
        branch, branches = tracers.branch_tracer(most)
        made = instrument(found.text, found.functions, tracer_call(access, state), tracer_call(branch, branches))
        code = Rebuilt(made.text, self.overload)
        call, size = code.function(), len(made.blocks)
        counts, subnormals = (
            np.ctypeslib.as_array((ctypes.c_int64 * size).from_address(code.address(name)))
            for name in (COUNTS, SUBNORMALS)
        )
        usual = use_threads(1)  # the counters are no atomic ones
        call(self.fold(self.values()))
        if counts.sum() and state[0] > tracers.BUDGET // 2:
            counts[:] = subnormals[:] = 0
            state[0] = branches[0] = tracers.BUDGET
            state[tracers.HEADER : tracers.HEADER + tracers.WORDS * len(made.accesses)] = 0
            records = branches[tracers.HEADER : tracers.HEADER + tracers.BRANCH_WORDS * len(made.branches)]
            records.reshape(-1, tracers.BRANCH_WORDS)[:, [0, 1, 3, 4, 9]] = 0
            call(self.fold(self.values()))
        use_threads(usual)
        for (function, block), count, few in zip(made.blocks, counts.tolist(), subnormals.tolist(), strict=True):
            found.counts[function.symbol, block.name] = count
            found.subnormals[function.symbol, block.name] = few
        for number, place in enumerate(made.accesses):
            record = state[tracers.HEADER + number * tracers.WORDS :][: tracers.WORDS].tolist()
            found.accesses.append(access_of(place, record))
        for number, place in enumerate(made.branches):
            record = branches[tracers.HEADER + number * tracers.BRANCH_WORDS :][: tracers.BRANCH_WORDS].tolist()
            found.wrong[place.one.at] = min(record[3], record[4], record[9]) / max(1, record[0])
            found.taken[place.one.at] = record[1] / max(1, record[0])

    def hand_up(self) -> None:
        """Give samples to the calls that led there: those in BLAS; of what Numba adds, as what releases an array."""
        found = self.found
        self.give(found.library, calls_of(found.functions, BLAS.match))
        added = [function for function in found.functions if function.symbol.startswith("NRT_")]
        users = [function for function in found.functions if function not in added]
        for function in added:
            calls = calls_of(users, function.symbol.__eq__)
            if any(found.count(user, block.name) for user, block, _ in calls):
                mine = [one.at for block in function.blocks.values() for one in block.instructions]
                self.give(sum(sum(found.samples.pop(at, (0, 0))) for at in mine), calls)

    def give(self, samples: float, calls: Sequence[tuple[Function, Block, Instruction]]) -> None:
        """Give samples to calls, as often as they ran."""
        found = self.found
        ran = [(one.at, found.count(function, block.name)) for function, block, one in calls]
        total = sum(count for _, count in ran)
        for at, count in ran:
            if count:
                before = found.samples.get(at, (0, 0))
                found.samples[at] = before[0], before[1] + samples * count / total

    def share(self) -> None:
        """Find the stores of several threads that go to the same cache lines."""
        found = self.found
        most = sum(len(block.instructions) for f in found.functions for block in f.blocks.values())
        tracer, state = tracers.sharing_tracer(most)
        made = instrument(found.text, found.functions, "", "", tracer_call(tracer, state))
        code = Rebuilt(made.text, self.overload)
        code.function()(self.fold(self.values()))
        for number, place in enumerate(made.accesses):
            count, shared = state[tracers.HEADER + number * tracers.SHARE_WORDS :][:2].tolist()
            found.contested[place.one.at] = shared / max(1, count)
