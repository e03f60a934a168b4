"""The parent's side of a study's workers: starting them, talking to them, noticing their deaths and their silence."""

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lenumba.engine.tuning.hosts import Connected, Hosts
from lenumba.engine.tuning.worker import COMMAND

POLL_SECONDS = 0.25
SILENCE_SECONDS = 600.0  # a worker that works tells so every second, but for LLVM's longest step


@dataclass
class Worker:
    """A worker process; `task` is what it works on, None while it is idle; `compiling` whether it does so now.

    `heard` is when it last said something; `why`, the reason that it ends for, as far as it is known.
    """

    process: subprocess.Popen | Connected
    number: int
    task: Any = None
    compiling: bool = False
    rest: bytes = b""
    heard: float = field(default_factory=time.monotonic)
    why: str = ""

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a message; a worker that it does not reach is ended, or both would wait for ever."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except ConnectionError:  # it is dead, which shows where its answers end
            return
        except OSError as error:
            self.end(f"cannot be told its task: {error.strerror}")

    def end(self, why: str) -> None:
        """Kill the process; that it is dead shows where its answers end."""
        self.why = self.why or why
        self.process.kill()


class Pool:
    """Worker processes, used as a context.

    Parameters
    ----------
    jobs
        How many.
    settings
        What all of them need to know, see :class:`lenumba.engine.tuning.worker.Worker`.
    hosts
        Where those of other ranks connect to: all but one then are theirs.
    """

    def __init__(self, jobs: int, settings: Mapping[str, Any], hosts: Hosts | None = None) -> None:
        self.jobs, self.settings, self.hosts = jobs, settings, hosts
        self.workers: list[Worker] = []
        self.started = 0

    def __enter__(self) -> "Pool":
        self.selector = selectors.DefaultSelector()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hosts:
            self.hosts.close()
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            self._bury(worker)
        self.selector.close()

    def _start(self) -> Worker:
        pipe = subprocess.PIPE
        # A group of its own keeps the terminal's Ctrl-C away: the parent decides what it means.
        process = subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, process_group=0)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return self._take_on(process)

    def _take_on(self, process: subprocess.Popen | Connected) -> Worker:
        worker = Worker(process, self.started)
        self.started += 1
        self.workers.append(worker)
        assert process.stdout is not None
        self.selector.register(process.stdout.fileno(), selectors.EVENT_READ, worker)
        settings = self.settings
        if isinstance(process, Connected):
            train = {**settings["base"]["train"], "threads": process.threads}
            settings = {**settings, "base": {**settings["base"], "train": train}}
        worker.say(settings)
        return worker

    def _bury(self, worker: Worker) -> int:
        assert worker.process.stdout is not None
        assert worker.process.stdin is not None
        self.selector.unregister(worker.process.stdout.fileno())
        worker.process.stdout.close()
        with contextlib.suppress(OSError):
            worker.process.stdin.close()
        return worker.process.wait()

    def idle(self) -> Iterator[Worker]:
        """Yield the workers without a task, starting those that are missing."""
        for process in self.hosts.connected() if self.hosts else ():
            self._take_on(process)
        own = sum(not isinstance(worker.process, Connected) for worker in self.workers)
        for _ in range(own, 1 if self.hosts else self.jobs):
            self._start()
        yield from [worker for worker in self.workers if worker.task is None]

    def dismiss(self, worker: Worker) -> None:
        """End a worker, whatever it is doing."""
        self.workers.remove(worker)
        worker.process.kill()
        self._bury(worker)

    @property
    def tasks(self) -> list[Any]:
        """What the workers work on."""
        return [worker.task for worker in self.workers if worker.task is not None]

    @property
    def compiling(self) -> int:
        """How many workers compile a network now."""
        return sum(worker.compiling for worker in self.workers)

    def give(self, worker: Worker, task: Any, job: Mapping[str, Any]) -> None:
        """Give a worker a task: `job` is what it is told."""
        worker.task, worker.heard = task, time.monotonic()
        worker.say(job)

    def answers(self, timeout: float = POLL_SECONDS) -> Iterator[tuple[Worker, dict[str, Any]]]:
        """Yield what the workers have said within `timeout` seconds; the last of a dead one is ``{"event": "died"}``.

        A worker is free again before ``done``, ``failed``, ``diverged`` or ``died`` is yielded; its task is the
        answer's ``task``. One that has been silent for too long is ended.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            events = self.selector.select(left)
            for key, _ in events:
                yield from self._read(key.data)
            if events:
                return
        for worker in self.workers:
            if worker.task is not None and time.monotonic() - worker.heard > SILENCE_SECONDS:
                worker.end(f"silent for {SILENCE_SECONDS:.0f} seconds")

    def _read(self, worker: Worker) -> Iterator[tuple[Worker, dict[str, Any]]]:
        assert worker.process.stdout is not None
        try:
            content = os.read(worker.process.stdout.fileno(), 1 << 20)
        except ConnectionError:
            content = b""
        worker.heard = time.monotonic()
        *lines, worker.rest = (worker.rest + content).split(b"\n")
        for line in lines:
            try:
                answer = {**json.loads(line), "task": worker.task}
            except ValueError:  # of a worker that died within a line, to which its rank has added another
                continue
            if answer["event"] == "alive":
                continue
            if answer["event"] == "ends":
                worker.why = worker.why or answer["why"]
                continue
            worker.compiling = answer["event"] == "compiling"
            if answer["event"] in ("done", "failed", "diverged"):
                worker.task = None
            yield worker, answer
        if not content:
            self.workers.remove(worker)
            code = self._bury(worker)
            task, worker.task = worker.task, None
            how = f"died of signal {-code}" if code < 0 else f"ended with exit code {code}"
            how = f"its worker{getattr(worker.process, 'where', '')} {how}"
            yield worker, {"event": "died", "why": worker.why or how, "task": task}
