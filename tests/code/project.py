"""A small project on disk whose modules are written, imported, traced, edited and traced again."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gitml.code.closure import Closure, Tracer
from tests.workshop import Workshop

Write = Callable[[str], Workshop]
"""Takes the text of a module, and gives the workshop in which it is committed."""


class Project:
    """A repository's code in a folder; every `load` imports it as a new process would."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.setattr(sys, "path", [str(root), *sys.path])

    def write(self, path: str, text: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = textwrap.dedent(text).encode() if isinstance(text, str) else text
        file.write_bytes(raw)

    def forget(self) -> None:
        """Drop the project's modules from memory, as the end of the process would."""
        for name, module in sys.modules.copy().items():
            places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
            if any(place and str(place).startswith(str(self.root)) for place in places):
                del sys.modules[name]
        importlib.invalidate_caches()
        sys.path_importer_cache.clear()

    def load(self, module: str = "steps") -> ModuleType:
        self.forget()
        return importlib.import_module(module)

    def trace(self, function: Any, **options: Any) -> Closure:
        return Tracer(self.root).trace(getattr(function, "function", function), **options)

    def closure(self, name: str = "train", module: str = "steps", **options: Any) -> Closure:
        return self.trace(getattr(self.load(module), name), **options)

    def is_miss_after(self, path: str, text: str | bytes, **options: Any) -> bool:
        """Whether writing this file changes the code that the step's key counts."""
        before = self.closure(**options)
        self.write(path, text)
        after = self.closure(**options)
        assert before.uncached is None, before.uncached
        assert after.uncached is None, after.uncached
        return before.code_id != after.code_id


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path, monkeypatch)
    yield made
    made.forget()
