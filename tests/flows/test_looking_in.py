"""`duckdb data/lab/noctuary.duckdb "select * from leaderboard"`, typed while a night runs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from night_process import kill_tree, start_night
from prefect_api import wait_for_event

from noctuary.candidates import BASELINES
from noctuary.lab import Lab

DUCKDB = Path(sys.executable).with_name("duckdb")
"""The command line of DuckDB, older than the library that writes the archive."""


def ask(lab: Lab, sql: str) -> list[dict[str, Any]] | None:
    """Return the rows, or None where the night was writing at that moment."""
    done = subprocess.run(
        [DUCKDB, "-json", str(lab.archive_path), sql],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode and "Could not set lock" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return rows


def test_the_leaderboard_is_read_by_the_duckdb_command_while_a_night_runs(
    fresh_lab: Lab, prefect_environment: dict[str, str], missing: Callable[[str], NoReturn]
) -> None:
    if not DUCKDB.exists():
        missing(f"there is no {DUCKDB}; pip install duckdb-cli")
    process = start_night(fresh_lab, 1, prefect_environment)
    try:
        wait_for_event(fresh_lab, 0, "candidate trained")
        seen = []
        while process.poll() is None:
            time.sleep(0.2)  # a person does not ask without a pause either
            rows = ask(fresh_lab, "select * from leaderboard")
            if rows:
                seen.append({row["name"] for row in rows})
        assert process.returncode == 0
    finally:
        kill_tree(process)
    assert len(seen) > 3
    assert seen[0] < seen[-1], "the board did not grow while it was looked at"
    assert set(BASELINES) < seen[-1]
