"""Setting samples aside for validation, and the statistics of pixels."""

import numpy as np

from lenumba.engine.errors import DataError

_SPLIT_KEY = 0x73706C6974  # "split": keeps this stream apart from others with the same seed


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


def mean_and_std(images: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and standard deviation of the pixels, scaled to [0, 1], of some images.

    The sums are exact integers, so the result depends on neither the order of the images nor the machine.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 [N, H, W, C].
    indices : numpy.ndarray
        Integers [M]: which images to count, at least one.

    Returns
    -------
    mean, std : numpy.ndarray
        float64 [C], of pixels / 255. The std of a constant channel is given as 1, to divide by.

    Raises
    ------
    DataError
        If there are no indices.
    """
    if len(indices) == 0:
        raise DataError("pixel statistics: expected at least one image, found none; set aside fewer samples")
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(indices), 1024):  # bincount widens its input to int64: keep that copy small
        chunk = images[indices[start : start + 1024]]
        for channel in range(channels):
            histogram[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    mean, std = np.empty(channels), np.empty(channels)
    for channel, counts in enumerate(histogram.tolist()):
        n = sum(counts)
        total = sum(value * times for value, times in enumerate(counts))
        squares = sum(value * value * times for value, times in enumerate(counts))
        mean[channel] = total / (255 * n)
        std[channel] = ((n * squares - total * total) / (255 * n) ** 2) ** 0.5 or 1.0
    return mean, std
