"""What is recorded, one method a kind of value.

Covers which rows a value becomes, and what happens to a row that is there already. All of it is
idempotent: recording the same thing again leaves the archive equal. When the writing happens,
and in which transaction, is for the class that inherits: `store.Archive` writes at once,
`attesting.Attested` all at the end, with a statement about it.
"""

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from noctuary.archive import migrations, retrieval, rows, standings
from noctuary.archive.rows import Row
from noctuary.archive.trial_files import TrialFiles, read_trial
from noctuary.archive.writing import insert, updates, upsert_candidates
from noctuary.domain import (
    Audit,
    Candidate,
    Claim,
    Cycle,
    Design,
    Finding,
    Gap,
    GapOutcome,
    Insight,
    Paper,
)
from noctuary.errors import NotFound

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Work = Callable[["DuckDBPyConnection"], None]
"""Writes, inside somebody's transaction."""

Touched = Mapping[str, Collection[str]]
"""table -> keys of the rows that are written."""

_KEEP_OLD = "ON CONFLICT DO NOTHING"


class Recorder:
    """Everything that can be recorded."""

    def _write(self, work: Work, touched: Touched) -> None:
        """See to it that the work is done."""
        raise NotImplementedError

    def record_papers(self, papers: Iterable[Paper]) -> None:
        """Record papers; a shipped account is never replaced by a fetched, empty one."""
        changed = "excluded.source = 'snapshot' OR papers.source <> 'snapshot'"
        self._record("papers", map(rows.paper_row, papers), "paper_id", replaced_where=changed)

    def record_insights(self, insights: Iterable[Insight]) -> None:
        content = list(map(rows.insight_row, insights))

        def work(connection: "DuckDBPyConnection") -> None:
            insert(connection, "insights", content, "insight_id", _KEEP_OLD)
            retrieval.index(connection)

        self._write(work, {"insights": [row["insight_id"] for row in content]})

    def record_gap(self, gap: Gap) -> None:
        self._record("gaps", [rows.gap_row(gap)], "gap_id")

    def record_gap_outcome(self, outcome: GapOutcome) -> None:
        """Record what became of a gap; a cycle that is run again decides anew."""
        self._record("gap_outcomes", [outcome.model_dump()], "gap_id", replaced_where="true")

    def record_candidates(self, candidates: Iterable[Candidate]) -> None:
        """Record candidates; a human one stays human when a design turns out to be equal."""
        found = list(candidates)
        self._write(
            lambda connection: upsert_candidates(connection, found),
            {"candidates": [candidate.candidate_id for candidate in found]},
        )

    def record_designs(self, designs: Iterable[Design]) -> None:
        """Record designs, and each as a candidate. The first cycle that proposed one keeps it."""
        found = list(designs)
        self._record("designs", map(rows.design_row, found), "design_id")
        self.record_candidates(map(rows.candidate_of, found))

    def record_audits(self, audits: Iterable[Audit], cycle: int) -> None:
        """Record the newest verdict on each candidate and suite, and the first cycle to ask."""
        content = [rows.audit_row(audit, cycle) for audit in audits]
        sets = updates(content, "candidate_id", "suite", "cycle")
        conflict = f"ON CONFLICT DO UPDATE SET {sets}, cycle = least(audits.cycle, excluded.cycle)"
        key = ("candidate_id", "suite")
        self._write(
            lambda connection: insert(connection, "audits", content, key, conflict),
            {"audits": ["/".join(row[name] for name in key) for row in content]},
        )

    def record_trials(self, folder: Path, trial_ids: Sequence[str]) -> None:
        """Record finished trials and their curves from `<folder>/<trial_id>/`.

        The files are read before the archive is opened; what is recorded already is skipped.

        Raises:
            NotFound: a trial has no result.
            CheckFailed: a result is damaged.
        """
        read = [read_trial(folder, trial_id) for trial_id in sorted(set(trial_ids))]
        self._write(
            lambda connection: write_trials(connection, read),
            {"trials": [files.trial.spec.trial_id for files in read]},
        )

    def record_findings(self, findings: Iterable[Finding]) -> None:
        self._record("findings", map(rows.finding_row, findings), "finding_id")

    def record_claim(self, claim: Claim) -> None:
        """Record how far a claim has come; its plan is what its id says, and never changes."""
        self._record("claims", [rows.claim_row(claim)], "claim_id", replaced_where="true")

    def open_cycle(
        self,
        cycle: Cycle,
        started: datetime.datetime,
        flow_run_id: str | None = None,
        policy: str | None = None,
    ) -> None:
        """Record that a cycle runs, under a policy. One that ran before keeps start and gap."""
        self._write(
            lambda connection: write_running_cycle(
                connection, cycle, _utc(started), flow_run_id, policy
            ),
            {"cycles": [cycle.cycle_id]},
        )

    def note_literature(self, cycle_id: str, note: str) -> None:
        """Record what an opened cycle read, and what became of its search for more."""
        self._update_cycle(cycle_id, {"literature": note})

    def note_search(self, cycle_id: str, refused: Mapping[str, int], notice: str) -> None:
        """Record why the search of an opened cycle refused ideas, and its word on a plateau."""
        self._update_cycle(cycle_id, {"refused": rows.as_json(dict(refused)), "notice": notice})

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
        end = _utc(finished or migrations.utc_now())
        row = {"status": status, "gap_id": gap_id, "summary": summary, "finished": end}
        self._update_cycle(cycle_id, row)

    def _update_cycle(self, cycle_id: str, row: Row) -> None:
        def work(connection: "DuckDBPyConnection") -> None:
            sets = ", ".join(f"{name} = ${name}" for name in row)
            changed = connection.execute(
                f"UPDATE cycles SET {sets} WHERE cycle_id = $cycle_id RETURNING cycle_id",
                {**row, "cycle_id": cycle_id},
            ).fetchall()
            if not changed:
                raise NotFound(f"cycle {cycle_id} was never opened in this archive")

        self._write(work, {"cycles": [cycle_id]})

    def _record(
        self, table: str, content: Iterable[Row], key: str, replaced_where: str | None = None
    ) -> None:
        listed = list(content)
        conflict = _KEEP_OLD
        if replaced_where is not None:
            sets = updates(listed, key)
            conflict = f"ON CONFLICT ({key}) DO UPDATE SET {sets} WHERE {replaced_where}"
        self._write(
            lambda connection: insert(connection, table, listed, key, conflict),
            {table: [row[key] for row in listed]},
        )


def write_trials(connection: "DuckDBPyConnection", read: Sequence[TrialFiles]) -> None:
    """Record trials with their curves, and bring the standings up to date.

    What is recorded already, from files with the same digest, is skipped.
    """
    now = migrations.utc_now()
    known = dict(
        connection.execute(
            "SELECT trial_id, digest FROM trials "
            "WHERE trial_id IN (SELECT unnest($ids::VARCHAR[]))",
            {"ids": [f.trial.spec.trial_id for f in read]},
        ).fetchall()
    )
    fresh = [f for f in read if known.get(f.trial.spec.trial_id) != f.digest]
    content = [{**rows.trial_row(f.trial), "digest": f.digest, "recorded_at": now} for f in fresh]
    points = [
        {"trial_id": f.trial.spec.trial_id, **point._asdict()} for f in fresh for point in f.curve
    ]
    conflict = f"ON CONFLICT DO UPDATE SET {updates(content, 'trial_id')}"
    insert(connection, "trials", content, "trial_id", conflict)
    replaced = [row["trial_id"] for row in content if row["trial_id"] in known]
    if replaced:  # a look at all curves, which are by far the largest table
        connection.execute(
            "DELETE FROM curves WHERE trial_id IN (SELECT unnest($ids::VARCHAR[]))",
            {"ids": replaced},
        )
    insert(connection, "curves", points, (), "")
    standings.refresh(connection, {f.trial.spec.candidate_id for f in fresh})


def write_running_cycle(
    connection: "DuckDBPyConnection",
    cycle: Cycle,
    started: datetime.datetime,
    flow_run_id: str | None,
    policy: str | None,
) -> None:
    """Record that a cycle runs. One that ran before keeps its start and its gap."""
    row = {
        "cycle_id": cycle.cycle_id,
        **cycle.model_dump(),
        "status": "running",
        "started": started,
        "flow_run_id": flow_run_id,
        "summary": "",
        "policy": policy,
    }
    conflict = (
        "ON CONFLICT DO UPDATE SET status = excluded.status, finished = NULL, "
        "flow_run_id = excluded.flow_run_id, policy = excluded.policy"
    )
    insert(connection, "cycles", [row], "cycle_id", conflict)


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo else moment
