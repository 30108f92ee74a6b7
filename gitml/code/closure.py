"""The static closure of a step: all the code that its result can depend on, found by reading.

No module is imported and nothing is run here. Which rule guards against which stale hit or needless
miss stands in docs/design/0002-step-cache-key.md.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitml.code.cells import CELLS, Cells, is_cell
from gitml.code.imports import Imported, Resolver, Territory, versions
from gitml.code.loaded import differs_from_disk, innermost
from gitml.code.sourcefile import Item, SourceFile, digest_text
from gitml.code.syntax import Import, Touched, canonical, quote, touched
from gitml.code.values import NotPlain, Refer, TooLarge, canonical_value, looks_secret
from gitml.entities.records import CodeFile
from gitml.errors import UsageError

MAX_VALUE = 64 * 1024

# Objects whose state is never data: they stand for a type, a name or an order of events.
_INERT_MODULES = frozenset({"typing", "typing_extensions", "types", "_thread", "logging", "gitml"})

_CODE = (types.FunctionType, types.ModuleType, type)


@dataclass(frozen=True)
class Closure:
    """The code that a step's result can depend on.

    ``source`` is the repository path and qualified name (``pipelines/training.py:train``).
    ``code_id`` is the digest of ``parts``, without Python's version: equal ids are equal code.
    ``parts`` maps a readable name (``definition features/clean.py:scale``) to a digest, so that
    two closures can be compared and the difference named. ``files`` are all repository files that
    entered, sorted. ``distributions`` are those that the closure imports directly, with versions
    or "absent". ``modules`` are the dotted names of its local modules. ``uncached`` is the reason
    why the step must always run, if there is one. ``warnings`` say what the key cannot see.
    ``computed_imports`` says that the code imports by computed names, so that a module which is
    loaded already may be used without anybody seeing it (the Observer then counts them all).
    ``cell`` is the source of a step that stands in no file, with the definitions that it reaches;
    ``held`` is what its names meant in ``space`` when it was read.
    """

    source: str
    code_id: str
    files: tuple[CodeFile, ...]
    parts: Mapping[str, str]
    distributions: Mapping[str, str]
    modules: frozenset[str]
    uncached: str | None
    warnings: tuple[str, ...]
    computed_imports: bool = False
    cell: str | None = None
    held: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    space: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def redefined(self) -> str | None:
        """A name that the step reaches and that a cell has given another meaning since."""
        return next((one for one in self.held if self.space.get(one) is not self.held[one]), None)


def unwrap(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function inside a `functools.partial`, and the arguments bound to it, by parameter.

    Bound arguments are parameters of the step. Raises UsageError when they do not fit.
    """
    if not isinstance(function, functools.partial):
        return function, {}
    inner = function.func
    try:
        bound = inspect.signature(inner).bind_partial(*function.args, **function.keywords)
    except TypeError as error:
        raise UsageError(f"the arguments of the partial do not fit: {error}") from error
    except ValueError:  # a function in C without a signature
        places = {str(place): value for place, value in enumerate(function.args)}
        return inner, {**places, **function.keywords}
    return inner, dict(bound.arguments)


class Tracer:
    """Traces the closures of one plan's steps; parses each file once, and reads each value once.

    It must not outlive the plan: files and values that change later would not be seen.
    """

    def __init__(self, root: Path) -> None:
        self.territory = Territory(root)
        self.resolver = Resolver(self.territory)
        self._paths: dict[str, str | None] = {}
        self._files: dict[str, SourceFile] = {}
        self._cells: Cells | None = None
        self._targets: dict[int, list[Imported]] = {}
        self._values: dict[tuple[int, str], tuple[object, str]] = {}
        self._changed: dict[tuple[str, int], bool] = {}
        self._versions: dict[str, dict[str, str] | None] = {}

    def trace(
        self, function: Callable[..., Any], *, declared_environment: Iterable[str] = ()
    ) -> Closure:
        """The closure of a step's function; one that cannot be cached says so in ``uncached``."""
        inner, _ = unwrap(function)
        plain = innermost(inner)
        if not isinstance(plain, types.FunctionType):
            return _without_source(plain, f"`{_title(plain)}` has no source")
        path = self.path_of_code(plain)
        if path is None:
            return _without_source(plain, _no_source(plain))
        file = self.cells(plain) if path == CELLS else self.file(path)
        found = file.find(plain.__code__)
        if found is None:
            return _without_source(plain, f"`{_title(plain)}` cannot be found in {path}", path)
        return _Trace(self, plain, file, found).closure(frozenset(declared_environment))

    def trace_block(self, code: types.CodeType, line: int, space: dict[str, Any]) -> Closure:
        """The closure of a block at a line of some code: its whole file, and what that reaches.

        In a notebook it is the statement of its cell.
        """
        function = _standing_for(code, line, space)
        path = self.path_of_code(function)
        if path is None:
            return _without_source(function, _no_source(function))
        file = self.cells(function) if path == CELLS else self.file(path)
        around = file.items_around(function.__code__) if path == CELLS else []
        node: ast.AST = around[0].node if around else file.tree or ast.Module([], [])
        return _Trace(self, function, file, (node, None)).closure(frozenset())

    def path_of_code(self, function: types.FunctionType) -> str | None:
        """The repository path of the file that a function was compiled from, or None.

        ``<cell>`` for one that was defined in a notebook or a shell.
        """
        name = function.__code__.co_filename
        if is_cell(name):
            self.cells(function)
            return CELLS
        if not name.startswith("/"):  # a script's code says how it was called, or `<stdin>`
            name = str(function.__globals__.get("__file__") or name)
        if name not in self._paths:
            path = self.territory.path_of(os.path.abspath(name))  # noqa: PTH100 - keeps symlinks
            is_file = path is not None and Path(self.territory.root, path).is_file()
            self._paths[name] = path if is_file else None
        return self._paths[name]

    def cells(self, function: types.FunctionType) -> Cells:
        """What is live of the cells that share a function's namespace, read once."""
        if self._cells is None:
            self._cells = self._files[CELLS] = Cells(function.__globals__)
        return self._cells

    def file(self, path: str) -> SourceFile:
        """The file at a repository path, read once."""
        if path not in self._files:
            raw = Path(self.territory.root, path).read_bytes()
            self._files[path] = SourceFile(path, raw, self._is_ours)
        return self._files[path]

    def targets(self, file: SourceFile, node: Import, package: str) -> list[Imported]:
        """What one import statement reaches, submodules named in ``from x import y`` included."""
        if id(node) not in self._targets:
            self._targets[id(node)] = self._resolve(file, node, package)
        return self._targets[id(node)]

    def _resolve(self, file: SourceFile, node: Import, package: str) -> list[Imported]:
        resolver, beside = self.resolver, file.folder
        if isinstance(node, ast.Import):
            return [resolver.absolute(alias.name, beside) for alias in node.names]
        names, module = [alias.name for alias in node.names], node.module or ""
        if node.level:
            dotted = [module, *(f"{module}.{name}" if module else name for name in names)]
            return [resolver.relative(package, node.level, one, beside) for one in dotted]
        dotted = [module, *(f"{module}.{name}" for name in names)]
        return [resolver.absolute(one, beside) for one in dotted]

    def is_changed(self, file: SourceFile, namespace: Mapping[str, Any]) -> bool:
        """Whether the module in memory is not the file on disk any more."""
        key = (file.path, id(namespace))
        if key not in self._changed:
            full = Path(self.territory.root, file.path)
            self._changed[key] = differs_from_disk(full, file.raw, file.tree, namespace)
        return self._changed[key]

    def versions(self, name: str) -> dict[str, str] | None:
        """The distributions behind a top-level module, asked once."""
        if name not in self._versions:
            self._versions[name] = versions(name)
        return self._versions[name]

    def value(self, space: Mapping[str, Any], name: str, value: object, refer: Refer) -> str:
        """The canonical text of a value, once per plan: a thousand steps may share a table."""
        known = self._values.get((id(space), name))
        if known is None or known[0] is not value:
            text = canonical_value(value, refer, root=self.territory.root, limit=MAX_VALUE)
            if "@" in text:  # references must be followed for every step
                return text
            known = self._values[id(space), name] = (value, text)
        return known[1]

    def _is_ours(self, file: SourceFile, decorator: ast.expr) -> bool:
        """Whether a decorator is gitml's ``step`` or ``pipeline``, also through a local module."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        names = []
        while isinstance(called, ast.Attribute):
            names.append(called.attr)
            called = called.value
        if not isinstance(called, ast.Name):
            return False
        return self._leads_to_us(file, [called.id, *reversed(names)], 0)

    def _leads_to_us(self, file: SourceFile, names: list[str], depth: int) -> bool:
        """Whether a dotted name of a file is one of our decorators, by its import statements."""
        for node in file.imports:
            for alias in node.names:
                if (alias.asname or alias.name.partition(".")[0]) != names[0]:
                    continue
                module = alias.name if isinstance(node, ast.Import) else node.module or ""
                last = names[-1] if isinstance(node, ast.Import) or names[1:] else alias.name
                if module.partition(".")[0] == "gitml" and not getattr(node, "level", 0):
                    return last in ("step", "pipeline")
                if isinstance(node, ast.ImportFrom) and not names[1:] and depth < 5:
                    reached = self.targets(file, node, "")
                    return any(
                        self._leads_to_us(self.file(path), [alias.name], depth + 1)
                        for one in reached
                        for path, _ in one.files[-1:]
                        if path != file.path
                    )
        return False


class _Trace:
    """The search for one step's closure: names of its own module, and modules beyond it."""

    def __init__(
        self,
        tracer: Tracer,
        function: types.FunctionType,
        file: SourceFile,
        found: tuple[ast.AST, Item | None],
    ) -> None:
        self.tracer = tracer
        self.resolver = tracer.resolver
        self.function = function
        self.file = file
        self.node, self.around = found
        self.space: Mapping[str, Any] = function.__globals__
        self.package = self.space.get("__package__") or _parent(self.resolver.dotted(file.path))
        self.names: dict[str, bool] = {}  # name → whether it is read when the step runs
        self.items: set[Item] = set()
        self.modules: dict[str, str] = {}  # repository path → dotted name
        self.foreign: set[str] = set()
        self.values: dict[str, str] = {}
        self.reasons: set[str] = set()
        self.touched: set[tuple[str, Touched]] = set()
        self._pending: list[tuple[str, bool]] = []
        self._entering: list[tuple[str, str]] = []
        self._following: set[int] = set()

    def closure(self, declared: frozenset[str]) -> Closure:
        """Search, then write down what was found."""
        item = self.file.item_of.get(id(self.node))
        nodes = self.node.body if isinstance(self.node, ast.Module) else [self.node]
        own = item.touched if item else touched(nodes)
        self._touch(own, late=True, hidden=frozenset(self.function.__code__.co_freevars))
        if self.around:
            self._count(self.around, late=True)
        for path in self.resolver.parents(self.file.path):
            self._enter(path, self.resolver.dotted(path))
        for node in self.file.effects:
            self._import(self.file, node, self.package)
        self._following.add(id(self.function))
        for name, value in _cells(self.function):
            self._value(f"cell {name}", f"the mutable cell `{name}`", value)
        self._search()
        self._check_memory()
        if isinstance(self.file, Cells):
            self.reasons |= {
                f"several cells define the class `{name}`, and nobody knows which came last"
                for name in self.file.doubts & self.names.keys()
            }
        parts = self._parts()
        distributions = self._distributions(parts)
        text = "code 1" + "".join(f" {quote(key)} {parts[key]}" for key in sorted(parts))
        own_names = {self.function.__module__, self.resolver.dotted(self.file.path)}
        return Closure(
            source=f"{self.file.path}:{self.function.__qualname__}",
            code_id=digest_text(text),
            files=self._code_files(),
            parts=parts,
            distributions=distributions,
            modules=frozenset({*own_names, *self.modules.values()}),
            uncached=min(self.reasons, default=None),
            warnings=self._warnings(declared),
            computed_imports=any("" in what.dynamic for _, what in self.touched),
            **self._cell(),
        )

    def _cell(self) -> dict[str, Any]:
        """The text of a step that stands in no file, and what its names hold while it is read."""
        if not isinstance(self.file, Cells):
            return {}
        read = {name for name in self.names if not _is_dunder(name) and not looks_secret(name)}
        nodes = {item.node for item in self.items} | self.file.assignments(read)
        held = {name: self.space[name] for name in self.names if name in self.space}
        text = self.file.text_of(nodes, self.function.__code__)
        return {"cell": text, "held": held, "space": self.space}

    def _search(self) -> None:
        """Follow names and modules until nothing new turns up; the order decides nothing."""
        while self._pending or self._entering:
            while self._entering:
                self._read_module(*self._entering.pop())
            if self._pending:
                name, late = self._pending.pop()
                if name not in self.names or self.names[name] < late:
                    self.names[name] = late
                    self._reach(name, late)

    def _reach(self, name: str, late: bool) -> None:
        """A name of the step's own module: what defines or changes it, and what it holds now."""
        for item in self.file.by_name.get(name, ()):
            if item.node is not self.node:
                self._count(item, late)
        kinds = self.file.bound.get(name, set())
        if name not in self.space or kinds == {"definition"} or _is_dunder(name):
            return
        if kinds == {"import"} and (
            isinstance(self.space[name], _CODE) or not self._is_local(name)
        ):
            return
        if self._is_secret(name):
            return
        reason = f"the mutable global `{name}`" if late and kinds != {"import"} else None
        self._value(f"global {name}", reason, self.space[name])

    def _value(self, part: str, reason: str | None, value: object) -> None:
        """Count what a global or a cell holds; what cannot be written down is a ``reason``."""
        name = part.partition(" ")[2]
        try:
            self.values[part] = self.tracer.value(self.space, name, value, self._refer)
        except TooLarge:
            if reason:
                self.reasons.add(f"{part.partition(' ')[0]} `{name}` holds more than 64 KiB")
        except NotPlain:
            if reason:
                self.reasons.add(reason)

    def _count(self, item: Item, late: bool) -> None:
        self.items.add(item)
        if item.alias is not None:
            self._import(self.file, item.node, self.package, item.alias)
        else:
            self._touch(item.touched, late)

    def _touch(self, what: Touched, late: bool, hidden: frozenset[str] = frozenset()) -> None:
        """Follow all that a piece of the step's own module touches."""
        self.touched.add((self.file.path, what))
        self._pending += [(name, late and name in what.late) for name in what.reads - hidden]
        for node in what.imports:
            self._import(self.file, node, self.package)
        self._dynamic(self.file, what, self.package)
        if what.reads_any_name:
            self._enter(self.file.path, self.resolver.dotted(self.file.path))
        for owner, name in what.attributes:
            module = self.space.get(owner)
            if isinstance(module, types.ModuleType) and name in vars(module):
                self._attribute(owner, name, module)

    def _attribute(self, owner: str, name: str, module: types.ModuleType) -> None:
        """A value asked of a local module (``config.depth``), which a script may have set."""
        value = vars(module)[name]
        if isinstance(value, _CODE) or _is_dunder(name):  # the module counts whole
            return
        if self.tracer.territory.path_of(getattr(module, "__file__", None) or ""):
            self._value(f"global {owner}.{name}", None, value)

    def _import(
        self, file: SourceFile, node: ast.AST, package: str, only: ast.alias | None = None
    ) -> None:
        """Follow an import statement, or what one of its names needs."""
        assert isinstance(node, Import)  # noqa: S101 - callers have looked
        targets = self.tracer.targets(file, node, package)
        if only is not None and len(targets) > 1:
            place = node.names.index(only)
            if isinstance(node, ast.Import):
                targets = targets[place : place + 1]
            else:
                targets = [targets[0], targets[place + 1]]
        for one in targets:
            self._reached(one)

    def _reached(self, imported: Imported) -> None:
        for path, dotted in imported.files:
            self._enter(path, dotted)
        if imported.foreign:
            self.foreign.add(imported.foreign)

    def _enter(self, path: str, dotted: str) -> None:
        """Count a module of the repository whole, with the packages that hold it."""
        if path not in self.modules:
            self.modules[path] = dotted
            self._entering.append((path, dotted))
            for parent in self.resolver.parents(path):
                self._enter(parent, self.resolver.dotted(parent))

    def _read_module(self, path: str, dotted: str) -> None:
        file = self.tracer.file(path)
        package = dotted if path.endswith("/__init__.py") else _parent(dotted)
        self.touched.add((path, file.whole))
        for node in file.module_imports:
            self._import(file, node, package)
        self._dynamic(file, file.whole, package)

    def _dynamic(self, file: SourceFile, what: Touched, package: str) -> None:
        """Follow the literal names in ``import_module("x")``."""
        for name in what.dynamic:
            bare = name.lstrip(".")
            if bare != name:
                level = len(name) - len(bare)
                self._reached(self.resolver.relative(package, level, bare, file.folder))
            elif name:
                self._reached(self.resolver.absolute(name, file.folder))

    def _refer(self, value: Any) -> str:
        """The text of a function, class or module found in a value; its code is followed.

        Raises NotPlain for any other object, unless its state is never data.
        """
        if isinstance(value, types.ModuleType):
            self._reached(self.resolver.absolute(value.__name__, self.file.folder))
            return f"module {value.__name__}"
        plain = innermost(value)
        if isinstance(plain, types.FunctionType):
            return self._refer_to_function(plain)
        if isinstance(plain, type):
            return self._refer_to(plain, self._path_of_class(plain))
        if isinstance(plain, types.BuiltinFunctionType) and _owner_is_module(plain):
            return self._refer_to(plain, None)
        if _is_inert(value):
            return f"inert {type(value).__module__}.{type(value).__qualname__}"
        raise NotPlain

    def _refer_to_function(self, function: types.FunctionType) -> str:
        """A function by its place and by what its cells and defaults hold."""
        path = self.tracer.path_of_code(function)
        text = self._refer_to(function, path)
        if path is None or id(function) in self._following:
            return text
        self._following.add(id(function))
        try:
            held = (dict(_cells(function)), function.__defaults__, function.__kwdefaults__)
            if any(held):
                text += " " + canonical_value(
                    held, self._refer, root=self.tracer.territory.root, limit=MAX_VALUE
                )
        finally:
            self._following.discard(id(function))
        if path == self.file.path:
            self._count_around(function)
        return text

    def _refer_to(self, value: Any, path: str | None) -> str:
        module, name = value.__module__ or "builtins", value.__qualname__
        if path is None:
            self._reached(self.resolver.absolute(module.partition(".")[0], self.file.folder))
            return f"{module}:{name}"
        if path != self.file.path:
            self._enter(path, self.resolver.dotted(path) if module == "__main__" else module)
        else:
            self._pending.append((name.partition(".")[0], True))
        return f"{path}:{name}"

    def _count_around(self, function: types.FunctionType) -> None:
        """Count the top-level statement that a function of the own module stands in."""
        for item in self.file.items_around(function.__code__):
            if item.node is not self.node:
                self._count(item, late=True)

    def _path_of_class(self, value: type) -> str | None:
        if value.__module__ == self.function.__module__:
            return self.file.path
        file = getattr(sys.modules.get(value.__module__), "__file__", None)
        path = self.tracer.territory.path_of(file) if file else None
        return None if value.__module__.partition(".")[0] == "gitml" else path

    def _is_local(self, name: str) -> bool:
        """Whether an import of the own module binds this name to something of the repository."""
        return any(
            one.files
            for item in self.file.by_name.get(name, ())
            if item.alias is not None
            for one in self.tracer.targets(self.file, item.node, self.package)  # type: ignore[arg-type]
        )

    def _is_secret(self, name: str) -> bool:
        """Whether a global was read from an environment variable that looks like a secret."""
        return any(
            looks_secret(variable)
            for item in self.file.by_name.get(name, ())
            if item.kind == "statement" and name in item.touched.binds
            for variable in item.touched.environment
        )

    def _check_memory(self) -> None:
        """A module that was edited after its import would file old results under new code."""
        loaded = [(self.file.path, self.space)]
        for path, dotted in self.modules.items():
            module = sys.modules.get(dotted)
            if module is not None:
                loaded.append((path, vars(module)))
        for path, space in loaded:
            if path != CELLS and self.tracer.is_changed(self.tracer.file(path), space):
                self.reasons.add(f"{path} has changed on disk since it was imported")

    def _parts(self) -> dict[str, str]:
        docstrings = any(what.reads_docstrings for _, what in self.touched)
        item = self.file.item_of.get(id(self.node))
        if item is not None:
            own = item.digest(docstrings)
        else:
            own = digest_text(canonical(self.node, docstrings=docstrings))
        parts = {f"function {self.function.__qualname__}": own}
        statements = []
        for item in sorted(self.items, key=lambda item: (item.place, item.name)):
            name = label = f"{item.kind} {self.file.path}:{item.name}"
            count = 1
            while name in parts:
                count += 1
                name = f"{label} #{count}"
            parts[name] = item.digest(docstrings)
            if item.kind == "statement":
                statements.append(name)
        if len(statements) > 1:
            parts[f"order {self.file.path}"] = digest_text(" ".join(map(quote, statements)))
        for feature in self.file.futures:
            parts[f"future {feature}"] = digest_text(feature)
        for path in self.modules:
            parts[f"module {path}"] = self.tracer.file(path).digest(docstrings)
        for name, text in self.values.items():
            parts[name] = digest_text(text)
        return dict(sorted(parts.items()))

    def _distributions(self, parts: dict[str, str]) -> dict[str, str]:
        """The versions of what is imported from elsewhere; they become parts."""
        found: dict[str, str] = {}
        for name in self.foreign:
            owners = self.tracer.versions(name)
            if owners is None:
                self.reasons.add(f"`{name}` is neither in the repository nor a distribution")
            else:
                found.update(owners)
        for name, version in found.items():
            parts[f"distribution {name}"] = digest_text(quote(version))
        return dict(sorted(found.items()))

    def _code_files(self) -> tuple[CodeFile, ...]:
        paths = sorted({self.file.path, *self.modules} - {CELLS})
        return tuple(CodeFile(path, self.tracer.file(path).blob) for path in paths)

    def _warnings(self, declared: frozenset[str]) -> tuple[str, ...]:
        found = {
            f"`{name}` looks like a secret: the key only holds whether it is set"
            for name in declared
            if looks_secret(name)
        }
        for path, what in self.touched:
            found |= {
                f"{path} reads the environment variable `{name}`, which is not in the cache key; "
                f'declare it with `@step(environment=["{name}"])`'
                for name in what.environment - declared
            }
            if what.starts_processes:
                found.add(f"{path} starts other programs; what they read is not in the cache key")
        return tuple(sorted(found))


def _standing_for(code: types.CodeType, line: int, space: dict[str, Any]) -> types.FunctionType:
    """A function that does nothing, at a line of some code, for what asks where a function is."""

    def block() -> None: ...

    plain = block.__code__.replace(co_filename=code.co_filename, co_firstlineno=line)
    function = types.FunctionType(plain, space)
    function.__qualname__ = code.co_qualname
    function.__module__ = str(space.get("__name__"))
    return function


def _cells(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """The closure cells of a function that hold something."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty cell
            yield name, cell.cell_contents


def _owner_is_module(function: types.BuiltinFunctionType) -> bool:
    """Whether a function in C is one of a module, not a method bound to an object."""
    return function.__self__ is None or isinstance(function.__self__, types.ModuleType)


def _is_inert(value: object) -> bool:
    kind = type(value)
    if kind is object:
        return True
    return kind is not types.SimpleNamespace and any(
        one.__module__.partition(".")[0] in _INERT_MODULES for one in kind.__mro__
    )


def _is_dunder(name: str) -> bool:
    """Names such as ``__file__`` and ``__name__`` say where the module stands, not what it does."""
    return name.startswith("__") and name.endswith("__")


def _parent(dotted: str) -> str:
    return dotted.rpartition(".")[0]


def _no_source(function: types.FunctionType) -> str:
    title = _title(function)
    if function.__code__.co_filename == "<stdin>":
        return (
            f"the source of `{title}` is not known: Python {sys.version_info.major}."
            f"{sys.version_info.minor} keeps none of what is typed (IPython does)"
        )
    return f"the source of `{title}` is not in the repository"


def _title(function: object) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name)


def _without_source(function: object, reason: str, path: str | None = None) -> Closure:
    """The closure of what cannot be read: it has an identity and a reason, and is never cached."""
    source = f"{path or getattr(function, '__module__', None) or 'builtins'}:{_title(function)}"
    return Closure(
        source=source,
        code_id=digest_text("code 1 uncached " + quote(source)),
        files=(),
        parts={},
        distributions={},
        modules=frozenset(),
        uncached=reason,
        warnings=(),
    )
