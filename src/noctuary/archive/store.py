"""The archive: every record of a lab, written and read one short transaction at a time.

Covers recording values, reading them back, and named queries (`queries/*.sql`). All writes are
idempotent: recording the same thing again leaves the archive equal. Nothing holds the file
open between two calls, so any other DuckDB client can look into it during a night.
"""

import contextlib
import datetime
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noctuary.archive import migrations, retrieval, rows
from noctuary.archive.connection import opened
from noctuary.archive.lineage import read_lineage
from noctuary.archive.reading import fetched, fingerprint, named_query
from noctuary.archive.recording import write_running_cycle, write_trials
from noctuary.archive.rows import Row
from noctuary.archive.trial_files import read_trial
from noctuary.archive.writing import insert, updates, upsert_candidates
from noctuary.domain import (
    Audit,
    Axes,
    Candidate,
    Cycle,
    Design,
    Finding,
    Gap,
    GapOutcome,
    Insight,
    Paper,
    Trial,
)
from noctuary.errors import NotFound

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from noctuary.archive.observations import Measured
    from noctuary.embedding import Encoder

_KEEP_OLD = "ON CONFLICT DO NOTHING"
_EMBEDDED_AT_ONCE = 2_000


class Archive:
    """The DuckDB file of a lab. Holds a path, never a connection.

    Args:
        path: the file; the first write makes it.
        patience: seconds to wait for another process that has the file open.
        sleep: how to wait; tests pass their own.
        told: called with who holds the file when the wait is long, and with "" when it is over.
    """

    def __init__(
        self,
        path: Path,
        patience: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        told: Callable[[str], None] = lambda _holder: None,
    ) -> None:
        self.path = path
        self.patience = patience
        self._sleep = sleep
        self._told = told

    # Opening

    def exists(self) -> bool:
        return self.path.exists()

    def migrate(self) -> None:
        """Make the archive, or bring it to the newest shape.

        Raises:
            LabTooNew: a newer noctuary wrote it.
        """
        with self._writing():
            pass

    def _opened(
        self, path: Path, *, read_only: bool
    ) -> contextlib.AbstractContextManager["DuckDBPyConnection"]:
        return opened(
            path,
            read_only=read_only,
            patience=self.patience,
            sleep=self._sleep,
            told=self._told,
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator["DuckDBPyConnection"]:
        if not self.path.exists():
            self._create()
        with self._opened(self.path, read_only=False) as connection:
            migrations.migrate(connection, self.path)
            yield connection

    def _create(self) -> None:
        """Put a complete, empty archive in place at once: a kill leaves none, or a whole one."""
        fresh = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with self._opened(fresh, read_only=False) as connection:
                migrations.migrate(connection, self.path)
            _put_in_place(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reading(self) -> Iterator["DuckDBPyConnection"]:
        if not self.path.exists():
            raise NotFound(f"{self.path} does not exist yet: run `noctuary run` first")
        with self._opened(self.path, read_only=True) as connection:
            current = (
                migrations.check_not_newer(connection, self.path)
                == migrations.MIGRATIONS[-1].number
            )
            if current:
                yield connection
                return
        self.migrate()
        with self._opened(self.path, read_only=True) as connection:
            yield connection

    # Writing

    def record_papers(self, papers: Iterable[Paper]) -> None:
        """Record papers; a shipped account is never replaced by a fetched, empty one."""
        changed = "excluded.source = 'snapshot' OR papers.source <> 'snapshot'"
        self._record("papers", map(rows.paper_row, papers), "paper_id", unless_kept=changed)

    def record_insights(self, insights: Iterable[Insight]) -> None:
        with self._writing() as connection:
            insert(connection, "insights", map(rows.insight_row, insights), "insight_id", _KEEP_OLD)
            retrieval.index(connection)

    def embed_insights(self, encoder: "Encoder") -> None:
        """Compute and keep the embeddings that are missing; the file is not held meanwhile."""
        with self._reading() as connection:
            missing = retrieval.unembedded(connection, encoder.model)
        for start in range(0, len(missing), _EMBEDDED_AT_ONCE):
            numbers, texts = zip(*missing[start : start + _EMBEDDED_AT_ONCE], strict=True)
            vectors = encoder.encode(texts)
            with self._writing() as connection:
                retrieval.keep_embeddings(connection, encoder.model, numbers, vectors)

    def record_gap(self, gap: Gap) -> None:
        self._record("gaps", [rows.gap_row(gap)], "gap_id")

    def record_gap_outcome(self, outcome: GapOutcome) -> None:
        """Record what became of a gap; a cycle that is run again decides anew."""
        row = outcome.model_dump()
        with self._writing() as connection:
            conflict = f"ON CONFLICT DO UPDATE SET {updates([row], 'gap_id')}"
            insert(connection, "gap_outcomes", [row], "gap_id", conflict)

    def record_candidates(self, candidates: Iterable[Candidate]) -> None:
        """Record candidates; a human one stays human when a design turns out to be equal."""
        with self._writing() as connection:
            upsert_candidates(connection, candidates)

    def record_designs(self, designs: Iterable[Design]) -> None:
        """Record designs, and each as a candidate. The first cycle that proposed one keeps it."""
        found = list(designs)
        with self._writing() as connection:
            insert(connection, "designs", map(rows.design_row, found), "design_id", _KEEP_OLD)
            upsert_candidates(connection, map(rows.candidate_of, found))

    def record_audits(self, audits: Iterable[Audit], cycle: int) -> None:
        """Record the newest verdict on each candidate and suite, and the first cycle to ask."""
        content = [rows.audit_row(audit, cycle) for audit in audits]
        sets = updates(content, "candidate_id", "suite", "cycle")
        conflict = f"ON CONFLICT DO UPDATE SET {sets}, cycle = least(audits.cycle, excluded.cycle)"
        with self._writing() as connection:
            insert(connection, "audits", content, ("candidate_id", "suite"), conflict)

    def record_trials(self, folder: Path, trial_ids: Sequence[str]) -> None:
        """Record finished trials and their curves from `<folder>/<trial_id>/`.

        The files are read before the archive is opened; what is recorded already is skipped.

        Raises:
            NotFound: a trial has no result.
            CheckFailed: a result is damaged.
        """
        read = [read_trial(folder, trial_id) for trial_id in sorted(set(trial_ids))]
        with self._writing() as connection:
            write_trials(connection, read)

    def record_findings(self, findings: Iterable[Finding]) -> None:
        self._record("findings", map(rows.finding_row, findings), "finding_id")

    def open_cycle(
        self,
        cycle: Cycle,
        started: datetime.datetime,
        flow_run_id: str | None = None,
        policy: str | None = None,
    ) -> None:
        """Record that a cycle runs, under a policy. One that ran before keeps start and gap."""
        with self._writing() as connection:
            write_running_cycle(connection, cycle, _utc(started), flow_run_id, policy)

    def note_literature(self, cycle_id: str, note: str) -> None:
        """Record what an opened cycle read, and what became of its search for more."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE cycles SET literature = ? WHERE cycle_id = ?", [note, cycle_id]
            )

    def note_search(self, cycle_id: str, refused: Mapping[str, int], notice: str) -> None:
        """Record why the search of an opened cycle refused ideas, and its word on a plateau."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE cycles SET refused = ?, notice = ? WHERE cycle_id = ?",
                [rows.as_json(dict(refused)), notice, cycle_id],
            )

    def close_cycle(
        self,
        cycle_id: str,
        status: Literal["done", "failed", "stopped"],
        gap_id: str | None = None,
        summary: str = "",
        finished: datetime.datetime | None = None,
    ) -> None:
        """Record how a cycle ended. The summary must not hold clock times or durations.

        Raises:
            NotFound: the cycle was never opened.
        """
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE cycles SET status = ?, gap_id = ?, summary = ?, finished = ? "
                "WHERE cycle_id = ? RETURNING cycle_id",
                [status, gap_id, summary, _utc(finished or migrations.utc_now()), cycle_id],
            ).fetchall()
            if not changed:
                raise NotFound(f"cycle {cycle_id} was never opened in {self.path}")

    def _record(
        self, table: str, content: Iterable[Row], key: str, unless_kept: str | None = None
    ) -> None:
        listed = list(content)
        conflict = _KEEP_OLD
        if unless_kept is not None:
            conflict = f"ON CONFLICT DO UPDATE SET {updates(listed, key)} WHERE {unless_kept}"
        with self._writing() as connection:
            insert(connection, table, listed, key, conflict)

    # Reading

    def query(self, name: str, **parameters: Any) -> list[Row]:
        """Run `queries/<name>.sql`; parameters that are not given are null.

        Raises:
            NotFound: there is no archive yet.
            UsageError: there is no such query, or it has no such parameter.
        """
        with self._reading() as connection:
            return named_query(connection, name, parameters)

    def records(self, table: str, **equals: Any) -> list[Row]:
        """Return the rows of a table where the given columns have the given values."""
        conditions = " AND ".join(f'"{name}" = ${name}' for name in equals)
        where = f"WHERE {conditions}" if equals else ""
        return self._fetch(f'SELECT * FROM "{table}" {where} ORDER BY ALL', equals)

    def papers(self) -> tuple[Paper, ...]:
        return tuple(map(rows.paper_from, self.records("papers")))

    def insights(self, max_cycle: int | None = None) -> tuple[Insight, ...]:
        """Return insights of papers, and of our own cycles up to the given one."""
        sql = (
            "SELECT * FROM insights WHERE cycle IS NULL OR $max_cycle::INTEGER IS NULL "
            "OR cycle <= $max_cycle ORDER BY insight_id"
        )
        return tuple(map(rows.insight_from, self._fetch(sql, {"max_cycle": max_cycle})))

    def retrieve(
        self,
        query: str,
        *,
        mechanisms: Sequence[str] = (),
        capability: str | None = None,
        limit: int = 10,
        encoder: "Encoder | None" = None,
    ) -> tuple[retrieval.Retrieved, ...]:
        """Return the insights that answer a query best, best first; equal ones by id.

        Args:
            mechanisms: only insights about at least one of these.
            encoder: also compares meanings, of what `embed_insights` has embedded.
        """
        asked = retrieval.parameters(query, mechanisms, capability, limit, encoder)
        return tuple(map(retrieval.retrieved_from, self.query("retrieve", **asked)))

    def gaps(self) -> tuple[Gap, ...]:
        return tuple(map(rows.gap_from, self.records("gaps")))

    def gap_outcomes(self) -> tuple[GapOutcome, ...]:
        return tuple(GapOutcome.model_validate(row) for row in self.records("gap_outcomes"))

    def observations(
        self,
        suite: str,
        rung: int,
        trainer: str | None = None,
        seeds: Collection[int] | None = None,
        max_cycle: int | None = None,
    ) -> "dict[str, Measured]":
        """Return task -> what the candidates of the design space scored on it, on one board.

        Args:
            trainer, seeds, max_cycle: as in `queries/observations.sql`; None for all.
        """
        from noctuary.archive.observations import read_observations

        asked = {
            "suite": suite,
            "rung": rung,
            "trainer": trainer,
            "seeds": None if seeds is None else sorted(seeds),
            "max_cycle": max_cycle,
        }
        with self._reading() as connection:
            return read_observations(connection, asked)

    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(map(rows.candidate_from, self.records("candidates")))

    def axes(self, candidate_ids: Collection[str] | None = None) -> dict[str, Axes]:
        """Return candidate id -> its point in the design space, where it has one.

        Args:
            candidate_ids: these; None for all.
        """
        sql = (
            "SELECT candidate_id, axes FROM candidates WHERE axes IS NOT NULL AND ($ids::VARCHAR[] "
            "IS NULL OR candidate_id IN (SELECT unnest($ids::VARCHAR[]))) ORDER BY candidate_id"
        )
        ids = None if candidate_ids is None else sorted(candidate_ids)
        return {row["candidate_id"]: row["axes"] for row in self._fetch(sql, {"ids": ids})}

    def designs(self, max_cycle: int | None = None) -> tuple[Design, ...]:
        sql = (
            "SELECT * FROM designs WHERE $max_cycle::INTEGER IS NULL OR cycle <= $max_cycle "
            "ORDER BY cycle, design_id"
        )
        return tuple(map(rows.design_from, self._fetch(sql, {"max_cycle": max_cycle})))

    def audits(self, suite: str) -> tuple[Audit, ...]:
        return tuple(map(rows.audit_from, self.records("audits", suite=suite)))

    def trials(self, **equals: Any) -> tuple[Trial, ...]:
        return tuple(map(rows.trial_from, self.records("trials", **equals)))

    def findings(self, max_cycle: int | None = None) -> tuple[Finding, ...]:
        sql = (
            "SELECT * FROM findings WHERE $max_cycle::INTEGER IS NULL OR cycle <= $max_cycle "
            "ORDER BY cycle, kind, subject, baseline, task, finding_id"
        )
        return tuple(map(rows.finding_from, self._fetch(sql, {"max_cycle": max_cycle})))

    def cycles(self) -> list[Row]:
        return self._fetch("SELECT * FROM cycles ORDER BY number, cycle_id", {})

    def leaderboard(
        self, suite: str | None = None, candidate: str | None = None, top: int | None = None
    ) -> list[Row]:
        """Return the view: of one suite, of one candidate, the best so many of each board."""
        return self.query("leaderboard", suite=suite, candidate=candidate, top=top)

    def lineage(self, candidate_id: str, most: int) -> dict[str, Any]:
        """Return where a candidate comes from and what came of it, as `read_lineage` says."""
        with self._reading() as connection:
            return read_lineage(connection, candidate_id, most)

    def fingerprint(self) -> dict[str, str]:
        """Return table -> hash of its rows, in a fixed order, without the volatile columns."""
        with self._reading() as connection:
            return fingerprint(connection)

    def _fetch(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        with self._reading() as connection:
            return fetched(connection, sql, parameters)


def _put_in_place(fresh: Path, path: Path) -> None:
    """Give the file its name, unless another process was faster."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            fresh.replace(path)


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo else moment
