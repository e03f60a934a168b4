"""What evaluations need that come one after another: buffers that wait for them, and threads that stay awake."""

import contextlib
import time
from collections.abc import Callable

import numpy as np

from lenumba.engine.network.network import Network
from lenumba.engine.training.buffers import address, aligned
from lenumba.engine.training.workers import Job, Workers
from lenumba.kernels.constants import CLOSED, COMPANY_SIZE, EVALUATE, JOINED, SPINNING
from lenumba.kernels.program.arguments import Run

IMAGES, LABELS, COUNT = (Run._fields.index(name) for name in ("images", "labels", "count"))


class Request:
    """The buffers and the arguments of an evaluation of at most `size` images, ready to be used again.

    For a single image, finding out where its arrays lie takes longer than the whole network. `arguments` makes a row
    of arguments of those that are given by name.
    """

    def __init__(self, size: int, outputs: int, arguments: Callable[[dict], np.ndarray]) -> None:
        self.images: np.ndarray | None = None
        self.labels: np.ndarray | None = None
        self.order = aligned(size, np.int64)
        self.results = aligned(2 * size, np.float64)
        self.outputs = aligned(size * outputs).reshape(size, outputs)
        buffers = {"order": self.order, "results": self.results, "outputs": self.outputs}
        self.arguments = arguments({"purpose": EVALUATE, **buffers})
        self.address = address(self.arguments)

    def read(self, images: np.ndarray, labels: np.ndarray) -> None:
        """From now on take images and labels from here."""
        self.images, self.labels = images, labels
        self.arguments[IMAGES], self.arguments[LABELS] = address(images), address(labels)

    def answer(self, count: int, blocks: int) -> tuple[float, np.ndarray]:
        """Return the mean loss of `count` images, and a copy of their outputs."""
        loss = self.results.item(0) / count if blocks == 1 else mean_loss(self.results[: 2 * blocks], count)
        return loss, self.outputs[:count].copy()


class Weights:
    """The weights that a network's evaluation takes, made from its parameters where they differ from these.

    Attributes
    ----------
    evaluated
        float32: the weights as the program reads them.
    """

    def __init__(self, network: Network, theta: np.ndarray) -> None:
        self.network, self.theta = network, theta
        differs = bool(network.folded or network.channels)
        size = network.channels.size if network.channels else len(theta)
        self.evaluated = aligned(size) if differs else theta
        self.made_from = np.full(len(theta) if differs else 0, np.nan, np.float32)

    def follow(self) -> None:
        """Make them anew where the parameters have changed."""
        if len(self.made_from) and self.theta.flags.writeable and not np.array_equal(self.made_from, self.theta):
            self.made_from[:] = self.theta
            self.evaluated[:] = self.network.evaluated(self.theta)

    def freeze(self) -> None:
        """Let nobody change the parameters any more: to compare them takes longer than a small network's answer."""
        self.follow()
        self.theta.flags.writeable = False


class Company:
    """The threads that join evaluations while they are awake (:mod:`lenumba.kernels.program.company`).

    Attributes
    ----------
    places
        int64 [COMPANY_SIZE]: where they meet those who evaluate.
    serving
        Each one's last call, by which it waits for evaluations.
    """

    def __init__(self) -> None:
        self.places = aligned(COMPANY_SIZE, np.int64)
        self.places[JOINED] = CLOSED
        self.serving: list[Job] = []
        self.last = 0

    def is_asked_often(self, patience: int) -> bool:
        """Return whether the evaluation before was at most `patience` nanoseconds ago: nobody waits for longer."""
        before, self.last = self.last, time.monotonic_ns()
        return self.last - before < patience

    def wake(self, count: int, workers: Workers, serve: Callable[[int], Job]) -> None:
        """See to it that `count` threads join evaluations: those that sleep get what `serve` makes for their number."""
        if workers.inherited:
            self.places[SPINNING], self.serving = 0, []
        if self.places[SPINNING] >= count:
            return
        for k in range(count):
            if k == len(self.serving) or self.serving[k].done:
                self.serving[k : k + 1] = [serve(k + 1)]
        with contextlib.suppress(RuntimeError):  # no more threads to be had: it takes longer
            workers.start(count)
        workers.give(self.serving[:count])


def mean_loss(results: np.ndarray, count: int) -> float:
    """Return the mean over `count` images of the losses in float64 [2 · blocks], two numbers a block."""
    return sum(results[::2].tolist()) / max(1, count)
