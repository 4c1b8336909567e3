"""Canonical bytes and hashes: the one place that decides when two things are the same.

Covers JSON values (sorted keys, no spaces, UTF-8, no NaN) and Python source (docstrings,
comments, blank lines and trailing spaces do not count). Does not cover Python that reads its
own comments or line numbers, which may behave differently under one id. Does not sign anything.
"""

import ast
import hashlib
import io
import json
import re
import threading
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

ID_LENGTH = 16
"""Hexadecimal digits of an id: 64 bits, enough for a lab's lifetime of trials."""

MAX_BYTES = 100_000
"""The longest Python file that is parsed. Up to here no text keeps the parser busy for a second:
of 48,000 made to do so (nested, unclosed and repeated constructs of every kind; Python 3.11) the
worst took 0.6 s and 120 MB, and none ended the process. A stack of 1 MB is enough for all."""

_LITERAL = "\0"
"""Stands for a string literal while lines are compared; no Python source can contain it."""

_CODING = re.compile(r"#.*?coding[:=][ \t]*(?!utf-?8\b)[-\w.]", re.IGNORECASE)
"""A comment that changes what the bytes of the file mean (PEP 263)."""


def canonical_json(value: Any) -> bytes:
    """Return the one byte string that stands for a JSON value.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON cannot say, or a key that is
            not a string, which JSON would turn into one.
    """
    _refuse_other_keys(value)
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def content_id(value: Any) -> str:
    """Return the id of a JSON value: the head of the SHA-256 of its canonical bytes."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:ID_LENGTH]


def source_id(source: str) -> str:
    """Return the id of a Python file: equal for files that differ in comments or prose only.

    Raises:
        SyntaxError: the text is not Python.
    """
    return hashlib.sha256(canonical_source(source).encode("utf-8")).hexdigest()[:ID_LENGTH]


_parsing = threading.Lock()


def parsed(source: str) -> ast.Module:
    """Return the syntax tree of a source, one thread at a time.

    Python 3.11 counts the depth of a tree for the whole process, and two threads that parse at
    once can make it raise SystemError (CPython issue 106905).

    Raises:
        SyntaxError: the text is not Python, or longer than MAX_BYTES.
        ValueError, RecursionError, MemoryError: as `ast.parse` does.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise SyntaxError(f"the text has {size} bytes; at most {MAX_BYTES} are read")
    with _parsing:
        return ast.parse(source)


def canonical_source(source: str) -> str:
    """Return the source without docstrings, comments, blank lines and trailing spaces.

    The remaining characters stay as they are (nothing is parsed and printed again), so that the
    result does not depend on the version of Python. String literals are kept to the last space,
    and so are docstrings where the code mentions `__doc__`.

    Raises:
        SyntaxError: the text is not Python, or nested deeper than Python parses.
    """
    text = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = parsed(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise SyntaxError(f"the text is not Python: {error}") from error
    skeleton, literals, end = [], [], 0
    for start, stop, keep in sorted(_spans(text, tree, tokens)):
        if start < end:
            continue  # a literal within a docstring, or a comment between its parts
        skeleton.append(text[end:start])
        if keep:
            skeleton.append(_LITERAL)
            literals.append(text[start:stop])
        end = stop
    lines = _without_blanks("".join([*skeleton, text[end:]]))
    between = "\n".join(lines).split(_LITERAL)
    return between[0] + "".join(a + b for a, b in zip(literals, between[1:], strict=True)) + "\n"


def _without_blanks(text: str) -> Iterator[str]:
    continued = False
    for line in map(str.rstrip, text.split("\n")):
        if line or continued:  # a blank line after a backslash ends the statement
            yield line
        continued = line.endswith("\\")


def _spans(
    text: str, tree: ast.Module, tokens: list[tokenize.TokenInfo]
) -> Iterator[tuple[int, int, bool]]:
    """Yield start, stop and whether to keep it, of docstrings, comments and string literals."""
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    if not any(token.string == "__doc__" for token in tokens):
        for node in _docstrings(tree):
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            yield (
                starts[first] + _characters(lines[first], node.col_offset),
                starts[last] + _characters(lines[last], node.end_col_offset or 0),
                False,
            )
    opened: list[int] = []  # where f-strings begin: one token up to Python 3.11, many since
    for token in tokens:
        start = starts[token.start[0] - 1] + token.start[1]
        stop = starts[token.end[0] - 1] + token.end[1]
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):
            opened.append(start)
        elif kind.endswith("STRING_END"):
            start = opened.pop()
            if not opened:
                yield start, stop, True
        elif kind == "STRING" and not opened:
            yield start, stop, True
        elif kind == "COMMENT" and not opened:
            yield start, stop, token.start[0] <= 2 and bool(_CODING.match(token.string))


def _docstrings(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and isinstance(ast.get_docstring(node, clean=False), str):
            yield node.body[0]


def _characters(line: str, utf8_bytes: int) -> int:
    """Return the column in characters; syntax trees count bytes."""
    return len(line.encode("utf-8")[:utf8_bytes].decode("utf-8"))


def _refuse_other_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{key!r} is no key of a JSON object; keys are strings")
            _refuse_other_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_other_keys(item)
