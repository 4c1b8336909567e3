"""The live display of `noctuary run`, `rerun` and `verify`, and what the first says at the end.

On a terminal it is drawn anew twice a second; elsewhere each event becomes a line. It reads the
journal and the archive, and decides nothing.
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from noctuary.archive import Archive
from noctuary.cli.common import console, interval, number, table
from noctuary.cli.progress import Progress, asked_notice, held_notice
from noctuary.errors import NoctuaryError
from noctuary.journal import Journal
from noctuary.lab import Lab, default_lab
from noctuary.words import counted

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

TOP = 6
"""Rows of the scoreboard while the night runs."""

TOP_AT_THE_END = 20
"""Rows of the leaderboard at its end; human mixers are shown however far below they are."""


class Display:
    """Shows a night while a condition holds.

    Args:
        api: address of the Prefect API; the UI is beside it.
        suite: the version of the suite that the night works on.
        slots: trials at once.
        budget: seconds that are planned for, if any.
        quiet: show nothing, as with `--json`.
    """

    def __init__(
        self,
        lab: Lab,
        api: str,
        suite: str,
        slots: int,
        *,
        budget: float | None = None,
        quiet: bool = False,
    ) -> None:
        self.lab = lab
        self.suite = suite
        self.slots = slots
        self.budget = budget
        self.ui = api.removesuffix("/api")
        self.quiet = quiet
        self.archive = Archive(lab.archive_path, patience=2.0)
        self.board: list[dict[str, Any]] = []
        self.console = console()
        self.progress = Progress(Journal(lab.journal_path), self._heard)

    @property
    def run_address(self) -> str:
        return f"{self.ui}/runs/flow-run/{self.progress.flow_run}"

    def show_while(self, running: Callable[[], bool]) -> None:
        """Follow the night until the condition ends; on a terminal, leave nothing behind."""
        if self.quiet or not self.console.is_terminal:
            while running():
                self.progress.follow()
                time.sleep(0.2)
            self.progress.follow()
            return
        from rich.live import Live

        with Live(self.picture(), console=self.console, auto_refresh=False, transient=True) as live:
            while running():
                self.progress.follow()
                live.update(self.picture(), refresh=True)
                time.sleep(0.5)
        self.progress.follow()

    def _heard(self, event: dict[str, Any]) -> None:
        if event["event"] in ("candidate trained", "night started"):
            self._look_at_board()
        if not self.quiet and not self.console.is_terminal:
            line = self._line(event)
            if line:
                self.console.print(f"{_clock(time.monotonic() - self.progress.begin)}  {line}")

    def _look_at_board(self) -> None:
        try:
            if self.archive.exists():
                self.board = self.archive.leaderboard(self.suite)
        except NoctuaryError:  # the night writes at this moment; the next look will do
            return

    def _line(self, event: dict[str, Any]) -> str:
        kind = event["event"]
        if kind == "night started":
            return f"night {self.run_address}"
        if kind == "cycle started":
            line = f"cycle {event['number']} ({event['cycle']})"
            alone = event["flow_run"] == self.progress.flow_run
            return f"{line} {self.run_address}" if alone else line
        if kind == "literature read":
            return f"literature: {event['note']}"
        if kind == "gap named":
            return f"gap: {event['question']}"
        if kind == "designs made":
            return f"designs: {', '.join(event['designs'])}. {event.get('notice', '')}".rstrip(". ")
        if kind == "stage failed":
            return f"{event['stage']} failed: {event['reason']}"
        if kind == "archive held":
            return held_notice(event["by"])
        if kind == "promoted":
            return f"on to rung {event['rung']}: {', '.join(event['designs']) or 'no design'}"
        if kind == "candidate trained":
            return f"{event['candidate']}: {_result(event)}{self._standing()}"
        if kind == "cycle finished":
            return f"cycle {event['number']} is done"
        return self._line_of_rules(event)

    def _line_of_rules(self, event: dict[str, Any]) -> str:
        kind = event["event"]
        if kind == "policy changed":
            return f"policy {event['new']} in place of {event['old']}"
        if kind == "consent asked":
            return f"{asked_notice(event)} {self._where_to_answer()}"
        if kind == "consent answered":
            said = "approved" if event["approved"] else "refused"
            return f"{event['before']} {said}: {event['note'] or 'without a note'}"
        if kind == "cycle stopped":
            return f"cycle {event['number']} is not done: {event['reason']}"
        return self._line_of_claim(event)

    def _line_of_claim(self, event: dict[str, Any]) -> str:
        kind = event["event"]
        if kind == "claim started":
            return f"claim {event['number']} ({event['claim']}): {event['name']} {self.run_address}"
        if kind == "claim checked":
            return f"all is as registered; {counted(event['planned'], 'trial')} to run"
        if kind == "trials recorded":
            left = self.progress.seconds_left_on_rung(self.slots)
            ending = f", about {_clock(left)} left" if left else ""
            return (
                f"{event['name']} at {event['scale']}: {event['seeds']} of {event['of']} seeds; "
                f"trial {self.progress.finished} of {self.progress.planned}{ending}"
            )
        if kind == "entrant trained" and event["reason"]:
            return f"{event['name']} at {event['scale']} ends here: {event['reason']}"
        if kind == "claim decided":
            return f"{event['status']}: {event['reason']}"
        if kind == "design promoted":
            return f"promoted to {event['path']}"
        if kind == "claim stopped":
            return f"the claim is not decided: {event['reason']}"
        return ""

    def _where_to_answer(self) -> str:
        return f"approve or refuse with Resume at {self.ui}/runs/flow-run/{self.progress.asking}"

    def _standing(self) -> str:
        """Say how the best design stands beside the best human, on the last rung that has both."""
        for rung in sorted({row["rung"] for row in self.board}, reverse=True):
            human, design = self._best("human", rung), self._best("design", rung)
            if human is not None and design is not None:
                return (
                    f"  (rung {rung}: best design {design['score']:.4f}, best human "
                    f"{human['score']:.4f} {human['name']})"
                )
        return ""

    def _best(self, kind: str, rung: int) -> dict[str, Any] | None:
        for row in self.board:
            ranked = row["rank"] is not None and not row["reference"]
            if row["kind"] == kind and row["rung"] == rung and ranked:
                return row
        return None

    def picture(self) -> "Group":
        """Return what the display shows now."""
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = [Text(self._headline()), Text(self._stages())]
        if self.progress.literature:
            parts.append(Text(f"literature: {self.progress.literature}"))
        if self.progress.question:
            parts.append(Text(self.progress.question, style="italic"))
        if self.progress.notice:
            parts.append(Text(self.progress.notice, style="bold yellow"))
        if self.progress.asking:
            parts.append(Text(self._where_to_answer(), style="bold yellow"))
        if self.progress.running:
            parts.append(self._trials())
        if self.board:
            parts.append(board_table(self.board[:TOP], "best so far"))
        return Group(*parts)

    def _headline(self) -> str:
        used = time.monotonic() - self.progress.begin
        clock = _clock(used) + (f" of {_clock(self.budget)}" if self.budget else "")
        if not self.progress.flow_run:
            return f"noctuary  {clock}  starting the Prefect server and the workers"
        left = self.progress.seconds_left_on_rung(self.slots)
        ending = f", about {_clock(left)} left on this rung" if left is not None else ""
        return (
            f"noctuary  {self.progress.doing}  {clock}{ending}  "
            f"trial {self.progress.finished} of {self.progress.planned}\n{self.run_address}"
        )

    def _stages(self) -> str:
        def mark(stage: str) -> str:
            if stage in self.progress.active:
                return f"> {stage}"
            return f"+ {stage}" if stage in self.progress.done else f"  {stage}"

        return "  ".join(mark(stage) for stage in self.progress.stages)

    def _trials(self) -> "RenderableType":
        made = table(
            "training",
            [("mixer", False), ("task", False), ("seed", True), ("step", True), ("loss", True)],
        )
        for trial in list(self.progress.running.values()):
            step, loss = trial.last_point() or (0, None)
            made.add_row(trial.candidate, trial.task, str(trial.seed), str(step), number(loss))
        return made


def say_end(lab: Lab, suite: str, summary: dict[str, Any], address: str) -> None:
    """Print the leaderboard of the suite, the findings in words, and what to type next."""
    out = console()
    archive = Archive(lab.archive_path)
    out.print()
    standings = archive.leaderboard(suite)
    highest = max((row["rung"] for row in standings), default=0)
    board = [row for row in standings if row["rung"] == highest]
    shown = [row for n, row in enumerate(board) if n < TOP_AT_THE_END or row["kind"] == "human"]
    if shown:
        out.print(board_table(shown, f"leaderboard of {lab.root}"))
    if hidden := len(board) - len(shown):
        out.print(f"{counted(hidden, 'design')} more, further down: noctuary leaderboard\n")
    for cycle in summary["cycles"]:
        out.print(f"cycle {cycle['number']}: {cycle['statement']}")
    tried = len({row["candidate_id"] for row in standings if row["kind"] == "design"})
    if tried:
        designs_tried = counted(tried, "design")
        out.print(f"Leads, not discoveries: no interval is corrected for {designs_tried} tried.")
    cycles, designs = summary["cycles"], sum(len(c["designs"]) for c in summary["cycles"])
    out.print(
        f"\n{counted(len(cycles), 'cycle')}, {counted(designs, 'new design')}; ended because "
        f"{summary['ended_because']}."
    )
    noctuary = "noctuary" if shutil.which("noctuary") else sys.argv[0]
    named = "" if lab.root == default_lab().resolve() else f" --lab {lab.root}"
    best = next((c["best_design"] for c in reversed(cycles) if c["best_design"]), None)
    if best:
        out.print(f"where the last cycle's best came from:  {noctuary} lineage {best}{named}")
    out.print(f"the run in the Prefect UI:              {noctuary} serve{named}, then {address}")
    out.print(f"the accounts of the cycles:             {lab.reports}")


def board_table(rows: Sequence[dict[str, Any]], title: str) -> "RenderableType":
    """Return the leaderboard as a table for a terminal."""
    made = table(
        title,
        [
            ("rung", True),
            ("#", True),
            ("mixer", False),
            ("kind", False),
            ("score", True),
            ("to best human", True),
            ("95 % interval", True),
            ("seeds", True),
        ],
    )
    for row in rows:
        made.add_row(
            str(row["rung"]),
            str(row["rank"] or "-"),
            row["name"],
            "reference" if row["reference"] else row["kind"],
            number(row["score"], 4),
            number(row["difference"], 4, sign=True),
            interval(row["low"], row["high"]),
            str(row["n_seeds"]),
        )
    return made


def _result(event: dict[str, Any]) -> str:
    if event["score"] is not None:
        return f"score {event['score']:.4f} on rung {event['rung']}"
    return f"no score ({event['reason']})"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
