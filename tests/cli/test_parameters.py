"""Parameters as typed and as read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gitml.cli.parameters import coerced, from_file, from_options
from gitml.errors import UsageError


def typed(text: str, hint: Any) -> Any:
    """What `-p x=TEXT` gives a pipeline whose `x` is annotated so."""

    def function(x: Any) -> None:
        pass

    function.__annotations__ = {"x": hint} if hint is not None else {}
    return coerced(from_options([f"x={text}"]), function)["x"]


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        *(("8", None, 8), ("0.1", None, 0.1), ("true", None, True), ("null", None, None)),
        *(("deep", None, "deep"), ('"8"', None, "8"), ("[1, 2]", None, [1, 2]), ("", None, "")),
        *(("a=b", None, "a=b"), ("NaN", None, "NaN"), ("v1.0", str, "v1.0")),
        *(("8", int, 8), ("8", float, 8.0), ("8", str, "8"), ("true", str, "true")),
        *(("True", bool, True), ("false", bool, False), ('"8"', str, "8")),
        *(("null", int | None, None), ("8", int | None, 8), ("8", str | int, 8)),
        *(("null", str | None, None), ("8", str | None, "8"), ("[1]", list[int], [1])),
        *(('{"a": 1}', dict[str, int], {"a": 1}), ("8", Path, 8)),
    ],
)
def test_a_typed_value_is_what_the_pipeline_wants(text: str, hint: Any, value: Any) -> None:
    found = typed(text, hint)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "words"),
    [
        ("fast", float, "a number, not 'fast'"),
        ("0.5", int, "a whole number, not 0.5"),
        ("1", bool, "true or false, not 1"),
        ("true", int, "a whole number, not True"),
        ("x", int | None, "a whole number or null, not 'x'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(text: str, hint: Any, words: str) -> None:
    with pytest.raises(UsageError, match="`x` should be") as caught:
        typed(text, hint)
    assert caught.value.message == f"`x` should be {words}"


def test_a_parameter_without_a_value_is_refused() -> None:
    for option in ("depth", "=8", " =8"):
        with pytest.raises(UsageError, match="sets nothing"):
            from_options([option])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", "rate = 0.1\ntable = {a = 1}\n[fit]\nseed = 3\n"),
        ("p.json", '{"rate": 0.1, "table": {"a": 1}, "fit": {"seed": 3}}'),
        ("p.yaml", "rate: 0.1\ntable: {a: 1}\nfit:\n  seed: 3\n"),
    ],
)
def test_a_table_in_a_file_is_a_steps_unless_the_pipeline_has_it(
    name: str, text: str, tmp_path: Path
) -> None:
    import inspect

    if name.endswith("yaml"):
        pytest.importorskip("yaml")

    def training(rate: float, table: dict[str, int]) -> None:
        pass

    file = tmp_path / name
    file.write_text(text)
    found = from_file(file, inspect.signature(training))
    assert found == {"rate": 0.1, "table": {"a": 1}, "fit.seed": 3}


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.toml", "rate ="), ("p.json", "[1]"), ("p.json", "{"), ("p.txt", ""), ("p.toml", None)],
)
def test_a_file_that_is_none_is_refused(name: str, text: str | None, tmp_path: Path) -> None:
    import inspect

    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError):
        from_file(tmp_path / name, inspect.signature(lambda: None))


def test_a_number_of_yaml_that_has_no_point_is_one() -> None:
    def training(rate: float, scale: float | None = None, name: str = "") -> None:
        pass

    given = {"rate": "1e-3", "scale": "2E4", "name": "1e3"}
    assert coerced(given, training) == {"rate": 0.001, "scale": 20000.0, "name": "1e3"}
    for text in ("fast", "", "1e", "nan", "1_000"):
        with pytest.raises(UsageError, match="`rate` should be a number"):
            coerced({"rate": text}, training)
