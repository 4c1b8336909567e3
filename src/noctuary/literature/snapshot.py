"""The shipped snapshot: papers and the insights drawn from them, from one JSON file.

Covers reading and checking: every paper and insight is valid, every mechanism exists, every
design is a point of the design space, nothing is there twice. Does not cover where the file lies
or what other sources add to it.

The file says of a design only what is not the plainest choice, as a mixer file does, and of more
than twenty authors the first ten.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from noctuary.domain import Insight, Paper
from noctuary.errors import UsageError
from noctuary.space.genome import Genome
from noctuary.space.mechanisms import AXES

_CURE = "restore the file from the installation, or name another one"
_SHOWN = 5


def read_snapshot(path: Path) -> tuple[tuple[Paper, ...], tuple[Insight, ...]]:
    """Return the papers of a snapshot, ordered by id, and their insights in the same order.

    The file holds `{"papers": [...]}`; each entry has the fields of `Paper`, and `insights`, a
    list with the fields of `Insight` except for the evidence, which is the paper itself. Designs
    come back with all their axes.

    Raises:
        UsageError: the file cannot be read, is not JSON, or holds what is not valid; names the
            first problems and how many more there are.
    """
    entries = _entries(path)
    problems: list[str] = []
    found = [_read_entry(entry, f"paper {n}", problems) for n, entry in enumerate(entries, 1)]
    read = sorted((pair for pair in found if pair), key=lambda pair: pair[0].paper_id)
    papers = tuple(paper for paper, _ in read)
    insights = tuple(insight for _, its_insights in read for insight in its_insights)
    for what, ids in (
        ("paper", [paper.paper_id for paper in papers]),
        ("insight", [insight.insight_id for insight in insights]),
    ):
        problems += [f"{what} {key} is there {n} times" for key, n in Counter(ids).items() if n > 1]
    if problems:
        more = len(problems) - _SHOWN
        text = "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise UsageError(f"{path} is not a valid snapshot: {text}; {_CURE}")
    return papers, insights


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"snapshot {path} cannot be read: {reason}; {_CURE}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"snapshot {path} is not JSON: {error}; {_CURE}") from error
    entries = content.get("papers") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'snapshot {path} holds no list "papers" with entries; {_CURE}')
    return entries


def _read_entry(
    entry: Any, place: str, problems: list[str]
) -> tuple[Paper, tuple[Insight, ...]] | None:
    """Return one paper with its insights, or None after noting what is wrong with it."""
    if not isinstance(entry, dict):
        problems.append(f"{place} is a {type(entry).__name__}, expected an object")
        return None
    fields = dict(entry)
    notes = fields.pop("insights", [])
    place = str(fields.get("paper_id", place))
    try:
        paper = Paper.model_validate(fields)
        if not isinstance(notes, list) or not all(isinstance(note, dict) for note in notes):
            raise ValueError("insights are not a list of objects")
        insights = tuple(
            Insight.model_validate({**note, "evidence": paper.paper_id}) for note in notes
        )
        if paper.axes is not None:
            paper = paper.model_copy(update={"axes": Genome.model_validate(paper.axes).axes})
    except ValidationError as error:
        problems.extend(f"{place}: {problem}" for problem in _in_words(error))
        return None
    except ValueError as error:
        problems.append(f"{place}: {error}")
        return None
    for value in (paper, *insights):
        problems += [f"{place}: unknown mechanism {name!r}" for name in _unknown(value)]
    return paper, insights


def _in_words(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "design"
        yield f"{where}: {item['msg'].removeprefix('Value error, ')}"


def _unknown(value: BaseModel) -> Iterator[str]:
    for name in getattr(value, "mechanisms", ()):
        axis, _, choice = name.partition("=")
        if choice not in AXES.get(axis, {}):
            yield name
