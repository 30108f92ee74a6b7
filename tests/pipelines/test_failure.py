"""Failures as records keep them: the user's own frames, and nobody's secrets."""

from __future__ import annotations

import pytest

from gitml.errors import StepFailed, UsageError
from gitml.pipelines.failure import describe
from tests.workshop import Workshop


def failing(message: str) -> BaseException:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError(message) from error
    except ValueError as cause:
        try:
            raise StepFailed("the step x failed") from cause
        except StepFailed as error:
            return error


def test_the_cause_is_described_with_its_own_causes() -> None:
    told = describe(failing("went wrong"), "x", {})
    assert (told.step, told.type, told.message) == ("x", "ValueError", "went wrong")
    assert "KeyError: 'inner'" in told.traceback
    assert "ValueError: went wrong" in told.traceback
    assert "StepFailed" not in told.traceback


def test_secrets_of_the_environment_are_hidden() -> None:
    variables = {
        "API_KEY": "abcdef123456",
        "DB_PASSWORD": "hunter2!",
        "GITHUB_TOKEN": "short",
        "HOME": "/home/somebody",
        "MY_SECRETS": "abcdef123456789",
    }
    told = describe(failing("abcdef123456789 hunter2! short /home/somebody"), "x", variables)
    assert told.message == "*** *** short /home/somebody"
    assert "hunter2" not in told.traceback


def test_an_error_of_ours_is_its_own_description() -> None:
    told = describe(UsageError("two outputs"), "x", {})
    assert (told.type, told.message) == ("UsageError", "two outputs")


def test_a_flood_of_text_is_cut_at_the_front() -> None:
    told = describe(failing("y" * 300_000), "x", {})
    assert len(told.traceback) <= 64 << 10
    assert len(told.message) <= 64 << 10


def test_an_error_that_cannot_say_what_it_is() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(Broken(), "x", {}).type == "Broken"


@pytest.mark.parametrize("secret", ["hunter2-hunter2"])
def test_a_recorded_traceback_is_the_user_s(workshop: Workshop, secret: str) -> None:
    workshop.code(
        "pipelines/bad.py",
        """
        import os
        from gitml import pipeline, step

        def inner():
            raise RuntimeError("no luck with " + os.environ.get("MY_TOKEN", ""))

        @step
        def bad() -> int:
            inner()
            return 1

        @pipeline
        def failing():
            bad()
        """,
    )
    import os

    os.environ["MY_TOKEN"] = secret
    try:
        error = workshop.fails("failing", environment=dict(os.environ))
    finally:
        del os.environ["MY_TOKEN"]
    run = error.run  # type: ignore[attr-defined]
    assert run.failure.step == "bad"
    assert run.failure.message == "no luck with ***"
    text = run.failure.traceback
    assert "pipelines/bad.py" in text
    assert "in inner" in text
    assert "gitml/pipelines" not in text
    assert secret not in workshop.git("log", "-p", "--full-diff", str(run.id))
