"""Run folders on disk: making, finding, locking and reading them."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError
from lenumba.engine.common.files import read_json, sync, write_text
from lenumba.engine.config.config import Config, LoadedConfig, read_config

RUNS = Path("runs")
LOCK = ".lock"


def check_writable(out: Path | None) -> None:
    """Raise DataError or ConfigError where a run folder could not be made, before anything is computed."""
    path = out or RUNS
    parent = path
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise DataError(f"{path}: cannot write there; choose another folder with --out")
    if out is not None:
        check_empty(out)


def check_empty(out: Path) -> None:
    """Raise ConfigError where a folder has files other than the lock that its new run holds."""
    if out.is_dir() and any(path.name != LOCK for path in out.iterdir()):
        raise ConfigError(f"--out {out}: the folder is not empty, and runs are never overwritten; choose a new one")


def make_folder(out: Path | None, name: str) -> Path:
    """Make the run folder: `out`, or the first free ``runs/<name>-NNN``."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        sync(out.parent)
        return out
    RUNS.mkdir(exist_ok=True)
    numbers = [path.name.removeprefix(f"{name}-") for path in RUNS.glob(f"{name}-*")]
    number = max((int(text) for text in numbers if text.isdecimal()), default=0) + 1
    while True:
        with contextlib.suppress(FileExistsError):
            (folder := RUNS / f"{name}-{number:03d}").mkdir()
            sync(RUNS)
            return folder
        number += 1


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock, which dies with its holder; raise DataError where another process has it."""
    path = folder / LOCK
    try:
        file = path.open("w")
    except OSError as error:
        raise DataError(f"{folder}: cannot write there ({error.strerror}); make the folder writable") from None
    with file:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken = not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat())
            except OSError:
                taken = True
            if taken:  # also where the holder removed the file while we opened it: it guards nothing any more
                raise DataError(f"{folder}: another process is training in it; wait for it or stop it")
        try:
            remove_leftovers(folder)
            yield
        finally:
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while it wrote; the caller holds the lock."""
    own = [
        f".{name}.*" for name in ("config.yaml", "run.json", "metrics.jsonl", "best.safetensors", "last.safetensors")
    ]
    for pattern in (*own, ".tmp??????"):  # the last is how safetensors calls what it is writing
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


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
    for path in (Path(name), RUNS / name):
        if (path / "config.yaml").is_file():
            return path
    raise ConfigError(f"{name}: no run folder (expected one with config.yaml inside); 'lenumba runs' lists them")


def list_runs() -> list[Path]:
    """Return the run folders in ``runs``, by name; a training with several seeds has one for each."""
    return sorted(path.parent for pattern in ("*", "*/seed-*") for path in RUNS.glob(f"{pattern}/config.yaml"))


def load_run_config(folder: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Return a run's configuration; its name is the recipe's."""
    loaded = read_config(folder / "config.yaml", str(folder / "config.yaml"), overrides)
    name = read_json(folder / "run.json").get("recipe", folder.name)
    return LoadedConfig(name, loaded.source, loaded.config, loaded.origins)


def check_overrides(overrides: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise ConfigError where an override would make a run another one."""
    for item in overrides:
        key = item.partition("=")[0]
        if "=" in item and key not in allowed:
            *others, last = allowed
            may = f"{', '.join(others)} and {last}" if others else last
            raise ConfigError(f"override {key}: a run keeps it; only {may} may change here, or start a new run")


def check_free(folder: Path) -> None:
    """Raise DataError where another process trains in a run folder, without writing there."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import fcntl

        with (folder / LOCK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                raise DataError(f"{folder}: another process is training in it; wait for it or stop it") from None


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    history = []
    # Only a whole line is an epoch: the last one may be half-written.
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
            history.append({**record, "epoch": int(record["epoch"])})
        except (ValueError, TypeError, KeyError):
            raise DataError(f"{path}:{number}: expected an epoch as JSON, found damage; remove the line") from None
    return history


def keep_history(folder: Path, epochs: int) -> None:
    """Drop the epochs that came after the checkpoint: they are about to be repeated."""
    lines = [json.dumps(line) + "\n" for line in read_history(folder) if line["epoch"] <= epochs]
    write_text(folder / "metrics.jsonl", "".join(lines))


def portable(config: Config) -> Config:
    """Return the configuration with `data.root` absolute, so that the run can be used from any folder."""
    if config.data.root is None:
        return config
    root = str(Path(config.data.root).expanduser().absolute())
    return config.model_copy(update={"data": config.data.model_copy(update={"root": root})})
