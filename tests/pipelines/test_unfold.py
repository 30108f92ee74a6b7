"""Dynamic pipelines: a body that branches and loops on what its steps gave."""

from __future__ import annotations

import os
import signal

import pytest

from gitml.errors import GitmlError, StepFailed, UsageError
from gitml.pipelines.selection import Selection
from tests.code.project import Write
from tests.workshop import group_of, load, states, wait_for

HEAD = """\
from typing import Annotated
from gitml import Model, log_metrics, pipeline, step

@step
def measure(seed: int) -> int:
    return seed % 7

@step
def improve(value: int) -> tuple[Annotated[int, "better"], Annotated[bool, "enough"]]:
    log_metrics({"value": value + 2})
    return value + 2, value + 2 > 8

@step
def report(value: int, rounds: int) -> str:
    return f"{value} after {rounds}"

@step
def reject(seed: int) -> str:
    return f"{seed} is even"

@pipeline(dynamic=True, model=Model("net"))
def search(seed: int = 3):
    value = measure(seed)
    if value.load() % 2 == 0:
        reject(seed)
        return
    rounds, enough = 0, False
    while not enough:
        value, done = improve(value)
        enough, rounds = done.load(), rounds + 1
    report(value, rounds)
"""


def test_a_body_loops_and_branches_on_results(steps: Write) -> None:
    bench = steps("")
    run = bench.run("search")
    names = ["measure", "improve", "improve_2", "improve_3", "report"]
    assert states(run) == dict.fromkeys(names, "completed")
    assert load(run, "report") == "9 after 3"
    assert run.metrics == {f"{name}.value": 5 + 2 * n for n, name in enumerate(names[1:4])}
    assert run.model_version is not None
    assert run.model_version.label == "net@v1"
    assert states(bench.run("search", {"seed": 4})) == {
        "measure": "completed", "reject": "completed",
    }  # fmt: skip
    assert bench.problems() == []


def test_a_cached_run_loads_from_the_cache_and_makes_no_version(steps: Write) -> None:
    bench = steps("")
    bench.run("search")
    again = bench.run("search")
    assert set(states(again).values()) == {"cached"}
    assert again.model_version is not None
    assert (again.model_version.label, again.made_version) == ("net@v1", False)


def test_what_a_load_decided_stands_in_the_record(steps: Write) -> None:
    bench = steps("")
    run = bench.run("search", {"seed": 4})
    assert bench.record(run.id, "run.json")["steps"][1]["after"] == ["measure"]
    rounds = bench.record(bench.run("search").id, "run.json")["steps"]
    assert ["after" in one for one in rounds] == [False, False, False, False, False]


def test_a_forecast_ends_where_the_rest_is_not_known(steps: Write) -> None:
    bench = steps("")
    repo = bench.repo()
    pipeline = repo.load_pipeline("search", bench.path)
    told = repo.forecast(pipeline)
    assert [(one.step, one.outcome) for one in told] == [("measure", "run"), ("…", "unknown")]
    assert told[-1].reason == "the rest depends on the result of measure"
    assert repo.runs() == []
    bench.run("search")
    assert [one.outcome for one in repo.forecast(pipeline)] == ["cached"] * 5
    repo.load_pipeline("search", bench.path)


def test_parameters_of_its_steps_can_be_replaced(steps: Write) -> None:
    bench = steps("")
    assert load(bench.run("search", {"report.rounds": 100}), "report") == "9 after 100"
    error = bench.fails("search", {"improve_9.value": 1})
    assert "no step has the parameter `improve_9.value`" in str(error)


def test_a_part_of_it_cannot_be_chosen(steps: Write) -> None:
    error = steps("").fails("search", selection=Selection(only=("report",)))
    assert "search is dynamic" in str(error)


BODIES = """
@step
def broken(value: int) -> int:
    raise OSError("no disk")

@step
def uses_a_step(value: int) -> int:
    return measure(value) + 1

@pipeline(dynamic=True)
def fails():
    try:
        broken(measure(3)).load()
    except Exception:
        report(1, 1)

@pipeline(dynamic=True)
def raises():
    value = measure(3).load()
    {}[value]

@pipeline(dynamic=True)
def endless():
    value = measure(3)
    while value.load() < 100:
        pass

@pipeline
def still():
    measure(measure(3).load())

@pipeline
def outer():
    search(3)

@pipeline(dynamic=True)
def inlined():
    still()
    report(uses_a_step(3).load(), 1)

@pipeline(dynamic=True, execution_mode="continue_on_failure")
def goes_on():
    value = broken(1)
    report(2, 2)
    value.load()

@pipeline(dynamic=True)
def empty(): ...
"""


def test_a_failure_ends_it_also_where_the_body_would_go_on(steps: Write) -> None:
    bench = steps(BODIES)
    error = bench.fails("fails")
    assert isinstance(error, StepFailed)
    run = error.run  # type: ignore[attr-defined]
    assert states(run) == {"measure": "completed", "broken": "failed"}
    assert run.failure.message == "no disk"
    going = bench.fails("goes_on").run  # type: ignore[attr-defined]
    assert states(going) == {"broken": "failed", "report": "completed"}


def test_an_error_of_the_body_is_recorded_with_what_ran(steps: Write) -> None:
    error = steps(BODIES).fails("raises")
    assert isinstance(error, GitmlError)
    assert error.message.startswith("the body of the pipeline raises raised at example.py:")
    assert error.hint == "`gitml show raises` shows the run, with what its steps gave before"
    run = error.run  # type: ignore[attr-defined]
    assert (run.status, run.failure.step, run.failure.type) == ("failed", "", "KeyError")
    assert states(run) == {"measure": "completed"}


@pytest.mark.parametrize(
    ("name", "says", "hint"),
    [
        ("endless", "has loaded 1000 results and goes on", "for _ in range(100)"),
        ("still", "measure is not known while still is composed", "@pipeline(dynamic=True)"),
        ("outer", "measure is not known while outer is composed", "@pipeline(dynamic=True)"),
        ("empty", "the pipeline empty calls no step", ""),
    ],
)
def test_what_cannot_be_says_what_to_do(steps: Write, name: str, says: str, hint: str) -> None:
    error = steps(BODIES).fails(name)
    assert isinstance(error, UsageError)
    assert says in error.message
    assert hint in (error.hint or "")


def test_a_pipeline_inside_may_load_and_a_step_calls_steps_as_functions(steps: Write) -> None:
    run = steps(BODIES).run("inlined")
    assert list(run.steps) == ["measure", "measure_2", "uses_a_step", "report"]
    assert load(run, "report") == "4 after 1"


def test_an_output_is_loaded_in_a_body_only(steps: Write) -> None:
    from gitml.pipelines.dsl import Handle

    with pytest.raises(UsageError, match="outside of its pipeline's body"):
        Handle("measure", "output").load()


def test_a_damaged_result_is_made_again(steps: Write) -> None:
    bench = steps("")
    bench.run("search", {"seed": 4})
    for pack in (bench.path / ".git/gitml/store/packs").glob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(bytes(pack.stat().st_size))
    again = bench.run("search", {"seed": 4})
    assert states(again) == {"measure": "completed", "reject": "cached"}
    assert load(again, "measure") == 4


def test_a_killed_one_has_the_steps_that_it_came_to(steps: Write) -> None:
    bench = steps(
        """
        import pathlib, time

        @step
        def slow(value: int) -> int:
            log_metrics({"begun": 1})
            pathlib.Path("begun").touch()
            time.sleep(60)
            return value

        @pipeline(dynamic=True)
        def killed():
            slow(measure(3).load())

        if __name__ == "__main__":
            killed()
        """
    )
    with group_of(bench.start("pipelines/example.py")) as process:
        wait_for((bench.path / "begun").exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    bench.run("search", {"seed": 4})
    (run,) = bench.repo().runs(pipeline="killed")
    assert run.status == "interrupted"
    assert states(run) == {"measure": "completed", "slow": "interrupted"}
