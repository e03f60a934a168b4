"""What the machines of a job exchange in the course of a batch, so that the sums are those of one machine.

Each machine has taken a run of the batch's shards. Summing needs all of them, in their order: of every shard each
machine gets the part of the gradient that it updates, and gives back the parameters. That is as much as is computed,
whatever the number of machines: shards of the gradient one way, the parameters the other.
"""

import ctypes
import logging
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lenumba.engine.common.errors import one_line
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import Optimizer
from lenumba.engine.ranks.team import Team
from lenumba.kernels.constants import GRADIENTS, LANES, SQUARES, STOP, SUMS
from lenumba.kernels.program.plan import Place

log = logging.getLogger("lenumba")
FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
ROWS = 4  # of sums, a norm's for one block


class Exchange:
    """The exchange of the first ranks of all machines, each of which speaks for its machine.

    Attributes
    ----------
    address
        Of the function that programs call: see :class:`lenumba.kernels.program.arguments.Run`.
    seconds
        How long all exchanges have taken so far.
    """

    def __init__(self, team: Team, network: Network, optimizer: Optimizer) -> None:
        self.comm, self.mpi, self.network = team.firsts, team.mpi, network
        self.machine, self.machines = team.machine, team.machines
        self.function = FUNCTION(self.call)
        self.address = ctypes.cast(self.function, ctypes.c_void_p).value or 0
        self.slices = [network.size // LANES * k // self.machines for k in range(self.machines + 1)]
        self.sums = sums_of(network, optimizer)
        self.statistics = np.concatenate([np.zeros(0, np.int64), *statistics_of(network)])
        self.seconds = 0.0
        self.types: dict[tuple[int, ...], Any] = {}

    def begin(self, count: int, batch_size: int, stride: int, **arrays: np.ndarray) -> None:
        """Prepare for a part of an epoch of `count` images.

        `arrays`: control, gradients [shards · size], results, squares and theta, as programs take them; and `blocks`,
        where blocks wait for one another, each `stride` floats from the next.
        """
        self.count, self.batch_size, self.stride, self.arrays = count, batch_size, stride, arrays

    def call(self, stage: int, batch: int, segment: int) -> int:
        """Exchange; where that fails, end the process: the others would wait for ever."""
        start = time.perf_counter()
        try:
            return self.exchange(stage, batch, segment)
        except BaseException as error:
            log.error("rank %d: the exchange failed (%s)", self.comm.rank, one_line(error))
            os._exit(3)
        finally:
            self.seconds += time.perf_counter() - start

    def exchange(self, stage: int, batch: int, segment: int) -> int:
        """Exchange what belongs to a stage; of GRADIENTS, return whether any machine is to stop."""
        images = min(self.batch_size, self.count - batch * self.batch_size)
        blocks = -(-images // self.network.unit)
        shards = min(blocks, self.network.max_shards)
        ends = [-(-shards * k // self.machines) for k in range(self.machines + 1)]
        if stage == SUMS:
            self.exchange_sums(segment, [blocks * end // shards for end in ends])
        elif stage == GRADIENTS:
            self.exchange_gradients(ends)
            return self.exchange_results(ends)
        else:
            name, vector, kind = ("squares", 1, "DOUBLE") if stage == SQUARES else ("theta", LANES, "FLOAT")
            self.allgather(self.arrays[name], [vector * end for end in self.slices], getattr(self.mpi, kind))
        return 0

    def allgather(self, array: np.ndarray, ends: Sequence[int], kind: Any) -> None:
        """Fill an array of which each machine has a part."""
        counts = [end - start for start, end in pairwise(ends)]
        self.comm.Allgatherv(self.mpi.IN_PLACE, [array, counts, list(ends[:-1]), kind])

    def exchange_sums(self, segment: int, ends: Sequence[int]) -> None:
        """Give what each block knows for a norm to the others; `ends`: from which block to which each machine's are."""
        place, row = self.sums[segment]
        size = ROWS * row
        kind = self.kept(
            (size, self.stride),
            lambda: self.mpi.FLOAT.Create_contiguous(size).Create_resized(0, 4 * self.stride),
        )
        self.allgather(self.arrays["blocks"][place.offset :], ends, kind)

    def exchange_gradients(self, ends: Sequence[int]) -> None:
        """Take from every shard the part that this machine updates, and give the others theirs."""
        gradients, size, me = self.arrays["gradients"], self.network.size, self.machine
        mine = ends[me + 1] - ends[me]

        def part(rows: int, of: int) -> Any:
            """Return the type of so many shards' parts that a machine updates."""
            width = LANES * (self.slices[of + 1] - self.slices[of])
            return self.kept((rows, width, size), lambda: self.mpi.FLOAT.Create_vector(rows, width, size))

        others = [k for k in range(self.machines) if k != me]
        requests = []
        for k in others:
            if rows := ends[k + 1] - ends[k]:
                place = gradients[ends[k] * size + LANES * self.slices[me] :]
                requests.append(self.comm.Irecv([place, 1, part(rows, me)], k))
        for k in others:
            if mine:
                place = gradients[ends[me] * size + LANES * self.slices[k] :]
                requests.append(self.comm.Isend([place, 1, part(mine, k)], k))
        self.mpi.Request.Waitall(requests)
        own = gradients[ends[me] * size : ends[me + 1] * size].reshape(mine, size)
        own[:, : LANES * self.slices[me]] = 0  # the next batch adds to them
        own[:, LANES * self.slices[me + 1] :] = 0
        if len(self.statistics):  # which the first block's machine has moved
            moved = self.arrays["theta"][self.statistics]
            self.comm.Bcast(moved, 0)
            self.arrays["theta"][self.statistics] = moved

    def exchange_results(self, ends: Sequence[int]) -> int:
        """Give the shards' results to all; return whether any machine is to stop."""
        results = self.arrays["results"]
        told = np.zeros(8 * ends[-1] + self.machines)
        starts = [8 * end + k for k, end in enumerate(ends)]
        here = told[starts[self.machine] : starts[self.machine + 1]]
        here[:-1], here[-1] = results[8 * ends[self.machine] : 8 * ends[self.machine + 1]], self.arrays["control"][STOP]
        self.allgather(told, starts, self.mpi.DOUBLE)
        for k in range(self.machines):
            results[8 * ends[k] : 8 * ends[k + 1]] = told[starts[k] : starts[k + 1] - 1]
        return int(any(told[start - 1] for start in starts[1:]))

    def kept(self, key: tuple[int, ...], make: Any) -> Any:
        """Return a data type, made once."""
        if key not in self.types:
            self.types[key] = make().Commit()
        return self.types[key]

    def gather_state(self, state: np.ndarray) -> None:
        """Give each machine's part of the optimiser's state, float32 [states · size], to all."""
        for start in range(0, len(state), self.network.size):
            part = state[start : start + self.network.size]
            self.allgather(part, [LANES * end for end in self.slices], self.mpi.FLOAT)


def sums_of(network: Network, optimizer: Optimizer) -> dict[int, tuple[Place, int]]:
    """Return by segment where the sums lie in a block's memory that it begins with, and how long their rows are."""
    found = {}
    for number, steps in enumerate(network.plan(optimizer).segments):
        if number:
            first = steps[0].calls[0]
            place = first["others"]
            assert isinstance(place, Place)
            found[number] = (place, first.numbers["ROW"])
    return found


def statistics_of(network: Network) -> list[np.ndarray]:
    """Return the numbers in `theta` of the parameters that move without a gradient."""
    found = []
    for unit in network.units:
        for parameter in unit.parameters:
            if not parameter.learned:
                start = network.offsets[f"{unit.name}.{parameter.name}"]
                found.append(np.arange(start, start + int(np.prod(parameter.shape))))
    return found
