"""What `noctuary run` shows in a terminal, as SVG, from what a finished night left in its lab.

The end of the run is printed once more. The live display is drawn as it stood in the middle of
the night's last cycle: from a copy of the lab that knows nothing of what came later. The path of
the lab is written as `data/lab`, where most people have it, and the command as `noctuary`.
"""

import contextlib
import csv
import datetime
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console, RenderableType
from rich.text import Text

from noctuary.cli.display import Display, say_end
from noctuary.config import Settings
from noctuary.errors import CheckFailed
from noctuary.journal import Journal
from noctuary.lab import Lab, read_json
from noctuary.plan import suite_of
from noctuary.sandbox.launcher import usable_cores

COLUMNS = 120
SHOWN_AS = "data/lab"
MOMENT = 0.6
"""How far the last cycle's trials are when the live display is drawn."""


def end_of_run(lab: Lab, summary: dict[str, Any], address: str) -> bytes:
    """Return an SVG of what `noctuary run` prints at its end."""
    out = io.StringIO()
    with _terminal(), contextlib.redirect_stdout(out):
        say_end(lab, _suite_of(lab), summary, address)
    said = out.getvalue().replace(sys.argv[0], "noctuary")
    said = said.replace(f" --lab {lab.root}", "").replace(str(lab.root), SHOWN_AS)
    return _svg("noctuary run", Text.from_ansi(said))


def live_display(lab: Lab, api: str, night: str) -> bytes:
    """Return an SVG of the live display in the middle of a night.

    Args:
        night: id of its flow run.

    Raises:
        CheckFailed: the night ran no trial, so that its display had nothing to show.
    """
    events = _events_of(lab, night)
    moment = _moment(events)
    asked = read_json(lab.root / "night.json")["request"]
    slots = asked["settings"]["training"]["workers"] or usable_cores()
    with tempfile.TemporaryDirectory(prefix="noctuary-pictures-") as folder:
        past = Lab.create_or_open(Path(folder) / "lab")
        display = Display(
            past, api, _suite_of(lab), slots, budget=asked["budget_seconds"], quiet=True
        )
        _restore(lab, past, events, moment)
        display.progress.follow()
        display.progress.begin -= moment - events[0]["time"]
        return _svg("noctuary run", display.picture())


def _suite_of(lab: Lab) -> str:
    """Return the version of the suite that the last night worked on."""
    asked = read_json(lab.root / "night.json")["request"]
    return suite_of(Settings.model_validate(asked["settings"]).training).version


def _events_of(lab: Lab, night: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for _, event in Journal(lab.journal_path).read():
        if event["event"] == "night started":
            if events:
                break
            if event["flow_run"] != night:
                continue
        elif not events:
            continue
        events.append(event)
    return events


def _moment(events: Sequence[dict[str, Any]]) -> float:
    """Return the time in the middle of a trial of the last cycle that ran any."""
    finished: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "cycle started" and any(
            later["event"] == "trial finished" for later in events[events.index(event) :]
        ):
            finished = []
        elif event["event"] == "trial finished":
            finished.append(event)
    if not finished:
        raise CheckFailed("the last night ran no trial: its live display had nothing to show")
    chosen = finished[int(MOMENT * (len(finished) - 1))]
    return float(chosen["time"] - chosen["seconds"] / 2)


def _restore(lab: Lab, past: Lab, events: Sequence[dict[str, Any]], moment: float) -> None:
    """Make `past` what the lab was at a moment, as far as the display looks at it."""
    shutil.copyfile(lab.archive_path, past.archive_path)
    then = datetime.datetime.fromtimestamp(moment, datetime.UTC).replace(tzinfo=None)
    with duckdb.connect(str(past.archive_path)) as archive:
        archive.execute("DELETE FROM trials WHERE recorded_at > ?", [then])
    journal = Journal(past.journal_path)
    for event in events:
        if event["time"] > moment:
            break
        facts = dict(event)
        if event["event"] == "trial started":
            facts["folder"] = str(past.work / event["trial"])
            _cut_curve(lab.trials, past.work, event["trial"], moment - event["time"])
        journal.write(facts.pop("event"), **facts)


def _cut_curve(trials: Path, work: Path, trial: str, seconds: float) -> None:
    with (trials / trial / "curve.csv").open(encoding="utf-8", newline="") as handle:
        head, *rows = csv.reader(handle)
    (work / trial).mkdir()
    with (work / trial / "curve.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([head, *(row for row in rows if float(row[2]) <= seconds)])


@contextlib.contextmanager
def _terminal() -> Iterator[None]:
    """Let rich believe that it prints to a terminal of our width."""
    before = dict(os.environ)
    os.environ |= {
        "FORCE_COLOR": "1",
        "COLUMNS": str(COLUMNS),
        "LINES": "50",
        "TERM": "xterm-256color",
    }
    os.environ.pop("NO_COLOR", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _svg(title: str, content: RenderableType) -> bytes:
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
    )
    console.print(content)
    svg = console.export_svg(title=title, unique_id="noctuary")
    # rich would have the reader's browser fetch the font from a host of its own
    return re.sub(r"@font-face\s*{[^}]*}", "", svg).encode("utf-8")
