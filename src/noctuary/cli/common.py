"""What the commands that look into the archive share: options, output, finding a record.

Covers `--lab`, `--json`, tables and the lookup of an id. Does not know what any command shows.
"""

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from noctuary.errors import NotFound

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from noctuary.archive import Archive
    from noctuary.lab import Lab

F = TypeVar("F", bound=Callable[..., Any])

PIPE_WIDTH = 200
"""Columns of a table that is not printed to a terminal."""


def lab_option(function: F) -> F:
    """Add `--lab DIR`; the default is `NOCTUARY_LAB`, then the lab of the checkout or the user."""
    return click.option(
        "--lab",
        "lab_path",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="The lab to look into (default: NOCTUARY_LAB, else data/lab).",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`, which prints JSON and nothing else on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(
        function
    )


def open_lab(path: Path | None) -> tuple["Lab", "Archive"]:
    """Return the lab and its archive.

    Raises:
        NotALab, LabTooNew: there is no lab that we can read.
    """
    from noctuary.archive import Archive
    from noctuary.lab import Lab

    lab = Lab.open(path)
    return lab, Archive(lab.archive_path)


def print_json(value: Any) -> None:
    """Print valid JSON; numbers that it cannot say (a diverged loss) are null."""
    from noctuary.archive.rows import finite

    click.echo(
        json.dumps(finite(value), indent=2, default=_plain, ensure_ascii=False, allow_nan=False)
    )


def say_empty(lab: "Lab", what: str) -> None:
    """Print the one line that helps where a lab has nothing to show yet."""
    click.echo(f"No {what} in {lab.root} yet: `noctuary run` makes some.")


def console() -> "Console":
    """Return a console on stdout that takes text as it is, brackets and all."""
    from rich.console import Console

    found = Console(markup=False, highlight=False, emoji=False)
    return (
        found
        if found.is_terminal
        else Console(markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)
    )


def table(title: str, columns: Sequence[tuple[str, bool]]) -> "Table":
    """Return an empty table; each column is its head, and whether it holds numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for head, number in columns:
        made.add_column(head, justify="right" if number else "left")
    return made


def find_record(archive: "Archive", text: str) -> tuple[str, str]:
    """Return kind and id of the one record that an id, a prefix or a candidate's name means.

    Raises:
        NotFound: none, or several.
    """
    wanted = text.removeprefix("finding:")
    hits = archive.query("find", text=wanted) if archive.exists() and wanted else []
    exact = [hit for hit in hits if hit["exact"]]
    chosen = exact or hits
    if not chosen:
        raise NotFound(
            f"{text!r} is no record of {archive.path}; expected an id, the beginning of one, or "
            "a candidate's name: `noctuary leaderboard` and `noctuary gaps` list some"
        )
    if len(chosen) > 1:
        shown = ", ".join(f"{hit['kind']} {hit['id']}" for hit in chosen[:6])
        more = f" and {len(chosen) - 6} more" if len(chosen) > 6 else ""
        raise NotFound(f"{text!r} could be {shown}{more}; type more of the id")
    return chosen[0]["kind"], chosen[0]["id"]


def printable(text: str) -> str:
    """Return what somebody else may have written without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Return a number for a table; a dash for None."""
    if value is None:
        return "-"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="seconds") + "Z"
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be said in JSON")
