"""Ctrl-C and SIGTERM during a job that must end in good order."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, made an exception as Ctrl-C is, so that what cleans up after the one does after the other."""


def leave(number: int, frame: FrameType | None = None) -> None:
    """Handle a signal by leaving at once, as Python does for SIGINT alone."""
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


class Graceful:
    """A context in which the first SIGINT or SIGTERM calls `stop`, and a second one leaves at once.

    Outside the main thread, where Python delivers no signals, it changes nothing.

    Attributes
    ----------
    signal
        The number of the signal that came, or None.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.signal: int | None = None

    def __enter__(self) -> "Graceful":
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            leave(number)
        self.signal = number
        self.stop()


class Unmissed(Graceful):
    """A context that leaves at once on a signal, and at its end at the latest.

    While LLVM compiles it calls back into Python, and an exception that a signal raises in there is lost.
    """

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None and self.signal is not None:
            leave(self.signal)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        leave(number)
