"""Syntax trees for the cache key: one canonical text, and the names that a piece of code touches.

The canonical text is ours (docs/design/0002-step-cache-key.md), not ``ast.dump``: it has no
positions, no comments and no empty fields, so a new optional field in a later Python changes no
key. Both walks keep their own stack, since a chain of a thousand ``+`` is deeper than Python
recurses.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

quote = encode_basestring_ascii
"""A string as JSON writes it in ASCII: how the canonical texts quote."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Import = ast.Import | ast.ImportFrom
_Names = tuple[set[str], set[str], set[str]]

# `ctx` follows from the place, `kind` is the `u` of `u"x"`, the others are comments.
_UNWRITTEN = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_READS_DOCSTRINGS = frozenset({"__doc__", "getdoc"})
_READS_SUBCLASSES = frozenset({"__init_subclass__", "__subclasses__"})
_WORDS = _READS_DOCSTRINGS | _READS_SUBCLASSES
_SUBPROCESS = frozenset({"system", "popen", "fork", "posix_spawn", "posix_spawnp", "startfile"})


@dataclass(frozen=True, eq=False)
class Touched:
    """What a piece of code touches, as far as can be read without running it.

    ``reads`` are names that it takes from the module around it (or from the builtins), ``late``
    those of them that only function bodies read, ``binds`` those that it sets. ``attributes`` are
    pairs of a name and what is asked of it (``config.depth``), ``environment`` the literals in
    ``os.getenv("X")`` and its spellings, ``dynamic`` the literals in ``import_module("x")``, with
    an empty string for a computed one. ``words`` are the few words that change what counts.
    """

    reads: frozenset[str]
    late: frozenset[str]
    binds: frozenset[str]
    attributes: frozenset[tuple[str, str]]
    imports: tuple[Import, ...]
    environment: frozenset[str]
    dynamic: frozenset[str]
    words: frozenset[str]

    @property
    def reads_docstrings(self) -> bool:
        """Whether the code asks for docstrings, which are then part of the program."""
        return not self.words.isdisjoint(_READS_DOCSTRINGS)

    @property
    def reads_subclasses(self) -> bool:
        """Whether the code, a class, is told of its subclasses or asks for them."""
        return not self.words.isdisjoint(_READS_SUBCLASSES)

    @property
    def reads_any_name(self) -> bool:
        """Whether the code can reach every name of its module: ``globals()``, ``eval``, …."""
        return (
            not self.reads.isdisjoint({"globals", "eval", "exec"})
            or "vars" in self.words
            or (("sys", "modules") in self.attributes and "__name__" in self.reads)
        )

    @property
    def starts_processes(self) -> bool:
        """Whether the code names a way to start another program."""
        return any(
            owner == "subprocess"
            or (owner == "os" and (asked in _SUBPROCESS or asked[:4] == "exec"))
            for owner, asked in self.attributes
        )


def canonical(node: ast.AST, *, docstrings: bool = False) -> str:
    """The canonical text of a syntax tree, in ASCII.

    Without ``docstrings`` those of modules and undecorated functions are left out; classes and
    decorated functions keep theirs, since in some libraries the docstring is the program.
    """
    out: list[str] = []
    stack: list[Any] = [node]
    write, pop, extend = out.append, stack.pop, stack.extend
    while stack:
        item = pop()
        kind = item.__class__
        if kind is str:
            write(item)
        elif kind is ast.Name:
            write(f"(Name id={quote(item.id)})")
        elif kind is ast.Constant:
            write(f"(Constant value={scalar(item.value)})")
        else:
            extend(reversed(_pieces(item, kind, docstrings)))
    return "".join(out)


def scalar(value: object) -> str:
    """The canonical text of a constant: its type and its exact value.

    Raises TypeError for what is not None, a bool, int, float, complex, str, bytes or ``...``;
    subclasses are refused too, since they may mean something else.
    """
    write = _SCALARS.get(value.__class__)
    if write is None:
        raise TypeError(f"{type(value).__name__} is no constant of the language")
    return write(value)


_SCALARS: dict[type, Callable[[Any], str]] = {
    str: quote,
    int: hex,  # decimal digits stop at 4,300
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "none",
    float: lambda value: f"float {value.hex()}",
    complex: lambda value: f"complex {value.real.hex()} {value.imag.hex()}",
    bytes: lambda value: f'bytes "{value.hex()}"',
    type(...): lambda _: "ellipsis",
}


_written: dict[type[ast.AST], list[tuple[str, str]]] = {}


def _written_fields(kind: type[ast.AST]) -> list[tuple[str, str]]:
    fields = _written.get(kind)
    if fields is None:
        names = sorted(name for name in kind._fields if name not in _UNWRITTEN)
        fields = _written[kind] = [(name, f" {name}=") for name in names]
    return fields


def _pieces(node: ast.AST, kind: type[ast.AST], docstrings: bool) -> list[Any]:
    """The text of one node in order, its children still as nodes."""
    pieces: list[Any] = [f"({kind.__name__}"]
    for name, label in _written_fields(kind):
        value = getattr(node, name, None)
        if value is None:
            continue
        if value.__class__ is list:
            if name == "body" and not docstrings:
                value = _without_docstring(node, value)
            elif kind is ast.JoinedStr:
                value = _merged(value)
            if not value:
                continue
            pieces.append(label + "[")
            for child in value:
                pieces.append(child if isinstance(child, ast.AST) else scalar(child))
                pieces.append(" ")
            pieces[-1] = "]"
        elif isinstance(value, ast.AST):
            pieces.append(label)
            pieces.append(value)
        else:
            pieces.append(label + scalar(value))
    pieces.append(")")
    return pieces


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    bare = isinstance(node, ast.Module) or (isinstance(node, Function) and not node.decorator_list)
    if bare and body:
        match body[0]:
            case ast.Expr(value=ast.Constant(value=str())):
                return body[1:]
    return body


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, its literal text in one piece: Pythons cut it differently."""
    merged: list[ast.expr] = []
    for value in values:
        text = _literal(value)
        if merged and text and _literal(merged[-1]):
            merged[-1] = ast.Constant(_literal(merged[-1]) + text)
        elif text or not isinstance(value, ast.Constant):
            merged.append(value)
    return merged


def touched(nodes: Iterable[ast.AST]) -> Touched:
    """What the code of these statements or expressions touches, standing in a module."""
    walk = _Walk()
    reads, late, binds = walk.scope(nodes)
    return Touched(
        reads=frozenset(reads),
        late=frozenset(late),
        binds=frozenset(binds),
        attributes=frozenset(walk.attributes),
        imports=tuple(walk.imports),
        environment=frozenset(walk.environment),
        dynamic=frozenset(walk.dynamic),
        words=frozenset(walk.words),
    )


_children: dict[type[ast.AST], list[str]] = {}


def _child_fields(kind: type[ast.AST]) -> list[str]:
    fields = _children.get(kind)
    if fields is None:
        fields = _children[kind] = [name for name in kind._fields if name not in _UNWRITTEN]
    return fields


class _Walk:
    """One pass over code that collects what it touches, scope by scope.

    Where Python's rules are subtle the walk errs towards "reads": a name too many costs a
    needless miss, a name too few a stale hit. So names of a class body hide nothing, and a
    ``:=`` inside a comprehension binds there only.
    """

    def __init__(self) -> None:
        self.attributes: set[tuple[str, str]] = set()
        self.imports: list[Import] = []
        self.environment: set[str] = set()
        self.dynamic: set[str] = set()
        self.words: set[str] = set()
        self._stack: list[ast.AST] = []
        self._reads: set[str] = set()
        self._late: set[str] = set()
        self._binds: set[str] = set()
        self._outer: set[str] = set()

    def scope(self, nodes: Iterable[ast.AST], bound: Iterable[str] = ()) -> _Names:
        """What a scope reads (inner scopes included), reads late, and binds itself."""
        saved = self._stack, self._reads, self._late, self._binds, self._outer
        self._stack, self._reads, self._late = list(nodes), set(), set()
        self._binds, self._outer = set(bound), set()
        stack = self._stack
        while stack:
            node = stack.pop()
            special = _SPECIAL.get(node.__class__)
            if special is None or special(self, node):
                for name in _child_fields(node.__class__):
                    value = getattr(node, name, None)
                    if value.__class__ is list:
                        stack += [child for child in value if isinstance(child, ast.AST)]
                    elif isinstance(value, ast.AST):
                        stack.append(value)
        result = self._reads | self._outer, self._late, self._binds - self._outer
        self._stack, self._reads, self._late, self._binds, self._outer = saved
        return result

    # Each of the following handles one kind of node; true means "and its children as usual".

    def _name(self, node: ast.Name) -> bool:
        if node.id in _WORDS:
            self.words.add(node.id)
        (self._reads if node.ctx.__class__ is ast.Load else self._binds).add(node.id)
        return False

    def _constant(self, node: ast.Constant) -> bool:
        if node.value.__class__ is str and node.value in _WORDS:
            self.words.add(str(node.value))
        return False

    def _attribute(self, node: ast.Attribute) -> bool:
        if node.attr in _WORDS:
            self.words.add(node.attr)
        if node.value.__class__ is ast.Name:
            self.attributes.add((node.value.id, node.attr))
        return True

    def _call(self, node: ast.Call) -> bool:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        literal = _literal(node.args[0]) if node.args else ""
        if name == "vars" and not node.args:
            self.words.add("vars")
        elif name in ("import_module", "__import__") and node.args:
            self.dynamic.add(literal)
        elif literal and (
            name == "getenv"
            or (
                name in ("get", "setdefault", "pop")
                and isinstance(function, ast.Attribute)
                and _is_environ(function.value)
            )
        ):
            self.environment.add(literal)
        return True

    def _subscript(self, node: ast.Subscript) -> bool:
        if _is_environ(node.value) and _literal(node.slice):
            self.environment.add(_literal(node.slice))
        return True

    def _compare(self, node: ast.Compare) -> bool:
        if _is_environ(node.comparators[0]) and _literal(node.left):
            self.environment.add(_literal(node.left))
        return True

    def _import(self, node: Import) -> bool:
        self.imports.append(node)
        for alias in node.names:
            self._binds.add(alias.asname or alias.name.partition(".")[0])
        return False

    def _global(self, node: ast.Global) -> bool:
        self._outer.update(node.names)
        return False

    def _capture(self, node: Any) -> bool:
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name is not None:
            self._binds.add(name)
        return True

    def _annotated(self, node: ast.AnnAssign) -> bool:
        self._stack += _annotation(node.annotation)
        return True

    def _class(self, node: ast.ClassDef) -> bool:
        self._binds.add(node.name)
        self._stack += [*node.decorator_list, *node.bases, *node.keywords]
        reads, late, _ = self.scope([*node.body, *getattr(node, "type_params", ())])
        self._reads |= reads
        self._late |= late
        return False

    def _function(self, node: Function) -> bool:
        if node.name in _WORDS:
            self.words.add(node.name)
        self._binds.add(node.name)
        self._stack += node.decorator_list
        self._stack += _annotation(node.returns)
        self._parameters(node.args, [*node.body, *getattr(node, "type_params", ())])
        return False

    def _lambda(self, node: ast.Lambda) -> bool:
        self._parameters(node.args, [node.body])
        return False

    def _parameters(self, arguments: ast.arguments, body: list[ast.AST]) -> None:
        stars = [one for one in (arguments.vararg, arguments.kwarg) if one]
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *stars]
        for one in every:
            self._stack += _annotation(one.annotation)
        self._stack += arguments.defaults
        self._stack += [default for default in arguments.kw_defaults if default]
        reads, _, binds = self.scope(body, (one.arg for one in every))
        self._reads |= reads - binds
        self._late |= reads - binds

    def _comprehension(self, node: Any) -> bool:
        first, *others = node.generators
        self._stack.append(first.iter)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        reads, late, binds = self.scope([*results, first.target, *first.ifs, *others])
        self._reads |= reads - binds
        self._late |= late - binds
        return False


_SPECIAL: dict[type[ast.AST], Callable[[_Walk, Any], bool]] = {
    ast.Name: _Walk._name,
    ast.Constant: _Walk._constant,
    ast.Attribute: _Walk._attribute,
    ast.Call: _Walk._call,
    ast.Subscript: _Walk._subscript,
    ast.Compare: _Walk._compare,
    ast.Import: _Walk._import,
    ast.ImportFrom: _Walk._import,
    ast.Global: _Walk._global,
    ast.Nonlocal: _Walk._global,
    ast.ExceptHandler: _Walk._capture,
    ast.MatchAs: _Walk._capture,
    ast.MatchStar: _Walk._capture,
    ast.MatchMapping: _Walk._capture,
    ast.AnnAssign: _Walk._annotated,
    ast.ClassDef: _Walk._class,
    ast.FunctionDef: _Walk._function,
    ast.AsyncFunctionDef: _Walk._function,
    ast.Lambda: _Walk._lambda,
    ast.ListComp: _Walk._comprehension,
    ast.SetComp: _Walk._comprehension,
    ast.DictComp: _Walk._comprehension,
    ast.GeneratorExp: _Walk._comprehension,
}
for _kind in ("TypeVar", "ParamSpec", "TypeVarTuple"):  # since Python 3.12
    if hasattr(ast, _kind):
        _SPECIAL[getattr(ast, _kind)] = _Walk._capture


def _literal(node: ast.AST) -> str:
    """The text of a string literal, or an empty one."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _is_environ(node: ast.AST) -> bool:
    return "environ" in (getattr(node, "id", None), getattr(node, "attr", None))


def _annotation(node: ast.AST | None) -> list[ast.AST]:
    """The expressions of an annotation, which may be written as a string."""
    if node is None:
        return []
    text = _literal(node)
    if text:
        try:
            return [ast.parse(text.strip(), mode="eval").body]
        except (SyntaxError, ValueError):
            return []
    return [node]
