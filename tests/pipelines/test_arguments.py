"""Large parameters: stored as sources, counted by content, shown short."""

from __future__ import annotations

import pytest

from gitml.errors import UsageError
from gitml.pipelines.plan import LARGEST, is_large
from gitml.pipelines.selection import Selection
from tests.code.project import Write
from tests.workshop import load, states

HEAD = """\
import gitml
from gitml import Model, pipeline, step

@step
def count(rows: list, names: dict | None = None, factor: int = 1) -> int:
    shown = gitml.get_context().parameters
    assert (shown["rows"], shown["names"]) == (rows, names)
    return len(rows) * factor

@step
def double(size: int) -> int:
    return 2 * size

@pipeline(model=Model("counter"))
def example(rows: list, names: dict | None = None, factor: int = 1):
    double(count(rows, names, factor))
"""

ROWS = [float(one) for one in range(20_000)]


@pytest.mark.parametrize(
    ("value", "large"),
    [
        ("x" * LARGEST, True),
        ("x" * (LARGEST - 10), False),
        (list(range(5_000)), False),
        (ROWS, True),
        ({str(one): [one] for one in range(10_000)}, True),
        (1 << 1_000_000, True),
        ([[True, None, 0.5], "text"], False),
    ],
    ids=["text", "shorter text", "numbers", "more numbers", "dict", "number", "mixed"],
)
def test_what_is_large(value: object, large: bool) -> None:
    assert is_large(value) == large


def test_a_large_parameter_is_a_source_and_counts_by_content(steps: Write) -> None:
    bench = steps("")
    run = bench.run("example", {"rows": ROWS, "factor": 2})
    assert load(run, "double") == 80_000
    step = bench.record(run.steps["count"].found.id, "step.json")  # type: ignore[union-attr]
    assert step["parameters"] == {"factor": 2, "names": None}
    (given,) = step["inputs"]
    assert given["name"] == "rows"
    assert "artifact" not in given
    assert bench.parents(run.steps["count"].found.id)[1:] == [given["commit"]]  # type: ignore[union-attr]
    shown = f"list of 148891 bytes, {given['digest']}"
    assert run.parameters == {"rows": shown, "names": None, "factor": 2}
    assert run.model_version is not None
    assert run.model_version.parameters["rows"] == shown
    assert bench.states("example", {"rows": list(ROWS), "factor": 2}) == {
        "count": "cached", "double": "cached",
    }  # fmt: skip
    other = bench.run("example", {"rows": [*ROWS[:-1], 0.5], "factor": 2})
    assert states(other) == {"count": "completed", "double": "cached"}
    assert bench.problems() == []


def test_equal_large_dicts_arrive_alike(steps: Write) -> None:
    bench = steps("")
    names = {str(one): one for one in range(20_000)}
    back = dict(reversed(names.items()))
    bench.run("example", {"rows": [1], "names": names})
    assert bench.states("example", {"rows": [1], "names": back})["count"] == "cached"


def test_a_part_of_a_pipeline_stands_on_the_same_large_parameter(steps: Write) -> None:
    bench = steps("")
    bench.run("example", {"rows": ROWS})
    start = Selection(start=("double",))
    again = bench.run("example", {"rows": ROWS}, selection=start)
    assert states(again) == {"count": "cached", "double": "completed"}
    error = bench.fails("example", {"rows": ROWS[1:]}, selection=start)
    assert "no run of example has a result of count with these parameters" in str(error)


def test_a_map_over_a_large_list_has_its_items(steps: Write) -> None:
    bench = steps(
        """
        @step
        def length(word: str) -> int:
            return len(word)

        @pipeline
        def lengths():
            length.map(["x" * 1000] * 100)
        """
    )
    assert load(bench.run("lengths"), "length") == [1000] * 100


def test_a_run_without_a_pipeline_is_told_to_save_it() -> None:
    import gitml

    with pytest.raises(UsageError, match="too large for a record") as raised:
        gitml.start_run("exp", parameters={"rows": ROWS})
    assert raised.value.hint == "`run.save('rows', …)` keeps it as an artifact"
