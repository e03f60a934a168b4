"""A trained network in whole numbers, calibrated on the images that it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.measures import MEASURES
from lenumba.engine.common.statistics import mcnemar
from lenumba.engine.data.selection import load_data, split
from lenumba.engine.deploy import int8
from lenumba.engine.deploy.graph import Graph
from lenumba.engine.deploy.int8 import Int8Network
from lenumba.engine.deploy.lowering import lower_run
from lenumba.engine.deploy.quantize import Quantized, quantize
from lenumba.engine.explain.plain import judge
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.model import Model
from lenumba.engine.models.target_comparison import TargetComparison, compare_samples
from lenumba.engine.training.buffers import planar
from lenumba.engine.training.judging import reconstruction_errors

CALIBRATED, JUDGED = 512, 1000  # images at most
BUDGET = 4e9  # multiply-adds of a trial
LOUD = 0.005  # of the accuracy: from here on a loss is a warning


def calibrate(model: Model, graph: Graph) -> tuple[Quantized, list[str]]:
    """Return a network in whole numbers, and what to tell of how it was found.

    Raises
    ------
    ConfigError, DataError
        Where the images that it was trained on are not at hand.
    """
    loaded, notes = model.loaded, []
    dataset = load_data(loaded)
    if dataset.image_shape != model.image_shape or not len(dataset.train_labels):
        raise DataError(f"{loaded.name}: expected its training images to calibrate with, found others; restore them")
    if model.trained.trained_on not in (None, dataset.sha256):
        notes.append("int8: the data have changed since the training; calibrated on those that are there")
    training, validation = split(loaded, dataset)
    most = int(np.clip(BUDGET // max(1, graph.multiply_adds), 64, JUDGED))
    drawn = np.random.default_rng(0).permutation(training)  # always the same ones
    calibrating = drawn[: min(CALIBRATED, most, max(1, len(drawn) // 2) if not len(validation) else len(drawn))]
    judging = validation[:most] if len(validation) else drawn[len(calibrating) :][:most]
    judging = judging if len(judging) else calibrating
    found = quantize(graph, dataset.train_images[calibrating], dataset.train_images[judging])
    kind = "validation" if len(validation) else "training"
    notes.append(
        f"int8: calibrated on {len(calibrating):,} training images; by {len(judging):,} {kind} images, scales reach "
        f"{100 * found.kept:g} % of the values' range, biases {'' if found.corrected else 'not '}corrected"
    )
    return found, notes


@dataclass(frozen=True, eq=False)
class Int8Assessment:
    """How a network does on its test images in float32 and in whole numbers.

    Attributes
    ----------
    floats, whole
        In float32 and in int8.
    network
        The network in whole numbers.
    notes
        How it was calibrated.
    """

    floats: Evaluation
    whole: Evaluation
    network: Int8Network
    notes: tuple[str, ...]

    @property
    def lost(self) -> float:
        """By how much whole numbers lower the accuracy."""
        return self.floats.accuracy - self.whole.accuracy

    @property
    def alone(self) -> tuple[int, int]:
        """How many images float32 alone is right about, and int8 alone."""
        right, whole = (each.predicted == each.labels for each in (self.floats, self.whole))
        return int((right & ~whole).sum()), int((whole & ~right).sum())

    @property
    def warning(self) -> str:
        """A warning where that is much, else an empty text."""
        if self.lost <= LOUD:
            return ""
        return (
            f"int8 loses {100 * self.lost:.2f} points of accuracy on the test images; float32 loses none, and wider "
            "layers lose less"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return both evaluations as plain values."""
        evaluations = {"float32": self.floats.as_dict(), "int8": self.whole.as_dict()}
        figures = {"lost": self.lost, "right_alone": self.alone, "mcnemar_p": mcnemar(*self.alone)}
        return evaluations | figures | {"notes": list(self.notes)}


def compare_int8(model: Model) -> TargetComparison:
    """Return what whole numbers do to a network whose target is no class: float32 beside int8, sample by sample.

    Raises
    ------
    ConfigError, DataError
        As :func:`assess_int8` does.
    """
    quantized, notes = calibrate(model, lower_run(model.trained))
    dataset = model.test_data()
    floats = model.evaluate_data(dataset)
    outputs = int8.probabilities(quantized.network, dataset.test_images)
    truth, loss = floats.truth, float("nan")
    if model.network.target == "input":
        outputs = reconstruction_errors(model.executor, planar(dataset.test_images), outputs)
        truth, loss = floats.anomalous, float(outputs.mean())
    measured = MEASURES[model.network.target](loss, outputs, truth)
    found = compare_samples(("float32", "int8"), floats, replace(floats, measured=measured, outputs=outputs))
    return replace(found, notes=(*floats.notes, *notes))


def assess_int8(model: Model, quantized: Quantized | None = None, notes: Sequence[str] = ()) -> Int8Assessment:
    """Return how a network does on its test images, in float32 and in whole numbers.

    Raises
    ------
    ConfigError, DataError
        Where the training or test images are not at hand, or a layer has no whole numbers.
    """
    model.loaded.only_targets("a comparison with int8")
    if quantized is None:
        quantized, notes = calibrate(model, lower_run(model.trained))
    dataset, network = model.test_data(), quantized.network
    values = int8.logits(network, dataset.test_images).astype(np.int64)
    scale, zero = network.scales[-1]
    logits, smoothing = (values - zero) * scale, model.loaded.config.loss.label_smoothing
    loss = judge(model.network, logits[:, :, None, None], dataset.test_labels, smoothing).loss
    outputs = int8.ENDS[network.graph.end](network, values)
    whole = Evaluation(loss, dataset.test_labels, outputs, model.class_names)
    return Int8Assessment(model.evaluate_data(dataset), whole, network, tuple(notes))
