"""Whether a module in memory is still the file on disk.

In a long-lived process (a notebook) a module may be edited after its import. Its old code would run
and its results would be filed under the new code, for everybody, for ever.
"""

from __future__ import annotations

import ast
import functools
import os
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gitml.code.bytecode import drop_outdated_of


def innermost(function: Any) -> Any:
    """The function below partials and wrappers that say what they wrap."""
    for _ in range(100):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType) and isinstance(function.__self__, type):
            function = function.__func__
        elif not isinstance(function, type) and hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            break
    return function


def differs_from_disk(
    path: Path, raw: bytes, tree: ast.Module | None, namespace: Mapping[str, Any]
) -> bool:
    """Whether functions or constants of the loaded module are not those of its file.

    A file that is older than this process was read as it is, unless outdated bytecode stood for it:
    only others are compiled and compared. A shifted line is a difference too: nobody can tell how
    much was edited.
    """
    if not namespace.get("__file__"):
        return False
    if path.stat().st_mtime < _process_start() and not drop_outdated_of(str(path)):
        return False
    if tree is None:
        return path.suffix == ".py"
    try:
        on_disk = set(_codes(compile(raw, str(path), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return True
    if any(code not in on_disk for code in _loaded_codes(path, namespace)):
        return True
    return any(
        name in namespace and _unequal(namespace[name], value) for name, value in _constants(tree)
    )


@functools.cache
def _process_start() -> float:
    """When this process began, in seconds of the epoch; 0 where the system does not say."""
    try:
        started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        booted = Path("/proc/stat").read_text().partition("btime ")[2].split()[0]
        return int(booted) + int(started) / os.sysconf("SC_CLK_TCK") - 2
    except (OSError, ValueError, IndexError):
        return 0.0


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _loaded_codes(path: Path, namespace: Mapping[str, Any]) -> Iterator[types.CodeType]:
    """The code of the functions and methods that the module's names hold and its file defined."""
    values = list(namespace.values())
    for value in list(values):
        if isinstance(value, type) and value.__module__ == namespace.get("__name__"):
            values += vars(value).values()
    for value in values:
        function = innermost(value)
        if isinstance(function, types.FunctionType) and _is_same(
            Path(function.__code__.co_filename), path
        ):
            yield function.__code__


def _is_same(compiled: Path, path: Path) -> bool:
    """Whether code says that it is from this file; a script's may name it relatively."""
    if compiled == path or not compiled.is_absolute():
        return compiled.name == path.name
    return compiled.name == path.name and compiled.resolve() == path.resolve()


def _constants(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """The names that the file binds exactly once, to a literal."""
    bound: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.setdefault(node.id, []).append(None)
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                if len(bound[name]) == 1:
                    yield name, value


def _unequal(held: object, written: object) -> bool:
    return type(held) is type(written) and held != written
