"""A candidate's file, read as text: its idea, its papers, and what of it a model folder needs.

Never executes it.
"""

import ast
import re
import sys

from noctuary.canonical import parsed

_ARXIV = re.compile(r"\barXiv:(\d{4}\.\d{4,5})", re.IGNORECASE)
_TRAINER = "lightning"


def idea(source: str) -> str:
    """Return the docstring of the file; empty where it has none."""
    return ast.get_docstring(parsed(source)) or ""


def papers(source: str) -> tuple[str, ...]:
    """Return the arXiv ids that the docstring names, each once, in its order."""
    return tuple(dict.fromkeys(_ARXIV.findall(idea(source))))


def without_trainer(source: str) -> str:
    """Return the file without what only Lightning needs: its import, and the `Candidate` around it.

    A file that needs Lightning for more than that stays as it is.
    """
    lines, tree = source.split("\n"), parsed(source)
    cut = [node for node in tree.body if _is_for_training(node)]
    kept = [node for node in tree.body if node not in cut]
    if not cut or any(_mentions_trainer(node) for node in kept):
        return source
    for node in reversed(cut):
        del lines[_first_line(node) - 1 : node.end_lineno]
    return "\n".join(lines).rstrip("\n") + "\n"


def _is_for_training(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names] == [_TRAINER]
    return isinstance(node, ast.ClassDef) and any(_mentions_trainer(base) for base in node.bases)


def _mentions_trainer(node: ast.AST) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id == _TRAINER)
        or (isinstance(part, ast.ImportFrom) and (part.module or "").split(".")[0] == _TRAINER)
        or (isinstance(part, ast.alias) and part.name.split(".")[0] == _TRAINER)
        for part in ast.walk(node)
    )


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min(node.lineno, *(one.lineno for one in decorators)) if decorators else node.lineno


def requirements(source: str) -> tuple[str, ...]:
    """Return the packages that the file imports, sorted, without the standard library's."""
    found = set[str]()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return tuple(sorted(found - set(sys.stdlib_module_names)))
