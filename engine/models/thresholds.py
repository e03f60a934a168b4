"""Thresholds of classes: the probability from which on an image is said to be of a class."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json, write_json
from lenumba.engine.common.kinds import LOOSE, checked
from lenumba.engine.models.assessment import Assessment
from lenumba.engine.models.model import Model

FILE = "thresholds.json"


@with_config(LOOSE)
class Thresholds(TypedDict):
    """``thresholds.json``, as far as anything reads it."""

    checkpoint: str
    thresholds: dict[str, float]


ADAPTER = TypeAdapter(Thresholds)


def choose(probabilities: np.ndarray, thresholds: np.ndarray) -> int | None:
    """Return the class that an image is said to be of, or None.

    Of the classes that reach their thresholds, that is the one whose probability is the largest multiple of its own;
    else the most probable one that has none.

    Parameters
    ----------
    probabilities, thresholds
        float64 [classes]; NaN for a class without threshold.
    """
    reached = probabilities >= thresholds
    if reached.any():
        ratios = np.where(reached, probabilities / np.maximum(thresholds, 1e-30), -1)
        return int(ratios.argmax())
    free = np.isnan(thresholds)
    return int(np.where(free, probabilities, -np.inf).argmax()) if free.any() else None


def write_thresholds(assessment: Assessment) -> Path:
    """Write the thresholds that fit the validation images into the run folder.

    Raises
    ------
    DataError
        Where there are no validation images.
    """
    folder, validation = assessment.model.folder, assessment.validation
    if validation is None:
        raise DataError(f"{folder}: expected validation images to fit thresholds on, found {assessment.missing}")
    pairs = zip(assessment.test.class_names, assessment.thresholds, strict=True)
    values = {name: value for name, value in pairs if value is not None}
    about = {"checkpoint": assessment.model.checkpoint, "validation_images": validation.images}
    write_json(folder / FILE, {**about, "thresholds": values})
    return folder / FILE


def read_thresholds(model: Model) -> dict[str, float]:
    """Return the thresholds of a run folder by class.

    Raises
    ------
    DataError
        Where there are none, or not of this network's checkpoint and classes.
    """
    path = model.folder / FILE
    again = f"write it with 'lenumba evaluate --thresholds --checkpoint {model.checkpoint}'"
    if not path.is_file():
        raise DataError(f"{path}: expected thresholds, found no such file; {again}")
    found = checked(ADAPTER, read_json(path), path, again)
    if found["checkpoint"] != model.checkpoint:
        raise DataError(f"{path}: expected thresholds of checkpoint {model.checkpoint}, found others; {again}")
    if unknown := [name for name in found["thresholds"] if name not in model.class_names]:
        raise DataError(f"{path}: expected the network's classes, found {unknown[0][:60]!r}; {again}")
    return found["thresholds"]


def parse_thresholds(given: Sequence[str], class_names: Sequence[str]) -> dict[str, float]:
    """Return thresholds by class of texts CLASS=P; or raise ConfigError."""
    found = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if name not in class_names or not 0 <= value <= 1:
            names = ", ".join(class_names[:10]) + " …" * (len(class_names) > 10)
            raise ConfigError(
                f"--threshold {text[:60]}: expected CLASS=P with a class ({names}) and a probability from 0 to 1"
            )
        found[name] = value
    return found
