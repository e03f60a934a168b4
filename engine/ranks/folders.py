"""Whether the ranks of a job have a folder in common: where each of them keeps what it makes, all must."""

import contextlib
import os
import socket
import time
from pathlib import Path

from lenumba.engine.common.errors import DataError
from lenumba.engine.common.files import SUFFIX
from lenumba.engine.ranks.team import POLL_SECONDS, Alone

SEEN_SECONDS = 5.0  # in which another machine sees a file


def check_shared(team: Alone, folder: Path) -> None:
    """Raise DataError, on all ranks, where one of them does not see a folder as rank 0 does, or cannot write there.

    Every rank calls it; for rank 0 `folder` must be there.
    """
    if team.size == 1:
        return
    secret = team.told(os.urandom(8).hex())
    leading, own = (folder / f".rank-{rank}-{secret}{SUFFIX}" for rank in (0, team.rank))
    fault = touch(own) if team.leads else ""
    team.barrier()
    if not team.leads:
        fault = touch(own) if appears(leading) else "does not see it as rank 0 does"
    faults = team.every(fault and f"rank {team.rank} on {socket.gethostname()} {fault}")
    with contextlib.suppress(OSError):
        own.unlink()
    if told := [text for text in faults if text]:
        raise DataError(f"{folder}: {told[0]}; choose a folder that all machines share and may write to")


def touch(path: Path) -> str:
    """Make a file; return what prevents that."""
    try:
        path.touch()
    except OSError as error:
        return f"cannot write there ({error.strerror})"
    return ""


def appears(path: Path) -> bool:
    """Return whether a file is there, which another machine has just made."""
    deadline = time.monotonic() + SEEN_SECONDS
    while not (found := path.exists()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found
