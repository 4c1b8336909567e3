"""The literature of one cycle: the shipped snapshot, what the lab has, and what is new outside.

Covers the choice between online and offline, both services at once, the answers that stand in for
those that do not come, and a note on what happened. The network can only add: without it,
everything works on what is at hand, and says so.
"""

import datetime
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from noctuary.config import LiteratureSettings
from noctuary.domain import Insight, Paper, Value
from noctuary.literature import arxiv, semantic_scholar
from noctuary.literature.abstracts import insights_from_abstract
from noctuary.literature.cache import Cache, Kept, Question, Source
from noctuary.literature.identity import Found, merged, names_of
from noctuary.literature.keywords import mechanisms_in
from noctuary.literature.questions import Interest, questions_of
from noctuary.literature.snapshot import read_snapshot
from noctuary.literature.transport import Unanswered
from noctuary.words import counted

API_KEY = "S2_API_KEY"
"""Environment variable with the key for Semantic Scholar; works without, at a lower rate. It is
read when it is sent, and is neither stored nor handed on to any other process."""

LONGEST_SHELF = 2000
"""Fetched records at hand, the newest first: reading their abstracts takes some 5 ms each, and a
cycle must not grow longer with every night. The archive knows the older papers all the same."""

_SERVICES: dict[Source, str] = {
    "semantic_scholar": semantic_scholar.SERVICE,
    "arxiv": arxiv.SERVICE,
}


class Literature(Value):
    """What is known at the start of a cycle.

    Attributes:
        papers: the snapshot's, ordered by id, then the imported and fetched ones, ordered by id.
        insights: the snapshot's, then what rules find in the abstracts of the others.
        note: what happened with the network, on one line.
    """

    papers: tuple[Paper, ...]
    insights: tuple[Insight, ...]
    note: str


class Answer(NamedTuple):
    """What came of one question.

    Attributes:
        kept: the answer, new or the last good one; None where there never was one.
        asked: the service was asked now.
        problem: why there is no new answer; empty where there is one, or none is needed.
    """

    question: Question
    kept: Kept | None
    asked: bool
    problem: str = ""


class Reading(NamedTuple):
    """What a refresh leaves: all literature, the papers not known before, and the answers."""

    literature: Literature
    new: tuple[Paper, ...]
    answers: tuple[Answer, ...]


class Client(Protocol):
    """A service that answers questions, or raises Unanswered."""

    def answer(self, question: Question) -> tuple[Found, ...]: ...


def read_literature(
    snapshot_path: Path,
    folder: Path,
    settings: LiteratureSettings,
    offline: bool,
    interest: Interest = Interest(),  # noqa: B008 - frozen
    *,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Literature:
    """Return what is at hand and, unless offline, what the services find beyond it.

    Never raises because of the network, and takes no longer for it than `settings.patience`.
    Nothing connects when `offline` is true or the endpoint is empty.

    Args:
        folder: the lab's, with the answers so far and the imported papers.

    Raises:
        UsageError: the snapshot cannot be read.
    """
    cache = Cache(folder)
    if offline or not settings.endpoint.strip():
        reason = "offline" if offline else "offline, no endpoint is set"
        shelf = at_hand(snapshot_path, cache)
        return shelf.literature(f"{reason}: {shelf.described}{_damage(cache)}")
    imported = [found for kept in cache.imports() for found in kept.found]
    questions = questions_of(settings, interest, imported)
    return refreshed(
        snapshot_path, cache, settings, questions, environ=environ, clock=clock, sleep=sleep
    ).literature


def refreshed(
    snapshot_path: Path,
    cache: Cache,
    settings: LiteratureSettings,
    questions: Sequence[Question],
    *,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> Reading:
    """Ask the questions whose answers are not fresh, and return all that is at hand then."""
    before = {
        name
        for found in _told_once(snapshot_path, cache, LONGEST_SHELF)[0]
        for name in _names(found)
    }
    clients: dict[Source, Callable[[], Client]] = {
        "semantic_scholar": lambda: semantic_scholar.SemanticScholar(
            settings.endpoint,
            settings.patience,
            key=environ.get(API_KEY, "").strip() or None,
            clock=clock,
            sleep=sleep,
        ),
        "arxiv": lambda: arxiv.Arxiv(
            settings.arxiv_endpoint, settings.patience, clock=clock, sleep=sleep
        ),
    }

    def ask(source: Source) -> list[Answer]:
        own = [question for question in questions if question.source == source]
        client = clients[source]()
        return [_answered(question, client, cache, settings.fresh, now()) for question in own]

    sources = [source for source in _SERVICES if any(q.source == source for q in questions)]
    with ThreadPoolExecutor(len(_SERVICES)) as pool:
        answers = [answer for some in pool.map(ask, sources) for answer in some]
    shelf = at_hand(snapshot_path, cache)
    new = {found.paper.paper_id for found in shelf.records if before.isdisjoint(_names(found))}
    said = [_told(source, answers, new, shelf) for source in sources]
    note = "; ".join([*said, f"at hand: {shelf.described}"])
    literature = shelf.literature(f"{note}{_damage(cache)}")
    return Reading(
        literature,
        tuple(paper for paper in literature.papers if paper.paper_id in new),
        tuple(answers),
    )


class Shelf(NamedTuple):
    """All papers at hand, each once.

    Attributes:
        records: in the order of `Literature.papers`.
        shipped: insights of the snapshot.
    """

    records: tuple[Found, ...]
    shipped: tuple[Insight, ...]

    @property
    def described(self) -> str:
        """How many papers there are, by where they come from."""
        sources = [found.paper.source for found in self.records]
        snapshot, imported = sources.count("snapshot"), sources.count("import")
        fetched = len(sources) - snapshot - imported
        more = [f"{imported} imported"] * bool(imported) + [f"{fetched} fetched"] * bool(fetched)
        return ", ".join([f"shipped snapshot of {counted(snapshot, 'paper')}", *more])

    def literature(self, note: str) -> Literature:
        insights = list(self.shipped)
        for found in self.records:
            if found.abstract and found.paper.source != "snapshot":
                insights += insights_from_abstract(found.paper, found.abstract)
        return Literature(
            papers=tuple(found.paper for found in self.records),
            insights=tuple({one.insight_id: one for one in insights}.values()),
            note=note,
        )


def at_hand(snapshot_path: Path, cache: Cache, longest: int = LONGEST_SHELF) -> Shelf:
    """Return what is known without asking anybody; each paper's mechanisms are filled in.

    Raises:
        UsageError: the snapshot cannot be read.
    """
    records, insights = _told_once(snapshot_path, cache, longest)
    return Shelf(tuple(sorted(map(_with_mechanisms, records), key=_place)), insights)


def _told_once(
    snapshot_path: Path, cache: Cache, longest: int
) -> tuple[tuple[Found, ...], tuple[Insight, ...]]:
    """Return each paper once: as the snapshot has it, else an import, else the newest answer."""
    papers, insights = read_snapshot(snapshot_path)
    shipped = [Found(paper=paper) for paper in papers]
    imported = [found for kept in cache.imports() for found in kept.found]
    fetched = [found for kept in cache.answers() for found in kept.found]
    return merged([*shipped, *imported, *fetched[:longest]]), insights


def _with_mechanisms(found: Found) -> Found:
    paper = found.paper
    if paper.source == "snapshot":
        return found
    named = mechanisms_in(f"{paper.title}\n{found.abstract}")
    return found.model_copy(update={"paper": paper.model_copy(update={"mechanisms": named})})


def _place(found: Found) -> tuple[bool, str]:
    return found.paper.source != "snapshot", found.paper.paper_id


def _names(found: Found) -> set[str]:
    return names_of(found.paper)


def _answered(
    question: Question, client: Client, cache: Cache, fresh: float, now: datetime.datetime
) -> Answer:
    kept = cache.kept(question)
    if kept and 0 <= (now - kept.date).total_seconds() < fresh:
        return Answer(question, kept, asked=False)
    try:
        found = client.answer(question)
    except Unanswered as error:
        return Answer(question, kept, asked=True, problem=str(error))
    except Exception as error:  # a package that met what it was not made for costs no night
        problem = f"no papers from {_SERVICES[question.source]} ({type(error).__name__})"
        return Answer(question, kept, asked=True, problem=problem)
    if kept and kept.found and not found:  # an index on a bad day; papers do not vanish
        problem = f"{_SERVICES[question.source]} finds nothing where it found papers before"
        return Answer(question, kept, asked=True, problem=problem)
    cache.keep(question, found, now)
    return Answer(question, Kept(date=now, found=found), asked=True)


def _told(source: Source, answers: Sequence[Answer], new: set[str], shelf: Shelf) -> str:
    """Return what became of the questions to one service."""
    own = [answer for answer in answers if answer.question.source == source]
    kept = [answer.kept for answer in own if answer.kept is not None]
    names = {name for one in kept for found in one.found for name in _names(found)}
    papers = [
        found.paper.paper_id for found in shelf.records if not names.isdisjoint(_names(found))
    ]
    since = min((one.date for one in kept), default=None)
    day = f"{since:%Y-%m-%d}" if since else ""
    if problems := list(dict.fromkeys(answer.problem for answer in own if answer.problem)):
        instead = f"; its last answers, since {day}, stand in with {counted(len(papers), 'paper')}"
        return ", ".join(problems) + (instead if kept else "")
    if not any(answer.asked for answer in own):
        return f"{_SERVICES[source]}: {counted(len(papers), 'paper')}, fetched since {day}"
    fresh = len(new.intersection(papers))
    return f"{_SERVICES[source]}: {counted(len(papers), 'paper')}, {fresh or 'none'} of them new"


def _damage(cache: Cache) -> str:
    if not cache.damaged:
        return ""
    return f"; damaged and passed over: {', '.join(sorted(cache.damaged))}"
