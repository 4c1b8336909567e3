"""What is written in more than one table, or over an older row, inside the caller's transaction.

Covers trials with their curves and the standings that follow from them, and the row of a cycle
that runs. A value with a table to itself needs only `writing.insert`.
"""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from noctuary.archive import migrations, rows, standings
from noctuary.archive.trial_files import TrialFiles
from noctuary.archive.writing import insert, updates
from noctuary.domain import Cycle

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


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
