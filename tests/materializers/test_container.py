from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import arrow, for_value
from gitml.materializers.base import Rules
from gitml.materializers.container import ContainerMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent
from tests.workshop import Workshop, load

FRAME = pd.DataFrame({"x": [1, 2]})


class TestContainer(MaterializerSuite):
    materializer = ContainerMaterializer
    library = "pyarrow"
    registered = False  # a dict is JSON's, unless it holds what JSON lacks

    def values(self, folder: object) -> Mapping[str, object]:
        return {
            "frames": {"b": FRAME, "a": FRAME[:0]},
            "list": [FRAME, 1, "text", None],
            "tuple": (np.arange(3), b"bytes"),
            "nested": {"folds": [{"train": FRAME, "n": 1}, {"weights": {"w": np.zeros(2)}}]},
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "file": ({"a": Path(__file__), "b": FRAME}, "value['a'] is stored as a file"),
            "objects": ([FRAME, np.array([None])], "value[1]: "),
        }

    def same(self, left: Any, right: Any) -> bool:
        return _text(left) == _text(right)


def _text(value: Any) -> str:
    """A value with the types of all that it holds."""
    if isinstance(value, dict):
        held = [f"{name}: {_text(one)}" for name, one in sorted(value.items())]
    elif isinstance(value, (list, tuple)):
        held = [_text(one) for one in value]
    elif isinstance(value, pd.DataFrame):
        held = [value.to_json(), str(value.dtypes)]
    else:
        held = [repr(value)]
    return f"{type(value).__name__}({', '.join(held)})"


@pytest.mark.parametrize(
    "value",
    [
        {}, [], (), {"a": 1}, [1, "a", [2.0]], {1: FRAME}, [object(), FRAME],
        [{"a": {"b": (1, 2)}}], [b"bytes"], {"a": np.float32(1), "b": np.int64(2)},
    ],
)  # fmt: skip
def test_plain_containers_and_others_do_not_find_it(value: Any) -> None:
    assert for_value(value, Rules()).name == "json"


def test_other_tables_are_no_containers() -> None:
    import pyarrow as pa

    table = pa.table({"name": ["a"], "materializer": ["json/1"], "value": [b"1"]})
    for other in (table, table.replace_schema_metadata({"container": "set"})):
        with pytest.raises(CorruptData, match="not a table of a container's values"):
            ContainerMaterializer().load(SavedContent(arrow.write(other)), None, Rules())


def test_a_step_returns_and_takes_a_dict_of_tables(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/folding.py",
        """
        from __future__ import annotations
        from typing import Annotated
        import pandas as pd
        from gitml import pipeline, step

        @step
        def fold(n: int) -> Annotated[dict[str, pd.DataFrame], "folds"]:
            return {f"fold{one}": pd.DataFrame({"x": [one]}) for one in range(n)}

        @step
        def total(folds: dict[str, pd.DataFrame]) -> int:
            return sum(int(one.x.sum()) for one in folds.values())

        @pipeline
        def folding(n: int = 3):
            total(fold(n))
        """,
    )
    run = workshop.run("folding")
    assert load(run, "total") == 3
    assert run.steps["fold"].outputs["folds"].metadata == {
        "values": 3, "names": ["fold0", "fold1", "fold2"],
    }  # fmt: skip
    assert set(workshop.states("folding").values()) == {"cached"}


def test_a_container_that_holds_itself_is_refused() -> None:
    itself: list[Any] = []
    itself.append(itself)
    by_name: dict[str, Any] = {}
    by_name["again"] = [by_name]
    for value in (itself, by_name):
        with pytest.raises(UnsupportedValue, match="contains itself"):
            for_value(value, Rules()).save(value, Rules())
