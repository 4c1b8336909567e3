"""Whether a file does any work when it is imported, before anybody asks it to.

Covers statements of the module and of class bodies, and what is worked out where a function is
defined: defaults, decorators, annotations. Naming a constant is no work, nor is a call that only
names one (`float("inf")`, `TypeVar("T")`, `math.sqrt(2)`).
"""

import ast
from collections.abc import Iterable, Iterator

from noctuary.audit.remarks import Remark
from noctuary.audit.rules import QUIET, QUIET_BUILTINS
from noctuary.audit.scopes import Scope, never_runs

DECORATORS = frozenset({"staticmethod", "classmethod", "property"})
"""Built-in decorators that do nothing but mark a function."""

WORKING = (
    ast.Call | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Await | ast.Yield
)


def import_time_problems(tree: ast.Module, allowed: frozenset[str]) -> Iterator[Remark]:
    """Statements that do more at import than to import, define, or name a constant."""
    yield from _statements(tree.body, Scope(tree), allowed)


def _statements(body: list[ast.stmt], scope: Scope, allowed: frozenset[str]) -> Iterator[Remark]:
    for node in body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Pass():
                pass
            case ast.Expr(value=ast.Constant()):
                pass  # a docstring
            case ast.If() if never_runs(node, scope):
                yield from _statements(node.orelse, scope, allowed)
            case ast.Try():
                parts = [node.body, *(handler.body for handler in node.handlers)]
                for part in [*parts, node.orelse, node.finalbody]:
                    yield from _statements(part, scope, allowed)
            case ast.Assign() | ast.AnnAssign():
                values = [node.value] if node.value is not None else []
                if isinstance(node, ast.AnnAssign):
                    values.append(node.annotation)
                yield from _calls(values, scope, "a constant is computed by a call")
            case ast.ClassDef():
                values = [*node.bases, *(keyword.value for keyword in node.keywords)]
                yield from _calls(values, scope, f"a base of class {node.name} is computed")
                yield from _decorators(node.decorator_list, scope, allowed)
                yield from _statements(node.body, scope.inner(node), allowed)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                what = f"a default or annotation of {node.name} is computed by a call"
                yield from _calls(_worked_out(node.args), scope, what)
                yield from _calls([node.returns] if node.returns else [], scope, what)
                yield from _decorators(node.decorator_list, scope, allowed)
            case _:
                yield node.lineno, f"{type(node).__name__.lower()} statement runs at import"


def _worked_out(given: ast.arguments) -> list[ast.expr]:
    """Defaults and annotations."""
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    annotations = (one.annotation for one in every if one is not None)
    parts = [*given.defaults, *given.kw_defaults, *annotations]
    return [part for part in parts if part is not None]


def _calls(parts: Iterable[ast.expr], scope: Scope, what: str) -> Iterator[Remark]:
    for part in parts:
        waiting: list[ast.AST] = [part]
        while waiting:
            node = waiting.pop()
            if isinstance(node, WORKING) and not _is_quiet(node, scope):
                yield part.lineno, what
                break
            if isinstance(node, ast.Lambda):  # its body runs when it is called
                waiting += _worked_out(node.args)
            else:
                waiting += ast.iter_child_nodes(node)


def _is_quiet(node: ast.AST, scope: Scope) -> bool:
    """Whether it is a call that only names a constant."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name) and node.func.id in QUIET_BUILTINS:
        return not scope.binds(node.func.id)
    dotted = scope.dotted(node.func)
    return dotted is not None and dotted.startswith(QUIET)


def _decorators(
    decorators: list[ast.expr], scope: Scope, allowed: frozenset[str]
) -> Iterator[Remark]:
    """Only decorators of allowed packages, and the built-in ones that merely mark a function."""
    for decorator in decorators:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        dotted = scope.dotted(named)
        marks = isinstance(named, ast.Name) and named.id in DECORATORS
        of_property = (
            isinstance(named, ast.Attribute)
            and isinstance(named.value, ast.Name)
            and named.attr in ("setter", "getter", "deleter")
        )
        known = dotted is not None and dotted.split(".")[0] in allowed
        if not (known or marks or of_property):
            yield decorator.lineno, "a decorator runs code at import"
        if isinstance(decorator, ast.Call):
            given = [*decorator.args, *(keyword.value for keyword in decorator.keywords)]
            yield from _calls(given, scope, "an argument of a decorator is computed by a call")
