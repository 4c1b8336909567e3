"""Papers from a file that somebody brings: BibTeX or JSON.

Covers what reference managers write: BibTeX and BibLaTeX with accents in LaTeX, eprint fields,
braced names and `@string`; JSON in our own fields, in Semantic Scholar's, and in CSL (Zotero,
Pandoc). A file is taken whole or refused, with all that is wrong in it on one line. Fields that no
`Paper` holds are handed on as they are. Does not cover notes, keywords or attached files.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from noctuary.domain import Paper
from noctuary.errors import UsageError
from noctuary.literature.bibtex import Entry, read_entries
from noctuary.literature.identity import Found, arxiv_id, name_of, named, one_line

_SHOWN = 5
_YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")


class Imported(NamedTuple):
    """A paper from a file, and all that the file says about it."""

    found: Found
    fields: dict[str, Any]


def read_file(path: Path) -> tuple[Imported, ...]:
    """Return the papers of a file; what begins with a bracket is JSON, all else BibTeX.

    Raises:
        UsageError: the file cannot be read, or something in it is wrong; names the places.
    """
    text = _text_of(path)
    problems: list[str] = []
    reader = _read_json if text.lstrip()[:1] in ("{", "[") else read_entries
    read = []
    for entry in reader(text, problems):
        try:
            read.append(Imported(_found(entry), dict(entry.fields)))
        except ValueError as error:
            problems.append(f"{entry.place}: {error}")
    if not read and not problems:
        problems.append("it holds no paper")
    if problems:
        more = len(problems) - _SHOWN
        shown = "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise UsageError(f"{path}: {shown}; expected BibTeX or JSON: mend it, nothing was imported")
    return tuple(read)


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}: line {line} is not UTF-8; expected a text file: save it as UTF-8"
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}; expected a BibTeX or JSON file"
        ) from error


def _read_json(text: str, problems: list[str]) -> Iterator[Entry]:
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        problems.append(f"not JSON: {error}")
        return
    entries = content.get("papers", [content]) if isinstance(content, dict) else content
    if not isinstance(entries, list):
        problems.append(f'"papers" is a {type(entries).__name__}, expected a list')
        return
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, dict):
            yield Entry(f"paper {number}", entry)
        else:
            problems.append(f"paper {number} is a {type(entry).__name__}, expected an object")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _found(entry: Entry) -> Found:
    """Return the paper that an entry is about.

    Raises:
        ValueError: it has no title or no year.
    """
    fields = {key.casefold(): value for key, value in entry.fields.items()}
    title = entry.plain(_first(fields, "title"))
    if not title:
        raise ValueError("no title")
    year = _year(fields)
    paper = Paper(
        **named(_names(fields), title, year),
        title=title,
        authors=tuple(_authors(fields, entry.names, entry.plain)),
        year=year,
        venue=entry.plain(
            _first(fields, "venue", "journal", "journaltitle", "booktitle", "container-title")
        ),
        account="",
        source="import",
    )
    return Found(paper=paper, abstract=entry.plain(_first(fields, "abstract")))


def _first(fields: Mapping[str, Any], *names: str) -> str:
    """Return the first of the fields that holds text."""
    return next((text for name in names if (text := one_line(fields.get(name)))), "")


def _year(fields: Mapping[str, Any]) -> int:
    issued = fields.get("issued")  # CSL: {"date-parts": [[2024, 5]]}
    parts = issued.get("date-parts") if isinstance(issued, dict) else None
    for value in (fields.get("year"), fields.get("date"), parts):
        if value is not None and (match := _YEAR.search(str(value))):
            return int(match[1])
    seen = fields.get("year", fields.get("date"))
    raise ValueError("no year" if seen is None else f"{seen!r} is no year")


def _names(fields: Mapping[str, Any]) -> list[str]:
    others = fields.get("externalids")  # Semantic Scholar's
    ids = others if isinstance(others, dict) else {}
    more = {key.casefold(): value for key, value in ids.items()}
    names = [
        name_of(_first(fields, "paper_id")),
        name_of(_first(fields, "doi") or _first(more, "doi")),
        name_of("s2:" + _first(fields, "paperid")),
        name_of(f"corpus:{more.get('corpusid', '')}"),
    ]
    archive = _first(fields, "archiveprefix", "eprinttype").casefold()
    eprint = _first(fields, "eprint") if archive in ("", "arxiv") else ""
    written = (
        _first(fields, "arxiv_id", "arxivid") or _first(more, "arxiv") or eprint,
        _first(fields, "url"),
        # how many write it: journal = {arXiv preprint arXiv:2406.06484}
        *re.findall(r"arxiv:\s*([^\s,;]+)", _first(fields, "journal", "note"), re.IGNORECASE),
    )
    known = [f"arxiv:{one}" for text in written if (one := arxiv_id(text))]
    return [name for name in names if name] + known[:1]


def _authors(
    fields: Mapping[str, Any],
    names_in: Callable[[str], list[str]],
    plain: Callable[[str], str],
) -> Iterator[str]:
    written = fields.get("authors", fields.get("author"))
    if isinstance(written, str):
        written = names_in(written)
    for author in written if isinstance(written, list) else []:
        if isinstance(author, dict):  # CSL and Semantic Scholar
            parts = ("given", "non-dropping-particle", "family", "name", "literal")
            name = " ".join(text for part in parts if (text := one_line(author.get(part))))
        else:
            name = one_line(author)
        if name:
            yield plain(name)
