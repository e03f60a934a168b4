"""What there is to see of a finished run: its curves, what it took for what, its worst mistakes, its histograms."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.measures import Measured
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.config.sections import IN_MEMORY
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.models.assessment import Assessment, assess
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.model import Model, load
from lenumba.engine.models.target_evaluation import TargetEvaluation
from lenumba.engine.runs.changes import as_list
from lenumba.engine.runs.folders import read_history
from lenumba.engine.runs.histograms import Histogram, read_histograms


@dataclass(frozen=True, eq=False)
class Findings(Assessment):
    """A trained network, how it does on its test images, and how it came there.

    Attributes
    ----------
    history
        One dict an epoch.
    histograms
        Of each tensor over the epochs; empty where the run recorded none.
    absent
        Why there are no test images; empty where there are some.
    """

    history: list[dict[str, Any]] = field(repr=False)
    histograms: list[Histogram] = field(repr=False)
    absent: str = ""

    def samples(self, each: int) -> np.ndarray:
        """Return int64, the first `each` test images of every class, class by class; of other targets the first."""
        labels = self.dataset.test_labels
        if TARGETS[self.model.network.target].numbered:
            return np.arange(min(10 * each, len(labels)))
        return np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(self.dataset.classes)])


def look_into(run: str, checkpoint: str = "best", overrides: Sequence[str] = ()) -> Findings:
    """Run a trained network on its test set and collect what there is to see: without its data, what the run tells.

    Parameters
    ----------
    run, checkpoint, overrides
        As for :func:`lenumba.engine.models.model.load`.

    Raises
    ------
    ConfigError, DataError
        Where there is no such run, or its checkpoint or its data are damaged, or other data are not where they are
        said to be.
    """
    model = load(run, checkpoint, overrides=overrides)
    history, histograms = read_history(model.folder), read_histograms(model.folder)
    if absent := missing_files(model.loaded):
        absent = f"{absent}, so that nothing is shown of test images; data.root=PATH says where they are now"
        dataset = no_images(model, absent)
        return Findings(model, dataset, no_answers(model, dataset), history, histograms, absent)
    found = assess(model)
    return Findings(model, found.dataset, found.test, history, histograms)


def missing_files(loaded: LoadedConfig) -> str:
    """Say which of the data that a run was trained on are not there any more; empty where none is known to be gone."""
    data = loaded.config.data
    if data.name == IN_MEMORY:
        return "the images were in memory, and are in no file"
    if loaded.origins.get("data.root") == "override data.root":
        return ""
    gone = [root for root in as_list(data.root) if not os.path.exists(os.path.expanduser(root))]
    return f"no such file or folder as {' and '.join(gone)}" if gone else ""


def worst_of(found: Findings, most: int) -> np.ndarray:
    """Return int64, the worst mistakes; where the target is no class, the test images farthest from the truth."""
    return (found.test.mistakes if found.model.network.target == "class" else found.test.worst)[:most]


def no_images(model: Model, note: str) -> Dataset:
    """Return a data set of a network's classes without any images."""
    images, labels, names = np.zeros((0, *model.image_shape), np.uint8), np.zeros(0, np.int64), model.class_names
    name, digest = model.loaded.config.data.name, model.trained.trained_on or ""
    return Dataset(name, images, labels, images, labels, len(names), names, digest, notes=(note,))


def no_answers(model: Model, dataset: Dataset) -> Evaluation | TargetEvaluation:
    """Return how a network does on no images."""
    target, names, nan = model.network.target, model.class_names, float("nan")
    outputs = np.zeros((0, model.network.outputs), np.float32)
    if target == "class":
        return Evaluation(nan, dataset.test_labels, outputs, names)
    outputs = outputs[:, 0] if target == "input" else outputs
    return TargetEvaluation(target, Measured(nan, {}), outputs, model.trained.judge.blank(0), names)


def feature_maps(model: Model, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return what every layer puts out for one image uint8 [H, W, C]: its name and float64 [C, H, W].

    The last are the network's outputs, after the loss's own activation.
    """
    found = {name: y[0] for name, y in model.activations_of(image[np.newaxis]).items()}
    outputs = found.pop("outputs")
    return [*found.items(), ("outputs", outputs[:, None, None])]


def reconstructions(found: Assessment, chosen: np.ndarray) -> np.ndarray | None:
    """Return what a network gives back for some test images, [N, H, W, C] as they are; None for other targets."""
    model = found.model
    if model.network.target != "input" or not len(chosen):
        return None
    height, width, channels = model.image_shape
    images = found.dataset.test_images[chosen]
    outputs = model.predict_proba(images).reshape(len(chosen), channels, height, width).transpose(0, 2, 3, 1)
    scale, shift = model.executor.scale[:channels], model.executor.shift[:channels]
    given = (outputs - shift) / np.where(scale == 0, 1, scale)
    if images.dtype == np.uint8:
        return np.clip(np.round(given), 0, 255).astype(np.uint8)
    return given.astype(np.float32)


def kernels(model: Model) -> list[tuple[str, np.ndarray]]:
    """Return each convolution's name and kernels, float32 [maps, input maps, height, width], as they slide."""
    views = model.network.views(model.executor.theta)
    return [
        (unit.name, as_slid(unit.layer, views[f"{unit.name}.kernel"]))
        for unit in model.network.units
        if unit.layer.kind == "conv"
    ]


def as_slid(layer: Any, kernel: np.ndarray) -> np.ndarray:
    """Return a layer's parameter; a true convolution's kernel as a correlation slides it: rotated by 180°."""
    turned = kernel.ndim == 4 and layer.orientation == "convolution"
    return kernel[..., ::-1, ::-1] if turned else kernel
