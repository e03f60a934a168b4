"""All images of a configuration in one pool, and the folds that it is cut into."""

from dataclasses import dataclass, replace

import numpy as np

from lenumba.engine.config.config import LoadedConfig
from lenumba.engine.data.dataset import Dataset
from lenumba.engine.data.selection import split

FOLD_KEY = 0x666F6C6473  # "folds": keeps this stream apart from others with the same seed


@dataclass(frozen=True)
class Pool:
    """Training and test images, one after the other.

    Attributes
    ----------
    dataset
        Its training images are all images; it has no test images.
    train_count
        How many of them are the data set's training images; the others are its test images.
    index
        int64 [N]: each image's number among the training or the test images.
    content
        int64 [N]: a number for each different image; equal for exact duplicates.
    files
        The names of the training and the test pictures, where they are files.
    """

    dataset: Dataset
    train_count: int
    index: np.ndarray
    content: np.ndarray
    files: tuple[tuple[str, ...], tuple[str, ...]] | None

    @property
    def images(self) -> np.ndarray:
        """uint8 [N, H, W, C]."""
        return self.dataset.train_images

    @property
    def labels(self) -> np.ndarray:
        """int64 [N], as given."""
        return self.dataset.train_labels

    def file_of(self, number: int) -> str:
        """Return the name of an image's file, empty where images are no files."""
        if self.files is None:
            return ""
        return self.files[0 if number < self.train_count else 1][self.index[number]]

    def split_of(self, number: int) -> str:
        """Return which part of the data set an image is of."""
        return "train" if number < self.train_count else "test"


def make_pool(loaded: LoadedConfig, dataset: Dataset) -> Pool:
    """Put the images that a configuration trains on, validates with and tests with together."""
    used = np.sort(np.concatenate(split(loaded, dataset)))
    images = np.concatenate([dataset.train_images[used], dataset.test_images])
    labels = np.concatenate([dataset.train_labels[used], dataset.test_labels])
    targets = dataset.train_targets
    if targets is not None and dataset.test_targets is not None:
        targets = np.concatenate([targets[used], dataset.test_targets])
    together = replace(
        dataset,
        train_targets=targets,
        test_targets=None if targets is None else targets[:0],
        train_images=images,
        train_labels=labels,
        test_images=dataset.test_images[:0],
        test_labels=dataset.test_labels[:0],
        validation=None,
        files=None,
    )
    index = np.concatenate([used, np.arange(len(dataset.test_labels))])
    return Pool(together, len(used), index, contents(images), dataset.files)


def contents(images: np.ndarray) -> np.ndarray:
    """Return int64 [N], a number for each different image of uint8 [N, H, W, C], in the order of appearance."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(image.tobytes(), len(numbers)) for image in images], np.int64)


def assign_folds(pool: Pool, folds: int, seed: int) -> np.ndarray:
    """Cut a pool into folds at random, with as many images of each class in each as can be.

    Exact duplicates lie in one fold: no network is asked about an image that it has seen.

    Returns
    -------
    numpy.ndarray
        int64 [N], each image's fold: the same for a seed on every machine.
    """
    _, first = np.unique(pool.content, return_index=True)
    philox = np.random.Philox(key=np.array([seed, FOLD_KEY], np.uint64))
    order = np.lexsort((philox.random_raw(len(first)), pool.labels[first]))
    fold_of = np.empty(len(first), np.int64)
    fold_of[order] = np.arange(len(first)) % folds
    return fold_of[pool.content]
