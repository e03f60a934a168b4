"""A trained network in whole numbers, calibrated on the images that it was trained on."""

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.selection import load_data, split
from lenumba.engine.deploy import int8
from lenumba.engine.deploy.graph import Graph
from lenumba.engine.deploy.int8 import Int8Network
from lenumba.engine.deploy.quantize import Quantized, quantize
from lenumba.engine.explain.plain import judge
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.model import Model

CALIBRATED, JUDGED = 512, 1000  # images at most
BUDGET = 4e9  # multiply-adds of a trial


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
    labels = dataset.train_labels[judging]

    def loss(logits: np.ndarray) -> float:
        return judge(model.network, logits[:, :, None, None], labels, loaded.config.loss.label_smoothing).loss

    found = quantize(graph, dataset.train_images[calibrating], dataset.train_images[judging], loss)
    kind = "validation" if len(validation) else "training"
    notes.append(
        f"int8: calibrated on {len(calibrating):,} training images; by {len(judging):,} {kind} images, scales reach "
        f"{100 * found.kept:g} % of the values' range, biases {'' if found.corrected else 'not '}corrected"
    )
    return found, notes


def evaluate_int8(model: Model, network: Int8Network, images: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Return how a network in whole numbers does on images [N, H, W, C] with labels int64 [N]."""
    values = int8.logits(network, images).astype(np.int64)
    scale, zero = network.scales[-1]
    logits = (values - zero) * scale
    loss = judge(model.network, logits[:, :, None, None], labels, model.loaded.config.loss.label_smoothing).loss
    return Evaluation(loss, labels, int8.ENDS[network.graph.end](network, values), model.class_names)
