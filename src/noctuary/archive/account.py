"""All that the archive says of its statements, read in one transaction, to hold it against others.

Covers what is wrong within the archive: rows that are not as their newest statement says. What has
to agree with the ledger, and with files, is for `noctuary.attesting`. Takes some 500 bytes for
each row and file that is attested.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from noctuary.archive.attesting import LedgerHead, read_head
from noctuary.archive.digests import FILES, KEYS, digest_of, keyed_rows
from noctuary.archive.reading import fetched, streamed
from noctuary.archive.rows import Row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Said(NamedTuple):
    """The newest digest that a statement gives for a subject."""

    sha256: str
    statement: int


class Stated(NamedTuple):
    """A statement without its subjects."""

    number: int
    kind: str
    facts: dict[str, Any]


class Wrong(NamedTuple):
    """What is not as a statement says; None where it is about no statement."""

    statement: int | None
    what: str


class Account(NamedTuple):
    """What is stated, and what is there.

    Attributes:
        payloads: SHA-256 of the payloads, in the order of the statements.
        wrong: what does not agree within the archive.
        said: subject -> the newest statement about it.
        stated: the statements with more to be checked than their subjects.
        adopted: subjects that were recorded before there was a ledger.
        claims: their rows.
        head: of the ledger, when it last got statements; None where it never did.
    """

    payloads: tuple[str, ...]
    wrong: tuple[Wrong, ...]
    said: dict[str, Said]
    stated: tuple[Stated, ...]
    adopted: int
    claims: tuple[Row, ...]
    head: LedgerHead | None


def read_account(connection: "DuckDBPyConnection") -> Account:
    """Return the account of an open archive."""
    payloads: list[str] = []
    wrong: list[Wrong] = []
    said: dict[str, Said] = {}
    stated: list[Stated] = []
    adopted = 0
    for place, row in enumerate(_statements(connection), start=1):
        number, digest = row["number"], hashlib.sha256(row["payload"].encode("utf-8")).hexdigest()
        payloads.append(digest)
        if number != place:
            wrong.append(Wrong(None, f"statement {number} stands where {place} is expected"))
        if row["sha256"] != digest:
            wrong.append(Wrong(None, f"statement {number} is not what was recorded; it was edited"))
        try:
            statement = json.loads(row["payload"])
            kind = statement["predicateType"].split(":")[2]
            facts = statement["predicate"]
            subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
        except (ValueError, LookupError, TypeError, AttributeError):
            wrong.append(Wrong(None, f"statement {number} is no statement; it was edited"))
            continue
        said |= {name: Said(sha256, number) for name, sha256 in subjects.items()}
        adopted += len(subjects) if "adopted" in facts else 0
        if "document" in facts or "replaced" in facts:
            stated.append(Stated(number, kind, facts))
    wrong += _rows_otherwise(connection, said)
    wrong += _noted_otherwise(connection, said)
    claims = fetched(connection, "SELECT * FROM claims ORDER BY number", {})
    return Account(
        tuple(payloads),
        tuple(wrong),
        said,
        tuple(stated),
        adopted,
        tuple(claims),
        read_head(connection),
    )


def _statements(connection: "DuckDBPyConnection") -> Iterator[Row]:
    return streamed(
        connection, "SELECT number, sha256, payload FROM statements ORDER BY number", {}
    )


def _rows_otherwise(connection: "DuckDBPyConnection", said: Mapping[str, Said]) -> Iterator[Wrong]:
    """Yield the rows that were edited, put in or removed."""
    missing = {name for name in said if name.partition("/")[0] in KEYS}
    for table in KEYS:
        for key, row in keyed_rows(connection, table):
            name = f"{table}/{key}"
            missing.discard(name)
            if name not in said:
                yield Wrong(None, f"no statement attests {name} in the archive")
            elif said[name].sha256 != digest_of(row):
                what = f"{name} in the archive is not what it attests; it was edited"
                yield Wrong(said[name].statement, what)
    for name in sorted(missing):
        yield Wrong(said[name].statement, f"{name} is missing in the archive")


def _noted_otherwise(connection: "DuckDBPyConnection", said: Mapping[str, Said]) -> Iterator[Wrong]:
    """Yield the rows about which the table `attested` does not have the newest statement."""
    unknown = {name for name in said if name.partition("/")[0] in KEYS}
    rows = streamed(connection, 'SELECT * FROM attested WHERE "table" <> $files', {"files": FILES})
    for row in rows:
        name = f"{row['table']}/{row['key']}"
        if said.get(name) == (row["sha256"], row["statement"]):
            unknown.discard(name)
        else:
            unknown.add(name)
    for name in sorted(unknown):
        yield Wrong(None, f"what the archive notes to be attested of {name} was edited")
