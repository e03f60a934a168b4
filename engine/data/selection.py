"""Parts of a data set: of its classes and images, for validation, and what a trained network is to judge."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset, data_sha256, dataset_spec, load_dataset, split_validation
from lenumba.engine.data.decisions import apply_decisions, read_decisions
from lenumba.engine.data.normalization import Normalization, unmeasured
from lenumba.engine.data.splits import draw_stratified


def load_data(loaded: LoadedConfig, progress: bool = False, given: Dataset | None = None) -> Dataset:
    """Load a configuration's data set and keep what its decisions, `data.classes` and `data.samples_per_class` choose.

    Parameters
    ----------
    progress
        Draw a progress bar on standard error for each download.
    given
        The data set, where it is in memory already.

    Returns
    -------
    Dataset
        Images uint8 [N, H, W, C], labels int64 [N] from 0 in the order of `data.classes`.

    Raises
    ------
    ConfigError
        Where the data set has no such class.
    DataError
        Where the data set cannot be loaded, or has fewer images than are asked for.
    """
    data = loaded.config.data
    dataset = given or load_dataset(data.name, data.root, progress, data.image_size, **reading(loaded))
    if data.decisions is not None:
        dataset = apply_decisions(dataset, read_decisions(data.decisions), data.decisions)
    return select(loaded, dataset)


def reading(loaded: LoadedConfig) -> dict[str, Any]:
    """Return what a configuration says of its data beside where they are, as :func:`load_dataset` takes it."""
    data, shape = loaded.config.data, loaded.config.network.signal_shape
    return {
        "signal_shape": shape,
        "floats": data.dtype == "float32",
        "target": data.target,
        "columns": data.target_columns,
    }


def stated_classes(loaded: LoadedConfig) -> int | None:
    """Return the number of classes as far as the configuration or the data set's name tell it, else None.

    Raises
    ------
    ConfigError
        Where `data.classes` has one that the data set is known to lack.
    """
    data = loaded.config.data
    known = dataset_spec(data.name).classes
    if data.classes is None:
        return known
    if known is not None:
        check_classes(loaded, known)
    return len(data.classes)


def check_classes(loaded: LoadedConfig, known: int) -> None:
    """Raise ConfigError where `data.classes` has one that a data set of `known` classes lacks."""
    data = loaded.config.data
    for index, number in enumerate(data.classes or ()):
        if number >= known:
            message = f"expected a class of {data.name}, 0 to {known - 1}, found {number}; choose among these"
            raise loaded.error(f"data.classes.{index}", message)


def select(loaded: LoadedConfig, dataset: Dataset, judged_as: Sequence[str] | None = None) -> Dataset:
    """Return what a configuration chooses of a data set, the data set itself where it chooses nothing.

    The images keep their order. The test set is cut down to the classes, but never to a number of images. Where the
    images are only judged, by a network that knows the classes `judged_as`, these name what a run has chosen, and a
    class may lack images.
    """
    data, judging = loaded.config.data, judged_as is not None
    if data.classes is None and data.samples_per_class is None:
        return dataset
    chosen = data.classes
    if judging and chosen and dataset.named and loaded.origins.get("data.classes") != "override data.classes":
        chosen = tuple(dataset.class_names.index(name) for name in judged_as or () if name in dataset.class_names)
    else:
        check_classes(loaded, dataset.classes)
    classes = list(chosen or range(dataset.classes))
    relabelled = np.full(dataset.classes, -1, np.int64)
    relabelled[classes] = np.arange(len(classes))
    train = np.flatnonzero(relabelled[dataset.train_labels] >= 0)
    test = np.flatnonzero(relabelled[dataset.test_labels] >= 0)
    for kept, kind in ((train, "training"), (test, "test")):
        if len(kept) == 0 and not judging:
            wanted = f"expected at least one {kind} image of the classes {classes}, found none"
            raise DataError(f"{dataset.name}: {wanted}; change data.classes")
    if (count := data.samples_per_class) is not None:
        found = [np.flatnonzero(dataset.train_labels == number) for number in classes]
        for number, indices in zip(classes, found, strict=True):
            if len(indices) < count and not judging:
                raise DataError(
                    f"{dataset.name}: expected {count} training images of class {number} "
                    f"({dataset.class_names[number]}), found {len(indices)}; lower data.samples_per_class"
                )
        train = np.sort(np.concatenate([indices[:count] for indices in found]))
    validation = None if dataset.validation is None else np.flatnonzero(np.isin(train, dataset.validation))
    arrays = (
        dataset.train_images[train],
        relabelled[dataset.train_labels[train]],
        dataset.test_images[test],
        relabelled[dataset.test_labels[test]],
    )
    kept_files = dataset.files and tuple(
        tuple(names[k] for k in part) for names, part in zip(dataset.files, (train, test), strict=True)
    )
    return replace(
        dataset,
        train_images=arrays[0],
        train_labels=arrays[1],
        test_images=arrays[2],
        test_labels=arrays[3],
        classes=len(classes),
        class_names=tuple(dataset.class_names[number] for number in classes),
        sha256=data_sha256(*arrays, *([] if validation is None else [validation])),
        validation=validation,
        files=kept_files,  # type: ignore[arg-type]
    )


# ------------------------------------------------------------------------------------------ images for trained networks


def load_judged(
    loaded: LoadedConfig,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    trained_on: str | None = None,
    progress: bool = False,
) -> Dataset:
    """Load the images that a trained network is to judge: as the test set, labelled by the network's own classes.

    That is a data set's test part. Of other data than the network was trained on, which no files divide, it is all.

    Parameters
    ----------
    loaded
        The run's configuration, perhaps with another `data.root`.
    class_names, image_shape
        The network's.
    trained_on
        SHA-256 of the data that it was trained on; None where that is not known.

    Raises
    ------
    ConfigError, DataError
        As :func:`load_data` does, and where the data have classes that the network does not know.
    """
    data = loaded.config.data
    found = load_dataset(data.name, data.root, progress, data.image_size, judging=True, **reading(loaded))
    dataset = select(loaded, found, judged_as=class_names)
    if dataset.image_shape != image_shape:
        expected, shape = ("×".join(map(str, size)) for size in (image_shape, dataset.image_shape))
        raise DataError(
            f"{loaded.name}: was trained on other data than {dataset.name} now is: expected images of {expected}, "
            f"found {shape}; restore them"
        )
    elsewhere = dataset.sha256 != trained_on and loaded.origins.get("data.root") == "override data.root"
    if not len(dataset.test_labels) or (dataset.divided and elsewhere):
        dataset = undivided(dataset)
    if data.target == "input":  # judges samples of other classes, too: they are the anomalous ones
        return dataset
    if data.target != "class":
        if len(dataset.class_names) != len(class_names):
            expected = f"{len(class_names)} {data.target} for each sample, as {loaded.name} was trained with"
            raise DataError(f"{dataset.name}: expected {expected}, found {len(dataset.class_names)}; use others")
        return replace(dataset, class_names=tuple(class_names))
    return by_names(dataset, tuple(class_names))


def undivided(dataset: Dataset) -> Dataset:
    """Return a data set whose test set is all of it."""
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    notes = [note for note in dataset.notes if "are for the test" not in note]
    files = dataset.files and ((), (*dataset.files[0], *dataset.files[1]))
    both = None
    if dataset.train_targets is not None and dataset.test_targets is not None:
        both = np.concatenate([dataset.train_targets, dataset.test_targets])
    return replace(
        dataset,
        train_targets=None if both is None else both[:0],
        test_targets=both,
        train_images=images[:0],
        train_labels=labels[:0],
        test_images=images,
        test_labels=labels,
        validation=None,
        divided=False,
        files=files,
        notes=(*notes, f"{dataset.name}: all {len(labels)} images are judged, as no files tell which are for the test"),
    )


def by_names(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """Return a data set with the labels that classes of the same names have in a network.

    Classes without names are matched by their numbers.

    Raises
    ------
    DataError
        Where the network does not know a class.
    """
    if dataset.class_names == class_names:
        return dataset
    own = dataset.class_names
    if not dataset.named and not set(own) <= set(class_names):
        own = tuple(class_names[int(name)] if int(name) < len(class_names) else name for name in own)
    if unknown := [name for name in own if name not in class_names]:
        raise DataError(
            f"{dataset.name}: expected classes that the network knows ({listed(class_names)}), found also "
            f"{listed(unknown)}; remove them, or train with them"
        )
    numbers = np.array([class_names.index(name) for name in own], np.int64)
    labels = numbers[dataset.test_labels]
    missing = [name for k, name in enumerate(class_names) if k not in labels]
    note = f"{dataset.name}: no images of {listed(missing)}, which the network knows, too" if missing else ""
    return replace(
        dataset,
        train_labels=numbers[dataset.train_labels],
        test_labels=labels,
        classes=len(class_names),
        class_names=class_names,
        notes=(*dataset.notes, *([note] if note else [])),
    )


def listed(names: Sequence[str], most: int = 10) -> str:
    """Write names, at most some of them."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --------------------------------------------------------------------------------------------- training and validation


def split(loaded: LoadedConfig, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train on and to validate with, int64 each, ascending.

    With `data.samples`, so many are drawn by the seed, of every class its share. The data set's own division goes
    before `data.validation`.

    Raises
    ------
    DataError
        Where nothing is left to train on.
    """
    data, seed = loaded.config.data, loaded.config.train.seed
    labels, count = dataset.train_labels, len(dataset.train_labels)
    if dataset.validation is not None:
        rest = np.setdiff1d(np.arange(count), dataset.validation)
        return rest[draw_stratified(labels[rest], data.samples or count, seed)], dataset.validation
    drawn = draw_stratified(labels, data.samples or count, seed)
    train, validation = split_validation(len(drawn), data.validation, seed)
    return drawn[train], drawn[validation]


def check_counts(loaded: LoadedConfig, name: str, training: int, validation: int) -> None:
    """Raise ConfigError where there are too few images to train on or to validate with."""
    data = loaded.config.data
    if training < data.batch_size:
        raise loaded.error(
            "data.batch_size",
            f"expected at least one batch of {data.batch_size} training images in {name}, found {training}; lower it",
        )
    if loaded.config.train.patience is not None and validation == 0:
        raise loaded.error(
            "train.patience",
            f"expected null without validation images, and data.validation = {data.validation} leaves none of "
            f"{training}; raise data.validation",
        )


def division_notes(loaded: LoadedConfig, dataset: Dataset) -> list[str]:
    """Say which images were drawn, and which validate, where the configuration alone does not tell."""
    data, count, notes = loaded.config.data, len(dataset.train_labels), []
    if data.samples is not None and data.samples < count:
        notes.append(
            f"{data.name}: {data.samples:,} of {count:,} training images drawn by train.seed, in each class its share"
        )
    elif data.samples is not None:
        notes.append(
            f"{data.name}: data.samples = {data.samples:,}, but there are only {count:,} training images: all are used"
        )
    return notes


def pixel_statistics(loaded: LoadedConfig, dataset: Dataset, indices: np.ndarray) -> Normalization:
    """Return what `data.normalize` says, with the mean and deviation of the training images at `indices`."""
    levels = levels_of(loaded)
    if loaded.config.data.normalize == "mean_std":
        return Normalization(*dataset.mean_and_std(indices), levels)
    return unmeasured(loaded.config.data.normalize, dataset.image_shape[2], levels)


def levels_of(loaded: LoadedConfig) -> float:
    """Return what the values of a configuration's data are divided by at first: bytes by 255, floats by 1."""
    return 1.0 if loaded.config.floats else 255.0
