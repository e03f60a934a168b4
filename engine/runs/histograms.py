"""How weights and gradients are distributed, epoch by epoch: a line an epoch in the run's ``histograms.jsonl``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.files import append, write_text
from lenumba.engine.common.progress import EpochRecord
from lenumba.engine.runs.records import HISTOGRAM, read_lines

FILE = "histograms.jsonl"
BINS = 40


@dataclass(frozen=True)
class Histogram:
    """One tensor over the epochs, on common bins.

    Attributes
    ----------
    name
        Such as ``conv1.kernel`` or ``∂L/∂conv1.kernel``.
    low, high
        The range of all epochs.
    epochs
        Their numbers.
    counts
        float64 [epochs, BINS].
    """

    name: str
    low: float
    high: float
    epochs: list[int]
    counts: np.ndarray


class HistogramFile:
    """Appends to a run's ``histograms.jsonl``, after dropping what came after `epochs` epochs."""

    def __init__(self, folder: Path, epochs: int) -> None:
        kept = [dump_line(line) for line in read_lines(folder / FILE, HISTOGRAM) if line["epoch"] <= epochs]
        self.path = folder / FILE
        write_text(self.path, "".join(kept))

    def epoch(self, record: EpochRecord, tensors: Mapping[str, np.ndarray]) -> None:
        """Write an epoch's histograms."""
        counted = {name: count(tensor) for name, tensor in tensors.items() if np.isfinite(tensor).all()}
        append(self.path, dump_line({"epoch": record.epoch, "tensors": counted}))

    def close(self) -> None:
        """Do nothing: it is closed after each epoch."""


def dump_line(values: Mapping[str, Any]) -> str:
    """Return a line of the file."""
    return json.dumps(values, ensure_ascii=False) + "\n"


def count(tensor: np.ndarray) -> dict[str, Any]:
    """Return a histogram of BINS equal bins between the smallest and the largest value."""
    counts, edges = np.histogram(tensor, BINS)
    return {"low": float(edges[0]), "high": float(edges[-1]), "counts": counts.tolist()}


def read_histograms(folder: Path) -> list[Histogram]:
    """Return the run's histograms, each tensor and then its gradient, the epochs of each on common bins."""
    lines = read_lines(folder / FILE, HISTOGRAM)
    found = []
    names = list(lines[0]["tensors"]) if lines else []
    places = {name: place for place, name in enumerate(names)}
    for name in sorted(names, key=lambda name: places.get(name.removeprefix("∂L/∂"), len(names))):
        rows = [(line["epoch"], line["tensors"][name]) for line in lines if name in line["tensors"]]
        low, high = min(row["low"] for _, row in rows), max(row["high"] for _, row in rows)
        counts = np.array([rebin(row, low, high) for _, row in rows])
        found.append(Histogram(name, low, high, [epoch for epoch, _ in rows], counts))
    return found


def rebin(row: dict[str, Any], low: float, high: float) -> np.ndarray:
    """Return float64 [BINS]: a histogram's counts on BINS bins between low and high; within a bin they lie evenly."""
    edges = np.linspace(row["low"], row["high"], len(row["counts"]) + 1)
    below = np.interp(np.linspace(low, high, BINS + 1), edges, np.cumsum([0, *row["counts"]]))
    return np.diff(below)
