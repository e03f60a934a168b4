"""Drawing samples, setting some aside for validation, and the statistics of pixels."""

import math
from collections.abc import Callable

import numpy as np

from lenumba.engine.common.errors import DataError

_SPLIT_KEY, _DRAW_KEY = 0x73706C6974, 0x64726177  # "split", "draw": keep the streams of equal seeds apart


def draw_stratified(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw samples at random, of every class about the same share.

    Parameters
    ----------
    labels : numpy.ndarray
        int64 [N], at least 0.
    count : int
        How many samples; all of them where there are no more.
    seed : int
        At least 0 and below 2**64. The same seed draws the same samples on every machine.

    Returns
    -------
    numpy.ndarray
        int64 [min(count, N)], ascending. Each class has its share of `count`, rounded up or down.
    """
    total = len(labels)
    if count >= total:
        return np.arange(total)
    sizes = np.bincount(labels).astype(np.int64)
    quota, rest = np.divmod(sizes * count, total)
    # The largest remainders are rounded up; of equal ones, those of the first classes.
    quota[np.argsort(-rest, kind="stable")[: count - quota.sum()]] += 1
    philox = np.random.Philox(key=np.array([seed, _DRAW_KEY], np.uint64))
    order = np.argsort(philox.random_raw(total), kind="stable")
    drawn = [order[labels[order] == label][:size] for label, size in enumerate(quota.tolist()) if size]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def split_validation(count: int, validation: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the indices of `count` samples at random into a training and a validation part.

    Parameters
    ----------
    count : int
        The number of samples.
    validation : int or float
        How many of them to set aside: a number of samples, or a fraction in [0, 1) if it is a float.
    seed : int
        At least 0 and below 2**64. The same seed gives the same split on every machine.

    Returns
    -------
    train_indices, validation_indices : numpy.ndarray
        int64 [count - V] and [V], each in ascending order; V may be 0.

    Raises
    ------
    DataError
        If `validation` is negative or not finite, or leaves nothing for training.
    """
    size = validation
    if isinstance(validation, float):
        size = round(count * validation) if 0 <= validation < 1 else -1
    if not 0 <= size < count:
        raise DataError(
            f"validation split: expected less than all of {count} samples (a count, or a fraction below 1), "
            f"found {validation}; set aside fewer"
        )
    philox = np.random.Philox(key=np.array([seed, _SPLIT_KEY], np.uint64))
    # NumPy promises the raw stream for ever, but not what Generator.permutation makes of it.
    order = np.argsort(philox.random_raw(count), kind="stable")
    return np.sort(order[size:]).astype(np.int64), np.sort(order[:size]).astype(np.int64)


def pixel_sums(images: np.ndarray) -> np.ndarray:
    """Sum each image's pixels, and their squares.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 [N, H, W, C].

    Returns
    -------
    numpy.ndarray
        int64 [2, N, C]: the sums, which are exact.
    """
    found = np.empty((2, len(images), images.shape[-1]), np.int64)
    for start in range(0, len(images), 64):  # as doubles, which hold every sum exactly, they are eight times as large
        chunk = slice(start, start + 64)
        pixels = images[chunk].astype(np.float64)
        found[0, chunk] = pixels.sum((1, 2))
        found[1, chunk] = np.einsum("nhwc,nhwc->nc", pixels, pixels)
    return found


def signal_mean_and_std(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and standard deviation of signals float32 [N, 1, L, C], or images [N, H, W, C]: float64 [C].

    Values are added in an order that neither the machine nor its vectors decide. The std of a constant channel is given
    as 1, to divide by.
    """
    if len(signals) == 0:
        raise DataError("statistics: expected at least one signal, found none; set aside fewer samples")
    parts, n = range(0, len(signals), 64), signals.size // signals.shape[-1]

    def means(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        totals = sum(change(signals[start : start + 64].astype(np.float64)).sum(0) for start in parts)
        return np.array([math.fsum(column) / n for column in np.reshape(totals, (-1, signals.shape[-1])).T])

    mean = means(lambda values: values)
    std = np.sqrt(means(lambda values: (values - mean) ** 2))
    return mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0)


def mean_and_std(sums: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and standard deviation of the pixels, scaled to [0, 1], of some images.

    The sums are exact integers, so the result depends on neither the order of the images nor the machine.

    Parameters
    ----------
    sums : numpy.ndarray
        int64 [2, M, C], of :func:`pixel_sums`: those of the images to count, at least one.
    pixels : int
        Pixels of an image, H · W.

    Returns
    -------
    mean, std : numpy.ndarray
        float64 [C], of pixels / 255. The std of a constant channel is given as 1, to divide by.

    Raises
    ------
    DataError
        If there are no images.
    """
    _, count, channels = sums.shape
    if count == 0:
        raise DataError("pixel statistics: expected at least one image, found none; set aside fewer samples")
    n = count * pixels
    mean, std = np.empty(channels), np.empty(channels)
    for channel, (total, squares) in enumerate(sums.sum(1).T.tolist()):  # Python's integers do not overflow
        mean[channel] = total / (255 * n)
        std[channel] = ((n * squares - total * total) / (255 * n) ** 2) ** 0.5 or 1.0
    return mean, std
