"""What every framework gets: the same network, initial weights, images, optimiser and threads."""

from dataclasses import dataclass

import numpy as np

MOMENTUM = 0.9
BETAS, EPSILON = (0.9, 0.999), 1e-8
CHUNK = 1024


@dataclass
class Job:
    """One comparison's task.

    Attributes
    ----------
    layers, shape
        Layers as dicts, and (height, width, channels).
    weights
        float32 arrays by name, such as ``conv1.kernel`` [maps, input maps, height, width] and ``dense1.kernel``
        [outputs, inputs].
    images, labels
        uint8 [N, C, H, W] and int64 [N].
    mean, deviation
        float64 [C]: the pixels become (value / 255 − mean) / deviation.
    target
        ``class``, or ``input``: the outputs are compared with the normalised input, by the mean squared error.
    """

    layers: list[dict]
    shape: tuple[int, int, int]
    weights: dict[str, np.ndarray]
    images: np.ndarray
    labels: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    optimizer: str
    rate: float
    threads: int
    target: str = "class"

    def named_layers(self) -> list[tuple[str, dict]]:
        """Return the layers with the names that their weights have."""
        counts: dict[str, int] = {}
        named = []
        for layer in self.layers:
            counts[layer["type"]] = counts.get(layer["type"], 0) + 1
            named.append((f"{layer['type']}{counts[layer['type']]}", layer))
        return named

    def take_float_images(self, axes: tuple[int, ...] = (0, 1, 2, 3)) -> np.ndarray:
        """Return the normalised images as float32, axes (N, C, H, W) permuted; the bytes are let go.

        Done before any timing and in pieces, so that the peak memory is that of the float32 images alone.
        """
        count = len(self.images)
        scale = (1 / (255 * self.deviation)).astype(np.float32)[:, None, None]
        shift = (-self.mean / self.deviation).astype(np.float32)[:, None, None]
        shape = self.images.shape
        result = np.empty([shape[axis] for axis in axes], np.float32)
        for start in range(0, count, CHUNK):
            result[start : start + CHUNK] = (self.images[start : start + CHUNK] * scale + shift).transpose(axes)
        self.images = self.images[:0]
        return result


def starts(steps: int, batch: int, count: int) -> list[int]:
    """Return where each step's batch begins: one after the other, beginning again when the images are used up."""
    return [(k % (count // batch)) * batch for k in range(steps)]


def flat_to_nhwc(kernel: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Reorder the inputs of a dense kernel [outputs, C·H·W] to [outputs, H·W·C], for maps (C, H, W) = shape."""
    channels, height, width = shape
    cube = kernel.reshape(-1, channels, height, width)
    return cube.transpose(0, 2, 3, 1).reshape(len(kernel), -1)


def map_shapes(job: Job) -> list[tuple[int, int, int]]:
    """Return each layer's input maps (C, H, W); strides are 1 for convolutions, and windows do not overlap."""
    height, width, channels = job.shape
    shapes = []
    for layer in job.layers:
        shapes.append((channels, height, width))
        if layer["type"] == "conv":
            change = 2 * layer["padding"] - layer["kernel_size"] + 1
            channels, height, width = layer["channels"], height + change, width + change
        elif layer["type"].endswith("pool"):
            height, width = height // layer["size"], width // layer["size"]
    return shapes
