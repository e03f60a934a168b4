"""Small data sets that are drawn instead of downloaded: the same on every machine, in less than a second."""

import numpy as np

COLOURS, FORMS = ("red", "green", "blue"), ("disc", "square")
SHAPE_NAMES = tuple(f"{colour} {form}" for colour in COLOURS for form in FORMS)
BAR_NAMES = ("horizontal", "vertical")

_BARS_KEY, _SHAPES_KEY = 0x62617273, 0x736861706573  # "bars", "shapes": keep the streams of equal seeds apart


class Stream:
    """Random numbers from Philox's raw output, which NumPy promises not to change."""

    def __init__(self, seed: int, key: int) -> None:
        self.philox = np.random.Philox(key=np.array([seed, key], np.uint64))

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Return float64 [shape], low ≤ x < high."""
        raw = self.philox.random_raw(int(np.prod(shape))).reshape(shape)
        return low + (high - low) * ((raw >> np.uint64(11)) * 2.0**-53)

    def whole(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Return int64 [shape], low ≤ x < high."""
        return np.floor(self.uniform(low, high, *shape)).astype(np.int64)

    def noise(self, largest: int, *shape: int) -> np.ndarray:
        """Return int64 [shape], 0 ≤ x ≤ largest; `largest` is a power of two less one, at most 255."""
        size = int(np.prod(shape))
        raw = self.philox.random_raw(-(-size // 8)).astype("<u8").view(np.uint8)[:size]
        return (raw & np.uint8(largest)).reshape(shape).astype(np.int64)


def draw_bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw 6×6 images of one bar on noise, for a network as small as that of handouts 000 to 002.

    Returns
    -------
    images, labels
        uint8 [count, 6, 6, 1], and int64 [count]: 0 for a horizontal bar, 1 for a vertical one.
    """
    stream = Stream(seed, _BARS_KEY)
    labels = stream.whole(0, 2, count)
    across = np.arange(6)[None, :, None] - stream.whole(1, 5, count)[:, None, None]
    along = np.arange(6)[None, None, :] - stream.whole(0, 3, count)[:, None, None]
    length = stream.whole(4, 7, count)[:, None, None]
    bar = (across == 0) & (along >= 0) & (along < length)
    bar = np.where(labels[:, None, None] == 1, bar.transpose(0, 2, 1), bar)
    ink = stream.whole(144, 256, count)[:, None, None]
    images = np.where(bar, ink, stream.noise(63, count, 6, 6))
    return images[..., np.newaxis].astype(np.uint8), labels


def draw_shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw 16×16 colour images of one disc or square, in red, green or blue, on coloured noise.

    Each form occurs in each colour and each colour at every brightness, so neither form nor brightness tells the class.

    Returns
    -------
    images, labels
        uint8 [count, 16, 16, 3], and int64 [count]: numbers in `SHAPE_NAMES`.
    """
    stream = Stream(seed, _SHAPES_KEY)
    labels = stream.whole(0, len(SHAPE_NAMES), count)
    radius = stream.uniform(3.5, 6.0, count)[:, None, None]
    row, column = (
        np.arange(16)[None, :, None] - stream.uniform(5.5, 9.5, count)[:, None, None],
        np.arange(16)[None, None, :] - stream.uniform(5.5, 9.5, count)[:, None, None],
    )
    disc = row * row + column * column <= radius * radius
    half = 0.886 * radius  # √π / 2: a square of the disc's area
    square = (abs(row) <= half) & (abs(column) <= half)
    inside = np.where(labels[:, None, None] % 2 == 1, square, disc)[..., np.newaxis]
    hue = np.arange(3) == labels[:, None] // 2
    colour = np.where(hue, stream.uniform(110, 224, count, 1), stream.uniform(0, 60, count, 3))
    images = np.where(inside, colour[:, None, None, :], 0) + stream.noise(31, count, 16, 16, 3)
    images = np.where(inside, images, stream.noise(63, count, 16, 16, 3))
    return images.astype(np.uint8), labels
