"""Classes of different sizes: how much each training image's loss counts, and how often an image is drawn."""

from collections.abc import Sequence

import numpy as np

from lenumba.engine.config.config import LoadedConfig

DRAW_KEY = 0x62616C616E6365  # "balance": keeps the epochs' random streams apart from others with the same seed
SHOWN = 10  # classes of a line
TINY = np.finfo(np.float32).tiny  # a weight of 0 in the program: adds nothing, but the image's answer is counted


def check_class_weight(loaded: LoadedConfig, class_names: Sequence[str]) -> None:
    """Raise ConfigError where `loss.class_weight` names a class that there is not."""
    given = loaded.config.loss.class_weight
    for name in given if isinstance(given, dict) else ():
        if name not in class_names:
            known = ", ".join(class_names[:SHOWN]) + (" …" if len(class_names) > SHOWN else "")
            raise loaded.error(
                f"loss.class_weight.{name}", f"no class {name!r} in {loaded.config.data.name}; its classes are {known}"
            )


def class_weights(loaded: LoadedConfig, class_names: Sequence[str], labels: np.ndarray) -> np.ndarray | None:
    """Return float64 [classes], what the loss of an image counts by its class; None where all count alike.

    ``balanced`` is scikit-learn's, N / (classes · images of the class); classes that are not named weigh 1. Then all
    are scaled so that the images of an epoch weigh 1 on average: the learning rate keeps its meaning.

    Parameters
    ----------
    labels
        int64 [N], of the images to train on.

    Raises
    ------
    ConfigError
        Where a class is unknown, or nothing is left to train on.
    """
    given = loaded.config.loss.class_weight
    if given is None:
        return None
    check_class_weight(loaded, class_names)
    counts = np.bincount(labels, minlength=len(class_names))
    present = counts > 0
    if isinstance(given, dict):
        weights = np.array([given.get(name, 1.0) for name in class_names])
    else:
        weights = np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)
    shares = present / present.sum() if loaded.config.data.sampling == "balanced" else counts / len(labels)
    if not (mean := float((shares * weights).sum())):
        raise loaded.error("loss.class_weight", "expected a weight above 0 for a class with training images, found 0")
    return np.where(present, weights / mean, 0.0)


def image_weights(weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return float32 [N], for a program, what each image's loss counts; weights [classes], labels int64 [N]."""
    return np.maximum(weights[labels], TINY).astype(np.float32)


def balanced_order(labels: np.ndarray, indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw as many images as there are, with replacement: each of a class that is drawn first, with equal chances.

    Parameters
    ----------
    labels, indices
        int64 [N], and int64 [M]: the images to draw from.
    seed, epoch
        Equal ones draw the same images on every machine.

    Returns
    -------
    numpy.ndarray
        int64 [M].
    """
    found, counts = np.unique(labels[indices], return_counts=True)
    grouped = indices[np.argsort(labels[indices], kind="stable")]
    starts = np.cumsum(counts) - counts
    raw = np.random.Philox(key=np.array([seed, DRAW_KEY + epoch], np.uint64)).random_raw(2 * len(indices))
    group = (raw[: len(indices)] % np.uint64(len(found))).astype(np.int64)
    place = (raw[len(indices) :] % counts[group].astype(np.uint64)).astype(np.int64)
    return grouped[starts[group] + place]


def balance_notes(loaded: LoadedConfig, weighed: dict[str, float] | None, count: int) -> list[str]:
    """Say what makes small classes count; `count` is the number of training images, `weighed` the classes' weights."""
    name, notes = loaded.config.data.name, []
    if loaded.config.data.sampling == "balanced":
        notes.append(f"{name}: every epoch draws {count:,} training images with replacement, of all classes alike")
    if weighed is not None:
        listed = ", ".join(f"{key} {weight:.3g}" for key, weight in list(weighed.items())[:SHOWN])
        notes.append(f"{name}: the training loss of an image counts {listed}{' …' if len(weighed) > SHOWN else ''}")
    return notes
