"""How steps are run: attempts, time limits, callbacks, and what happens after a failure."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import gitml
from gitml.errors import StepFailed, UsageError
from gitml.pipelines.options import Callbacks, StepOptions
from gitml.pipelines.outcome import StepEvent
from gitml.pipelines.timelimit import time_limit
from tests.code.project import Write
from tests.workshop import Workshop, load, states

HEAD = """\
import time
from pathlib import Path
import gitml
from gitml import get_context, log_metadata, log_metrics, pipeline, step

tries = []
"""


def run_and_fail(bench: Workshop, **options: Any) -> tuple[Any, Any]:
    error = bench.fails("example", **options)
    return error, getattr(error, "run")  # noqa: B009 - set on the error


# Attempts


def test_a_step_is_tried_until_it_goes_well_and_forgets_what_failed(steps: Write) -> None:
    bench = steps(
        """
        @step
        def rows() -> list:
            return [1]

        @step(cache=False, retries=3, backoff=0)
        def flaky(rows: list) -> list:
            rows.append(2)
            tries.append(1)
            log_metrics({f"attempt{len(tries)}": 1})
            print("try", len(tries))
            if len(tries) < 3:
                raise OSError("no luck")
            return rows

        @pipeline
        def example():
            flaky(rows())
        """
    )
    run = bench.run("example")
    assert load(run, "flaky") == [1, 2]  # each attempt had the argument as it was
    assert dict(run.steps["flaky"].metrics) == {"attempt3": 1}
    assert bench.record(run.steps["flaky"].entry.commit, "step.json")["attempts"] == 3
    assert "attempts" not in bench.record(run.steps["rows"].entry.commit, "step.json")
    log = run.steps["flaky"].log()
    assert [log.count(one) for one in ("try ", "OSError: no luck", "attempt 2 of 4")] == [3, 2, 1]


def test_a_retry_that_never_succeeds_ends_with_the_last_error(steps: Write) -> None:
    bench = steps(
        """
        @step(retries=2, backoff=0)
        def doomed() -> int:
            tries.append(1)
            raise ValueError(f"number {len(tries)}")

        @pipeline
        def example():
            doomed()
        """
    )
    error, run = run_and_fail(bench)
    assert "failed in all 3 attempts" in str(error)
    assert run.failure.message == "number 3"
    assert run.steps["doomed"].log().count("ValueError: number") == 2  # the third is the failure


def test_a_retry_is_not_for_who_used_gitml_wrongly(steps: Write) -> None:
    bench = steps(
        """
        @step(retries=5, backoff=100)
        def wrong() -> int:
            log_metrics({"accuracy": "high"})
            return 1

        @pipeline
        def example():
            wrong()
        """
    )
    assert isinstance(run_and_fail(bench)[0], UsageError)


def test_the_wait_doubles_up_to_five_minutes() -> None:
    options = StepOptions(retries=100, backoff=1.5)
    assert [options.wait(n) for n in (1, 2, 3, 100)] == [1.5, 3.0, 6.0, 300.0]


def test_other_attempts_are_no_other_key(steps: Write) -> None:
    text = "@step{}\ndef one() -> int:\n    return 1\n\n@pipeline\ndef example():\n    one()\n"
    steps(text.format("")).run("example")
    bench = steps(text.format("(retries=2, timeout=9.5)"))
    assert bench.states("example") == {"one": "cached"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"retries": -1}, "retries is -1"),
        ({"retries": True}, "retries is True"),
        ({"backoff": float("nan")}, "backoff is nan"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": "1m"}, "timeout is '1m'"),
        ({"retry": 3}, "no option `retry`"),
        ({"on_start": "mail"}, "on_start is a str"),
        ({"on_failure": lambda one, two: None}, "on_failure takes the exception, or nothing"),
        ({"on_success": lambda run: None}, "on_success takes nothing"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], says: str) -> None:
    def one() -> int:
        return 1

    with pytest.raises(UsageError) as caught:
        gitml.step(**options)(one)
    assert says in str(caught.value)


# Time


def test_a_step_that_takes_too_long_fails_and_says_where_it_was(steps: Write) -> None:
    bench = steps(
        """
        @step(timeout=0.2, retries=1, backoff=0)
        def slow() -> int:
            print("begun")
            try:
                time.sleep(60)
            except Exception:
                print("swallowed")

        @pipeline
        def example():
            slow()
        """
    )
    began = time.perf_counter()
    error, run = run_and_fail(bench)
    assert time.perf_counter() - began < 10
    assert isinstance(error, StepFailed)
    assert run.failure.type == "TimeoutError"
    assert "time.sleep(60)" in run.failure.traceback
    assert run.steps["slow"].log().count("begun") == 2
    assert "swallowed" not in run.steps["slow"].log()


def test_programs_of_a_step_end_with_its_time(steps: Write) -> None:
    bench = steps(
        """
        import subprocess

        @step(timeout=0.5)
        def slow() -> int:
            subprocess.run(["sh", "-c", "sleep 30; echo > left"])
            return 1

        @pipeline
        def example():
            slow()
        """
    )
    began = time.perf_counter()
    assert run_and_fail(bench)[1].failure.type == "TimeoutError"
    assert time.perf_counter() - began < 10


def spin(until: float) -> None:
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_python_code_is_interrupted_also_in_other_threads(thread: bool) -> None:
    ended: list[tuple[type[BaseException] | None, float]] = []

    def work() -> None:
        began = time.perf_counter()
        kind: type[BaseException] | None = None
        try:
            with time_limit(0.1, lambda: None):
                spin(began + 20)
        except TimeoutError as error:
            kind = type(error)
        ended.append((kind, time.perf_counter() - began))

    if thread:
        one = threading.Thread(target=work)
        one.start()
        one.join()
    else:
        work()
    assert ended[0][0] is TimeoutError
    assert ended[0][1] < 5


def test_code_that_swallows_the_end_of_its_time_is_interrupted_again() -> None:
    swallowed = []
    began = time.perf_counter()
    with pytest.raises(TimeoutError), time_limit(0.1, lambda: None):
        try:
            spin(began + 20)
        except BaseException as error:
            swallowed.append(type(error).__name__)
        spin(began + 20)
    assert len(swallowed) == 1
    assert time.perf_counter() - began < 10


def test_compiled_code_ends_by_itself_and_then_the_time_is_up() -> None:
    """``hashlib`` lets other threads run while it works, so one can say what it waits for."""
    import hashlib

    overdue: list[float] = []
    began = time.perf_counter()
    limit = time_limit(0.1, lambda: overdue.append(time.perf_counter() - began))
    with pytest.raises(TimeoutError, match=r"longer than 0\.1 s"), limit:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 5_000_000)
        pytest.fail("its time was up")
    took = time.perf_counter() - began
    if took > 1.2:  # a quick machine is back before there is something to say
        assert overdue
        assert 1.0 < overdue[0] < took


def test_what_ends_in_time_is_not_disturbed_afterwards() -> None:
    for _ in range(50):
        with time_limit(0.5, lambda: pytest.fail("it was not late")):
            pass
    time.sleep(0.6)


# Callbacks


def test_callbacks_are_called_in_order_and_can_log(steps: Write) -> None:
    bench = steps(
        """
        def began():
            print("start", get_context().step)

        def went_well():
            log_metadata({"told": "yes"})
            print("success")

        @step(on_start=began, on_success=went_well)
        def one() -> int:
            print("work")
            return 1

        def all_well():
            Path("told.txt").write_text("all")

        @pipeline(on_success=all_well)
        def example():
            one()
        """
    )
    run = bench.run("example")
    assert run.steps["one"].log().split() == ["start", "one", "work", "success"]
    assert dict(run.steps["one"].metadata) == {"told": "yes"}
    assert (bench.path / "told.txt").read_text() == "all"
    (bench.path / "told.txt").unlink()
    assert bench.states("example") == {"one": "cached"}


def test_a_failure_is_told_with_its_error(steps: Write) -> None:
    bench = steps(
        """
        def failed(error):
            print("told:", repr(error))

        def whole(error):
            Path("told.txt").write_text(repr(error))

        @step(on_failure=failed, retries=1, backoff=0)
        def one() -> int:
            raise ValueError("no")

        @pipeline(on_failure=whole)
        def example():
            one()
        """
    )
    run = run_and_fail(bench)[1]
    assert run.steps["one"].log().count("told: ValueError('no')") == 1
    assert (bench.path / "told.txt").read_text() == "ValueError('no')"


@pytest.mark.parametrize("how", ["raise KeyError('oops')", "raise SystemExit(3)"])
def test_a_callback_that_raises_is_told_and_loses_nothing(steps: Write, how: str) -> None:
    bench = steps(
        f"""
        def broken():
            {how}

        @step(on_start=broken, on_success=broken)
        def one() -> int:
            return 1

        @pipeline(on_start=broken, on_success=broken)
        def example():
            one()
        """
    )
    events: list[StepEvent] = []
    run = bench.run("example", tell=events.append)
    assert states(run) == {"one": "completed"}
    told = [note for event in events for note in event.notes]
    assert len([one for one in told if "`broken` raised" in one]) == 4
    assert run.steps["one"].log().count("Traceback") == 2


def test_ctrl_c_in_a_callback_ends_the_run_but_not_the_step(steps: Write) -> None:
    bench = steps(
        """
        def interrupted():
            raise KeyboardInterrupt

        @step(on_success=interrupted)
        def one() -> int:
            return 1

        @step
        def two(one: int) -> int:
            return 2

        @pipeline
        def example():
            two(one())
        """
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        bench.run("example")
    run = caught.value.run  # type: ignore[attr-defined]
    assert states(run) == {"one": "completed", "two": "skipped"}


def test_a_callback_without_a_signature_is_called_with_nothing() -> None:
    assert Callbacks(on_start=dict).call("on_start") is None


# After a failure

BRANCHES = """
@step
def good() -> int:
    return 1

@step
def bad() -> int:
    raise ValueError("bad")

@step
def worse() -> int:
    raise KeyError("worse")

@step
def use(value: int) -> int:
    return value

@pipeline(execution_mode="{mode}")
def example():
    use(bad())
    worse()
    use(good())
    good(after="use")
    good(after=["good", "use_2"])
"""


def test_independent_branches_go_on_after_a_failure(steps: Write) -> None:
    bench = steps(BRANCHES.format(mode="continue_on_failure"))
    error, run = run_and_fail(bench)
    assert "the step bad" in str(error)
    assert states(run) == {
        "bad": "failed",
        "use": "skipped",
        "worse": "failed",
        "good": "completed",
        "use_2": "completed",
        "good_2": "skipped",
        "good_3": "completed",
    }
    assert run.status == "failed"
    assert run.failure.step == "bad"
    assert [(one.step, one.type) for one in run.entry.record.failures] == [("worse", "KeyError")]
    assert bench.repo().fsck().problems == ()


@pytest.mark.parametrize("mode", ["fail_fast", "stop_on_failure"])
def test_otherwise_no_step_begins_after_a_failure(steps: Write, mode: str) -> None:
    run = run_and_fail(steps(BRANCHES.format(mode=mode)))[1]
    assert set(states(run).values()) == {"failed", "skipped"}
    assert run.entry.record.failures is None


def test_an_order_is_recorded_but_makes_no_parent(steps: Write) -> None:
    bench = steps(
        """
        @step
        def one() -> int:
            return 1

        @step
        def two() -> int:
            return 2

        @pipeline
        def example():
            first = one()
            two(after=first)
        """
    )
    run = bench.run("example")
    record = bench.record(run.id, "run.json")
    assert [step.get("after") for step in record["steps"]] == [None, ["one"]]
    parents = bench.git("rev-parse", f"{run.steps['two'].entry.commit.hex}^@").split()
    assert len(parents) == 1


def test_an_order_that_cannot_be_is_refused(steps: Write) -> None:
    bench = steps(
        """
        @step
        def one() -> int:
            return 1

        @pipeline
        def example():
            one(after="two")
        """
    )
    error = bench.fails("example")
    assert isinstance(error, UsageError)
    assert "`after` names 'two'" in str(error)


def test_a_step_with_a_parameter_called_after_keeps_it(steps: Write) -> None:
    bench = steps(
        """
        @step
        def one(after: int) -> int:
            return after

        @pipeline
        def example():
            one(after=3)
        """
    )
    assert load(bench.run("example"), "one") == 3


def test_other_options_are_another_step(steps: Write) -> None:
    bench = steps(
        """
        @step(retries=1)
        def one() -> int:
            return 1

        other = one.with_options(name="other", backoff=0.5)
        assert (one.name, one.options.backoff) == ("one", 1.0)
        assert (other.options.retries, other.options.backoff) == (1, 0.5)

        @pipeline
        def example():
            one()
            other()
        """
    )
    assert states(bench.run("example")) == {"one": "completed", "other": "completed"}


def test_an_unknown_mode_is_refused(steps: Write) -> None:
    bench = steps(BRANCHES.format(mode="go_on"))
    error = bench.fails("example")
    assert "`go_on` is no execution mode" in f"{error} {error.__cause__}"
