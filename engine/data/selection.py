"""Parts of a data set: some of its classes, the first training images of each, and those for validation."""

from dataclasses import replace

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset, data_sha256, dataset_spec, load_dataset, split_validation
from lenumba.engine.data.normalization import Normalization


def load_data(loaded: LoadedConfig, progress: bool = False) -> Dataset:
    """Load a configuration's data set and keep what `data.classes` and `data.samples_per_class` choose.

    Parameters
    ----------
    progress
        Draw a progress bar on standard error for each download.

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
    return select(loaded, load_dataset(data.name, data.root, progress, data.image_size))


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


def select(loaded: LoadedConfig, dataset: Dataset) -> Dataset:
    """Return what a configuration chooses of a data set, the data set itself where it chooses nothing.

    The images keep their order. The test set is cut down to the classes, but never to a number of images.
    """
    data = loaded.config.data
    if data.classes is None and data.samples_per_class is None:
        return dataset
    check_classes(loaded, dataset.classes)
    classes = list(data.classes or range(dataset.classes))
    relabelled = np.full(dataset.classes, -1, np.int64)
    relabelled[classes] = np.arange(len(classes))
    train = np.flatnonzero(relabelled[dataset.train_labels] >= 0)
    test = np.flatnonzero(relabelled[dataset.test_labels] >= 0)
    for kept, kind in ((train, "training"), (test, "test")):
        if len(kept) == 0:
            wanted = f"expected at least one {kind} image of the classes {classes}, found none"
            raise DataError(f"{dataset.name}: {wanted}; change data.classes")
    if (count := data.samples_per_class) is not None:
        found = [np.flatnonzero(dataset.train_labels == number) for number in classes]
        for number, indices in zip(classes, found, strict=True):
            if len(indices) < count:
                raise DataError(
                    f"{dataset.name}: expected {count} training images of class {number} "
                    f"({dataset.class_names[number]}), found {len(indices)}; lower data.samples_per_class"
                )
        train = np.sort(np.concatenate([indices[:count] for indices in found]))
    arrays = (
        dataset.train_images[train],
        relabelled[dataset.train_labels[train]],
        dataset.test_images[test],
        relabelled[dataset.test_labels[test]],
    )
    return replace(
        dataset,
        train_images=arrays[0],
        train_labels=arrays[1],
        test_images=arrays[2],
        test_labels=arrays[3],
        classes=len(classes),
        class_names=tuple(dataset.class_names[number] for number in classes),
        sha256=data_sha256(*arrays),
    )


def split(loaded: LoadedConfig, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images to train on and to validate with, int64 each, ascending."""
    data, count = loaded.config.data, len(dataset.train_labels)
    return split_validation(min(data.samples or count, count), data.validation, loaded.config.train.seed)


def pixel_statistics(loaded: LoadedConfig, dataset: Dataset, indices: np.ndarray) -> Normalization:
    """Return what `data.normalize` says, with the mean and deviation of the training images at `indices`."""
    if loaded.config.data.normalize == "mean_std":
        return Normalization(*dataset.mean_and_std(indices))
    return Normalization(np.zeros(dataset.image_shape[2]), np.ones(dataset.image_shape[2]))
