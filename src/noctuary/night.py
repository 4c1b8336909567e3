"""A night: which cycles it has, when it starts another one, and how it goes on after a crash.

Pure planning over small values and one file (`night.json`); running a cycle is for the flows.
A night that was killed stays open. The same request resumes it, so its finished cycles are not
run again; another request opens a new night, behind the last finished cycle.
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
    """Everything that the stages of one cycle need; the parameters of its flow."""

    lab: str
    cycle: Cycle
    settings: Settings
    offline: bool = False
    proposer: Literal["grammar"] = "grammar"


class CycleSummary(Value):
    """What a finished cycle leaves for the night and for the display.

    Attributes:
        trials: training runs that this cycle executed, without those found finished.
        steps: optimiser steps of those.
        seconds: wall seconds from the first stage to the last.
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


class NightSummary(Value):
    """How a night ended."""

    cycles: tuple[CycleSummary, ...]
    failed: tuple[str, ...]
    ended_because: str


def plan_cycle(request: NightRequest, number: int) -> CycleRun:
    """Return the run of one cycle; its id depends on content alone."""
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
    )


class Night:
    """The course of one night.

    Args:
        first: number of its first cycle.
        clock: seconds that only go forward.
        begun: the cycles that an earlier attempt of this night began. They come first, in the
            same order, and no limit keeps them out.
        used: seconds of the budget that are spent already.
    """

    def __init__(
        self,
        request: NightRequest,
        first: int,
        clock: Callable[[], float] = time.monotonic,
        begun: Sequence[CycleRun] = (),
        used: float = 0.0,
    ) -> None:
        self.request = request
        self.first = first
        self.begun = tuple(begun)
        self.summaries: list[CycleSummary] = []
        self.failed: list[str] = []
        self.ended_because = ""
        self._skipped = 0
        self._failed_in_a_row = 0
        self._clock = clock
        self._begin = clock() - used

    @classmethod
    def open(
        cls,
        lab: Lab,
        request: NightRequest,
        last_finished: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Night":
        """Resume the open night of the same request, or open a new one."""
        state = _read_state(lab)
        if state["open"] and state["request"] == _content(request):
            return cls(request, state["first"], clock)
        first = last_finished + 1
        _write_state(lab, {"open": True, "first": first, "request": _content(request)})
        return cls(request, first, clock)

    @classmethod
    def again(
        cls,
        request: NightRequest,
        begun: Sequence[CycleRun],
        used: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Night":
        """Take up a night that failed: the cycles that it began, then what is left of its limits.

        Unlike `open`, this does not depend on which other nights there were meanwhile.
        """
        return cls(request, begun[0].cycle.number, clock, begun, used)

    def next(self) -> CycleRun | None:
        """Return the next cycle, or None where a limit is reached."""
        taken = self._skipped + len(self.summaries) + len(self.failed)
        if taken < len(self.begun):
            return self.begun[taken]
        reason = self._limit(taken)
        if reason:
            self.ended_because = reason
            return None
        return plan_cycle(self.request, self.first + taken)

    def skipped(self) -> None:
        """Pass over a cycle that was finished before."""
        self._skipped += 1

    def finished(self, summary: CycleSummary) -> None:
        self.summaries.append(summary)
        self._failed_in_a_row = 0

    def failed_with(self, cycle_id: str) -> None:
        self.failed.append(cycle_id)
        self._failed_in_a_row += 1

    def close(self, lab: Lab) -> NightSummary:
        """End the night, so that the same command opens a new one.

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
        if state["request"] == _content(self.request):  # else it is that of a later night
            _write_state(lab, {**state, "open": False})
        return NightSummary(
            cycles=tuple(self.summaries), failed=(), ended_because=self.ended_because
        )

    def _limit(self, taken: int) -> str:
        request = self.request
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            return f"{self._failed_in_a_row} cycles failed in a row"
        if request.cycles is not None and taken >= request.cycles:
            return f"{taken} of {request.cycles} cycles are done"
        ran = sum(summary.trials for summary in self.summaries)
        if request.trials is not None and ran >= request.trials:
            return f"{ran} trials are done (limit {request.trials})"
        if request.budget_seconds is not None and taken > self._skipped:
            left = request.budget_seconds - (self._clock() - self._begin)
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
