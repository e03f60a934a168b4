"""Data sets of picture files: a folder for each class."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.arrays import MAX_BYTES, MAX_CLASSES, Arrays
from lenumba.engine.data.images import load_image

SUFFIXES = (".png", ".jpg", ".jpeg")
TEST_SHARE = 6  # without folders train and test, one picture in this many is for the test
MAX_FILES = 1_000_000


def read_folder(root: str | os.PathLike[str], image_size: tuple[int, int, int]) -> Arrays:
    """Read PNG and JPEG files, resized with antialiasing (bilinear) to one size.

    The classes are the sub-folders' names in alphabetical order. If `root` has the sub-folders ``train`` and ``test``,
    these hold the classes; else a picture is for the test if a hash of its class and file name says so, about one in
    six, so that more pictures never move those that are there. Hidden and other files are left out.

    Parameters
    ----------
    root
        The folder.
    image_size
        (H, W, C), with C = 1 (grey) or 3 (RGB).

    Returns
    -------
    Arrays
        Images uint8 [N, H, W, C] and labels int64 [N], by class and then file name, and the classes' names.

    Raises
    ------
    DataError
        If folders or pictures are missing, unreadable or too many.
    """
    root = Path(root)
    try:
        if (root / "train").is_dir() and (root / "test").is_dir():
            names = class_folders(root / "train")
            if unknown := set(class_folders(root / "test")) - set(names):
                raise DataError(
                    f"{root / 'test'}: expected the classes of {root / 'train'}, found also {min(unknown)!r}; "
                    "add it to the training pictures or remove it"
                )
            train, test = (list_pictures(root / part, names) for part in ("train", "test"))
        else:
            names = class_folders(root)
            every = list_pictures(root, names)
            test = [item for item in every if is_for_test(names[item[1]], item[0].name)]
            train = [item for item in every if not is_for_test(names[item[1]], item[0].name)]
    except OSError as error:
        raise DataError(
            f"{root}: expected a folder with one folder of pictures for each class, found: {error.strerror}; "
            "check data.root"
        ) from error
    for part, items in (("training", train), ("test", test)):
        if not items:
            raise DataError(
                f"{root}: expected at least one {part} picture, found none; add pictures, or divide them yourself "
                "into the folders train and test"
            )
        if len(items) * math.prod(image_size) > MAX_BYTES:
            raise DataError(
                f"{root}: expected at most {MAX_BYTES} bytes, found {len(items)} {part} pictures of "
                f"{'×'.join(map(str, image_size))}; make data.image_size smaller"
            )
    return Arrays(*load_pictures(train, image_size), *load_pictures(test, image_size), tuple(names))


def class_folders(folder: Path) -> list[str]:
    """Return the names of a folder's sub-folders, hidden ones left out, in alphabetical order."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{folder}: expected 2 to {MAX_CLASSES} folders, one for each class, found {len(names)}; check data.root"
        )
    for name in names:
        if not name.isprintable():
            raise DataError(f"{folder}: expected folder names of printable characters, found {name!r}; rename it")
    return names


def list_pictures(folder: Path, names: list[str]) -> list[tuple[Path, int]]:
    """Return the pictures of all classes, in the order of class and file name, with their labels."""
    pictures: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        if not (folder / name).is_dir():  # a class without test pictures
            continue
        with os.scandir(folder / name) as entries:
            for entry in entries:
                if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith("."):
                    pictures.append((folder / name / entry.name, label))
                if len(pictures) > MAX_FILES:
                    raise DataError(f"{folder}: expected at most {MAX_FILES} pictures, found more; use fewer")
    return sorted(pictures, key=lambda item: (item[1], item[0].name))


def is_for_test(class_name: str, file_name: str) -> bool:
    """Return whether a picture is for the test: the same on every machine, whatever else is in the folder."""
    digest = hashlib.sha256(f"{class_name}/{file_name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little") % TEST_SHARE == 0


def load_pictures(pictures: list[tuple[Path, int]], size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 [N, H, W, C], and labels, int64 [N]."""
    images = np.empty((len(pictures), *size), np.uint8)
    for image, (path, _) in zip(images, pictures, strict=True):
        image[:] = load_image(path, size)
    return images, np.array([label for _, label in pictures], np.int64)
