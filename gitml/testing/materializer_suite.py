"""What every materializer must do, as tests: subclass `MaterializerSuite`, give it values.

    class TestMine(MaterializerSuite):
        materializer = MyMaterializer
        library = "mylib"

        def values(self, folder):
            return {"empty": mylib.Thing(), "full": mylib.Thing(1, 2)}

        def refused(self):
            return {"a live one": (mylib.Thing(open=True), "is open")}

The tests are the laws of `gitml.materializers.base`: what is loaded is what was saved, equal values
give equal bytes also in another process with another hash seed, what cannot be kept is refused,
foreign bytes end in an error of gitml and never in another one.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gitml import plugins
from gitml.entities.records import Output
from gitml.errors import GitmlError, UnsupportedValue
from gitml.materializers import GROUP, Materializer, Rules, for_type, for_value
from gitml.previews import look
from gitml.store.digest import hash_bytes

_METADATA_LIMIT = 16 * 1024
_PREVIEW_LIMIT = 16 * 1024


@dataclass(frozen=True)
class SavedContent:
    """What a materializer has saved, as the content that it is given to load; without a store."""

    saved: bytes | Path
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """``"tree"`` for a folder, else ``"blob"``."""
        return "tree" if isinstance(self.saved, Path) and self.saved.is_dir() else "blob"

    def read(self) -> bytes:
        """The bytes of a blob."""
        return self.saved if isinstance(self.saved, bytes) else self.saved.read_bytes()

    def path(self) -> Path:
        """A file or folder with the content: the saved one itself, or a new file."""
        if isinstance(self.saved, Path):
            return self.saved
        handle, name = tempfile.mkstemp()
        with os.fdopen(handle, "wb") as file:
            file.write(self.saved)
        return Path(name)


class MaterializerSuite:
    """The conformance tests of one materializer; a subclass is collected when named ``Test…``."""

    materializer: ClassVar[type[Materializer]]
    rules: ClassVar[Rules] = Rules()
    library: ClassVar[str] = ""
    """The package that must not be imported before a value is saved or loaded."""
    equal_bytes: ClassVar[bool] = True
    """False only where the format cannot promise that equal values give equal bytes (pickle)."""
    registered: ClassVar[bool] = True
    """Whether a value finds this materializer by its type."""
    any_bytes: ClassVar[bool] = False
    """Whether each and every byte string is a value of the format."""

    def values(self, folder: Path) -> Mapping[str, object]:
        """Values by label, made anew at each call and equal each time; ``folder`` is scratch."""
        raise NotImplementedError

    def refused(self) -> Mapping[str, tuple[object, str]]:
        """Values that must not be saved, each with words that the message must hold."""
        return {}

    def same(self, left: Any, right: Any) -> bool:
        """Whether two values are equal in all that the materializer promises to keep."""
        return type(left) is type(right) and bool(left == right)

    # The tests

    def test_it_says_what_it_is(self) -> None:
        """Name, version and types are what records and look-ups need."""
        kind = self.materializer
        assert kind.name.isidentifier() and kind.name == kind.name.lower()
        assert type(kind.version) is int and kind.version >= 1
        assert isinstance(kind.ASSOCIATED_TYPES, tuple)
        assert all(isinstance(one, str) for one in kind.ASSOCIATED_TYPES)

    def test_importing_it_imports_no_library(self) -> None:
        """Finding a materializer must be cheap for those who never use its library."""
        assert self.library not in _packages_loaded_by(self.materializer.__module__)

    def test_what_is_loaded_is_what_was_saved(self, tmp_path: Path) -> None:
        """Same type and same value, and saved once more the same bytes."""
        for label, value in self.values(tmp_path).items():
            saved = self._save(value)
            loaded = self._load(saved)
            assert self.same(value, loaded), label
            if self.equal_bytes:
                assert digest(self._save(loaded)) == digest(saved), label

    def test_equal_values_give_equal_bytes(self, tmp_path: Path) -> None:
        """Made twice in this process and once in another, under another hash seed."""
        if not self.equal_bytes:
            pytest.skip("this format does not promise it")
        first = digests(self, tmp_path / "first")
        again = digests(self, tmp_path / "second")
        assert [label for label in first if again[label] != first[label]] == []
        elsewhere = _elsewhere().digests(type(self), tmp_path / "third")
        assert [label for label in first if elsewhere[label] != first[label]] == []

    def test_different_values_give_different_bytes(self, tmp_path: Path) -> None:
        """A digest must say which of two values it names."""
        made = digests(self, tmp_path)
        assert len(set(made.values())) == len(made), made

    def test_metadata_is_small_and_strict(self, tmp_path: Path) -> None:
        """It is recorded in git: standard JSON, a few kilobytes at most, the same each time."""
        others = self.values(tmp_path)
        for label, value in self.values(tmp_path).items():
            text = json.dumps(self.materializer().metadata(value), allow_nan=False)
            assert len(text) <= _METADATA_LIMIT, label
            again = self.materializer().metadata(others[label])
            assert json.loads(text) == again, label

    def test_what_it_cannot_keep_is_refused(self) -> None:
        """Better no artifact than one that comes back as something else."""
        for label, (value, words) in self.refused().items():
            try:
                self._save(value)
            except UnsupportedValue as error:
                assert words in error.message, label
            else:
                pytest.fail(f"saved, where it should be refused: {label}")

    def test_a_value_finds_it(self, tmp_path: Path) -> None:
        """By the value and by the value's type alone."""
        if not self.registered:
            pytest.skip("asked for by name only")
        for label, value in self.values(tmp_path).items():
            found = for_type(type(value))
            assert for_value(value, self.rules).name == self.materializer.name, label
            assert found is not None and found.name == self.materializer.name, label

    def test_damaged_bytes_end_in_an_error_of_ours(self, tmp_path: Path) -> None:
        """Cut, flipped or foreign: an error with an exit code, or a value, never a traceback."""
        if self.any_bytes:
            pytest.skip("all bytes are values of this format")
        for foreign in (b"", b"\0" * 64, b"{", bytes(range(256))):
            try:
                self._load(foreign)
            except GitmlError:
                continue
            pytest.fail(f"loaded, where it should be refused: {foreign!r}")
        for label, value in self.values(tmp_path).items():
            saved = self._save(value)
            assert isinstance(saved, bytes), label
            step = max(1, len(saved) // 12)
            for place in range(0, len(saved), step):
                flipped = bytearray(saved)
                flipped[place] ^= 0x41
                for damaged in (saved[:place], bytes(flipped)):
                    try:
                        self._load(damaged)
                    except GitmlError:
                        continue

    def test_a_preview_is_short_and_harmless(self, tmp_path: Path) -> None:
        """Of what was saved and of damaged bytes: some lines of text that a terminal may get."""
        for label, value in self.values(tmp_path).items():
            saved = self._save(value)
            if isinstance(saved, Path) and saved.is_dir():
                continue
            data = saved if isinstance(saved, bytes) else saved.read_bytes()
            facts = self.materializer().metadata(value)
            damaged = [] if self.any_bytes else [b"", data[: len(data) // 2], b"\0" * 64, b"{\x1b["]
            for shown in (data, *damaged):
                text = self._preview(shown, facts, tmp_path)
                assert len(text) <= _PREVIEW_LIMIT, label
                assert all(one.isprintable() or one == "\n" for one in text), label

    def _preview(self, data: bytes, facts: Mapping[str, Any], folder: Path) -> str:
        """What people see of some bytes."""
        kind = self.materializer
        if kind.name not in plugins.BUILT_IN[GROUP]:
            path = folder / "to preview"
            path.write_bytes(data)
            return kind().preview(path)
        name = f"{kind.name}/{kind.version}"
        output = Output("it", "it", hash_bytes(data), "blob", len(data), name, "type", facts)
        found = look(io.BytesIO(data), output, picture=True)
        json.dumps(found.document(), allow_nan=False)
        assert "\x1b" not in found.html("it")
        return str(found)

    def _save(self, value: object) -> bytes | Path:
        return self.materializer().save(value, self.rules)

    def _load(self, saved: bytes | Path) -> object:
        return self.materializer().load(SavedContent(saved), None, self.rules)


def digest(saved: bytes | Path) -> str:
    """A digest of what was saved: of the bytes, or of all names and bytes in a folder."""
    if isinstance(saved, bytes):
        return hashlib.sha256(saved).hexdigest()
    if saved.is_file():
        return digest(saved.read_bytes())
    files = sorted(one for one in saved.rglob("*") if one.is_file())
    entries = [[one.relative_to(saved).as_posix(), digest(one.read_bytes())] for one in files]
    return digest(json.dumps(entries).encode())


def digests(suite: MaterializerSuite, folder: Path) -> dict[str, str]:
    """The digest of each value of a suite, saved now."""
    folder.mkdir(exist_ok=True)
    return {label: digest(suite._save(value)) for label, value in suite.values(folder).items()}


class _Elsewhere:
    """Another interpreter with another hash seed, for all suites of this process.

    It lives on from suite to suite: what takes long is to import the libraries, not to save.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"import {__name__} as suite; suite.answer()"],
            env=_variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def digests(self, suite: type[MaterializerSuite], folder: Path) -> dict[str, str]:
        """The `digests` of a suite there; raises AssertionError when there are none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        question = [sys.path, suite.__module__, suite.__qualname__, str(folder)]
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            _elsewhere.cache_clear()
            raise AssertionError("it failed in another interpreter, as standard error says")
        return dict(json.loads(line))

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@functools.cache
def _elsewhere() -> _Elsewhere:
    made = _Elsewhere()
    atexit.register(made.close)
    return made


def answer() -> None:
    """Answer each question of `_Elsewhere` on standard input, until there are no more."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what a library prints is no answer
        for line in sys.stdin:
            sys.path[:], module, name, folder = json.loads(line)
            suite = getattr(importlib.import_module(module), name)()
            out.write(json.dumps(digests(suite, Path(folder))) + "\n")
            out.flush()


@functools.cache
def _packages_loaded_by(module: str) -> frozenset[str]:
    """The top-level packages in memory when a new interpreter has imported a module alone."""
    script = (
        "import importlib, json, sys; importlib.import_module(sys.argv[1]);"
        "sys.stdout.write(json.dumps([one.partition('.')[0] for one in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, module],
        env=_variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(json.loads(done.stdout))


def _variables() -> dict[str, str]:
    """The variables of an interpreter with another hash seed and this one's import path."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONHASHSEED": "20021", "PYTHONPATH": path}
