"""Parts of a pipeline: from a step on, a step alone, the rest of a run; and forecasts."""

from __future__ import annotations

import subprocess

import pytest

from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.pipelines.explain import Explanation
from gitml.pipelines.outcome import StepEvent
from gitml.pipelines.selection import Selection
from gitml.repo import Repo
from tests.workshop import Workshop, load, states

CODE = """\
from pathlib import Path
import gitml
from gitml import Model, pipeline, step


@step
def read(raw: Path) -> int:
    return len(raw.read_text())


@step
def scale(value: int, factor: int) -> int:
    return value * factor


@step(cache=False)
def check(value: int) -> int:
    if Path("broken").exists():
        raise ValueError("broken")
    return value + 1


@step
def note() -> str:
    return "beside"


@pipeline(model=Model("clf"))
def chain(factor: int = 2):
    check(scale(read(gitml.data("raw.txt")), factor))
    note()
"""


@pytest.fixture
def chain(workshop: Workshop) -> Workshop:
    workshop.write("raw.txt", "abc")
    workshop.code("pipelines/chain.py", CODE)
    return workshop


def change_read(bench: Workshop) -> None:
    bench.code("pipelines/chain.py", CODE.replace("len(raw.read_text())", "1000"))


def forecast(
    bench: Workshop, selection: Selection | None = None, **parameters: int
) -> dict[str, Explanation]:
    bench.forget()
    repo = bench.repo()
    try:
        pipeline = repo.load_pipeline("chain", bench.path)
        found = repo.forecast(pipeline, parameters, selection=selection)
    finally:
        bench.forget()
    return {one.step: one for one in found}


def outcomes(bench: Workshop, selection: Selection | None = None, **given: int) -> dict[str, str]:
    return {name: one.outcome for name, one in forecast(bench, selection, **given).items()}


def test_from_a_step_it_and_what_needs_it_run_anew(chain: Workshop) -> None:
    first = chain.run("chain")
    again = chain.run("chain", selection=Selection(start=("scale",)))
    assert states(again) == {
        "read": "cached", "scale": "completed", "check": "completed", "note": "cached",
    }  # fmt: skip
    assert again.made_version
    change_read(chain)
    part = chain.run("chain", selection=Selection(start=("scale",)))
    assert states(part)["read"] == "taken"
    assert load(part, "check") == 7
    assert part.steps["read"].entry.commit == first.steps["read"].entry.commit
    assert str(first.steps["read"].entry.commit) in chain.parents(part.steps["scale"].entry.commit)
    assert part.model_version is not None
    assert chain.states("chain")["read"] == "completed", "what was taken is no hit"
    assert chain.problems() == []


def test_a_step_alone_makes_no_version(chain: Workshop) -> None:
    chain.run("chain")
    change_read(chain)
    alone = chain.run("chain", selection=Selection(only=("check",)))
    assert states(alone) == {
        "read": "skipped", "scale": "taken", "check": "completed", "note": "skipped",
    }  # fmt: skip
    assert alone.status == "completed"
    assert alone.model_version is None
    assert load(alone, "check") == 7
    assert chain.problems() == []


@pytest.mark.parametrize("part", [Selection(only=("check",)), Selection(start=("check",))])
def test_results_older_than_the_newest_run_are_told_once(chain: Workshop, part: Selection) -> None:
    def notes(**parameters: int) -> list[str]:
        events: list[StepEvent] = []
        chain.run("chain", parameters, selection=part, tell=events.append)
        return [note for one in events for note in one.notes if "taken from" in note]

    first = chain.run("chain")
    newest = chain.run("chain", {"factor": 5})
    change_read(chain)
    (note,) = notes()
    assert f"from run {first.id.short}, " in note
    assert note.endswith(f"the newest run of chain is {newest.id.short}")
    assert notes() == [], "it stands on the newest run now"


def test_what_no_run_has_cannot_be_taken(chain: Workshop) -> None:
    with pytest.raises(GitmlError, match="no run of chain has a result of note, read"):
        chain.run("chain", selection=Selection(start=("scale",)))
    chain.run("chain")
    with pytest.raises(GitmlError, match="has a result of scale with these parameters"):
        chain.run("chain", {"factor": 5}, selection=Selection(only=("check",)))
    with pytest.raises(NameNotFound, match="no step is called `scael`"):
        chain.run("chain", selection=Selection(only=("scael",)))
    with pytest.raises(UsageError, match="not both"):
        chain.run("chain", selection=Selection(("read",), ("read",)))


def test_a_resumed_run_keeps_what_finished_though_the_code_changed(chain: Workshop) -> None:
    chain.write("broken", "")
    failed = chain.fails("chain").run  # type: ignore[attr-defined]
    (chain.path / "broken").unlink()
    change_read(chain)
    done = chain.run("chain", selection=Selection(resume=failed.id))
    assert states(done) == {
        "read": "taken", "scale": "cached", "check": "completed", "note": "completed",
    }  # fmt: skip
    assert load(done, "check") == 7
    assert chain.problems() == []


def test_a_resumed_step_is_not_taken_where_the_step_before_it_gives_something_else(
    chain: Workshop,
) -> None:
    chain.write("broken", "")
    failed = chain.fails("chain").run  # type: ignore[attr-defined]
    (chain.path / "broken").unlink()
    chain.code("pipelines/chain.py", CODE.replace("value * factor", "value * factor + 1"))
    done = chain.run("chain", {"factor": 3}, selection=Selection(resume=failed.id))
    assert states(done)["read"] == "cached"
    assert states(done)["scale"] == "completed"
    assert load(done, "check") == 11


def test_a_forecast_says_what_would_run_and_writes_nothing(chain: Workshop) -> None:
    assert outcomes(chain) == {
        "read": "run", "scale": "unknown", "check": "uncached", "note": "run",
    }  # fmt: skip
    chain.run("chain")
    chain.write("dirty.txt", "")
    before = (chain.refs(), objects(chain), len(list(files(chain.repo()))))
    assert outcomes(chain) == {
        "read": "cached", "scale": "cached", "check": "uncached", "note": "cached",
    }  # fmt: skip
    told = forecast(chain, factor=3)["scale"]
    assert told.outcome == "run"
    assert [str(one.part) for one in told.changed] == ["parameter factor"]
    part = Selection(only=("check",))
    assert outcomes(chain, part) == {
        "read": "skipped", "scale": "taken", "check": "run", "note": "skipped",
    }  # fmt: skip
    assert (chain.refs(), objects(chain), len(list(files(chain.repo())))) == before


def test_a_forecast_agrees_with_the_run(chain: Workshop) -> None:
    chain.run("chain")
    change_read(chain)
    for part in (None, Selection(start=("scale",)), Selection(only=("scale",))):
        told = outcomes(chain, part)
        ran = chain.states("chain", selection=part)
        words = {"run": "completed", "uncached": "completed"}
        for name, outcome in told.items():
            assert outcome == "unknown" or ran[name] == words.get(outcome, outcome), (part, name)


def objects(bench: Workshop) -> str:
    return subprocess.run(
        ["git", "count-objects", "-v"], cwd=bench.path, capture_output=True, text=True, check=True
    ).stdout


def files(repo: Repo) -> list[str]:
    return [str(one) for one in repo.store.layout.root.rglob("*")]
