"""A trained network on its test images, with what its validation images tell: temperature and thresholds."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lenumba.engine.common.calibration import (
    Reliability,
    at_temperature,
    fit_temperature,
    is_distribution,
    log_likelihood,
)
from lenumba.engine.common.curves import Curve
from lenumba.engine.common.errors import LenumbaError
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data, split
from lenumba.engine.models.model import Model
from lenumba.engine.runs.folders import load_run_config

MOST_POINTS, ALL_POINTS = 200, 20_000  # of a curve, and of those of all classes


@dataclass(frozen=True, eq=False)
class Assessment:
    """A trained network and how it does on its test images.

    The validation images are those that training set aside; they are read when something asks for them.
    """

    model: Model = field(repr=False)
    dataset: Dataset = field(repr=False)
    test: Any  # Evaluation, or TargetEvaluation where the target is no class

    @cached_property
    def _validation(self) -> Any:
        """How the network does on the validation images, or why there are none."""
        model, dataset, own = self.model, self.dataset, load_run_config(self.model.folder)
        if (trained_on := model.trained.trained_on) is None:
            return "it is not known what the network was trained on"
        if dataset.sha256 != trained_on or not len(dataset.train_labels):  # other data are judged, or decisions hold
            try:
                dataset = load_data(own)
            except LenumbaError as error:
                return str(error).splitlines()[0]
            if dataset.sha256 != trained_on:
                return "the data have changed since the training"
        indices = split(own, dataset)[1]
        if not len(indices):
            return "the training set none aside (data.validation)"
        return model.evaluate_part(dataset, dataset.train_images[indices], dataset.train_truth[indices])

    @property
    def validation(self) -> Any:
        """How the network does on the validation images; None where there are none."""
        return None if isinstance(self._validation, str) else self._validation

    @property
    def missing(self) -> str:
        """Why there are no validation images to fit anything on; empty where there are some."""
        return f"no validation images: {self._validation}" if isinstance(self._validation, str) else ""

    @property
    def curves(self) -> list[Curve]:
        """Each class's or label's curve on the test images, against the rest."""
        return self.test.curves

    @cached_property
    def thresholds(self) -> list[float | None]:
        """The threshold of each class or label with the best F1 on the validation images; None where there are none."""
        if self.validation is None:
            return [None] * len(self.test.class_names)
        return [curve.best_threshold for curve in self.validation.curves]

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """Reliability and NLL on the test images, as the network answers and at the temperature fitted on validation.

        None where the outputs are no probabilities of one class each.
        """
        test, validation = self.test, self.validation
        if not is_distribution(test.probabilities):
            return None
        found: dict[str, Any] = {"images": test.images, "before": calibration_of(test.probabilities, test.labels)}
        if validation is not None:
            temperature = fit_temperature(validation.probabilities, validation.labels)
            scaled = at_temperature(test.probabilities, temperature)
            found |= {
                "temperature": temperature,
                "fitted_on": f"{validation.images} validation images",
                "validation_nll_before": log_likelihood(validation.probabilities, validation.labels),
                "validation_nll_after": log_likelihood(
                    at_temperature(validation.probabilities, temperature), validation.labels
                ),
                "after": calibration_of(scaled, test.labels),
            }
        return found

    def threshold_rows(self) -> list[dict[str, Any]]:
        """Return for each class or label its threshold, and precision and recall at it on the test images."""
        rows, kind = [], "label" if self.model.network.target == "labels" else "class"
        for name, value, curve in zip(self.test.class_names, self.thresholds, self.curves, strict=True):
            precision, recall = (None, None) if value is None else curve.at(value)
            rows.append({kind: name, "threshold": value, "precision": precision, "recall": recall})
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return all figures as plain values; thresholds and calibration only where the target has them."""
        if self.model.network.target != "class":
            labels = self.model.network.target == "labels"
            return self.test.as_dict() | ({"thresholds": self.threshold_rows()} if labels else {})
        most = min(MOST_POINTS, max(20, ALL_POINTS // len(self.curves)))
        return {
            **self.test.as_dict(),
            "roc_auc": [curve.auc for curve in self.curves],
            "average_precision": [curve.average_precision for curve in self.curves],
            "curves": [curve.points(most) for curve in self.curves],
            "calibration": self.calibration,
            "thresholds": self.threshold_rows(),
            "notes": [*self.test.notes, *([self.missing] if self.missing else [])],
        }


def assess(model: Model) -> Assessment:
    """Run a network on its test images.

    Raises
    ------
    ConfigError, DataError
        Where its data are missing, damaged, or not of its classes.
    """
    dataset = model.test_data()
    return Assessment(model, dataset, model.evaluate_data(dataset))


def calibration_of(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return NLL, expected calibration error and the bins of a reliability diagram as plain values."""
    found = Reliability.of(probabilities, labels)
    return {
        "nll": log_likelihood(probabilities, labels),
        "expected_calibration_error": found.error,
        "confidence": found.confidence.tolist(),
        "accuracy": found.accuracy.tolist(),
        "counts": found.counts.tolist(),
    }
