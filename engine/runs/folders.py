"""Run folders on disk: making, finding, locking and reading them."""

import contextlib
import itertools
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import (
    SUFFIX,
    expanded,
    is_file,
    lock,
    read_json,
    remove_leftovers,
    sync,
    unfinished,
    write_text,
)
from lenumba.engine.config.config import Config, LoadedConfig, read_config
from lenumba.engine.runs.records import EPOCH, read_lines, read_run_json

RUNS = Path("runs")
LOCK = ".lock"
BEGINNING = {"run.json", "best.safetensors", "last.safetensors"}  # what a run has before it has its config.yaml
log = logging.getLogger("lenumba")


def check_writable(out: Path | None) -> None:
    """Raise DataError or ConfigError where a run folder could not be made, before anything is computed."""
    path = out or RUNS
    parent = path
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise DataError(f"{path}: cannot write there; choose another folder with --out")
    if out is not None:
        check_new(out)


def check_new(out: Path) -> None:
    """Raise ConfigError where a folder has other files than those of a run that never began."""
    if not never_began(out):
        raise ConfigError(f"--out {out}: the folder is not empty, and runs are never overwritten; choose a new one")


def never_began(folder: Path) -> bool:
    """Return whether a folder is empty, or has only what is written before `config.yaml` makes it a run."""
    if not folder.is_dir():
        return True
    names = {path.name for path in folder.iterdir() if path.name != LOCK and path.suffix != SUFFIX}
    return names <= BEGINNING and (not names or read_json(folder / "run.json").get("status") == "starting")


@contextlib.contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[tuple[Path, bool]]:
    """Make a folder, `out` or the first free ``runs/<name>-NNN``, and hold its lock; yield it and what `locked` does.

    Raises
    ------
    DataError
        Where another process has `out`.
    """
    with contextlib.ExitStack() as stack:
        if out is None:
            for folder in free_folders(name):
                make_folder(folder)
                with contextlib.suppress(InUseError):
                    available = stack.enter_context(locked(folder))
                    if never_began(folder):
                        break
                    stack.close()  # another process was quicker
        else:
            make_folder(folder := out)
            available = stack.enter_context(locked(folder))
        yield folder, available


def free_folders(name: str) -> Iterator[Path]:
    """Yield ``runs/<name>-NNN`` with the numbers after that of the last one that began."""
    numbers = [path.name.removeprefix(f"{name}-") for path in RUNS.glob(f"{name}-*")]
    taken = sorted({int(text) for text in numbers if text.isdecimal()})
    while taken and never_began(RUNS / f"{name}-{taken[-1]:03d}"):
        taken.pop()
    for number in itertools.count(taken[-1] + 1 if taken else 1):
        yield RUNS / f"{name}-{number:03d}"


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there, and its parents, durably."""
    folder.mkdir(parents=True, exist_ok=True)
    sync(folder.parent)


class InUseError(DataError):
    """Another process has a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process is training in it; wait for it or stop it")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, which dies with its holder; yield whether there are locks on its file system.

    Raises
    ------
    DataError
        Where another process has it, or the folder cannot be written.
    """
    path = folder / LOCK
    file, available = open_lock(path)
    unfinished.add(path)
    try:
        remove_leftovers(folder)
        yield available
    finally:
        with contextlib.suppress(OSError):  # what was done is worth more than an empty file
            path.unlink(missing_ok=True)
            file.close()
        unfinished.discard(path)


def open_lock(path: Path) -> tuple[TextIO, bool]:
    """Open and lock a folder's lock; return it and whether there are locks on its file system."""
    for wait in (0.05, 0.1, 0.2, None):  # who only looks whether it is held has it for a moment, too
        try:
            file = path.open("w")
        except OSError as error:
            raise DataError(f"{path.parent}: cannot write there ({error.strerror}); make it writable") from None
        try:
            if lock(file.fileno()) and path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file, True  # else its holder removed the file while we opened it: it guards nothing any more
        except OSError as error:
            log.warning("%s: locks are not available (%s); nothing else must train there", path.parent, error.strerror)
            return file, False
        file.close()
        if wait:
            time.sleep(wait)
    raise InUseError(path.parent)


def in_use(folder: Path) -> bool:
    """Return whether another process holds a folder's lock, without writing there; where there are no locks, no."""
    with contextlib.suppress(OSError), (folder / LOCK).open() as file:
        return not lock(file.fileno(), shared=True)
    return False


def find_run(name: str) -> Path:
    """Return the run folder that `name` means: a path, a folder in ``runs``, or ``latest``.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    if name == "latest":
        if not (runs := list_runs()):
            raise ConfigError(f"no runs in {RUNS.absolute()}; start one with 'lenumba train'")
        return max(runs, key=lambda path: (path / "config.yaml").stat().st_mtime_ns)
    for path in (expanded(name), RUNS / name):
        if is_file(path / "config.yaml"):
            return path
    if found := seed_folders(name):
        raise ConfigError(
            f"{name}: expected one run, found a folder of {len(found)} seeds; give one, such as {found[0]}"
        )
    raise ConfigError(f"{name}: no run folder (expected one with config.yaml inside); 'lenumba runs' lists them")


def seed_folders(name: str) -> list[Path]:
    """Return the run folders ``seed-0``, ``seed-1``, … in a folder, a path or one in ``runs``; empty for all others."""
    for path in (expanded(name), RUNS / name):
        found = [item.parent for item in path.glob("seed-*/config.yaml")] if os.path.isdir(path) else []
        numbers = {item: item.name.removeprefix("seed-") for item in found}
        if chosen := [item for item in found if numbers[item].isdecimal()]:
            return sorted(chosen, key=lambda item: int(numbers[item]))
    return []


def is_run(name: str) -> bool:
    """Return whether a name means a run folder, or a folder of seeds."""
    with contextlib.suppress(ConfigError):
        return bool(seed_folders(name) or find_run(name))
    return False


def list_runs() -> list[Path]:
    """Return the run folders in ``runs``, by name; a training with several seeds, or a comparison, has one for each."""
    patterns = ("*", "*/seed-*", "*/*/seed-*")
    return sorted(path.parent for pattern in patterns for path in RUNS.glob(f"{pattern}/config.yaml"))


def load_run_config(folder: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Return a run's configuration; its name is the recipe's."""
    loaded = read_config(folder / "config.yaml", str(folder / "config.yaml"), overrides)
    name = read_json(folder / "run.json").get("recipe")
    name = name if isinstance(name, str) else folder.name
    return LoadedConfig(name, loaded.source, loaded.config, loaded.origins)


def check_free(folder: Path) -> None:
    """Raise DataError where another process trains in a run folder, without writing there."""
    if in_use(folder):
        raise InUseError(folder)


def read_record(folder: Path) -> dict[str, Any]:
    """Return a run's ``run.json``; the status of one that was killed, which could not say so, is "killed"."""
    record: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # one run that cannot be read does not hide the others
        record = read_run_json(folder)
    if record.get("status") in ("starting", "running") and not in_use(folder):
        record["status"] = "killed"
    return record


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``."""
    return read_lines(folder / "metrics.jsonl", EPOCH)


def keep_history(folder: Path, epochs: int) -> None:
    """Drop the epochs that came after the checkpoint: they are about to be repeated."""
    lines = [json.dumps(line) + "\n" for line in read_history(folder) if line["epoch"] <= epochs]
    write_text(folder / "metrics.jsonl", "".join(lines))


def portable(config: Config) -> Config:
    """Return the configuration with the paths of its data absolute, so that the run can be used from any folder."""
    given = {name: getattr(config.data, name) for name in ("root", "decisions")}
    paths = {name: lasting_all(path) for name, path in given.items() if path is not None}
    return config.model_copy(update={"data": config.data.model_copy(update=paths)})


def lasting_all(names: str | Sequence[str]) -> str | tuple[str, ...]:
    """Return what :func:`lasting` makes of a path, or of each of several."""
    return lasting(names) if isinstance(names, str) else tuple(map(lasting, names))


def lasting(name: str) -> str:
    """Return a path that means the same from any folder; as it is where a folder's name is no text, as YAML is."""
    path = str(expanded(name).absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        return name
    return path
