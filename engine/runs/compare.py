"""Configurations side by side: each trained with several seeds, in memory or in run folders, and measured alike."""

import contextlib
import functools
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DivergedError
from lenumba.engine.common.files import SUFFIX, write_text
from lenumba.engine.common.statistics import holm, paired_p_value
from lenumba.engine.config.config import LoadedConfig, Overrides, load_config
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import load_data
from lenumba.engine.network.network import Network
from lenumba.engine.ranks.team import ALONE, Alone
from lenumba.engine.runs.checkpoint import BEST, Checkpoint
from lenumba.engine.runs.figures import CompareHooks, Figure, SeedFigures, with_seed
from lenumba.engine.runs.folders import LOCK, check_writable, new_folder
from lenumba.engine.runs.seeds import check_seeds, follow_training, run_folder, seeded_configs, train_seed, watcher
from lenumba.engine.runs.transfer import Source, absolute_source, read_source, take_over
from lenumba.engine.training.build import check_network, check_trainable, stated_shape
from lenumba.engine.training.trainer import Trainer

#: By how many pixels the test images are shifted, each to the right, left, bottom and top.
SHIFTS = (2, 4)
SUMMARY, PLOTS = "comparison.json", "plots"
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

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def compare(
    configs: Sequence[str | Path],
    overrides: Overrides = (),
    seeds: int = 5,
    hooks: CompareHooks | None = None,
    out: Path | None = None,
    team: Alone = ALONE,
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
    out
        A folder for the runs, ``<configuration>/seed-N``; that of an earlier call keeps what is finished and goes on.
        None: nothing is kept.
    team
        The ranks that share out the trainings, each of which calls this alike.

    Raises
    ------
    ConfigError, DataError
        Before anything is trained.
    DivergedError
        When a training's loss is not finite any more; it names configuration and seed.
    InterruptedRunError
        After a signal, where the runs are kept.
    """
    hooks = hooks or CompareHooks()
    if seeds < 1:
        raise ConfigError(f"seeds: expected at least 1 seed, found {seeds}")
    overrides = overrides if isinstance(overrides, Mapping) else list(overrides)
    loaded = [absolute_source(load_config(config, overrides)) for config in configs]
    names = [item.name for item in loaded]
    names = [name if names.count(name) == 1 else item.source for name, item in zip(names, loaded, strict=True)]
    sources = [read_source(item) for item in loaded]
    for item in loaded:
        item.only_targets("a comparison")
        if stated_shape(item.config) is not None:
            check_trainable(item, check_network(item))
    places = check_kept(out, loaded, seeds, checks=team.leads)
    team.barrier()
    datasets: dict[tuple[object, ...], Dataset] = {}  # each is loaded once
    keys, networks = [], []
    for item in loaded:
        data = item.config.data
        keys.append(
            (
                data.name,
                data.root,
                data.image_size,
                item.config.network.signal_shape,
                data.classes,
                data.samples_per_class,
                data.decisions,
            )
        )
        if keys[-1] not in datasets:
            datasets[keys[-1]] = team.share(functools.partial(load_data, item, hooks.download_bar))
        dataset = datasets[keys[-1]]
        networks.append(check_trainable(item, check_network(item, dataset.image_shape, dataset.classes)))
    record = [f"{key}={value}" for key, value in overrides.items()] if isinstance(overrides, Mapping) else overrides
    command = ["lenumba", "compare", *map(str, configs), *record, "--seeds", str(seeds), "--out", str(out)]
    count = seeds * len(loaded)
    wished = {item.config.train.best_by for item in loaded}
    judged_by = wished.pop() if len(wished) == 1 else "accuracy"
    resume = shlex.join(command if out is not None else command[:-2])
    team.resumes_with(resume)

    def train_one(number: int) -> SeedResult:
        which, seed = divmod(number, seeds)
        name, dataset, place = names[which], datasets[keys[which]], places[which]
        seeded = with_seed(loaded[which], loaded[which].config.train.seed + seed)
        try:
            if place is None:
                trainer, seconds = train_once(seeded, dataset, sources[which], name, hooks, (number, count), team.own)
            else:
                follow = follow_training(hooks, seeded, name, (number, count))
                seconds = train_seed(seeded, place, record, follow, command, team.own).seconds
                trainer = Trainer(seeded, dataset, hooks.compile, team=team.own)
                best = Checkpoint.read(run_folder(place, seeded) / BEST)
                best.fill(trainer.network, trainer.best_theta, "")
        except DivergedError as error:
            raise DivergedError(f"{name}, {error}") from None
        found = measure(trainer, seconds, judged_by)
        if hooks.done:
            hooks.done(name, found, number + 1, count)
        return found

    with contextlib.ExitStack() as stack:
        if out is not None and team.leads:
            stack.enter_context(new_folder(out, ""))
        runs = team.share_out(count, train_one, resume)
        results = with_p_values(
            [
                comparison_of(name, network, runs[k * seeds : (k + 1) * seeds], judged_by)
                for k, (name, network) in enumerate(zip(names, networks, strict=True))
            ]
        )
        if out is not None and team.leads:
            write_text(out / SUMMARY, json.dumps([item.as_dict() for item in results], indent=2) + "\n")
    return results


def check_kept(
    out: Path | None, loaded: Sequence[LoadedConfig], seeds: int, *, checks: bool = True
) -> Sequence[Path | None]:
    """Return the folder of each configuration's seeds; raise ConfigError if it `checks` and finds anything else."""
    if out is None:
        return [None] * len(loaded)
    names = [item.name for item in loaded]
    places = [
        out / (name if names.count(name) == 1 else f"{name}-{names[: number + 1].count(name)}")
        for number, name in enumerate(names)
    ]
    if not checks:
        return places
    if not out.is_dir():
        check_writable(out)
        return places
    for path in out.iterdir():
        if path not in (*places, out / LOCK, out / SUMMARY, out / PLOTS) and path.suffix != SUFFIX:
            what = "a new folder or one of compare with these configurations"
            raise ConfigError(f"--out {out}: expected {what}, found {path.name} in it; choose another")
    for item, place in zip(loaded, places, strict=True):
        if place.is_dir():
            check_seeds(place, seeded_configs(item, seeds))
    return places


def train_once(
    loaded: LoadedConfig,
    dataset: Dataset,
    source: Source | None,
    name: str,
    hooks: CompareHooks,
    place: tuple[int, int],
    team: Alone = ALONE,
) -> tuple[Trainer, float]:
    """Train with one seed in memory; return also the seconds. `place` is (trainings done before, all trainings)."""
    trainer = Trainer(loaded, dataset, hooks.compile, team=team)
    take_over(trainer, source)
    try:
        return trainer, sum(record.seconds for record in trainer.epochs(watcher(hooks, trainer, name, place)))
    except DivergedError as error:
        raise DivergedError(f"seed {loaded.config.train.seed}: {error}") from None


def measure(trainer: Trainer, seconds: float, judged_by: str) -> SeedResult:
    """Measure a training's best parameters, on the test set, also shifted, and on the images trained on."""
    dataset, found = trainer.dataset, trainer.test()
    test = found.accuracy
    labels, indices = dataset.train_labels, trainer.train_indices
    seen: Any = trainer.evaluate(trainer.best_theta, trainer.images, labels, indices)
    train = seen.accuracy
    shifted = {distance: shifted_accuracy(trainer, dataset, distance) for distance in SHIFTS}
    score = float(getattr(found, judged_by))
    return SeedResult(trainer.config.train.seed, seconds, test, train, train - test, shifted, score)


def with_p_values(results: Sequence[Comparison]) -> list[Comparison]:
    """Return the results with the p values of their differences from the first one."""
    first, *others = results
    if len(first.runs) < 2:
        return list(results)
    scores = [[run.score for run in item.runs] for item in results]
    corrected = holm([paired_p_value(values, scores[0]) for values in scores[1:]])
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
