"""Published data sets: their files, the mirrors that serve them, and the SHA-256 of what they must serve."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.idx import idx_sha256, read_idx

CIFAR_FOLDER, CIFAR_RECORD = "cifar-10-batches-bin", 1 + 3 * 32 * 32  # a label, and its image's planes


class WrongFileError(Exception):
    """A mirror served something else than what was asked for."""


@dataclass(frozen=True)
class IdxFile:
    """One IDX file.

    `shape` is [N, H, W] for images and [N] for labels; `sha256` is that of the decompressed bytes, because a
    recompressed copy is as good; a file that nobody published has none.
    """

    stem: str
    shape: tuple[int, ...]
    sha256: str = ""
    folder: str = ""

    @property
    def name(self) -> str:
        """The name under which mirrors publish the file."""
        return f"{self.stem}-idx{len(self.shape)}-ubyte.gz"

    @property
    def room(self) -> int:
        """Bytes that a mirror may send at most: the data and some overhead."""
        return int(np.prod(self.shape)) + (1 << 16)

    def find(self, folder: Path) -> Path | None:
        """Return the file in `folder` under one of its four usual names, or None."""
        plain = self.name.removesuffix(".gz")
        for name in (plain, self.name, plain.replace("-idx", ".idx"), self.name.replace("-idx", ".idx")):
            if os.path.isfile(folder / name):
                return folder / name
        return None

    def read(self, path: Path, what: str) -> np.ndarray:
        """Return uint8 [N, H, W] or [N]; DataError where the file is another. `what` is its name in messages."""
        return read_idx(path, len(self.shape), f"{what} {self.stem}")

    def check(self, path: Path) -> None:
        """Raise WrongFileError where `path` holds other data than were published."""
        try:
            array = read_idx(path, len(self.shape))
        except DataError as error:
            raise WrongFileError(str(error).replace(str(path), self.name)) from error
        if array.shape != self.shape:
            raise WrongFileError(f"{self.name}: expected the shape {self.shape}, found {array.shape}")
        if (sha256 := idx_sha256(array)) != self.sha256:
            owner = f", which is {other}'s" if (other := published_as(sha256)) else ""
            raise WrongFileError(f"{self.name}: expected SHA-256 {self.sha256}, found {sha256}{owner}")


@dataclass(frozen=True)
class BinaryFile:
    """A file of `room` bytes, in the data set's folder or in one called `folder` there."""

    name: str
    room: int
    sha256: str
    folder: str = ""

    def find(self, folder: Path) -> Path | None:
        """Return the file in `folder`, or None."""
        places = (folder / self.folder / self.name, folder / self.name)
        return next((path for path in places if os.path.isfile(path)), None)

    def read(self, path: Path, what: str) -> np.ndarray:
        """Return uint8 [room]; DataError where the file has another size. `what` is its name in messages."""
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(f"{path}: expected a file of {what}, found: {error.strerror}; download it again") from error
        if len(content) != self.room:
            raise DataError(f"{path}: expected {self.room:,} bytes, found {len(content):,}; download it again")
        return content

    def check(self, path: Path) -> None:
        """Raise WrongFileError where `path` holds other bytes than were published."""
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != self.sha256:
            raise WrongFileError(f"{self.name}: expected SHA-256 {self.sha256}, found {sha256}")


@dataclass(frozen=True)
class Source:
    """Where a data set is published: the mirrors' base URLs in the order to try them, its files, and what holds them.

    Of IDX files there are four: training images and labels, test images and labels. `archive` is the tar file in which
    mirrors publish the others.
    """

    mirrors: tuple[str, ...]
    files: tuple[IdxFile | BinaryFile, ...]
    archive: BinaryFile | None = None

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
        (
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
    ),
    "fashion_mnist": Source(
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (
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
    ),
    "cifar10": Source(
        ("https://www.cs.toronto.edu/~kriz/", "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"),
        (
            BinaryFile(
                "data_batch_1.bin",
                10_000 * CIFAR_RECORD,
                "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                CIFAR_FOLDER,
            ),
            BinaryFile(
                "data_batch_2.bin",
                10_000 * CIFAR_RECORD,
                "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                CIFAR_FOLDER,
            ),
            BinaryFile(
                "data_batch_3.bin",
                10_000 * CIFAR_RECORD,
                "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                CIFAR_FOLDER,
            ),
            BinaryFile(
                "data_batch_4.bin",
                10_000 * CIFAR_RECORD,
                "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                CIFAR_FOLDER,
            ),
            BinaryFile(
                "data_batch_5.bin",
                10_000 * CIFAR_RECORD,
                "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                CIFAR_FOLDER,
            ),
            BinaryFile(
                "test_batch.bin",
                10_000 * CIFAR_RECORD,
                "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                CIFAR_FOLDER,
            ),
        ),
        BinaryFile(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
}


def published_as(sha256: str) -> str | None:
    """Return the name of the data set that has a published file with this SHA-256, or None."""
    return next((name for name, source in SOURCES.items() if sha256 in (f.sha256 for f in source.files)), None)


def read_cifar10(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read CIFAR-10: five files of training and one of test, 10,000 records of a label and an image's planes each.

    Returns
    -------
    images : numpy.ndarray
        uint8 [60000, 32, 32, 3], those of training first.
    labels : numpy.ndarray
        int64 [60000].

    Raises
    ------
    DataError
        Where a file cannot be read, or has another size.
    """
    files = SOURCES["cifar10"].files
    records = np.stack([file.read(file.find(folder) or folder / file.name, "cifar10") for file in files])
    records = records.reshape(-1, CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0].astype(np.int64)
