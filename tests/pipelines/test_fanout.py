"""Steps that are called for many items: one record, a result an item, and a cache an item."""

from __future__ import annotations

import shutil
import time

import pytest

import gitml
from gitml.cli.describe import describe_run
from gitml.errors import StepFailed, UsageError
from gitml.pipelines.outcome import StepEvent
from tests.code.project import Write
from tests.workshop import load, states

HEAD = """\
from typing import Annotated
from gitml import pipeline, step, unmapped

calls = []

@step
def numbers(count: int) -> list:
    return list(range(count))

@step(retries=1, backoff=0)
def square(x: int, offset: int = 0) -> int:
    with open("/dev/null") as nothing:
        print("called", x)
    return x * x + offset

@step
def scale(x: int, by: list) -> tuple[Annotated[list, "scaled"], Annotated[bytes, "raw"]]:
    return [x * one for one in by], bytes([x])

@step
def total(values: list) -> int:
    return sum(values)
"""


LITERAL = "@pipeline\ndef example():\n    total(square.map({}))\n"


def calls(run: object, step: str = "square") -> int:
    return run.steps[step].log().count("called")  # type: ignore[attr-defined, no-any-return]


def test_a_map_is_one_step_with_a_result_for_each_item(steps: Write) -> None:
    bench = steps(LITERAL.format("[1, 2, 3], offset=10"))
    run = bench.run("example")
    assert load(run, "square") == [11, 14, 19]
    assert load(run, "total") == 44
    record = bench.record(run.steps["square"].entry.commit, "step.json")
    assert record["parameters"] == {"offset": 10}
    said = {key: record["map"][key] for key in ("kind", "over", "items", "cached")}
    assert said == {"kind": "map", "over": ["x"], "items": 3, "cached": 0}
    table = run.steps["square"].outputs["map-items"].load()
    assert table.column("arguments").to_pylist() == ['{"x": 1}', '{"x": 2}', '{"x": 3}']
    assert bench.states("example") == {"square": "cached", "total": "cached"}
    assert bench.repo().fsck().problems == ()


def test_one_changed_item_computes_one(steps: Write) -> None:
    steps(LITERAL.format("list(range(50))")).run("example")
    bench = steps(LITERAL.format("[*range(49), 1000]"))
    events: list[StepEvent] = []
    run = bench.run("example", tell=events.append)
    assert calls(run) == 1
    counted = [one.items for one in events if one.state == "items"]
    assert counted == [(n, 50) for n in range(1, 51)]
    assert next(one.items for one in events if one.state == "completed") == (49, 50)
    assert load(run, "square") == [*(x * x for x in range(49)), 1_000_000]
    assert bench.record(run.steps["square"].entry.commit, "step.json")["map"]["cached"] == 49
    assert calls(bench.run("example", cache=False)) == 50


def test_a_result_of_other_code_is_not_reused(steps: Write) -> None:
    steps(LITERAL.format("[1, 2]")).run("example")
    bench = steps(LITERAL.format("[1, 2, 3]"))
    path = bench.path / "pipelines/example.py"
    path.write_text(path.read_text().replace("x * x", "x * x * x"))
    bench.commit("other code")
    assert load(bench.run("example"), "square") == [1, 8, 27]


def test_another_value_for_all_is_another_key(steps: Write) -> None:
    steps(LITERAL.format("[1, 2], offset=1")).run("example")
    assert load(steps(LITERAL.format("[1, 2], offset=2")).run("example"), "square") == [3, 6]


def test_the_output_of_a_step_is_mapped_over_item_by_item(steps: Write) -> None:
    text = "@pipeline\ndef example(count: int = 5):\n    square.map(square.map(numbers(count)))\n"
    bench = steps(text)
    assert load(bench.run("example"), "square_2") == [0, 1, 16, 81, 256]
    run = bench.run("example", {"count": 6})
    assert load(run, "square_2") == [0, 1, 16, 81, 256, 625]
    assert (calls(run, "square"), calls(run, "square_2")) == (1, 1)


def test_a_product_takes_every_combination_and_unmapped_goes_whole(steps: Write) -> None:
    bench = steps(
        """
        @pipeline
        def example():
            square.product(x=[1, 2], offset=[0, 10])
            scaled, raw = scale.map([1, 2], by=unmapped([1, 10]))
            square.map(range(2), after=scaled)
        """
    )
    run = bench.run("example")
    assert load(run, "square") == [1, 11, 4, 14]
    assert run.steps["scale"].outputs["scaled"].load() == [[1, 10], [2, 20]]
    assert run.steps["scale"].outputs["raw"].load() == [b"\x01", b"\x02"]
    assert load(run, "square_2") == [0, 1]


def test_an_item_is_tried_again_by_itself_and_a_failure_names_it(steps: Write) -> None:
    bench = steps(
        """
        @step(retries=1, backoff=0)
        def flaky(x: int) -> int:
            calls.append(x)
            if calls.count(x) < 2 or x == 7:
                raise ValueError("no luck")
            return x

        @pipeline
        def example(last: int = 5):
            flaky.map([3, 4, last])
        """
    )
    assert load(bench.run("example"), "flaky") == [3, 4, 5]
    error = bench.fails("example", {"last": 7})
    run = error.run  # type: ignore[attr-defined]
    assert "while the item 2 was computed: x=7" in run.failure.traceback
    assert states(run) == {"flaky": "failed"}


LABELS = """
import os

@step
def label(x: int) -> tuple[Annotated[int, "doubled"], Annotated[str, "name"]]:
    print("called", x)
    if x == 3 and "fixed" not in os.environ:
        raise {error}
    return 2 * x, str(x)

@pipeline
def example(count: int = 5):
    label.map(numbers(count))
"""


@pytest.mark.parametrize(
    ("error", "state"), [("OSError(x)", "failed"), ("KeyboardInterrupt", "interrupted")]
)
def test_what_was_done_before_a_failure_is_not_done_again(
    steps: Write, monkeypatch: pytest.MonkeyPatch, error: str, state: str
) -> None:
    bench = steps(LABELS.format(error=error))
    with pytest.raises((StepFailed, KeyboardInterrupt)):
        bench.run("example")
    (broken,) = bench.repo().runs()
    assert broken.steps["label"].status == state
    assert broken.steps["label"].kept == 3
    assert any("3 results kept" in line for line in describe_run(bench.repo(), broken))
    monkeypatch.setenv("fixed", "1")
    run = bench.run("example")
    assert run.steps["label"].log() == "called 3\ncalled 4\n"
    assert run.steps["label"].outputs["doubled"].load() == [0, 2, 4, 6, 8]
    assert run.steps["label"].outputs["name"].load() == ["0", "1", "2", "3", "4"]
    assert bench.record(run.steps["label"].entry.commit, "step.json")["map"]["cached"] == 3
    assert bench.states("example") == {"numbers": "cached", "label": "cached"}
    assert calls(bench.run("example", cache=False), "label") == 5
    assert bench.problems() == []


def test_what_was_kept_can_be_cleared(steps: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = steps(LABELS.format(error="OSError(x)"))
    bench.fails("example")
    bench.repo().clear_cache()
    monkeypatch.setenv("fixed", "1")
    assert calls(bench.run("example"), "label") == 5


def test_what_was_kept_of_other_code_or_lost_is_done_again(
    steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = steps(LABELS.format(error="OSError(x)"))
    broken = bench.fails("example").run  # type: ignore[attr-defined]
    monkeypatch.setenv("fixed", "1")
    other = steps(LABELS.format(error="OSError(x)").replace("2 * x", "3 * x"))
    run = other.run("example")
    assert calls(run, "label") == 5
    assert run.steps["label"].outputs["doubled"].load() == [0, 3, 6, 9, 12]
    monkeypatch.delenv("fixed")
    again = steps(LABELS.format(error="OSError(x)").replace("2 * x", "4 * x"))
    broken = again.fails("example").run  # type: ignore[attr-defined]
    shutil.rmtree(again.path / ".git/gitml/store")
    monkeypatch.setenv("fixed", "1")
    assert broken.status == "failed"
    assert calls(again.run("example"), "label") == 5


def test_no_items_are_no_calls(steps: Write) -> None:
    assert load(steps(LITERAL.format("[]")).run("example"), "total") == 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("square.map(1)", "square.map is given no list"),
        ("square.map([1, 2], [3])", "lists of different lengths: `x` has 2, `offset` has 1"),
        ("square.map(total([1]))", "is mapped over `x`, which is a int, not a list"),
    ],
)
def test_what_cannot_be_mapped_over_is_refused(steps: Write, call: str, says: str) -> None:
    error = steps(f"@pipeline\ndef example():\n    {call}\n").fails("example")
    assert isinstance(error, UsageError)
    assert says in str(error)


def test_outside_of_a_pipeline_there_is_no_map() -> None:
    @gitml.step
    def one(x: int) -> int:
        return x

    with pytest.raises(UsageError, match="outside of a pipeline"):
        one.map([1])


@pytest.mark.sweep
def test_ten_thousand_items_take_less_than_twenty_seconds(steps: Write) -> None:
    text = "@step\ndef nothing(x: int) -> int:\n    return x\n\n@pipeline\ndef example():\n"
    began = time.perf_counter()
    steps(text + "    nothing.map(range(10_000))\n").run("example")
    first = time.perf_counter() - began
    bench = steps(text + "    nothing.map([*range(9_999), -1])\n")
    began = time.perf_counter()
    run = bench.run("example")
    second = time.perf_counter() - began
    assert bench.record(run.steps["nothing"].entry.commit, "step.json")["map"]["cached"] == 9_999
    print(f"10,000 items: {first:.2f} s; with one changed: {second:.2f} s")
    assert max(first, second) < 20
