"""Runs a network's compiled program: aligned buffers, worker threads, the stop flag and progress."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from lenumba.engine.data.normalization import Normalization
from lenumba.engine.network.network import Network
from lenumba.engine.network.optimizers import Optimizer
from lenumba.engine.ranks.team import ALONE, Alone, Team
from lenumba.engine.training.answering import COUNT, Company, Request, Weights, mean_loss
from lenumba.engine.training.buffers import address, aligned
from lenumba.engine.training.exchange import Exchange
from lenumba.engine.training.workers import Job, Workers
from lenumba.kernels.compile.native import Native
from lenumba.kernels.constants import (
    CLAIMS_SIZE,
    CONTROL_SIZE,
    EVALUATE,
    HYPER_COLUMNS,
    LANES,
    PROGRESS,
    SENT_AWAY,
    SERVE,
    STOP,
    TRAIN,
)
from lenumba.kernels.program.arguments import PACKED, Run

PARAMETERS_PER_WORKER = 1 << 16
SHORT_CALL = 1e7  # multiply-adds of an evaluation, about 100 µs: a thread that wakes for it would come too late
PIECE_CALL = 1e6  # of one image, about 20 µs: less is not worth another thread
BRIEF_CALL = 1e9  # about 10 ms: nobody notices that signals wait for it
SPIN_SECONDS = 0.001  # how long a thread that was woken for an evaluation waits for the next one before it sleeps


class Executor:
    """A network's parameters, optimiser state and buffers, and the calls of its program.

    Parameters
    ----------
    network, program, optimizer
        The network, its compiled program, and the optimiser that it was compiled with.
    normalization
        What the program does with pixels.
    threads
        Worker threads; the results do not depend on their number.
    spin_seconds
        How long a thread that was woken for an evaluation waits for the next one, awake; 0: it sleeps at once.
    spare
        Floats behind each worker's memory, for a program that keeps more there than the network's layout has.
    team
        The ranks that train and evaluate together, each of which is to call both alike; alone by default.

    Attributes
    ----------
    theta, state, weights
        float32 [network.size] and [states · network.size]: parameters, optimiser state; what evaluation takes for them.
    judged
        float32 [network.size]: the parameters to validate and keep: `theta`, or its moving average where one is kept.
    """

    def __init__(
        self,
        network: Network,
        program: Native,
        optimizer: Optimizer,
        *,
        normalization: Normalization,
        threads: int,
        smoothing: float = 0.0,
        spin_seconds: float = SPIN_SECONDS,
        spare: int = 0,
        team: Alone = ALONE,
    ) -> None:
        self.team = team
        self.network, self.program, self.optimizer, self.threads = network, program, optimizer, threads
        self.theta = self._shared(network.size)
        self.state = self._shared(optimizer.states * network.size)
        self.judged = self.state[-network.size :] if optimizer.average else self.theta
        self.decay = aligned(network.size // LANES)
        self.decay[:] = network.decay_mask()
        self.max_shards = network.max_shards
        self.gradients = aligned(0)
        size = CONTROL_SIZE + CLAIMS_SIZE * threads * team.local_size
        self.control = aligned(size, np.int64)  # evaluations are each rank's own; those who train share `meeting`
        self.meeting = self._shared(size, np.int64) if team.local_size > 1 else self.control
        self.totals = self._shared(2, np.float64)
        squares = network.size // LANES if optimizer.max_norm else 0
        self.results = self._shared(8 * self.max_shards + squares, np.float64)
        self.company = Company()
        self.done = 0
        self.scale = aligned(network.input_shape[0])
        self.shift = aligned(network.input_shape[0])
        self.normalize(normalization)
        self.multiply_adds = network.multiply_adds  # once, as it takes longer than a small network
        self.spare = spare
        self.weights = Weights(network, self.theta)
        fixed = {"control": self.control, "scale": self.scale, "shift": self.shift}
        fixed |= {"theta": self.theta, "state": self.state, "decay": self.decay, "company": self.company.places}
        addresses = {name: address(array) for name, array in fixed.items()}
        self.exchange = None
        if isinstance(team, Team) and team.machines > 1 and team.local_rank == 0:
            self.exchange = Exchange(team, network, optimizer)
        self.template = Run(*[0] * len(Run._fields))._replace(
            **addresses, max_shards=self.max_shards, smoothing=smoothing, patience=int(1e9 * spin_seconds),
            machine=team.machine, machines=team.machines, exchange=self.exchange.address if self.exchange else 0,
        )  # fmt: skip
        self.workers = Workers(program)
        self.provide(threads)
        self.evaluating = threading.Lock()

    def provide(self, count: int) -> None:
        """Have memory for `count` workers, or for as many blocks of a batch where these wait for one another."""
        size, layout = self.network.layout.size + self.spare, self.network.layout
        self.memory, self.provided = [], count  # before there is new memory
        waits, together = self.network.sees_batch, self.team.local_size > 1
        self.blocks = self._shared(count * size if waits else 0)
        blocks = [self.blocks[k * size : (k + 1) * size] for k in range(count if waits else 0)]
        # Blocks are common to all ranks of a machine; what a worker keeps beside them is its own.
        self.memory = blocks if waits and not together else [aligned(size) for _ in range(self.threads)]
        for work in [*blocks, *self.memory] if together else self.memory:
            layout.fill(work[: layout.size])
        self.works = [address(work) for work in self.memory]
        self.template = self.template._replace(blocks=address(self.blocks) if waits else self.works[0], stride=size)
        self.company.serving = []  # they have the memory that was
        self.request = self._request(LANES)

    def _shared(self, size: int, dtype: type = np.float32) -> np.ndarray:
        """Return aligned zeros [size] that the ranks of this machine have in common."""
        if isinstance(self.team, Team) and self.team.local_size > 1:
            return self.team.zeros(size, dtype)
        return aligned(size, dtype)

    def normalize(self, normalization: Normalization) -> None:
        """From now on do this with pixels."""
        self.scale[:], self.shift[:] = normalization.scale, normalization.shift

    def smooth(self, smoothing: float) -> None:
        """From now on smooth the labels of the loss by so much."""
        self.template = self.template._replace(smoothing=smoothing)
        self.request = self._request(len(self.request.order))

    def stop(self) -> None:
        """Ask the running call, or else the next one, to end after its batch. Safe from a signal handler."""
        self.control[STOP] = self.meeting[STOP] = 1

    def train(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        order: np.ndarray,
        batch_size: int,
        hyper: np.ndarray,
        *,
        key: int = 0,
        first_batch: int = 0,
        last_batch: int | None = None,
        totals: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        watch: Callable[[int, float, float], None] | None = None,
    ) -> tuple[int, np.ndarray]:
        """Train on one epoch's batches.

        Parameters
        ----------
        images, labels, order
            uint8 [N, C, H, W]; int64 [N], or float32 [N, outputs] where each output has a number of its own; and int64
            [count]: the images in this epoch's order.
        hyper
            float32 [batches, HYPER_COLUMNS]: every step's hyperparameters.
        key
            The epoch's key, of 64 bits with a sign: what the random numbers of dropout depend on
            (:func:`lenumba.engine.network.layers.dropout.epoch_key`).
        first_batch, last_batch, totals
            Where an interrupted epoch goes on and where it is to end (None: after all batches), and its sums so far.
        weights
            float32 [N], above 0: what each image's loss counts, for a network whose images are weighted; None: 1.
        watch
            Called about 20 times a second as ``watch(batches_done, loss_sum, correct)``.

        Returns
        -------
        batches_done, totals
            totals is float64 [2]: the summed loss and the number of right answers. Fewer batches than asked for
            mean that :meth:`stop` was called, or that the loss is not finite any more.
        """
        totals = np.zeros(2) if totals is None else totals
        batches = -(-len(order) // batch_size)
        last_batch = batches if last_batch is None else last_batch
        shards = min(-(-batch_size // self.network.unit), self.max_shards)
        blocks = -(-batch_size // self.network.unit)
        if self.network.sees_batch and self.provided < blocks:
            self.provide(blocks)
        if len(self.gradients) < shards * self.network.size:
            self.gradients = self._shared(shards * self.network.size)
        assert hyper.shape == (batches, HYPER_COLUMNS)
        if self.network.weighted and weights is None:
            weights = np.ones(len(labels), np.float32)
        team, control, sums = self.team, self.meeting, self.totals
        if team.local_rank == 0:
            control[PROGRESS], sums[:] = first_batch, totals
        if self.exchange:
            self.exchange.begin(
                len(order), batch_size, self.template.stride, control=control, gradients=self.gradients,
                results=self.results, squares=self.results[8 * self.max_shards :], theta=self.theta, blocks=self.blocks,
            )  # fmt: skip
        team.meet()
        # More workers than shards only share the update, which pays for large networks.
        useful = max(-(-shards // team.machines), self.network.size // PARAMETERS_PER_WORKER)
        all_workers = min(self.threads * team.local_size, useful)
        first, last = (-(-all_workers * k // team.local_size) for k in (team.local_rank, team.local_rank + 1))
        self._run(
            range(first, last), all_workers,
            lambda: watch(int(control[PROGRESS]), sums[0], sums[1]) if watch else None,
            purpose=TRAIN, images=images, labels=labels, order=order, count=len(order), first_batch=first_batch,
            last_batch=last_batch, batch_size=batch_size, hyper=hyper, gradients=self.gradients, results=self.results,
            totals=sums, key=key, outputs=0 if weights is None else weights, control=control,
        )  # fmt: skip
        team.meet()
        if self.exchange:
            self.exchange.gather_state(self.state)
        totals[:] = sums
        if control is not self.control:
            self.done = int(control[PROGRESS])
            team.meet()
            control[:] = 0
        return self.done, totals

    def evaluate(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> tuple[float, np.ndarray]:
        """Run the network forward; threads that ask at the same time are answered one after the other.

        Parameters
        ----------
        images, labels, order
            As for :meth:`train`.

        Returns
        -------
        loss, probabilities
            The mean loss, and float32 [count, outputs].
        """
        count, unit = len(order), self.network.unit
        blocks = -(-count // unit)
        work = blocks * unit * self.multiply_adds
        with self.evaluating:
            self.weights.follow()
            if work < BRIEF_CALL:
                return self._answer(images, labels, order, blocks, work)
            results = aligned(2 * blocks, np.float64)
            outputs = aligned(count * self.network.outputs).reshape(count, self.network.outputs)
            ends = [self.team.part(blocks, rank)[1] for rank in range(self.team.size)]
            first, last = self.team.part(blocks)
            here, workers = slice(first * unit, min(last * unit, count)), min(self.threads, last - first)
            self._run(
                range(workers), workers, lambda: None,
                purpose=EVALUATE, images=images, labels=labels, order=order[here], count=len(order[here]),
                results=results[2 * first :], outputs=outputs[here], theta=self.weights.evaluated,
            )  # fmt: skip
            self.team.gather(results.reshape(blocks, 2), ends)
            self.team.gather(outputs, [min(end * unit, count) for end in ends])
            return mean_loss(results, count), outputs

    def _answer(
        self, images: np.ndarray, labels: np.ndarray, order: np.ndarray, blocks: int, work: int
    ) -> tuple[float, np.ndarray]:
        """Evaluate in this thread, in buffers that wait for it, with others where these are awake."""
        count, request = len(order), self.request
        pieces = int(work / PIECE_CALL) if self.network.channels and count == 1 else blocks
        company = max(0, min(self.threads, pieces) - 1)
        if count > len(request.order):
            request = self.request = self._request(count)
        if images is not request.images or labels is not request.labels:
            request.read(images, labels)
        request.order[:count] = order
        request.arguments[COUNT] = count
        try:
            if company and work >= SHORT_CALL:
                self.company.wake(company, self.workers, self._serving)
            self.program.call(request.address)
            if company and work < SHORT_CALL and self.company.is_asked_often(self.template.patience):
                self.company.wake(company, self.workers, self._serving)  # in time for the next one
            return request.answer(count, blocks)
        finally:
            if self.control[STOP]:
                self.control.fill(0)

    def _request(self, size: int) -> Request:
        """Return a new request of at most `size` images."""
        return Request(
            size, self.network.outputs, lambda given: self.arguments(0, 1, given | {"theta": self.weights.evaluated})
        )

    def _serving(self, worker: int) -> Job:
        """Return the call by which a worker waits for evaluations to join."""
        row = self.arguments(worker, worker + 1, {"purpose": SERVE})
        return Job([address(row)], (row, self.company.places, self.memory))

    def arguments(self, worker: int, workers: int, values: dict[str, int | float | np.ndarray]) -> np.ndarray:
        """Return the program's arguments for one worker: int64 [fields of `Run`], as its entry takes them."""
        given: dict[str, Any] = {
            name: address(value) if isinstance(value, np.ndarray) else value for name, value in values.items()
        }
        work = self.works[worker % len(self.works)]
        run = self.template._replace(worker=worker, workers=workers, work=work, **given)
        return np.frombuffer(bytearray(PACKED.pack(*run)), np.int64)

    def _run(self, numbers: range, workers: int, watch: Callable[[], None], **values: int | float | np.ndarray) -> None:
        """Call the program for each of this process's workers, of `workers` in all, and wait (see Workers.run)."""
        rows = [self.arguments(number, workers, values) for number in numbers]
        self.company.places[SENT_AWAY] = 1
        try:
            self.workers.run([Job([address(row)], row) for row in rows], watch, self.stop)
        finally:
            self.done = int(self.meeting[PROGRESS])
            self.control[:] = 0  # not before a call: a stop that came just then would be lost
            self.company.places[SENT_AWAY] = 0
