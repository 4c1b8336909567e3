"""Statements about rows, written in the transaction of the rows.

Covers what a block of records says about the rows and files that it changed, and the first
statement in an archive that was made before there was a ledger. Does not sign and does not know
the ledger: `noctuary.attesting` gives it the statements.
"""

import datetime
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from noctuary.archive.digests import (
    FILES,
    KEYS,
    digest_of,
    file_digest,
    keyed_rows,
    trial_digests,
)
from noctuary.archive.reading import VOLATILE_COLUMNS, streamed
from noctuary.archive.recording import Recorder, Touched, Work
from noctuary.archive.rows import Row
from noctuary.archive.trial_files import read_curve
from noctuary.archive.writing import insert
from noctuary.canonical import canonical_json
from noctuary.errors import LedgerBroken
from noctuary.ledger.statements import Kind, Statement, predicate_type, utc_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NOTHING: Mapping[str, str] = MappingProxyType({})

ADOPTED = "recorded before the ledger"
"""What the first statement of an older archive says of the rows that it adopts."""

CLOCKS = frozenset({"time", "started", "clock_behind_seconds"})
"""Facts in which two statements of the same work differ."""

_ADOPTED_AT_ONCE = 10_000
_REPEATED_WITHIN = 1_000  # statements; a stage that is taken up again is not far behind


class LedgerHead(NamedTuple):
    """A tree head of the ledger, and how many statements of this archive are under it."""

    origin: str
    size: int
    root: str
    statements: int


class Attested(Recorder):
    """Collects what is recorded in a block, and writes it with a statement about it.

    Attributes:
        facts, subjects: of the statement; more can be added inside the block.
    """

    def __init__(self, kind: Kind, facts: Mapping[str, Any], subjects: Mapping[str, str]) -> None:
        self.kind: Kind = kind
        self.facts = dict(facts)
        self.subjects = dict(subjects)
        self._works: list[Work] = []
        self._touched: dict[str, set[str]] = {}
        self._files: dict[str, dict[str, str]] = {}
        self._curves: dict[str, str] = {}

    def _write(self, work: Work, touched: Touched) -> None:
        self._works.append(work)
        for table, keys in touched.items():
            self._touched.setdefault(table, set()).update(keys)

    def record_trials(self, folder: Path, trial_ids: Sequence[str]) -> None:
        """Record finished trials, and attest their curves and files as well.

        Raises:
            NotFound: a trial has no result.
            CheckFailed: a result is damaged.
        """
        super().record_trials(folder, trial_ids)
        for trial_id in sorted(set(trial_ids)):
            self._files[f"trials/{trial_id}"] = trial_digests(folder, trial_id)
            curve = folder / trial_id / "curve.csv"
            if points := read_curve(curve.read_bytes()) if curve.exists() else ():
                self._curves[trial_id] = digest_of({"points": sorted(map(list, points))})

    def attest_file(self, root: Path, name: str) -> None:
        """Attest a file of the lab, named by its path below the root."""
        self._files[name] = {name: file_digest(root / name)}

    def write(self, connection: "DuckDBPyConnection", now: datetime.datetime) -> None:
        """Write what was collected, and the statement unless it would only repeat one.

        Raises:
            LedgerBroken: a row that is written was changed since it was attested.
        """
        adopt(connection, now)
        before = self._rows(connection)
        for table, found in before.items():
            _refuse_changed(connection, table, self._touched[table], found)
        for work in self._works:
            work(connection)
        after = self._rows(connection)
        changed = self._changed(connection, after)
        replaced = self._replaced(connection, before, after, changed)
        facts = {**self.facts, **({"replaced": replaced} if replaced else {})}
        if not changed and _repeats(connection, self.kind, facts):
            return
        subjects = {_row(table, key): sha for (table, key), sha in changed.items()}
        for key in (key for table, key in changed if table == FILES):
            del subjects[_row(FILES, key)]
            subjects |= {f"file:{name}": sha for name, sha in self._files[key].items()}
        _state(connection, self.kind, {**subjects, **self.subjects}, facts, now, changed)

    def _rows(self, connection: "DuckDBPyConnection") -> dict[str, dict[str, Row]]:
        return {
            table: dict(keyed_rows(connection, table, keys))
            for table, keys in self._touched.items()
        }

    def _changed(
        self, connection: "DuckDBPyConnection", after: Mapping[str, Mapping[str, Row]]
    ) -> dict[tuple[str, str], str]:
        """Return (table, key) -> digest, of what is not attested as it is now."""
        now = {
            table: {key: digest_of(row) for key, row in found.items()}
            for table, found in after.items()
        }
        now |= {
            "curves": self._curves,
            FILES: {key: digest_of(files) for key, files in self._files.items()},
        }
        changed = {}
        for table, digests in now.items():
            known = _attested(connection, table, digests)
            for key, digest in digests.items():
                if key not in known or known[key][0] != digest:
                    changed[table, key] = digest
        return changed

    def _replaced(
        self,
        connection: "DuckDBPyConnection",
        before: Mapping[str, Mapping[str, Row]],
        after: Mapping[str, Mapping[str, Row]],
        changed: Collection[tuple[str, str]],
    ) -> list[str]:
        """Return the trials and files that were there, and now say something else.

        Each is made once. What a trial that lost its folder and was trained again comes to
        differs in clocks alone, and is not among them.
        """
        was, now = before.get("trials", {}), after.get("trials", {})
        replaced = {
            _row("trials", key)
            for table, key in changed
            if table == "trials" and key in was and _timeless(was[key]) != _timeless(now[key])
        }
        files = [key for table, key in changed if table == FILES]
        for key, (_, number) in _attested(connection, FILES, files).items():
            stated = {
                name.removeprefix("file:"): sha
                for name, sha in _subjects(connection, number).items()
                if name.startswith(f"file:{key}")
            }
            found = self._files[key]
            timed = () if key in replaced else (f"{key}/result.json", f"{key}/curve.csv")
            replaced |= {
                f"file:{name}"
                for name in stated | found
                if name not in timed and stated.get(name) != found.get(name)
            }
        return sorted(replaced)


def adopt(connection: "DuckDBPyConnection", now: datetime.datetime) -> None:
    """Attest the rows of an archive that has no statement yet, as they are.

    What they were before, nobody can say any more; the statements say so.
    """
    if _last(connection)[0]:
        return
    found: dict[tuple[str, str], str] = {}
    for table in KEYS:
        for key, row in keyed_rows(connection, table):
            found[table, key] = digest_of(row)
    names = sorted(found)
    for start in range(0, len(names), _ADOPTED_AT_ONCE):
        part = {name: found[name] for name in names[start : start + _ADOPTED_AT_ONCE]}
        subjects = {_row(*name): sha for name, sha in part.items()}
        facts = {"adopted": ADOPTED, "part": start // _ADOPTED_AT_ONCE + 1}
        _state(connection, "evaluation", subjects, facts, now, part)


class Handover:
    """What the ledger may lack, as it is in an open archive.

    Attributes:
        head: the newest one that the archive knows; None before the first.
        pending: the statements that are not known to be under it, in their order.

    Raises:
        LedgerBroken: one of them was edited while it waited.
    """

    def __init__(self, connection: "DuckDBPyConnection") -> None:
        self._connection = connection
        self.head = read_head(connection)
        self.pending: list[bytes] = []
        rows = streamed(
            connection,
            "SELECT number, sha256, payload FROM statements WHERE number > $after ORDER BY number",
            {"after": self.head.statements if self.head else 0},
        )
        for row in rows:
            payload = row["payload"].encode("utf-8")
            if hashlib.sha256(payload).hexdigest() != row["sha256"]:
                raise LedgerBroken(
                    f"statement {row['number']} in the archive was edited while it waited for the "
                    "ledger; nothing is signed: restore the archive from a backup"
                )
            self.pending.append(payload)

    def note(self, origin: str, size: int, root: str) -> None:
        """Remember the head of the ledger that has what was pending, while the archive is held."""
        statements = (self.head.statements if self.head else 0) + len(self.pending)
        head = LedgerHead(origin, size, root, statements)
        self._connection.execute("DELETE FROM ledger_head")
        insert(self._connection, "ledger_head", [head._asdict()], (), "")


def read_head(connection: "DuckDBPyConnection") -> LedgerHead | None:
    """Return the newest head that this archive knows."""
    found = connection.execute("SELECT origin, size, root, statements FROM ledger_head").fetchone()
    return None if found is None else LedgerHead(*found)


def _refuse_changed(
    connection: "DuckDBPyConnection", table: str, keys: Iterable[str], found: Mapping[str, Row]
) -> None:
    for key, (digest, number) in _attested(connection, table, keys).items():
        if key not in found or digest_of(found[key]) != digest:
            state = "was changed since" if key in found else "is missing, and was there when"
            raise LedgerBroken(
                f"{_row(table, key)} in the archive {state} statement {number} attested it; "
                "nothing is recorded over it: restore the archive from a backup, `noctuary "
                "ledger verify` says what else is wrong"
            )


def _attested(
    connection: "DuckDBPyConnection", table: str, keys: Iterable[str]
) -> dict[str, tuple[str, int]]:
    """Return key -> digest and number of the newest statement, of those that are attested."""
    found = connection.execute(
        'SELECT key, sha256, statement FROM attested WHERE "table" = $table '
        "AND key IN (SELECT unnest($keys::VARCHAR[]))",
        {"table": table, "keys": sorted(keys)},
    ).fetchall()
    return {key: (digest, number) for key, digest, number in found}


def _last(connection: "DuckDBPyConnection") -> tuple[int, str]:
    """Return number and time of the newest statement; 0 and nothing where there is none."""
    found = connection.execute(
        "SELECT number, payload FROM statements ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return (0, "") if found is None else (found[0], json.loads(found[1])["predicate"]["time"])


def _subjects(connection: "DuckDBPyConnection", number: int) -> dict[str, str]:
    payload = connection.execute(
        "SELECT payload FROM statements WHERE number = ?", [number]
    ).fetchall()[0][0]
    return {one["name"]: one["digest"]["sha256"] for one in json.loads(payload)["subject"]}


def _repeats(connection: "DuckDBPyConnection", kind: Kind, facts: Mapping[str, Any]) -> bool:
    """Whether a statement of late says the same, but for clocks."""
    wanted = json.loads(canonical_json(_without_clocks(facts)))
    parts = [f'"predicateType":"{predicate_type(kind)}"']
    parts += [canonical_json({name: value}).decode()[1:-1] for name, value in wanted.items()]
    alike = " AND ".join(f"contains(payload, $part{i})" for i in range(len(parts)))
    found = connection.execute(
        f"SELECT payload FROM statements WHERE {alike} "
        "AND number > (SELECT max(number) FROM statements) - $within",
        {"within": _REPEATED_WITHIN, **{f"part{i}": part for i, part in enumerate(parts)}},
    ).fetchall()
    return any(_without_clocks(json.loads(one)["predicate"]) == wanted for (one,) in found)


def _state(
    connection: "DuckDBPyConnection",
    kind: Kind,
    subjects: Mapping[str, str],
    facts: Mapping[str, Any],
    now: datetime.datetime,
    rows: Mapping[tuple[str, str], str],
) -> None:
    """Add a statement, with a time that is not before the last one's, about these rows."""
    (number, last), time = _last(connection), utc_text(now)
    if time < last:
        behind = datetime.datetime.fromisoformat(last) - datetime.datetime.fromisoformat(time)
        facts = {**facts, "clock_behind_seconds": str(behind.total_seconds())}
        time = last
    payload = Statement(kind=kind, subjects=dict(subjects), facts={**facts, "time": time}).payload
    statement = {
        "number": number + 1,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "payload": payload.decode("utf-8"),
    }
    insert(connection, "statements", [statement], (), "")
    content = [
        {"table": table, "key": key, "sha256": digest, "statement": number + 1}
        for (table, key), digest in rows.items()
    ]
    connection.execute(
        'DELETE FROM attested WHERE ("table", key) IN '
        "(SELECT unnest($tables::VARCHAR[]), unnest($keys::VARCHAR[]))",
        {"tables": [table for table, _ in rows], "keys": [key for _, key in rows]},
    )
    insert(connection, "attested", content, (), "")


def _row(table: str, key: str) -> str:
    """Return how a row is named in a statement."""
    return f"{table}/{key}"


def _timeless(trial: Row) -> Row:
    return {k: v for k, v in trial.items() if k not in VOLATILE_COLUMNS["trials"]}


def _without_clocks(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in CLOCKS}
