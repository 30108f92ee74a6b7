"""A source file as the closure of a step sees it: its statements, and what each of them touches."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType

from gitml.code.mainblock import only_starts
from gitml.code.syntax import Function, Import, Touched, canonical, quote, touched
from gitml.store.digest import hash_bytes

Definition = Function | ast.ClassDef


def git_blob(raw: bytes) -> str:
    """The id that git gives these bytes."""
    return hashlib.sha1(b"blob %d\0%b" % (len(raw), raw), usedforsecurity=False).hexdigest()


def digest_text(text: str) -> str:
    """The BLAKE3 digest of a canonical text, as 64 hex digits."""
    return hash_bytes(text.encode("ascii")).hex


@dataclass(eq=False)
class Item:
    """A statement of a module's top level, or one name that an import statement binds.

    ``place`` is its position in the file; ``name`` is what it binds, or else what it touches: for
    people, and unique together with a count.
    """

    kind: str  # "definition", "import" or "statement"
    name: str
    place: int
    node: ast.stmt
    touched: Touched
    alias: ast.alias | None = None
    _digests: dict[bool, str] = field(default_factory=dict)

    def digest(self, docstrings: bool) -> str:
        """The digest of the item's canonical text."""
        if docstrings not in self._digests:
            text = _import_text(self) if self.alias else canonical(self.node, docstrings=docstrings)
            self._digests[docstrings] = digest_text(text)
        return self._digests[docstrings]

    @property
    def only_binds(self) -> bool:
        """Whether the statement does nothing but give values to plain names."""
        match self.node:
            case ast.Assign(targets=targets):
                return all(isinstance(one, ast.Name) for one in targets)
            case ast.AnnAssign(target=ast.Name()):
                return True
        return False


class SourceFile:
    """One file of the repository, parsed at most once per plan.

    A file that is no Python (a syntax error, an extension module) has no ``tree`` and counts by its
    bytes. ``is_ours`` tells the decorators of gitml, which are taken out of the tree: retries and
    hooks are no part of what a step computes.
    """

    def __init__(
        self, path: str, raw: bytes, is_ours: Callable[[SourceFile, ast.expr], bool]
    ) -> None:
        self.path = path
        self.raw = raw
        self.folder = path.rpartition("/")[0]
        self.imports: list[Import] = []
        self._our_decorators: list[ast.expr] = []
        self._functions: dict[tuple[int, str], tuple[Function, ast.stmt]] = {}
        self._digests: dict[bool, str] = {}
        self.tree = _parse(raw) if path.endswith(".py") else None
        if self.tree is not None:
            definitions = self._survey(self.tree)
            for node in definitions:
                ours = [one for one in node.decorator_list if is_ours(self, one)]
                self._our_decorators += ours
                node.decorator_list = [one for one in node.decorator_list if one not in ours]

    def _survey(self, tree: ast.Module) -> list[Function]:
        """Find the functions and imports of every depth, in one walk over statements only."""
        found: list[Function] = []
        pending: list[tuple[ast.AST, ast.stmt]] = [(node, node) for node in reversed(tree.body)]
        while pending:
            node, outermost = pending.pop()
            if isinstance(node, Function):
                first = node.decorator_list[0] if node.decorator_list else node
                self._functions[first.lineno, node.name] = node, outermost
                found.append(node)
            elif isinstance(node, Import):
                self.imports.append(node)
            for name in ("body", "handlers", "cases", "orelse", "finalbody"):
                block = getattr(node, name, ())
                if block.__class__ is list:
                    pending += [(child, outermost) for child in block]
        return found

    @cached_property
    def blob(self) -> str:
        """The id that git gives these bytes."""
        return git_blob(self.raw)

    @cached_property
    def body(self) -> list[ast.stmt]:
        """The statements of the top level, without a block that only starts a script."""
        if self.tree is None:
            return []
        blocks = [one for one in self.tree.body if isinstance(one, ast.If)]
        if not blocks:
            return self.tree.body
        imported = {
            alias.asname or alias.name.partition(".")[0]
            for node in self.imports
            for alias in node.names
        }
        rest = [one for one in self.tree.body if not only_starts(one, imported, ())]
        read = touched(rest).reads
        return [one for one in self.tree.body if not only_starts(one, imported, read)]

    @cached_property
    def module_imports(self) -> list[Import]:
        """The imports of every depth that `body` has."""
        if self.tree is None or self.body is self.tree.body:
            return self.imports
        inside = {id(node) for one in self.body for node in ast.walk(one)}
        return [node for node in self.imports if id(node) in inside]

    @cached_property
    def whole(self) -> Touched:
        """What the whole file touches."""
        return touched(self.body)

    def digest(self, docstrings: bool) -> str:
        """The digest of the whole file: of its syntax tree, or of its bytes if it has none."""
        if docstrings not in self._digests:
            if self.tree is None:
                self._digests[docstrings] = hash_bytes(b"bytes\n" + self.raw).hex
            else:
                tree = ast.Module(self.body, self.tree.type_ignores)
                self._digests[docstrings] = digest_text(canonical(tree, docstrings=docstrings))
        return self._digests[docstrings]

    def find(self, code: CodeType) -> tuple[ast.AST, Item | None] | None:
        """The node of a function or lambda, and the top-level item around it if it is nested."""
        if code.co_name == "<lambda>":
            found_lambda = self._find_lambda(code)
            return (found_lambda, None) if found_lambda else None
        found = self._functions.get((code.co_firstlineno, code.co_name))
        if found is None:
            return None
        node, outermost = found
        if node is outermost or not isinstance(outermost, Function):
            return node, None
        return node, self.item_of.get(id(outermost))

    def _find_lambda(self, code: CodeType) -> ast.Lambda | None:
        """The smallest lambda around the code's instructions; None if that leaves a doubt."""
        spans = [(line, start, end) for line, _, start, end in code.co_positions() if line and end]
        found = [
            node
            for node in ast.walk(self.tree or ast.Module([], []))
            if isinstance(node, ast.Lambda)
            and node.lineno == code.co_firstlineno
            and all(_covers(node.body, line, start or 0, end) for line, start, end in spans if end)
        ]
        found.sort(key=lambda node: (node.body.lineno, node.body.col_offset))
        return found[-1] if len(found) == 1 or (found and spans) else None

    @cached_property
    def items(self) -> list[Item]:
        """The top-level statements, imports name by name."""
        return list(self._items()) if self.tree else []

    @cached_property
    def item_of(self) -> dict[int, Item]:
        """The item of a top-level node, by the node's ``id``."""
        return {id(item.node): item for item in self.items}

    def items_around(self, code: CodeType) -> list[Item]:
        """The top-level statements that stand where a function begins."""
        line = code.co_firstlineno
        return [
            item
            for item in self.items
            if first_line(item.node) <= line <= (item.node.end_lineno or 0)
        ]

    def _items(self) -> Iterator[Item]:
        assert self.tree is not None  # noqa: S101 - the caller has asked
        counted = {id(one) for one in self.body}
        for place, node in enumerate(self.tree.body):
            if id(node) not in counted:
                continue
            what = touched([node])
            if isinstance(node, Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    yield Item("import", bound, place, node, what, alias)
            elif isinstance(node, Definition):
                yield Item("definition", node.name, place, node, what)
            else:
                name = ",".join(sorted(what.binds or what.reads))
                yield Item("statement", name, place, node, what)

    @cached_property
    def bound(self) -> dict[str, set[str]]:
        """The names of the module's top level, with the kinds of items that bind them."""
        names: dict[str, set[str]] = {}
        for item in self.items:
            for name in [item.name] if item.alias else item.touched.binds:
                names.setdefault(name, set()).add(item.kind)
        return names

    @cached_property
    def by_name(self) -> dict[str, list[Item]]:
        """For every name of the module's top level, the items that count once it is reached."""
        answers: dict[str, list[Item]] = {}
        for item in self.items:
            for name in self._answers_to(item):
                answers.setdefault(name, []).append(item)
        return answers

    def _answers_to(self, item: Item) -> set[str]:
        if item.kind == "import":
            return {item.name}
        if item.kind == "definition":
            return {item.name} | self._registers_with(item)
        names = set(item.touched.reads & self.bound.keys())
        if item.only_binds:  # `BINS = np.arange(9)` does nothing to `np`
            names = {name for name in names if self.bound[name] != {"import"}}
        return {*names, *item.touched.binds}

    def _registers_with(self, item: Item) -> set[str]:
        """Names of this module that a definition changes: ``@scale.register``, a base class."""
        assert isinstance(item.node, Definition)  # noqa: S101 - what "definition" means
        names = set()
        for decorator in item.node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                names.add(called.value.id)
        if isinstance(item.node, ast.ClassDef):
            bases = {base.id for base in item.node.bases if isinstance(base, ast.Name)}
            names |= {one.name for one in self._told_of_subclasses if one.name in bases}
        return {name for name in names if self.bound.get(name, {"import"}) != {"import"}}

    @cached_property
    def _told_of_subclasses(self) -> list[Item]:
        return [item for item in self.items if item.touched.reads_subclasses]

    @cached_property
    def effects(self) -> list[Import]:
        """The module-level imports that count for every step: ``*``, and names never used."""
        used = set(touched(self._our_decorators).reads)
        for item in self.items:
            used |= item.touched.reads
        found: dict[int, Import] = {}
        for item in self.items:
            if item.kind == "definition":
                continue
            for node in item.touched.imports:
                names = {one.asname or one.name.partition(".")[0] for one in node.names}
                if names - used:
                    found[id(node)] = node
        return list(found.values())

    @cached_property
    def futures(self) -> list[str]:
        """The features imported from ``__future__``, which change how the file is compiled."""
        return sorted(
            alias.name
            for node in self.imports
            if isinstance(node, ast.ImportFrom) and node.module == "__future__"
            for alias in node.names
        )


def _covers(node: ast.expr, line: int, start: int, end: int) -> bool:
    """Whether an instruction's place lies within an expression."""
    last = (node.end_lineno or 0, node.end_col_offset or 0)
    return (node.lineno, node.col_offset) <= (line, start) and (line, end) <= last


def first_line(node: ast.stmt) -> int:
    """The line of a statement, or of its first decorator."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _parse(raw: bytes) -> ast.Module | None:
    """The syntax tree, decoded as PEP 263 says; None where Python would not compile it."""
    try:
        return ast.parse(raw)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _import_text(item: Item) -> str:
    """One name of an import statement, however many names stand in the statement."""
    assert item.alias is not None  # noqa: S101 - the caller has asked
    asname = "" if item.alias.asname is None else f" as {quote(item.alias.asname)}"
    if isinstance(item.node, ast.ImportFrom):
        source = f"from {item.node.level} {quote(item.node.module or '')} "
    else:
        source = ""
    return f"{source}import {quote(item.alias.name)}{asname}"
