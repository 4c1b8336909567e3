"""How large and how strange a file may be: its bytes, its characters, its syntax tree.

Covers what hides code from a reader (bytes that mean something else in another encoding,
characters that cannot be seen or turn the text around) and data in code (literals that are
long, many or huge). Does not cover what the code does (`audit.reach`).
"""

import ast
import codecs
import re
from collections.abc import Iterator

from noctuary.audit.remarks import Remark
from noctuary.canonical import MAX_BYTES
from noctuary.domain import Check

MAX_NODES = 30_000
"""Nodes of the syntax tree; the largest mixer that ships has 2,400."""
MAX_DEPTH = 100
"""Nested nodes; the mixers that ship stay below 16. The checks could not follow much more."""
MAX_LINE = 1_000
MAX_DEFINITIONS = 400
"""Functions and classes together."""
MAX_INTEGER_BITS = 64
MAX_LITERAL = 2_000
"""Characters of a string, bytes or elements of a container, docstrings excepted."""
MAX_LITERALS = 20_000
"""Characters, bytes and numbers of all literals together, docstrings excepted."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Controls, zero widths, changes of direction and tags."""

_CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
"""A comment that says what the bytes mean (PEP 263)."""


def size_check(data: bytes) -> Check:
    """Hold the length against what is read; a longer file may be given cut off."""
    passed = len(data) <= MAX_BYTES
    detail = "" if passed else f"at least {len(data)} bytes; at most {MAX_BYTES} are read"
    return Check(name="size", passed=passed, measured=len(data), limit=MAX_BYTES, detail=detail)


def decoded(data: bytes) -> tuple[str, list[Remark]]:
    """Return the text with line ends as `\\n`, and what is wrong with its characters."""
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return "", [(line, f"byte {data[error.start]:#04x} is not UTF-8")]
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, [*_coding_problems(text), *_unseen(text)]


def tree_problems(tree: ast.Module, text: str) -> Iterator[Remark]:
    """What of a syntax tree is too much; the later checks rely on its depth."""
    for number, written in enumerate(text.split("\n"), 1):
        if len(written) > MAX_LINE:
            yield number, f"the line has {len(written)} characters; at most {MAX_LINE} are read"
    level: list[ast.AST] = [tree]
    nodes = depth = 0
    while level:
        nodes += len(level)
        depth += 1
        if depth == MAX_DEPTH + 1:
            line = next((node.lineno for node in level if hasattr(node, "lineno")), 1)
            yield line, f"nested more than {MAX_DEPTH} deep"
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if nodes > MAX_NODES:
        yield 1, f"{nodes} nodes of syntax; at most {MAX_NODES} are read"
    definitions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)
    ]
    if len(definitions) > MAX_DEFINITIONS:
        yield 1, f"{len(definitions)} functions and classes; at most {MAX_DEFINITIONS} are read"
    yield from _literal_problems(tree)


def _coding_problems(text: str) -> Iterator[Remark]:
    for number, line in enumerate(text.split("\n", 2)[:2], 1):
        found = _CODING.match(line)
        if found is None:
            continue
        try:
            known = codecs.lookup(found[1]).name
        except LookupError:
            known = found[1]
        if known not in ("utf-8", "ascii"):
            yield number, f"the file calls itself {found[1]}; expected UTF-8"


def _unseen(text: str) -> Iterator[Remark]:
    for number, line in enumerate(text.split("\n"), 1):
        found = _UNSEEN.search(line)
        if found is not None:
            yield number, f"character U+{ord(found[0]):04X} cannot be seen; write it as an escape"


def _literal_problems(tree: ast.Module) -> Iterator[Remark]:
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    total = 0
    for node in ast.walk(tree):
        # a text that stands for itself, such as a docstring, does nothing
        if isinstance(node, ast.Constant) and id(node) not in prose:
            value, line = node.value, node.lineno
            if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
                bits = value.bit_length()
                yield line, f"an integer of {bits} bits; at most {MAX_INTEGER_BITS} are read"
            length = len(value) if isinstance(value, str | bytes) else 1
            total += length
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            length, line = len(node.elts), node.lineno
        elif isinstance(node, ast.Dict):
            length, line = len(node.keys), node.lineno
        else:
            continue
        if length > MAX_LITERAL:
            yield line, f"a literal of {length} parts; at most {MAX_LITERAL} are read"
    if total > MAX_LITERALS:
        yield 1, f"literals of {total} characters in all; at most {MAX_LITERALS} are read"
