"""How well a network does whose target is no class: several labels, numbers, or the input itself."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.measures import Measured

WORST = 24  # samples that are named


@dataclass(frozen=True, eq=False)
class TargetEvaluation:
    """How well a network does on a set of samples.

    Attributes
    ----------
    target
        A key of `TARGETS`.
    measured
        The figures.
    outputs
        float [N, K] in the targets' units; where the target is the input, each sample's mean squared error [N].
    truth
        float64 [N, K] of labels or numbers; where the target is the input, the classes int64 [N].
    names
        What the labels or numbers are called; where the target is the input, the classes.
    files
        The samples' file names, where each is a file.
    notes
        What was left out or missing among the samples, a line each.
    """

    target: str
    measured: Measured
    outputs: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    names: tuple[str, ...]
    files: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.outputs)

    @property
    def worst(self) -> np.ndarray:
        """int64: the samples that are farthest from the truth, or look most like an anomaly, the worst first.

        Of numbers, by the root of the mean of squared errors, each as a multiple of that number's deviation.
        """
        if self.target == "input":
            return np.argsort(-self.outputs, kind="stable")
        spread = np.maximum(self.truth.std(0), 1e-300) if self.target == "numbers" else 1.0
        return np.argsort(-(((self.outputs - self.truth) / spread) ** 2).mean(1), kind="stable")

    def name(self, sample: int) -> str | int:
        """Return what a sample is called: its file's name, else its index."""
        return int(sample) if self.files is None else self.files[sample]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, and the worst samples."""
        worst = self.worst[:WORST].tolist()
        if self.target == "input":
            rows = [{"score": float(self.outputs[k]), "class": self.names[self.truth[k]]} for k in worst]
        else:
            rows = [{"expected": self.truth[k].tolist(), "found": self.outputs[k].tolist()} for k in worst]
        return {
            "target": self.target,
            **self.measured.told(self.names),
            "images": self.samples,
            "names": list(self.names),
            "each": self.measured.by_name(self.names),
            "worst": [{"image": self.name(k), **row} for k, row in zip(worst, rows, strict=True)],
            "notes": list(self.notes),
        }
