"""Random graphs of tiny steps, randomly edited: true records, steps reachable, no stale hit."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workshop import Workshop, load, model_for_copies, work_at

HEAD = """\
from pathlib import Path

import gitml
from gitml import Model, pipeline, step
"""


@dataclass(frozen=True)
class Node:
    """A step: it adds up its inputs and its constants, modulo 4, so that many results are equal."""

    inputs: tuple[int, ...]
    constant: int
    parameter: int
    reads: bool
    cache: bool

    def value(self, values: list[int], data: int) -> int:
        given = sum(values[one] for one in self.inputs) + (data if self.reads else 0)
        return (given + self.constant + self.parameter) % 4

    def source(self, number: int) -> str:
        names = [f"a{one}: int" for one in range(len(self.inputs))]
        names += ["raw: Path"] if self.reads else []
        given = [name.partition(":")[0] for name in names]
        terms = [one if one != "raw" else "int(raw.read_text())" for one in given]
        parameters = ", ".join([*names, f"p: int = {self.parameter}"])
        return (
            f"\n\n@step(cache={self.cache})\ndef s{number}({parameters}) -> int:\n"
            f"    return ({' + '.join([*terms, 'p', str(self.constant)])}) % 4\n"
        )


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    data: int = 0
    notes: int = 0

    def values(self) -> list[int]:
        values: list[int] = []
        for node in self.nodes:
            values.append(node.value(values, self.data))
        return values

    def write(self, workshop: Workshop) -> None:
        text = HEAD + "".join(node.source(i) for i, node in enumerate(self.nodes))
        text += '\n\n@pipeline(model=Model("m"))\ndef graph():\n    raw = gitml.data("raw.txt")\n'
        for i, node in enumerate(self.nodes):
            given = [f"r{one}" for one in node.inputs] + (["raw"] if node.reads else [])
            text += f"    r{i} = s{i}({', '.join(given)})\n"
        workshop.write("pipelines/graph.py", text)
        workshop.write("raw.txt", str(self.data))
        workshop.write("notes.txt", str(self.notes))


@dataclass(frozen=True)
class Edit:
    """A change of the graph, and how the tree stands when it runs."""

    what: str
    node: int
    value: int
    how: str = field(default="commit")

    def of(self, graph: Graph) -> Graph:
        place = self.node % len(graph.nodes)
        nodes = list(graph.nodes)
        changed: dict[str, Any] = {self.what: self.value}
        if self.what in ("constant", "parameter"):
            nodes[place] = replace(nodes[place], **changed)
            return replace(graph, nodes=tuple(nodes))
        return replace(graph, **changed)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes = []
    for place in range(draw(st.integers(1, 5))):
        inputs = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        nodes.append(
            Node(
                tuple(sorted(inputs)),
                draw(st.integers(0, 3)),
                draw(st.integers(0, 1)),
                draw(st.booleans()),
                draw(st.integers(0, 5)) > 0,
            )
        )
    return Graph(tuple(nodes))


EDITS = st.builds(
    Edit,
    st.sampled_from(["constant", "parameter", "data", "notes"]),
    st.integers(0, 4),
    st.integers(0, 5),
    st.sampled_from(["commit", "amend", "dirty", "branch"]),
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, Path]]:
    folder = tmp_path_factory.mktemp("empty")
    with model_for_copies(folder) as made:
        yield made, folder


_number = itertools.count()


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=4, suppress_health_check=QUIET, derandomize=True)
@given(graph=graphs(), edits=st.lists(EDITS, min_size=1, max_size=4))
def test_random_graphs(empty: tuple[Workshop, Path], graph: Graph, edits: list[Edit]) -> None:
    try_out(*empty, graph, edits)


@pytest.mark.sweep
@settings(max_examples=100, suppress_health_check=QUIET, database=None)
@given(graph=graphs(), edits=st.lists(EDITS, min_size=1, max_size=6))
def test_many_random_graphs(empty: tuple[Workshop, Path], graph: Graph, edits: list[Edit]) -> None:
    try_out(*empty, graph, edits)


def try_out(model: Workshop, folder: Path, graph: Graph, edits: list[Edit]) -> None:
    path = folder / str(next(_number))
    shutil.copytree(model.path, path)
    with pytest.MonkeyPatch.context() as patch, work_at(path, patch) as workshop:
        graph.write(workshop)
        workshop.commit("graph")
        check(workshop, graph)
        for edit in edits:
            graph = edit.of(graph)
            stand(workshop, graph, edit.how)
            check(workshop, graph)
        workshop.git("fsck", "--strict", "--full", "--no-dangling")
    with contextlib.suppress(OSError):
        shutil.rmtree(path)


def stand(workshop: Workshop, graph: Graph, how: str) -> None:
    """Write the graph, and leave the tree in some state."""
    if how == "branch":
        workshop.git("add", "--all")
        workshop.git("stash", "--quiet")
        workshop.git("switch", "--quiet", "--detach", "--force", "HEAD~")
    graph.write(workshop)
    if how in ("commit", "branch"):
        workshop.commit("change")
    elif how == "amend":
        workshop.git("add", "--all")
        workshop.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "amended")


def check(workshop: Workshop, graph: Graph) -> None:
    """A run gives what plain Python gives, and its record is what fsck makes of it again."""
    run = workshop.run("graph")
    names = [f"s{i}" for i in range(len(graph.nodes))]
    assert list(run.steps) == names
    assert [load(run, name) for name in names] == graph.values()
    reached = workshop.reachable(str(run.id))
    for name, node in zip(names, graph.nodes, strict=True):
        step = run.steps[name]
        assert str(step.entry.commit) in reached
        assert step.status == "completed" or node.cache
        for place, above in enumerate(node.inputs):
            record = next(i for i in step.found.record.inputs if i.name == f"a{place}")  # type: ignore[union-attr]
            assert record.digest == run.steps[f"s{above}"].outputs["output"].digest
    version = run.model_version
    assert version is not None
    for name in names:
        assert version.load(f"graph.{name}") == load(run, name)
    assert workshop.problems() == []
    again = workshop.run("graph")
    for name, node in zip(names, graph.nodes, strict=True):
        assert again.steps[name].status == ("cached" if node.cache else "completed")
        if node.cache and all(graph.nodes[one].cache for one in node.inputs):
            assert again.steps[name].entry.commit == run.steps[name].entry.commit
