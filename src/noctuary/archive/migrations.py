"""The shape of the archive, as numbered functions, each applied once and recorded.

A migration that has been released is never changed: what comes later is a new number. Covers
tables, the table of Student-t quantiles, and views. Does not cover the rows.
"""

import datetime
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from noctuary.archive import retrieval, standings
from noctuary.errors import LabTooNew

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Migration(NamedTuple):
    """One step from an older shape to the next."""

    number: int
    name: str
    apply: Callable[["DuckDBPyConnection"], None]


def utc_now() -> datetime.datetime:
    """Return the time in UTC, without a zone: DuckDB's zoned type needs an extension."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def _tables(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0001_tables"))


def _student_t(connection: "DuckDBPyConnection") -> None:
    """Fill the 97.5 % quantiles of Student's t.

    Whole degrees of freedom up to 1,000 stand for themselves; the steps between them, even in
    1/df, are dense enough to interpolate the fractional ones of Welch's interval to six digits.
    """
    from scipy.special import stdtrit

    degrees = {float(whole) for whole in range(1, 1001)} | {1e6}
    degrees |= {500 / step for step in range(5, 501)}
    ordered = sorted(degrees)
    connection.execute("CREATE TABLE student_t (df DOUBLE PRIMARY KEY, t975 DOUBLE NOT NULL)")
    connection.execute(
        "INSERT INTO student_t SELECT unnest($df::DOUBLE[]), unnest($t975::DOUBLE[])",
        {"df": ordered, "t975": [float(stdtrit(df, 0.975)) for df in ordered]},
    )


def _leaderboard(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0003_leaderboard"))


def _rungs(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0004_rungs"))


def _policy(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0005_policy"))


def _search(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0006_search"))


def _retrieval(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0007_retrieval"))
    retrieval.index(connection)


def _literature(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0008_literature"))


def _standings(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0009_standings"))
    standings.rebuild(connection)


def _ledger(connection: "DuckDBPyConnection") -> None:
    connection.execute(_schema("0010_ledger"))


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "tables", _tables),
    Migration(2, "student_t", _student_t),
    Migration(3, "leaderboard", _leaderboard),
    Migration(4, "rungs", _rungs),
    Migration(5, "policy", _policy),
    Migration(6, "search", _search),
    Migration(7, "retrieval", _retrieval),
    Migration(8, "literature", _literature),
    Migration(9, "standings", _standings),
    Migration(10, "ledger", _ledger),
)


def version(connection: "DuckDBPyConnection") -> int:
    """Return the number of the last migration that was applied; 0 in an empty database."""
    import duckdb

    # asked outside of the caller's transaction, which a failure would end; listing the tables
    # to avoid one takes ten times as long, in everything that is ever read
    with connection.cursor() as beside:
        try:
            last = beside.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
        except duckdb.CatalogException:  # there is no such table
            return 0
    return int(last[0]) if last else 0


def check_not_newer(
    connection: "DuckDBPyConnection", path: Path, known: Sequence[Migration] = MIGRATIONS
) -> int:
    """Return the version of the archive.

    Raises:
        LabTooNew: it has migrations that this noctuary does not know.
    """
    found, newest = version(connection), known[-1].number
    if found > newest:
        raise LabTooNew(
            f"{path} has the shape number {found}, this noctuary knows up to {newest}: "
            "update noctuary, or use another --lab"
        )
    return found


def migrate(
    connection: "DuckDBPyConnection", path: Path, known: Sequence[Migration] = MIGRATIONS
) -> int:
    """Apply what is missing, inside the caller's transaction; return how many were applied.

    Raises:
        LabTooNew: the archive has migrations that this noctuary does not know.
    """
    found = check_not_newer(connection, path, known)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations "
        "(number INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)"
    )
    missing = [migration for migration in known if migration.number > found]
    for migration in missing:
        migration.apply(connection)
        connection.execute(
            "INSERT INTO migrations VALUES (?, ?, ?)",
            [migration.number, migration.name, utc_now()],
        )
    return len(missing)


def _schema(name: str) -> str:
    return (resources.files(__package__) / "schema" / f"{name}.sql").read_text(encoding="utf-8")
