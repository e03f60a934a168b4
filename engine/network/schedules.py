"""Learning-rate schedules: functions from the step (counted from 0) to the learning rate."""

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np

Curve = Callable[[float], float]  # progress from 0 to 1 → fraction of the peak learning rate


def constant(schedule: Any, epochs: float) -> Curve:
    """Stay at the peak."""
    return lambda progress: 1.0


def step(schedule: Any, epochs: float) -> Curve:
    """Multiply by `step_factor` every `step_epochs` epochs."""
    # The small constant keeps a drop that falls on a step boundary from being lost to rounding.
    return lambda progress: schedule.step_factor ** math.floor(progress * epochs / schedule.step_epochs + 1e-9)


def exponential(schedule: Any, epochs: float) -> Curve:
    """Multiply by `gamma` after each epoch, not within one: γ^epoch, epochs counted from 0."""
    return lambda progress: schedule.gamma ** math.floor(progress * epochs + 1e-9)


def piecewise(schedule: Any, epochs: float) -> Curve:
    """Take the next of `values` when as many epochs are over as the next of `boundaries` says."""
    return lambda progress: schedule.values[bisect_right(schedule.boundaries, progress * epochs + 1e-9)]


def cosine(schedule: Any, epochs: float) -> Curve:
    """Fall along half a cosine to `final_fraction` of the peak (Loshchilov & Hutter 2017, without restarts)."""
    final = schedule.final_fraction
    return lambda progress: final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def one_cycle(schedule: Any, epochs: float) -> Curve:
    """Rise linearly from 1/25 of the peak in the first 30 %, then fall along half a cosine (Smith & Topin 2018)."""
    fall = cosine(schedule, epochs)

    def curve(progress: float) -> float:
        if progress < 0.3:
            return 1 / 25 + (1 - 1 / 25) * progress / 0.3
        return fall((progress - 0.3) / 0.7)

    return curve


SCHEDULES = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "piecewise": piecewise,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def learning_rates(schedule: Any, peak: float, first: int, last: int, steps_per_epoch: int, epochs: int) -> np.ndarray:
    """Return the learning rates of steps `first` … `last` − 1 of a whole run.

    Parameters
    ----------
    schedule
        A configuration's `schedule` section. Its warm-up, a linear rise from zero, comes before the curve.
    peak
        The peak learning rate.
    steps_per_epoch, epochs
        The length of the run.

    Returns
    -------
    numpy.ndarray
        float64 [last − first].
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    rest = max(1, epochs * steps_per_epoch - warmup)
    curve = SCHEDULES[schedule.name](schedule, rest / steps_per_epoch)
    return np.array(
        [peak * ((k + 1) / warmup if k < warmup else curve((k - warmup) / rest)) for k in range(first, last)]
    )
