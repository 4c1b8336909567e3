"""A cycle trains rung by rung: who climbs, with which trials, and what nobody is trained on."""

from collections import defaultdict
from typing import Any

from prefect_api import events

from noctuary.archive import Archive
from noctuary.archive.rows import Row
from noctuary.bench.rungs import FIRST_HELD_OUT_SEED
from noctuary.config import load_settings
from noctuary.lab import Lab
from noctuary.plan import rung_seeds, suite_of


def of_first_cycle(lab: Lab) -> list[dict[str, Any]]:
    """Return the events of the first cycle that the lab finished."""
    found: list[dict[str, Any]] = []
    for event in events(lab):
        found.append(event)
        if event["event"] == "cycle finished":
            break
    return found


def test_a_rung_begins_when_the_one_before_is_over(lab: Lab) -> None:
    order = [
        (event["event"], event["rung"])
        for event in of_first_cycle(lab)
        if event["event"] in ("candidate trained", "promoted")
    ]
    rungs = [rung for _, rung in order]
    top = suite_of(load_settings(lab.settings_path).training).top
    assert rungs == sorted(rungs)
    assert [rung for event, rung in order if event == "promoted"] == list(range(1, top + 1))
    for rung in range(1, top + 1):
        assert order[rungs.index(rung)] == ("promoted", rung)


def test_everybody_has_the_same_trials_on_the_rungs_that_it_got_to(lab: Lab) -> None:
    training = load_settings(lab.settings_path).training
    suite = suite_of(training)
    archive = Archive(lab.archive_path)
    kinds = {candidate.candidate_id: candidate.kind for candidate in archive.candidates()}
    rejected = {audit.candidate_id for audit in archive.audits(suite.version) if not audit.accepted}
    trials: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in archive.records("trials", suite=suite.version):
        trials[row["candidate_id"], row["rung"]].append(row)
    tasks = {task.name for task in suite.tasks}
    for (_, rung), rows in trials.items():
        seeds = set(rung_seeds(suite, rung, training.seeds))
        rates = len(suite.learning_rates) if rung == 0 else 1
        assert {row["task"] for row in rows} == tasks
        assert {row["seed"] for row in rows} == seeds
        assert len(rows) == len(tasks) * len(seeds) * rates
    assert {one for one, rung in trials if rung == 0} == {*kinds} - rejected
    assert {one for one, kind in kinds.items() if kind == "human"} == {
        one for one, rung in trials if rung == suite.top and kinds[one] == "human"
    }


def test_designs_go_on_where_the_journal_says_that_they_were_promoted(lab: Lab) -> None:
    archive = Archive(lab.archive_path)
    names = {design.name for design in archive.designs()}
    promoted = {
        (event["rung"], name)
        for event in events(lab)
        if event["event"] == "promoted"
        for name in event["designs"]
    }
    board = {(row["rung"], row["name"]) for row in archive.leaderboard() if row["name"] in names}
    assert {(rung, name) for rung, name in board if rung > 0} == promoted
    assert promoted  # the only design of a first cycle is among the best half of all


def test_nothing_held_out_is_trained_on(lab: Lab) -> None:
    suite = suite_of(load_settings(lab.settings_path).training)
    rows = Archive(lab.archive_path).records("trials")
    assert not {row["task"] for row in rows} & {task.name for task in suite.held_out}
    assert max(row["seed"] for row in rows) < FIRST_HELD_OUT_SEED


def test_designs_are_compared_on_the_last_rung_and_mechanisms_on_the_first(lab: Lab) -> None:
    top = suite_of(load_settings(lab.settings_path).training).top
    rungs = {(finding.kind, finding.rung) for finding in Archive(lab.archive_path).findings()}
    assert rungs == {("comparison", top), ("mechanism", 0)}
