"""Calls of a function, each with arguments as they were for the first one, and their times."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lenumba.engine.profile.machine import cache_sizes
from lenumba.engine.profile.stopwatch import Stopwatch, all_waited

CALLS = (5, 10_000)  # least and most of them
LONG = 3.0  # least number of calls for a function that takes longer than all the time that there is
TIMED = 2e-5  # seconds between two readings of the clock: shorter calls are timed several at once
COLD, COLDEST = (3, 15), 256 << 20  # least and most cold calls; most bytes to fill the caches with
PLAIN = (int, float, complex, str, bytes, bool, np.generic, type(None), np.dtype, type, range)


class Unknown:
    """The copy of a value that cannot be copied."""


def copied(value: Any) -> Any:
    """Return a copy of what a function could write into."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject is False:
        return value.copy(order="K")
    if isinstance(value, tuple | list):
        return type(value)(map(copied, value)) if type(value) in (tuple, list) else Unknown()
    return value if isinstance(value, PLAIN) or callable(value) else Unknown()


def differs(copy: Any, value: Any) -> bool:
    """Return whether a value is no longer what it was when it was copied."""
    if isinstance(copy, np.ndarray):
        return copy.tobytes() != value.tobytes()
    if isinstance(copy, tuple | list):
        return len(copy) != len(value) or any(map(differs, copy, value))
    return isinstance(copy, Unknown) or copy is not value


def restore(copy: Any, value: Any) -> None:
    """Make a value what it was when it was copied."""
    if isinstance(copy, np.ndarray):
        if value.flags.writeable:
            np.copyto(value, copy)
    elif isinstance(copy, list):
        value[:] = [part if isinstance(part, PLAIN) else old for part, old in zip(copy, value, strict=False)]
    elif isinstance(copy, tuple):
        for part, old in zip(copy, value, strict=True):
            restore(part, old)


class Calls:
    """Calls of a function with arguments that it may write into.

    Attributes
    ----------
    values
        The arguments of the next call.
    writes
        Whether the function writes into them; then every call finds them as the first one did.
    paging
        Of a call, in the last :meth:`times`: pages of memory that the system gave to it, and its share of the time.
    alone, away
        Whether it runs on one thread: then times are without those of other processes. The share of the time that these
        had its core.
    """

    def __init__(
        self, function: Any, values: tuple[Any, ...], make: Callable[[], tuple[Any, ...]] | None = None
    ) -> None:
        """Call the function once, to see whether it writes into its arguments."""
        self.function, self.values, self.make = function, values, make
        self.copies = copied(values)
        start = time.perf_counter()
        function(*values)
        self.first_s = time.perf_counter() - start
        self.writes = differs(self.copies, values)
        self.paging, self.away = (0.0, 0.0), 0.0
        self.alone = not getattr(function, "targetoptions", {}).get("parallel")

    def renew(self) -> tuple[Any, ...]:
        """Return the arguments for a call, as they were for the first one."""
        if self.writes:
            if self.make and any(isinstance(copy, Unknown | list) for copy in self.copies):
                self.values = self.make()
            else:
                restore(self.copies, self.values)
        return self.values

    def times(self, seconds: float, function: Callable[..., Any] | None = None, *, many: bool = False) -> list[float]:
        """Return the seconds of each of many calls (of another function, where one is given).

        `many`: until they together take so long, however many that are, as far as that is to be had in four times that.
        """
        call = function or self.function
        clock, watch = time.perf_counter, Stopwatch()
        values = self.renew()
        watch.start()
        call(*values)
        one = watch.stop()
        several = 1 if self.writes else max(1, min(1000, int(TIMED / max(one, 1e-8))))
        times: list[float] = []
        watch, began, before = Stopwatch(), clock(), usage()
        spent = 0.0
        while len(times) < CALLS[0] or going_on(spent if many else clock() - began, seconds, len(times), many):
            if len(times) >= LONG and clock() - began > (4 if many else 3) * seconds:
                break
            values = self.renew()
            watch.start()
            for _ in range(several):
                call(*values)
            took = watch.stop()
            times.append((took if self.alone else watch.last) / several)
            spent += watch.last
        pages, system, user, away = (now - then for now, then in zip(usage(), before, strict=True))
        share = min(1.0, system / max(1e-9, min(spent, user + system)))
        self.paging = pages / several / len(times), share
        self.away = min(1.0, watch.away / watch.wall if self.alone else away / (clock() - began))
        return times

    def cold_times(self, seconds: float) -> list[float]:
        """Return the seconds of some calls that find none of their data in this core's caches."""
        other = np.ones(min(COLDEST, 2 * max(cache_sizes().values())) // 8)
        times: list[float] = []
        began, watch = time.perf_counter(), Stopwatch()
        while len(times) < COLD[0] or (len(times) < COLD[1] and time.perf_counter() - began < seconds):
            values = self.renew()
            np.negative(other, out=other)
            watch.start()
            self.function(*values)
            times.append(watch.stop())
        return times


def usage() -> tuple[float, float, float, float]:
    """Return how many pages the system gave this process, its seconds in there, elsewhere, and in wait for a core."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0, 0.0, 0.0, 0.0
    used = resource.getrusage(resource.RUSAGE_SELF)
    return float(used.ru_minflt), used.ru_stime, used.ru_utime, all_waited()


def going_on(spent: float, seconds: float, count: int, many: bool) -> bool:
    """Return whether more calls are wanted."""
    return spent < seconds and (many or count < CALLS[1])
