"""Ctrl-C, SIGTERM and a terminal that hangs up.

A handler sets a flag that a loop reads, or ends the process. It never raises an exception where that can be helped:
between any two instructions it may leave a lock taken for ever, or be lost in a library that calls Python from C.
"""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from lenumba.engine.common.files import unfinished

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def handled() -> Iterator[int]:
    """Yield the signals to handle: those that this thread gets; not SIGHUP where nohup has had it ignored."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                yield number


#: Called with the exit code before the process ends at once.
farewells: list[Callable[[int], None]] = []
#: The signals that came while there was something to end.
received: list[int] = []


def vanish(code: int) -> None:
    """End the process at once, with nothing half-written left behind."""
    for path in list(unfinished):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for farewell in farewells:
        farewell(code)
    os._exit(code)


def leave(stderr: int, number: int, frame: FrameType | None = None) -> None:
    """Handle a signal by ending the process at once, with one line on stderr; -1: with none."""
    with contextlib.suppress(OSError):
        os.write(stderr, b"\n" * os.isatty(stderr) + b"error: interrupted\n")  # below a bar
    vanish(128 + number)


@contextlib.contextmanager
def leaving(*, silent: bool = False) -> Iterator[None]:
    """Let a signal end the process at once, as long as the context lasts; without a word where that is `silent`."""
    stderr = -1 if silent else 2
    with contextlib.suppress(OSError):
        stderr = -1 if silent else os.dup(2)  # descriptor 2 itself leads to a file while LLVM's remarks are caught
    previous = {number: signal.signal(number, functools.partial(leave, stderr)) for number in handled()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if stderr > 2:
            os.close(stderr)


class Graceful:
    """A context in which the first signal calls `stop`, and a second one does what it would do outside of it.

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
        self.previous = {number: signal.signal(number, self._receive) for number in handled()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._pass_on(number, frame)
        self.signal = number
        received.append(number)
        self.stop()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = self.previous[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


class Unmissed(Graceful):
    """A context that passes a signal on when it comes, and once more at its end.

    While LLVM compiles it calls back into Python, and an exception that a handler raises in there is lost: that of
    Python itself for Ctrl-C, where lenumba is used as a library.
    """

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None and self.signal is not None:
            self._pass_on(self.signal, None)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._pass_on(number, frame)
