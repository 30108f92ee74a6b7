"""What runs and what is cached, what a step may return, and what it hears when it may not."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import gitml
from gitml import log_metrics
from gitml.entities.ids import Digest
from gitml.errors import GitmlError, NameNotFound, StepFailed, UnsupportedValue, UsageError
from gitml.pipelines.outcome import StepEvent
from tests.code.project import Write
from tests.workshop import Workshop, load, states

HEAD = """\
from pathlib import Path
from typing import Annotated
import gitml
from gitml import Artifact, Model, log_metrics, pipeline, step
"""


# What makes a step run again


def test_files_that_a_step_reads_are_observed(steps: Write) -> None:
    bench = steps(
        """
        @step
        def read() -> int:
            return len(Path("notes.txt").read_text()) + Path("absent.txt").exists()

        @pipeline
        def example():
            read()
        """
    )
    bench.write("notes.txt", "abc")
    bench.commit()
    first = bench.run("example")
    record = bench.record(first.steps["read"].entry.commit, "step.json")
    assert list(record["observed"]) == ["absent.txt", "notes.txt"]
    assert bench.states("example") == {"read": "cached"}
    bench.write("notes.txt", "abcd")
    again = bench.run("example")
    assert states(again) == {"read": "completed"}
    assert load(again, "read") == 4
    bench.write("notes.txt", "abc")
    assert load(bench.run("example"), "read") == 3
    assert bench.states("example") == {"read": "cached"}


def test_a_step_runs_again_when_a_file_comes_or_goes_that_it_only_asks_about(
    steps: Write,
) -> None:
    bench = steps(
        """
        @step
        def ask() -> int:
            size = Path("notes.txt").stat().st_size if Path("notes.txt").is_file() else 0
            Path("out/deep").mkdir(parents=True, exist_ok=True)
            return size

        @pipeline
        def example():
            ask()
        """
    )
    first = bench.run("example")
    record = bench.record(first.steps["ask"].entry.commit, "step.json")
    assert record["observed"] == {"notes.txt": "absent"}
    assert bench.states("example") == {"ask": "cached"}
    bench.write("notes.txt", "abc")
    assert load(bench.run("example"), "ask") == 3
    assert bench.states("example") == {"ask": "cached"}
    bench.write("notes.txt", "xyz")
    assert bench.states("example") == {"ask": "cached"}
    bench.write("notes.txt", "longer")
    assert load(bench.run("example"), "ask") == 6
    Path("notes.txt").unlink()
    assert bench.states("example") == {"ask": "cached"}


def test_a_step_that_asks_about_too_many_files_says_so(
    steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = steps(
        """
        def sizes() -> int:
            return sum(Path(f"data/{n}").stat().st_size for n in range(3))

        @step
        def anyhow() -> int:
            return sizes()

        @step(files=["data"])
        def declared() -> int:
            return sizes()

        @pipeline
        def example():
            anyhow()
            declared()
        """
    )
    for n in range(3):
        bench.write(f"data/{n}", "abc")
    bench.commit()
    monkeypatch.setattr("gitml.pipelines.observe.MOST_ANSWERS", 2)
    monkeypatch.setattr("gitml.pipelines.calling.MOST_ANSWERS", 2)
    notes: list[str] = []
    bench.run("example", tell=lambda event: notes.extend(event.notes))
    (note,) = (one for one in notes if "asked" in one)
    assert note.startswith("anyhow asked about more than 2 files: its result is not reused")
    assert bench.states("example") == {"anyhow": "completed", "declared": "cached"}


def test_a_file_that_is_added_to_a_folder_which_a_step_lists_makes_it_run_again(
    steps: Write,
) -> None:
    bench = steps(
        """
        @step
        def count() -> int:
            return len(list(Path("parts").glob("*.csv")))

        @pipeline
        def example():
            count()
        """
    )
    bench.write("parts/a.csv", "1")
    bench.commit()
    first = bench.run("example")
    record = bench.record(first.steps["count"].entry.commit, "step.json")
    assert record["observed"]["parts"].startswith("names blake3:")
    assert bench.states("example") == {"count": "cached"}
    bench.write("parts/a.csv", "other content, same names")
    assert bench.states("example") == {"count": "cached"}
    bench.write("parts/b.csv", "2")
    assert load(bench.run("example"), "count") == 2
    assert bench.states("example") == {"count": "cached"}


def test_a_file_that_a_helper_reads_while_it_is_imported_counts(steps: Write) -> None:
    bench = steps(
        """
        import helper

        @step
        def use() -> list:
            return helper.TABLE

        @pipeline
        def example():
            use()
        """
    )
    bench.write("table.json", "[1]")
    bench.code(
        "pipelines/helper.py",
        """
        import json
        from pathlib import Path

        TABLE = json.loads((Path(__file__).parents[1] / "table.json").read_text())
        """,
    )
    assert load(bench.run("example"), "use") == [1]
    assert bench.states("example") == {"use": "cached"}
    bench.write("table.json", "[1, 2]")
    assert load(bench.run("example"), "use") == [1, 2]
    assert bench.states("example") == {"use": "cached"}


def test_what_a_step_loads_by_name_is_asked_again(steps: Write) -> None:
    bench = steps(
        """
        @step
        def use() -> int:
            threshold = gitml.load_artifact("threshold")
            return threshold + len((gitml.data("data") / "a").read_text())

        @pipeline
        def example():
            use()
        """
    )
    bench.write("data/a", "xyz")
    bench.commit()
    bench.repo().save(10, "threshold")
    first = bench.run("example")
    assert load(first, "use") == 13
    step = first.steps["use"].entry.commit
    record = bench.record(step, "step.json")
    loads = {one["name"]: one["commit"] for one in record["loads"]}
    assert set(loads) == {"artifact/threshold@latest", "data:data"}
    assert bench.parents(step)[1:] == list(loads.values())
    assert "observed" not in record or record["observed"] == {}
    assert bench.states("example") == {"use": "cached"}
    bench.repo().save(20, "threshold")
    assert load(bench.run("example"), "use") == 23
    bench.write("data/a", "xy")
    assert load(bench.run("example"), "use") == 22
    assert bench.states("example") == {"use": "cached"}


def test_missing_bytes_make_a_step_run_again(steps: Write) -> None:
    bench = steps(
        """
        @step
        def make() -> list:
            return list(range(5))

        @step
        def keep(values: list) -> int:
            return sum(values)

        @pipeline
        def example():
            keep(make())
        """
    )
    bench.run("example")
    for path in (bench.path / ".git/gitml/store").rglob("*"):
        if path.is_file():
            path.unlink()
    again = bench.run("example")
    assert states(again) == {"make": "completed", "keep": "completed"}
    assert load(again, "keep") == 10
    assert bench.problems() == []


def test_a_folder_with_a_missing_file_is_made_again(steps: Write) -> None:
    bench = steps(
        """
        import tempfile

        @step
        def folder() -> Path:
            made = Path(tempfile.mkdtemp())
            (made / "a.txt").write_text("in a folder")
            return made

        @pipeline
        def example():
            folder()
        """
    )
    inner = bench.repo().save(b"in a folder", "inner")
    bench.run("example")
    assert bench.states("example") == {"folder": "cached"}
    path = next(bench.repo().store.copies(inner.digest)).path
    for one in path.parent.glob(f"{path.stem}.*"):
        one.unlink()
    assert bench.states("example") == {"folder": "completed"}
    assert bench.problems() == []


CHAIN = """
    import tempfile

    @step
    def make() -> list:
        return list(range(500))

    @step
    def double(values: list) -> Path:
        made = Path(tempfile.mkdtemp())
        (made / "twice.txt").write_text(str([2 * one for one in values]))
        return made

    @step
    def keep(folder: Path, extra: int = 0) -> int:
        return sum(eval((folder / "twice.txt").read_text())) + extra

    @pipeline
    def example(extra: int = 0):
        keep(double(make()), extra)
"""


def damage(bench: Workshop, digest: Digest, bits: int = 1) -> None:
    """Change a byte in the middle of every file that has a copy."""
    for copy in list(bench.repo().store.copies(digest)):
        pack = next(one for one in bench.repo().store.packs() if one.path == copy.path)
        row = pack.find_chunk(digest.raw)
        assert row is not None
        data = bytearray(copy.path.read_bytes())
        data[row.offset + 96 + row.stored // 2] ^= bits
        copy.path.chmod(0o644)
        copy.path.write_bytes(data)


def test_damaged_bytes_are_made_again_and_healed(steps: Write) -> None:
    """As missing ones are: the step that made them runs again, and those before it if need be."""
    bench = steps(CHAIN)
    first = bench.run("example")
    made = first.steps["make"].outputs["output"].digest
    tree = bench.repo().store.read_tree(first.steps["double"].outputs["output"].digest)
    damage(bench, tree.entries[0].digest)
    told: list[StepEvent] = []
    again = bench.run("example", {"extra": 1}, tell=told.append)
    assert states(again) == {"make": "cached", "double": "completed", "keep": "completed"}
    assert load(again, "keep") == 2 * sum(range(500)) + 1
    notes = [note for one in told for note in one.notes]
    assert any("double runs again" in note and "damaged" in note for note in notes)
    damage(bench, tree.entries[0].digest, 2)
    damage(bench, made)
    again = bench.run("example", {"extra": 2})
    assert states(again) == {"make": "completed", "double": "completed", "keep": "completed"}
    assert load(again, "keep") == 2 * sum(range(500)) + 2
    assert all(one.is_harmless for one in bench.problems())
    assert states(bench.run("example", {"extra": 2})) == dict.fromkeys(states(again), "cached")


def test_cache_false_on_a_step_a_pipeline_and_a_run(steps: Write) -> None:
    bench = steps(
        """
        @step(cache=False)
        def always() -> int:
            return 1

        @step
        def sometimes(value: int) -> int:
            return value

        @pipeline
        def example():
            sometimes(always())

        @pipeline(cache=False)
        def never():
            sometimes(always())
        """
    )
    bench.run("pipelines/example.py:example")
    again = bench.run("pipelines/example.py:example")
    assert states(again) == {"always": "completed", "sometimes": "cached"}
    assert "key" not in bench.record(again.steps["always"].entry.commit, "step.json")
    for _ in range(2):
        run = bench.run("pipelines/example.py:never")
        assert states(run) == {"always": "completed", "sometimes": "completed"}
    run = bench.run("pipelines/example.py:example", cache=False)
    assert states(run) == {"always": "completed", "sometimes": "completed"}
    run = bench.run("pipelines/example.py:example")
    assert states(run) == {"always": "completed", "sometimes": "cached"}


def test_a_step_that_cannot_be_keyed_runs_every_time_and_says_so_once(steps: Write) -> None:
    bench = steps(
        """
        class Counter:
            count = 0

        def counting(counter):
            @step
            def count() -> int:
                counter.count += 1
                return counter.count
            return count

        count = counting(Counter())

        @pipeline
        def example():
            count()
            count()
        """
    )
    events: list[StepEvent] = []
    run = bench.run("example", tell=events.append)
    assert states(run) == {"count": "completed", "count_2": "completed"}
    assert [load(run, one) for one in ("count", "count_2")] == [1, 2]
    notes = [note for one in events for note in one.notes]
    assert len([one for one in notes if "not cached" in one]) == len({"count", "count_2"})
    assert bench.states("example") == {"count": "completed", "count_2": "completed"}


def test_declared_variables_and_files_count(steps: Write) -> None:
    bench = steps(
        """
        import os

        @step(environment=["FACTOR"], files=["table.txt"])
        def use() -> str:
            return os.environ.get("FACTOR", "none")

        @pipeline
        def example():
            use()
        """
    )
    bench.write("table.txt", "1")
    bench.commit()
    assert bench.states("example") == {"use": "completed"}
    assert bench.states("example") == {"use": "cached"}
    assert bench.states("example", environment={"FACTOR": "2"}) == {"use": "completed"}
    assert bench.states("example", environment={"FACTOR": "2", "OTHER": "3"}) == {"use": "cached"}
    bench.write("table.txt", "2")
    assert bench.states("example") == {"use": "completed"}


def test_a_file_that_changed_while_the_step_ran_makes_its_result_unusable(steps: Write) -> None:
    bench = steps(
        """
        @step
        def unsteady() -> int:
            seen = int(Path("count.txt").read_text())
            Path("count.txt").write_text(str(seen + 100))
            return seen

        @pipeline
        def example():
            unsteady()
        """
    )
    bench.write("count.txt", "1")
    bench.commit()
    first = bench.run("example")
    assert load(first, "unsteady") == 1
    bench.write("count.txt", "101")
    assert load(bench.run("example"), "unsteady") == 101


def test_a_step_with_the_same_key_in_another_pipeline_is_a_hit(steps: Write) -> None:
    bench = steps(
        """
        @step
        def one() -> int:
            return 1

        @pipeline
        def example():
            one()

        @pipeline
        def other():
            one()
        """
    )
    bench.run("example")
    assert bench.states("other") == {"one": "cached"}


def test_an_edited_comment_does_not_count_and_an_edited_constant_does(steps: Write) -> None:
    text = """
        LIMIT = 3

        @step
        def limited() -> int:
            return LIMIT

        @pipeline
        def example():
            limited()
        """
    bench = steps(text)
    bench.run("example")
    steps(text.replace("LIMIT = 3", "# a limit\n        LIMIT = 3"))
    assert bench.states("example") == {"limited": "cached"}
    steps(text.replace("LIMIT = 3", "LIMIT = 4"))
    assert load(bench.run("example"), "limited") == 4


# What a step returns


def test_outputs_are_named_and_may_be_none(steps: Write) -> None:
    bench = steps(
        """
        @step
        def nothing() -> None:
            pass

        @step
        def maybe() -> int | None:
            return None

        @step
        def pair(value: int | None) -> tuple[Annotated[int | None, "left"], int]:
            return value, 2

        @step
        def inferred(value):
            return {"value": value}

        @step
        def shrug():
            pass

        @pipeline
        def example():
            nothing()
            left, right = pair(maybe())
            inferred(right)
            inferred(left)
            shrug()
        """
    )
    run = bench.run("example")
    assert run.steps["nothing"].outputs == {}
    names = {k: {n: o.name for n, o in s.outputs.items()} for k, s in run.steps.items()}
    assert names["maybe"] == {"output": "example.maybe"}
    assert names["pair"] == {"left": "left", "output_1": "example.pair.output_1"}
    assert load(run, "pair", "left") is None
    assert load(run, "inferred") == {"value": 2}
    assert load(run, "inferred_2") == {"value": None}
    assert load(run, "shrug") is None
    again = bench.run("example")
    assert set(states(again).values()) == {"cached"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("tuple[int, int]: return 1, 2, 3", "declares 2 outputs and returned 3"),
        ("tuple[int, int]: return 1", "declares 2 outputs and returned 1"),
        ("None: return 1", "annotated `-> None` and returned a value"),
    ],
)
def test_a_wrong_count_of_outputs(steps: Write, body: str, words: str) -> None:
    bench = steps(
        f"""
        @step
        def wrong() -> {body}

        @pipeline
        def example():
            wrong()
        """
    )
    error = bench.fails("example")
    assert isinstance(error, UsageError)
    assert words in error.message
    assert error.run.status == "failed"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("generator", "def lazy():\n            yield 1"),
        ("generator", "def lazy():\n            return (one for one in [1])"),
        ("coroutine", "async def lazy():\n            return 1"),
        ("async_generator", "async def lazy():\n            yield 1"),
    ],
)
def test_what_has_not_happened_yet_is_not_stored(steps: Write, kind: str, body: str) -> None:
    bench = steps(
        f"""
        @step
        {body}

        @pipeline
        def example():
            lazy()
        """
    )
    error = bench.fails("example")
    assert isinstance(error, UsageError)
    assert f"the step lazy returned a {kind}" in error.message


def test_a_value_that_cannot_be_stored_names_step_output_and_type(steps: Write) -> None:
    bench = steps(
        """
        class Strange:
            pass

        @step
        def good() -> Annotated[int, "fine"]:
            return 1

        @step
        def odd(value: int) -> tuple[Annotated[int, "fine2"], Annotated[object, "strange"]]:
            return value, Strange()

        @pipeline
        def example():
            odd(good())
        """
    )
    error = bench.fails("example")
    assert isinstance(error, UnsupportedValue)
    assert "the output `strange` of the step odd cannot be stored" in error.message
    assert any("Strange" in one for one in error.causes())
    run = error.run  # type: ignore[attr-defined]
    assert states(run) == {"good": "completed", "odd": "failed"}
    assert bench.fails("example").run.steps["good"].status == "cached"  # type: ignore[attr-defined]


def test_a_folder_and_bytes_are_values_too(steps: Write) -> None:
    bench = steps(
        """
        import tempfile

        @step
        def folder() -> Path:
            made = Path(tempfile.mkdtemp())
            (made / "inner").mkdir()
            (made / "inner/a.txt").write_text("a")
            return made

        @step
        def raw(folder: Path) -> bytes:
            return (folder / "inner/a.txt").read_bytes()

        @pipeline
        def example():
            raw(folder())
        """
    )
    run = bench.run("example")
    assert load(run, "raw") == b"a"
    assert run.steps["folder"].outputs["output"].record.kind == "tree"
    assert (load(run, "folder") / "inner/a.txt").read_text() == "a"
    assert bench.states("example") == {"folder": "cached", "raw": "cached"}


# What a step is given


def test_parameters_of_every_kind_reach_the_step_and_the_record(steps: Write) -> None:
    bench = steps(
        """
        @step
        def show(
            a: int, b: float, c: str, d: bool, e: list, f: dict, g: float = float("inf")
        ) -> str:
            return repr((a, b, c, d, e, f, g))

        @pipeline
        def example(a: int = 1, b: float = 0.5, c: str = "é", d: bool = True):
            show(a, b, c, d, [1, [2.0, None]], {"k": {"l": "m"}})
        """
    )
    run = bench.run("example", {"a": 2, "show.c": "it"})
    expected = (2, 0.5, "it", True, [1, [2.0, None]], {"k": {"l": "m"}}, float("inf"))
    assert load(run, "show") == repr(expected)
    assert run.parameters == {"a": 2, "b": 0.5, "c": "é", "d": True, "show.c": "it"}
    assert run.steps["show"].parameters["f"] == {"k": {"l": "m"}}
    assert bench.states("example", {"a": 2, "show.c": "it"}) == {"show": "cached"}
    for changed in ({"a": 3}, {"a": 2.0}, {"d": 1}, {"show.g": 1.0}):
        assert bench.states("example", changed) == {"show": "completed"}, changed


def test_partials_and_steps_made_in_a_loop(steps: Write) -> None:
    bench = steps(
        """
        import functools

        def scaled(value: int, by: int) -> int:
            return value * by

        by_three = step(name="by-three")(functools.partial(scaled, by=3))
        others = [step(name=f"by-{n}")(functools.partial(scaled, by=n)) for n in (4, 5)]

        @step
        def one() -> int:
            return 1

        @pipeline
        def example():
            value = by_three(one())
            for other in others:
                value = other(value)
        """
    )
    run = bench.run("example")
    assert list(run.steps) == ["one", "by-three", "by-4", "by-5"]
    assert load(run, "by-5") == 60
    assert run.steps["by-three"].parameters == {"by": 3}
    assert set(bench.states("example").values()) == {"cached"}
    again = bench.run("example", {"by-4.by": 6})
    assert load(again, "by-5") == 90
    assert states(again)["by-three"] == "cached"


def test_outputs_and_artifacts_are_what_they_were(steps: Write) -> None:
    bench = steps(
        """
        @step
        def make() -> dict:
            return {"a": [1, 2.5, None, True, "x"]}

        @step
        def change(given: dict) -> dict:
            given["a"].append("changed")
            return given

        @step
        def look(given: dict) -> int:
            return len(given["a"])

        @pipeline
        def example():
            made = make()
            change(made)
            look(made)
        """
    )
    run = bench.run("example")
    assert load(run, "look") == 5, "a step gets a value of its own"


def test_a_context_tells_where_a_step_is(steps: Write) -> None:
    bench = steps(
        """
        from gitml import get_context, log_metadata

        @step
        def ask(depth: int) -> list:
            here = get_context()
            log_metrics({"loss": {"train": 1, "test": 2.5}})
            log_metrics({"loss.test": 2})
            log_metadata({"tool": "tests", "rows": 4, "ok": True, "tags": ["a", "b"]})
            return [here.pipeline, here.step, dict(here.parameters), here.model.name]

        @pipeline(model=Model("net"))
        def example(depth: int = 3):
            ask(depth)
        """
    )
    run = bench.run("example")
    assert load(run, "ask") == ["example", "ask", {"depth": 3}, "net"]
    assert run.steps["ask"].metrics == {"loss.train": 1, "loss.test": 2, "rows": 4}
    assert run.steps["ask"].metadata == {"tool": "tests", "ok": True, "tags": ["a", "b"]}
    assert run.model_version is not None
    assert run.model_version.metadata() == run.steps["ask"].metadata
    cached = bench.run("example")
    assert cached.steps["ask"].metrics == run.steps["ask"].metrics
    assert cached.metrics == run.metrics


TAGS = """
@step(tags=["raw", "both"])
def split() -> tuple[
    Annotated[list, "train"], Annotated[list, Artifact("test", tags=["held out", "both"])]
]:
    return [1], []

@step
def score(n: int) -> int:
    return n

@pipeline
def example():
    split()
    score.with_options(tags=["scores"]).map([1, 2])
    score(3)
"""


def test_the_tags_of_a_step_are_put_on_all_that_it_makes(steps: Write) -> None:
    bench = steps(TAGS)
    run = bench.run("example")
    made = {
        f"{step}.{name}": one.tags
        for step, found in run.steps.items()
        for name, one in found.outputs.items()
    }
    assert made == {
        "split.train": ("both", "raw"),
        "split.test": ("both", "held out", "raw"),
        "score.output": ("scores",),
        "score.map-items": (),
        "score_2.output": (),
    }
    found = bench.repo().everything_tagged("raw")
    assert sorted(one.name.partition("@")[0] for one in found) == ["test", "train"]
    other = bench.path / "pipelines/example.py"
    bench.code("pipelines/example.py", other.read_text().replace('"raw", ', '"new", '))
    again = bench.run("example")
    assert states(again)["split"] == "cached", "a tag is nothing that a step depends on"
    assert again.steps["split"].outputs["train"].tags == ("both", "raw")


OUTPUTS = """
@step
def split(rows: int = 4, first: str = "train") -> tuple[
    Annotated[list, "train"],
    Annotated[list, Artifact("test", tags=["held out"], metadata={"unit": {"of": "m"}})],
]:
    gitml.log_metadata({"rows": rows, "page": gitml.Uri("https://example.org")}, artifact=first)
    gitml.log_metadata({"disk": gitml.StorageSize(4096), "rows": rows}, infer_model=True)
    return list(range(rows)), []

@step
def look(rows: list) -> int:
    gitml.log_metadata({"looked": {"at": "all"}}, infer_artifact=True)
    return len(rows)

@pipeline(model=Model("net"))
def example(rows: int = 4):
    look(split(rows)[0])
"""


def test_a_step_logs_of_its_outputs_and_of_the_version_that_comes(steps: Write) -> None:
    bench = steps(OUTPUTS)
    run = bench.run("example")
    train, test = (run.steps["split"].outputs[one] for one in ("train", "test"))
    assert train.metadata["rows"] == 4
    assert isinstance(train.metadata["page"], gitml.Uri)
    assert "rows" not in test.metadata
    assert test.record.logged == {"unit.of": "m"}
    assert (train.tags, test.tags) == ((), ("held out",))
    things = bench.repo().everything_tagged("held out")
    assert [(one.kind, one.commit) for one in things] == [("artifact", test.commit)]
    assert run.steps["split"].metrics == {"rows": 4}, "of the output's numbers none is a metric"
    version = run.model_version
    assert version is not None
    assert version.metadata() == {"disk": 4096}
    assert isinstance(version.metadata()["disk"], gitml.StorageSize)
    assert run.steps["look"].outputs["output"].metadata["looked.at"] == "all"
    assert bench.record(train.commit, "step.json")["outputs"][0]["logged"] == {
        "page": {"$type": "uri", "value": "https://example.org"},
        "rows": 4,
    }
    again = bench.run("example").steps["split"]
    assert again.status == "cached"
    assert again.outputs["train"].metadata == train.metadata
    assert again.outputs["test"].tags == ("held out",)
    test.remove_tags("held out")
    assert bench.repo().tags("test") == ()

    gitml.log_metadata({"seen": "by Ada"}, artifact="train")
    gitml.log_metadata({"seen": "by Bob"}, model="net")
    gitml.log_metadata({"seen": "by Eve"}, run=run.id.hex)
    assert bench.repo().metadata("train")["seen"] == "by Ada"
    assert bench.repo().version("net").metadata()["seen"] == "by Bob"
    assert bench.repo().run_of(run.id).metadata() == {"seen": "by Eve"}
    assert bench.problems() == []
    bench.code("pipelines/example.py", HEAD + OUTPUTS.replace("held out", "kept apart"))
    assert bench.run("example").steps["split"].outputs["test"].tags == ("kept apart",)


def test_metadata_is_of_one_thing() -> None:
    with pytest.raises(UsageError, match="of one thing"):
        gitml.log_metadata({"a": 1}, run="a", model="b")


def test_logging_and_asking_need_a_running_step() -> None:
    for call in (
        gitml.get_context,
        lambda: gitml.log_metrics({"a": 1}),
        lambda: gitml.log_metadata({"a": "b"}),
        lambda: gitml.log_metadata({"a": "b"}, infer_artifact=True),
    ):
        with pytest.raises(UsageError, match="no step is running here"):
            call()


def test_a_step_that_a_test_calls_logs_to_nobody() -> None:
    @gitml.step
    def score(value: object) -> object:
        gitml.log_metrics({"score": value}, step=1)
        gitml.log_metadata({"note": "fine"})
        gitml.log_metadata({"note": value}, model="clf")
        return value

    assert score(0.5) == 0.5
    with pytest.raises(UsageError, match="is a str, not a number"):
        score("high")
    with pytest.raises(UsageError, match="no step is running here"):
        gitml.log_metrics({"score": 1})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gitml.log_metrics({'a': 'high'})", "the metric `a` is a str, not a number"),
        ("gitml.log_metrics({1: 2})", "should be text, not 1"),
        ("gitml.log_metadata({'a': object()})", "the metadata `a` is a object"),
        ("gitml.log_metadata({'a': 1}, infer_artifact=True)", "the step say has 0 outputs"),
        ("gitml.log_metadata({'a': 1}, artifact='model')", "the step say has no output `model`"),
        ("gitml.log_metadata({'a': 1}, infer_model=True)", "makes no version of a model"),
        ("gitml.log_metadata({'a': 1}, model='clf')", "makes no version of clf"),
        ("gitml.log_metadata({'a': 1}, run='7f3a')", "a step cannot log on a run"),
        ("gitml.save_artifact(1, 'x')", "a step's results are what it returns"),
        ("gitml.load_artifact('nothing')", "no artifact is called `nothing`"),
        ("Model('no').load('model')", "no model is called `no`"),
        ("gitml.data('nowhere.csv')", "there is no data at nowhere.csv"),
        ("gitml.data('../outside.csv')", "outside.csv"),
        ("example()", "a pipeline cannot run inside of a step"),
    ],
)
def test_what_a_step_may_not_say(steps: Write, line: str, words: str) -> None:
    bench = steps(
        f"""
        @step
        def say() -> None:
            {line}

        @pipeline
        def example():
            say()
        """
    )
    error = bench.fails("example")
    assert isinstance(error, GitmlError)
    assert words in error.message
    assert error.run.status == "failed"  # type: ignore[attr-defined]


def test_a_failing_step_leaves_what_came_before(steps: Write) -> None:
    bench = steps(
        """
        @step
        def first() -> int:
            return 1

        @step
        def second(value: int) -> int:
            print("about to fail")
            raise ValueError("not today")

        @step
        def third(value: int) -> int:
            return value

        @pipeline(model=Model("net"))
        def example():
            third(second(first()))
        """
    )
    error = bench.fails("example")
    assert isinstance(error, StepFailed)
    run = error.run  # type: ignore[attr-defined]
    assert states(run) == {"first": "completed", "second": "failed", "third": "skipped"}
    assert run.failure.message == "not today"
    assert run.steps["second"].log() == "about to fail\n"
    assert f"gitml show {run.id.short}" in (error.hint or "")
    assert load(run, "first") == 1
    assert bench.repo().models() == []
    text = (bench.path / "pipelines/example.py").read_text()
    bench.code("pipelines/example.py", text.replace('raise ValueError("not today")', "return 2"))
    assert bench.states("example") == {
        "first": "cached",
        "second": "completed",
        "third": "completed",
    }


def test_what_is_no_exception_fails_a_step_too(steps: Write) -> None:
    """What asyncio cancels with derives from BaseException alone."""
    bench = steps(
        """
        import asyncio

        @step
        def cancelled() -> int:
            raise asyncio.CancelledError("given up")

        @pipeline
        def example():
            cancelled()
        """
    )
    error = bench.fails("example")
    assert isinstance(error, StepFailed)
    run = error.run  # type: ignore[attr-defined]
    assert (run.status, run.failure.type) == ("failed", "CancelledError")


def test_loading_with_a_version_makes_it_a_parent(steps: Write) -> None:
    bench = steps(
        """
        @step
        def train() -> Annotated[dict, "model"]:
            return {"weight": 2}

        @pipeline(model=Model("net"))
        def training():
            train()

        @step
        def ask() -> int:
            return Model("net", version=1).load("model")["weight"]

        @step
        def given(model: dict) -> int:
            return model["weight"]

        @pipeline(model=Model("net", version=1))
        def example():
            ask()
            given(Model("net", version="latest").artifact("model"))
        """
    )
    bench.run("training")
    version = bench.repo().version("net@v1")
    run = bench.run("example")
    for name in ("ask", "given"):
        assert bench.parents(run.steps[name].entry.commit)[1:] == [str(version.id)]
    assert [one.id for one in bench.repo().consumers(version)] == [run.id]
    assert run.model_version is None
    missing = bench.fails("example", {"nothing": 1})
    assert isinstance(missing, UsageError)


def test_pins_do_not_move_with_a_version_of_the_same_bytes(steps: Write) -> None:
    """A cached step whose parent is another version with equal bytes is made again, not adopted."""
    bench = steps(
        """
        @step
        def train(rate: int) -> Annotated[int, "model"]:
            return 7

        @pipeline(model=Model("net"))
        def training(rate: int = 1):
            train(rate)

        @step
        def use(model: int) -> int:
            return model

        @pipeline
        def example(which: int = 1):
            use(Model("net", version=which).artifact("model"))
        """
    )
    bench.run("training")
    bench.run("training", {"rate": 2})
    first = bench.run("example")
    second = bench.run("example", {"which": 2})
    assert states(second) == {"use": "cached"}
    versions = [str(bench.repo().version(f"net@v{n}").id) for n in (1, 2)]
    assert bench.parents(first.steps["use"].entry.commit)[1:] == [versions[0]]
    assert bench.parents(second.steps["use"].entry.commit)[1] == versions[1]
    assert bench.problems() == []


def test_a_data_file_s_pointer_has_to_agree(steps: Write) -> None:
    bench = steps(
        """
        @step
        def read(path: Path) -> int:
            return len(path.read_text())

        @pipeline
        def example():
            read(gitml.data("data/raw.txt"))
        """
    )
    error = bench.fails("example")
    assert isinstance(error, NameNotFound)
    assert not hasattr(error, "run"), "nothing is recorded of a run that was never planned"
    bench.write("data/raw.txt", "abc")
    run = bench.run("example")
    source = bench.parents(run.steps["read"].entry.commit)[1]
    assert bench.git("ls-tree", "-r", "--name-only", source).splitlines() == [
        ".gitml/.gitattributes",
        ".gitml/source.json",
    ]
    digest = json.loads(bench.git("show", f"{source}:.gitml/source.json"))["digest"]
    pointer = bench.write("data/raw.txt.gitml", f"gitml 1\ndigest {digest}\nkind blob\nsize 3\n")
    from gitml.entities.ids import Digest
    from gitml.entities.pointer import Pointer

    pointer.write_bytes(Pointer(Digest.parse(digest), "blob", 3).encode())
    assert bench.states("example") == {"read": "cached"}
    bench.write("data/raw.txt", "abcd")
    error = bench.fails("example")
    assert isinstance(error, UsageError)
    assert "data/raw.txt is not what its pointer says" in error.message


def test_value_of(tmp_path: Path) -> None:
    """`plain_type` sees through ``Annotated`` and gives up on what is not one class."""
    from typing import Annotated

    from gitml.pipelines.storing import plain_type

    given: list[tuple[Any, type | None]] = [
        (int, int),
        (Annotated[dict, "x"], dict),
        (list[int], None),
        (int | None, None),
        (None, None),
    ]
    for annotation, expected in given:
        assert plain_type(annotation) is expected


# What the threads of a step say


def test_the_threads_of_a_step_log_and_load_for_it(steps: Write) -> None:
    bench = steps(
        """
        from concurrent.futures import ThreadPoolExecutor

        def fit(n: int) -> None:
            log_metrics({f"fold{n}": n})
            gitml.log_metadata({f"note{n}": "fine"})

        @step
        def train() -> int:
            with ThreadPoolExecutor(4) as pool:
                for n in range(8):
                    pool.submit(fit, n)
                pool.submit(log_metrics, {"loss": 0.5}, step=1)
                given = pool.submit(gitml.load_artifact, "given").result()
            return given

        @pipeline
        def example():
            train()
        """
    )
    gitml.save_artifact(3, "given")
    run = bench.run("example")
    assert load(run, "train") == 3
    assert run.metrics == {**{f"fold{n}": n for n in range(8)}, "loss": 0.5}
    step = run.steps["train"]
    assert step.metadata == {f"note{n}": "fine" for n in range(8)}
    record = bench.record(step.entry.commit, "step.json")
    assert [one["name"] for one in record["loads"]] == ["artifact/given@latest"]


def test_a_step_fails_where_a_thread_logs_that_is_older_than_it(steps: Write) -> None:
    bench = steps(
        """
        import contextvars
        from concurrent.futures import ThreadPoolExecutor
        POOL = ThreadPoolExecutor(1)
        POOL.submit(int).result()

        @step(retries=3, backoff=60)
        def train(known: bool) -> None:
            if known:
                POOL.submit(contextvars.copy_context().run, log_metrics, {"loss": 1}).result()
            else:
                POOL.submit(log_metrics, {"loss": 1})
                POOL.submit(int).result()

        @pipeline
        def example(known: bool = False):
            train(known)
        """
    )
    with pytest.raises(UsageError) as raised:
        bench.run("example")
    assert raised.value.message == (
        "nothing came of `log_metrics` in a thread that was there before the step train"
    )
    assert "contextvars.copy_context().run" in (raised.value.hint or "")
    assert bench.run("example", parameters={"known": True}).metrics == {"loss": 1}


def test_the_threads_of_a_step_that_is_called_plainly_may_log() -> None:
    @gitml.step
    def train() -> int:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(log_metrics, {"loss": 1}).result()
        return 3

    assert train() == 3
    with pytest.raises(UsageError, match="no step is running here"):
        log_metrics({"loss": 1})
