"""`noctuary literature`: fetches papers now, searches those at hand, takes in a file of them.

What it keeps lies in the lab's folder `literature`; the next cycle reads it there, and records it
in the archive.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noctuary.cli.common import console, json_option, lab_option, print_json, table
from noctuary.errors import EnvironmentRefused, UsageError

if TYPE_CHECKING:
    from noctuary.domain import Paper
    from noctuary.literature.fetch import Reading

SHOWN = 20
"""Papers that a table shows."""


@click.group("literature")
def command() -> None:
    """Fetch, search or import papers."""


@command.command("refresh")
@click.option(
    "--around",
    metavar="PAPER",
    help="Ask about this paper instead: who cites it, whom it cites, and its likes. An arXiv id, "
    "a DOI, or an id of Semantic Scholar.",
)
@lab_option
@json_option
def refresh(around: str | None, lab_path: Path | None, as_json: bool) -> None:
    """Ask Semantic Scholar and arXiv now, and say what is new.

    What was asked within the last day (`literature.fresh`) is not asked again.
    """
    from noctuary.config import load_settings
    from noctuary.lab import Lab, shipped
    from noctuary.literature.cache import Cache
    from noctuary.literature.fetch import refreshed
    from noctuary.literature.questions import Interest, questions_around, questions_of

    lab = Lab.create_or_open(lab_path)
    settings = load_settings(lab.settings_path).literature
    if not settings.endpoint.strip():
        raise UsageError(
            f"literature.endpoint is empty in {lab.settings_path}, which keeps noctuary offline: "
            "set it to the address of a service"
        )
    cache = Cache(lab.literature)
    if around is None:
        imported = [found for kept in cache.imports() for found in kept.found]
        questions = questions_of(settings, Interest(), imported)
    else:
        questions = questions_around(_name(around), settings)
    snapshot = shipped("data/snapshot") / "papers.json"
    reading = refreshed(snapshot, cache, settings, questions)
    if as_json:
        print_json(_facts(reading))
    else:
        click.echo(reading.literature.note)
        _print_papers(f"{len(reading.new)} new papers", reading.new)
    if all(answer.problem for answer in reading.answers):
        raise EnvironmentRefused(
            "no service answered; expected one of them to: look at the network and at "
            f"[literature] in {lab.settings_path}, or go on with what is at hand"
        )


@command.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True)
@lab_option
@json_option
def search(words: Sequence[str], limit: int, lab_path: Path | None, as_json: bool) -> None:
    """Find the papers at hand that hold all WORDS, best first; asks no network.

    Looks at titles, authors, our accounts, and the abstracts of fetched and imported papers.
    """
    from noctuary.lab import Lab, default_lab, shipped
    from noctuary.literature.cache import Cache
    from noctuary.literature.fetch import at_hand
    from noctuary.literature.searching import best_matches

    # without a lab the shipped papers are there all the same, but a lab that was named must be
    lab = Lab(default_lab()) if lab_path is None else Lab.open(lab_path)
    shelf = at_hand(shipped("data/snapshot") / "papers.json", Cache(lab.literature))
    papers = [found.paper for found in best_matches(shelf.records, " ".join(words))[:limit]]
    if as_json:
        print_json([paper.model_dump(mode="json") for paper in papers])
    elif papers:
        _print_papers(f"{len(papers)} papers", papers)
    else:
        click.echo(f"No paper holds all of these words (at hand: {shelf.described}).")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@lab_option
@json_option
def import_file(file: Path, lab_path: Path | None, as_json: bool) -> None:
    """Take in the papers of a BibTeX or JSON FILE; the next cycle reads them.

    The file is taken whole or refused. Importing it again changes nothing.
    """
    from noctuary.lab import Lab, shipped
    from noctuary.literature.cache import Cache
    from noctuary.literature.fetch import at_hand
    from noctuary.literature.identity import merged
    from noctuary.literature.importing import read_file

    read = read_file(file)
    lab = Lab.create_or_open(lab_path)
    cache, snapshot = Cache(lab.literature), shipped("data/snapshot") / "papers.json"
    before = at_hand(snapshot, cache).records
    found = [one.found for one in read]
    known = len(merged([*before, *found])) - len(before)
    path = cache.keep_import(
        file.name, found, [one.fields for one in read], datetime.datetime.now(datetime.UTC)
    )
    papers = [one.found.paper for one in read]
    if as_json:
        print_json({"papers": [_row(paper) for paper in papers], "new": known, "kept": path})
    else:
        _print_papers(f"{len(papers)} papers in {file}, {known} of them new", papers)


def _name(text: str) -> str:
    from noctuary.literature.identity import name_of

    name = name_of(text)
    if name is None:
        raise UsageError(
            f"{text!r} is no name of a paper; expected an arXiv id (2406.06484), a DOI, or an id "
            "of Semantic Scholar: `noctuary literature search` shows some"
        )
    return name


def _facts(reading: "Reading") -> dict[str, Any]:
    return {
        "note": reading.literature.note,
        "papers": len(reading.literature.papers),
        "new": [_row(paper) for paper in reading.new],
        "questions": [
            {
                **answer.question.model_dump(mode="json"),
                "asked": answer.asked,
                "problem": answer.problem,
                "date": answer.kept.date if answer.kept else None,
                "found": len(answer.kept.found) if answer.kept else 0,
            }
            for answer in reading.answers
        ],
    }


def _row(paper: "Paper") -> dict[str, Any]:
    return paper.model_dump(mode="json")


def _print_papers(title: str, papers: Sequence["Paper"]) -> None:
    shown = table(title, [("paper", False), ("year", True), ("title", False), ("by", False)])
    for paper in papers[:SHOWN]:
        writers = ", ".join(paper.authors[:3]) + (" and others" if len(paper.authors) > 3 else "")
        shown.add_row(paper.paper_id, str(paper.year), paper.title, writers)
    console().print(shown)
    if len(papers) > SHOWN:
        click.echo(f"and {len(papers) - SHOWN} more: --json shows them all")
