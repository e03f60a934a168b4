"""Data sets of picture files: a folder for each class."""

import hashlib
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError
from lenumba.engine.data.arrays import MAX_BYTES, MAX_CLASSES, Arrays, extremes
from lenumba.engine.data.images import FORMAT_NAMES, FORMATS, load_image

TEST_SHARE = 6  # without folders train and test, one picture in this many is for the test
MAX_FILES = 1_000_000
#: The folders of a data set that is divided already, by what they hold.
PARTS = {"training": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}

Pictures = list[tuple[Path, str]]  # files and their classes' names


@dataclass
class Listing:
    """The pictures of a folder by class, in the order of their names, and what is left out."""

    folder: Path
    classes: dict[str, Pictures] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)

    def of(self, names: list[str]) -> Pictures:
        """Return the pictures of these classes; raise DataError where there are others, too."""
        if unknown := sorted(set(self.classes) - set(names)):
            raise DataError(
                f"{self.folder}: expected the classes of the training pictures, found also {unknown[0]!r}; "
                "add it to the training pictures or remove it"
            )
        return [picture for name in names for picture in self.classes.get(name, [])]

    def notes(self) -> list[str]:
        """Return a line for what is left out, if anything is."""
        found = [f"{count} × {what}" for what, count in sorted(self.skipped.items())]
        found += [f"the folder {name} (no pictures: no class)" for name in self.empty]
        return [f"{self.folder}: left out: {', '.join(found)}"] if found else []


def read_folder(
    root: str | os.PathLike[str], image_size: tuple[int, int, int], judging: bool = False, target: str = "class"
) -> Arrays:
    """Read picture files, resized with antialiasing (bilinear) to one size.

    The classes are the sub-folders' names in alphabetical order; one without pictures is none. If `root` has a folder
    ``train`` and one of ``val``, ``valid`` and ``test`` (:data:`PARTS`), these hold the classes; without ``test``, the
    folder for validation is the test set. Else a picture is for the test if a hash of its class and file name says so,
    about one in six, so that more pictures never move those that are there. Other files are left out, which the notes
    tell.

    Parameters
    ----------
    root
        The folder.
    image_size
        (H, W, C), with C = 1 (grey) or 3 (RGB).
    judging
        Whether the pictures are to be judged by a trained network: then a part, or one class, may be all there is.
    target
        A key of `TARGETS`; where it is the input, one class is enough, and test pictures may be of others: anomalies.

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
        parts, names, notes, divided = list_parts(root, judging, target)
    except OSError as error:
        raise DataError(
            f"{root}: expected a folder with one folder of pictures for each class, found: {error.strerror}; "
            "check data.root"
        ) from error
    for part, items in parts.items():
        if not items and part != "validation" and not judging:
            raise DataError(
                f"{root}: expected at least one {part} picture, found none; add pictures, or divide them yourself "
                "into the folders train and test"
            )
        if len(items) * math.prod(image_size) > MAX_BYTES:
            raise DataError(
                f"{root}: expected at most {MAX_BYTES} bytes, found {len(items)} {part} pictures of "
                f"{'×'.join(map(str, image_size))}; make data.image_size smaller"
            )
    train, sizes = parts["training"] + parts["validation"], list[tuple[int, int]]()
    return Arrays(
        *load_pictures(train, names, image_size, sizes),
        *load_pictures(parts["test"], names, image_size, sizes),
        tuple(names),
        validation=np.arange(len(parts["training"]), len(train)) if parts["validation"] else None,
        notes=tuple(notes),
        divided=divided,
        files=tuple(tuple(path.relative_to(root).as_posix() for path, _ in items) for items in (train, parts["test"])),  # type: ignore[arg-type]
        sizes=extremes(sizes),
    )


def list_parts(root: Path, judging: bool, target: str) -> tuple[dict[str, Pictures], list[str], list[str], bool]:
    """Return the pictures by part, the classes' names, notes, and whether the test set was chosen here."""
    folders = divided_folders(root, judging)
    if not folders:
        listing = list_folder(root)
        names = class_names(root, listing.classes, judging or target == "input")
        every = listing.of(names)
        parts: dict[str, Pictures] = {"training": [], "validation": [], "test": []}
        for path, name in every:
            parts["test" if is_for_test(name, path.name) else "training"].append((path, name))
        note = f"{root}: no folders train and test, so {len(parts['test'])} of {len(every)} pictures are for the test"
        return parts, names, [f"{note}, about one in six, chosen by their names", *listing.notes()], True
    listings = {part: list_folder(folder) for part, folder in folders.items()}
    known = listings.get("training") or next(iter(listings.values()))
    names = class_names(known.folder, known.classes, judging or target == "input")
    if target == "input":
        names = sorted(set().union(*(listing.classes for listing in listings.values())))
    found = {part: listing.of(names) for part, listing in listings.items()}
    notes = [note for listing in listings.values() for note in listing.notes()]
    others = [name for name in subfolders(root) if root / name not in folders.values()]
    notes += [f"{root}: left out: the folders beside {known.folder.name}: {', '.join(others)}"] if others else []
    if "test" not in found and "validation" in found:
        notes.append(f"{folders['validation']}: taken as the test set, as there is no folder test")
        found["test"] = found.pop("validation")
    elif "validation" in found:
        notes.append(f"{folders['validation']}: validates; data.validation is not used")
    return {part: found.get(part, []) for part in PARTS}, names, notes, False


def divided_folders(root: Path, judging: bool) -> dict[str, Path]:
    """Return the folders of the parts that `root` is divided into; empty where it holds the classes themselves."""
    there = subfolders(root)
    found = {part: root / name for part, usual in PARTS.items() for name in usual[::-1] if name in there}
    whole = "training" in found and len(found) > 1
    return found if whole or (judging and found and set(found.values()) == {root / name for name in there}) else {}


def subfolders(folder: Path) -> list[str]:
    """Return the names of a folder's sub-folders, hidden ones left out, in alphabetical order."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def class_names(folder: Path, found: dict[str, Pictures], judging: bool) -> list[str]:
    """Return the names of the classes in alphabetical order; raise DataError where there are too few or too many."""
    least = 1 if judging else 2
    if not least <= len(found) <= MAX_CLASSES:
        raise DataError(
            f"{folder}: expected {least} to {MAX_CLASSES} folders of pictures, one for each class, found {len(found)}; "
            f"check data.root ({FORMAT_NAMES} are read)"
        )
    return list(found)


def list_folder(folder: Path) -> Listing:
    """Return the pictures in each sub-folder, in the order of class and file name."""
    names, listing, count = subfolders(folder), Listing(folder), 0
    for name in names[: MAX_CLASSES + 1]:
        pictures = []
        with os.scandir(folder / name) as entries:
            for entry in entries:
                suffix = Path(entry.name).suffix.lower()
                if entry.name.startswith("."):
                    listing.skipped["hidden file"] += 1
                elif suffix in FORMATS:
                    pictures.append((folder / name / entry.name, name))
                else:
                    listing.skipped["folder in a class" if entry.is_dir() else suffix or "file without ending"] += 1
                count += 1
                if count > MAX_FILES:
                    raise DataError(f"{folder}: expected at most {MAX_FILES} pictures, found more; use fewer")
        if not pictures:
            listing.empty.append(ascii(name)[1:-1])
        elif not name.isprintable():
            raise DataError(f"{folder}: expected folder names of printable characters, found {name!r}; rename it")
        else:
            listing.classes[name] = sorted(pictures, key=lambda picture: picture[0].name)
    return listing


def is_for_test(class_name: str, file_name: str) -> bool:
    """Return whether a picture is for the test: the same on every machine, whatever else is in the folder."""
    digest = hashlib.sha256(f"{class_name}/{file_name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little") % TEST_SHARE == 0


def load_pictures(
    pictures: Pictures, names: list[str], size: tuple[int, int, int], sizes: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 [N, H, W, C], and labels, int64 [N]; `sizes` gets the files' own (width, height)."""
    images, numbers = np.empty((len(pictures), *size), np.uint8), {name: label for label, name in enumerate(names)}
    for image, (path, _) in zip(images, pictures, strict=True):
        image[:] = load_image(path, size, sizes)
    return images, np.array([numbers[name] for _, name in pictures], np.int64)
