"""Configurations side by side: each trained with several seeds in memory, measured alike. No files, no printing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DivergedError
from lenumba.engine.config.config import LoadedConfig, Overrides, load_config
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.runs.transfer import Source, read_source, take_over
from lenumba.engine.training.build import check_network, stated_shape
from lenumba.engine.training.trainer import Trainer

#: By how many pixels the test images are shifted, each to the right, left, bottom and top.
SHIFTS = (2, 4)
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Figure:
    """A figure over several seeds: `mean`, and its standard `error` (None for one seed, which tells nothing of it)."""

    mean: float
    error: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return mean and standard error (the sample's deviation / √n) of one value per seed."""
        error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        return cls(float(np.mean(values)), error)


@dataclass(frozen=True)
class SeedFigures:
    """What every training with a seed tells.

    Attributes
    ----------
    seconds
        Of training alone, without compilation and validation.
    test_accuracy
        Share of right answers on the test set with the best epoch's parameters.
    """

    seed: int
    seconds: float
    test_accuracy: float


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
    """

    train_accuracy: float
    gap: float
    shifted_accuracy: dict[int, float]


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
    runs
        Each seed's own figures, for paired comparisons.
    """

    name: str
    parameters: int
    multiply_adds: int
    seconds: Figure
    train_accuracy: Figure
    test_accuracy: Figure
    gap: Figure
    shifted_accuracy: dict[int, Figure]
    runs: tuple[SeedResult, ...] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


@dataclass
class CompareHooks:
    """How a caller follows a comparison.

    Attributes
    ----------
    compile
        ``compile(step, done, total)`` while a program is compiled.
    watch
        ``watch(name, seed, fraction)`` about 20 times a second: which training runs, and how much of all is done.
    done
        ``done(name, result, number, count)`` after each of `count` trainings.
    download_bar
        Whether a download draws a progress bar.
    finished
        ``finished(folder)`` at the end of a run with ``plots: true``, where trainings have run folders.
    """

    compile: Callable[[str, int, int], None] | None = None
    watch: Callable[[str, int, float], None] | None = None
    done: Callable[[str, SeedFigures, int, int], None] | None = None
    download_bar: bool = False
    finished: Callable[[Path], None] | None = None


def compare(
    configs: Sequence[str | Path], overrides: Overrides = (), seeds: int = 5, hooks: CompareHooks | None = None
) -> list[Comparison]:
    """Train each configuration with the seeds train.seed, train.seed + 1, … and measure them alike.

    Parameters
    ----------
    configs
        Recipes' names or paths of YAML files.
    overrides
        As for :func:`lenumba.engine.config.config.load_config`; they apply to every configuration.
    seeds
        How many seeds.

    Raises
    ------
    ConfigError, DataError
        Before anything is trained.
    DivergedError
        When a training's loss is not finite any more; it names configuration and seed.
    """
    hooks = hooks or CompareHooks()
    if seeds < 1:
        raise ConfigError(f"seeds: expected at least 1 seed, found {seeds}")
    overrides = overrides if hasattr(overrides, "items") else list(overrides)
    loaded = [load_config(config, overrides) for config in configs]
    names = [item.name for item in loaded]
    names = [name if names.count(name) == 1 else item.source for name, item in zip(names, loaded, strict=True)]
    sources = [read_source(item) for item in loaded]
    for item in loaded:
        if stated_shape(item.config) is not None:
            check_network(item)
    datasets: dict[tuple[object, ...], Dataset] = {}  # each is loaded once
    keys = []
    for item in loaded:
        data = item.config.data
        keys.append((data.name, data.root, data.image_size, data.classes, data.samples_per_class))
        if keys[-1] not in datasets:
            datasets[keys[-1]] = load_data(item, hooks.download_bar)
        dataset = datasets[keys[-1]]
        check_network(item, dataset.image_shape, dataset.classes)
    results, number, count = [], 0, seeds * len(loaded)
    for name, item, source, key in zip(names, loaded, sources, keys, strict=True):
        runs = []
        for seed in range(item.config.train.seed, item.config.train.seed + seeds):
            trainer, result = train_once(with_seed(item, seed), datasets[key], source, name, hooks, (number, count))
            runs.append(result)
            number += 1
            if hooks.done:
                hooks.done(name, result, number, count)
        results.append(comparison_of(name, trainer, runs))
    return results


def with_seed(loaded: LoadedConfig, seed: int) -> LoadedConfig:
    """Return the configuration with another seed."""
    train = loaded.config.train.model_copy(update={"seed": seed})
    return replace(loaded, config=loaded.config.model_copy(update={"train": train}))


def train_once(
    loaded: LoadedConfig,
    dataset: Dataset,
    source: Source | None,
    name: str,
    hooks: CompareHooks,
    place: tuple[int, int],
) -> tuple[Trainer, SeedResult]:
    """Train with one seed and measure; `place` is (trainings done before, all trainings)."""
    trainer = Trainer(loaded, dataset, hooks.compile)
    take_over(trainer, source)
    seed, epochs, images = loaded.config.train.seed, loaded.config.train.epochs, len(trainer.train_indices)

    def watch(epoch: int, done: int, loss: float, accuracy: float) -> None:
        if hooks.watch:
            hooks.watch(name, seed, (place[0] + (epoch - 1 + done / images) / epochs) / place[1])

    try:
        seconds = sum(record.seconds for record in trainer.epochs(watch))
    except DivergedError as error:
        raise DivergedError(f"{name}, seed {seed}: {error}") from None
    _, test = trainer.test()
    _, train = trainer.evaluate(trainer.best_theta, trainer.images, dataset.train_labels, trainer.train_indices)
    shifted = {distance: shifted_accuracy(trainer, dataset, distance) for distance in SHIFTS}
    return trainer, SeedResult(seed, seconds, test, train, train - test, shifted)


def shifted_accuracy(trainer: Trainer, dataset: Dataset, distance: int) -> float:
    """Return the mean accuracy on the test set shifted by `distance` pixels in each of the four directions."""
    images = (shift(dataset.test_images, dx, dy) for dx, dy in shifts(distance))
    return float(np.mean([trainer.test(moved)[1] for moved in images]))


def shifts(distance: int) -> Iterator[tuple[int, int]]:
    """Yield (dx, dy) of a distance in pixels: right, left, down, up."""
    for dx, dy in DIRECTIONS:
        yield distance * dx, distance * dy


def shift(images: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Return images uint8 [N, H, W, C] moved by dx pixels to the right and dy down; 0 comes in, the rest falls off."""
    height, width = images.shape[1:3]
    moved = np.zeros_like(images)
    rows, columns = max(0, height - abs(dy)), max(0, width - abs(dx))
    top, left = max(0, dy), max(0, dx)
    from_top, from_left = max(0, -dy), max(0, -dx)
    moved[:, top : top + rows, left : left + columns] = images[
        :, from_top : from_top + rows, from_left : from_left + columns
    ]
    return moved


def comparison_of(name: str, trainer: Trainer, runs: Sequence[SeedResult]) -> Comparison:
    """Put the seeds' figures together."""

    def figure(key: str) -> Figure:
        return Figure.of([getattr(run, key) for run in runs])

    return Comparison(
        name=name,
        parameters=trainer.network.parameter_count,
        multiply_adds=trainer.network.multiply_adds,
        seconds=figure("seconds"),
        train_accuracy=figure("train_accuracy"),
        test_accuracy=figure("test_accuracy"),
        gap=figure("gap"),
        shifted_accuracy={distance: Figure.of([run.shifted_accuracy[distance] for run in runs]) for distance in SHIFTS},
        runs=tuple(runs),
    )
