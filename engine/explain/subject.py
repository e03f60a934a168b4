"""What is to be explained: a network, trained or not, and a sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import is_file
from lenumba.engine.config.config import LoadedConfig, load_config
from lenumba.engine.config.recipes import recipe_names
from lenumba.engine.data.balance import class_weights
from lenumba.engine.data.dataset import dataset_spec
from lenumba.engine.data.normalization import Normalization
from lenumba.engine.data.selection import load_data, load_judged, pixel_statistics, split
from lenumba.engine.data.signal_files import read_signal
from lenumba.engine.explain.matrices import is_matrix, read_matrices
from lenumba.engine.network.network import Network
from lenumba.engine.runs.folders import find_run
from lenumba.engine.runs.records import read_run_json
from lenumba.engine.runs.trained import read_trained
from lenumba.engine.runs.transfer import fitting, read_source
from lenumba.engine.training.build import check_network
from lenumba.engine.training.judging import Judge

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A network to be explained: of a run, or of a configuration with initial parameters.

    `parameters` are float64 by full name. `trained_on` is the SHA-256 of the training data, if there are any, and
    `weights` what the loss of a training image counts by its class, if not all count alike; `judge` knows the units of
    numbers.
    """

    loaded: LoadedConfig
    origin: str
    network: Network
    parameters: Arrays
    normalization: Normalization
    class_names: tuple[str, ...]
    trained_on: str | None = None
    weights: dict[str, float] | None = None
    judge: Judge | None = None


@dataclass(frozen=True)
class Sample:
    """An image uint8 [H, W, C] or signal float32 [1, L, C], its origin and class; None: what it is taken for.

    With `exact`, pixels are float64 that the first layer takes as they are. `truth` are its labels or numbers, float64
    [K], where it has several; None: what the network makes of it.
    """

    pixels: np.ndarray
    origin: str
    label: int | None
    truth: np.ndarray | None = None
    exact: bool = False


def find_subject(name: str, overrides: list[str], checkpoint: str, progress: bool = False) -> Subject:
    """Return the network of a recipe, YAML file or run.

    Raises
    ------
    ConfigError, DataError
        Where there is none, or its files are missing or damaged.
    """
    if name in recipe_names() or name.endswith((".yaml", ".yml")) or is_file(name):
        return subject_of_config(load_config(name, overrides), progress)
    try:
        folder = find_run(name)
    except ConfigError:
        if name == "latest" or "/" in name:
            raise
        load_config(name)  # says what recipes there are
        raise
    return subject_of_run(folder, overrides, checkpoint)


def subject_of_config(loaded: LoadedConfig, progress: bool) -> Subject:
    """Return an untrained network, as training would begin with it."""
    source, dataset = read_source(loaded), load_data(loaded, progress)
    network = check_network(loaded, dataset.image_shape, dataset.classes)
    theta = network.views(network.initial_parameters(loaded.config.train.seed))
    if source is not None:
        source.give(network, fitting(source, network, loaded)[0], theta)
    indices, names = split(loaded, dataset)[0], dataset.class_names
    normalization = pixel_statistics(loaded, dataset, indices)
    origin = f"{loaded.name}, untrained, seed {loaded.config.train.seed}"
    weights = class_weights(loaded, names, dataset.train_labels[indices])
    by_name = None if weights is None else dict(zip(names, weights.tolist(), strict=True))
    judge = Judge.of(network, dataset, indices)
    return Subject(loaded, origin, network, exact(theta), normalization, names, dataset.sha256, by_name, judge)


def subject_of_run(folder: Path, overrides: list[str], checkpoint: str) -> Subject:
    """Return a run's network with its trained parameters."""
    trained = read_trained(folder, checkpoint, overrides)
    origin, parameters = f"{folder} ({checkpoint})", exact(trained.parameters)
    loaded, network, names = trained.loaded, trained.network, trained.class_names
    weights = read_run_json(folder).get("class_weights")
    known, judge = trained.trained_on, trained.judge
    return Subject(loaded, origin, network, parameters, trained.normalization, names, known, weights, judge)


def exact(views: Arrays) -> Arrays:
    """Return float64 copies."""
    return {name: np.array(view, np.float64) for name, view in views.items()}


def find_sample(subject: Subject, image: Any, label: str | None, progress: bool = False) -> Sample:
    """Return an image: a picture's path, matrices, an index into the test set, or None for the first test image.

    Of signals, a file's path, perhaps with a row (:func:`lenumba.engine.data.signal_files.read_signal`).

    Raises
    ------
    ConfigError, DataError
        Where there is no such image or class.
    """
    if label is not None:
        subject.loaded.only_targets("--label")
    number = None if label is None else find_class(subject, label)
    shape = subject.network.image_shape
    config = subject.loaded.config
    if image is not None and is_matrix(image) and not config.network.signals:
        return exact_sample(image, shape, number)
    if image is not None and not image.isdecimal():
        if config.floats:
            return Sample(read_signal(image, shape, config.data.target_columns), image, number)
        return Sample(dataset_spec(config.data.name).prepare(image, shape), image, number)
    dataset = load_judged(subject.loaded, subject.class_names, shape, subject.trained_on, progress)
    index, count = int(image or 0), len(dataset.test_labels)
    if index >= count:
        expected = f"an index into the {count} test images of {dataset.name}"
        raise DataError(f"image {index}: expected {expected}; choose one from 0 to {count - 1}")
    number = int(dataset.test_labels[index]) if number is None else number
    truth = None if dataset.test_targets is None else dataset.test_targets[index]
    return Sample(dataset.test_images[index], f"test image {index} of {dataset.name}", number, truth)


def exact_sample(given: Any, shape: tuple[int, int, int], label: int | None) -> Sample:
    """Return matrices, one for each channel, as an image whose values are taken as they are."""
    matrices = read_matrices(given, "image").transpose(1, 2, 0)
    if matrices.shape != shape:
        expected, found = ("×".join(map(str, size)) for size in (shape, matrices.shape))
        raise DataError(f"image: expected {expected} values (height×width×channels), found {found}")
    return Sample(matrices, "a matrix, its values as they are", label, exact=True)


def find_class(subject: Subject, label: str) -> int:
    """Return the number of a class that is given by its name or its number."""
    names = subject.class_names
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    raise ConfigError(f"--label {label}: expected one of {', '.join(names)}, or a number below {len(names)}")
