"""Tries readers with damaged files, in a process of its own, and measures what each file costs."""

import collections
import contextlib
import ctypes
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenumba.engine.common.errors import DataError, LenumbaError
from lenumba.engine.data.picture_folder import read_folder

from . import READERS, damaged, same

MEMORY = Path("/proc/self/clear_refs")  # 5 resets the peak of resident memory; Linux alone has it
LONGEST_LINE = 600


@dataclass
class Report:
    """What became of some files: how many were read and refused, the worst figures, and what went wrong."""

    outcomes: collections.Counter = field(default_factory=collections.Counter)
    seconds: tuple[float, str] = (0.0, "")
    megabytes: tuple[float, str] = (0.0, "")
    findings: list[str] = field(default_factory=list)

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.outcomes + other.outcomes,
            max(self.seconds, other.seconds),
            max(self.megabytes, other.megabytes),
            self.findings + other.findings,
        )


def try_files(name: str, first: int, last: int) -> Report:
    """Try cases `first` … `last` − 1 of a reader: case n is drawn from the seed (reader, n)."""
    reader = READERS[name]
    seeds = reader.seeds()
    cases = ((f"case {n}", reader.case(np.random.default_rng([*name.encode(), n]), seeds)) for n in range(first, last))
    return _try(name, cases)


def try_hostile(name: str) -> Report:
    """Try the files that were made by hand."""
    return _try(name, READERS[name].hostile().items())


def _try(name, cases) -> Report:
    reader, report = READERS[name], Report()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{reader.suffix}")
        for seed in reader.seeds():  # whole files: what the reader imports is in memory afterwards
            path.write_bytes(seed)
            with contextlib.suppress(reader.error):
                reader.read(path)
        for label, content in cases:
            path.write_bytes(content)
            before = _peak(reset=True)
            started = time.process_time()
            try:
                found, refusal = reader.read(path), None
            except LenumbaError as error:
                found, refusal = None, error
            except Exception as error:
                report.findings.append(f"{name}, {label}: {type(error).__name__}: {str(error)[:200]}")
                continue
            seconds, megabytes = time.process_time() - started, _peak() - before
            report.seconds = max(report.seconds, (seconds, label))
            report.megabytes = max(report.megabytes, (megabytes, label))
            if refusal is not None:
                report.outcomes["refused"] += 1
                text = str(refusal)
                if not isinstance(refusal, reader.error) or len(text.splitlines()) != 1 or not text.isprintable():
                    report.findings.append(f"{name}, {label}: no single line: {text[:200]!r}")
                elif len(text) > LONGEST_LINE + len(str(path)) or not text.startswith(str(path)):
                    report.findings.append(f"{name}, {label}: a line of {len(text)} characters: {text[:200]!r}")
                continue
            report.outcomes["read"] += 1
            try:
                right = same(found, reader.says(content))
                reason = "other content than the file's"
            except Exception as error:
                right, reason = False, f"read, but damaged ({type(error).__name__}: {str(error)[:100]})"
            if not right:
                report.findings.append(f"{name}, {label}: {reason}")
            del found
    return report


def _peak(reset: bool = False) -> float:
    """Return the peak of resident memory since the last reset, in MB; after a reset, what is in use now."""
    if not MEMORY.exists():
        return 0.0
    if reset:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would hide what is taken next
        with contextlib.suppress(OSError):  # forbidden in some containers
            MEMORY.write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def limit_memory() -> None:
    """Keep a reader that explodes from taking the machine with it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    os.nice(5)


# ------------------------------------------------------------------------------------------- folders of pictures

NAMES = ("a", "b", ".hidden", "c d", "ü", "a\nb", "\udcff", "-x", "train", "test", "x.png", "n" * 200)


def try_folders(first: int, last: int) -> Report:
    """Try folders of pictures: odd names, links, pipes and damaged files among whole ones."""
    report, seeds = Report(), READERS["png"].seeds() + READERS["jpeg"].seeds()
    whole = {hashlib.sha256(seed).digest() for seed in seeds}
    for n in range(first, last):
        rng = np.random.default_rng([*b"folder", n])
        with tempfile.TemporaryDirectory() as place:
            root = Path(place, "root")
            damage = _grow(rng, root, seeds, depth=0)
            before, started = _peak(reset=True), time.process_time()
            try:
                arrays = read_folder(root, (6, 5, 3))
            except DataError as error:
                report.outcomes["refused"] += 1
                if "\n" in str(error) or not str(error).isprintable():
                    report.findings.append(f"folder, case {n}: no single line: {str(error)[:200]!r}")
            except Exception as error:
                report.findings.append(f"folder, case {n}: {type(error).__name__}: {str(error)[:200]}")
            else:
                report.outcomes["read"] += 1
                names, pictures = arrays.class_names, _pictures(root)
                if any(hashlib.sha256(path.read_bytes()).digest() not in whole for path in pictures) and not damage:
                    report.findings.append(f"folder, case {n}: a damaged picture was read")
                labels = sorted(np.concatenate([arrays.train_labels, arrays.test_labels]).tolist())
                if labels != sorted(names.index(path.parent.name) for path in pictures):
                    report.findings.append(f"folder, case {n}: labels {labels} for {len(pictures)} pictures")
            report.seconds = max(report.seconds, (time.process_time() - started, f"case {n}"))
            report.megabytes = max(report.megabytes, (_peak() - before, f"case {n}"))
    return report


def _grow(rng, folder: Path, seeds, depth: int) -> bool:
    """Make a folder of folders of pictures; return whether a picture was damaged."""
    folder.mkdir()
    damage = False
    if depth == 0 and rng.random() < 0.3:
        return sum(_grow(rng, folder / part, seeds, 1) for part in ("train", "test")) > 0
    for k in range(rng.integers(1, 5)):
        name = f"class{k}" if rng.random() < 0.9 else NAMES[rng.integers(len(NAMES))]
        inside = folder / name
        inside.mkdir(exist_ok=True)
        for number in range(rng.integers(0, 8)):
            path = inside / f"{number}{('.png', '.JPG', '.jpeg', '.txt')[rng.integers(4)]}"
            if path.exists():  # two folders drew the same name
                continue
            content, kind = seeds[rng.integers(len(seeds))], rng.random()
            if kind < 0.03:
                content, damage = damaged(rng, seeds), True
            if kind > 0.99:
                os.mkfifo(path)
            elif kind > 0.98:
                path.symlink_to(folder if kind > 0.985 else "nowhere")
            elif kind > 0.97:
                path.mkdir()
            else:
                path.write_bytes(content)
    return damage


def _pictures(root: Path) -> list[Path]:
    """Return the files that a user would call the pictures of a folder."""
    divided = (root / "train").is_dir() and (root / "test").is_dir()
    return [
        path
        for path in root.glob("*/*/*" if divided else "*/*")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg") and not path.parent.name.startswith(".")
    ]
