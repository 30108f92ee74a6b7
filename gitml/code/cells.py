"""Code that stands in no file: what notebooks and interactive shells have run, as one source.

A namespace like a notebook's has no text: its cells are run in any order, again and again. What
counts is what it holds now, so the source that a step sees is made of the live definitions and
imports of the cells. Plain statements are left out: what they made counts by its value.
"""

from __future__ import annotations

import ast
import linecache
import re
import sys
import types
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from gitml.code.loaded import innermost
from gitml.code.sourcefile import Item, SourceFile, first_line

CELLS = "<cell>"
"""Stands for a path in the names of what was defined in a cell."""

_CELL = re.compile(r"<(?:ipython|python)-input-\d+.*>|.*[/\\]ipykernel_\d+[/\\]\d+\.py", re.DOTALL)


def is_cell(filename: str) -> bool:
    """Whether a code object with this file name was compiled from a cell whose text is known."""
    return _CELL.fullmatch(filename) is not None and _text(filename) is not None


class Cells(SourceFile):
    """The live definitions and imports of a namespace, as the source file that they would be.

    It must not outlive the plan: the next cell may change everything. ``doubts`` are the classes of
    which nobody can tell which of several cells made them.
    """

    def __init__(self, space: Mapping[str, Any]) -> None:
        super().__init__(CELLS, b"", lambda file, decorator: False)
        self._space = space
        self._parts = {
            name: _Cell(f"{CELLS}.py", text.encode(), self._is_ours)
            for name, text in _texts(space)
            if _parses(text)
        }
        self.doubts: set[str] = set()
        self.tree = ast.Module(list(dict.fromkeys(item.node for item in self.items)), [])
        self.imports = [node for cell in self._parts.values() for node in cell.imports]

    def find(self, code: types.CodeType) -> tuple[ast.AST, Item | None] | None:
        """The node of a function, and the top-level item around it if it is nested."""
        cell = self._parts.get(code.co_filename)
        return cell.find(code) if cell else None

    def items_around(self, code: types.CodeType) -> list[Item]:
        """The top-level statements of its cell that stand where a function begins."""
        cell = self._parts.get(code.co_filename)
        return cell.items_around(code) if cell else []

    @cached_property
    def items(self) -> list[Item]:
        """The definitions and imports whose names still mean what they made."""
        return list(self._live())

    @cached_property
    def effects(self) -> list[ast.Import | ast.ImportFrom]:
        """None: an import that no step names may stand in any cell, and be run at any time."""
        return []

    def text_of(self, nodes: set[ast.AST], code: types.CodeType) -> str:
        """The source of top-level nodes as it was typed, and last that around a function."""
        found = [
            cell.segment(node)
            for cell in self._parts.values()
            for node in cell.statements
            if node in nodes
        ]
        around = self._parts[code.co_filename]
        own = [around.segment(item.node) for item in around.items_around(code)]
        return "\n\n".join(dict.fromkeys([one for one in found if one not in own] + own)) + "\n"

    def assignments(self, names: set[str]) -> set[ast.AST]:
        """The last statements that gave these names their values, for people to read."""
        found: dict[str, ast.AST] = {}
        for cell in self._parts.values():
            for item in cell.items:
                if item.kind == "statement" and item.only_binds:
                    found |= dict.fromkeys(item.touched.binds & names, item.node)
        return set(found.values())

    def _live(self) -> Iterator[Item]:
        made: dict[str, list[tuple[str, Item]]] = {}
        for filename, cell in self._parts.items():
            for item in cell.items:
                if item.name in self._space and item.kind != "statement":
                    made.setdefault(item.name, []).append((filename, item))
        for name, items in made.items():
            value = innermost(self._space[name])
            given = [one for _, one in items if _gives(one, value)]
            imports = {one.digest(docstrings=True): one for one in given}.values()
            if imports or isinstance(value, types.ModuleType):
                yield from imports
            else:
                yield from self._definition(name, value, items)

    def _definition(self, name: str, value: Any, items: list[tuple[str, Item]]) -> Iterator[Item]:
        """The definition that made a function or class: its code says which, else the order."""
        items = [(filename, one) for filename, one in items if one.kind == "definition"]
        codes = set(_filenames(value))
        told = [one for filename, one in items if filename in codes]
        if told or not isinstance(value, type):
            yield from told[-1:]
        elif items:
            if len({one.digest(docstrings=True) for _, one in items}) > 1 and not _ordered(
                self._space
            ):
                self.doubts.add(name)
            yield items[-1][1]

    def _is_ours(self, file: SourceFile, decorator: ast.expr) -> bool:
        """Whether a decorator is gitml's ``step`` or ``pipeline``, by what its name holds."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        names: list[str] = []
        while isinstance(called, ast.Attribute):
            names.append(called.attr)
            called = called.value
        if not isinstance(called, ast.Name):
            return False
        value = self._space.get(called.id)
        for name in reversed(names):
            value = getattr(value, name, None)
        module = getattr(value, "__module__", None) or ""
        ours = module.partition(".")[0] == "gitml"
        return ours and getattr(value, "__name__", "") in ("step", "pipeline")


class _Cell(SourceFile):
    """One cell, parsed; its statements keep their places in it."""

    @property
    def statements(self) -> list[ast.stmt]:
        """The statements of the cell's top level."""
        return self.tree.body if self.tree else []

    def items_around(self, code: types.CodeType) -> list[Item]:
        """The top-level statements that stand where a function or its decorators begin."""
        line = code.co_firstlineno
        lines = [(first_line(node), node.end_lineno or 0) for node in ast.parse(self.raw).body]
        return [item for item in self.items if lines[item.place][0] <= line <= lines[item.place][1]]

    def segment(self, node: ast.stmt) -> str:
        """The lines of a statement, its decorators included (also ours, which the tree lacks)."""
        whole = ast.parse(self.raw).body[self.statements.index(node)]
        return "\n".join(self.raw.decode().splitlines()[first_line(whole) - 1 : node.end_lineno])


def _texts(space: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The cells by the file name that their code has, in the order of their last execution."""
    cells = [(name, text) for name in list(linecache.cache) if (text := _cell_text(name))]
    if not _ordered(space):
        return cells
    last = {text.rstrip("\n"): place for place, text in enumerate(space["In"])}
    return sorted(cells, key=lambda cell: last.get(cell[1].rstrip("\n"), -1))


def _ordered(space: Mapping[str, Any]) -> bool:
    """Whether the namespace tells what was run when, as IPython's does."""
    return isinstance(space.get("In"), list)


def _cell_text(filename: str) -> str | None:
    return _text(filename) if _CELL.fullmatch(filename) else None


def _text(filename: str) -> str | None:
    entry = linecache.cache.get(filename)
    return "".join(entry[2]) if entry is not None and len(entry) > 2 else None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _filenames(value: Any) -> Iterator[str]:
    """The files that the code of a function, or of the methods of a class, was compiled from."""
    values = list(vars(value).values()) if isinstance(value, type) else [value]
    for one in values:
        plain = innermost(getattr(one, "fget", None) or one)
        if isinstance(plain, types.FunctionType):
            yield plain.__code__.co_filename


def _gives(item: Item, value: Any) -> bool:
    """Whether an import would bind its name to this value now; nothing is imported for it."""
    if item.alias is None:
        return False
    if isinstance(item.node, ast.Import):
        name = item.alias.name if item.alias.asname else item.name
        return sys.modules.get(name) is value
    assert isinstance(item.node, ast.ImportFrom)  # noqa: S101 - what an alias stands in
    module = item.node.module or ""
    given = getattr(sys.modules.get(module), item.alias.name, None)
    return innermost(given) is value if given is not None else False
