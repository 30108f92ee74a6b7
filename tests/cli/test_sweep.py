"""Parameters with several values: what is one value, what are several, and their combinations."""

from __future__ import annotations

import pytest

from gitml.cli.parameters import from_options
from gitml.cli.sweep import combinations, swept
from gitml.errors import UsageError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("rate=0.01,0.1,1", ["0.01", "0.1", "1"]),
        ("kind=forest,linear", ["forest", "linear"]),
        ("kind=forest, linear", ["forest", "linear"]),
        ("layers=[8],[8,8]", ["[8]", "[8,8]"]),
        ('text="a,b",c', ['"a,b"', "c"]),
        ('text="a\\",b",c', ['"a\\",b"', "c"]),
        ('table={"a":1,"b":2},{}', ['{"a":1,"b":2}', "{}"]),
        ("rate=1,1,2", ["1", "2"]),
    ],
)
def test_commas_outside_of_lists_and_texts_are_several_values(text: str, values: list[str]) -> None:
    (found,) = swept(from_options([text])).values()
    assert list(found) == values


@pytest.mark.parametrize(
    "text", ["rate=0.1", "layers=[8,8]", 'text="a,b"', 'table={"a":1,"b":2}', "rate=1,1", "text="]
)
def test_one_value_is_no_sweep(text: str) -> None:
    assert swept(from_options([text])) == {}


@pytest.mark.parametrize("text", ["rate=1,,2", "rate=1,", "rate=,"])
def test_an_empty_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="has an empty value"):
        swept(from_options([text]))


def test_values_of_a_file_are_what_they_are() -> None:
    assert swept({"text": "a,b", "rate": 1}) == {}


def test_every_combination_the_last_name_fastest() -> None:
    assert combinations({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]
