"""Lanes: every line of the drawing leads from a thing to what it was made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitml.cli.graph import Thing, in_order, lanes_of


def drawing(*rows: tuple[str, str]) -> list[str]:
    return lanes_of([(key, made_of.split()) for key, made_of in rows])


def test_a_chain_is_one_lane() -> None:
    assert drawing(("c", "b"), ("b", "a"), ("a", "")) == ["*", "*", "*"]


def test_what_is_not_made_of_the_thing_above_stands_beside_it() -> None:
    assert drawing(("d", "c"), ("c", ""), ("b", "a"), ("a", "")) == ["*", "*", "  *", "  *"]


def test_a_second_parent_opens_a_lane_that_ends_at_it() -> None:
    assert drawing(("c", "b a"), ("b", ""), ("a", "")) == ["*─╮", "* │", "  *"]


def test_a_known_parent_is_joined() -> None:
    assert drawing(("d", "a"), ("c", "b"), ("b", "a"), ("a", "")) == ["*", "│ *", "├─*", "*"]


def test_a_line_crosses_a_lane_that_it_does_not_join() -> None:
    rows = drawing(("e", "a"), ("d", "b"), ("c", "a"), ("b", ""), ("a", ""))
    assert rows == ["*", "│ *", "├─│─*", "│ *", "*"]


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(1, 12))
    return {
        str(n): [str(one) for one in draw(st.lists(st.integers(0, n - 1), unique=True, max_size=4))]
        if n
        else []
        for n in range(size)
    }


@given(histories())
def test_every_edge_can_be_followed(history: dict[str, list[str]]) -> None:
    """Walk down from each row as an eye does; what is reached is what the thing was made of."""
    things = {key: Thing("*", [], float(key), above) for key, above in history.items()}
    order = in_order(things)
    assert sorted(order) == sorted(history)
    for place, key in enumerate(order):
        assert set(history[key]) <= set(order[place + 1 :])
    rows = lanes_of([(key, history[key]) for key in order])
    assert all(row.count("*") == 1 for row in rows)
    columns = [row.index("*") for row in rows]
    for place, key in enumerate(order):
        reached = {order[one] for one in followed(rows, columns, place)}
        assert reached == set(history[key])


def followed(rows: list[str], columns: list[int], start: int) -> set[int]:
    """The rows of the marks that the lines out of a row's mark lead to."""
    line, here = rows[start], columns[start]
    ends = set()
    for step, turns in ((1, "╮┬┤┼"), (-1, "├┼")):
        column = here + step
        while 0 <= column < len(line) and line[column] not in " ":
            if line[column] in turns:
                ends.add(column)
            if line[column] in "╮┤├":
                break
            column += step
    below = [*ends]
    if start + 1 < len(rows) and continues(rows[start + 1], here):
        below.append(here)
    return {down(rows, columns, start + 1, column) for column in below}


def continues(line: str, column: int) -> bool:
    """Whether a lane comes into a row from above."""
    return column < len(line) and line[column] in "│*├┤┼"


def down(rows: list[str], columns: list[int], place: int, column: int) -> int:
    while columns[place] != column:
        assert continues(rows[place], column)
        place += 1
    return place
