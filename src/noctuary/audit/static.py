"""Reads a mixer file without running it: does it keep the form of the mixer contract?

This is lint, not a wall. It catches honest mistakes early and says on which line they are; code
that means harm gets past any reading of a syntax tree, and is held by `sandbox` instead. Does not
look at what the mixer computes (`dynamic`).
"""

import ast
from collections.abc import Iterator

from noctuary.canonical import parsed
from noctuary.domain import Check

DEFAULT_ALLOWED = frozenset({"torch", "math", "einops", "typing", "lightning"})
MAX_BYTES = 100_000
DECORATORS = frozenset({"staticmethod", "classmethod", "property"})
"""Built-in decorators that do nothing but mark a function."""

Remark = tuple[int, str]
"""A line number, and what is wrong there."""


def static_checks(
    source: str,
    allowed_imports: frozenset[str] = DEFAULT_ALLOWED,
    class_name: str = "Mixer",
) -> tuple[Check, ...]:
    """Return the checks of a file's text; `measured` counts the problems found, `limit` is 0.

    Args:
        allowed_imports: top-level packages that the file may import.
        class_name: the mixer's class; another name for foreign modules.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    checks = [_size(size)]
    if size > MAX_BYTES:
        return tuple(checks)
    try:
        tree = parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return (*checks, _verdict("syntax", [(line, getattr(error, "msg", None) or str(error))]))
    try:
        found = {
            "syntax": [],
            "class": list(_class_problems(tree, class_name)),
            "imports": list(_foreign_imports(tree, allowed_imports)),
            "import_time": list(_import_time_work(tree.body, allowed_imports)),
        }
    except RecursionError:
        return (*checks, _verdict("syntax", [(1, "expressions are nested too deeply to be read")]))
    return (*checks, *(_verdict(name, remarks) for name, remarks in found.items()))


def _size(size: int) -> Check:
    passed = size <= MAX_BYTES
    detail = "" if passed else f"{size} bytes, at most {MAX_BYTES} are read"
    return Check(name="size", passed=passed, measured=size, limit=MAX_BYTES, detail=detail)


def _verdict(name: str, remarks: list[Remark]) -> Check:
    shown = "; ".join(f"line {line}: {what}" for line, what in remarks[:5])
    more = f"; and {len(remarks) - 5} more" if len(remarks) > 5 else ""
    return Check(name=name, passed=not remarks, measured=len(remarks), limit=0, detail=shown + more)


def _class_problems(tree: ast.Module, class_name: str) -> Iterator[Remark]:
    """A class of that name, with a forward of its own or of a base class in the same file."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        known = ", ".join(classes) or "none"
        yield 1, f"no class {class_name} at the top level (classes here: {known})"
        return
    waiting, seen = [class_name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in classes:
            continue
        seen.add(name)
        if any(isinstance(n, ast.FunctionDef) and n.name == "forward" for n in classes[name].body):
            return
        waiting += [base.id for base in classes[name].bases if isinstance(base, ast.Name)]
    yield classes[class_name].lineno, f"class {class_name} defines no forward"


def _foreign_imports(tree: ast.Module, allowed: frozenset[str]) -> Iterator[Remark]:
    """Imports at any depth of packages that are not allowed."""
    names = ", ".join(sorted(allowed))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        elif isinstance(node, ast.Name) and node.id == "__import__":
            modules = ["__import__"]
        else:
            continue
        for module in modules:
            if module.split(".")[0] not in allowed:
                yield node.lineno, f"{module} is imported (allowed: {names})"


def _import_time_work(body: list[ast.stmt], allowed: frozenset[str]) -> Iterator[Remark]:
    """Statements that do more at import than to import, define, or name a constant."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) or _is_main_guard(node):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.Assign | ast.AnnAssign):
            parts: list[ast.expr] = [node.value] if node.value is not None else []
            yield from _calls(parts, "a constant is computed by a call")
        elif isinstance(node, ast.ClassDef):
            parts = [*node.bases, *(keyword.value for keyword in node.keywords)]
            yield from _calls(parts, f"a base of class {node.name} is computed by a call")
            yield from _decorators(node.decorator_list, allowed)
            yield from _import_time_work(node.body, allowed)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
            yield from _calls(defaults, f"a default of {node.name} is computed by a call")
            yield from _decorators(node.decorator_list, allowed)
        else:
            yield node.lineno, f"{type(node).__name__.lower()} statement runs at import"


def _calls(parts: list[ast.expr], what: str) -> Iterator[Remark]:
    working = ast.Call | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Await
    for part in parts:
        lazy = {id(n) for a in ast.walk(part) if isinstance(a, ast.Lambda) for n in ast.walk(a)}
        if any(isinstance(n, working) and id(n) not in lazy for n in ast.walk(part)):
            yield part.lineno, what


def _decorators(decorators: list[ast.expr], allowed: frozenset[str]) -> Iterator[Remark]:
    """Only decorators of allowed packages, and the built-in ones that merely mark a function."""
    for decorator in decorators:
        root: ast.expr = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(root, ast.Attribute):
            root = root.value
        if not (isinstance(root, ast.Name) and root.id in allowed | DECORATORS):
            yield decorator.lineno, "a decorator runs code at import"


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
