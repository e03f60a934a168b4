"""What a network's outputs are compared with, and what they are worth, whatever its target is."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.measures import MEASURES, Measured
from lenumba.engine.common.metrics import Judged, accuracy_of, confusion_matrix, predicted_classes
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.targets import Units
from lenumba.engine.network.network import Network
from lenumba.engine.training.executor import Executor

CHUNK = 4096  # samples whose outputs are kept at a time, where the outputs are as many as the input's values


@dataclass(frozen=True)
class Judge:
    """Compares outputs with the truth: classes int64 [N], or labels or numbers float64 [N, K].

    Attributes
    ----------
    target
        A key of `TARGETS`.
    classes
        How many there are, where the target is a class.
    units
        Those in which numbers are learned.
    normal
        The names of the classes that are no anomalies, where the target is the input.
    """

    target: str
    classes: int
    units: Units
    normal: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, network: Network, dataset: Dataset, indices: np.ndarray) -> "Judge":
        """Return that of a training on some of a data set's training samples.

        Numbers are learned standardised, unless the network's last activation bounds its outputs.
        """
        units, numbers = Units.own(network.outputs), dataset.train_targets
        if network.target == "numbers" and numbers is not None and not network.ends_in_activation:
            units = Units.of(numbers[indices])
        return cls(network.target, dataset.classes, units, normal_classes(dataset))

    @classmethod
    def told(cls, values: dict[str, Any], network: Network, classes: int) -> "Judge":
        """Return the one that :meth:`as_dict` tells; of nothing, one that takes everything as it is."""
        units = Units.told(values) if "mean" in values else Units.own(network.outputs)
        return cls(network.target, classes, units, tuple(values.get("normal", ())))

    def as_dict(self) -> dict[str, Any]:
        """Return what later judgements need to know, as plain values; nothing where the target is a class."""
        if self.target == "input":
            return {"name": self.target, "normal": list(self.normal)}
        if self.target == "numbers":
            return {"name": self.target, **self.units.as_dict()}
        return {} if self.target == "class" else {"name": self.target}

    def blank(self, count: int) -> np.ndarray:
        """Return the truth of `count` samples of which nothing is known."""
        numbered = TARGETS[self.target].numbered
        return np.zeros((count, len(self.units.mean))) if numbered else np.zeros(count, np.int64)

    def learned(self, truth: np.ndarray) -> np.ndarray:
        """Return the truth as the program takes it."""
        return self.units.learned(truth) if TARGETS[self.target].numbered else truth

    def answers(
        self, executor: Executor, images: np.ndarray, truth: np.ndarray, order: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Return the mean loss on images [N, C, H, W] and the outputs, in the targets' units.

        Where the target is the input: each sample's mean squared error instead of outputs, float64 [N].
        """
        truth = self.learned(truth)
        if self.target != "input":
            loss, outputs = executor.evaluate(images, truth, order)
            return loss, self.units.given(outputs) if self.target == "numbers" else outputs
        total, errors = 0.0, []
        for part in np.split(order, range(CHUNK, len(order), CHUNK)):
            loss, outputs = executor.evaluate(images, truth, part)
            total += loss * len(part)
            errors.append(reconstruction_errors(executor, images[part], outputs))
        return total / max(1, len(order)), np.concatenate(errors)

    def measure(
        self, loss: float, outputs: np.ndarray, truth: np.ndarray, class_names: tuple[str, ...]
    ) -> Judged | Measured:
        """Return what outputs of :meth:`answers` are worth."""
        if self.target == "class":
            confusion = confusion_matrix(truth, predicted_classes(outputs), self.classes)
            return Judged(loss, accuracy_of(outputs, truth), confusion)
        if self.target == "input":
            truth = self.anomalous(truth, class_names)
        return MEASURES[self.target](loss, outputs, truth)

    def anomalous(self, truth: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
        """Return bool [N]: the samples of no normal class; empty where the target is not the input."""
        return anomalous(truth, class_names, self.normal) if self.target == "input" else np.zeros(0, bool)

    def notes(self, name: str, target_names: tuple[str, ...]) -> list[str]:
        """Return what users should know of how numbers are learned, a line each."""
        plain = Units.own(len(self.units.mean)).as_dict()
        if self.target != "numbers" or self.units.as_dict() == plain:
            return []
        both = zip(target_names, self.units.mean.tolist(), self.units.deviation.tolist(), strict=True)
        listed = ", ".join(f"{key} {mean:.4g} ± {deviation:.4g}" for key, mean, deviation in list(both)[:10])
        more = ", …" * (len(target_names) > 10)
        line = (
            f"{name}: targets are learned standardised (mean ± deviation: {listed}{more}); answers in their own units"
        )
        return [line]


def normal_classes(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of the classes that there are training samples of."""
    present = [] if dataset.train_targets is not None else np.flatnonzero(np.bincount(dataset.train_labels)).tolist()
    return tuple(dataset.class_names[k] for k in present)


def anomalous(labels: np.ndarray, class_names: tuple[str, ...], normal: tuple[str, ...]) -> np.ndarray:
    """Return bool [N]: which of the labels int64 [N] are of a class that is not normal; none where all or none are."""
    known = np.array([name in normal for name in class_names])
    return ~known[labels] if known.any() else np.zeros(len(labels), bool)


def reconstruction_errors(executor: Executor, images: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return float64 [N]: the mean squared difference of outputs [N, values] from images [N, C, H, W] as they are seen.

    Normalised, that is: the network learns to give what it gets.
    """
    scale, shift = (each.reshape(1, -1, 1, 1) for each in (executor.scale, executor.shift))
    seen = (images * scale + shift).reshape(len(images), -1)
    return ((outputs.astype(np.float64) - seen) ** 2).mean(axis=1)


@contextlib.contextmanager
def holding(executor: Executor, theta: np.ndarray) -> Iterator[None]:
    """Have other parameters, float32 [network.size], for evaluations in the context."""
    last = executor.theta.copy()
    executor.team.meet()  # as the ranks of a machine have the parameters in common
    executor.theta[:] = theta
    executor.team.meet()
    try:
        yield
    finally:
        executor.team.meet()
        executor.theta[:] = last
        executor.team.meet()


def read_logits(executor: Executor, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the loss takes and what it makes of it, float32 [N, outputs] each, for uint8 [N, C, H, W].

    Slower than :meth:`Executor.evaluate`: the first is read from a worker's memory after every block.
    """
    network = executor.network
    start, width, unit = network.layout.tensors[-1].interior.offset, network.outputs, network.unit
    labels, found, outputs = network.no_labels(len(images)), [], []
    for order in np.split(np.arange(len(images)), range(unit, len(images), unit)):
        outputs.append(executor.evaluate(images, labels, order)[1])
        block = executor.memory[0][start : start + width * unit].reshape(width, unit)
        found.append(block.T[: len(order)].copy())
    return np.concatenate(found), np.concatenate(outputs)
