"""Every code that an error, a refused row or a held rollback can carry, read from the source.

A code is a literal, or reaches its error through a constant, a parameter or a loop over literals.
Anything else is unreadable and fails the test, so that no code escapes the docs.
"""

import ast
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

CARRIERS = ("PermanentError", "TransientError", "Reason", "Refusal", "Held")
"""Classes whose first argument is a code."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Call(NamedTuple):
    """A call and the function that it stands in; `base` is the class whose `__init__` it calls."""

    module: str
    node: ast.Call
    function: _Function | None
    base: str


class UnreadableError(Exception):
    """A code that is made in a way that this reader does not follow."""


def codes_of(modules: Mapping[str, ast.Module]) -> dict[str, str]:
    """Code -> where it is raised first. Raises UnreadableError with the place."""
    source = _Source(modules)
    found: dict[str, str] = {}
    for carrier in CARRIERS:
        for call in source.calls(carrier):
            where = f"{call.module}:{call.node.lineno}"
            for code in source.argument(call, 0, "code"):
                found.setdefault(code, where)
    found.pop("", None)
    return found


class _Source:
    """All modules: their calls, and the constants at their top."""

    def __init__(self, modules: Mapping[str, ast.Module]) -> None:
        self._calls = [c for name, tree in modules.items() for c in _calls(name, tree, None, "")]
        self._constants = {m: dict(_constants(tree)) for m, tree in modules.items()}

    def calls(self, name: str, module: str = "") -> Iterator[Call]:
        for call in self._calls:
            if module and call.module != module:
                continue
            called = call.node.func
            word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if word == name or (word == "__init__" and call.base == name):
                yield call

    def argument(self, call: Call, position: int, keyword: str) -> set[str]:
        named = [k.value for k in call.node.keywords if k.arg == keyword]
        given = [*named, *call.node.args[position : position + 1]]
        return self._texts(given[0], call) if given else set()

    def _texts(self, value: ast.expr, call: Call) -> set[str]:
        match value:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr(values=parts):
                return {"".join(p) for p in product(*(self._texts(v, call) for v in parts))}
            case ast.FormattedValue(value=inner):
                return self._texts(inner, call)
            case ast.Name(id=name):
                return self._named(name, call)
            case ast.Attribute(attr="code"):
                return set()  # another error's code: read where that one is made
        raise UnreadableError(f"{call.module}:{value.lineno}: write the code as a literal")

    def _named(self, name: str, call: Call) -> set[str]:
        looped = self._looped(name, call)
        if looped is not None:
            return looped
        if call.function is not None:
            arguments = call.function.args
            positional = [a.arg for a in arguments.args if a.arg != "self"]
            if name in [*positional, *(a.arg for a in arguments.kwonlyargs)]:
                at = positional.index(name) if name in positional else len(positional)
                private = call.module if call.function.name.startswith("_") else ""
                callers = self.calls(call.function.name, private)
                return set().union(*(self.argument(caller, at, name) for caller in callers))
        if (constant := self._constant(name, call.module)) is not None:
            return self._texts(constant, call)
        raise UnreadableError(f"{call.module}:{call.node.lineno}: cannot tell what {name} is")

    def _constant(self, name: str, module: str) -> ast.expr | None:
        elsewhere = (own[name] for own in self._constants.values() if name in own)
        return self._constants[module].get(name) or next(elsewhere, None)

    def _looped(self, name: str, call: Call) -> set[str] | None:
        for loop in ast.walk(call.function) if call.function is not None else ():
            if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Tuple):
                continue
            targets = [getattr(t, "id", "") for t in loop.target.elts]
            items = loop.iter
            if isinstance(items, ast.Name):
                items = self._constant(items.id, call.module) or items
            if name in targets and isinstance(items, ast.Tuple):
                cells = [
                    i.elts[targets.index(name)] for i in items.elts if isinstance(i, ast.Tuple)
                ]
                return set().union(*(self._texts(cell, call) for cell in cells))
        return None


def _calls(module: str, node: ast.AST, function: _Function | None, base: str) -> Iterator[Call]:
    for child in ast.iter_child_nodes(node):
        inside, parent = function, base
        if isinstance(child, _Function):
            inside = child
        if isinstance(child, ast.ClassDef):
            parent = next((b.id for b in child.bases if isinstance(b, ast.Name)), "")
        if isinstance(child, ast.Call):
            yield Call(module, child, function, base)
        yield from _calls(module, child, inside, parent)


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value
