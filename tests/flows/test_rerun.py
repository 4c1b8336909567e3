"""`noctuary rerun` executes what failed in a cycle, and nothing else."""

import json
import subprocess
import sys

from prefect_api import executed, trials_that_ran

from noctuary.archive import Archive
from noctuary.journal import Journal
from noctuary.lab import Lab


def noctuary(
    environment: dict[str, str], lab: Lab, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-c", "from noctuary.cli import main; main()"),
            *arguments,
            *("--lab", str(lab.root)),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_a_rerun_executes_only_the_stage_that_failed(
    lab: Lab, prefect_environment: dict[str, str]
) -> None:
    aside = lab.root / "reports-aside"
    lab.reports.rename(aside)
    lab.reports.write_text("in the way", encoding="utf-8")
    run = ("run", "--cycles", "1", "--seed", "21", "--offline")
    try:
        failed = noctuary(prefect_environment, lab, *run)
    finally:
        lab.reports.unlink()
        aside.rename(lab.reports)
    assert failed.returncode == 3, failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    cycle = next(r for r in Archive(lab.archive_path).cycles() if r["status"] == "failed")

    before = Journal(lab.journal_path).end()
    again = noctuary(prefect_environment, lab, "rerun", str(cycle["number"]), "--json")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert found["executed"] == {"publish": 1}
    assert {"train", "promote"} <= {*found["found"]}
    assert found["trials"] == 0
    assert executed(lab, before) == [(cycle["cycle_id"], "publish")]
    assert trials_that_ran(lab, before) == []
    (row,) = Archive(lab.archive_path).records("cycles", cycle_id=cycle["cycle_id"])
    assert row["status"] == "done"
    assert row["flow_run_id"] != cycle["flow_run_id"]


def test_a_finished_cycle_needs_no_rerun(lab: Lab, prefect_environment: dict[str, str]) -> None:
    first = Archive(lab.archive_path).cycles()[0]
    before = Journal(lab.journal_path).end()
    for name in (first["cycle_id"], first["cycle_id"][:7], first["flow_run_id"]):
        told = noctuary(prefect_environment, lab, "rerun", name)
        assert told.returncode == 0
        assert "nothing to rerun" in told.stdout
    assert Journal(lab.journal_path).end() == before


def test_an_unknown_cycle_is_refused_with_those_there_are(
    lab: Lab, prefect_environment: dict[str, str]
) -> None:
    told = noctuary(prefect_environment, lab, "rerun", "c9999")
    assert told.returncode == 2
    assert Archive(lab.archive_path).cycles()[0]["cycle_id"] in told.stderr
    assert len(told.stderr.splitlines()) == 1
