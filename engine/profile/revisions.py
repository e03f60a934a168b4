"""Earlier versions of a function's file, from Git."""

import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from lenumba.engine.common.errors import ConfigError, DataError


def git(folder: Path, *arguments: str) -> bytes | None:
    """Return what Git prints, or None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def root_of(file: Path) -> Path | None:
    """Return the root of the repository that a file lies in."""
    found = git(file.parent, "rev-parse", "--show-toplevel")
    return Path(found.decode().strip()) if found else None


def commit_of(file: Path) -> str | None:
    """Return the commit whose version of a file is the one in its place; None where there is none."""
    root = root_of(file)
    if root is None or git(root, "ls-files", "--error-unmatch", str(file)) is None:
        return None
    changed = git(root, "status", "--porcelain", "--", str(file))
    head = git(root, "rev-parse", "HEAD")
    return head.decode().strip() if head and changed == b"" else None


def extract(revision: str, file: Path, into: Path) -> list[str]:
    """Write a repository's files as of a revision into a folder.

    Returns
    -------
    list of str
        Where Python must look for modules, before other places: the folders in there that now stand in `sys.path`.

    Raises
    ------
    ConfigError, DataError
        Where there is no such revision, or Git is missing.
    """
    root = root_of(file)
    if root is None:
        raise ConfigError(
            f"--compare {revision}: expected a file, or a Git revision of {file}, which is in no repository"
        )
    if git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise ConfigError(
            f"--compare {revision}: expected a profile's file, another function, or a Git revision, found none"
        )
    archive = git(root, "archive", "--format=tar", revision)
    if archive is None:
        raise DataError(f"--compare {revision}: Git cannot write that revision's files; fetch it first")
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(into, filter="data")
    places = [Path(entry).resolve() for entry in ["", *sys.path] if not entry or Path(entry).is_dir()]
    return [str(into / place.relative_to(root)) for place in places if place.is_relative_to(root)]
