"""`noctuary lineage`: why a design exists, what it descends from, and what came of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import (
    console,
    find_record,
    interval,
    json_option,
    lab_option,
    number,
    open_lab,
    print_json,
)
from noctuary.errors import UsageError

if TYPE_CHECKING:
    from rich.tree import Tree

MOST = 50
"""Ancestors, and children, that are listed unless told otherwise."""

Row = Mapping[str, Any]


@click.command("lineage")
@click.argument("record", metavar="ID")
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=MOST,
    metavar="N",
    help=f"List so many ancestors and children, the newest (default: {MOST}).",
)
@lab_option
@json_option
def command(record: str, most: int, lab_path: Path | None, as_json: bool) -> None:
    """Show the question, findings, insights and papers behind a design, and its family.

    ID is a design's id, the beginning of it, or its name. Ancestors and children are listed with
    the move that made them and how they did.
    """
    _, archive = open_lab(lab_path)
    kind, identity = find_record(archive, record)
    if kind != "candidate":
        raise UsageError(
            f"{record!r} is a {kind}; expected a design or a human candidate: "
            f"`noctuary show {identity}` shows it"
        )
    found = archive.lineage(identity, most)
    if as_json:
        print_json(found)
    else:
        console().print(_tree(found), soft_wrap=True)


def _tree(found: Row) -> "Tree":
    """Return the tree: a branch a topic, and in it a line a record, however deep the descent.

    Ancestors in nested branches would run off the screen after a dozen generations, and the same
    ancestor would be there many times; so each is a line that names its own parents.
    """
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(_line(found, {})))
    names = {row["candidate_id"]: row["name"] for row in [found, *found["ancestors"]]}
    for title, lines in _branches(found, names):
        branch = root.add(Text(title))
        for line in lines:
            branch.add(Text(line))
    return root


def _branches(found: Row, names: Mapping[str, str]) -> Iterator[tuple[str, Sequence[str]]]:
    gap = found["gap"]
    if gap is not None:
        outcome = gap["outcome"]
        said = outcome["statement"] if outcome else "not answered yet"
        yield f"gap {gap['gap_id']}  {gap['question']}", [f"outcome: {said}"]
        for side in ("for", "against"):
            if gap[f"evidence_{side}"]:
                yield f"evidence {side}", [_insight(one) for one in gap[f"evidence_{side}"]]
    elif found["gap_id"]:
        yield f"gap {found['gap_id']}  not in the archive", []
    if found["findings"]:
        yield (
            "findings that led to it",
            [f"{f['finding_id']}  cycle {f['cycle']}: {f['statement']}" for f in found["findings"]],
        )
    if found["ablations"]:
        yield (
            "what its parts contribute",
            [
                f"{f['finding_id']}  cycle {f['cycle']}: {f['statement']}"
                for f in found["ablations"]
            ],
        )
    if found["ancestors"]:
        yield (
            _title("ancestors", found["ancestors"], found["ancestor_count"]),
            [_line(row, names) for row in found["ancestors"]],
        )
    if found["children"]:
        yield (
            _title("children", found["children"], found["child_count"]),
            [_line(row, names) for row in found["children"]],
        )


def _title(what: str, listed: Sequence[Row], of_all: int) -> str:
    if of_all > len(listed):
        return f"{what}, the newest {len(listed)} of {of_all:,} (--most lists more)"
    return f"{what}, {of_all}"


def _line(row: Row, names: Mapping[str, str]) -> str:
    """Return a candidate in one line: when, what, by which move, how good, of whom.

    Args:
        names: of the candidates that are listed; others are called by their ids.
    """
    words = [f"cycle {row['cycle']}" if row["cycle"] is not None else row["kind"]]
    words.append(f"{row['name']} ({row['candidate_id'][:8]})")
    if row["move"]:
        words.append(f"{row['move']}: {row['operator']}")
    words.append(_standing(row["standing"]))
    if row["parents"]:
        words.append("from " + " and ".join(names.get(one, one[:8]) for one in row["parents"]))
    return "  ".join(words)


def _standing(standing: Row | None) -> str:
    if standing is None:
        return "not trained"
    if standing["score"] is None:
        return f"rung {standing['rung']}: no complete score"
    said = f"rung {standing['rung']}: {number(standing['score'])}"
    if standing["difference"] is not None:
        bounds = interval(standing["low"], standing["high"])
        said += (
            f", {number(standing['difference'], sign=True)} to {standing['baseline']} ({bounds})"
        )
    return said


def _insight(insight: Row) -> str:
    paper = insight["paper"]
    source = insight["evidence"]
    if paper is not None:
        link = f", arXiv {paper['arxiv_id']}" if paper["arxiv_id"] else ""
        source = f"{paper['title']}, {paper['year']}{link}"
    return f"{insight['insight_id']}  {insight['statement']} [{source}]"
