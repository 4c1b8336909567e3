"""The literature of one cycle: the shipped snapshot, and what Semantic Scholar adds to it.

Covers the choice between online and offline, one identity a paper, and a note on what happened.
Does not cover keeping papers between cycles. The network can only add: without it, everything
works on the snapshot.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from noctuary.config import LiteratureSettings
from noctuary.domain import Insight, Paper, Value
from noctuary.literature.semantic_scholar import search
from noctuary.literature.snapshot import read_snapshot

API_KEY = "S2_API_KEY"
"""Environment variable with the key for Semantic Scholar; works without, at a lower rate."""


class Literature(Value):
    """What is known at the start of a cycle.

    Attributes:
        papers: the snapshot's, ordered by id, then the fetched ones, ordered by id.
        insights: the snapshot's; a fetched paper has none.
        note: what happened with the network, on one line.
    """

    papers: tuple[Paper, ...]
    insights: tuple[Insight, ...]
    note: str


def read_literature(
    snapshot_path: Path,
    settings: LiteratureSettings,
    offline: bool,
    *,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Literature:
    """Return the snapshot and, unless offline, what Semantic Scholar finds beyond it.

    Never raises because of the network, and takes no longer for it than `settings.patience`.
    Nothing connects when `offline` is true or the endpoint is empty.

    Raises:
        UsageError: the snapshot cannot be read.
    """
    papers, insights = read_snapshot(snapshot_path)
    shipped = f"shipped snapshot of {len(papers)} papers"
    if offline or not settings.endpoint.strip():
        reason = "offline" if offline else "offline, no endpoint is set"
        return Literature(papers=papers, insights=insights, note=f"{reason}: {shipped}")
    answer = search(
        settings.endpoint,
        settings.query,
        settings.limit,
        settings.patience,
        api_key=environ.get(API_KEY, "").strip() or None,
        clock=clock,
        sleep=sleep,
    )
    if answer.problem:
        return Literature(papers=papers, insights=insights, note=f"{answer.problem}: {shipped}")
    new = without_known(answer.papers, papers)
    note = f"Semantic Scholar: {len(answer.papers)} papers, {len(new)} of them new, beside the "
    return Literature(papers=papers + new, insights=insights, note=note + shipped)


def without_known(fetched: tuple[Paper, ...], known: tuple[Paper, ...]) -> tuple[Paper, ...]:
    """Return the fetched papers that are neither known nor twice, by id or by title."""
    seen = {key for paper in known for key in _identities(paper)}
    new = []
    for paper in fetched:
        keys = _identities(paper)
        if seen.isdisjoint(keys):
            new.append(paper)
        seen.update(keys)
    return tuple(new)


def _identities(paper: Paper) -> set[str]:
    letters = re.sub(r"\W+", "", paper.title).casefold()
    return {paper.paper_id, f"title:{letters}" if letters else paper.paper_id}
