"""Digests of what the archive holds, and of the files that belong to it.

The digest of a row is the SHA-256 of the canonical JSON of its columns, all of them, those that
are null left out: a column that is added later, without a default, changes no digest. The curve
of a trial is one row, a list of its points. Does not know who attested which.
"""

import datetime
import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from noctuary.archive.reading import streamed
from noctuary.archive.rows import Row, finite
from noctuary.archive.trial_files import TRIAL_FILES
from noctuary.canonical import canonical_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "papers": "paper_id",
        "insights": "insight_id",
        "gaps": "gap_id",
        "gap_outcomes": "gap_id",
        "candidates": "candidate_id",
        "designs": "design_id",
        "audits": "candidate_id || '/' || suite",
        "trials": "trial_id",
        "curves": "trial_id",
        "findings": "finding_id",
        "claims": "claim_id",
        "cycles": "cycle_id",
    }
)
"""table -> SQL of a row's key, of the tables whose rows are attested; the others follow from
these, or from nothing that was done (embeddings)."""

FILES = "files"
"""Stands for a table where a digest is that of the files of a folder, or of one file."""


def digest_of(row: Mapping[str, Any]) -> str:
    """Return the digest of a row, as the docstring of this module says."""
    content = {
        name: value.isoformat() if isinstance(value, datetime.datetime) else finite(value)
        for name, value in row.items()
        if value is not None
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def trial_digests(folder: Path, trial_id: str) -> dict[str, str]:
    """Return name in the lab -> SHA-256, of the files that a trial has."""
    there = ((name, folder / trial_id / name) for name in TRIAL_FILES)
    return {f"trials/{trial_id}/{name}": file_digest(path) for name, path in there if path.exists()}


def keyed_rows(
    connection: "DuckDBPyConnection", table: str, keys: Collection[str] | None = None
) -> Iterator[tuple[str, Row]]:
    """Yield the key and the row; of all rows of a table, or of those with these keys."""
    columns, group = "*", ""
    if table == "curves":
        points = "list(row(step, loss, seconds) ORDER BY step, loss, seconds)"
        columns, group = f"{points} AS points", "GROUP BY trial_id"
    where, parameters = "", {}
    if keys is not None:
        where = f"WHERE {KEYS[table]} IN (SELECT unnest($keys::VARCHAR[]))"
        parameters = {"keys": sorted(keys)}
    sql = f'SELECT {KEYS[table]} AS "key of row", {columns} FROM "{table}" {where} {group}'
    for row in streamed(connection, sql, parameters):
        yield row.pop("key of row"), row
