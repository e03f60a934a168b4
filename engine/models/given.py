"""What people give a trained network: images, signals and labels in any usual form, as its program takes them."""

from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.in_memory import as_numbers, as_pixels
from lenumba.engine.data.signal_files import as_rows
from lenumba.engine.data.signals import as_signals
from lenumba.engine.runs.trained import Trained


def as_images(trained: Trained, images: np.ndarray) -> np.ndarray:
    """Bring images to uint8 [N, H, W, C], signals to float32 [N, 1, L, C]."""
    if trained.loaded.config.network.signals:
        return signals_for(trained.image_shape, np.asarray(images))
    if trained.loaded.config.floats:
        return as_rows("images", np.asarray(images), trained.image_shape)
    images, (height, width, channels) = np.asarray(images), trained.image_shape
    found = f"{images.dtype} {list(images.shape)}"
    if images.shape in ((height, width), (height, width, channels), (channels, height, width)):
        images = images[np.newaxis]
    if images.ndim in (3, 4):
        turned = images.shape[1:] == (channels, height, width) != trained.image_shape
        images = as_pixels("images", images, "first" if turned else "last").images
    if images.dtype != np.uint8 or images.shape[1:] != trained.image_shape or len(images) == 0:
        raise DataError(
            f"images: expected [N, {height}, {width}, {channels}], whole numbers from 0 to 255 or floating-point "
            f"numbers from 0 to 1, found {found}"
        )
    return images


def signals_for(image_shape: tuple[int, int, int], signals: np.ndarray) -> np.ndarray:
    """Bring signals to float32 [N, 1, L, C]."""
    _, length, channels = image_shape
    if signals.shape in ((length,), (length, channels)):
        signals = signals[np.newaxis]
    found = as_signals("signals", signals)
    if found.shape[1:] != image_shape:
        wanted = f"[N, {length}]" if channels == 1 else f"[N, {length}, {channels}]"
        raise DataError(f"signals: expected {wanted}, found {list(signals.shape)}; give those that it was trained on")
    return found


def as_labels(class_names: tuple[str, ...], given: Any, count: int) -> np.ndarray:
    """Return classes, as numbers or names, as int64 [count]; or raise DataError."""
    labels, classes = np.asarray(given), len(class_names)
    if labels.dtype.kind in "UO":
        labels, _ = as_numbers("labels", labels, class_names)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels: expected {count} whole numbers, one for each image, found {labels.dtype} {list(labels.shape)}"
        )
    labels = labels.astype(np.int64)
    # The compiled program uses them as indices, unchecked.
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"labels: expected 0 to {classes - 1}, found {labels.min()} to {labels.max()}")
    return labels
