"""Find the files of a data set on this machine, or download them.

Files are looked for in the folder that the caller names, else in the one that the environment variable
`LENUMBA_DATA` names (or in its sub-folder called like the data set), else in the user's cache folder. Only
the last is ever written to. The environment variable `LENUMBA_MIRROR` puts the base URL of one more mirror
in front.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import durable, expanded
from lenumba.engine.data.idx import idx_sha256, read_idx

_TIMEOUT = (10, 30)  # seconds to connect, and between two packets


@dataclass(frozen=True)
class IdxFile:
    """One IDX file.

    `shape` is [N, H, W] for images and [N] for labels; `sha256` is that of the decompressed bytes, because a
    recompressed copy is as good; a file that nobody published has none.
    """

    stem: str
    shape: tuple[int, ...]
    sha256: str = ""

    @property
    def name(self) -> str:
        """The name under which mirrors publish the file."""
        return f"{self.stem}-idx{len(self.shape)}-ubyte.gz"

    def find(self, folder: Path) -> Path | None:
        """Return the file in `folder` under one of its four usual names, or None."""
        plain = self.name.removesuffix(".gz")
        for name in (plain, self.name, plain.replace("-idx", ".idx"), self.name.replace("-idx", ".idx")):
            if os.path.isfile(folder / name):
                return folder / name
        return None


@dataclass(frozen=True)
class Source:
    """Where a data set is published: the mirrors' base URLs in the order to try them, and its files."""

    mirrors: tuple[str, ...]
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile

    @property
    def files(self) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
        """The four files: training images and labels, test images and labels."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    def missing(self, folder: Path) -> list[str]:
        """Return the names of the files that `folder` lacks."""
        return [file.name for file in self.files if file.find(folder) is None]


SOURCES = {
    "mnist": Source(
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        IdxFile(
            "train-images",
            (60000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        IdxFile(
            "train-labels",
            (60000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        IdxFile(
            "t10k-images",
            (10000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        IdxFile(
            "t10k-labels",
            (10000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion_mnist": Source(
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        IdxFile(
            "train-images",
            (60000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        IdxFile(
            "train-labels",
            (60000,),
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        IdxFile(
            "t10k-images",
            (10000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        IdxFile(
            "t10k-labels",
            (10000,),
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


class _MirrorError(Exception):
    """A mirror served something else than what was asked for."""


def cache_folder(dataset_name: str) -> Path:
    """Return the folder that downloads of a data set go to, which is pooch's `os_cache` without pooch."""
    import platformdirs

    folder = expanded(platformdirs.user_cache_dir("lenumba"))
    if not folder.is_absolute():
        raise DataError(f"{folder}: expected a home directory, found none; set XDG_CACHE_HOME, or data.root")
    return folder / dataset_name


def fetch(dataset_name: str, root: str | os.PathLike[str] | None = None, progress: bool = False) -> Path:
    """Return the folder that holds the four files of a data set, downloading those that the cache lacks.

    Files that exist are used as they are: neither verified here nor overwritten.

    Parameters
    ----------
    dataset_name : str
        A key of `SOURCES`.
    root : path-like, optional
        Where the files are, here or in a sub-folder called like the data set. Nothing is downloaded then.
    progress : bool
        Draw a progress bar on standard error for each download.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    DataError
        If `root` lacks a file, if `LENUMBA_DATA` has some of the files but not all, if the cache folder
        cannot be written, or if every mirror failed.
    """
    source = SOURCES.get(dataset_name)
    if source is None:
        raise DataError(f"data set {dataset_name!r}: expected one of {', '.join(SOURCES)}; choose one of these")
    if root is not None:
        return _complete_folder(source, dataset_name, expanded(root), "data.root")
    return find_folder(dataset_name) or download(dataset_name, cache_folder(dataset_name), progress)


def find_folder(dataset_name: str) -> Path | None:
    """Return the folder that has a published data set's files without `data.root`, or None; raises as `fetch` does."""
    source = SOURCES[dataset_name]
    if elsewhere := os.environ.get("LENUMBA_DATA"):
        folder = expanded(elsewhere)
        # With none of the files it may be meant for other data sets; with some of them, one was forgotten.
        if any(len(source.missing(place)) < 4 for place in (folder / dataset_name, folder)):
            return _complete_folder(source, dataset_name, folder, "LENUMBA_DATA")
    folder = cache_folder(dataset_name)
    return None if source.missing(folder) else folder


def download(dataset_name: str, folder: Path, progress: bool = False) -> Path:
    """Download into `folder` those of a data set's files that it lacks, and return it; raises as :func:`fetch` does."""
    source = SOURCES.get(dataset_name)
    if source is None:
        raise DataError(f"data set {dataset_name!r}: expected one of {', '.join(SOURCES)}; choose one of these")
    if source.missing(folder):
        _download_missing(source, dataset_name, folder, progress)
    return folder


def published_as(sha256: str) -> str | None:
    """Return the name of the data set that has a published file with this SHA-256, or None."""
    return next((name for name, source in SOURCES.items() if sha256 in (f.sha256 for f in source.files)), None)


def _complete_folder(source: Source, dataset_name: str, folder: Path, setting: str) -> Path:
    for place in (folder / dataset_name, folder):
        missing = source.missing(place)
        if not missing:
            return place
    nearest = min((folder, folder / dataset_name), key=lambda place: len(source.missing(place)))
    raise DataError(
        f"{setting} {nearest}: expected the four files of {dataset_name}, found no "
        f"{', '.join(source.missing(nearest))} (with or without .gz); put them there, or unset {setting} "
        "to have them downloaded"
    )


def _download_missing(source: Source, dataset_name: str, folder: Path, progress: bool) -> None:
    import requests  # pooch's transport: its exceptions are what a failed transfer raises

    prepended = os.environ.get("LENUMBA_MIRROR")
    failures = []
    for mirror in ((prepended,) if prepended else ()) + source.mirrors:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in source.files:
                if file.find(folder) is None:
                    _download(mirror, file, folder, progress)
            return
        except requests.HTTPError as error:
            failures.append(f"{mirror} (HTTP status {getattr(error.response, 'status_code', '?')})")
        except (requests.RequestException, _MirrorError, ValueError) as error:
            failures.append(f"{mirror} ({error if isinstance(error, _MirrorError) else type(error).__name__})")
        except OSError as error:
            raise DataError(
                f"{folder}: expected a folder to write downloads to, found: {error.strerror}; make it "
                "writable, or set data.root or LENUMBA_DATA to a folder with the files"
            ) from error
    raise DataError(
        f"data set {dataset_name}: expected a mirror to serve {', '.join(source.missing(folder))}, "
        f"found that all failed: {', '.join(failures)}; put the four files into {folder}, or set "
        "data.root or LENUMBA_DATA to their folder"
    )


def _download(mirror: str, file: IdxFile, folder: Path, progress: bool) -> None:
    import pooch

    # Under another name until it is verified: whatever interrupts this, half a file is never taken for one.
    with durable(folder / file.name) as temporary:
        with _BoundedFile(temporary, file) as output:
            transfer = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16, timeout=_TIMEOUT)
            transfer(f"{mirror.rstrip('/')}/{file.name}", output, None)
        _verify(temporary, file)


class _BoundedFile:
    """A new file that takes no more bytes than the data and some overhead: a mirror might never stop."""

    def __init__(self, path: Path, file: IdxFile):
        self._output = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self._name = file.name
        self._room = int(np.prod(file.shape)) + (1 << 16)

    def __enter__(self) -> "_BoundedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._output.close()

    def write(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise _MirrorError(f"{self._name}: more data than the file has")
        self._output.write(data)

    def flush(self) -> None:
        """Do nothing: the file is not buffered."""


def _verify(path: Path, file: IdxFile) -> None:
    try:
        array = read_idx(path, len(file.shape))
    except DataError as error:
        raise _MirrorError(str(error).replace(str(path), file.name)) from error
    if array.shape != file.shape:
        raise _MirrorError(f"{file.name}: expected the shape {file.shape}, found {array.shape}")
    sha256 = idx_sha256(array)
    if sha256 != file.sha256:
        owner = f", which is {other}'s" if (other := published_as(sha256)) else ""
        raise _MirrorError(f"{file.name}: expected SHA-256 {file.sha256}, found {sha256}{owner}")
