"""The network of a configuration, checked against its data."""

from collections.abc import Sequence

import numpy as np

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.config import Config, LoadedConfig
from lenumba.engine.data.balance import check_class_weight
from lenumba.engine.data.dataset import Dataset, dataset_spec
from lenumba.engine.data.selection import check_counts, split, stated_classes
from lenumba.engine.network.losses import outputs_misfit
from lenumba.engine.network.network import LayerError, Network


def build_network(
    loaded: LoadedConfig,
    image_shape: tuple[int, int, int],
    pixels: str | None = None,
    *,
    weighted: bool = False,
    answers: int | None = None,
) -> Network:
    """Return the network of a configuration, or raise ConfigError naming the layer that does not fit.

    Signals are of float32 `pixels`, and so are images where the configuration, or `pixels`, says it; else of uint8.
    With `answers`, it does not train and is asked for so many images at a time.
    With `weighted`, training images may count differently also where the configuration has no weights of classes.
    """
    config = loaded.config
    layers, size, signals = config.network.layers, config.data.batch_size, config.network.signals
    pixels = pixels or ("float32" if config.floats else "uint8")
    if config.augment.active and pixels != "uint8":
        raise loaded.error("augment", f"expected every distortion off for {pixels} images, found some on; use 0")
    try:
        return Network(
            layers, image_shape, loss=config.loss_name, name=loaded.name, batch_size=answers or size, pixels=pixels,
            answers=answers is not None, signals=signals, augment=config.augment,
            convolution=config.network.convolution,
            weighted=weighted or config.loss.class_weight is not None, target=config.data.target,
        )  # fmt: skip
    except LayerError as error:
        told = [f"{loaded.where(f'network.layers.{path}')}: {reason}" for path, reason in error.faults]
        raise ConfigError("\n".join(told)) from None


def stated_shape(config: Config) -> tuple[int, int, int] | None:
    """Return (height, width, channels) of the images as far as the configuration or the data set's name tell it."""
    return config.network.image_shape or config.data.image_size or dataset_spec(config.data.name).image_shape


def check_network(
    loaded: LoadedConfig,
    image_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    pixels: str | None = None,
    *,
    weighted: bool = False,
) -> Network:
    """Return the network of a configuration for images and classes; without them, for those that are stated.

    Raises
    ------
    ConfigError
        Where a layer does not fit, or the input size or the outputs do not fit the data.
    """
    config = loaded.config
    target = config.data.target
    spec, wanted = dataset_spec(config.data.name), config.network.image_shape
    image_shape, classes = image_shape or spec.image_shape, classes or stated_classes(loaded)
    if target == "input":  # the network itself has compared its outputs with it
        classes = None
    kind = "signals" if config.network.signals else "images"
    if wanted is not None and image_shape is not None and wanted != image_shape:
        raise loaded.error(
            "network.input",
            f"expected {describe_size(image_shape)}, the size of the {kind} of {config.data.name}, "
            f"found {describe_size(wanted)}; change it or data.name",
        )
    if (shape := image_shape or stated_shape(config)) is None:
        raise loaded.error(
            "data.name", f"the files of {config.data.name} alone tell the size of the images; give network.input"
        )
    network = build_network(loaded, shape, pixels, weighted=weighted)
    if classes is not None and (misfit := outputs_misfit(network.loss, network.outputs, classes, target)):
        raise loaded.error(f"network.layers.{len(config.network.layers) - 1}", f"{config.data.name}: {misfit}")
    if network.sees_batch and config.data.batch_size == 1:
        raise loaded.error(
            "data.batch_size", "expected at least 2 for batch norm, found 1: one image has no variance; use more"
        )
    return network


def check_trainable(loaded: LoadedConfig, network: Network) -> Network:
    """Return a configuration's network, or raise ConfigError where there is nothing to train in it."""
    if not any(unit.learns for unit in network.units):
        frozen = ", or leave 'trainable: false' out" * bool(network.parameter_count)
        raise loaded.error(
            "network.layers", f"expected parameters to train, found none; add a conv or dense layer{frozen}"
        )
    return network


def network_notes(network: Network) -> list[str]:
    """Return what users should know of a network's layers, a line each."""
    return [f"{unit.name} {note}" for unit in network.units if (note := unit.layer.note(unit.shape))]


def check_training(
    loaded: LoadedConfig, dataset: Dataset, indices: np.ndarray | None = None, *, weighted: bool = False
) -> tuple[Network, np.ndarray, np.ndarray]:
    """Return a training's network, and the indices of the images to train on and to validate with.

    With `indices`, int64, these train and none validate.

    Raises
    ------
    ConfigError, DataError
        Where the configuration does not fit its data: every training would end there before it is compiled.
    """
    pixels = dataset.train_images.dtype.name
    network = check_network(loaded, dataset.image_shape, dataset.classes, pixels, weighted=weighted)
    check_trainable(loaded, network)
    check_class_weight(loaded, dataset.class_names)
    train, validation = split(loaded, dataset) if indices is None else (indices, np.empty(0, np.int64))
    check_counts(loaded, dataset.name, len(train), len(validation))
    check_last_batch(loaded, network, len(train))
    return network, train, validation


def check_last_batch(loaded: LoadedConfig, network: Network, count: int) -> None:
    """Raise ConfigError where the last batch of `count` images is too small for a norm."""
    size = loaded.config.data.batch_size
    if network.sees_single_values and count % size == 1:
        raise loaded.error(
            "data.batch_size",
            f"the last batch of {count} images would be a single one, which has no variance for batch norm; "
            f"choose another than {size}",
        )


def describe_size(shape: Sequence[int]) -> str:
    """Write (height, width, channels) as people do."""
    return "×".join(map(str, shape))
