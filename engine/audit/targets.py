"""Audits where the target is several labels or numbers: which of them networks that have not seen the sample doubt."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.audit.folds import Pool
from lenumba.engine.audit.judgement import SURE, standard_error
from lenumba.engine.common.host import cpu_name, versions
from lenumba.engine.common.kinds import without_nan
from lenumba.engine.common.measures import MEASURES
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.models.target_evaluation import TargetEvaluation

DEVIATIONS = 5.0  # of a number's residuals, by their median absolute deviation, from which on one is suspicious
NORMAL = 1.4826  # times it is the deviation of normally distributed values
RULES = {
    "labels": f"the other answer has a mean probability of {SURE:g} or more",
    "numbers": f"off the median residual by more than {DEVIATIONS:g} deviations (by the median absolute deviation)",
}


@dataclass(frozen=True)
class TargetAudit:
    """What an audit found.

    Attributes
    ----------
    path
        Its folder.
    pool
        The samples.
    judged
        The mean answers of networks that had not seen the sample, and what they are worth.
    errors
        float64 [N, K], the answers' standard errors over the seeds; NaN for one seed.
    doubted
        bool [N, K]: the labels or numbers that are suspicious.
    summary
        The contents of ``audit.json``.
    """

    path: Path
    loaded: LoadedConfig = field(repr=False)
    pool: Pool = field(repr=False)
    judged: TargetEvaluation = field(repr=False)
    errors: np.ndarray = field(repr=False)
    doubted: np.ndarray = field(repr=False)
    summary: dict[str, Any] = field(repr=False)

    @property
    def rule(self) -> str:
        """What makes a label or number suspicious."""
        return RULES[self.judged.target]

    @property
    def suspicious(self) -> np.ndarray:
        """int64: the samples with suspicious labels or numbers, the farthest from the truth first."""
        order = self.judged.worst
        doubted = np.any(self.doubted, axis=1)
        return order[doubted[order]]

    def called(self, sample: int) -> str:
        """Return what a sample is called."""
        return self.pool.file_of(sample) or f"{self.pool.split_of(sample)} {self.pool.index[sample]}"

    def doubts(self, sample: int) -> list[str]:
        """Return a sample's suspicious labels or numbers, given and found, with standard errors."""
        judged, told = self.judged, []
        for k in np.flatnonzero(self.doubted[sample]).tolist():
            given, found, error = judged.truth[sample, k], judged.outputs[sample, k], self.errors[sample, k]
            around = "" if np.isnan(error) else f" ± {error:.2g}"
            told.append(f"{judged.names[k]} {given:.4g}, found {found:.4g}{around}")
        return told


def conclude_targets(
    folder: Path, loaded: LoadedConfig, pool: Pool, answers: np.ndarray, record: dict[str, Any], seconds: float
) -> TargetAudit:
    """Return what follows from answers float64 [seeds, N, K] of networks that had not seen the samples."""
    target, truth, names = loaded.config.data.target, pool.dataset.train_truth, pool.dataset.class_names
    mean = answers.mean(0)
    measured = MEASURES[target](float("nan"), mean, truth)
    judged = TargetEvaluation(target, measured, mean, truth, names)
    doubted = doubtful(target, mean, truth)
    flagged, in_train = doubted.any(1), np.arange(len(truth)) < pool.train_count
    summary = record | {
        "status": "finished",
        "images": {"train": pool.train_count, "test": len(truth) - pool.train_count},
        **measured.figures,
        "suspicious": {"train": int((flagged & in_train).sum()), "test": int((flagged & ~in_train).sum())},
        f"suspicious_by_{target.removesuffix('s')}": dict(zip(names, doubted.sum(0).tolist(), strict=True)),
        "rule": RULES[target],
        "versions": versions(),
        "cpu": cpu_name(),
        "wall_s": seconds,
    }
    return TargetAudit(folder, loaded, pool, judged, standard_error(answers), doubted, without_nan(summary))


def doubtful(target: str, answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return bool [N, K]: the labels or numbers that answers float64 [N, K] speak against, by `RULES`."""
    if target == "labels":
        return np.where(truth > 0.5, 1 - answers, answers) >= SURE
    residuals = answers - truth
    residuals -= np.median(residuals, axis=0)
    return np.abs(residuals) > DEVIATIONS * NORMAL * np.median(np.abs(residuals), axis=0)


def target_csv(audit: TargetAudit) -> str:
    """Return a table of all samples, the farthest from the truth first."""
    judged, pool = audit.judged, audit.pool
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name} {what}" for name in judged.names for what in ("given", "found", "error")]
    writer.writerow(["rank", "split", "index", "file", *columns, "suspicious"])
    for rank, sample in enumerate(judged.worst.tolist(), 1):
        values: list[str] = []
        for given, found, error in zip(judged.truth[sample], judged.outputs[sample], audit.errors[sample], strict=True):
            values += [f"{given:g}", f"{found:.6g}", "" if np.isnan(error) else f"{error:.4g}"]
        doubts = " and ".join(np.array(judged.names)[audit.doubted[sample]])
        writer.writerow([rank, pool.split_of(sample), pool.index[sample], pool.file_of(sample), *values, doubts])
    return text.getvalue()
