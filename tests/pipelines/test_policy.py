"""Cache policies: what of a step's circumstances counts, and for how long a result is reused."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from gitml import CachePolicy
from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.pipelines.explain import Explanation
from tests.code.project import Write
from tests.workshop import Workshop, load, states

HEAD = """\
from pathlib import Path
from typing import Annotated
from gitml import CachePolicy, Model, pipeline, step

DAY = 24 * 3600
"""


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (90, 90.0), (0, 0.0), (timedelta(hours=2), 7200.0), ("7d", 604800.0)],
)
def test_lengths_of_time(given: Any, seconds: float | None) -> None:
    assert CachePolicy(expires_after=given).seconds == seconds


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"expires_after": "soon"}, "expires_after of a cache policy should be a length of time"),
        ({"expires_after": -1}, "expires_after of a cache policy is -1, not a length of time"),
        ({"expires_after": True}, "not a length of time"),
        ({"expires_after": float("nan")}, "not a length of time"),
        ({"ignored_inputs": "rate"}, "ignored_inputs of a cache policy is 'rate', not a list"),
        ({"file_dependencies": [1]}, "file_dependencies of a cache policy is"),
        ({"cache_func": 3}, "cache_func of a cache policy is a int, not a function"),
        ({"include_step_code": 0}, "include_step_code of a cache policy should be True or False"),
    ],
)
def test_what_is_no_policy(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CachePolicy(**given)


EXPIRING = """
@step(cache_policy=CachePolicy(expires_after="7d"))
def fetch() -> int:
    return 1

@step
def use(value: int) -> int:
    return value + 1

@pipeline
def example():
    use(fetch())
"""


def at(monkeypatch: pytest.MonkeyPatch, moved: float) -> None:
    """Have the clock of this process be ahead by so many seconds."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + moved)


def explained(bench: Workshop, step: str) -> Explanation:
    bench.forget()
    try:
        (found,) = bench.repo().explain(f"example.{step}", bench.path)
        return found
    finally:
        bench.forget()


def test_a_result_expires(steps: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = steps(EXPIRING)
    bench.run("example")
    with monkeypatch.context() as patch:
        at(patch, 6.9 * 86400)
        bench.git("commit", "--quiet", "--amend", "--message", "left behind")
        assert bench.states("example") == {"fetch": "cached", "use": "cached"}
    at(monkeypatch, 7 * 86400)  # what was made again for other code is as old as the original
    assert explained(bench, "fetch").reason == "its result is older than 7d"
    assert bench.states("example") == {"fetch": "completed", "use": "cached"}
    assert bench.states("example") == {"fetch": "cached", "use": "cached"}
    bench.write("pipelines/example.py", HEAD + EXPIRING.replace('"7d"', "DAY * 30"))
    bench.commit()
    assert bench.states("example") == {"fetch": "cached", "use": "cached"}


IGNORING = """
@step
def read(path: str) -> int:
    return len(Path(path).read_text())

@step(cache_policy=CachePolicy(ignored_inputs=["workers", "hint"]))
def train(rows: int, hint: int, workers: int = 1) -> Annotated[list, "model"]:
    return [rows, hint, workers]

@pipeline
def example(workers: int = 1):
    train(read("rows.txt"), read("hint.txt"), workers)
"""


def test_ignored_parameters_and_inputs_do_not_count(steps: Write) -> None:
    bench = steps(IGNORING)
    bench.write("rows.txt", "abc")
    bench.write("hint.txt", "a")
    bench.commit()
    first = bench.run("example")
    bench.write("hint.txt", "ab")
    bench.commit()
    told = explained(bench, "train")
    assert told.outcome == "unknown"  # the hint is read anew
    again = bench.run("example", {"workers": 8})
    assert states(again) == {"read": "cached", "read_2": "completed", "train": "cached"}
    # What was made of the other hint is the very commit, so lineage says what it was made of.
    assert again.steps["train"].entry.commit == first.steps["train"].entry.commit
    assert load(again, "train", "model") == [3, 1, 1]
    told = explained(bench, "train")
    assert (told.outcome, told.reason) == ("cached", "`hint` changed, which its policy ignores")
    bench.write("rows.txt", "abcd")
    bench.commit()
    assert states(bench.run("example"))["train"] == "completed"
    assert bench.problems() == []


def test_what_is_on_an_abandoned_branch_is_not_adopted_for_another_ignored_input(
    steps: Write,
) -> None:
    bench = steps(IGNORING)
    bench.write("rows.txt", "abc")
    bench.write("hint.txt", "a")
    bench.commit()
    bench.run("example")
    bench.write("hint.txt", "ab")
    bench.git("commit", "--quiet", "--all", "--amend", "--message", "left behind")
    again = bench.run("example")
    assert states(again)["train"] == "completed"
    assert load(again, "train", "model") == [3, 2, 1]


def test_files_a_function_and_no_code(steps: Write) -> None:
    bench = steps(
        """
        def changed():
            return Path("table.txt").read_text()

        @step(cache_policy=CachePolicy(cache_func=changed))
        def table() -> int:
            return 1

        @step(cache_policy=CachePolicy(file_dependencies=["conf.txt"], include_step_code=False))
        def configured() -> int:
            return 1

        @pipeline
        def example():
            table()
            configured()
        """
    )
    bench.write("table.txt", "1")
    bench.write("conf.txt", "1")
    bench.commit()
    assert bench.states("example") == {"table": "completed", "configured": "completed"}
    bench.write("table.txt", "2")
    assert bench.states("example") == {"table": "completed", "configured": "cached"}
    bench.write("conf.txt", "2")
    assert bench.states("example") == {"table": "cached", "configured": "completed"}
    bench.write("table.txt", "1")
    assert bench.states("example") == {"table": "cached", "configured": "cached"}
    assert [one.part for one in explained(bench, "table").changed] == ["cache_func"]
    code = bench.path / "pipelines/example.py"
    code.write_text(code.read_text().replace("return 1", "return 2"))
    assert bench.states("example") == {"table": "completed", "configured": "cached"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise OSError('no table')", "the cache_func of one raised OSError: no table"),
        ("return object()", "the cache_func of one gave a object, which is not plain data"),
    ],
)
def test_a_function_that_says_nothing(steps: Write, body: str, words: str) -> None:
    bench = steps(
        f"""
        def says():
            {body}

        @step(cache_policy=CachePolicy(cache_func=says))
        def one() -> int:
            return 1

        @pipeline
        def example():
            one()
        """
    )
    error = bench.fails("example")
    assert isinstance(error, GitmlError) and words in error.message


def test_a_pipeline_s_policy_is_that_of_steps_without_one(
    steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = steps(
        """
        @step(cache_policy=CachePolicy(expires_after="30d"))
        def own() -> int:
            return 1

        @step
        def other(seed: int = 1) -> int:
            return 1

        @pipeline(cache_policy=CachePolicy(expires_after="1d", ignored_inputs=["seed"]))
        def example(seed: int = 1):
            own()
            other(seed)
        """
    )
    bench.run("example")
    assert bench.states("example", {"seed": 2}) == {"own": "cached", "other": "cached"}
    at(monkeypatch, 2 * 86400)
    assert bench.states("example") == {"own": "cached", "other": "completed"}


MAPPED = """
@step(cache_policy=CachePolicy(expires_after="2d", ignored_inputs=["quick"]))
def square(x: int, quick: bool = False) -> int:
    print("called", x)
    return x * x

@pipeline
def example(quick: bool = False, more: bool = False):
    square.map([1, 2, 3] if more else [1, 2], quick=quick)
"""


def test_items_expire_by_themselves(steps: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = steps(MAPPED)

    def computed(**parameters: Any) -> int:
        run = bench.run("example", parameters)
        return run.steps["square"].log().count("called") if states(run) != _CACHED else 0

    assert computed() == 2
    assert computed(quick=True) == 0
    with monkeypatch.context() as patch:
        at(patch, 1 * 86400)
        assert computed(more=True) == 1
    with monkeypatch.context() as patch:
        at(patch, 2.5 * 86400)  # the first two are over, the third is not
        assert computed(more=True) == 2


_CACHED = {"square": "cached"}


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ('["quick"]', '["quik"]', NameNotFound, "no input of square is called `quik`"),
        ('["quick"]', '["x"]', UsageError, "square is mapped over `x`, which its cache policy"),
        ("CachePolicy(", "dict(", UsageError, "square: cache_policy is {.*}, not a CachePolicy"),
        (
            "@pipeline\n",
            '@pipeline(cache_policy=CachePolicy(ignored_inputs=["seed"]))\n',
            NameNotFound,
            "no input of example is called `seed`",
        ),
    ],
)
def test_a_policy_that_does_not_fit(
    steps: Write, old: str, new: str, kind: type[Exception], words: str
) -> None:
    bench = steps(MAPPED.replace(old, new))
    with pytest.raises(kind, match=words):
        bench.run("example")
