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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noctuary.archive import migrations, retrieval, rows
from noctuary.archive.account import Account, read_account
from noctuary.archive.attesting import NOTHING, Attested, Handover
from noctuary.archive.connection import opened
from noctuary.archive.lineage import read_lineage
from noctuary.archive.reading import fetched, fingerprint, named_query
from noctuary.archive.recording import Recorder, Touched, Work
from noctuary.archive.rows import Row
from noctuary.domain import (
    Audit,
    Axes,
    Candidate,
    Claim,
    Design,
    Finding,
    Gap,
    GapOutcome,
    Insight,
    Paper,
    Trial,
)
from noctuary.errors import NotFound
from noctuary.ledger.statements import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from noctuary.archive.observations import Measured
    from noctuary.embedding import Encoder

_EMBEDDED_AT_ONCE = 2_000


class Archive(Recorder):
    """The DuckDB file of a lab. Holds a path, never a connection.

    Args:
        path: the file; the first write makes it.
        patience: seconds to wait for another process that has the file open.
        sleep: how to wait; tests pass their own.
        told: called with who holds the file when the wait is long, and with "" when it is over.
        now: the time of statements.
    """

    def __init__(
        self,
        path: Path,
        patience: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        told: Callable[[str], None] = lambda _holder: None,
        now: Callable[[], datetime.datetime] = migrations.utc_now,
    ) -> None:
        self.path = path
        self.patience = patience
        self._sleep = sleep
        self._told = told
        self._now = now
        self._stated: Handover | None = None

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

    def _write(self, work: Work, touched: Touched) -> None:
        with self._writing() as connection:
            work(connection)

    @contextlib.contextmanager
    def attested(
        self, kind: Kind, facts: Mapping[str, Any], subjects: Mapping[str, str] = NOTHING
    ) -> Iterator[Attested]:
        """Record what is recorded inside in one transaction, with a statement about it.

        The writing happens at the end, in the order of the calls, so that the archive is not
        held meanwhile; where the block raises, nothing is recorded. The statement is in the
        archive then; `noctuary.attesting.flush` gives it to the ledger.

        Args:
            facts: the predicate, without `time`.
            subjects: what the statement is about beside the rows and files that have changed,
                name -> SHA-256. More facts and subjects can be given to what is yielded.

        Raises:
            LedgerBroken: a row that the block writes was changed since it was attested.
        """
        block = Attested(kind, facts, subjects)
        yield block
        with self._writing() as connection:
            block.write(connection, self._now())
            self._stated = Handover(connection) if kind == "stage" else None

    def embed_insights(self, encoder: "Encoder") -> None:
        """Compute and keep the embeddings that are missing; the file is not held meanwhile."""
        with self._reading() as connection:
            missing = retrieval.unembedded(connection, encoder.model)
        for start in range(0, len(missing), _EMBEDDED_AT_ONCE):
            numbers, texts = zip(*missing[start : start + _EMBEDDED_AT_ONCE], strict=True)
            vectors = encoder.encode(texts)
            with self._writing() as connection:
                retrieval.keep_embeddings(connection, encoder.model, numbers, vectors)

    def just_stated(self) -> Handover | None:
        """Return, once, what the ledger lacked after the last block here, if it was a stage.

        Of a stage it is enough to remember the head of the ledger now and then; it spares the
        ledger's share of each an opening of the archive, which is most of what it costs.
        """
        stated, self._stated = self._stated, None
        return stated

    @contextlib.contextmanager
    def handing_over(self) -> Iterator[Handover]:
        """Hold the archive while the ledger gets what it lacks; no two do that at once."""
        with self._writing() as connection:
            yield Handover(connection)

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

    def claims(self) -> tuple[Claim, ...]:
        """Return all claims, in the order of their registration."""
        return tuple(map(rows.claim_from, self._fetch("SELECT * FROM claims ORDER BY number", {})))

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

    def account(self) -> Account:
        """Return all statements, and the digests of all that they are about."""
        with self._reading() as connection:
            return read_account(connection)

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
