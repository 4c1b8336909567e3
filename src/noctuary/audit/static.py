"""Reads a mixer file without running it: does it keep the form of the mixer contract?

This is lint, not a wall. It catches honest mistakes early and says on which line they are; code
that means harm gets past any reading of a syntax tree, and is held by `sandbox` instead. Does not
look at what the mixer computes (`dynamic`).
"""

import ast
from collections.abc import Iterator

from noctuary.audit.bounds import decoded, size_check, tree_problems
from noctuary.audit.import_time import import_time_problems
from noctuary.audit.reach import import_problems, name_problems, patching_problems
from noctuary.audit.remarks import Remark, verdict
from noctuary.audit.scopes import Scope
from noctuary.canonical import parsed
from noctuary.domain import Check
from noctuary.policy import CodePolicy

DEFAULT_ALLOWED = frozenset(CodePolicy().imports)


def static_checks(
    source: str | bytes,
    allowed_imports: frozenset[str] = DEFAULT_ALLOWED,
    class_name: str = "Mixer",
) -> tuple[Check, ...]:
    """Return the checks of a file's text; `measured` counts the problems found, `limit` is 0.

    Where the text cannot be read, or is too much, the later checks mean nothing and are left out.

    Args:
        source: the text, or the bytes of the file as they are.
        allowed_imports: top-level packages that the file may import.
        class_name: the mixer's class; another name for foreign modules.
    """
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    checks = [size_check(data)]
    if not checks[-1].passed:
        return tuple(checks)
    text, remarks = decoded(data)
    checks.append(verdict("text", remarks))
    if not checks[-1].passed:
        return tuple(checks)
    try:
        tree = parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        said = getattr(error, "msg", None) or str(error) or "nested too deeply to be read"
        return (*checks, verdict("syntax", [(line, said)]))
    checks += [verdict("syntax", []), verdict("complexity", tree_problems(tree, text))]
    if not checks[-1].passed:
        return tuple(checks)
    allowed = f"allowed are {', '.join(sorted(allowed_imports))} ([code] imports in policy.toml)"
    return (
        *checks,
        verdict("class", _class_problems(tree, class_name)),
        verdict("imports", import_problems(tree, allowed_imports), allowed),
        verdict("import_time", import_time_problems(tree, allowed_imports)),
        verdict("names", name_problems(tree)),
        verdict("patching", patching_problems(tree)),
    )


def _class_problems(tree: ast.Module, class_name: str) -> Iterator[Remark]:
    """A module's class of that name, with a forward of its own or of a base class."""
    scope = Scope(tree)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        yield 1, _no_such_class(class_name, classes, scope)
        return
    family = list(_with_bases(class_name, classes))
    foreign = [base for one in family for base in one.bases if not _is_own(base, classes)]
    if not foreign:
        yield classes[class_name].lineno, f"class {class_name} is no torch.nn.Module"
    defined = any(
        isinstance(statement, ast.FunctionDef) and statement.name == "forward"
        for one in family
        for statement in one.body
    )
    inherits = any(scope.dotted(base) not in (None, "torch.nn.Module") for base in foreign)
    if not (defined or inherits):
        yield classes[class_name].lineno, f"class {class_name} defines no forward"


def _no_such_class(wanted: str, classes: dict[str, ast.ClassDef], scope: Scope) -> str:
    """Say which classes could be meant instead: those that look like modules come first."""
    modules = [
        name
        for name in classes
        for base in [base for one in _with_bases(name, classes) for base in one.bases]
        if (scope.dotted(base) or "").startswith(("torch.nn.", "lightning."))
    ]
    modules = list(dict.fromkeys(modules))
    if modules:
        return f"no class {wanted} at the top level; modules here: {', '.join(modules)} (--class)"
    known = ", ".join(classes) or "none"
    return f"no class {wanted} at the top level, nor any torch.nn.Module (classes here: {known})"


def _with_bases(name: str, classes: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Yield a class and its base classes in the same file, each once."""
    waiting, seen = [name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in classes:
            continue
        seen.add(name)
        yield classes[name]
        waiting += [base.id for base in classes[name].bases if isinstance(base, ast.Name)]


def _is_own(base: ast.expr, classes: dict[str, ast.ClassDef]) -> bool:
    return isinstance(base, ast.Name) and base.id in {"object", *classes}
