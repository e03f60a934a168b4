"""How well a network does whose target is no class: several labels, numbers, or the input itself."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lenumba.engine.common.curves import Curve
from lenumba.engine.common.html import heading_html, table_html
from lenumba.engine.common.measures import Measured
from lenumba.engine.common.targets import WORDS, written

WORST = 24  # samples that are named
LONGEST = 18  # characters of a name beside a picture
LISTED = 3  # labels or numbers of a sample that are told


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
    anomalous
        bool [N] where the target is the input: the samples that are known to be no normal ones; else empty.
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
    anomalous: np.ndarray = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    files: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.outputs)

    @property
    def images(self) -> int:
        """How many samples there are, as an :class:`Evaluation` calls it."""
        return self.samples

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels or numbers are called, as an :class:`Evaluation` calls it."""
        return self.names

    @cached_property
    def curves(self) -> list[Curve]:
        """Each label's curve against the samples without it; none where there are no labels."""
        if self.target != "labels":
            return []
        return [Curve.of(self.outputs[:, k], self.truth[:, k] > 0.5) for k in range(len(self.names))]

    @property
    def told(self) -> dict[str, str]:
        """The figures as text, by what people call them."""
        values = self.measured.told(self.names)
        return {WORDS.get(key, key): written(key, value) for key, value in values.items() if value is not None}

    @property
    def rows(self) -> tuple[list[str], list[list[str]]]:
        """A table of each label or number: its header, and its rows as text; none where the target is the input."""
        if self.target == "input":
            return [], []
        keys, labels = list(self.measured.each), self.target == "labels"
        rows = []
        for k, name in enumerate(self.names):
            column = self.truth[:, k]
            own = [f"{int(column.sum())}"] if labels else [f"{column.mean():.4g}", f"{column.std():.4g}"]
            each = [self.measured.each[key][k] for key in keys]
            rows.append([name, *own, *("–" if value is None else f"{value:.4g}" for value in each)])
        share = ["positive"] if labels else ["mean", "deviation"]
        return [self.target.removesuffix("s"), *share, *(WORDS[key] for key in keys)], rows

    def _repr_html_(self) -> str:
        return heading_html("evaluation", {**self.told, "samples": f"{self.samples:,}"}) + (
            table_html(*self.rows) if self.target != "input" else ""
        )

    @property
    def worst(self) -> np.ndarray:
        """int64: the samples that are farthest from the truth, or look most like an anomaly, the worst first."""
        return np.argsort(-self.errors, kind="stable")

    @cached_property
    def errors(self) -> np.ndarray:
        """float64 [N]: each sample's mean squared error; of numbers, each as a multiple of that number's deviation."""
        if self.target == "input":
            return self.outputs
        return (((self.outputs - self.truth) / self.spread) ** 2).mean(1)

    @property
    def spread(self) -> np.ndarray:
        """float64 [K]: what errors are counted in: of numbers the deviation of the truth, of labels 1."""
        if self.target == "numbers" and self.samples:
            return np.maximum(self.truth.std(0), 1e-300)
        return np.ones(len(self.names))

    def name(self, sample: int) -> str | int:
        """Return what a sample is called: its file's name, else its index."""
        return int(sample) if self.files is None else self.files[sample]

    def only(self, chosen: np.ndarray) -> "TargetEvaluation":
        """Return that of some samples, bool [N], with the figures of all."""
        anomalous = self.anomalous[chosen] if len(self.anomalous) else self.anomalous
        return replace(self, outputs=self.outputs[chosen], truth=self.truth[chosen], anomalous=anomalous, files=None)

    def lines(self, sample: int) -> list[str]:
        """Return a few lines on what a sample is, and what was found."""
        if self.target == "input":
            return [f"score {self.outputs[sample]:.4g}", f"class {short(self.names[self.truth[sample]])}"]
        truth, found = self.truth[sample], self.outputs[sample]
        if self.target == "labels":
            order = np.argsort(-np.abs(found - truth), kind="stable")[:LISTED]
            return [f"{'is' if truth[k] else 'not'} {short(self.names[k])}: {100 * found[k]:.1f} %" for k in order]
        order = np.argsort(-np.abs(found - truth) / self.spread, kind="stable")[:LISTED]
        pairs = [(short(self.names[k]), f"is {truth[k]:.4g}, found {found[k]:.4g}") for k in order]
        return [line for pair in pairs for line in pair]

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


def short(name: str) -> str:
    """Return a name, cut where it is long."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
