"""What trainings of configurations side by side are measured by, and whether they differ by more than luck."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from lenumba.engine.common.statistics import holm, paired_p_value
from lenumba.engine.common.targets import TARGETS
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.network.network import Network
from lenumba.engine.runs.figures import Figure, SeedFigures, TargetFigures
from lenumba.engine.training.trainer import Trainer

#: By how many pixels the test images are shifted, each to the right, left, bottom and top.
SHIFTS = (2, 4)
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class SeedResult(SeedFigures):
    """What one training of a comparison brought.

    Attributes
    ----------
    train_accuracy
        Share of right answers on the images trained on, with the same parameters.
    gap
        train_accuracy − test_accuracy.
    shifted_accuracy
        By distance in pixels: on the test set shifted in the four directions.
    score
        On the test set, by what the comparison judges.
    """

    train_accuracy: float
    gap: float
    shifted_accuracy: dict[int, float]
    score: float


@dataclass(frozen=True)
class TargetResult(TargetFigures):
    """What one training of a comparison brought, where the target is no class.

    `figures` are those of the test set, `seen` those of the samples trained on, with the same parameters.
    """

    seen: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """What several trainings of one configuration brought.

    Attributes
    ----------
    name
        The recipe's name; the path as it was given where another configuration has the same one.
    parameters, multiply_adds
        Of the network; the latter of one image's forward pass.
    seconds, train_accuracy, test_accuracy, gap, shifted_accuracy
        Those of :class:`SeedResult` over the seeds; accuracies are shares from 0 to 1.
    judged_by, score
        What is compared on the test set, and its figure: what the `train.best_by` of all configurations names, accuracy
        where they differ.
    runs
        Each seed's own figures, for paired comparisons.
    p_value
        Of Student's paired t-test that its score differs from the first configuration's, seed by seed, corrected by
        Holm's method where there are several; None for the first, and for a single seed.
    """

    name: str
    parameters: int
    multiply_adds: int
    seconds: Figure
    train_accuracy: Figure
    test_accuracy: Figure
    gap: Figure
    shifted_accuracy: dict[int, Figure]
    judged_by: str
    score: Figure
    runs: tuple[SeedResult, ...] = field(repr=False)
    p_value: float | None = None

    @property
    def scores(self) -> list[float]:
        """Each seed's score."""
        return [run.score for run in self.runs]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TargetComparison:
    """What several trainings of one configuration brought whose target is no class.

    Attributes
    ----------
    name, parameters, multiply_adds, seconds, p_value
        As of :class:`Comparison`.
    judged_by
        The figure that is compared: what the `train.best_by` of all configurations names, else the first that all
        have of those by which such networks are compared.
    figures, seen
        By name over the seeds: those of the test set, and of the samples trained on; what a seed has none of is left
        out.
    runs
        Each seed's own figures.
    """

    name: str
    parameters: int
    multiply_adds: int
    seconds: Figure
    judged_by: str
    figures: dict[str, Figure]
    seen: dict[str, Figure]
    runs: tuple[TargetResult, ...] = field(repr=False)
    p_value: float | None = None

    @property
    def scores(self) -> list[float]:
        """Each seed's figure that is compared."""
        return [run.figures[self.judged_by] for run in self.runs]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def figures_by(loaded: Sequence[LoadedConfig]) -> tuple[str, ...]:
    """Return the figures by which configurations may be compared, the best first.

    Raises
    ------
    ConfigError
        Where they have different targets.
    """
    first = loaded[0].config.data.target
    for item in loaded:
        if (found := item.config.data.target) != first:
            raise item.error(
                "data.target", f"expected {first}, as of {loaded[0].name}, found {found}; compare one target"
            )
    target, wished = TARGETS[first], {item.config.train.best_by for item in loaded}
    if len(wished) > 1 or wished == {target.usual}:
        return target.compared
    return (*wished, *target.compared)


def measure(trainer: Trainer, seconds: float, figures: Sequence[str]) -> SeedResult | TargetResult:
    """Measure a training's best parameters, on the test set, and on the images trained on.

    Classes are judged by the first of the `figures`, and on shifted test images, too.
    """
    dataset, found = trainer.dataset, trainer.test()
    truth, indices, seed = dataset.train_truth, trainer.train_indices, trainer.config.train.seed
    seen: Any = trainer.evaluate(trainer.best_theta, trainer.images, truth, indices)
    if trainer.network.target != "class":
        return TargetResult(seed, seconds, known(found.told(())), known(seen.told(())))
    test, train = found.accuracy, seen.accuracy
    shifted = {distance: shifted_accuracy(trainer, dataset, distance) for distance in SHIFTS}
    score = float(getattr(found, figures[0]))
    return SeedResult(seed, seconds, test, train, train - test, shifted, score)


def known(figures: Mapping[str, float | None]) -> dict[str, float]:
    """Return the figures that there are."""
    return {name: value for name, value in figures.items() if value is not None}


Compared = TypeVar("Compared", Comparison, TargetComparison)


def with_p_values(results: Sequence[Compared]) -> list[Compared]:
    """Return the results with the p values of their differences from the first one."""
    first, *others = results
    if len(first.runs) < 2:
        return list(results)
    corrected: list[float] = holm([paired_p_value(item.scores, first.scores) for item in others])
    return [first, *(replace(item, p_value=value) for item, value in zip(others, corrected, strict=True))]


def shifted_accuracy(trainer: Trainer, dataset: Dataset, distance: int) -> float:
    """Return the mean accuracy on the test set shifted by `distance` pixels in all four directions, signals in two."""
    moves = [(dx, dy) for dx, dy in shifts(distance) if not (dy and trainer.config.network.signals)]
    images = (shift(dataset.test_images, dx, dy) for dx, dy in moves)
    return float(np.mean([trainer.test(moved).accuracy for moved in images]))


def shifts(distance: int) -> Iterator[tuple[int, int]]:
    """Yield (dx, dy) of a distance in pixels: right, left, down, up."""
    for dx, dy in DIRECTIONS:
        yield distance * dx, distance * dy


def shift(images: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Return images [N, H, W, C] moved by dx pixels to the right and dy down; 0 comes in, the rest falls off."""
    height, width = images.shape[1:3]
    moved = np.zeros_like(images)
    rows, columns = max(0, height - abs(dy)), max(0, width - abs(dx))
    top, left = max(0, dy), max(0, dx)
    from_top, from_left = max(0, -dy), max(0, -dx)
    moved[:, top : top + rows, left : left + columns] = images[
        :, from_top : from_top + rows, from_left : from_left + columns
    ]
    return moved


def results_of(
    names: Sequence[str], networks: Sequence[Network], runs: Sequence[Sequence[Any]], figures: Sequence[str]
) -> list[Comparison] | list[TargetComparison]:
    """Put the seeds' figures of each configuration together, with the p values of their differences."""
    parts = list(zip(names, networks, runs, strict=True))
    if isinstance(runs[0][0], SeedResult):
        return with_p_values([comparison_of(name, network, own, figures[0]) for name, network, own in parts])
    every = [run.figures for own in runs for run in own]
    judged_by = next(figure for figure in figures if all(figure in one for one in every))
    return with_p_values([target_comparison_of(name, network, own, judged_by) for name, network, own in parts])


def target_comparison_of(name: str, network: Network, runs: Sequence[TargetResult], judged_by: str) -> TargetComparison:
    """Put the seeds' figures together where the target is no class."""
    return TargetComparison(
        name=name,
        parameters=network.parameter_count,
        multiply_adds=network.multiply_adds,
        seconds=Figure.of([run.seconds for run in runs]),
        judged_by=judged_by,
        figures=over_runs([run.figures for run in runs]),
        seen=over_runs([run.seen for run in runs]),
        runs=tuple(runs),
    )


def over_runs(rows: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    """Return the figures over several runs that all of them have."""
    return {name: Figure.of([row[name] for row in rows]) for name in rows[0] if all(name in row for row in rows)}


def comparison_of(name: str, network: Network, runs: Sequence[SeedResult], judged_by: str) -> Comparison:
    """Put the seeds' figures together."""

    def figure(key: str) -> Figure:
        return Figure.of([getattr(run, key) for run in runs])

    return Comparison(
        name=name,
        parameters=network.parameter_count,
        multiply_adds=network.multiply_adds,
        seconds=figure("seconds"),
        train_accuracy=figure("train_accuracy"),
        test_accuracy=figure("test_accuracy"),
        gap=figure("gap"),
        shifted_accuracy={distance: Figure.of([run.shifted_accuracy[distance] for run in runs]) for distance in SHIFTS},
        judged_by=judged_by,
        score=figure("score"),
        runs=tuple(runs),
    )
