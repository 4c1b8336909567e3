"""The rules of a lab, in real nights: consent, the stop file, and a policy that changes."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from night_process import kill_tree, run_to_the_end, start_night
from prefect_api import PATIENCE, Api, events, executed, trials_that_ran, wait_for_event
from worker_process import Worker

from noctuary.archive import Archive
from noctuary.journal import Journal
from noctuary.lab import Lab
from noctuary.policy import load_policy

CONSENT = '[consent]\nbefore = ["cycle", "promotion"]\n'


@pytest.fixture
def ruled(lab: Lab) -> Iterator[Lab]:
    """The shared lab, in which every design climbs; its rules end with the test."""
    settings = lab.settings_path.read_text(encoding="utf-8")
    lab.settings_path.write_text(settings + "keep = [1.0]\n", encoding="utf-8")
    try:
        yield lab
    finally:
        lab.settings_path.write_text(settings, encoding="utf-8")
        lab.policy_path.unlink(missing_ok=True)
        (lab.root / "stop").unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def end_of(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Return exit status and output, on one line, of a night that ends by itself."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        kill_tree(process)
    return process.returncode, " ".join(output.decode("utf-8", "replace").split())


def answer(server: Api, run: str, **said: str) -> str:
    """Resume a run as the form of the UI does; return whether the server took it."""
    return str(server.post(f"flow_runs/{run}/resume", {"run_input": said})["status"])


def cycle_row(lab: Lab, cycle: str) -> dict[str, Any]:
    (row,) = Archive(lab.archive_path).records("cycles", cycle_id=cycle)
    return row


def parent_of(server: Api, run: dict[str, Any]) -> str:
    found = server.get(f"task_runs/{run['parent_task_run_id']}")
    return str(found["flow_run_id"])


def test_a_night_waits_for_consent_and_a_crash_does_not_ask_again(
    ruled: Lab,
    server: Api,
    prefect_environment: dict[str, str],
    serve: Callable[[Lab], Worker],
) -> None:
    write(ruled.policy_path, CONSENT)
    policy = load_policy(ruled.policy_path).policy_id
    since = Journal(ruled.journal_path).end()
    worker = serve(ruled)
    night = server.start_night(seed=41, offline=True, cycles=2)
    asked = wait_for_event(ruled, since, "consent asked", before="cycle")
    cycle = asked["cycle"]
    assert asked["flow_run"] == night
    assert server.run(night)["state_type"] == "PAUSED"
    assert asked["question"] in server.run(night)["state"]["message"]
    assert executed(ruled, since) == []
    assert answer(server, night) == "REJECT", "a click alone decides nothing"
    assert answer(server, night, decision="approve", note="ann") == "ACCEPT"
    wait_for_event(ruled, since, "consent answered", approved=True, note="ann")
    first = wait_for_event(ruled, since, "consent asked", before="promotion")["flow_run"]
    worker.kill()

    before = Journal(ruled.journal_path).end()
    process = start_night(ruled, 2, prefect_environment, seed=41)
    try:
        asked = wait_for_event(ruled, before, "consent asked")
        assert (asked["before"], asked["cycle"]) == ("promotion", cycle)
        assert server.run(first)["state_type"] == server.run(night)["state_type"] == "CRASHED"
        write(ruled.policy_path, "[budget]\ntrails = 3\n")
        assert answer(server, asked["flow_run"], decision="refuse", note="bob") == "ACCEPT"
    except BaseException:
        kill_tree(process)
        raise
    status, output = end_of(process)
    assert f"Resume at {server.address.removesuffix('/api')}/runs/flow-run/" in output
    assert status == 2, "the policy broke in the night"
    assert "unknown setting 'budget.trails'" in output

    row = cycle_row(ruled, cycle)
    assert (row["status"], row["policy"]) == ("done", policy), "a cycle ends as it began"
    archive = Archive(ruled.archive_path)
    (design,) = archive.records("designs", cycle=row["number"])
    rungs = {trial["rung"] for trial in archive.records("trials", candidate_id=design["design_id"])}
    assert rungs == {0}, "the refused design did not get to the last rung"
    account = (ruled.reports / f"{cycle}.md").read_text(encoding="utf-8")
    assert f"Policy `{policy}`." in account
    assert "The cycle was approved (ann)." in account
    assert "The promotion was refused (bob)." in account


def test_a_night_that_nobody_answers_ends_well_and_asks_again(
    ruled: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    write(ruled.policy_path, CONSENT + 'patience = "2s"\n')
    since = Journal(ruled.journal_path).end()
    status, output = end_of(start_night(ruled, 1, prefect_environment, seed=42))
    assert status == 0, output
    assert "nobody answered within 0:00:02" in output
    asked = next(event for event in events(ruled, since) if event["event"] == "consent asked")
    assert f"/runs/flow-run/{asked['flow_run']}" in output
    assert server.run(asked["flow_run"])["state_type"] == "COMPLETED"
    assert executed(ruled, since) == []


def test_a_stop_file_ends_a_night_between_trials_and_the_same_command_goes_on(
    ruled: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    since = Journal(ruled.journal_path).end()
    process = start_night(ruled, 1, prefect_environment, seed=43)
    try:
        wait_for_event(ruled, since, "trial started")
        (ruled.root / "stop").touch()
    except BaseException:
        kill_tree(process)
        raise
    status, output = end_of(process)
    assert status == 0, output
    told = f"stopped by {ruled.root / 'stop'}; remove it and run the same command to go on"
    assert told in output
    stopped = next(event for event in events(ruled, since) if event["event"] == "cycle stopped")
    cycle = stopped["cycle"]
    assert cycle_row(ruled, cycle)["status"] == "stopped"
    run = server.run(str(cycle_row(ruled, cycle)["flow_run_id"]))
    assert run["state_type"] == "CANCELLED"
    assert server.run(parent_of(server, run))["state_type"] == "COMPLETED"
    some = trials_that_ran(ruled, since)
    assert some
    assert all((ruled.trials / trial / "result.json").exists() for trial in some)

    refused, line = end_of(start_night(ruled, 1, prefect_environment, seed=43))
    assert refused == 2
    assert told in line
    assert line.startswith("noctuary: nothing was started")

    (ruled.root / "stop").unlink()
    old = load_policy(ruled.policy_path).policy_id
    write(ruled.policy_path, "[budget]\ntrials = 1000\n")
    before = Journal(ruled.journal_path).end()
    run_to_the_end(ruled, 1, prefect_environment, seed=43)
    row = cycle_row(ruled, cycle)
    new = load_policy(ruled.policy_path).policy_id
    assert (row["status"], row["policy"]) == ("done", new)
    changed = next(e for e in events(ruled, before) if e["event"] == "policy changed")
    assert (changed["old"], changed["new"]) == (old, new)
    assert "design candidates" not in [stage for _, stage in executed(ruled, before)]
    trials = trials_that_ran(ruled, since)
    assert len(trials) == len(set(trials)) > len(some)


def test_a_cycle_that_is_refused_in_the_form_of_the_ui_ends_the_night(
    chromium: Browser, ruled: Lab, server: Api, prefect_environment: dict[str, str]
) -> None:
    from selenium.webdriver.support.ui import Select

    write(ruled.policy_path, CONSENT)
    since = Journal(ruled.journal_path).end()
    process = start_night(ruled, 1, prefect_environment, seed=45)
    try:
        asked = wait_for_event(ruled, since, "consent asked")
        ui = server.address.removesuffix("/api")
        chromium.open(f"{ui}/runs/flow-run/{asked['flow_run']}")
        chromium.wait_for("button", "Resume").click()
        chromium.wait_for(".p-modal", asked["question"])
        Select(chromium.wait_for(".p-modal select")).select_by_visible_text("refuse")
        chromium.wait_for(".p-modal textarea").send_keys("not tonight")
        chromium.wait_for(".p-modal button", "Submit").click()
    except BaseException:
        kill_tree(process)
        raise
    status, output = end_of(process)
    assert status == 0, output
    assert "was refused (not tonight)" in output
    assert server.run(asked["flow_run"])["state_type"] == "COMPLETED"
    assert executed(ruled, since) == []
