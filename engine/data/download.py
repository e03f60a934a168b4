"""Find the files of a data set on this machine, or download them.

Files are looked for in the folder that the caller names, else in the one that the environment variable
`LENUMBA_DATA` names (or in its sub-folder called like the data set), else in the user's cache folder. Only
the last is ever written to. The environment variable `LENUMBA_MIRROR` puts the base URL of one more mirror
in front.
"""

import os
import shutil
import tarfile
from pathlib import Path

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import durable, expanded
from lenumba.engine.data.published import SOURCES, BinaryFile, IdxFile, Source, WrongFileError

_TIMEOUT = (10, 30)  # seconds to connect, and between two packets


def cache_folder(dataset_name: str) -> Path:
    """Return the folder that downloads of a data set go to, which is pooch's `os_cache` without pooch."""
    import platformdirs

    folder = expanded(platformdirs.user_cache_dir("lenumba"))
    if not folder.is_absolute():
        raise DataError(f"{folder}: expected a home directory, found none; set XDG_CACHE_HOME, or data.root")
    return folder / dataset_name


def fetch(dataset_name: str, root: str | os.PathLike[str] | None = None, progress: bool = False) -> Path:
    """Return the folder that holds the files of a data set, downloading those that the cache lacks.

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
        if any(len(source.missing(place)) < len(source.files) for place in (folder / dataset_name, folder)):
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


def _complete_folder(source: Source, dataset_name: str, folder: Path, setting: str) -> Path:
    for place in (folder / dataset_name, folder):
        missing = source.missing(place)
        if not missing:
            return place
    nearest = min((folder, folder / dataset_name), key=lambda place: len(source.missing(place)))
    raise DataError(
        f"{setting} {nearest}: expected the files of {dataset_name}, found no "
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
            if source.archive:
                if source.archive.find(folder) is None:
                    _download(mirror, source.archive, folder, progress)
                _unpack(folder / source.archive.name, source, folder)
                return
            for file in source.files:
                if file.find(folder) is None:
                    _download(mirror, file, folder, progress)
            return
        except requests.HTTPError as error:
            failures.append(f"{mirror} (HTTP status {getattr(error.response, 'status_code', '?')})")
        except (requests.RequestException, WrongFileError, ValueError) as error:
            failures.append(f"{mirror} ({error if isinstance(error, WrongFileError) else type(error).__name__})")
        except OSError as error:
            raise DataError(
                f"{folder}: expected a folder to write downloads to, found: {error.strerror}; make it "
                "writable, or set data.root or LENUMBA_DATA to a folder with the files"
            ) from error
    raise DataError(
        f"data set {dataset_name}: expected a mirror to serve {', '.join(source.missing(folder))}, "
        f"found that all failed: {', '.join(failures)}; put the files into {folder}, or set "
        "data.root or LENUMBA_DATA to their folder"
    )


def _download(mirror: str, file: IdxFile | BinaryFile, folder: Path, progress: bool) -> None:
    import pooch

    # Under another name until it is verified: whatever interrupts this, half a file is never taken for one.
    with durable(folder / file.name) as temporary:
        with _BoundedFile(temporary, file) as output:
            transfer = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16, timeout=_TIMEOUT)
            transfer(f"{mirror.rstrip('/')}/{file.name}", output, None)
        file.check(temporary)


def _unpack(archive: Path, source: Source, folder: Path) -> None:
    """Take the files that `folder` lacks out of a verified tar file, and remove that."""
    with tarfile.open(archive) as tar:
        for file in source.files:
            if file.find(folder) is None and (content := tar.extractfile(f"{file.folder}/{file.name}")):
                (folder / file.folder).mkdir(exist_ok=True)
                with durable(folder / file.folder / file.name) as temporary:
                    with open(temporary, "wb") as output:
                        shutil.copyfileobj(content, output)
                    file.check(temporary)
    archive.unlink()


class _BoundedFile:
    """A new file that takes no more bytes than the data and some overhead: a mirror might never stop."""

    def __init__(self, path: Path, file: IdxFile | BinaryFile):
        self._output = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self._name = file.name
        self._room = file.room

    def __enter__(self) -> "_BoundedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._output.close()

    def write(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise WrongFileError(f"{self._name}: more data than the file has")
        self._output.write(data)

    def flush(self) -> None:
        """Do nothing: the file is not buffered."""
