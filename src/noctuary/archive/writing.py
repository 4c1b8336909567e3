"""Writing rows: one statement a table, a list a column.

Covers the statement; what happens to a row whose key is there already is the caller's choice.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from noctuary.archive import rows, standings
from noctuary.archive.rows import Row
from noctuary.domain import Candidate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_RANKS = ["foreign", "design", "human"]
"""Kinds of candidates; what is of several is of the last of them."""


def upsert_candidates(connection: "DuckDBPyConnection", candidates: Iterable[Candidate]) -> None:
    """Insert candidates; a design stays one when somebody evaluates its file, a human likewise."""
    content = [rows.candidate_row(candidate) for candidate in candidates]
    content.sort(key=lambda row: _RANKS.index(row["kind"]))  # of two with one id, the last counts
    rank = f"list_position({_RANKS}, {{}}.kind)"
    conflict = (
        f"ON CONFLICT DO UPDATE SET {updates(content, 'candidate_id')} "
        f"WHERE {rank.format('excluded')} >= {rank.format('candidates')}"
    )
    insert(connection, "candidates", content, "candidate_id", conflict)
    standings.settle(connection, {row["candidate_id"] for row in content})  # names and kinds count


def insert(
    connection: "DuckDBPyConnection",
    table: str,
    content: Iterable[Row],
    key: str | tuple[str, ...],
    conflict: str,
) -> None:
    """Insert all rows in one statement, a list a column: a thousand times faster than one by one.

    Of rows with the same key the last one counts.
    """
    keys = (key,) if isinstance(key, str) else key
    listed = list(content)
    if keys:
        listed = list({tuple(row[name] for name in keys): row for row in listed}.values())
    if not listed:
        return
    types = dict(
        connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table]
        ).fetchall()
    )
    names = list(listed[0])
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f"unnest(${name}::{types[name]}[])" for name in names)
    connection.execute(
        f'INSERT INTO "{table}" ({columns}) SELECT {values} {conflict}',
        {name: [row[name] for row in listed] for name in names},
    )


def updates(content: Sequence[Row], *keys: str) -> str:
    names = [name for name in (content[0] if content else ()) if name not in keys]
    return ", ".join(f"{name} = excluded.{name}" for name in names)
