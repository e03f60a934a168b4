"""What there is to see of a finished run: its curves, what it took for what, its worst mistakes, its histograms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.metrics import confusion_matrix, predicted_classes
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.models.model import Model, load
from lenumba.engine.runs.folders import read_history
from lenumba.engine.runs.histograms import Histogram, read_histograms


@dataclass(frozen=True)
class Findings:
    """A trained network and how it does on its test set.

    Attributes
    ----------
    outputs
        float32 [test images, outputs].
    confusion
        int64 [classes, classes]: images of class i (row) that were taken for class j (column).
    mistakes
        int64: the test images that were not recognised, the worst (smallest output of the right class) first.
    history
        One dict an epoch.
    histograms
        Of each tensor over the epochs; empty where the run recorded none.
    """

    model: Model = field(repr=False)
    dataset: Dataset = field(repr=False)
    outputs: np.ndarray = field(repr=False)
    predicted: np.ndarray = field(repr=False)
    confusion: np.ndarray
    mistakes: np.ndarray
    history: list[dict[str, Any]] = field(repr=False)
    histograms: list[Histogram] = field(repr=False)

    @property
    def accuracy(self) -> float:
        """Share of right answers on the test set."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def samples(self, each: int) -> np.ndarray:
        """Return int64, the first `each` test images of every class, class by class."""
        labels = self.dataset.test_labels
        return np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(self.dataset.classes)])


def look_into(run: str, checkpoint: str = "best", overrides: Sequence[str] = ()) -> Findings:
    """Run a trained network on its test set and collect what there is to see.

    Parameters
    ----------
    run, checkpoint, overrides
        As for :func:`lenumba.engine.models.model.load`.

    Raises
    ------
    ConfigError, DataError
        Where there is no such run, or its checkpoint or its data are missing or damaged.
    """
    model = load(run, checkpoint, overrides=overrides)
    dataset = model.test_data()
    outputs = model.predict_proba(dataset.test_images)
    predicted, labels = predicted_classes(outputs), dataset.test_labels
    wrong = np.flatnonzero(predicted != labels)
    right_output = class_outputs(outputs)[wrong, labels[wrong]]
    return Findings(
        model=model,
        dataset=dataset,
        outputs=outputs,
        predicted=predicted,
        confusion=confusion_matrix(labels, predicted, dataset.classes),
        mistakes=wrong[np.argsort(right_output, kind="stable")],
        history=read_history(model.folder),
        histograms=read_histograms(model.folder),
    )


def class_outputs(outputs: np.ndarray) -> np.ndarray:
    """Return outputs [N, classes]: a single one is that of class 1."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def feature_maps(model: Model, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return what every layer puts out for one image uint8 [H, W, C]: its name and float64 [C, H, W].

    The last are the network's outputs, after the loss's own activation.
    """
    from lenumba.engine.explain.plain import forward, judge  # imports Numba

    network, executor = model.network, model.executor
    scale, shift = executor.scale.astype(np.float64), executor.shift.astype(np.float64)
    x = (image * scale + shift).transpose(2, 0, 1)[np.newaxis]
    parameters = network.views(executor.theta)
    maps = [y[0] for y in forward(network, parameters, x)]
    outputs = judge(network, maps[-1][np.newaxis], np.zeros(1, np.int64)).outputs
    names = [unit.name for unit in network.units]
    return [*zip(names, maps, strict=True), ("outputs", outputs[0][:, None, None])]


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
