"""Two runs, or the seeds of two configurations, compared on the same test samples where the target is no class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lenumba.engine.common.bootstrap import chance, percentiles, resampled
from lenumba.engine.common.measures import MEASURES
from lenumba.engine.common.statistics import paired_p_value, t_interval
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.models.target_evaluation import TargetEvaluation

LISTED = 24  # samples whose errors differ most


@dataclass(frozen=True)
class Difference:
    """A figure of both, the second minus the first, and its 95 % interval."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class TargetComparison:
    """Two runs, or the seeds of two configurations, on the same test samples.

    Attributes
    ----------
    names
        Both folders.
    figures
        By name: of runs, with the interval of the paired bootstrap over samples; of seeds, means, with Student's
        interval over the seeds.
    judged_by
        The figure that `p_value` is about.
    p_value
        That it is the same: of runs by the bootstrap, of seeds by Student's paired t-test.
    draws
        How often samples were drawn for the bootstrap; 0 where seeds are compared.
    better_first, better_second
        Of runs: the samples on which the one has the smaller error, by the difference: name and both errors.
    seeds
        Of seeds: those that both have, and both values of `judged_by` of each.
    notes
        What was left out, a line each.
    """

    names: tuple[str, str]
    samples: int
    figures: dict[str, Difference]
    judged_by: str
    p_value: float
    draws: int = 0
    better_first: list[dict[str, Any]] = field(default_factory=list)
    better_second: list[dict[str, Any]] = field(default_factory=list)
    seeds: dict[int, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def compare_samples(names: tuple[str, str], first: TargetEvaluation, second: TargetEvaluation) -> TargetComparison:
    """Compare what two networks make of the same samples."""
    figures = shared_figures([first, second])
    if first.target != "input":  # whose units are each network's own
        del figures["loss"]
    judged_by = compared_by(first.target, figures)
    drawn = resampled(first.samples, first.outputs.size, measuring(first, second, list(figures)))
    both = dict(zip(figures, drawn.T, strict=True))
    differences = {name: Difference(a, b, b - a, percentiles(both[name])) for name, (a, b) in figures.items()}
    gains = first.errors - second.errors  # above 0 where the second is nearer
    order = np.argsort(gains, kind="stable")
    return TargetComparison(
        names,
        first.samples,
        differences,
        judged_by,
        chance(both[judged_by]),
        len(drawn),
        [told(first, second, k) for k in order[:LISTED].tolist() if gains[k] < 0],
        [told(first, second, k) for k in order[::-1][:LISTED].tolist() if gains[k] > 0],
        notes=first.notes,
    )


def compare_target_seeds(
    names: tuple[str, str], seeds: Sequence[int], found: Sequence[TargetEvaluation], notes: Sequence[str]
) -> TargetComparison:
    """Compare the seeds of two configurations; `found` has the first one's, then the second one's, in their order."""
    figures, count = shared_figures(found), len(seeds)
    judged_by = compared_by(found[0].target, figures)

    def difference(values: Sequence[float]) -> Difference:
        pairs = [b - a for a, b in zip(values[:count], values[count:], strict=True)]
        means = [sum(part) / count for part in (values[:count], values[count:])]
        return Difference(means[0], means[1], means[1] - means[0], t_interval(pairs))

    own = figures[judged_by]
    return TargetComparison(
        names,
        found[0].samples,
        {name: difference(values) for name, values in figures.items()},
        judged_by,
        paired_p_value(own[count:], own[:count]),
        seeds={seed: (own[k], own[count + k]) for k, seed in enumerate(seeds)},
        notes=(*found[0].notes, *notes),
    )


def shared_figures(found: Sequence[TargetEvaluation]) -> dict[str, list[float]]:
    """Return by name each network's figures, those that all of them have."""
    rows = [one.measured.told(one.names) for one in found]
    return {name: [row[name] for row in rows] for name in rows[0] if all(row.get(name) is not None for row in rows)}


def compared_by(target: str, figures: Mapping[str, object]) -> str:
    """Return the figure that decides."""
    return next((name for name in TARGETS[target].compared if name in figures), next(iter(figures)))


def measuring(
    first: TargetEvaluation, second: TargetEvaluation, names: Sequence[str]
) -> Callable[[np.ndarray], list[float]]:
    """Return what gives, for samples' indices, the second one's figures minus the first one's; NaN for none."""
    measure = MEASURES[first.target]
    truth = first.anomalous if first.target == "input" else first.truth

    def measured(chosen: np.ndarray) -> list[float]:
        rows = [
            measure(float(one.errors[chosen].mean()), one.outputs[chosen], truth[chosen]).told(())
            for one in (first, second)
        ]
        pairs = [(rows[0].get(name), rows[1].get(name)) for name in names]
        return [np.nan if a is None or b is None else b - a for a, b in pairs]

    return measured


def told(first: TargetEvaluation, second: TargetEvaluation, sample: int) -> dict[str, Any]:
    """Return a sample's name and both errors."""
    errors = {"first": float(first.errors[sample]), "second": float(second.errors[sample])}
    return {"sample": first.name(sample), **errors}
