"""Seconds that code takes, without those for which it was ready to run but other processes had the core."""

import contextlib
import os
import threading
import time
from pathlib import Path

QUICK = 5e-5  # seconds of two readings: longer, and another process had the core in between
own = threading.local()


def read_wait(file: int) -> float:
    """Return the seconds that Linux says a thread has waited for a core: the second number of its ``schedstat``."""
    return int(os.pread(file, 100, 0).split()[1]) / 1e9


def waited() -> float:
    """Return the seconds that this thread has waited for a core so far; 0 where the system does not tell."""
    if not hasattr(own, "file"):
        try:
            own.file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
            read_wait(own.file)
        except (OSError, ValueError, IndexError):
            own.file = None
    return read_wait(own.file) if own.file is not None else 0.0


def all_waited() -> float:
    """Return the seconds that all threads of this process have waited for a core so far."""
    total = 0.0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(path.read_text().split()[1]) / 1e9
    return total


class Stopwatch:
    """Times what runs between :meth:`start` and :meth:`stop`, on this thread.

    Attributes
    ----------
    wall, away
        Seconds that passed in all measurements together, and for how many of them others had the core.
    last
        Seconds that passed in the last one.
    """

    def __init__(self) -> None:
        self.wall = self.away = self.last = 0.0

    def start(self) -> None:
        """Begin."""
        while True:
            before = time.perf_counter()
            self.before = waited()
            self.begin = time.perf_counter()
            if self.begin - before < QUICK:
                return

    def stop(self) -> float:
        """Return the seconds since then, without those that others had the core."""
        end = time.perf_counter()
        away = waited() - self.before
        if time.perf_counter() - end > QUICK:
            away = 0.0  # it may have been in between
        self.last = end - self.begin
        self.wall += self.last
        self.away += away
        return max(1e-9, self.last - away)
