"""Where a study's trials are kept: Optuna's journal in the study's folder, or a database."""

import contextlib
import os
import random
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import DataError, one_line

JOURNAL = "journal.log"
DRIVERS = {"postgresql": "'psycopg[binary]'", "mysql": "mysqlclient"}


def need_optuna() -> Any:
    """Import Optuna, or raise DataError that tells how to install it."""
    try:
        import optuna
    except ImportError:
        raise DataError("tune: expected Optuna, found none installed; pip install 'lenumba[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", module="optuna")
    return optuna


class Unlocked:
    """The journal's lock. The study folder's own lock, which dies with its holder, already keeps others out.

    Before anything is appended, the half line goes that a write leaves which was killed or found no space.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> bool:
        """Mend the journal."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            end = size
            while end > 0:
                start = max(0, end - 65536)
                file.seek(start)
                if (found := file.read(end - start).rfind(b"\n")) >= 0:
                    end = start + found + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
        return True

    def release(self) -> None:
        """Do nothing."""


def open_storage(folder: Path, url: str | None) -> Any:
    """Open a study's storage: its journal, or a database.

    Raises
    ------
    DataError
        Where the database does not answer or the journal is damaged.
    """
    optuna = need_optuna()
    if url is None:
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        path = folder / JOURNAL
        lock = Unlocked(path)
        try:
            return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}: expected a study's journal, found damage ({error}); start a new --name") from None
    for wait in (0.2, 0.5, 1.0, 2.0, 0.0):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except ImportError:
            driver = next((name for kind, name in DRIVERS.items() if url.startswith(kind)), "it")
            where = f"--storage {hide_password(url)}"
            raise DataError(f"{where}: the database's driver is missing; pip install {driver}") from None
        except Exception as error:
            text = " ".join(str(error).partition("(Background on")[0].split())
            # Of two processes that create the tables at once one fails; a moment later it finds them.
            if not wait or not re.search("exist|duplicate|unique|locked", text, re.IGNORECASE):
                where = f"--storage {hide_password(url)}"
                raise DataError(f"{where}: cannot open the database: {text.replace(url, '')[:200]}") from None
        time.sleep(wait + random.random() * wait)
    raise AssertionError


def hide_password(url: str) -> str:
    """Return a database's URL without its password."""
    head, at, tail = url.rpartition("@")
    scheme, separator, login = head.partition("://")
    return f"{scheme}{separator}{login.partition(':')[0]}{at}{tail}" if at else url


@contextlib.contextmanager
def telling_faults(folder: Path, url: str | None) -> Iterator[None]:
    """Make errors of one line of what a study's storage raises while the study runs."""
    optuna = need_optuna()
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        cause = getattr(error.__cause__, "orig", None) or error.__cause__ or error
        where = f"--storage {hide_password(url)}" if url else folder / JOURNAL
        raise DataError(f"{where}: the database fails: {one_line(cause)}; go on later with --resume") from None
    except OSError as error:
        error.filename = error.filename or str(folder / JOURNAL)  # appending to it does not name it
        raise
