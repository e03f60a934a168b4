"""Files written so that nothing gets lost, and nothing is left over."""

import contextlib
import errno
import glob
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import ConfigError, DataError

SUFFIX = ".part"  # of temporary files


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home directory in the place of `~`, where there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_file(name: str | os.PathLike[str]) -> bool:
    """Return whether there is a file of this name; a text that is too long for a name, say, is none."""
    return os.path.isfile(os.path.expanduser(name))


def check_new_file(out: Path, force: bool, option: str = "--out") -> None:
    """Raise ConfigError or DataError where an option's file cannot be made or would be overwritten."""
    if os.path.exists(out) and not is_file(out):
        raise ConfigError(f"{option} {out}: expected the path of a file, found a folder or a device; choose another")
    if is_file(out) and not force:
        raise ConfigError(f"{option} {out}: the file exists; choose another, or replace it with --force")
    if not os.path.isdir(out.parent) or not os.access(out.parent, os.W_OK):
        raise DataError(f"{out}: cannot write there; make the folder {out.parent} or choose another with {option}")


def write_text(path: Path, text: str) -> None:
    """Write a text file durably."""
    with durable(path) as temporary:
        # Bytes of a path that are no UTF-8 are lone surrogates in Python; JSON and YAML read these escapes back.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file durably."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def append(path: Path, text: str) -> None:
    """Append to a text file; at once, but not durably."""
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(text)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object, or an empty one where it is missing or damaged; a disk that fails is an OSError."""
    try:
        with naming(path):
            found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


#: What this process must not leave behind: temporary files, locks. Whoever ends it in a hurry removes them.
unfinished: set[Path] = set()


@contextlib.contextmanager
def durable(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success make it durable under that name, on failure remove it.

    Write, fsync, rename, fsync the folder: at every instant the old or the new content is there, whole. The temporary
    file is locked while its writer lives: those of killed ones are removed when the same file is written again.
    """
    remove_leftovers(path.parent, path.name)
    with naming(path), open_temporary(path) as temporary:
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        sync(temporary)
        os.chmod(temporary, mode)  # safetensors puts another file in its place, which the user's umask did not make
        os.replace(temporary, path)
    sync(path.parent)


@contextlib.contextmanager
def open_temporary(path: Path) -> Iterator[Path]:
    """Create a file beside `path`, locked, and remove it in the end, if it is still there under this name."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}{SUFFIX}")
    unfinished.add(temporary)
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        try:
            with contextlib.suppress(OSError):  # without locks, what is left of killed writers stays
                lock(handle)
            yield temporary
        finally:
            os.close(handle)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        unfinished.discard(temporary)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove the temporary files that killed processes left while they wrote the file `name`, or any in the folder."""
    pattern = f".{name if name == '*' else glob.escape(name)}.????????{SUFFIX}"
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            if lock(file.fileno()):
                path.unlink()


def lock(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file, until it is closed or its process ends; return False where another process has it.

    Raises
    ------
    OSError
        Where the system or the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP)) from None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """See to it that an OSError names the file: those of writing and of temporary files do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(SUFFIX):
            error.filename, error.filename2 = str(path), None
        raise


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable. Does nothing where there is none."""
    if path.is_dir() and os.name != "posix":
        return
    with contextlib.suppress(FileNotFoundError), naming(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno != errno.EINVAL:  # file systems that cannot do it for folders
                raise
        finally:
            os.close(handle)
