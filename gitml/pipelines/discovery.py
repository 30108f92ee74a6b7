"""Finding pipelines by reading files; only the one that is to run is imported."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gitml.errors import AmbiguousName, GitmlError, NameNotFound, UsageError

if TYPE_CHECKING:
    from gitml.pipelines.dsl import PipelineFunction

_SKIPPED = frozenset({".git", ".venv", "venv", "__pycache__", "node_modules", "site-packages"})

_OURS = frozenset({"gitml", "gitml.interop.zenml"})
"""The modules that have a ``pipeline`` decorator."""


class Definition(NamedTuple):
    """A function with ``@pipeline`` as it stands in a file: its name, its path, its doc line."""

    name: str
    path: Path
    function: str
    summary: str = ""


def find(root: Path, paths: Iterable[str]) -> list[Definition]:
    """The pipelines below these paths of the repository, by name; no code of it is run."""
    found: dict[tuple[str, Path], Definition] = {}
    for one in paths:
        for file in _python_files(root / one):
            for definition in definitions(file):
                found[(definition.name, file)] = definition
    return sorted(found.values())


def definitions(file: Path) -> list[Definition]:
    """The pipelines that a file defines; none where it is not valid Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names = _decorator_names(tree)
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                call = decorator.func if isinstance(decorator, ast.Call) else decorator
                if ast.unparse(call) in names:
                    name = _given_name(decorator) or node.name
                    summary = (ast.get_docstring(node) or "").partition("\n")[0]
                    found.append(Definition(name, file, node.name, summary))
    return found


def load(definition: Definition, root: Path) -> PipelineFunction:
    """The pipeline function of a definition, its file imported as ``python FILE`` would see it.

    Modules are found at the root and in its ``src``, too.
    """
    from gitml.pipelines.dsl import PipelineFunction  # listing pipelines has no use for these
    from gitml.pipelines.observe import importing

    module_name = ".".join(_inside(definition.path, root).with_suffix("").parts)
    for folder in (root, root / "src", definition.path.parent):
        if str(folder) not in sys.path and folder.is_dir():
            sys.path.insert(0, str(folder))
    module = sys.modules.get(module_name)
    if module is None or getattr(module, "__file__", None) != str(definition.path):
        spec = importlib.util.spec_from_file_location(module_name, definition.path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{definition.path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            with importing():
                spec.loader.exec_module(module)
        except GitmlError:
            sys.modules.pop(module_name, None)
            raise
        except Exception as error:
            sys.modules.pop(module_name, None)
            raise UsageError(
                f"{_inside(definition.path, root)} cannot be imported",
                hint=f"`python {_inside(definition.path, root)}` shows the whole traceback",
            ) from error
    function = getattr(module, definition.function, None)
    if not isinstance(function, PipelineFunction):
        raise UsageError(f"{definition.function} in {definition.path} is no pipeline")
    return function


def choose(text: str, root: Path, paths: Iterable[str], here: Path) -> Definition:
    """The pipeline that ``NAME``, ``FILE.py`` or ``FILE.py:NAME`` means.

    Raises NameNotFound with the nearest names, AmbiguousName where a file or name fits several.
    """
    file, colon, name = text.partition(":")
    if file.endswith(".py"):
        return _in_file(Path(os.path.normpath(here / file)), name if colon else None, root)
    known = find(root, paths)
    hits = [one for one in known if one.name == text]
    if len(hits) > 1:
        spellings = " or ".join(f"`{_inside(one.path, root)}:{text}`" for one in hits)
        raise AmbiguousName(f"several pipelines are called {text}", hint=f"write {spellings}")
    if not hits:
        for candidate in (one for path in paths for one in _python_files(root / path)):
            if fault := _syntax_fault(candidate):
                broken = _inside(candidate, root)
                raise NameNotFound(
                    f"no pipeline is called `{text}`, and {broken} is no valid Python",
                    hint=f"{fault}; `python -m py_compile {broken}` shows it",
                )
        where = ", ".join(paths)
        raise NameNotFound.among(
            "pipeline",
            text,
            [one.name for one in known],
            hint=f"no file below {where} defines a function with `@pipeline`; "
            "`[pipelines] paths` in gitml.toml says where to look",
        )
    return hits[0]


def _in_file(file: Path, name: str | None, root: Path) -> Definition:
    if not file.is_file():
        raise NameNotFound(f"no such file: {file}")
    _inside(file, root)
    known = definitions(file)
    if not known and (fault := _syntax_fault(file)):
        raise UsageError(f"{_inside(file, root)} is no valid Python: {fault}")
    if name is not None:
        for one in known:
            if name in (one.name, one.function):
                return one
        raise NameNotFound.among("pipeline", name, [one.name for one in known])
    if len(known) != 1:
        spellings = " or ".join(f"`{file.name}:{one.name}`" for one in known)
        what = "several pipelines" if known else "no pipeline"
        raise AmbiguousName(
            f"{file.name} defines {what}", hint=f"write {spellings}" if known else None
        )
    return known[0]


def _syntax_fault(file: Path) -> str | None:
    """Where and why a file cannot be parsed, None where it can."""
    try:
        ast.parse(file.read_bytes())
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _inside(path: Path, root: Path) -> Path:
    try:
        return path.resolve().relative_to(root.resolve())
    except ValueError as error:
        raise UsageError(f"{path} is outside of the repository {root}") from error


def _python_files(path: Path) -> Iterator[Path]:
    if path.is_file() and path.suffix == ".py":
        yield path
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(one for one in folders if one not in _SKIPPED)
        yield from (Path(folder) / one for one in sorted(files) if one.endswith(".py"))


def _decorator_names(tree: ast.Module) -> set[str]:
    """How the file spells gitml's ``pipeline`` decorator, read from its imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in _OURS:
            names |= {one.asname or one.name for one in node.names if one.name == "pipeline"}
        elif isinstance(node, ast.Import):
            for one in node.names:
                if one.name == "gitml":
                    names.add(f"{one.asname or one.name}.pipeline")
    return names


def _given_name(decorator: ast.expr) -> str | None:
    """The ``name="…"`` of a decorator call."""
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None
