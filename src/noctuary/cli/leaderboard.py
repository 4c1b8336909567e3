"""`noctuary leaderboard`: who scores what, and how far from the best human baseline."""

from itertools import groupby
from pathlib import Path
from typing import Any

import click

from noctuary.cli.common import (
    console,
    interval,
    json_option,
    lab_option,
    number,
    open_lab,
    print_json,
    say_empty,
    table,
)


@click.command("leaderboard")
@click.option("--suite", metavar="SUITE", help="Only this suite (its full version).")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the best N of each board (default: everybody, the failed ones too).",
)
@lab_option
@json_option
def command(suite: str | None, top: int | None, lab_path: Path | None, as_json: bool) -> None:
    """Rank the candidates of each suite, best first.

    The difference is to the best human baseline, paired by task and seed, with its 95 %
    interval over the seeds. Candidates that lack a task come last, without a rank.
    """
    lab, archive = open_lab(lab_path)
    rows = archive.leaderboard(suite, top=top) if archive.exists() else []
    if as_json:
        print_json(rows)
    elif not rows:
        say_empty(lab, f"trials of suite {suite}" if suite else "trials")
    else:
        for board, members in groupby(rows, key=_board):
            _print_board(board, list(members))


def _board(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["suite"], row["trainer"], row["rung"]


def _print_board(board: tuple[str, str, int], rows: list[dict[str, Any]]) -> None:
    suite, trainer, rung = board
    tasks = sorted({task for row in rows for task in row["tasks"] or {}})
    baseline = next((row["baseline"] for row in rows if row["baseline"]), None)
    columns = [("#", True), ("candidate", False), ("by", False), ("score", True)]
    columns += [("difference", True), ("95 % interval", True)]
    columns += [(task, True) for task in tasks]
    columns += [("seeds", True), ("failed", True), ("parameters", True), ("id", False)]
    shown = table(f"{suite}, {trainer}, rung {rung}", columns)
    for row in rows:
        shown.add_row(
            "-" if row["rank"] is None else str(row["rank"]),
            row["name"] + (" (reference)" if row["reference"] else ""),
            row["kind"],
            number(row["score"]),
            "best human" if row["name"] == baseline else number(row["difference"], sign=True),
            interval(row["low"], row["high"]),
            *(number((row["tasks"] or {}).get(task)) for task in tasks),
            str(row["n_seeds"]),
            str(row["failed"]),
            "-" if row["parameters"] is None else f"{row['parameters']:,}",
            row["candidate_id"][:8],
        )
    console().print(shown)
