"""The entries of a BibTeX file, with the places of its mistakes.

Covers what `bibtexparser` reads, `crossref`, and LaTeX in titles, names and abstracts. Does not
cover which fields a paper needs.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from noctuary.literature.identity import one_line


def _split_by_and(text: str) -> list[str]:
    return [part for part in text.split(" and ") if part.strip()]


class Entry(NamedTuple):
    """What a file says about one paper.

    Attributes:
        place: where in the file, for people.
        fields: as written.
        plain: makes reading text of a field.
        names: splits a field of several names into `First Last`, still as written.
    """

    place: str
    fields: Mapping[str, Any]
    plain: Callable[[str], str] = one_line
    names: Callable[[str], list[str]] = _split_by_and


def read_entries(text: str, problems: list[str]) -> Iterator[Entry]:
    """Yield the entries; what cannot be read is added to the problems, with its line."""
    from bibtexparser.entrypoint import parse_string
    from bibtexparser.model import DuplicateBlockKeyBlock, DuplicateFieldKeyBlock

    logging.getLogger("bibtexparser").setLevel(logging.ERROR)  # its warnings are our problems
    library = parse_string(text)
    for block in library.failed_blocks:
        place = f"line {_line(block)}"
        if isinstance(block, DuplicateBlockKeyBlock):
            first = _line(block.previous_block)
            problems.append(f"{place}: the key {block.key} is there already, in line {first}")
        elif isinstance(block, DuplicateFieldKeyBlock):
            twice = ", ".join(sorted(block.duplicate_keys))
            problems.append(f"{place}: the field {twice} is there twice")
        else:
            reason = getattr(block.error, "abort_reason", block.error)
            problems.append(f"{place}: {one_line(str(reason))}")
    strings = {string.key.casefold(): string.value for string in library.strings}
    fields = {
        entry.key: {field.key.casefold(): _value(field, strings) for field in entry.fields}
        for entry in library.entries
    }
    for entry in library.entries:
        own = fields[entry.key]
        parent = fields.get(own.get("crossref", ""), {})
        inherited: dict[str, str] = {
            key: parent[key] for key in ("year", "date", "booktitle") if key in parent
        }
        yield Entry(
            f"line {_line(entry)} ({entry.key})",
            {**inherited, **own, "entry_type": entry.entry_type, "key": entry.key},
            plain,
            names_in,
        )


def plain(text: str) -> str:
    r"""Return LaTeX as text: `{\"U}ber $O(n^2)$` is `Über O(n^2)`."""
    from pylatexenc.latex2text import LatexNodes2Text
    from pylatexenc.latexwalker import LatexWalkerError

    # abstracts are pasted in from web pages: a bare percent sign is no comment
    safe = text.replace(r"\%", "%").replace("%", r"\%")
    try:
        return one_line(LatexNodes2Text(math_mode="text").latex_to_text(safe))
    except (LatexWalkerError, RecursionError):
        return one_line(text.replace("{", "").replace("}", ""))


def names_in(text: str) -> list[str]:
    from bibtexparser.middlewares.names import (
        InvalidNameError,
        parse_single_name_into_parts,
        split_multiple_persons_names,
    )

    names = []
    for name in split_multiple_persons_names(text):
        try:
            names.append(parse_single_name_into_parts(name).merge_first_name_first)
        except InvalidNameError:  # too many commas: a name all the same
            names.append(name)
    return ["and others" if name == "others" else name for name in names]


def _value(field: Any, strings: Mapping[str, str]) -> str:
    """Return the value of a field; `name # " text"` is put together, as BibTeX does."""
    value = str(field.value)
    if field.enclosing != "no-enclosing" or "#" not in value:
        return value
    parts = [part.strip() for part in value.split("#")]
    return "".join(
        part[1:-1] if part[:1] in ('"', "{") else strings.get(part.casefold(), part)
        for part in parts
    )


def _line(block: Any) -> int:
    """Return the line of a block, counted from 1."""
    return int(block.start_line or 0) + 1
