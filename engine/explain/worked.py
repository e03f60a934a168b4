"""Worked examples: a few layers with given weights on a given matrix, without a data set, a loss or training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.common.files import is_file
from lenumba.engine.config.config import set_value
from lenumba.engine.config.faults import list_faults, show
from lenumba.engine.config.recipes import example_text, is_worked
from lenumba.engine.config.yaml_file import load_value, load_yaml
from lenumba.engine.explain import plain
from lenumba.engine.explain.explain import Layer as Done
from lenumba.engine.explain.explain import layer_dict, layers_of
from lenumba.engine.explain.matrices import depth, read_matrices
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.layers import LIST, Layer, Strictly, activation_of
from lenumba.engine.network.layers.table import expand_layer, nested
from lenumba.engine.network.losses import LOSSES
from lenumba.engine.network.units import Assembly, LayerError, Unit
from lenumba.kernels.reference.twin import interpreted

PARTS = ("kernel", "bias", "weight", "running_mean", "running_var")  # what a layer may be given


class Layers(Strictly):
    """The layers, as recipes have them."""

    layers: Annotated[tuple[Layer, ...], LIST] = Field(min_length=1, max_length=64)


@dataclass(frozen=True)
class Worked:
    """A worked example.

    Attributes
    ----------
    image, image_delta
        float64 [C, H, W]: the input of the first layer, as it is given, and ∂L/∂x of it; None where no gradient of
        the last layer's output is given.
    layers
        What each layer did.
    notes
        What was not given.
    """

    name: str
    image: np.ndarray
    layers: tuple[Done, ...]
    image_delta: np.ndarray | None
    notes: tuple[str, ...]

    def as_dict(self, layer: str | None = None) -> dict[str, Any]:
        """Return everything as plain values, of one layer alone where it is named."""
        return {
            "name": self.name,
            "image": self.image.tolist(),
            "layers": [layer_dict(item) for item in self.layers if layer in (None, item.unit.name)],
            "image_delta": None if self.image_delta is None else self.image_delta.tolist(),
            "notes": list(self.notes),
        }


def find_worked(name: str | None, layers: Any, image: Any, delta: Any, overrides: Sequence[str] = ()) -> Worked | None:
    """Return the worked example of a command line; None where it names a network.

    Parameters
    ----------
    name
        A shipped one's name, or a YAML file's path whose layers stand at the top.
    layers, image, delta
        What takes the place of the example's, as YAML in line or plain values; matrices also as a file's path.

    Raises
    ------
    ConfigError, DataError
        Where something is missing or does not fit.
    """
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    source = "layers.yaml"
    if name is not None and is_worked(name):
        source = name if is_file(name) else f"{name}.yaml"
        data, lines = load_yaml(Path(name).expanduser() if is_file(name) else example_text(name), source)
    elif layers is None:
        return None
    given = load_value(layers, "--layers") if isinstance(layers, str) else layers
    changes = {"layers": given, "image": image, "delta": delta}
    origins = {path: f"{source}:{line}" for path, line in lines.items()}
    for key, value in changes.items():
        if value is not None:
            set_value(data, origins, key, value)
            origins[key] = f"--{key}"
    for text in overrides:
        key, _, value = text.partition("=")
        set_value(data, origins, key, load_value(value, f"override {key}"))
    return work_out(data, source, origins)


def work_out(data: Mapping[str, Any], source: str, origins: Mapping[str, str] | None = None) -> Worked:
    """Compute a worked example: ``image`` (matrices), ``layers``, and ``delta``, ∂L/∂y of the last layer, if given.

    Layers are a recipe's, with what they are given beside: ``kernel``, a matrix or [filters][input channels][rows]
    [columns], of which channels and kernel_size follow, or of a dense layer [units][inputs]; ``bias``, a number or a
    list; of a batch norm ``weight``, ``running_mean`` and ``running_var``. Matrices are lists, or a text file's path.

    Raises
    ------
    ConfigError, DataError
        Where something does not fit.
    """
    origins = origins or {}

    def where(path: str) -> str:
        known = path
        while known and known not in origins:
            known = known.rpartition(".")[0]
        origin = origins.get(known, source)
        return origin if origin == f"--{path}" else f"{origin}: {path}"

    if unknown := [key for key in data if key not in ("image", "layers", "delta")]:
        raise ConfigError(f"{where(unknown[0])}: expected image, layers or delta in a worked example")
    for key in ("image", "layers"):
        if data.get(key) is None:
            raise ConfigError(f"{source}: expected {key} in a worked example, found none")
    given: dict[str, dict[str, Any]] = {}
    bare = {"layers": without_weights(data["layers"], "", given)}
    try:
        layers = Layers.model_validate(bare).layers
    except ValidationError as error:
        faults = list_faults(error, bare, Layers.model_json_schema())
        raise ConfigError("\n".join(f"{where(path)}: {message}" for path, message in faults)) from None
    for path, layer in nested(layers):
        if (name := activation_of(layer)) != "none" and not ACTIVATIONS[name].elementwise:
            raise ConfigError(f"{where(f'layers.{path}')}: {name} belongs to a loss; a worked example ends before it")
    image = read_matrices(data["image"], where("image"))
    try:
        channels, height, width = image.shape
        units = Assembly(layers, (channels, height, width), LOSSES["mean_squared_error"], fast=False).units
    except LayerError as error:
        told = [f"{where(f'layers.{path}')}: {reason}" for path, reason in error.faults]
        raise ConfigError("\n".join(told)) from None
    parameters, notes = give(units, given, where)
    with interpreted():
        outputs = plain.forward_units(units, parameters, image[np.newaxis])
        gradients: dict[str, np.ndarray] = {}
        deltas: list[np.ndarray] | None = None
        if data.get("delta") is not None:
            delta = read_matrices(data["delta"], where("delta"))
            if delta.shape != units[-1].output:
                sizes = " and ".join("×".join(map(str, shape)) for shape in (units[-1].output, delta.shape))
                raise ConfigError(f"{where('delta')}: expected and found sizes differ: {sizes} (channels×rows×columns)")
            gradients, deltas = plain.backward_units(units, parameters, image[np.newaxis], outputs, delta)
    done = layers_of(units, (image[np.newaxis], *outputs), deltas, parameters, gradients, {})
    return Worked(Path(source).stem, image, done, None if deltas is None else deltas[0][0], tuple(notes))


def without_weights(layers: Any, path: str, given: dict[str, dict[str, Any]]) -> Any:
    """Return layers without what they are given, which goes into `given` by the layer's path, and with their sizes."""
    if not isinstance(layers, list | tuple):
        return layers
    bare = []
    for index, layer in enumerate(layers):
        here, layer = f"{path}{index}", expand_layer(layer)
        if isinstance(layer, dict):
            own = {key: layer[key] for key in PARTS if isinstance(layer.get(key), list | tuple | int | float)}
            own = {key: value for key, value in own.items() if not isinstance(value, bool)}
            layer = sized({key: value for key, value in layer.items() if key not in own}, own)
            if own:
                given[here] = own
            for field in ("layers", "shortcut"):
                if field in layer:
                    layer = layer | {field: without_weights(layer[field], f"{here}.{field}.", given)}
        bare.append(layer)
    return bare


def sized(layer: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a layer with the sizes that its given kernel tells, unless it has them; a lone matrix is one filter."""
    kernel: Any = own.get("kernel")
    if layer.get("type") in ("conv", "depthwise_conv"):
        if depth(kernel) == 2:
            own["kernel"] = kernel = [[kernel]]
        if depth(kernel) == 4:
            size = {"kernel_size": [len(kernel[0][0]), len(kernel[0][0][0])]}
            count = {"channels": len(kernel)} if layer["type"] == "conv" else {}
            return size | count | layer
    if layer.get("type") == "dense" and depth(kernel) == 2:
        return {"units": len(kernel), **layer}
    return layer


def give(
    units: Sequence[Unit], given: dict[str, dict[str, Any]], where: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the parameters, float64 by full name, and what is to be said of those that were not given."""
    parameters: dict[str, np.ndarray] = {}
    notes, left = [], {path: dict(own) for path, own in given.items()}
    for number, unit in enumerate(units):
        for parameter in unit.parameters:
            own, full = left.get(unit.path, {}), f"{unit.name}.{parameter.name}"
            if parameter.name not in own:
                generator = np.random.Generator(np.random.Philox(key=np.array([0, number], np.uint64)))
                parameters[full] = np.array(parameter.draw(generator), np.float64)
                if parameter.fan_in:
                    notes.append(f"{full} was not given: drawn, {parameter.initializer}, seed 0")
                continue
            value, path = own.pop(parameter.name), f"layers.{unit.path}.{parameter.name}"
            value = [value] if isinstance(value, int | float) else value
            try:
                array = np.array(value, np.float64)
            except (TypeError, ValueError):
                raise ConfigError(f"{where(path)}: expected numbers, found {show(value)}") from None
            if array.shape != parameter.shape:
                sizes = " values, found ".join("×".join(map(str, shape)) for shape in (parameter.shape, array.shape))
                raise ConfigError(f"{where(path)}: expected {sizes}")
            parameters[full] = array
    for path, own in left.items():
        if own:
            raise ConfigError(
                f"{where(f'layers.{path}')}: expected a layer that has {next(iter(own))}, found one without"
            )
    return parameters, notes
