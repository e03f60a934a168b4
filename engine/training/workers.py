"""Threads that wait for a program's calls: waking one takes a quarter of the time of starting one."""

import contextlib
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from lenumba.engine.common.errors import DataError

POLL_SECONDS = 0.05


class Job:
    """A call to be made once; `done` tells whether it is over. What is `kept` lives as long as it.

    Not an Event: an exception that a signal's handler raises while one is waited for may leave its lock taken.
    """

    def __init__(self, arguments: Sequence[Any], kept: Any = None) -> None:
        self.arguments, self.kept = arguments, kept
        self.done = False
        self.running = threading.Lock()
        self.running.acquire()

    def end(self) -> None:
        """Tell that the call is over."""
        if not self.done:
            self.done = True
            self.running.release()

    def wait(self, seconds: float) -> bool:
        """Wait for the call for at most so long; return whether it is over."""
        if not self.done:
            self.running.acquire(timeout=seconds)
        return self.done


class Workers:
    """Threads that call `function` with each job's arguments.

    They end with this object. After a fork the child process has none of them and starts its own.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.queues: list[queue.SimpleQueue] = []
        self.process = os.getpid()
        weakref.finalize(self, dismiss, self.queues)

    @property
    def inherited(self) -> bool:
        """Whether this process was forked from the one whose threads they are, and has none of them."""
        return self.process != os.getpid()

    def start(self, count: int) -> None:
        """See to it that there are `count` threads; RuntimeError where the system gives no more."""
        if self.inherited:
            self.queues.clear()
            self.process = os.getpid()
        while len(self.queues) < count:
            waiting: queue.SimpleQueue = queue.SimpleQueue()
            threading.Thread(target=work, args=(self.function, waiting), daemon=True).start()
            self.queues.append(waiting)

    def give(self, jobs: Sequence[Job]) -> None:
        """Give each job to a thread of its own. To give one twice, after an interruption, does no harm."""
        for job, waiting in zip(jobs, self.queues, strict=False):
            waiting.put(job)

    def run(self, jobs: Sequence[Job], watch: Callable[[], None], stop: Callable[[], None]) -> None:
        """Do each job in a thread of its own and wait, letting signals through.

        `watch` is called about 20 times a second, `stop` is to end the jobs. Whatever happens in the main thread, none
        is running afterwards: what they work on is about to be freed.
        """
        try:
            self.start(len(jobs))
        except RuntimeError as error:
            raise DataError(
                f"threads: expected {len(jobs)}, found no more to be had ({error}); lower train.threads"
            ) from None
        try:
            self.give(jobs)
            due = time.monotonic() + POLL_SECONDS
            for job in jobs:
                while not job.wait(POLL_SECONDS / 5):
                    if time.monotonic() >= due:
                        watch()
                        due = time.monotonic() + POLL_SECONDS
        except BaseException:
            stop()
            self.give(jobs)  # those that have begun would wait for the others at the barrier for ever
            raise
        finally:
            for job in jobs:
                while not job.done:
                    with contextlib.suppress(KeyboardInterrupt):  # impatience ends nothing any sooner
                        job.wait(1.0)


def work(function: Callable[..., Any], jobs: queue.SimpleQueue) -> None:
    """Do jobs until None comes."""
    while (job := jobs.get()) is not None:
        if not job.done:
            function(*job.arguments)
            job.end()
        del job  # or it would live until the next one comes


def dismiss(queues: Sequence[queue.SimpleQueue]) -> None:
    """Let the threads of these queues end."""
    for waiting in queues:
        waiting.put(None)
