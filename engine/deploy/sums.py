"""What floating-point and whole numbers share: sums over windows. Arrays have the axes [N, H, W, C]."""

from collections.abc import Iterator

import numpy as np

from lenumba.engine.deploy.graph import Operation, Shape, Window


def padded(x: np.ndarray, window: Window, output: Shape, value: float) -> np.ndarray:
    """Return x with what the windows reach around it, all of it `value`."""
    height = (output[0] - 1) * window.down + window.height
    width = (output[1] - 1) * window.right + window.width
    around = np.full((len(x), height, width, x.shape[3]), value, x.dtype)
    inside = x[:, : height - window.top, : width - window.left]
    around[:, window.top :, window.left :][:, : inside.shape[1], : inside.shape[2]] = inside
    return around


def taps(x: np.ndarray, window: Window, output: Shape, value: float = 0) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield row and column of each place in the window, and what all windows have there, [N, height, width, C]."""
    around = padded(x, window, output, value)
    for u in range(window.height):
        for v in range(window.width):
            rows = slice(u, u + (output[0] - 1) * window.down + 1, window.down)
            columns = slice(v, v + (output[1] - 1) * window.right + 1, window.right)
            yield u, v, around[:, rows, columns]


def conv(operation: Operation, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the sums of products of a convolution."""
    maps, height, width, inputs = weight.shape
    output, groups = operation.unpooled, operation.groups
    patches = np.stack([tap for _, _, tap in taps(x, operation.window, output)], axis=3)  # [N, H, W, taps, C]
    each, found = maps // groups, []
    for group in range(groups):
        part = patches[..., group * inputs : (group + 1) * inputs].reshape(-1, height * width * inputs)
        found.append(part @ weight[group * each : (group + 1) * each].reshape(each, -1).T.astype(x.dtype))
    return np.concatenate(found, axis=1).reshape(len(x), *output)


def depthwise(operation: Operation, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the sums of products of a depthwise convolution; every channel has the same number of filters."""
    filters = weight.shape[2] // x.shape[3]
    found = np.zeros((len(x), *operation.unpooled), x.dtype)
    for u, v, tap in taps(x, operation.window, operation.unpooled):
        found += np.repeat(tap, filters, axis=3) * weight[u, v].astype(x.dtype)
    return found


def dense(operation: Operation, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the sums of products of a dense layer."""
    return (x.reshape(len(x), -1) @ weight.T.astype(x.dtype)).reshape(len(x), 1, 1, -1)


SUMS = {"conv": conv, "depthwise": depthwise, "dense": dense}


def window_sums(operation: Operation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of a pooling's windows, and by how many pixels each is divided, [height, width, 1]."""
    total = sum(tap for _, _, tap in taps(x, operation.window, operation.output))
    ones = np.ones((1, *operation.shape[:2], 1))
    outside = float(operation.counts_padding)
    counts = sum(tap for _, _, tap in taps(ones, operation.window, operation.output, outside))
    return np.asarray(total), np.asarray(counts)[0]


def window_maxima(operation: Operation, x: np.ndarray) -> np.ndarray:
    """Return the largest values of a pooling's windows."""
    lowest = np.iinfo(x.dtype).min if x.dtype.kind == "i" else -np.inf
    return np.max([tap for _, _, tap in taps(x, operation.window, operation.output, lowest)], axis=0)
