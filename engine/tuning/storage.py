"""Where a study's trials are kept: Optuna's journal in the study's folder, or a database."""

import random
import re
import time
import warnings
from pathlib import Path
from typing import Any

from lenumba.engine.common.errors import DataError

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


class _Unlocked:
    """The journal's lock. The study folder's own lock, which dies with its holder, already keeps others out."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


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

        path, lock = folder / JOURNAL, _Unlocked()
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


def mend_journal(folder: Path) -> None:
    """Drop the half line that a process killed while it wrote leaves behind; the caller holds the folder's lock."""
    path = folder / JOURNAL
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
