"""A run without a pipeline: what a block logs, saves and loads is recorded, however it ends."""

from __future__ import annotations

import linecache
import os
import runpy
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

import gitml
from gitml import Model
from gitml.errors import (
    GitmlError,
    InvalidName,
    NameNotFound,
    StorageError,
    UnsupportedValue,
    UsageError,
)
from gitml.pipelines.session import Session
from tests.workshop import Workshop, group_of, wait_for

PYTHON = Path(__file__).parents[2] / "docs" / "python.md"


def documented() -> str:
    """The script that the documentation shows."""
    section = PYTHON.read_text("utf-8").partition("### Without a pipeline")[2]
    return section.partition("```python\n")[2].partition("```")[0]


def execute(workshop: Workshop, text: str, **given: Any) -> dict[str, Any]:
    """Run a script of the repository as ``python scripts/exp.py`` would; its globals."""
    path = workshop.code("scripts/exp.py", text)
    try:
        return runpy.run_path(str(path), {"gitml": gitml, **given}, "__main__")
    finally:
        workshop.forget()


@pytest.fixture
def prepared(workshop: Workshop) -> Workshop:
    """A repository with ``data/raw.csv``, for the script of the documentation."""
    workshop.write("data/raw.csv", "1\n2\n3\n")
    workshop.commit("data")
    return workshop


def test_a_block_is_a_run_with_one_step(prepared: Workshop) -> None:
    run = execute(prepared, documented())["run"].recorded
    assert (run.pipeline, run.status, list(run.steps)) == ("baseline", "completed", ["main"])
    assert run.parameters == {"rate": 0.1, "rows": 3}
    assert run.metrics["loss"] == pytest.approx(0.2)
    step = run.steps["main"]
    assert step.series["loss"].values == pytest.approx((1.0, 0.5, 1 / 3, 0.25, 0.2))
    assert step.metadata == {"note": "the mean"}
    assert step.outputs["baseline-model"].load() == {"mean": 2.0}
    assert "the mean is 2.0" in step.log()
    record = prepared.record(step.found.id, "step.json")
    assert [file["path"] for file in record["files"]] == ["scripts/exp.py"]
    assert [one["name"] for one in record["loads"]] == ["data:data/raw.csv"]
    assert prepared.problems() == []


def test_it_makes_a_version_each_time_and_is_never_cached(prepared: Workshop) -> None:
    first = execute(prepared, documented())["run"].recorded
    again = execute(prepared, documented())["run"].recorded
    assert (first.model_version.label, again.model_version.label) == ("clf@v1", "clf@v2")
    assert again.steps["main"].status == "completed"
    assert again.model_version.parameters == {"rate": 0.1, "rows": 3}
    assert again.model_version.load("baseline-model") == {"mean": 2.0}


def test_it_says_something_of_what_it_has_saved(workshop: Workshop) -> None:
    text = """
        with gitml.start_run("exp") as run:
            run.save("model", [1])
            run.log_metadata({"disk": gitml.StorageSize(3)}, artifact="model")
            try:
                gitml.log_metadata({"disk": 3}, artifact="table")
            except Exception as error:
                refused = error.message
    """
    done = execute(workshop, text)
    assert done["run"].recorded.steps["main"].outputs["model"].metadata["disk"] == 3
    assert done["refused"] == "the step main has no output `table`"


def test_what_it_loads_becomes_a_parent(workshop: Workshop) -> None:
    workshop.training()
    made = workshop.run()
    done = execute(
        workshop,
        """
        with gitml.start_run("check", model=gitml.Model("clf", version=1)) as run:
            table = run.load("table")
            model = run.load(gitml.Model("clf", version=1).artifact("model"))
            same = gitml.load_artifact("table")
        """,
    )
    assert (done["table"], done["same"]) == ([2, 4, 6], [2, 4, 6])
    assert done["model"] == {"weights": [1.0, 2.0, 3.0]}
    parents = workshop.parents(done["run"].recorded.steps["main"].found.id)
    assert parents[1:] == [made.steps["prepare"].found.id.hex, made.model_version.id.hex]
    assert done["run"].recorded.model_version is None
    with pytest.raises(NameNotFound, match="is called `tabel`"):
        execute(workshop, "with gitml.start_run('check') as run: run.load('tabel')")


@pytest.mark.parametrize(
    ("ends", "state"),
    [("ValueError('no')", "failed"), ("KeyboardInterrupt()", "interrupted")],
)
def test_what_it_raises_is_recorded_and_goes_on(workshop: Workshop, ends: str, state: str) -> None:
    with pytest.raises((ValueError, KeyboardInterrupt)) as raised:
        execute(
            workshop,
            f"""
            with gitml.start_run("exp", model="clf", parameters={{"rate": 1}}) as run:
                print("begun")
                run.log_metrics({{"loss": 1.5}}, step=0)
                run.log_params({{"depth": 2}})
                run.save("model", [1])
                raise {ends}
            """,
        )
    run = raised.value.run  # type: ignore[union-attr]
    assert (run.status, run.steps["main"].status) == (state, state)
    assert run.parameters == {"rate": 1, "depth": 2}
    assert run.metrics == {"loss": 1.5}
    assert run.steps["main"].series["loss"].values == (1.5,)
    assert run.steps["main"].log() == "begun\n"
    assert run.steps["main"].outputs["model"].load() == [1]
    with pytest.raises(NameNotFound):
        workshop.repo().artifact("model")
    assert "scripts/exp.py" in run.failure.traceback
    assert "gitml/" not in run.failure.traceback
    assert workshop.refs("refs/tags/clf*") == {}
    assert workshop.problems() == []


def test_a_killed_one_leaves_what_it_logged_and_saved(workshop: Workshop) -> None:
    workshop.code(
        "exp.py",
        """
        import pathlib, time, gitml
        with gitml.start_run("exp", parameters={"rate": 1}) as run:
            run.log_metrics({"loss": 1.5}, step=0)
            run.log_params({"depth": 2})
            run.save("weights", [1])
            run.save("weights", [1, 2])
            pathlib.Path("parts").mkdir()
            pathlib.Path("parts/a.txt").write_text("a")
            run.save("parts", pathlib.Path("parts"))
            pathlib.Path("logged").touch()
            time.sleep(60)
        """,
    )
    with group_of(workshop.start("exp.py")) as process:
        wait_for((workshop.path / "logged").exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    execute(workshop, "with gitml.start_run('other'): pass")
    (run,) = workshop.repo().runs(pipeline="exp")
    assert (run.status, run.steps["main"].status) == ("interrupted", "interrupted")
    assert run.parameters == {"rate": 1, "depth": 2}
    main = run.steps["main"]
    assert main.series["loss"].values == (1.5,)
    assert main.outputs["weights"].load() == [1, 2]
    assert (main.outputs["parts"].load() / "a.txt").read_text() == "a"
    with pytest.raises(NameNotFound):
        workshop.repo().artifact("weights")
    assert workshop.problems() == []


NESTED = """
from gitml import pipeline, save_artifact, start_run, step

@step
def train() -> None:
    start_run("exp").__enter__()

@step
def idle() -> None: ...

@pipeline
def steps_start(): train()

@pipeline
def body_starts():
    with start_run("exp"): idle()

@pipeline
def plain(): idle()

def twice():
    with start_run("outer"), start_run("exp"): ...

def runs():
    with start_run("outer"): plain()

def saves():
    with start_run("outer"): save_artifact(1, "one")

def again():
    run = start_run("exp")
    with run: ...
    with run: ...

def late():
    with start_run("exp") as run: ...
    run.log_metrics({"a": 1})

def early(): start_run("exp").save("a", 1)

def unrecorded():
    with start_run("exp") as run: run.recorded

def changes():
    with start_run("exp", parameters={"rate": 1}) as run: run.log_params({"rate": 2})

def keeps(): start_run("exp", parameters={"table": object()})

def listed(): start_run("exp", parameters=["rate"])
"""


@pytest.mark.parametrize(
    ("what", "says", "hint"),
    [
        ("steps_start", "is started inside of the step train", "is recorded anyhow"),
        ("body_starts", "in the body of a pipeline", "belongs into a step"),
        ("twice", "is started inside of the run outer", "end the `with` of outer"),
        ("runs", "plain is called inside of the run outer", "before or after"),
        ("saves", "the run outer is going on", "run.save('one', value)"),
        ("again", "has begun before", "makes a new one"),
        ("late", "the run exp has ended", "inside of `with"),
        ("early", "the run exp has not begun", "inside of `with"),
        ("unrecorded", "is not recorded yet", "after the `with`"),
        ("changes", "the parameter `rate` of this run is 1 already", "one value"),
        ("keeps", "the parameter `table` is a object", "save_artifact"),
        ("listed", "should be a dict, not a list", "vars(args)"),
    ],
)
def test_where_it_cannot_be_says_what_to_do(
    workshop: Workshop, what: str, says: str, hint: str
) -> None:
    with pytest.raises(UsageError) as raised:
        execute(workshop, f"{NESTED}\n{what}()")
    assert says in raised.value.message
    assert hint in (raised.value.hint or "")


def test_names_and_values_that_cannot_be_stored(workshop: Workshop) -> None:
    for line, error in (
        ("run.save('a b', 1)", InvalidName),
        ("run.save('metric-series', 1)", UsageError),
        ("run.save('model', lambda: 0)", UnsupportedValue),
        ("gitml.start_run('v1/x')", InvalidName),
        ("run.use('../x')", GitmlError),
    ):
        with pytest.raises(error):
            execute(workshop, f"with gitml.start_run('exp') as run: {line}")
    assert [run.status for run in workshop.repo().runs()] == ["failed"] * 5


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("itself", "contains itself"),
        ("by_name", "contains itself"),
        ("[10**5000]", "more than 4000 digits"),
    ],
)
@pytest.mark.parametrize(
    "call", ["log_params({'x': %s})", "log_metadata({'x': %s})", "log_metadata({'x': %s}, 'one')"]
)
def test_values_without_end_are_named(workshop: Workshop, value: str, says: str, call: str) -> None:
    text = """
        itself, by_name = [], {}
        itself.append(itself)
        by_name["again"] = by_name
        with gitml.start_run("exp") as run:
            run.save("one", 1)
    """
    with pytest.raises(UsageError) as raised:
        execute(workshop, f"{textwrap.dedent(text)}    run.{call % value}")
    assert says in raised.value.message
    assert "`x" in raised.value.message
    assert len(raised.value.message) < 120


def test_a_block_is_called_from_all_threads(workshop: Workshop) -> None:
    workshop.write("data/raw.csv", "1\n")
    workshop.commit()
    text = """
        from concurrent.futures import ThreadPoolExecutor
        with gitml.start_run("exp") as run, ThreadPoolExecutor(4) as pool:
            list(pool.map(run.save, [f"value-{n}" for n in range(8)], range(8)))
            loaded = pool.submit(run.load, "before").result()
            pool.submit(run.use, "data/raw.csv").result()
            pool.submit(run.log_metrics, {"loss": 1.5}).result()
            pool.submit(run.log_params, {"rate": 2}).result()
            pool.submit(gitml.log_metrics, {"gain": 2.5}).result()
            for n in range(200):
                pool.submit(gitml.log_metrics, {"own": n, "sum": n}, step=n)
    """
    execute(workshop, "gitml.save_artifact([1], 'before')")
    done = execute(workshop, text)
    run = done["run"].recorded
    assert done["loaded"] == [1]
    main = run.steps["main"]
    assert {name: one.load() for name, one in main.outputs.items() if name[-1].isdigit()} == {
        f"value-{n}": n for n in range(8)
    }
    loads = workshop.record(main.entry.commit, "step.json")["loads"]
    assert [one["name"] for one in loads] == ["before", "data:data/raw.csv"]
    assert {name: run.metrics[name] for name in ("loss", "gain")} == {"loss": 1.5, "gain": 2.5}
    assert run.parameters == {"rate": 2}
    for name in ("own", "sum"):
        series = main.series[name]
        assert (series.steps, series.values) == (tuple(range(200)), tuple(range(200)))
    assert main.log() == ""


def test_what_fails_in_another_thread_leaves_a_line(workshop: Workshop) -> None:
    text = """
        from concurrent.futures import ThreadPoolExecutor
        with gitml.start_run("exp") as run, ThreadPoolExecutor(1) as pool:
            pool.submit(run.save, "a", object())
            pool.submit(run.load, "nowhere")
    """
    run = execute(workshop, text)["run"].recorded
    assert run.steps["main"].log() == (
        "gitml: in another thread nothing came of `save('a')`, `load('nowhere')`\n"
    )


def test_a_thread_that_outlives_the_block_is_told_so(workshop: Workshop) -> None:
    text = """
        import threading
        late, errors = threading.Event(), []
        def work():
            late.wait()
            for call in (lambda: run.save("a", 1), lambda: gitml.log_metrics({"loss": 1})):
                try:
                    call()
                except Exception as error:
                    errors.append(error.message)
        with gitml.start_run("exp") as run:
            thread = threading.Thread(target=work)
            thread.start()
        late.set()
        thread.join()
    """
    assert execute(workshop, text)["errors"] == ["the run exp has ended", "no step is running here"]


def test_where_nothing_can_be_written_the_block_does_not_begin(workshop: Workshop) -> None:
    (workshop.path / ".git/gitml").mkdir(exist_ok=True)
    (workshop.path / ".git/gitml/journal").write_text("no folder")
    reached: list[int] = []
    with pytest.raises(StorageError, match="journal"):
        execute(workshop, "with gitml.start_run('exp'):\n    reached.append(1)\n", reached=reached)
    assert reached == []


def test_code_that_is_not_committed_stands_in_the_snapshot(workshop: Workshop) -> None:
    workshop.write("scripts/steady.py", "def value():\n    return 7\n")
    path = workshop.write(
        "scripts/exp.py",
        "import gitml\nfrom steady import value\n"
        "with gitml.start_run('exp') as run:\n    run.save('seven', value())\n",
    )
    done = workshop.python(str(path), here=workshop.path.parent)
    assert done.err == ""
    (run,) = workshop.repo().runs()
    shown = workshop.git("show", f"{run.id}:scripts/steady.py")
    assert shown.startswith("def value()")


def test_a_block_in_a_cell_keeps_its_source(workshop: Workshop) -> None:
    name = "<ipython-input-1-exp>"
    text = "scale = 3\nwith gitml.start_run('exp') as run:\n    run.save('nine', 3 * scale)\n"
    lines = text.splitlines(keepends=True)
    linecache.cache[name] = (len(text), None, lines, name)
    space: dict[str, Any] = {"__name__": "__main__", "In": ["", text], "gitml": gitml}
    try:
        exec(compile(text, name, "exec"), space)
    finally:
        del linecache.cache[name]
    run: Session = space["run"]
    cell = run.recorded.steps["main"].found.record.cell  # type: ignore[union-attr]
    assert cell == text.replace("\nwith", "\n\nwith")


def test_a_name_tags_and_a_stage_are_as_those_of_a_pipeline(workshop: Workshop) -> None:
    done = execute(
        workshop,
        """
        options = {"run_name": "first-{rate}", "tags": ["tried"]}
        with gitml.start_run("exp", model="clf", parameters={"rate": 3}, **options) as run:
            run.save("model", [1])
            gitml.Model("clf").set_stage("staging", "the first")
        """,
    )
    recorded = done["run"].recorded
    assert (recorded.name, recorded.tags) == ("first-3", ("tried",))
    assert recorded.model_version.stages == ["staging"]
    assert Model("clf", version="staging").load("model") == [1]
