"""The processes (ranks) of a job that work together, seen from one of them."""

import atexit
import contextlib
import functools
import itertools
import logging
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from lenumba.engine.common.errors import DataError, InterruptedRunError
from lenumba.engine.common.host import available_threads, versions
from lenumba.engine.common.interrupts import Graceful, farewells, received, vanish
from lenumba.engine.ranks.launch import INSTALL, SAME_MPI, Launch, give_up, go_alone, known, launched
from lenumba.engine.ranks.shared import map_shared

T = TypeVar("T")
#: So many ranks share their memory as if they were a machine of their own; without it, those that can.
TOGETHER = "LENUMBA_RANKS_PER_MACHINE"
POLL_SECONDS = 0.02
APART = 128  # bytes between shared arrays: what packs pixels reads a little further than they go


class Alone:
    """A process on its own: what a :class:`Team` does for several, done for one.

    Attributes
    ----------
    rank, size
        This process's number, and how many there are. Rank 0 leads: it alone reads and writes run folders.
    machine, machines
        The machine's number, and how many there are. The ranks of a machine share memory.
    local_rank, local_size
        This process's number among those of its machine.
    """

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores

    rank, size = 0, 1
    machine, machines = 0, 1
    local_rank, local_size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def threads(self) -> int:
        """Return how many threads this process should have: its share of the cores."""
        return self.cores or available_threads()

    @property
    def own(self) -> "Alone":
        """A rank as one that trains on its own, with its share of the cores."""
        return self

    def barrier(self) -> None:
        """Wait for all ranks."""

    def wait(self) -> None:
        """Wait for all ranks for long: without using a core, and letting signals through."""

    def meet(self) -> None:
        """Wait for the ranks of this machine."""

    def largest(self, number: int) -> int:
        """Return the largest of the ranks' numbers."""
        return number

    def told(self, value: T) -> T:
        """Return rank 0's value."""
        return value

    def every(self, value: T) -> list[T]:
        """Return all ranks' values, in their order."""
        return [value]

    def differing(self, value: object) -> str:
        """Return which rank is the first with another value than rank 0's, and where it is; nothing where none is."""
        return ""

    def collected(self, value: T) -> list[T]:
        """Return all ranks' values in rank 0, nothing in the others."""
        return [value]

    def counter(self) -> Callable[[], int]:
        """Return a function that gives 0, 1, 2, …, each number to one caller among the ranks and their threads."""
        return itertools.count().__next__

    def share_out(self, count: int, work: Callable[[int], T], resume: str = "") -> list[T]:
        """Return what `work` makes of 0, 1, … count − 1, each done by a rank that is free.

        `resume` is the command that goes on after a signal. A signal to one rank ends all.
        """
        return [work(number) for number in range(count)]

    def resumes_with(self, command: str) -> None:
        """Let the line about a rank that died say what goes on with the work."""

    def on_its_own(self) -> contextlib.AbstractContextManager[None]:
        """Let a signal that another rank passes on reach this one, while it does not work in step with the others."""
        return contextlib.nullcontext()

    def pass_on(self, signal: int) -> None:
        """Pass a signal on to the ranks that work on their own, but for those that have had one."""

    def share(self, make: Callable[[], T]) -> T:
        """Return what the machine's first rank makes; its arrays, which nobody may change, lie in shared memory."""
        return make()

    def part(self, count: int, rank: int | None = None) -> tuple[int, int]:
        """Return from which to which of `count` things are a rank's, this one's by default."""
        rank = self.rank if rank is None else rank
        return count * rank // self.size, count * (rank + 1) // self.size

    def gather(self, array: np.ndarray, ends: Sequence[int]) -> None:
        """Fill an array [ends[-1], …] everywhere, of which each rank has the rows up to its end."""


ALONE = Alone()


class Team(Alone):
    """All ranks of an MPI communicator. Every method but `part` and `threads` is to be called by all of them."""

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        from lenumba.engine.ranks.watch import Watched, start_watch

        super().__init__()
        self.comm, self.mpi, self.shared_out = comm, MPI, 0
        self.rank, self.size = comm.rank, comm.size
        if other := self.differing({**versions(), "python": ""}):
            told = ", ".join(f"{name} {number}" for name, number in self.told(versions()).items())
            raise DataError(f"{other} has other versions than rank 0 ({told}); install the same on all machines")
        together = os.environ.get(TOGETHER, "")
        if together.isdecimal() and int(together):
            self.node = comm.Split(self.rank // int(together), self.rank)
        else:
            self.node = comm.Split_type(MPI.COMM_TYPE_SHARED, self.rank)
        self.local_rank, self.local_size = self.node.rank, self.node.size
        #: The first ranks of all machines; None on the others.
        self.firsts = comm.Split(0 if self.local_rank == 0 else MPI.UNDEFINED, self.rank)
        numbers = (self.firsts.rank, self.firsts.size) if self.local_rank == 0 else None
        self.machine, self.machines = self.node.bcast(numbers)
        self.cores = self._cores()
        place = self.told(start_watch(self.size) if self.leads else ("", 0, ""))
        self.watched = Watched(place, self.rank, vanish, received)
        if not self.leads:  # what is no error is told once
            logging.getLogger("lenumba").setLevel(logging.ERROR)
        farewells.extend((self.watched.leave, go_alone))
        atexit.register(self._leave)  # for programs that are not the command line

    def _leave(self) -> None:
        if not self.watched.leaving:
            self.watched.leave(int(hasattr(sys, "last_value")))  # where an exception ended the program

    def _cores(self) -> int:
        """Return this rank's share of the cores that the ranks of its machine may use."""
        if not hasattr(os, "sched_getaffinity"):
            return max(1, available_threads() // self.local_size)
        here: set[tuple[str, int]] = set()
        for host, cores in self.comm.allgather((self.mpi.Get_processor_name(), os.sched_getaffinity(0))):
            here |= {(host, core) for core in cores}
        host = self.mpi.Get_processor_name()
        ranks = self.comm.allgather(host).count(host)
        return max(1, sum(name == host for name, _ in here) // ranks)

    @property
    def own(self) -> Alone:  # noqa: D102
        return Alone(self.cores)

    def barrier(self) -> None:  # noqa: D102
        self.comm.Barrier()

    def meet(self) -> None:  # noqa: D102
        self.node.Barrier()

    def largest(self, number: int) -> int:  # noqa: D102
        return self.comm.allreduce(number, self.mpi.MAX)

    def told(self, value: T) -> T:  # noqa: D102
        return self.comm.bcast(value)

    def every(self, value: T) -> list[T]:  # noqa: D102
        return self.comm.allgather(value)

    def differing(self, value: object) -> str:  # noqa: D102
        found = self.every((value, socket.gethostname()))
        places = [f"rank {rank} on {host}" for rank, (other, host) in enumerate(found) if other != found[0][0]]
        return places[0] if places else ""

    def collected(self, value: T) -> list[T]:  # noqa: D102
        return self.comm.gather(value) or []

    def counter(self) -> Callable[[], int]:  # noqa: D102
        name = f"work-{self.shared_out}"
        self.shared_out += 1
        return functools.partial(self.watched.next_number, name)

    def zeros(self, size: int, dtype: type = np.float32) -> np.ndarray:
        """Return zeros [size], aligned, in memory that the ranks of this machine share."""
        return map_shared(self.node, size * np.dtype(dtype).itemsize).view(dtype)

    def share_out(self, count: int, work: Callable[[int], T], resume: str = "") -> list[T]:  # noqa: D102
        next_number, found, stopped = self.counter(), {}, None
        with self.on_its_own(), Graceful(lambda: None) as interruption:
            try:
                while not interruption.signal and (number := next_number()) < count:
                    found[number] = work(number)
            except InterruptedRunError as error:
                stopped = error
                self.pass_on(error.signal)
            self.wait()
        if signal := self.largest(interruption.signal or (stopped.signal if stopped else 0)):
            raise stopped or InterruptedRunError("", None, signal, resume)
        parts = self.every(found)
        return [next(part[number] for part in parts if number in part) for number in range(count)]

    def wait(self) -> None:  # noqa: D102
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(POLL_SECONDS)

    def resumes_with(self, command: str) -> None:  # noqa: D102
        self.watched.tell_how_to_resume(command)

    def on_its_own(self) -> contextlib.AbstractContextManager[None]:  # noqa: D102
        return self.watched.on_its_own()

    def pass_on(self, signal: int) -> None:  # noqa: D102
        self.watched.say(f"signal {signal}")

    def share(self, make: Callable[[], T]) -> T:  # noqa: D102
        if self.local_size == 1:
            return make()
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(make(), 5, buffer_callback=buffers.append) if self.local_rank == 0 else b""
        head, sizes = self.node.bcast((head, [buffer.raw().nbytes for buffer in buffers]))
        starts = np.cumsum([0] + [-(-size // APART) * APART + APART for size in sizes])
        memory = map_shared(self.node, int(starts[-1]))
        places = [memory[start : start + size] for start, size in zip(starts, sizes, strict=False)]
        for place, buffer in zip(places, buffers, strict=False):
            place[:] = np.frombuffer(buffer.raw(), np.uint8)
        self.meet()
        return pickle.loads(head, buffers=[place.data.toreadonly() for place in places])

    def gather(self, array: np.ndarray, ends: Sequence[int]) -> None:  # noqa: D102
        row = array[:1].nbytes
        counts = [row * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
        starts = [row * start for start in [0, *ends[:-1]]]
        self.comm.Allgatherv(self.mpi.IN_PLACE, [array, counts, starts, self.mpi.BYTE])


@functools.cache
def current() -> Alone:
    """Return the team that this process was started in; where it was started alone, :data:`ALONE`.

    Raises
    ------
    DataError
        Where a launcher started several processes, but MPI is not installed.
    """
    launch = launched()
    if launch is None:
        return ALONE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # without a library of MPI, mpi4py raises the latter
        asked = "--mpi asks" if launch.size == 0 else f"{launch.launcher} started {launch.size} processes, which asks"
        farewells.append(give_up)
        missing = "mpi4py" if isinstance(error, ImportError) else "a library of MPI"
        raise DataError(f"{asked} for MPI: expected {missing}, found none; {INSTALL}") from None
    if MPI.COMM_WORLD.size == 1 and launch.size > 1:
        vendor, version = MPI.get_vendor()
        advice = SAME_MPI.get(launch.launcher, "use the mpirun of the same MPI")
        raise DataError(
            f"{launch.launcher} started {launch.size} processes, but each is alone in the MPI of mpi4py "
            f"({vendor} {'.'.join(map(str, version))}); {advice}"
        )
    if launch.size == 0:
        known.append(Launch("--mpi", MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size))
    return ALONE if MPI.COMM_WORLD.size == 1 else Team(MPI.COMM_WORLD)
