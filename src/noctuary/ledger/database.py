"""The SQLite file of a ledger: its tables, how it is opened, and what its errors mean.

One transaction is entries, the nodes that they complete, and one head, durable once it is
committed. Many processes may read while one writes; a second one that writes waits. Does not
know what is signed.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from noctuary.errors import EnvironmentRefused, LabInUse, LedgerBroken, NoSpace, NotFound

NAME = "ledger.sqlite"
FORMAT = "1"

PATIENCE = 30.0
"""Seconds that a writer waits for another one."""

SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY,        -- from 0, without a gap
    sha256 TEXT NOT NULL UNIQUE,    -- of the payload
    envelope TEXT NOT NULL          -- DSSE, as canonical JSON
);
CREATE TABLE nodes (                -- complete subtrees; level 0 are the leaves
    level INTEGER, idx INTEGER, hash BLOB, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE heads (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
INSERT INTO meta VALUES ('format', '{FORMAT}');
"""


def file_of(path: Path) -> Path:
    """Return the ledger's file, where the path is its folder or the file."""
    return path / NAME if path.is_dir() else path


def make(path: Path) -> None:
    """Make the file, with tables and without entries."""
    with explaining(path), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)


def connect(path: Path, *, read_only: bool, patience: float = PATIENCE) -> sqlite3.Connection:
    """Open the file; the caller begins and ends transactions.

    Raises:
        NotFound: there is none.
        LedgerBroken: it is no ledger, or damaged.
        EnvironmentRefused: it cannot be opened.
    """
    if not path.is_file():
        raise NotFound(
            f"no ledger at {path}; expected {NAME}: name another, or run `noctuary run` first"
        )
    mode = "rw"
    if read_only:
        # Where nothing may be written, and no write is pending, nobody can change it either.
        pending = path.with_name(f"{path.name}-wal")
        waits = pending.exists() and pending.stat().st_size > 0
        frozen = not waits and not os.access(path.parent, os.W_OK)
        mode = "ro&immutable=1" if frozen else "ro"
    with explaining(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=patience,
            isolation_level=None,
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
            if found is None or found[0] != FORMAT:
                raise LedgerBroken(
                    f"{path} has format {found and found[0]!r}; expected {FORMAT!r}: use the "
                    "noctuary that wrote it, or restore it from a copy"
                )
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """One transaction: all of it is durable at the end, or nothing of it happened."""
    with explaining(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def close(connection: sqlite3.Connection) -> None:
    """Close, with all in the one file where nobody reads; a reader is not waited for."""
    with contextlib.suppress(sqlite3.Error):  # what is committed is durable either way
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def signing_keyid(path: Path) -> str:
    """Return the id of the key in force: the last one that signed the last entry.

    Raises:
        LedgerBroken: there is no entry, or it is damaged.
    """
    with contextlib.closing(connect(path, read_only=True)) as connection, explaining(path):
        last = connection.execute("SELECT envelope FROM entries ORDER BY idx DESC LIMIT 1")
        try:
            return str(json.loads(last.fetchone()[0])["signatures"][-1]["keyid"])
        except (ValueError, TypeError, LookupError) as error:
            raise LedgerBroken(
                f"the last entry of {path} is damaged; expected a signed envelope: see what "
                "`noctuary ledger verify` says, and restore the ledger from a copy"
            ) from error


@contextlib.contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into one clear line."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
        if code == sqlite3.SQLITE_FULL:
            raise NoSpace(
                f"no space left on the disk of {path}: free some and run the same command "
                "again, nothing of the ledger is lost"
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LabInUse(
                f"another process writes to {path}; one at a time may: wait until it ends"
            ) from error
        refused = (
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_PERM,
            sqlite3.SQLITE_IOERR,
        )
        if code in refused:
            raise EnvironmentRefused(
                f"{path}: {error}; expected a file in a folder that may be written: mend it, or "
                "copy the ledger elsewhere"
            ) from error
        raise LedgerBroken(
            f"{path} is damaged, or no ledger: {error}; restore it from a copy"
        ) from error
