"""When a night starts another cycle, how it ends, and how it is taken up again."""

import functools
from pathlib import Path

import pytest

from noctuary.config import Settings
from noctuary.errors import CheckFailed, UsageError
from noctuary.lab import Lab
from noctuary.night import CycleSummary, Night, NightRequest, plan_cycle
from noctuary.plan import steps_a_design
from noctuary.policy import Policy, load_policy

SETTINGS = Settings()
STEPS = round(SETTINGS.search.designs * steps_a_design(SETTINGS))
"""Optimiser steps of a cycle that trains its designs alone."""


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def request_for(lab: Lab, **limits: object) -> NightRequest:
    return NightRequest.model_validate({"lab": str(lab.root), "settings": SETTINGS, **limits})


def summary_of(
    number: int, *, trials: int = 36, steps: int = STEPS, seconds: float = 120.0
) -> CycleSummary:
    return CycleSummary(
        cycle_id=f"c{number}",
        number=number,
        gap_id="g",
        designs=("d",),
        accepted=1,
        trials=trials,
        steps=steps,
        seconds=seconds,
        best_design=None,
        statement="",
    )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab.create_or_open(tmp_path / "lab")


def numbers(night: Night, clock: Clock, seconds: float, trials: int = 36) -> list[int]:
    """Run a night whose cycles all take as long; return their numbers."""
    found = []
    while (run := night.next()) is not None:
        clock.now += seconds
        found.append(run.cycle.number)
        night.finished(summary_of(run.cycle.number, trials=trials, seconds=seconds))
    return found


def test_cycles_are_counted(lab: Lab) -> None:
    night = Night.open(lab, request_for(lab, cycles=3), last_finished=4)
    assert numbers(night, Clock(), 1.0) == [5, 6, 7]
    assert "3 cycles" in night.ended_because


def test_a_cycle_starts_only_where_it_is_likely_to_end_in_time(lab: Lab) -> None:
    clock = Clock()
    night = Night.open(lab, request_for(lab, budget_seconds=600), last_finished=0, clock=clock)
    assert numbers(night, clock, 160.0) == [1, 2, 3]  # the fourth would end at 640
    assert "120 s are left" in night.ended_because


def test_the_first_cycle_trains_the_baselines_too_and_later_ones_are_judged_without(
    lab: Lab,
) -> None:
    clock = Clock()
    night = Night.open(lab, request_for(lab, budget_seconds=600), last_finished=0, clock=clock)
    assert night.next() is not None
    clock.now = 350.0  # twice the steps of the next cycle, which takes 185 s, not 350
    night.finished(summary_of(1, steps=2 * STEPS, seconds=350.0))
    assert night.next() is not None


@pytest.mark.parametrize("trials", [1, 1000])
def test_a_cycle_is_judged_by_its_steps_and_not_by_its_trials(lab: Lab, trials: int) -> None:
    """Trials of the last rung take longer than those of the first."""
    clock = Clock()
    night = Night.open(lab, request_for(lab, budget_seconds=600), last_finished=0, clock=clock)
    assert numbers(night, clock, 160.0, trials=trials) == [1, 2, 3]


def test_a_cycle_that_found_all_its_trials_finished_says_nothing_about_the_next(lab: Lab) -> None:
    clock = Clock()
    night = Night.open(lab, request_for(lab, budget_seconds=600), last_finished=0, clock=clock)
    assert night.next() is not None
    night.finished(summary_of(1, seconds=300.0))
    clock.now = 310.0
    night.finished(summary_of(2, trials=0, steps=0, seconds=10.0))
    assert night.next() is None  # 290 s are left, and one that trains takes 300


def test_even_a_tiny_budget_buys_one_cycle(lab: Lab) -> None:
    clock = Clock()
    night = Night.open(lab, request_for(lab, budget_seconds=1), last_finished=0, clock=clock)
    assert numbers(night, clock, 100.0) == [1]


def test_trials_are_counted(lab: Lab) -> None:
    night = Night.open(lab, request_for(lab, trials=80), last_finished=0)
    assert numbers(night, Clock(), 1.0, trials=36) == [1, 2, 3]


def test_the_same_request_takes_an_open_night_up_where_it_began(lab: Lab) -> None:
    request = request_for(lab, cycles=3)
    Night.open(lab, request, last_finished=0)
    resumed = Night.open(lab, request, last_finished=2)  # killed in its third cycle
    for _ in range(2):
        assert resumed.next() is not None
        resumed.skipped()
    run = resumed.next()
    assert run is not None
    assert run.cycle.number == 3
    resumed.finished(summary_of(3))
    assert resumed.next() is None
    resumed.close(lab)


def test_another_request_opens_a_new_night_behind_the_last_finished_cycle(lab: Lab) -> None:
    Night.open(lab, request_for(lab, cycles=3), last_finished=0)
    assert Night.open(lab, request_for(lab, cycles=3, seed=1), last_finished=2).first == 3


def test_a_night_that_was_closed_is_not_taken_up(lab: Lab) -> None:
    request = request_for(lab, cycles=1)
    night = Night.open(lab, request, last_finished=0)
    numbers(night, Clock(), 1.0)
    night.close(lab)
    assert Night.open(lab, request, last_finished=1).first == 2


def test_two_failures_in_a_row_end_a_night_and_leave_it_open(lab: Lab) -> None:
    request = request_for(lab, cycles=9)
    night = Night.open(lab, request, last_finished=0)
    for _ in range(2):
        run = night.next()
        assert run is not None
        night.failed_with(run.cycle.cycle_id)
    assert night.next() is None
    with pytest.raises(CheckFailed, match="noctuary rerun c0001"):
        night.close(lab)
    assert Night.open(lab, request, last_finished=0).first == 1


def test_one_failure_does_not_end_a_night(lab: Lab) -> None:
    night = Night.open(lab, request_for(lab, cycles=3), last_finished=0)
    first = night.next()
    assert first is not None
    night.failed_with(first.cycle.cycle_id)
    second = night.next()
    assert second is not None
    assert second.cycle.number == 2


def test_a_cycle_is_named_by_its_text_and_not_by_where_that_lies(lab: Lab, tmp_path: Path) -> None:
    def name(file: str, content: bytes) -> str:
        path = tmp_path / file
        path.write_bytes(content)
        training = SETTINGS.training.model_copy(update={"text": str(path)})
        settings = SETTINGS.model_copy(update={"training": training})
        return plan_cycle(request_for(lab, settings=settings), 1).cycle.cycle_id

    assert name("here", b"a" * 4096) == name("there", b"a" * 4096)
    assert name("other", b"b" * 4096) != name("there", b"a" * 4096)


def test_a_cycle_is_named_by_what_decides_its_content(lab: Lab) -> None:
    def name(**changes: object) -> str:
        return plan_cycle(request_for(lab, **changes), 1).cycle.cycle_id

    assert name() == name(budget_seconds=5, cycles=2), "limits do not change what a cycle does"
    assert len({name(), name(seed=1), name(offline=True)}) == 3


def ruled(**budget: object) -> Policy:
    return Policy.model_validate({"budget": budget})


def test_the_smaller_of_command_and_policy_holds(lab: Lab) -> None:
    rules = ruled(trials=80, time=600.0)
    night = Night.open(lab, request_for(lab, trials=40), 0, rules=lambda: rules)
    assert numbers(night, Clock(), 1.0, trials=36) == [1, 2]
    night = Night.open(lab, request_for(lab, trials=400), 0, rules=lambda: rules)
    assert numbers(night, Clock(), 1.0, trials=36) == [1, 2, 3]
    assert "108 trials are done (the policy allows 80)" in night.ended_because
    clock = Clock()
    night = Night.open(lab, request_for(lab, budget_seconds=6000), 0, clock, lambda: rules)
    assert numbers(night, clock, 160.0) == [1, 2, 3]


def test_tokens_and_money_of_the_cycles_are_added_up(lab: Lab) -> None:
    night = Night.open(lab, request_for(lab, cycles=9), 0, rules=lambda: ruled(tokens=100))
    for number in (1, 2):
        assert night.next() is not None
        night.finished(summary_of(number).model_copy(update={"tokens": 60, "money": 0.5}))
    assert (night.spent.tokens, night.spent.money, night.spent.trials) == (120, 1.0, 72)
    assert night.next() is None
    assert "120 tokens" in night.ended_because


def test_the_policy_is_read_before_each_cycle_and_names_none(lab: Lab) -> None:
    rules = [ruled(), ruled(trials=5000)]
    night = Night.open(lab, request_for(lab, cycles=2), 0, rules=iter([*rules, ruled()]).__next__)
    found = []
    while (run := night.next()) is not None:
        found.append(run)
        night.finished(summary_of(run.cycle.number))
    assert [run.policy for run in found] == rules
    assert [run.cycle for run in found] == [
        plan_cycle(request_for(lab), number).cycle for number in (1, 2)
    ]


def test_a_policy_that_breaks_leaves_the_night_open(lab: Lab) -> None:
    request = request_for(lab, cycles=3)
    rules = functools.partial(load_policy, lab.policy_path)
    night = Night.open(lab, request, 0, rules=rules)
    assert night.next() is not None
    night.finished(summary_of(1))
    lab.policy_path.write_text("colour = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown setting 'colour'"):
        night.next()
    assert Night.open(lab, request, last_finished=1).first == 1


def test_a_stopped_night_stays_open(lab: Lab) -> None:
    request = request_for(lab, cycles=3)
    night = Night.open(lab, request, last_finished=0)
    assert night.next() is not None
    night.stop("stopped by a file")
    assert night.close(lab).ended_because == "stopped by a file"
    assert Night.open(lab, request, last_finished=0).first == 1


def test_cycles_that_were_begun_come_again_under_the_rules_of_now(lab: Lab) -> None:
    request = request_for(lab, cycles=1)
    begun = [plan_cycle(request, 4, ruled(trials=1))]
    night = Night.again(request, begun, used=0.0, rules=lambda: ruled(trials=2))
    run = night.next()
    assert run is not None
    assert run.cycle == begun[0].cycle
    assert run.policy == ruled(trials=2)
