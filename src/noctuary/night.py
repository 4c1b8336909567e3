"""A night: which cycles it has, when it starts another one, and how it goes on after a crash.

Pure planning over small values and one file (`night.json`); running a cycle is for the flows,
and so are the stop file and whom to ask. The rules are read anew before each cycle.
A night that was killed or stopped stays open. The same request resumes it, so its finished cycles
are not run again; another request opens a new night, behind the last finished cycle.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

from noctuary.canonical import content_id
from noctuary.config import Settings
from noctuary.domain import Cycle, Value
from noctuary.errors import CheckFailed
from noctuary.lab import Lab, write_atomically
from noctuary.plan import steps_a_design, suite_of
from noctuary.policy import BudgetPolicy, Policy, Spent, used_up

MAX_FAILED_IN_A_ROW = 2
"""A night ends when so many cycles have failed one after another."""

CYCLE_OVERHEAD_SECONDS = 20.0
"""Allowance for the stages that do not train, when guessing whether a cycle still fits."""


class NightRequest(Value):
    """What was asked for. A night ends when the first of its limits is reached.

    Attributes:
        cycles: cycles of the night; None for no limit.
        budget_seconds: wall seconds of this command; None for no limit. A cycle starts only
            where it is likely to end within it.
        trials: trials of this command; None for no limit.
    """

    lab: str
    settings: Settings
    seed: int = Field(default=0, ge=0)
    cycles: int | None = Field(default=None, ge=1)
    budget_seconds: float | None = Field(default=None, gt=0)
    trials: int | None = Field(default=None, ge=1)
    offline: bool = False
    proposer: Literal["grammar"] = "grammar"


class CycleRun(Value):
    """Everything that the stages of one cycle need; the parameters of its flow.

    Attributes:
        policy: the rules under which it runs; they are no part of what the cycle is.
    """

    lab: str
    cycle: Cycle
    settings: Settings
    offline: bool = False
    proposer: Literal["grammar"] = "grammar"
    policy: Policy = Policy()


class CycleSummary(Value):
    """What a finished cycle leaves for the night and for the display.

    Attributes:
        trials: training runs that this cycle executed, without those found finished.
        steps: optimiser steps of those.
        seconds: wall seconds from the first stage to the last.
        tokens, money: spent on language models; the grammar needs none.
    """

    cycle_id: str
    number: int
    gap_id: str
    designs: tuple[str, ...]
    accepted: int
    trials: int
    steps: int
    seconds: float
    best_design: str | None
    statement: str
    tokens: int = 0
    money: float = 0.0


class NightSummary(Value):
    """How a night ended."""

    cycles: tuple[CycleSummary, ...]
    failed: tuple[str, ...]
    ended_because: str


def plan_cycle(
    request: NightRequest,
    number: int,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> CycleRun:
    """Return the run of one cycle; its id depends on content alone, not on the rules."""
    settings = request.settings
    fingerprint = content_id(
        {
            "settings": settings.settings_id,
            "suite": suite_of(settings.training).version,
            "offline": request.offline,
            "proposer": request.proposer,
        }
    )
    return CycleRun(
        lab=request.lab,
        cycle=Cycle(number=number, seed=request.seed, settings=fingerprint),
        settings=settings,
        offline=request.offline,
        proposer=request.proposer,
        policy=policy,
    )


class Night:
    """The course of one night.

    Args:
        first: number of its first cycle.
        clock: seconds that only go forward.
        begun: the cycles that an earlier attempt of this night began. They come first, in the
            same order, and no limit keeps them out.
        used: seconds of the budget that are spent already.
        rules: reads the policy that holds now.
    """

    def __init__(
        self,
        request: NightRequest,
        first: int,
        clock: Callable[[], float] = time.monotonic,
        begun: Sequence[CycleRun] = (),
        used: float = 0.0,
        rules: Callable[[], Policy] = Policy,
    ) -> None:
        self.request = request
        self.first = first
        self.begun = tuple(begun)
        self.summaries: list[CycleSummary] = []
        self.failed: list[str] = []
        self.ended_because = ""
        self.stopped = False
        self._skipped = 0
        self._failed_in_a_row = 0
        self._rules = rules
        self._clock = clock
        self._begin = clock() - used

    @classmethod
    def open(
        cls,
        lab: Lab,
        request: NightRequest,
        last_finished: int,
        clock: Callable[[], float] = time.monotonic,
        rules: Callable[[], Policy] = Policy,
    ) -> "Night":
        """Resume the open night of the same request, or open a new one."""
        state = _read_state(lab)
        if state["open"] and state["request"] == _content(request):
            return cls(request, state["first"], clock, rules=rules)
        first = last_finished + 1
        _write_state(lab, {"open": True, "first": first, "request": _content(request)})
        return cls(request, first, clock, rules=rules)

    @classmethod
    def again(
        cls,
        request: NightRequest,
        begun: Sequence[CycleRun],
        used: float,
        clock: Callable[[], float] = time.monotonic,
        rules: Callable[[], Policy] = Policy,
    ) -> "Night":
        """Take up a night that failed: the cycles that it began, then what is left of its limits.

        Unlike `open`, this does not depend on which other nights there were meanwhile.
        """
        return cls(request, begun[0].cycle.number, clock, begun, used, rules)

    def next(self) -> CycleRun | None:
        """Return the next cycle, under the policy that holds now; None where a limit is reached.

        Raises:
            UsageError: the policy is broken. Nothing is lost: the same command goes on.
        """
        taken = self._skipped + len(self.summaries) + len(self.failed)
        policy = self._rules()
        if taken < len(self.begun):
            return self.begun[taken].model_copy(update={"policy": policy})
        reason = self._limit(taken, policy.budget)
        if reason:
            self.ended_because = reason
            return None
        return plan_cycle(self.request, self.first + taken, policy)

    @property
    def spent(self) -> Spent:
        """What this night has used so far, without what runs now."""
        return Spent(
            seconds=self._clock() - self._begin,
            trials=sum(summary.trials for summary in self.summaries),
            tokens=sum(summary.tokens for summary in self.summaries),
            money=sum(summary.money for summary in self.summaries),
        )

    def skipped(self) -> None:
        """Pass over a cycle that was finished before."""
        self._skipped += 1

    def finished(self, summary: CycleSummary) -> None:
        self.summaries.append(summary)
        self._failed_in_a_row = 0

    def failed_with(self, cycle_id: str) -> None:
        self.failed.append(cycle_id)
        self._failed_in_a_row += 1

    def stop(self, reason: str) -> None:
        """End before a limit is reached."""
        self.ended_because = reason
        self.stopped = True

    def close(self, lab: Lab) -> NightSummary:
        """End the night, so that the same command opens a new one, or goes on with a stopped one.

        Raises:
            CheckFailed: cycles failed; the night stays open, and the same command takes the
                failed cycles up again.
        """
        if self.failed:
            raise CheckFailed(
                f"cycle {', '.join(self.failed)} failed; see `noctuary show {self.failed[0]}` and "
                f"the log, then run `noctuary rerun {self.failed[0]}`"
            )
        state = _read_state(lab)
        own = state["request"] == _content(self.request)  # else it is that of a later night
        if own and not self.stopped:
            _write_state(lab, {**state, "open": False})
        return NightSummary(
            cycles=tuple(self.summaries), failed=(), ended_because=self.ended_because
        )

    def _limit(self, taken: int, budget: BudgetPolicy) -> str:
        request, spent = self.request, self.spent
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            return f"{self._failed_in_a_row} cycles failed in a row"
        if request.cycles is not None and taken >= request.cycles:
            return f"{taken} of {request.cycles} cycles are done"
        if request.trials is not None and spent.trials >= request.trials:
            return f"{spent.trials} trials are done (limit {request.trials})"
        if reason := used_up(budget, spent):
            return reason
        limits = [limit for limit in (request.budget_seconds, budget.time) if limit is not None]
        if limits and taken > self._skipped:
            left = min(limits) - spent.seconds
            if left < self._likely_seconds():
                return f"{max(0, left):.0f} s are left, too few for another cycle"
        return ""

    def _likely_seconds(self) -> float:
        """Guess how long a cycle takes: that of the last one, scaled to the designs alone."""
        ran = [summary for summary in self.summaries if summary.steps]
        if not ran:
            return CYCLE_OVERHEAD_SECONDS
        last = ran[-1]
        settings = self.request.settings
        expected = settings.search.designs * steps_a_design(settings)
        per_step = max(0.0, last.seconds - CYCLE_OVERHEAD_SECONDS) / last.steps
        return CYCLE_OVERHEAD_SECONDS + per_step * expected


def _content(request: NightRequest) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude={"lab"})


def _read_state(lab: Lab) -> dict[str, Any]:
    path = lab.root / "night.json"
    if not path.exists():
        return {"open": False, "first": 1, "request": None}
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state


def _write_state(lab: Lab, state: dict[str, Any]) -> None:
    write_atomically(lab.root / "night.json", json.dumps(state))
