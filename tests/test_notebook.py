"""A real notebook, executed by a real kernel."""

from __future__ import annotations

from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

pytestmark = pytest.mark.filterwarnings("ignore")

SETUP = "from typing import Annotated, NamedTuple\nfrom gitml import pipeline, step, Repo, Model"
HELPER = "def scale(x):\n    return {} * x"
STEPS = """
class Parts(NamedTuple):
    low: int
    high: int

@step
def split(n: int) -> Parts:
    return Parts(scale(n), n + 1)

@step
def join(low: int, high: int) -> Annotated[int, "sum"]:
    print("joining")
    return low + high

@pipeline(model=Model("adder"))
def adding(n: int = 3) -> None:
    parts = split(n)
    join(parts.low, parts.high)
"""
STATES = "print({name: one.status for name, one in run.steps.items()}, run.steps['join'].outputs"
STATES += "['sum'].load())"
RACING = """
import sys
@step
def slow() -> int:
    value = scale(2)
    setattr(sys.modules["__main__"], "scale", lambda x: -x)
    return value

@pipeline
def racing() -> None:
    slow()

first = racing().steps["slow"].status
exec(In[2])
print(first, racing().steps["slow"].status)
"""
RECORD = "print(run.steps['join'].found.record.source, run.steps['split'].found.record.cell)"

CHART = """
with gitml.start_run("tried", tags=["by hand"]) as tried:
    tried.log_metrics({"loss": 0.5}, step=0)
    tried.log_metrics({"loss": 0.25}, step=1)

assert tried.recorded.tags == ("by hand",)
Repo.discover().chart([tried.recorded.id.hex], ["loss"])
"""


def html(outputs: list[Any]) -> str:
    """What the last expression of a cell shows as HTML."""
    return "".join(one["data"]["text/html"] for one in outputs if "data" in one)


def execute(cells: list[str], folder: Any) -> list[Any]:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(one) for one in cells]
    client = nbclient.NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def text(outputs: list[Any]) -> str:
    return "".join(one["text"] for one in outputs if one["output_type"] == "stream")


def test_steps_of_cells_are_recorded_cached_and_run_again_when_a_cell_changes(project: Any) -> None:
    again = f"run = adding()\n{STATES}"
    outputs = execute(
        [
            SETUP,
            HELPER.format(2),
            STEPS,
            again,
            again,
            HELPER.format(5),
            again,
            HELPER.format(2),
            STEPS,
            again,
            RACING,
            RECORD,
            "run",
            "run.model_version",
            "Repo.discover().compare(['adder'])",
            "import gitml\ngitml.Curve.roc([0, 1], [0.2, 0.8])",
            "gitml.ConfusionMatrix(['a', 'b'], [[3, 1], [0, 2]])",
            CHART,
            "run.steps['join'].outputs['sum']",
        ],
        project.path,
    )
    both = "{{'split': '{0}', 'join': '{0}'}}"
    assert both.format("completed") + " 10" in text(outputs[3])
    assert "joining" in text(outputs[3])
    assert both.format("cached") + " 10" in text(outputs[4])
    assert both.format("completed") + " 19" in text(outputs[6])
    assert both.format("cached") + " 10" in text(outputs[9])
    assert "completed completed" in text(outputs[10])
    source, _, cell = text(outputs[11]).partition(" ")
    assert source == "<cell>:join"
    assert "class Parts(NamedTuple):" in cell
    assert "def scale(x):\n    return 2 * x" in cell
    assert cell.rstrip().endswith("return Parts(scale(n), n + 1)")
    assert len(project.gitml("log", "--json").json["runs"]) == 7
    assert "<td>split</td><td>cached</td>" in html(outputs[12])
    assert "<caption>adder@v1</caption>" in html(outputs[13])
    assert "<td>parameter</td><td>n</td><td>3</td>" in html(outputs[13])
    assert "<th>adder@v1</th><th>adder@v2</th>" in html(outputs[14])
    assert "<polyline" in html(outputs[15])
    assert "<td>a</td><td>3</td><td>1</td>" in html(outputs[16])
    shown = outputs[17][-1]["data"]
    assert shown["application/vnd.vegalite.v5+json"]["data"]["values"][0]["y"] == 0.5
    assert "<pre>10</pre>" in html(outputs[18])
    assert shown["text/plain"].startswith("loss")
