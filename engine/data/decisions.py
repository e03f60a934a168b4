"""Decisions about labels: which images keep theirs, get another one, or are left out; the files stay as they are."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lenumba.engine.common.errors import DataError, one_line
from lenumba.engine.common.files import expanded
from lenumba.engine.data.arrays import Dataset, data_sha256

FORMAT = "lenumba decisions 1"
ACTIONS = ("keep", "relabel", "drop")
MAX_FILE = 64 << 20  # bytes


@dataclass(frozen=True)
class Decision:
    """What is to happen to an image: `to` is the class that it is relabelled to, else empty."""

    action: str
    to: str = ""


Decisions = Mapping[tuple[str, str], Decision]  # by the image's key and the class that it was given


def image_key(image: np.ndarray) -> str:
    """Return what a decisions file knows an image uint8 [H, W, C] by: its content, wherever it lies."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()[:32]


def decisions_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a decisions file: each row has `image`, `label`, `action` and, to relabel, `to`."""
    return json.dumps({"format": FORMAT, "decisions": list(rows)}, indent=1, ensure_ascii=False) + "\n"


def read_decisions(name: str | Path) -> Decisions:
    """Read a decisions file.

    Raises
    ------
    DataError
        Where it is missing, no decisions file, or decides twice about an image.
    """
    path = expanded(name)
    try:
        if path.stat().st_size > MAX_FILE:
            raise DataError(f"{path}: expected a decisions file of at most {MAX_FILE} bytes, found more; correct it")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; correct data.decisions, or make it with 'lenumba audit'") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected a decisions file, found: {one_line(error)}; save it again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = repr(content.get("format"))[:40] if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: expected the format {FORMAT!r}, found {found}; save it from the page of an audit")
    rows = content.get("decisions")
    decided: dict[tuple[str, str], Decision] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        values = {key: row.get(key, "") for key in ("image", "label", "action", "to")} if isinstance(row, dict) else {}
        if not values or not all(isinstance(value, str) for value in values.values()):
            raise DataError(f"{path}: decision {number}: expected image, label, action and to as texts; save it again")
        if values["action"] not in ACTIONS or (values["action"] == "relabel") != bool(values["to"]):
            raise DataError(
                f"{path}: decision {number}: expected keep, drop, or relabel with a class in 'to', found "
                f"{values['action'][:40]!r} and {values['to'][:40]!r}; correct it"
            )
        key, decision = (values["image"], values["label"]), Decision(values["action"], values["to"])
        if decided.setdefault(key, decision) != decision:
            raise DataError(f"{path}: decision {number}: the image has another decision before; remove one of them")
    return decided


def apply_decisions(dataset: Dataset, decisions: Decisions, path: str | Path) -> Dataset:
    """Return a data set with what was decided about its images, and in `Dataset.decided` how much that was.

    An image is found by its content and its label, wherever it lies; all exact duplicates with that label are meant.

    Raises
    ------
    DataError
        Where a class is unknown, no decision fits an image, or a part is left without images.
    """
    numbers = {name: number for number, name in enumerate(dataset.class_names)}
    for (_, label), decision in decisions.items():
        for name in (label, decision.to):
            if name and name not in numbers:
                known = ", ".join(dataset.class_names[:8]) + ", …" * (len(numbers) > 8)
                raise DataError(
                    f"{path}: expected classes of {dataset.name} ({known}), found {name[:40]!r}; correct it"
                )
    used: set[tuple[str, str]] = set()
    counts: dict[str, dict[str, int]] = {}
    arrays: list[np.ndarray] = []
    left: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        images, labels = getattr(dataset, f"{split}_images"), getattr(dataset, f"{split}_labels").copy()
        kept, relabelled = np.ones(len(labels), bool), 0
        for index, image in enumerate(images):
            key = image_key(image), dataset.class_names[labels[index]]
            if (made := decisions.get(key)) is None:
                continue
            used.add(key)
            if made.action == "relabel":
                labels[index], relabelled = numbers[made.to], relabelled + 1
            kept[index] = made.action != "drop"
        if not kept.any():
            raise DataError(f"{path}: expected {split} images to be left, found every one dropped; drop fewer")
        left[split] = np.flatnonzero(kept)
        counts[split] = {"relabelled": relabelled, "dropped": int((~kept).sum())}
        arrays += [images if kept.all() else images[kept], labels[kept]]
    if decisions and not used:
        raise DataError(
            f"{path}: expected decisions about images of {dataset.name}, found none that fits; use the file of an "
            "audit of these images, at the same size"
        )
    decided = {"file": str(path), **counts, "without_image": len(decisions) - len(used)}
    validation, files = dataset.validation, dataset.files
    if validation is not None:  # places among the training images that are left
        validation = np.flatnonzero(np.isin(left["train"], validation))
    if files is not None:
        train_files, test_files = (
            tuple(names[place] for place in left[split]) for names, split in zip(files, ("train", "test"), strict=True)
        )
        files = train_files, test_files
    return replace(
        dataset,
        train_images=arrays[0],
        train_labels=arrays[1],
        test_images=arrays[2],
        test_labels=arrays[3],
        sha256=data_sha256(*arrays, *([] if validation is None else [validation])),
        validation=validation,
        files=files,
        notes=(*dataset.notes, decided_line(decided)),
        decided=decided,
    )


def decided_line(decided: Mapping[str, Any]) -> str:
    """Say in one line what was decided about a data set's images."""
    parts = [
        f"{decided[split][what]:,} {name} image{'s' * (decided[split][what] != 1)} {what}"
        for split, name in (("train", "training"), ("test", "test"))
        for what in ("relabelled", "dropped")
        if decided[split][what]
    ]
    if decided["without_image"]:
        parts.append(f"{decided['without_image']:,} decisions fit no image here")
    return f"decisions of {decided['file']}: {', '.join(parts) or 'every label kept'}"
