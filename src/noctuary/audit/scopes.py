"""What the names of a file stand for: a scope for each function and class, and aliases followed.

Follows imports, `a = torch.nn`, tuples of those and defaults of arguments, within the rules of
Python for who sees which name. Does not follow what is put into attributes, containers or calls:
that is found out by running it, not by reading.
"""

import ast
from collections.abc import Iterable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


MODULES = frozenset({"torch", "torch.nn", "torch.nn.functional", "torch.nn.init"})
"""Modules that `from` takes out of others; what else it takes may be a function."""


class Scope:
    """The names that a module, class or function binds.

    Attributes:
        names: name -> the dotted name that it stands for, None for a value of the file's own.
        imported: the modules that it imports as a whole.
        parent: where a name is looked for next; None for the module.
        is_class: whether functions defined here do not see its names.
    """

    def __init__(self, node: ast.Module | Definition, parent: "Scope | None" = None) -> None:
        self.parent = parent
        self.is_class = isinstance(node, ast.ClassDef)
        self.names: dict[str, str | None] = {}
        inside = list(_own_nodes(node))
        for name in _bound(inside):
            self.names[name] = None
        self.names.update(_imported(inside))
        whole = (one.names for one in inside if isinstance(one, ast.Import))
        self.imported = {alias.name for aliases in whole for alias in aliases}
        if isinstance(node, Function):
            self._take_arguments(node.args)
        pairs = [pair for one in inside for pair in _assigned(one)]
        for _ in range(3):  # an alias of an alias of an alias
            for target, value in pairs:
                if self.names.get(target) is None:
                    self.names[target] = self.dotted(value)

    def inner(self, node: Definition) -> "Scope":
        """Return the scope of a function or class that is defined in this one."""
        parent = self
        while parent.is_class and parent.parent is not None:
            parent = parent.parent
        return Scope(node, parent)

    def binds(self, name: str) -> bool:
        """Whether the name is bound by the file, so that it is no built-in one."""
        return name in self.names or (self.parent is not None and self.parent.binds(name))

    def dotted(self, node: ast.AST) -> str | None:
        """Return `torch.nn.functional.silu` for `F.silu`; None where it is of the file's own."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = self._stands_for(node.id)
        return None if root is None else ".".join([root, *reversed(parts)])

    def is_module(self, dotted: str) -> bool:
        """Whether a dotted name is that of a module: one of torch's, or imported as a whole."""
        if dotted in MODULES or dotted in self.imported:
            return True
        return self.parent is not None and self.parent.is_module(dotted)

    def _stands_for(self, name: str) -> str | None:
        if name in self.names or self.parent is None:
            return self.names.get(name)
        return self.parent._stands_for(name)

    def _take_arguments(self, given: ast.arguments) -> None:
        positional = [*given.posonlyargs, *given.args]
        every = [*positional, *given.kwonlyargs, given.vararg, given.kwarg]
        self.names |= {argument.arg: None for argument in every if argument is not None}
        pairs = [
            *zip(reversed(positional), reversed(given.defaults), strict=False),
            *zip(given.kwonlyargs, given.kw_defaults, strict=True),
        ]
        for argument, default in pairs:
            if default is not None and self.parent is not None:
                self.names[argument.arg] = self.parent.dotted(default)


def walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Scope]]:
    """Yield each node that may run, with the scope that it is in; those outside come first.

    What never runs is left out: what stands under `if __name__ == "__main__"`, and what only
    type checkers see.
    """
    waiting: list[tuple[ast.AST, Scope]] = [(tree, Scope(tree))]
    while waiting:
        node, scope = waiting.pop()
        yield node, scope
        if isinstance(node, ast.If) and never_runs(node, scope):
            waiting += ((child, scope) for child in node.orelse)
        elif isinstance(node, Definition):
            within = scope.inner(node)
            inside = {id(child) for child in _body(node)}
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.arguments):
                    waiting += ((default, scope) for default in _outside(child))
                else:
                    waiting.append((child, within if id(child) in inside else scope))
        else:
            waiting += ((child, scope) for child in ast.iter_child_nodes(node))


def never_runs(node: ast.If, scope: Scope) -> bool:
    """Whether it is `if __name__ == "__main__"` or `if TYPE_CHECKING`."""
    if scope.dotted(node.test) == "typing.TYPE_CHECKING":
        return True
    test = node.test
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )


def _body(node: Definition) -> list[ast.AST]:
    return [node.body] if isinstance(node, ast.Lambda) else list(node.body)


def _outside(given: ast.arguments) -> Iterator[ast.AST]:
    """Defaults and annotations, which are worked out where a function is defined."""
    yield from (default for default in [*given.defaults, *given.kw_defaults] if default)
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    yield from (one.annotation for one in every if one is not None and one.annotation is not None)


def _own_nodes(node: ast.Module | Definition) -> Iterator[ast.AST]:
    """Yield the nodes of a body, without the insides of what is defined in it."""
    waiting: list[ast.AST] = list(node.body) if isinstance(node, ast.Module) else _body(node)
    while waiting:
        child = waiting.pop()
        yield child
        if isinstance(child, ast.Lambda):
            waiting += _outside(child.args)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += child.decorator_list
        else:
            waiting += ast.iter_child_nodes(child)


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name


def _imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str | None]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = None if node.level else f"{node.module}.{alias.name}"
                yield alias.asname or alias.name, full


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield the pairs of `a = x`, `a: T = x`, `(a := x)` and `a, b = x, y`."""
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id, value
        elif (
            isinstance(target, ast.Tuple | ast.List)
            and isinstance(value, ast.Tuple | ast.List)
            and len(target.elts) == len(value.elts)
        ):
            for part, given in zip(target.elts, value.elts, strict=True):
                if isinstance(part, ast.Name):
                    yield part.id, given
