"""Reading the archive: named queries, rows as dictionaries, and the fingerprint of everything.

Covers what is read on an open connection; opening it is for the store.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

from noctuary.archive.rows import Row
from noctuary.errors import UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VOLATILE_COLUMNS: dict[str, frozenset[str]] = {
    "migrations": frozenset({"applied_at"}),
    "candidates": frozenset({"path"}),
    "trials": frozenset({"seconds", "peak_memory_mb", "recorded_at", "digest"}),
    "tuned": frozenset({"recorded_at"}),
    "boards": frozenset({"latest"}),
    "standings": frozenset({"recorded_at"}),
    "curves": frozenset({"seconds"}),
    "cycles": frozenset({"started", "finished", "flow_run_id", "literature"}),
    "insight_index": frozenset({"number"}),
    "insight_words": frozenset({"word_id"}),
    "insight_postings": frozenset({"word_id", "number"}),
}
"""table -> columns in which two runs of the same work may differ: clocks, memory, places."""

_BESIDE = frozenset({"insight_embeddings", "statements", "attested", "ledger_head"})
"""Tables that looking in fills, or that say when the others were filled; no work shows in them."""

_AT_ONCE = 10_000


def named_query(
    connection: "DuckDBPyConnection", name: str, parameters: dict[str, Any]
) -> list[Row]:
    """Run `queries/<name>.sql`; parameters that are not given are null.

    Raises:
        UsageError: there is no such query, or it has no such parameter.
    """
    path = resources.files(__package__) / "queries" / f"{name}.sql"
    try:
        sql = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{name!r} is no query of the archive") from error
    wanted = set(re.findall(r"\$([a-z_]+)", re.sub(r"--.*", "", sql)))
    unknown = sorted(set(parameters) - wanted)
    if unknown:
        raise UsageError(f"query {name} takes {sorted(wanted)}, not {unknown}")
    return fetched(connection, sql, {key: _plain(parameters.get(key)) for key in wanted})


def fetched(connection: "DuckDBPyConnection", sql: str, parameters: dict[str, Any]) -> list[Row]:
    """Return the rows of a statement, what is JSON in them as values."""
    return list(streamed(connection, sql, parameters))


def streamed(
    connection: "DuckDBPyConnection", sql: str, parameters: dict[str, Any]
) -> Iterator[Row]:
    """Yield the rows of a statement, JSON as values; the next statement ends it."""
    result = connection.execute(sql, parameters)
    columns = [(column[0], str(column[1]) == "JSON") for column in result.description or ()]
    while batch := result.fetchmany(_AT_ONCE):
        for row in batch:
            yield {
                name: json.loads(value) if is_json and value is not None else value
                for (name, is_json), value in zip(columns, row, strict=True)
            }


def fingerprint(connection: "DuckDBPyConnection") -> dict[str, str]:
    """Return table -> hash of its rows, in a fixed order, without the volatile columns."""
    prints = {}
    found = connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) "
        "FROM duckdb_columns() JOIN duckdb_tables() USING (table_name) "
        "GROUP BY table_name ORDER BY table_name"
    ).fetchall()
    for table, columns in found:
        if table in _BESIDE:
            continue
        kept = [c for c in columns if c not in VOLATILE_COLUMNS.get(table, frozenset())]
        names = ", ".join(f'"{column}"' for column in kept)
        result = connection.execute(f'SELECT {names} FROM "{table}" ORDER BY ALL')
        digest = hashlib.sha256(names.encode("utf-8"))
        while batch := result.fetchmany(_AT_ONCE):
            digest.update(repr(batch).encode("utf-8"))
        prints[table] = digest.hexdigest()
    return prints


def _plain(value: Any) -> Any:
    """Return lists for tuples, sets and ranges, which DuckDB does not bind."""
    return sorted(value) if isinstance(value, tuple | set | frozenset | range) else value
