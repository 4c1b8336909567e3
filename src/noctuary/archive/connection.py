"""Opening the DuckDB file for one transaction, waiting for others, and naming what went wrong.

Covers the wait for other processes and threads, and the translation of DuckDB's errors into
ours. Does not know any table. DuckDB lets one process write and shuts all others out meanwhile,
so a connection lives for one transaction only.
"""

import contextlib
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from noctuary.errors import (
    ArchiveBusy,
    EnvironmentRefused,
    LabTooNew,
    NoctuaryError,
    NoSpace,
    UsageError,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.25
"""Seconds between two attempts to open the file: doubled each time, then randomised."""

NOTICE_AFTER = 2.0
"""Seconds of waiting after which a person is told who holds the file; writing takes less."""

Told = Callable[[str], None]
"""Told who holds the file when that takes long, and then, with nothing, that it is free."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    # of a new file: any client that pyproject allows reads it, not only those as new as ours
    "storage_compatibility_version": "v1.2.0",
    "threads": 1,  # fixed order of sums, and a night needs its cores for training
    "autoinstall_known_extensions": False,  # they would be fetched from the network
    "autoload_known_extensions": False,
}

_HELD = ("Could not set lock", "different configuration", "being used by another process")
_FULL = ("No space left on device", "File too large", "Disk quota exceeded")
_FORBIDDEN = ("Permission denied", "Read-only file system")
_BROKEN = ("Corrupt", "checksum", "Could not read", "not a valid DuckDB", "Serialization Error")

_threads_of_this_process: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


@contextlib.contextmanager
def opened(
    path: Path, *, read_only: bool, patience: float, sleep: Callable[[float], None], told: Told
) -> Iterator["DuckDBPyConnection"]:
    """Yield a connection inside one transaction; commit and close, or roll back and close.

    Raises:
        ArchiveBusy: others held the file for `patience` seconds.
        NoSpace, EnvironmentRefused: the disk is full, or may not be written.
        UsageError: the file is not DuckDB, or is damaged.
    """
    import duckdb

    turn = _threads_of_this_process[path]
    if not turn.acquire(timeout=patience):
        raise ArchiveBusy(
            f"{path} is in use by another thread of this process for {patience:g} s; "
            "run the same command again"
        )
    try:
        connection = _connect(path, read_only, patience, sleep, told)
        try:
            connection.begin()
            yield connection
            connection.commit()
        except duckdb.Error as error:
            _roll_back(connection)
            known = explained(error, path)
            if known is None:  # a mistake of ours in SQL: show it whole
                raise
            raise known from error
        except BaseException:
            _roll_back(connection)
            raise
        finally:
            connection.close()
    finally:
        turn.release()


def _connect(
    path: Path, read_only: bool, patience: float, sleep: Callable[[float], None], told: Told
) -> "DuckDBPyConnection":
    import duckdb

    waited, pause, noticed = 0.0, FIRST_PAUSE, False
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=read_only, config=_CONFIG)
            if noticed:
                told("")
            return connection
        except duckdb.Error as error:
            if not any(sign in str(error) for sign in _HELD):
                raise explained(error, path) or _not_an_archive(error, path) from error
            if waited >= patience:
                raise ArchiveBusy(
                    f"{path} is held by {_holder(str(error))}; waited {patience:g} s: close "
                    "the program that has it open (DuckDB lets only one process write), then "
                    "run the same command again"
                ) from error
            if waited >= NOTICE_AFTER and not noticed:
                told(_holder(str(error)))
                noticed = True
        delay = min(pause * random.uniform(0.5, 1.0), patience - waited)
        sleep(delay)
        waited += delay
        pause = min(2 * pause, LONGEST_PAUSE)


def _roll_back(connection: "DuckDBPyConnection") -> None:
    import duckdb

    # After a fatal error DuckDB has already ended the transaction.
    with contextlib.suppress(duckdb.Error):
        connection.rollback()


def explained(error: Exception, path: Path) -> NoctuaryError | None:
    """Return our error for one of DuckDB's, or None where it is no known trouble of the disk."""
    text = str(error)
    line = text.splitlines()[0] if text else type(error).__name__
    if any(sign in text for sign in _FULL):
        return NoSpace(
            f"no space left for {path} ({line}): free some and run the same command again, "
            "finished work is kept"
        )
    if any(sign in text for sign in _FORBIDDEN):
        return EnvironmentRefused(
            f"{path} cannot be opened ({line}); expected a file that may be read and written: "
            "mend its permissions, or name another --lab"
        )
    if "database file with version number" in text:
        return LabTooNew(f"{path} was written by a newer DuckDB ({line}): update duckdb")
    if any(sign in text for sign in _BROKEN):
        return _not_an_archive(error, path)
    return None


def _not_an_archive(error: Exception, path: Path) -> UsageError:
    line = str(error).splitlines()[0]
    return UsageError(
        f"{path} cannot be read as a DuckDB archive ({line}); expected a file made by "
        "`noctuary run`: restore it from a backup, or move it away"
    )


def _holder(text: str) -> str:
    """Return who holds the lock, from DuckDB's message where it says so."""
    _, found, rest = text.partition("Conflicting lock is held in ")
    if found:
        return f"another process: {rest.split(')', maxsplit=1)[0]})" if "(PID" in rest else rest
    if "different configuration" in text:
        return "another connection of this process"
    return "another process"
