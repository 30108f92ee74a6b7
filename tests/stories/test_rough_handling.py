"""What rough handling found: each test failed before its fix."""

from __future__ import annotations

import os

import pytest

from gitml.errors import GitmlError, NameNotFound, RaceLost, UsageError
from gitml.git import refs
from gitml.git.refs import Change
from tests.workshop import Workshop


def test_a_chain_over_equal_bytes_is_the_same_chain_again(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/same.py",
        """\
        from gitml import Model, pipeline, step

        @step
        def one(value: int) -> int:
            return value

        @pipeline(model=Model("long"))
        def same():
            value = one(0)
            for _ in range(4):
                value = one(value)
        """,
    )
    first = workshop.run("same", cache=False)
    again = workshop.run("same")
    assert [s.entry.commit for s in again.steps.values()] == [
        s.entry.commit for s in first.steps.values()
    ]
    assert len({s.entry.commit for s in first.steps.values()}) == 5
    assert not again.made_version and again.model_version is not None


def test_an_error_in_a_pipeline_s_body_says_where(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/body.py",
        "from gitml import pipeline\n\n\n@pipeline\ndef body():\n    {}['k']\n",
    )
    error = workshop.fails("body")
    assert isinstance(error, GitmlError)
    assert "body.py:6" in str(error) and isinstance(error.__cause__, KeyError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_that_a_step_forks_does_not_go_on_as_a_run(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/fork.py",
        """\
        import os

        from gitml import pipeline, step

        @step
        def a() -> int:
            if os.fork() == 0:
                return 5
            os.wait()
            return 2

        @pipeline
        def fork():
            a()
        """,
    )
    run = workshop.run("fork")
    assert run.steps["a"].outputs["output"].load() == 2
    assert len(workshop.repo().runs()) == 1


def test_what_is_too_large_for_a_record_is_refused_where_it_is_logged(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/big.py",
        """\
        from gitml import log_metadata, pipeline, step

        @step
        def a() -> int:
            log_metadata({"text": "x" * 20_000_000})
            return 1

        @pipeline
        def big():
            a()
        """,
    )
    refused = workshop.fails("big")
    assert isinstance(refused, UsageError)
    assert "`text` has 19 MiB" in str(refused)
    assert [run.status for run in workshop.repo().runs()] == ["failed"]
    assert workshop.problems() == []


def test_a_metric_beyond_64_bits_is_refused(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/huge.py",
        """\
        from gitml import log_metrics, pipeline, step

        @step
        def a() -> int:
            log_metrics({"digits": 10**400})
            return 1

        @pipeline
        def huge():
            a()
        """,
    )
    assert isinstance(workshop.fails("huge"), UsageError)


def test_a_syntax_error_is_named_with_its_line(workshop: Workshop) -> None:
    workshop.code("pipelines/broken.py", "def f(:\n")
    with pytest.raises(NameNotFound) as caught:
        workshop.repo().load_pipeline("broken", workshop.path)
    assert "line 1" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="line 1"):
        workshop.repo().load_pipeline("pipelines/broken.py", workshop.path)


def test_a_ref_that_has_to_stay_is_part_of_the_transaction(workshop: Workshop) -> None:
    repo = workshop.repo()
    head = repo.odb.resolve("HEAD")
    assert head is not None
    new, held = "refs/gitml/new", "refs/gitml/held"
    refs.update(repo.git, [Change(new, head, None), Change(held, None, None)], "absent")
    refs.update(repo.git, [Change(held, head, None), Change(new, head, head)], "present")
    with pytest.raises(RaceLost):
        refs.update(repo.git, [Change(new, None, head), Change(held, None, None)], "held by now")
    assert [ref.name for ref in refs.list_refs(repo.git, ["refs/gitml"])] == [held, new]


def test_status_names_a_branch_that_goes_on_from_a_record(workshop: Workshop) -> None:
    workshop.training().run()
    workshop.git("switch", "--quiet", "-c", "bad", "clf@v1")
    workshop.write("more.txt", "1\n")
    workshop.commit("on top")
    assert any("goes on from a record" in one for one in workshop.repo().status().warnings)


def test_the_model_card_shows_no_hidden_characters(workshop: Workshop) -> None:
    workshop.training().run(parameters={"train.rate": 0.25})
    workshop.code(
        "pipelines/odd.py",
        """\
        from gitml import Model, pipeline, step

        @step
        def a(name: str) -> int:
            return 1

        @pipeline(model=Model("odd"))
        def odd(name: str = "red \\x1b[31m \\u202e"):
            a(name)
        """,
    )
    workshop.run("odd")
    card = workshop.git("show", "odd@v1:.gitml/README.md")
    assert "\x1b" not in card and "\u202e" not in card and "u202e" in card
