"""How well a network does on a set of images, and on which of them it fails."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lenumba.engine.common.curves import Curve
from lenumba.engine.common.html import heading_html, table_html
from lenumba.engine.common.metrics import (
    balanced_accuracy,
    confusion_matrix,
    f1_scores,
    macro_f1,
    precision_and_recall,
    predicted_classes,
)

MOST_SHOWN = 30  # classes whose confusion matrix a notebook shows


class Cell(NamedTuple):
    """A cell of the confusion matrix off its diagonal: images int64 [M] of class `label` that seemed `guess`."""

    label: int
    guess: int
    images: np.ndarray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a network does on a set of images.

    Attributes
    ----------
    labels
        int64 [N].
    outputs
        float32 [N, outputs].
    files
        The images' file names, where each is a file.
    notes
        What was left out or missing among the images, a line each.
    """

    loss: float
    labels: np.ndarray = field(repr=False)
    outputs: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    files: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.labels)

    def _repr_html_(self) -> str:
        told = {"accuracy": f"{100 * self.accuracy:.2f} %", "loss": f"{self.loss:.4f}", "images": f"{self.images:,}"}
        matrix = table_html(
            ["is \\ taken for", *self.class_names],
            [[name, *row] for name, row in zip(self.class_names, self.confusion.tolist(), strict=True)],
        )
        return heading_html("evaluation", told) + matrix * (len(self.class_names) <= MOST_SHOWN)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """float32 [N, classes]; a single output is that of class 1."""
        outputs = self.outputs
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    @cached_property
    def predicted(self) -> np.ndarray:
        """int64 [N]: what each image was taken for."""
        return predicted_classes(self.outputs)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float((self.predicted == self.labels).mean())

    @cached_property
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes]: images of class i (row) that were taken for class j (column)."""
        return confusion_matrix(self.labels, self.predicted, len(self.class_names))

    @property
    def precision(self) -> np.ndarray:
        """float64 [classes]."""
        return precision_and_recall(self.confusion)[0]

    @property
    def recall(self) -> np.ndarray:
        """float64 [classes]."""
        return precision_and_recall(self.confusion)[1]

    @cached_property
    def curves(self) -> list[Curve]:
        """Each class's curve against the rest."""
        return [Curve.of(self.probabilities[:, k], self.labels == k) for k in range(len(self.class_names))]

    @cached_property
    def mistakes(self) -> np.ndarray:
        """int64: the images that were not recognised, the worst (smallest output of the right class) first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(self.probabilities[wrong, self.labels[wrong]], kind="stable")]

    @cached_property
    def cells(self) -> list[Cell]:
        """What was taken for what, the most frequent first; in each, the worst mistake first."""
        pairs = zip(self.labels[self.mistakes].tolist(), self.predicted[self.mistakes].tolist(), strict=True)
        found: dict[tuple[int, int], list[int]] = {}
        for image, pair in zip(self.mistakes.tolist(), pairs, strict=True):
            found.setdefault(pair, []).append(image)
        cells = [Cell(*pair, np.array(images)) for pair, images in found.items()]
        return sorted(cells, key=lambda cell: (-len(cell.images), cell.label, cell.guess))

    def name(self, image: int) -> str | int:
        """Return what an image is called: its file's name, else its index."""
        return int(image) if self.files is None else self.files[image]

    def lines(self, image: int) -> list[str]:
        """Return what an image is and what it seems, with both probabilities."""
        pairs = (("is", int(self.labels[image])), ("seems", int(self.predicted[image])))
        return [f"{verb} {self.class_names[k]}: {100 * self.probabilities[image, k]:.1f} %" for verb, k in pairs]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        names = self.class_names
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "images": self.images,
            "class_names": list(names),
            "precision": self.precision.tolist(),
            "recall": self.recall.tolist(),
            "f1": f1_scores(self.confusion).tolist(),
            "balanced_accuracy": balanced_accuracy(self.confusion),
            "macro_f1": macro_f1(self.confusion),
            "confusion": self.confusion.tolist(),
            "mistakes": [
                {
                    "image": self.name(image),
                    "label": names[self.labels[image]],
                    "predicted": names[self.predicted[image]],
                    "label_probability": float(self.probabilities[image, self.labels[image]]),
                    "probability": float(self.probabilities[image, self.predicted[image]]),
                }
                for image in self.mistakes.tolist()
            ],
            "notes": list(self.notes),
        }
