"""Steps of notebooks and shells: their code is what their names mean, in any order of cells."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gitml
from gitml.code.closure import Closure, Tracer


class Shell:
    """A namespace that cells are run in, which are known to linecache as IPython's are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.space: dict[str, Any] = {"__name__": "__main__", "In": [""]}
        self.names: dict[str, str] = {}

    def run(self, text: str) -> None:
        name = self.names.setdefault(text, f"<ipython-input-{len(self.names) + 1}-{id(self)}>")
        lines = [f"{line}\n" for line in text.splitlines()]
        linecache.cache[name] = (len(text), None, lines, name)
        self.space["In"].append(text)
        exec(compile(text, name, "exec"), self.space)

    def closure(self, name: str = "train") -> Closure:
        function = self.space[name]
        return Tracer(self.root).trace(getattr(function, "function", function))

    def is_miss_after(self, *cells: str) -> bool:
        before = self.closure()
        for cell in cells:
            self.run(cell)
        after = self.closure()
        assert before.uncached is None, before.uncached
        assert after.uncached is None, after.uncached
        return before.code_id != after.code_id


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    for name in made.names.values():
        linecache.cache.pop(name, None)


TRAIN = "def train(x):\n    return scale(x)"


def test_a_changed_helper_in_another_cell_is_a_miss_and_an_unchanged_one_stays_a_hit(
    shell: Shell,
) -> None:
    shell.run("def scale(x): return x")
    shell.run(TRAIN)
    assert not shell.is_miss_after(TRAIN, "def scale(x): return x  # a comment")
    assert shell.is_miss_after("def scale(x): return 2 * x")
    assert shell.is_miss_after("def scale(x): return x")


def test_cells_that_a_step_does_not_reach_stay_a_hit(shell: Shell) -> None:
    shell.run("def scale(x): return x")
    shell.run(TRAIN)
    assert not shell.is_miss_after("import json\ndef other(): return 1", "y = other()", "z = [y]")


def test_a_changed_global_is_a_miss_and_what_is_no_plain_data_is_not_cached(shell: Shell) -> None:
    shell.run("RATE = 0.1\ndef train(x): return RATE * x")
    assert shell.is_miss_after("RATE = 0.2")
    shell.run("RATE = object.__new__(type('Odd', (), {}))")
    assert shell.closure().uncached == "the mutable global `RATE`"


def test_a_class_counts_as_the_cell_that_ran_last_defined_it(shell: Shell) -> None:
    cell = "from dataclasses import dataclass\n@dataclass\nclass Settings:\n    rate: float = {}"
    shell.run(cell.format(1))
    shell.run("def train(): return Settings().rate")
    first = shell.closure().code_id
    shell.run(cell.format(2))
    second = shell.closure().code_id
    shell.run(cell.format(1))
    assert shell.closure().code_id == first != second
    del shell.space["In"]
    assert shell.closure().uncached == (
        "several cells define the class `Settings`, and nobody knows which came last"
    )


def test_an_import_that_was_overwritten_counts_by_what_its_name_holds(shell: Shell) -> None:
    shell.run("from math import sin as scale")
    shell.run(TRAIN)
    assert shell.is_miss_after("from math import cos as scale")
    assert shell.is_miss_after("scale = abs")


def test_a_local_module_that_a_cell_imports_counts(shell: Shell, project: Any) -> None:
    project.write("clean.py", "def scale(x): return x\n")
    shell.run("from clean import scale")
    shell.run(TRAIN)
    closure = shell.closure()
    assert [one.path for one in closure.files] == ["clean.py"]
    assert "module clean.py" in closure.parts


def test_a_nested_step_counts_the_function_around_it_and_its_cells(shell: Shell) -> None:
    factory = "def make(n):\n    m = n {} 1\n    def train(x): return x * m\n    return train"
    shell.run(factory.format("+"))
    shell.run("train = make(2)")
    assert shell.is_miss_after(factory.format("-"), "train = make(4)")
    assert shell.is_miss_after("train = make(5)")


def test_the_source_is_kept_with_all_that_it_reaches_and_nothing_else(shell: Shell) -> None:
    shell.space["gitml"] = gitml
    shell.run("import math\nRATE = 0.1\napi_token = 'hush'\nother = 3")
    shell.run("def scale(x):\n    return math.floor(x) * RATE\ndef unused(): pass")
    shell.run("@gitml.step\ndef train(x):\n    return scale(x), api_token")
    closure = shell.closure()
    assert closure.source == "<cell>:train"
    assert closure.cell == (
        "import math\n\nRATE = 0.1\n\ndef scale(x):\n    return math.floor(x) * RATE\n\n"
        "@gitml.step\ndef train(x):\n    return scale(x), api_token\n"
    )
    assert closure.files == ()


def test_the_decorator_itself_does_not_count(shell: Shell) -> None:
    shell.run("from gitml import step")
    shell.run("@step\ndef train(x): return x")
    assert not shell.is_miss_after("@step(cache=True)\ndef train(x): return x")


def test_a_redefinition_is_seen(shell: Shell) -> None:
    shell.run("def scale(x): return x")
    shell.run(TRAIN)
    closure = shell.closure()
    assert closure.redefined is None
    shell.run("def scale(x): return -x")
    assert closure.redefined == "scale"


def test_what_the_plain_shell_has_forgotten_is_not_cached_and_says_why(tmp_path: Path) -> None:
    space: dict[str, Any] = {}
    exec(compile("def train(x): return x", "<stdin>", "exec"), space)
    closure = Tracer(tmp_path).trace(space["train"])
    assert closure.uncached is not None
    assert closure.uncached.startswith("the source of `train` is not known: Python 3.")
