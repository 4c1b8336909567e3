"""Ledgers for tests, and statements to put into them."""

import datetime
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noctuary.ledger.log import Ledger
from noctuary.ledger.statements import Kind, Statement, utc_text
from noctuary.ledger.verify import Verification

START = datetime.datetime(2026, 11, 25, 1, tzinfo=datetime.UTC)


def clock() -> datetime.datetime:
    return START


def payload(number: int, kind: Kind = "stage", seconds: int | None = None, **facts: Any) -> bytes:
    """Return a statement that differs from those of other numbers, by default a second apart."""
    moment = START + datetime.timedelta(seconds=number if seconds is None else seconds)
    return Statement(
        kind=kind,
        subjects={f"trials/{number}": hashlib.sha256(b"%d" % number).hexdigest()},
        facts={"time": utc_text(moment), "number": number, **facts},
    ).payload


def payloads(first: int, end: int) -> list[bytes]:
    return [payload(number) for number in range(first, end)]


def make_ledger(folder: Path, batches: int = 4, each: int = 3) -> Path:
    """Make a ledger of entry 0 and so many batches, a head each; return its file."""
    with Ledger.open(folder, now=clock) as ledger:
        for first in range(1, 1 + batches * each, each):
            ledger.append(payloads(first, first + each))
        return ledger.path


@contextmanager
def tampering(file: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as an attacker does, with none of its own code."""
    connection = sqlite3.connect(file)
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def copy_of(file: Path, name: str) -> Path:
    """Copy a ledger that nobody has open; return the copy's file."""
    copied = file.parent.with_name(name)
    shutil.copytree(file.parent, copied)
    return copied / file.name


def said(result: Verification) -> list[str]:
    """Return the problems as they are printed."""
    assert result.ok == (not result.problems)
    return [str(problem) for problem in result.problems]
