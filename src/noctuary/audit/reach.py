"""What a file reaches for: other packages, parts of torch that lead out of it, built-in functions
and attributes that see the process, and changes of what the whole process shares.

Covers the text alone, with aliases followed as far as `audit.scopes` does. The tables are in
`audit.rules`. Does not cover what is put together at run time.
"""

import ast
import importlib.util
import string
import sys
from collections.abc import Iterator

from noctuary.audit.remarks import Remark
from noctuary.audit.rules import (
    BUILTINS,
    DENIED,
    DUNDER_ATTRIBUTES,
    DUNDER_NAMES,
    FRAMES,
    HOOKS,
    LABELS,
    NO_WAYS_OUT,
    ONLY,
    OTHER_ATTRIBUTES,
    PRIVATE_FINE,
    SHARED_BY_ALL,
    WAYS_OUT_ANYWHERE,
)
from noctuary.audit.scopes import Scope, walk

BY_NAME = frozenset({"getattr", "hasattr", "setattr"})
"""Built-in functions that take the name of an attribute."""

_NO_MODULE = "which is not installed here"


def import_problems(tree: ast.Module, allowed: frozenset[str]) -> Iterator[Remark]:
    """Imports, at any depth, of what is not allowed or not there.

    A package that is not installed may be imported where the file goes on without it.
    """
    optional: set[int] = set()
    for node, _ in walk(tree):
        if isinstance(node, ast.Try) and _minds_no_absence(node):
            optional |= {id(child) for part in node.body for child in ast.walk(part)}
        for module, names in _modules(node):
            line = getattr(node, "lineno", 1)
            package = module.split(".")[0]
            if not package:
                yield line, "a file beside it is imported; expected everything in one file"
            elif package == "__future__":
                continue
            elif not is_installed(package):
                if id(node) not in optional:
                    also = "" if package in allowed else ", nor allowed by the policy"
                    yield line, f"{module} is imported, {_NO_MODULE}{also}"
            elif package not in allowed:
                yield line, f"{module} is imported, which the policy does not allow"
            elif "*" in names:
                yield line, f"everything of {module} is imported; name what is used"
            else:
                dotted = [f"{module}.{name}" for name in names] or [module]
                reasons = {one: denied(one) for one in dotted}
                yield from ((line, f"{one} {why}") for one, why in reasons.items() if why)


def name_problems(tree: ast.Module) -> Iterator[Remark]:
    """Built-in functions and attributes that lead to the process or the code around."""
    followed: set[int] = set()
    for node, scope in walk(tree):
        line = getattr(node, "lineno", 1)
        followed |= {id(part) for part in _followed(node)}
        match node:
            case ast.Call():
                yield from ((line, what) for what in _call_problems(node, scope))
            case ast.Attribute():
                yield from ((line, what) for what in _attribute_problems(node, scope))
            case ast.MatchClass():
                for name in node.kwd_attrs:
                    yield from ((line, what) for what in _named(name))
            case ast.Name(ctx=ast.Load()):
                what = _name_problem(node.id, scope)
                if what is None and id(node) not in followed:
                    what = _passed_on(node, scope)
                if what is not None:
                    yield line, what
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name in HOOKS:
                yield line, f"{node.name} {HOOKS[node.name]}"


def patching_problems(tree: ast.Module) -> Iterator[Remark]:
    """Changes of modules and classes of others, and of names that outlive a call."""
    for node, scope in walk(tree):
        line = getattr(node, "lineno", 1)
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                what = _changed(node, scope)
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                what = _changed(node, scope)
            case ast.Call(func=ast.Name(id="setattr"), args=[target, *_]):
                what = _changed(ast.Attribute(target, "_"), scope)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if _is_dunder(name):
                own = scope.is_class and name not in HOOKS
                fine = own or name in LABELS
                what = None if fine else f"{name} is given a value"
            case ast.Global():
                what = f"global {', '.join(node.names)}: a state outlives the call"
            case ast.ClassDef():
                metaclass = next((k.value for k in node.keywords if k.arg == "metaclass"), None)
                fine = metaclass is None or scope.dotted(metaclass) == "abc.ABCMeta"
                what = None if fine else f"a metaclass runs code where {node.name} is defined"
            case _:
                what = None
        if what is not None:
            yield line, what


def denied(dotted: str) -> str | None:
    """Return why a part of an allowed package may not be named; None where it may be."""
    parts = dotted.split(".")
    if "torch" in parts[1:] and parts[0] == "torch":  # as an attribute of its own parts
        return denied(".".join(parts[len(parts) - 1 - parts[::-1].index("torch") :]))
    heads = [".".join(parts[: end + 1]) for end in range(len(parts))]
    for head in heads:
        if head in DENIED:
            return DENIED[head]
    if parts[0] in ONLY and len(parts) > 1:
        rest, wanted = ".".join(parts[1:]), ONLY[parts[0]]
        if not any(_reaches(rest, one) for one in wanted):
            return f"is more of {parts[0]} than a mixer needs ({', '.join(wanted)})"
    for name in parts[1:]:
        if name in sys.stdlib_module_names and name not in NO_WAYS_OUT:
            return f"leads to the module {name}"
    if any(name.startswith("_") and not _is_dunder(name) for name in parts[1:]) and not any(
        dotted.startswith(fine) or fine.startswith(f"{dotted}.") for fine in PRIVATE_FINE
    ):
        return f"is a private part of {parts[0]}"
    return None


def is_installed(package: str) -> bool:
    """Whether a top-level package is here; it is looked for, not imported."""
    if package in sys.stdlib_module_names:
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _reaches(rest: str, wanted: str) -> bool:
    """Whether a dotted name is on the way to another, or below it."""
    return f"{wanted}.".startswith(f"{rest}.") or rest.startswith(f"{wanted}.")


def _minds_no_absence(node: ast.Try) -> bool:
    """Whether an import that fails in it is caught."""
    caught: list[ast.expr | None] = []
    for handler in node.handlers:
        parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        caught += parts
    names = {part.id for part in caught if isinstance(part, ast.Name)}
    return None in caught or bool(names & {"ImportError", "ModuleNotFoundError", "Exception"})


def _modules(node: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Yield the modules that a statement imports, with the names that are taken from each."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, []) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield module, [alias.name for alias in node.names]


def _attribute_problems(node: ast.Attribute, scope: Scope) -> Iterator[str]:
    dotted, before = scope.dotted(node), scope.dotted(node.value)
    if dotted is not None and (before is None or denied(before) is None):
        why = denied(dotted)
        if why is not None:
            yield f"{dotted} {why}"
            return
    if isinstance(node.value, ast.Call) and _is_super(node.value):
        if node.attr in SHARED_BY_ALL | HOOKS.keys():
            yield f"super().{node.attr} leads out of the mixer"
        return
    yield from _named(node.attr)


def _named(name: str) -> Iterator[str]:
    """What is wrong with an attribute of that name, whatever has it."""
    if _is_dunder(name):
        if name not in DUNDER_ATTRIBUTES:
            yield f"the attribute {name} leads out of the mixer"
    elif name in FRAMES:
        yield f"the attribute {name} leads to the code that calls the mixer"
    elif name in WAYS_OUT_ANYWHERE:
        yield f"the attribute {name} leads to the module {name}"
    elif name in OTHER_ATTRIBUTES:
        yield f"the attribute {name} {OTHER_ATTRIBUTES[name]}"


def _name_problem(name: str, scope: Scope) -> str | None:
    if _is_dunder(name):
        if name in BUILTINS:
            return f"{name} {BUILTINS[name]}"
        return None if name in DUNDER_NAMES or scope.binds(name) else f"{name} is read"
    if name in BUILTINS and not scope.binds(name):
        return f"{name} {BUILTINS[name]}"
    return None


def _followed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node whose use is looked at: what is called, looked into or renamed."""
    match node:
        case ast.Attribute():
            yield node.value
        case ast.Call(func=ast.Name(id=name)):
            yield node.func
            if name in BY_NAME:
                yield from node.args[:1]
        case ast.Assign(targets=[ast.Name()], value=value) | ast.NamedExpr(value=value):
            if not (isinstance(value, ast.Name) and value.id in BY_NAME):
                yield value


def _passed_on(node: ast.Name, scope: Scope) -> str | None:
    """Say what is lost from sight here: a whole module, or a function that takes names."""
    dotted = scope.dotted(node)
    if dotted is not None and scope.is_module(dotted):
        return f"the module {dotted} is passed on, where nobody can follow it"
    if _is_builtin(node, BY_NAME, scope):
        return f"{node.id} is passed on, where nobody can follow it"
    return None


def _call_problems(node: ast.Call, scope: Scope) -> Iterator[str]:
    function = node.func
    if _is_builtin(function, BY_NAME, scope):
        yield from _by_name_problems(node, scope)
    elif _is_builtin(function, frozenset({"type"}), scope) and len(node.args) > 1:
        yield "type makes a class at run time"
    elif isinstance(function, ast.Attribute) and function.attr == "format":
        yield from _format_problems(function.value)


def _by_name_problems(node: ast.Call, scope: Scope) -> Iterator[str]:
    """A constant name is treated as if the attribute was written out."""
    function = node.func.id if isinstance(node.func, ast.Name) else ""
    if len(node.args) < 2 or any(isinstance(part, ast.Starred) for part in node.args):
        yield f"{function} without a name that can be read here"
        return
    target, name = node.args[:2]
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        yield from _attribute_problems(ast.Attribute(target, name.value, ast.Load()), scope)
        return
    of_itself = isinstance(target, ast.Name) and target.id == "self"
    begins = name.values[0] if isinstance(name, ast.JoinedStr) and name.values else None
    plain = isinstance(begins, ast.Constant) and not str(begins.value).startswith("_")
    if not (of_itself and plain):
        yield f"{function} with a name that cannot be read here"


def _format_problems(template: ast.expr) -> Iterator[str]:
    """`"{0.__class__}".format(x)` gets attributes as well."""
    if not (isinstance(template, ast.Constant) and isinstance(template.value, str)):
        yield "format of a text that cannot be read here; write an f-string"
        return
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template.value) if field]
    except ValueError:
        return  # it raises when it is called, too
    yield from (f"format gets the attribute {one}" for one in fields if "._" in one)


def _changed(node: ast.Attribute | ast.Subscript, scope: Scope) -> str | None:
    """Say whose attribute or item is changed, where that is no object of the file's own."""
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        return "the class of an object is changed"
    owner: ast.AST = node.value
    while isinstance(owner, ast.Attribute | ast.Subscript):
        dotted = scope.dotted(owner)
        if dotted is not None:
            return f"{dotted} is changed for the whole process"
        if isinstance(owner, ast.Attribute) and owner.attr == "__class__":
            return "a class is changed while it is used"
        owner = owner.value
    dotted = scope.dotted(owner)
    if dotted is not None:
        return f"{dotted} is changed for the whole process"
    if isinstance(owner, ast.Call) and _is_builtin(owner.func, frozenset({"type"}), scope):
        return "a class is changed while it is used"
    return None


def _is_super(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "super"


def _is_builtin(node: ast.AST, names: frozenset[str], scope: Scope) -> bool:
    return isinstance(node, ast.Name) and node.id in names and not scope.binds(node.id)


def _is_dunder(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")
