"""One image through a network, forward and backward, and the step that its gradient makes: every number of it.

The plain-loop twins compute it in float64, run as the Python they are unless the network is large: nothing compiles.
"""

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
from lenumba.engine.explain import plain
from lenumba.engine.network.network import Network, Unit
from lenumba.engine.network.optimizers import make_optimizer, update_equation
from lenumba.engine.network.tables import Equations
from lenumba.engine.runs.folders import find_run
from lenumba.engine.runs.records import read_run_json
from lenumba.engine.runs.trained import read_trained
from lenumba.engine.runs.transfer import fitting, read_source
from lenumba.engine.training.build import check_network
from lenumba.kernels.reference.twin import interpreted

Arrays = dict[str, np.ndarray]
INTERPRETED = 1_500_000  # multiply-adds of a forward pass up to which Python is done before Numba has compiled


@dataclass(frozen=True)
class Subject:
    """A network to be explained: of a run, or of a configuration with initial parameters.

    `parameters` are float64 by full name. `trained_on` is the SHA-256 of the training data, if there are any, and
    `weights` what the loss of a training image counts by its class, if not all count alike.
    """

    loaded: LoadedConfig
    origin: str
    network: Network
    parameters: Arrays
    normalization: Normalization
    class_names: tuple[str, ...]
    trained_on: str | None = None
    weights: dict[str, float] | None = None


@dataclass(frozen=True)
class Sample:
    """An image uint8 [H, W, C] or signal float32 [1, L, C], its origin and class; None: what it is taken for."""

    pixels: np.ndarray
    origin: str
    label: int | None


@dataclass(frozen=True)
class Layer:
    """What one layer did: arrays float64, [C, H, W] for its inputs, y and ∂L/∂y; parameters by their short names.

    Running statistics are among the parameters, but have neither gradient nor equation. `sources` names the layers
    whose outputs it reads, where these are not just the layer before.
    """

    unit: Unit
    sources: tuple[str, ...]
    equations: Equations
    inputs: tuple[np.ndarray, ...]
    y: np.ndarray
    delta: np.ndarray
    parameters: Arrays
    gradients: Arrays
    updated: Arrays

    @property
    def x(self) -> np.ndarray:
        """The input, or the first of several."""
        return self.inputs[0]


@dataclass(frozen=True)
class Explanation:
    """A forward and backward pass and one step. `equations` are those of outputs, loss and δ; `rate` is η."""

    subject: Subject
    sample: Sample
    label: int
    layers: tuple[Layer, ...]
    equations: tuple[str, str, str]
    outputs: np.ndarray
    loss: float
    update: str
    rate: float
    loss_after: float

    def as_dict(self, layer: str | None = None) -> dict[str, Any]:
        """Return everything as plain values, of one layer alone where it is named."""
        names = self.subject.class_names
        return {
            "network": self.subject.origin,
            "image": self.sample.origin,
            "pixels": self.sample.pixels.tolist(),
            "label": self.label,
            "class": names[self.label],
            "layers": [layer_dict(item) for item in self.layers if layer in (None, item.unit.name)],
            "outputs": {"equation": self.equations[0], "values": self.outputs.tolist()},
            "loss": {
                "name": self.subject.network.loss.name,
                "equation": self.equations[1],
                "value": self.loss,
                "delta_equation": self.equations[2],
            },
            "update": {"equation": self.update, "learning_rate": self.rate, "loss_after": self.loss_after},
        }


def layer_dict(layer: Layer) -> dict[str, Any]:
    """Return a layer as plain values."""
    unit, equations = layer.unit, layer.equations
    return {
        "name": unit.name,
        "type": unit.layer.kind,
        "input_shape": list(unit.shape),
        "output_shape": list(unit.output),
        "equation": equations.y,
        **({"reads": list(layer.sources)} if layer.sources else {}),
        "x": layer.x.tolist(),
        **({"more_inputs": [x.tolist() for x in layer.inputs[1:]]} if len(layer.inputs) > 1 else {}),
        "y": layer.y.tolist(),
        "delta": layer.delta.tolist(),
        "delta_x_equation": equations.x,
        "parameters": {
            name: {
                "value": value.tolist(),
                **(
                    {
                        "gradient_equation": equations.gradients[name],
                        "gradient": layer.gradients[name].tolist(),
                        "updated": layer.updated[name].tolist(),
                    }
                    if name in layer.gradients
                    else {}
                ),
            }
            for name, value in layer.parameters.items()
        },
    }


def names_of(unit: Unit) -> list[str]:
    """Return the short names of a unit's parameters."""
    return [parameter.name for parameter in unit.parameters]


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
    return Subject(loaded, origin, network, exact(theta), normalization, names, dataset.sha256, by_name)


def subject_of_run(folder: Path, overrides: list[str], checkpoint: str) -> Subject:
    """Return a run's network with its trained parameters."""
    trained = read_trained(folder, checkpoint, overrides)
    origin, parameters = f"{folder} ({checkpoint})", exact(trained.parameters)
    loaded, network, names = trained.loaded, trained.network, trained.class_names
    weights = read_run_json(folder).get("class_weights")
    return Subject(loaded, origin, network, parameters, trained.normalization, names, trained.trained_on, weights)


def exact(views: Arrays) -> Arrays:
    """Return float64 copies."""
    return {name: np.array(view, np.float64) for name, view in views.items()}


def find_sample(subject: Subject, image: str | None, label: str | None, progress: bool = False) -> Sample:
    """Return an image: a picture's path, an index into the test set, or None for the first test image.

    Of signals, a file's path, perhaps with a row (:func:`lenumba.engine.data.signal_files.read_signal`).

    Raises
    ------
    ConfigError, DataError
        Where there is no such image or class.
    """
    number = None if label is None else find_class(subject, label)
    shape = subject.network.image_shape
    if image is not None and not image.isdecimal():
        config = subject.loaded.config
        prepare = read_signal if config.network.signals else dataset_spec(config.data.name).prepare
        return Sample(prepare(image, shape), image, number)
    dataset = load_judged(subject.loaded, subject.class_names, shape, subject.trained_on, progress)
    index, count = int(image or 0), len(dataset.test_labels)
    if index >= count:
        expected = f"an index into the {count} test images of {dataset.name}"
        raise DataError(f"image {index}: expected {expected}; choose one from 0 to {count - 1}")
    number = int(dataset.test_labels[index]) if number is None else number
    return Sample(dataset.test_images[index], f"test image {index} of {dataset.name}", number)


def find_class(subject: Subject, label: str) -> int:
    """Return the number of a class that is given by its name or its number."""
    names = subject.class_names
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    raise ConfigError(f"--label {label}: expected one of {', '.join(names)}, or a number below {len(names)}")


def explain(subject: Subject, sample: Sample) -> Explanation:
    """Take one image through the network and back, and make one step of the optimiser, from rest, at the peak rate."""
    network, parameters, config = subject.network, subject.parameters, subject.loaded.config
    smoothing = config.loss.label_smoothing
    images = subject.normalization(sample.pixels.transpose(2, 0, 1)[np.newaxis])
    with interpreted(network.multiply_adds <= INTERPRETED):
        outputs = plain.forward(network, parameters, images)
        label = sample.label
        if label is None:
            row = plain.judge(network, outputs[-1], np.zeros(1)).outputs[0]
            label = int(row[0] >= 0.5) if len(row) == 1 else int(row.argmax())
        weight = (subject.weights or {}).get(subject.class_names[label], 1.0)
        outcome = plain.judge(network, outputs[-1], np.array([label]), smoothing, np.array([weight]))
        gradients, deltas = plain.backward(network, parameters, images, outputs, outcome.dz)
        learning = [
            f"{unit.name}.{parameter.name}"
            for unit in network.units
            if unit.learns
            for parameter in unit.parameters
            if parameter.learned
        ]
        moved = plain.clipped({name: gradients[name] for name in learning}, config.optimizer.max_norm)
        updated, _ = plain.step(parameters, moved, config.optimizer, config.optimizer.learning_rate)
        moved_z = plain.forward(network, updated, images)[-1]
        after = plain.judge(network, moved_z, np.array([label]), smoothing, np.array([weight]))
    layers = []
    tensors = [images, *outputs]
    names = ["the image", *(unit.name for unit in network.units)]
    for number, (unit, y, delta) in enumerate(zip(network.units, outputs, deltas, strict=True)):
        own, slopes, new = (
            {name: values[full] for name in names_of(unit) if (full := f"{unit.name}.{name}") in values}
            for values in (parameters, gradients, updated)
        )
        inputs = tuple(tensors[tensor][0] for tensor in unit.inputs)
        sources = () if unit.inputs == (number,) else tuple(names[tensor] for tensor in unit.inputs)
        layers.append(Layer(unit, sources, unit.layer.equations(unit.shape), inputs, y[0], delta[0], own, slopes, new))
    return Explanation(
        subject=subject,
        sample=sample,
        label=label,
        layers=tuple(layers),
        equations=network.loss.written(network.outputs, smoothing, weight),
        outputs=outcome.outputs[0],
        loss=float(outcome.loss),
        update=update_equation(make_optimizer(config.optimizer)),
        rate=config.optimizer.learning_rate,
        loss_after=float(after.loss),
    )
