"""How values of a configuration, each of which is right, misfit one another: (path, message) for each."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from lenumba.engine.common.targets import TARGETS
from lenumba.engine.config.faults import show
from lenumba.engine.config.sections import (
    IN_MEMORY,
    MAX_KERNEL_VALUES,
    OF_NUMBERS,
    OF_SIGNALS,
    OWN_FILES,
    PUBLISHED,
    Data,
    Network,
)
from lenumba.engine.network.activations import ACTIVATIONS
from lenumba.engine.network.layers import Conv, LayerBase, activation_of
from lenumba.engine.network.layers.signals import signal_misfits
from lenumba.engine.network.layers.table import MAX_LAYERS, nested
from lenumba.engine.network.losses import LOSSES, loss_misfit, losses_for


def data_misfits(data: Data) -> Iterator[tuple[str, str]]:
    """Yield (path, message) where values of the section ``data``, each of which is right, misfit one another."""
    if data.name in OWN_FILES and data.root is None:
        yield "data.root", f"expected the path of your files for the data set {data.name}, found null"
    if data.root is not None and data.name not in (*OWN_FILES, *PUBLISHED):
        yield "data.root", f"expected null for the data set {data.name}, which reads no files"
    elif isinstance(roots := data.root, tuple):
        if data.name not in OWN_FILES:
            yield "data.root", f"expected one folder for the data set {data.name}, found a list"
        for index, root in enumerate(roots):
            if root in roots[:index]:
                yield f"data.root.{index}", f"{root[:80]!r} is already item {roots.index(root)}; list each once"
    size = data.image_size
    if data.name == "folder" and size is None:
        yield "data.image_size", "expected [height, width, channels] for the data set folder, found null"
    elif data.name != "folder" and size is not None:
        yield "data.image_size", f"expected null for the data set {data.name}: only those of folder are resized"
    elif size is not None and size[2] not in (1, 3):
        yield "data.image_size.2", f"expected 1 (grey) or 3 (RGB) channels, found {size[2]}"
    if data.samples is not None and isinstance(data.validation, int) and data.validation >= data.samples:
        yield "data.validation", f"expected less than data.samples = {data.samples}, found {data.validation}"
    if data.samples is not None and data.samples_per_class is not None:
        yield "data.samples_per_class", f"expected null beside data.samples = {data.samples}; set only one of them"
    for index, number in enumerate(classes := data.classes or ()):
        if number in classes[:index]:
            first = classes.index(number)
            yield f"data.classes.{index}", f"class {number} is already item {first}; list each class once"


def target_misfits(data: Data) -> Iterator[tuple[str, str]]:
    """Yield (path, message) where what a section ``data`` says of its target misfits the rest of it."""
    target, name = data.target, data.name
    if data.dtype == "float32" and name not in ("npz", IN_MEMORY):
        yield "data.dtype", f"expected uint8 for the images of {name}, found float32; npz and arrays may hold these"
    if data.target_columns is not None and (name != "csv" or not TARGETS[target].numbered):
        yield "data.target_columns", f"expected null for data.name = {name} and data.target = {target}"
    elif name == "csv" and target == "labels" and data.target_columns is None:
        yield "data.target_columns", "expected the names of the columns with the labels, as data.target is labels"
    if target == "class":
        return
    if TARGETS[target].numbered and name not in OF_NUMBERS:
        yield "data.target", f"expected class or input for the data set {name}, found {target}"
    unfit = {"classes": None, "samples_per_class": None, "decisions": None, "sampling": "shuffle"}
    for key, value in unfit.items():
        if (found := getattr(data, key)) != value:
            yield f"data.{key}", f"expected {show(value)} for data.target = {target}, found {show(found)}"
    if isinstance(data.root, tuple):
        yield "data.root", f"expected one path for data.target = {target}, found a list"


def network_misfits(network: Network, name: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a network for the data set `name`, each fault with its path."""
    shape = network.input
    if name == "csv" and not network.signals:
        yield "network.input", f"expected [length] or [length, channels] of the signals in csv, found {show(shape)}"
    elif network.signals and name not in OF_SIGNALS:
        yield "network.input", f"expected [height, width, channels] for the images of {name}, found {show(shape)}"
    if network.signals:
        for path, layer in nested(network.layers):
            for field, message in signal_misfits(layer):
                yield f"network.layers.{path}.{field}", message
    yield from layer_misfits(network.layers)


def layer_misfits(layers: Sequence[LayerBase]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the layers together, each fault with its path."""
    found = dict(nested(layers))
    if len(found) > MAX_LAYERS:
        yield (
            "network.layers",
            f"expected at most {MAX_LAYERS} layers, those inside of others included, found {len(found)}",
        )
    names: dict[str, str] = {}
    for path, layer in found.items():
        function, key = activation_of(layer), f"network.layers.{path}"
        if not ACTIVATIONS[function].elementwise and layer is not layers[-1]:
            field = "function" if layer.kind == "activation" else "activation"
            yield f"{key}.{field}", f"{function} fits only the last layer; use relu or tanh here"
        if (name := getattr(layer, "name", None)) is not None:
            if name in names:
                yield f"{key}.name", f"{name!r} is also the name of layer {names[name]}; use another"
            names.setdefault(name, path)
    kernels = [layer.kernel for layer in found.values() if isinstance(layer, Conv) and layer.kernel is not None]
    values = sum(len(row) for kernel in kernels for maps in kernel for matrix in maps for row in matrix)
    if values > MAX_KERNEL_VALUES:
        yield "network.layers", f"expected at most {MAX_KERNEL_VALUES} given kernel values, found {values}"


def fitting_losses(network: Network, target: str = "class") -> tuple[str, ...]:
    """Return the losses that fit the last layer's activation and the target, the usual one first."""
    return losses_for(activation_of(network.layers[-1]), target)


def config_misfits(config: Any) -> Iterator[tuple[str, str]]:
    """Yield (path, message) where the sections of a configuration misfit one another."""
    layers = config.network.layers
    yield from network_misfits(config.network, config.data.name)
    yield from target_misfits(config.data)
    if config.floats and config.augment.active:
        what = "signals" if config.network.signals else "float32 images"
        yield "augment", f"expected every distortion off for {what}, found some on; use 0"
    loss, target = config.loss, TARGETS[config.data.target]
    if misfit := loss_misfit(loss.name, activation_of(layers[-1]), target.name):
        fitting = fitting_losses(config.network, target.name)
        yield "loss.name" if fitting else f"network.layers.{len(layers) - 1}", misfit
    elif loss.label_smoothing and not LOSSES[config.loss_name].smooths:
        yield "loss.label_smoothing", f"expected 0 for {config.loss_name}, found {loss.label_smoothing:g}"

    yield from data_misfits(config.data)
    if config.data.sampling == "balanced" and loss.class_weight == "balanced":
        yield "loss.class_weight", "expected null beside data.sampling = balanced: either makes classes count alike"
    if config.train.patience is not None and config.data.validation == 0:
        yield "train.patience", "expected null without validation images; set data.validation above 0"
    if target.name != "class" and loss.class_weight is not None:
        yield "loss.class_weight", f"expected null for data.target = {target.name}"
    decides = config.tune and (config.tune.figure or "accuracy")
    if decides is not None and decides not in target.metrics:
        listed = " or ".join(f"val_{name}" for name in target.metrics)
        yield "tune.metric", f"expected {listed} for data.target = {target.name}, found {config.tune.metric}"
    best_by, usual = config.train.best_by, target.usual
    if best_by not in target.metrics:
        listed = " or ".join(target.metrics)
        yield "train.best_by", f"expected {listed} for data.target = {target.name}, found {best_by}"
    elif best_by != usual and config.data.validation == 0:
        yield "train.best_by", f"expected {usual} without validation images, where the last epoch counts as the best"
    warmup, epochs = config.schedule.warmup_epochs, config.train.epochs
    if warmup > epochs:
        yield "schedule.warmup_epochs", f"expected at most train.epochs = {epochs}, found {warmup:g}"
    if config.schedule.name == "piecewise":
        boundaries, fractions = config.schedule.boundaries, config.schedule.values
        if not boundaries or any(late <= early for early, late in pairwise(boundaries)):
            yield "schedule.boundaries", f"expected rising epochs, such as [20, 30], found {show(boundaries)}"
        elif len(fractions) != len(boundaries) + 1:
            count = f"{len(boundaries) + 1} fractions of the peak, one more than boundaries"
            yield "schedule.values", f"expected {count}, found {len(fractions)}"
