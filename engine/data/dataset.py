"""Data sets in memory: one table of them, and what all of them must pass."""

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import expanded
from lenumba.engine.data import download
from lenumba.engine.data.arrays import Arrays, Dataset, check_pixels, data_sha256
from lenumba.engine.data.assemble import assemble
from lenumba.engine.data.bundled import read_digits8x8
from lenumba.engine.data.csv_file import read_csv
from lenumba.engine.data.drawn import BAR_NAMES, SHAPE_NAMES, draw_bars, draw_shapes
from lenumba.engine.data.idx import idx_sha256, read_idx
from lenumba.engine.data.images import load_image, prepare_digit
from lenumba.engine.data.joined import join
from lenumba.engine.data.npz import read_npz
from lenumba.engine.data.picture_folder import read_folder
from lenumba.engine.data.published import SOURCES, IdxFile, published_as, read_cifar10
from lenumba.engine.data.signals import as_features, as_signals, check_features, check_signals
from lenumba.engine.data.splits import split_validation

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetSpec",
    "data_sha256",
    "dataset_from_arrays",
    "dataset_spec",
    "load_dataset",
    "split_validation",
]

Root = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Request:
    """What a data set's loader is asked for: `image_size` is (H, W, C), for pictures that are resized.

    `signal_shape` is that of signals, (1, L, C), and `floats` says that images are float32. `judging`: the images are
    to be judged by a trained network, so a test set, or one class, may be all there is. `target` is a key of `TARGETS`,
    and `columns` those of a text file that hold it.
    """

    name: str
    root: Root
    progress: bool
    image_size: tuple[int, int, int] | None
    judging: bool
    signal_shape: tuple[int, int, int] | None = None
    floats: bool = False
    target: str = "class"
    columns: tuple[str, ...] | None = None

    @property
    def path(self) -> Path:
        """The path that the user must give, or DataError."""
        if self.root is None:
            raise DataError(f"{self.name}: expected a path in data.root, found none; set data.root")
        return expanded(self.root)


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a data set before reading it, and how it is read.

    Attributes
    ----------
    image_shape : tuple of int or None
        (H, W, C); None where only the files tell.
    class_names : tuple of str or None
        Likewise.
    load : callable
        Returns the arrays, of which `load_dataset` checks what the loader has not.
    train_count : int or None
        The training images, if it is known how many there are.
    prepare : callable
        Makes an image uint8 [H, W, C] of a picture's path and (H, W, C), as the data set's own images were made.
    """

    image_shape: tuple[int, int, int] | None
    class_names: tuple[str, ...] | None
    load: Callable[[Request], Arrays]
    train_count: int | None = None
    prepare: Callable[[str | os.PathLike[str], tuple[int, int, int]], np.ndarray] = load_image

    @property
    def classes(self) -> int | None:
        """The number of classes, None where only the files tell."""
        return None if self.class_names is None else len(self.class_names)


def _load_published(request: Request) -> Arrays:
    name = request.name
    folder = download.fetch(name, request.root, request.progress)
    arrays = [file.read(file.find(folder) or folder / file.name, name) for file in SOURCES[name].files]
    # Several data sets use the same file names. The labels are enough to tell, and quick to hash.
    owner = published_as(idx_sha256(arrays[1]))
    if owner not in (None, name):
        raise DataError(f"{folder}: expected the files of {name}, found those of {owner}; correct the folder")
    return Arrays(arrays[0], arrays[1], arrays[2], arrays[3])


def _load_cifar10(request: Request) -> Arrays:
    images, labels = read_cifar10(download.fetch(request.name, request.root, request.progress))
    training = len(labels) // 6 * 5
    return Arrays(images[:training], labels[:training], images[training:], labels[training:])


def _load_idx(request: Request) -> Arrays:
    folder, arrays = request.path, []
    for stems in (("train-images",), ("train-labels",), ("t10k-images", "test-images"), ("t10k-labels", "test-labels")):
        rank = 3 if "images" in stems[0] else 1
        files = [IdxFile(stem, (0,) * rank) for stem in stems]
        path = next((found for file in files if (found := file.find(folder))), None)
        if path is None:
            names = " or ".join(file.name for file in files)
            raise DataError(f"{folder}: expected {names} (or without .gz), found no such file; correct data.root")
        arrays.append(read_idx(path, rank))
    return Arrays(arrays[0], arrays[1], arrays[2], arrays[3])


def _load_npz(request: Request) -> Arrays:
    check = check_signals if request.signal_shape else check_features if request.floats else check_pixels
    return read_npz(request.path, request.judging, check, request.target)


def _load_csv(request: Request) -> Arrays:
    if request.signal_shape is None:
        raise DataError(f"{request.name}: expected [length] in network.input, found none; set network.input")
    return read_csv(request.path, request.signal_shape, request.judging, request.target, request.columns)


def _load_folder(request: Request) -> Arrays:
    if request.image_size is None:
        raise DataError(f"{request.name}: expected [H, W, C] in data.image_size, found none; set data.image_size")
    return read_folder(request.path, request.image_size, request.judging, request.target)


def _load_digits(request: Request) -> Arrays:
    from lenumba.kernels.digits.digits import draw_digits  # compiles on first use, so not before it is wanted

    return Arrays(*draw_digits(12_000, seed=0), *draw_digits(2_000, seed=1))


def _load_digits8x8(request: Request) -> Arrays:
    return Arrays(*read_digits8x8())


def _load_bars(request: Request) -> Arrays:
    return Arrays(*draw_bars(2_000, seed=0), *draw_bars(500, seed=1))


def _load_shapes(request: Request) -> Arrays:
    return Arrays(*draw_shapes(6_000, seed=0), *draw_shapes(1_200, seed=1))


def _load_arrays(request: Request) -> Arrays:
    raise DataError(
        "arrays: the images were in memory and are in no file; pass them in Python: "
        "lenumba.load(RUN).evaluate(images, labels), or lenumba.train(resume=RUN, images=…, labels=…)"
    )


_DIGITS = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

#: Every data set by name. A new one needs an entry here, and if it is published, one in `SOURCES`.
DATASETS = {
    "digits": DatasetSpec((28, 28, 1), _DIGITS, _load_digits, 12_000, prepare_digit),
    "mnist": DatasetSpec((28, 28, 1), _DIGITS, _load_published, 60_000, prepare_digit),
    "fashion_mnist": DatasetSpec((28, 28, 1), _CLOTHES, _load_published, 60_000),
    "cifar10": DatasetSpec((32, 32, 3), _OBJECTS, _load_cifar10, 50_000),
    "digits8x8": DatasetSpec((8, 8, 1), _DIGITS, _load_digits8x8, 1_297),
    "bars": DatasetSpec((6, 6, 1), BAR_NAMES, _load_bars, 2_000),
    "shapes": DatasetSpec((16, 16, 3), SHAPE_NAMES, _load_shapes, 6_000),
    "folder": DatasetSpec(None, None, _load_folder),
    "npz": DatasetSpec(None, None, _load_npz),
    "idx": DatasetSpec(None, None, _load_idx),
    "csv": DatasetSpec(None, None, _load_csv),
    "arrays": DatasetSpec(None, None, _load_arrays),
}


def dataset_spec(name: str) -> DatasetSpec:
    """Return the shape and classes of a data set without reading it.

    Raises
    ------
    DataError
        If there is no data set of this name.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1)
    remedy = f"did you mean {near[0]}?" if near else "choose one of these"
    raise DataError(f"data set: expected one of {', '.join(DATASETS)}, found {name!r}; {remedy}")


def load_dataset(
    name: str,
    root: Root | Sequence[str] = None,
    progress: bool = False,
    image_size: tuple[int, int, int] | None = None,
    judging: bool = False,
    signal_shape: tuple[int, int, int] | None = None,
    floats: bool = False,
    target: str = "class",
    columns: tuple[str, ...] | None = None,
) -> Dataset:
    """Load a data set, downloading it if it is published and nowhere on this machine.

    A download must have the published SHA-256. Files that are already there need not: any IDX files of the
    right format, shape and label range are accepted under these names, and `Dataset.sha256` tells them
    apart.

    Parameters
    ----------
    name : str
        A key of `DATASETS`.
    root : path-like or sequence of str, optional
        The folder with the files (for ``npz``, the file); of several, all are joined, each divided as it would be
        alone. Without it, published data sets are searched for as `lenumba.engine.data.download` describes;
        ``folder``, ``npz`` and ``idx`` need it.
    progress : bool
        Draw a progress bar on standard error for each download.
    image_size : tuple of int, optional
        (H, W, C) that ``folder`` resizes its pictures to; it needs it.
    judging : bool
        Whether the images are to be judged by a trained network: then there may be a test set alone, or one class.
    signal_shape : tuple of int, optional
        (1, L, C) where the files hold signals.
    floats : bool
        Whether images are floating-point numbers.
    target : str
        A key of `TARGETS`: what the labels are.
    columns : tuple of str, optional
        The columns of a text file that hold labels or numbers.

    Returns
    -------
    Dataset
        Images uint8 [N, H, W, C] or float32, or signals float32 [N, 1, L, C]; labels int64 [N].

    Raises
    ------
    DataError
        If the name is unknown; if files are missing, damaged or cannot be downloaded; or if the counts of
        images and labels differ, a split is empty, a label is out of range, or images have another shape
        than the data set's.
    """
    spec, convert = dataset_spec(name), as_signals if signal_shape else as_features if floats else None
    asked = Request(name, None, progress, image_size, judging, signal_shape, floats, target, columns)
    if root is None or isinstance(root, str | os.PathLike):
        arrays = spec.load(replace(asked, root=root))
    else:  # one of them may lack a part or have one class, as long as all together do not
        requests = [replace(asked, root=each, judging=True) for each in root]
        found = {str(each.root): spec.load(each) for each in requests}
        arrays = join({root: assemble(root, part, judging=True, convert=convert) for root, part in found.items()})
    return assemble(name, arrays, spec.image_shape, spec.class_names, judging, convert, target)


def dataset_from_arrays(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Make a data set of arrays in memory.

    Parameters
    ----------
    train_images, test_images
        uint8 [N, H, W] or [N, H, W, C].
    train_labels, test_labels
        Integers [N] from 0, or one-hot rows [N, K].
    class_names
        What each class shows; without them, the classes are called by their numbers.

    Returns
    -------
    Dataset
        Images uint8 [N, H, W, C], labels int64 [N].

    Raises
    ------
    DataError
        If an array has another type or rank, or if the arrays do not fit each other.
    """
    names = None if class_names is None else tuple(map(str, class_names))
    return assemble("arrays", Arrays(train_images, train_labels, test_images, test_labels), class_names=names)
