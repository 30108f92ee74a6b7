"""What a signature declares: inputs with names, outputs by the return annotation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pytest

from gitml import Artifact, pipeline, step
from gitml.errors import UsageError


def test_inputs_need_names() -> None:
    with pytest.raises(UsageError, match=r"takes \*values"):

        @step
        def gather(*values: int) -> int:
            return sum(values)

    with pytest.raises(UsageError, match=r"takes \*\*values"):

        @pipeline
        def gathering(**values: int) -> None:
            pass

    with pytest.raises(UsageError, match="positional-only parameter `value`"):

        @step
        def only(value: int, /) -> int:
            return value


def test_outputs_come_from_the_annotation() -> None:
    @step
    def nothing() -> None:
        pass

    @step
    def anything():  # type: ignore[no-untyped-def]
        return 1

    @step
    def many() -> tuple[int, ...]:
        return (1, 2)

    @step
    def mixed() -> tuple[int, Annotated[str, "text"], Annotated[bool, Artifact("flag")]]:
        return 1, "a", True

    assert nothing.outputs == ()
    assert [one.name for one in anything.outputs] == ["output"]
    assert [one.name for one in many.outputs] == ["output"]
    assert [(one.name, one.artifact) for one in mixed.outputs] == [
        ("output_0", None),
        ("text", "text"),
        ("flag", "flag"),
    ]


def test_a_generator_annotation_is_refused_when_the_step_is_called() -> None:
    @step
    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(UsageError, match="the step stream is a generator"):
        pipeline(name="streaming")(lambda: stream()).compose({})


def test_outputs_named_alike_are_refused() -> None:
    @step
    def twins() -> tuple[Annotated[int, "a"], Annotated[int, "a"]]:
        return 1, 2

    with pytest.raises(UsageError, match="names two outputs alike"):
        _ = twins.outputs


def test_an_annotation_that_cannot_be_resolved_says_what_to_import() -> None:
    def lost(value: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    with pytest.raises(UsageError, match="an annotation of the step lost cannot be resolved") as it:
        _ = step(lost).outputs
    assert "import `Missing` at the module's top level" in (it.value.hint or "")
