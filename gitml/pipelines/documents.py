"""TOML, YAML and JSON files that people write: read whole, and refused where a key stands twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitml.errors import GitmlError, UsageError

_MOST_VALUES = 100_000


def read_document(path: Path) -> Any:
    """What a TOML, YAML or JSON file holds; raises UsageError for one that cannot be read.

    Raises GitmlError for YAML without PyYAML.
    """
    read = _FORMATS.get(path.suffix)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", hint=_neighbour(path)) from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder", hint="name a file in it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read") from error
    if read is None:
        raise UsageError(
            f"{path} is no file of parameters", hint="it ends in .toml, .yaml or .json"
        )
    try:
        document = read(data)
        _count_values(document)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    return document


def _neighbour(path: Path) -> str:
    """A hint to a file beside a path that does not exist."""
    import difflib

    known = [str(one) for one in path.parent.glob("*") if one.suffix in _FORMATS]
    near = difflib.get_close_matches(str(path), known, n=1)
    return f"did you mean `{near[0]}`?" if near else "a path begins in the folder where you are"


def _count_values(document: Any) -> None:
    """Raise ValueError for more values than a person writes: aliases of YAML multiply, or loop."""
    count, waiting = 0, [document]
    while waiting:
        one = waiting.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ValueError("it has too many values, or one that holds itself")
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _toml(data: bytes) -> Any:
    import tomllib

    return tomllib.loads(data.decode())


def _yaml(data: bytes) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise GitmlError(
            "reading YAML needs PyYAML, which is not installed", hint="`pip install 'gitml[yaml]'`"
        ) from error
    try:
        loader = yaml.SafeLoader(data)
        try:
            node = loader.get_single_node()
            _refuse_twice(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def _refuse_twice(node: Any) -> None:
    """Raise ValueError for a key that a table of YAML has twice: one of them would be lost."""
    waiting, met = [(node, "")] if node is not None else [], set[int]()
    while waiting:
        one, path = waiting.pop()
        if id(one) in met:  # an alias
            continue
        met.add(id(one))
        if one.id == "sequence":
            waiting += [(inner, f"{path}[{n}]") for n, inner in enumerate(one.value)]
        elif one.id == "mapping":
            lines: dict[tuple[str, str], int] = {}
            for key, value in one.value:
                if key.id != "scalar":
                    continue
                name, line = f"{path}.{key.value}".lstrip("."), key.start_mark.line + 1
                if first := lines.get((key.tag, key.value)):
                    raise ValueError(f"line {line}: `{name}` is set already, in line {first}")
                lines[key.tag, key.value] = line
                waiting.append((value, name))


def _json(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_table_of)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error


def _table_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands twice in one table")
    return table


_FORMATS: dict[str, Callable[[bytes], Any]] = {
    ".toml": _toml,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
}
