"""The block of a file that runs only when the file is a script: ``if __name__ == "__main__":``.

It starts things. What it does beside, to names that steps can reach or to other people's modules,
is code of those steps as any other: only a block that does nothing of the kind may be left out.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

from gitml.code.syntax import touched

_HARMLESS = frozenset({"doctest", "logging", "sys", "unittest", "warnings"})
"""Modules whose functions, called for what they do, change no result."""

_NEVER = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.With, ast.AsyncWith, ast.Delete, ast.Global),
)


def only_starts(node: ast.stmt, imported: Collection[str], read: Collection[str]) -> bool:
    """Whether a statement is such a block and does nothing but start things.

    ``imported`` are the names that the file imports, ``read`` those that its other statements read.
    The block may bind names that nobody else reads, and call functions of the file.
    """
    if not isinstance(node, ast.If) or node.orelse or not _asks_for_main(node.test):
        return False
    what = touched(node.body)
    if not what.binds.isdisjoint(read) or what.reads_any_name:
        return False
    foreign = {*imported, *(_bound(one) for imports in what.imports for one in imports.names)}
    own = what.binds - foreign
    return all(_starts(one, foreign, own) for part in node.body for one in ast.walk(part))


def _asks_for_main(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=one, ops=[ast.Eq()], comparators=[other]):
            sides = {_text(one), _text(other)}
            return sides == {"__name__", "'__main__'"}
    return False


def _text(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else repr(getattr(node, "value", None))


def _starts(node: ast.AST, foreign: Collection[str], own: Collection[str]) -> bool:
    """Whether a node of the block changes nothing but names of the block."""
    match node:
        case ast.Expr(value=ast.Call(func=called)):
            root = _root(called)
            is_function = isinstance(called, ast.Name) and root not in foreign
            return is_function or root in own or root in _HARMLESS
        case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
            return _root(node) in own
        case ast.AugAssign(target=target):
            return _root(target) in own
    return not isinstance(node, _NEVER)


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes, items and calls begins with."""
    while not isinstance(node, ast.Name):
        inner = getattr(node, "value", None) or getattr(node, "func", None)
        if not isinstance(inner, ast.expr):
            return ""
        node = inner
    return node.id


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]
