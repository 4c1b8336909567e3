"""What the lab keeps of the literature: every answer with its date, and every imported file.

Covers atomic writing, and noticing what was damaged. Does not cover when an answer is too old,
and throws nothing away: the last good answer to a question stays until there is a better one.
"""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from noctuary.canonical import content_id
from noctuary.domain import Value
from noctuary.lab import explaining_disk_errors, write_atomically
from noctuary.literature.identity import Found

ANSWERS = "answers"
IMPORTS = "imports"

Source = Literal["semantic_scholar", "arxiv"]
_FOUND = TypeAdapter(tuple[Found, ...])


class Question(Value):
    """What is asked of a source.

    Attributes:
        kind: `search` for words; the others are about papers, and Semantic Scholar's alone.
        papers: their names, as `identity.name_of` spells them; one but for `batch`.
        limit: papers that the answer holds at most.
    """

    source: Source
    kind: Literal["search", "batch", "citations", "references", "recommendations"]
    words: str = ""
    papers: tuple[str, ...] = ()
    limit: int


class Kept(Value):
    """An answer from the cache, or an imported file.

    Attributes:
        date: when it was fetched or imported, in UTC.
    """

    date: datetime.datetime
    found: tuple[Found, ...]


class Cache:
    """The folder `lab/literature`. Holds a path; what it found damaged is told in `damaged`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: set[str] = set()

    def keep(self, question: Question, found: Sequence[Found], date: datetime.datetime) -> None:
        """Keep the newest answer to a question in the place of the one before."""
        content = {"question": question.model_dump(mode="json"), "found": _dumped(found)}
        self._write(self._answer_path(question), content, date)

    def kept(self, question: Question) -> Kept | None:
        """Return the last good answer; None where there is none, or it is damaged."""
        path = self._answer_path(question)
        return self._read(path) if path.exists() else None

    def keep_import(
        self,
        name: str,
        found: Sequence[Found],
        fields: Sequence[dict[str, Any]],
        date: datetime.datetime,
    ) -> Path:
        """Keep what an imported file says; the same content is kept once.

        Args:
            fields: all that the file says about each paper, also what no `Paper` holds.
        """
        content = {"found": _dumped(found), "fields": list(fields)}
        path = self.folder / IMPORTS / f"{content_id(content)}.json"
        if not path.exists() or self._read(path) is None:
            self._write(path, {"file": name, **content}, date)
        return path

    def answers(self) -> tuple[Kept, ...]:
        """Return all answers, newest first."""
        return self._all(ANSWERS)

    def imports(self) -> tuple[Kept, ...]:
        """Return all imported files, newest first."""
        return self._all(IMPORTS)

    def _all(self, folder: str) -> tuple[Kept, ...]:
        paths = sorted((self.folder / folder).glob("*.json"))
        read = [kept for path in paths if (kept := self._read(path)) is not None]
        return tuple(sorted(read, key=_date, reverse=True))

    def _answer_path(self, question: Question) -> Path:
        name = content_id(question.model_dump(mode="json"))
        return self.folder / ANSWERS / f"{question.source}-{name}.json"

    def _write(self, path: Path, content: dict[str, Any], date: datetime.datetime) -> None:
        body = {"date": date.isoformat(), **content}
        text = json.dumps({**body, "digest": content_id(body)}, ensure_ascii=False, indent=1)
        with explaining_disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text + "\n")

    def _read(self, path: Path) -> Kept | None:
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            if body.pop("digest") != content_id(body):
                raise ValueError("other bytes than were written")
            return Kept(
                date=datetime.datetime.fromisoformat(body["date"]),
                found=_FOUND.validate_python(body["found"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.damaged.add(path.name)  # it counts as never fetched; the note says so
            return None


def _date(kept: Kept) -> datetime.datetime:
    return kept.date


def _dumped(found: Sequence[Found]) -> list[Any]:
    return [one.model_dump(mode="json") for one in found]
