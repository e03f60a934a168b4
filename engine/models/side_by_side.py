"""Trained networks side by side: several seeds of a configuration; two runs, or two such folders, compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.bootstrap import paired_intervals
from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.metrics import balanced_accuracy, f1_scores, macro_f1
from lenumba.engine.common.statistics import mcnemar, paired_p_value, t_interval
from lenumba.engine.data.dataset import Dataset, data_sha256
from lenumba.engine.models.evaluation import Evaluation
from lenumba.engine.models.model import Model, load
from lenumba.engine.models.target_comparison import (
    Difference,
    TargetComparison,
    compare_samples,
    compare_target_seeds,
)
from lenumba.engine.models.target_evaluation import TargetEvaluation
from lenumba.engine.runs.figures import Figure
from lenumba.engine.runs.folders import find_run, seed_folders


def evaluate_all(
    folders: Sequence[Path], checkpoint: str = "best", overrides: Sequence[str] = ()
) -> Iterator[tuple[Model, Dataset, Evaluation]]:
    """Yield each run's network, its test images, and how it does on them; equal data are read once."""
    last: tuple[Model, Dataset] | None = None
    for folder in folders:
        model = load(folder, checkpoint, overrides=overrides)
        kept = last is not None and alike(model, last[0])
        dataset = last[1] if last is not None and kept else model.test_data()
        yield model, dataset, model.evaluate_data(dataset)
        last = model, dataset


def alike(first: Model, second: Model) -> bool:
    """Return whether two networks are judged by the same data, read in the same way."""
    about = [(m.loaded.config.data, m.class_names, m.image_shape, m.trained.trained_on) for m in (first, second)]
    return about[0] == about[1]


# ------------------------------------------------------------------------------------------------------------- seeds


@dataclass(frozen=True)
class SeedsEvaluation:
    """How several seeds of one configuration do on the same images.

    Attributes
    ----------
    figures
        Over the seeds, by name: accuracy, loss, balanced_accuracy, macro_f1.
    classes
        Likewise by class and name: precision, recall, f1.
    seeds
        Each seed's own `figures`.
    """

    images: int
    figures: dict[str, Figure]
    classes: dict[str, dict[str, Figure]]
    seeds: dict[int, dict[str, float]]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def evaluate_seeds(folders: Sequence[Path], checkpoint: str = "best", overrides: Sequence[str] = ()) -> SeedsEvaluation:
    """Evaluate the runs of a folder of seeds (:func:`lenumba.engine.runs.folders.seed_folders`).

    Raises
    ------
    ConfigError, DataError
        As :func:`lenumba.engine.models.model.load` does, and where the runs know other classes.
    """
    judged: list[tuple[Model, Any]] = [
        (model, found) for model, _, found in evaluate_all(folders, checkpoint, overrides)
    ]
    if judged[0][0].network.target != "class":
        return target_seeds(judged)
    first = judged[0][1]
    for model, found in judged:
        if found.class_names != first.class_names:
            raise DataError(f"{model.folder}: expected the classes of {folders[0]}, found others; evaluate it alone")
    seeds = {model.loaded.config.train.seed: whole_figures(found) for model, found in judged}
    shares = {
        "precision": [found.precision for _, found in judged],
        "recall": [found.recall for _, found in judged],
        "f1": [f1_scores(found.confusion) for _, found in judged],
    }
    classes = {
        name: {key: Figure.of([float(row[k]) for row in rows]) for key, rows in shares.items()}
        for k, name in enumerate(first.class_names)
    }
    return SeedsEvaluation(first.images, over_seeds(seeds), classes, seeds, first.notes)


def target_seeds(judged: Sequence[tuple[Model, TargetEvaluation]]) -> SeedsEvaluation:
    """Return the same of networks whose target is no class; by label or number, figures that all seeds have."""
    first = judged[0][1]
    seeds = {model.loaded.config.train.seed: found.measured.told(found.names) for model, found in judged}
    rows = [found.measured.by_name(found.names) for _, found in judged]
    known = {name: [key for key in rows[0] if all(name in row[key] for row in rows)] for name in first.names if rows[0]}
    each = {name: {key: Figure.of([row[key][name] for row in rows]) for key in keys} for name, keys in known.items()}
    return SeedsEvaluation(first.samples, over_seeds(seeds), each, seeds, first.notes)


def whole_figures(found: Evaluation) -> dict[str, float]:
    """Return the figures of all classes together."""
    return {
        "accuracy": found.accuracy,
        "loss": float(found.loss),
        "balanced_accuracy": balanced_accuracy(found.confusion),
        "macro_f1": macro_f1(found.confusion),
    }


def over_seeds(seeds: Mapping[int, Mapping[str, float]]) -> dict[str, Figure]:
    """Return mean and standard error of each figure."""
    rows = [*seeds.values()]
    return {key: Figure.of([row[key] for row in rows]) for key in rows[0]}


# --------------------------------------------------------------------------------------------------------- comparisons


@dataclass(frozen=True)
class RunComparison:
    """Two runs, or the seeds of two configurations, on the same test images.

    Attributes
    ----------
    names
        Both folders.
    accuracy, macro_f1
        Of runs, with the interval of the paired bootstrap over images; of seeds, means, with Student's interval over
        the seeds.
    p_value
        That the accuracies are the same: of runs by McNemar's exact test, of seeds by Student's paired t-test.
    only_first, only_second
        Of runs: the images that only the one recognises: name, label, the other's answer.
    seeds
        Of seeds: those that both have, and both accuracies of each.
    notes
        What was left out, a line each.
    """

    names: tuple[str, str]
    images: int
    accuracy: Difference
    macro_f1: Difference
    p_value: float
    only_first: list[dict[str, Any]] = field(default_factory=list)
    only_second: list[dict[str, Any]] = field(default_factory=list)
    seeds: dict[int, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def compare_runs(names: tuple[str, str], overrides: Sequence[str] = ()) -> RunComparison | TargetComparison:
    """Compare two runs, or two folders of seeds, on the same test images.

    Raises
    ------
    ConfigError, DataError
        Where they cannot be read, where one is a run and the other has seeds, or fewer than two of the same, and where
        classes or test images differ.
    """
    seeds = [seed_folders(name) for name in names]
    if all(seeds):
        return compare_seeds(names, seeds[0], seeds[1], overrides)
    if any(seeds):
        many, one = names if seeds[0] else names[::-1]
        raise ConfigError(
            f"compare: expected two runs or two folders of seeds, found the folder of seeds {many} and the run {one}; "
            f"give one run of the folder, such as {(seeds[0] or seeds[1])[0]}"
        )
    judged = check_same(evaluate_all([find_run(name) for name in names], "best", overrides))
    both: list[Any] = [found for _, _, found in judged]
    first, second = both
    if isinstance(first, TargetEvaluation):
        return compare_samples(names, first, second)
    intervals = paired_intervals(first.labels, first.predicted, second.predicted, len(first.class_names))
    right = first.predicted == first.labels, second.predicted == second.labels
    only_first, only_second = np.flatnonzero(right[0] & ~right[1]), np.flatnonzero(right[1] & ~right[0])
    differences = {
        key: Difference(a, b, b - a, intervals[key])
        for key, a, b in (
            ("accuracy", first.accuracy, second.accuracy),
            ("macro_f1", macro_f1(first.confusion), macro_f1(second.confusion)),
        )
    }
    return RunComparison(
        names,
        first.images,
        differences["accuracy"],
        differences["macro_f1"],
        mcnemar(len(only_first), len(only_second)),
        [told(second, image) for image in only_first.tolist()],
        [told(first, image) for image in only_second.tolist()],
        notes=first.notes,
    )


def told(wrong: Evaluation, image: int) -> dict[str, Any]:
    """Return an image's name and label, and the answer of the network that is wrong."""
    names = wrong.class_names
    return {
        "image": wrong.name(image),
        "label": names[wrong.labels[image]],
        "predicted": names[wrong.predicted[image]],
    }


Judged = tuple[Model, Dataset, Evaluation]


def check_same(judged: Iterator[Judged]) -> Iterator[Judged]:
    """Yield what networks do on their test images; raise DataError where these, or the classes, are not the first's."""
    first: Judged | None = None
    for item in judged:
        first = first or item
        (model, data, found), (known, expected, _) = item, first
        if (target := model.network.target) != (wanted := known.network.target):
            raise model.loaded.error(
                "data.target", f"expected {wanted}, as of {known.folder}, found {target}; compare those of one target"
            )
        if found.class_names != first[2].class_names:
            raise DataError(
                f"{model.folder}: expected the classes of {known.folder} ({', '.join(known.class_names)[:80]}), found "
                f"others ({', '.join(model.class_names)[:80]}); compare networks of the same classes"
            )
        if not same_images(data, expected):
            raise DataError(
                f"{model.folder}: expected the {len(expected.test_labels)} test images of {known.folder}, found "
                f"{len(data.test_labels)} others; name both the same images, such as data.root=PATH"
            )
        yield item


def same_images(first: Dataset, second: Dataset) -> bool:
    """Return whether two data sets have the same test images: in one size by their pixels, else by their files."""
    if first is second:
        return True
    if first.image_shape != second.image_shape:
        same_files = first.files is not None and second.files is not None and first.files[1] == second.files[1]
        return same_files and np.array_equal(first.test_labels, second.test_labels)
    return data_sha256(first.test_images, first.test_truth) == data_sha256(second.test_images, second.test_truth)


def compare_seeds(
    names: tuple[str, str], first: Sequence[Path], second: Sequence[Path], overrides: Sequence[str]
) -> RunComparison | TargetComparison:
    """Compare the seeds that two folders have in common, seed by seed."""
    folders = [{int(path.name.removeprefix("seed-")): path for path in paths} for paths in (first, second)]
    common = sorted(folders[0].keys() & folders[1].keys())
    if len(common) < 2:
        raise ConfigError(
            f"compare: expected at least 2 seeds that {names[0]} and {names[1]} both have, found {len(common)}; "
            "train both with the same seeds"
        )
    judged = check_same(evaluate_all([folder[seed] for folder in folders for seed in common], "best", overrides))
    count = len(common)
    left = [
        f"{name}: {len(paths) - count} seeds are left out, which the other has not"
        for name, paths in zip(names, (first, second), strict=True)
        if len(paths) > count
    ]
    every: list[Any] = [found for _, _, found in judged]
    if isinstance(every[0], TargetEvaluation):
        return compare_target_seeds(names, common, every, left)
    rows = [(whole_figures(found), found) for found in every]

    def difference(key: str) -> Difference:
        values = [row[key] for row, _ in rows]
        pairs = [b - a for a, b in zip(values[:count], values[count:], strict=True)]
        means = [sum(part) / count for part in (values[:count], values[count:])]
        return Difference(means[0], means[1], means[1] - means[0], t_interval(pairs))

    accuracies = [row["accuracy"] for row, _ in rows]
    return RunComparison(
        names,
        rows[0][1].images,
        difference("accuracy"),
        difference("macro_f1"),
        paired_p_value(accuracies[count:], accuracies[:count]),
        seeds={seed: (accuracies[k], accuracies[count + k]) for k, seed in enumerate(common)},
        notes=(*rows[0][1].notes, *left),
    )
