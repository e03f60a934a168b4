"""Targets that are no classes: several labels or numbers of each sample, and the units in which they are learned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.arrays import MAX_CLASSES, dtype_name


@dataclass(frozen=True, eq=False)
class Units:
    """What a network gives, times `deviation`, plus `mean`, is in the targets' own units: float64 [K] each.

    Numbers are learned standardised, where the last layer has no activation that bounds them: then outputs of every
    size are learned alike, and the learning rate does not depend on the units.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray) -> "Units":
        """Return those in which targets [N, K] have mean 0 and deviation 1; constant ones keep their size."""
        mean, deviation = targets.mean(0), targets.std(0)
        return cls(mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0))

    @classmethod
    def own(cls, outputs: int) -> "Units":
        """Return the targets' own."""
        return cls(np.zeros(outputs), np.ones(outputs))

    @classmethod
    def told(cls, values: Mapping[str, Any]) -> "Units":
        """Return those that :meth:`as_dict` tells."""
        return cls(np.array(values["mean"], np.float64), np.array(values["deviation"], np.float64))

    def as_dict(self) -> dict[str, list[float]]:
        """Return them as plain values."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    def learned(self, targets: np.ndarray) -> np.ndarray:
        """Return targets [N, K] as a network learns them, float32."""
        return np.ascontiguousarray((targets - self.mean) / self.deviation, np.float32)

    def given(self, outputs: np.ndarray) -> np.ndarray:
        """Return a network's outputs float32 [N, K] in the targets' units, float64."""
        return outputs * self.deviation + self.mean


def as_targets(where: str, values: np.ndarray, target: str) -> np.ndarray:
    """Return labels or numbers [N] or [N, K] as float64 [N, K].

    Raises
    ------
    DataError
        If they have another type or rank, if labels are others than 0 and 1, or numbers not finite.
    """
    values = np.asarray(values)
    if values.ndim not in (1, 2) or values.dtype.kind not in "biuf" or 0 in values.shape[1:]:
        kind = f"{dtype_name(values.dtype)} {list(values.shape)[:8]}"
        raise DataError(f"{where}: expected {target} [N, K] (data.target = {target}), found {kind}; convert them")
    found = values.reshape(len(values), -1).astype(np.float64)
    if found.shape[1] > MAX_CLASSES:
        raise DataError(f"{where}: expected at most {MAX_CLASSES} {target}, found {found.shape[1]}; are they inputs?")
    with np.errstate(over="ignore", invalid="ignore"):
        right = np.isin(found, (0, 1)) if target == "labels" else np.isfinite(found.astype(np.float32))
    if not right.all():
        row, column = np.argwhere(~right)[0].tolist()
        expected = "0 or 1" if target == "labels" else "a finite float32 number"
        raise DataError(
            f"{where}: expected {expected}, found {values.reshape(found.shape)[row, column]:g} in row {row}, column "
            f"{column} (counted from 0); mend it, or leave the row out"
        )
    return found
