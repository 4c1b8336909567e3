"""What is going on in a lab, put together from its journal: the state behind the display."""

import csv
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noctuary.journal import Journal

STAGES = (
    "fetch literature",
    "synthesise gaps",
    "design candidates",
    "audit",
    "train",
    "promote",
    "analyse",
    "publish",
)


CLAIM_STAGES = ("check", "train", "decide", "promote")
"""Of the verification of a claim."""


@dataclass
class RunningTrial:
    """A trial in a worker; its curve lies in its work folder and grows."""

    candidate: str
    task: str
    seed: int
    folder: Path
    started: float

    def last_point(self) -> tuple[int, float] | None:
        """Return step and loss of the newest point of the curve, if there is one."""
        try:
            with (self.folder / "curve.csv").open(encoding="utf-8", newline="") as handle:
                rows = [row for row in csv.reader(handle) if len(row) == 3]
            return int(rows[-1][0]), float(rows[-1][1])
        except (OSError, ValueError, IndexError):  # not written yet, or moved away meanwhile
            return None


@dataclass
class Progress:
    """Follows the journal of a lab from now on.

    Attributes:
        news: called with each event, after it was taken in.
        durations: seconds of the trials that were run.
        doing: the cycle or the claim that is worked on.
        stages: of what is worked on.
        planned: trials that the cycle, or the claim, has to run.
        notice: what a person should know or mend now; empty where all is well.
        asking: flow run that waits for a person's consent; empty where none does.
    """

    journal: Journal
    news: Callable[[dict[str, Any]], None] = lambda _event: None
    flow_run: str = ""
    doing: str = ""
    stages: tuple[str, ...] = STAGES
    literature: str = ""
    question: str = ""
    active: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    running: dict[str, RunningTrial] = field(default_factory=dict)
    planned: int = 0
    finished: int = 0
    durations: list[float] = field(default_factory=list)
    trained: int = 0
    notice: str = ""
    asking: str = ""
    position: int = 0

    def __post_init__(self) -> None:
        self.position = self.journal.end()
        self.begin = time.monotonic()

    def follow(self) -> None:
        """Take in what happened since the last call."""
        for position, event in self.journal.read(self.position):
            self.position = position
            self._take(event)
            self.news(event)

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "night started":
            self.flow_run = event["flow_run"]
        elif kind == "cycle started":
            self.doing, self.stages = f"cycle {event['number']}", STAGES
            self.flow_run = self.flow_run or event["flow_run"]
            self.literature, self.question = "", ""
            self.planned, self.finished = 0, 0
            self.active, self.done = [], []
        elif kind == "literature read":
            self.literature = event["note"]
        elif kind == "gap named":
            self.question = event["question"]
        elif kind in ("designs made", "promoted"):
            self.planned += event["planned"]
            self.durations.clear()  # those of another rung
        elif kind == "stage started":
            self.active.append(event["stage"])
        elif kind in ("stage finished", "stage failed", "stage stopped"):
            if event["stage"] in self.active:
                self.active.remove(event["stage"])
            self.done.append(event["stage"])
        elif kind == "trial started":
            self.running[event["trial"]] = RunningTrial(
                candidate=event["candidate"],
                task=event["task"],
                seed=event["seed"],
                folder=Path(event["folder"]),
                started=event["time"],
            )
        elif kind == "trial finished":
            self.running.pop(event["trial"], None)
            self.finished += 1
            self.durations.append(event["seconds"])
        elif kind == "candidate trained":
            self.trained += 1
        self._take_claim(event)
        self._take_notice(event)

    def _take_claim(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "claim started":
            self.flow_run = event["flow_run"]
            self.doing, self.stages = f"claim {event['number']}", CLAIM_STAGES
            self.active = ["check"]
        elif kind == "claim checked":
            self.planned, self.finished = event["planned"], 0
            self.done, self.active = ["check"], ["train"]
        elif kind == "claim decided":
            self.done, self.active = ["check", "train", "decide"], ["promote"]

    def _take_notice(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind in ("archive held", "archive free"):
            self.notice = held_notice(event["by"])
        elif kind == "stage finished":
            self.notice = ""
        elif kind == "stage failed":
            self.notice = f"{event['stage']} failed: {event['reason']}"
        elif kind in ("stage stopped", "night ended", "claim stopped"):
            self.notice, self.asking = f"ending: {event['reason']}", ""
        elif kind == "consent asked":
            self.notice, self.asking = asked_notice(event), event["flow_run"]
        elif kind == "consent answered":
            self.notice, self.asking = "", ""

    def seconds_left_on_rung(self, slots: int) -> float | None:
        """Return a guess from the trials so far; None before the first."""
        if not self.durations or not self.planned:
            return None
        mean = sum(self.durations[-20:]) / len(self.durations[-20:])
        return max(0.0, self.planned - self.finished) * mean / slots


def held_notice(holder: str) -> str:
    """Return what to do about the program that holds the archive; empty where none does."""
    if not holder:
        return ""
    return f"waiting for the archive, held by {holder}: close it there, and the night goes on"


def asked_notice(event: dict[str, Any]) -> str:
    """Return what a person is asked, and until when."""
    until = datetime.datetime.fromtimestamp(event["until"])
    return f"waits for consent until {until:%Y-%m-%d %H:%M}: {event['question']}"
