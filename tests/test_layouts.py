"""Where people put their code: subfolders, `src`, `python -m`, NamedTuples and late annotations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gitml.errors import UsageError
from gitml.pipelines.dsl import StepFunction
from gitml.pipelines.outcome import StepEvent
from tests.workshop import Workshop, load, states

CODE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Optional

from gitml import pipeline, step
from {helper} import scale


@dataclass
class Parts:
    low: int
    high: Annotated[int, "high"]
    none: Optional[str] = None


@step
def split(n: int = 3) -> Parts:
    return Parts(scale(n), n + 1)


@step
def join(low: int, high: int, none: str | None = "x") -> Annotated[Optional[int], "sum"]:
    return low + high if none is None else None


@pipeline
def adding() -> None:
    parts = split()
    join(parts.low, parts.high, parts.none)


if __name__ == "__main__":
    run = adding()
    states = [one.status for one in run.steps.values()]
    print(*states, run.steps["join"].outputs["sum"].load(), *run.steps["split"].outputs)
"""


@pytest.mark.parametrize(
    ("file", "helper", "command", "path"),
    [
        ("jobs/deep/adding.py", "scaling", ["jobs/deep/adding.py"], "jobs/deep/scaling.py"),
        ("src/shop/adding.py", "shop.scaling", ["-m", "shop.adding"], "src/shop/scaling.py"),
        ("shop/adding.py", "shop.scaling", ["-m", "shop.adding"], "shop/scaling.py"),
    ],
)
def test_code_is_found_where_it_stands(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    helper: str,
    command: list[str],
    path: str,
) -> None:
    """A script or module that Python runs, and the same by its path: they share hits."""
    monkeypatch.setenv("PYTHONPATH", "src")
    workshop.write(path, "def scale(x):\n    return 2 * x\n")
    if file.startswith("src"):
        workshop.write("src/shop/__init__.py", "")
    workshop.code(file, CODE.format(helper=helper))
    assert workshop.python(*command).out == "completed completed 10 low high none\n"
    assert workshop.states(file) == {"split": "cached", "join": "cached"}
    workshop.write(path, "def scale(x):\n    return 3 * x\n")
    run = workshop.run(file)
    assert states(run) == {"split": "completed", "join": "completed"}
    assert load(run, "join", "sum") == 13


def test_a_step_of_an_installed_package_runs_and_is_not_cached(
    workshop: Workshop, tmp_path: Path
) -> None:
    site = tmp_path / "site-packages"
    (site / "vendored").mkdir(parents=True)
    (site / "vendored/__init__.py").write_text(
        "from gitml import step\n\n@step\ndef clean(n: int = 2) -> int:\n    return n + 1\n"
    )
    workshop.code(
        "pipelines/cleaning.py",
        """
        from gitml import pipeline
        from vendored import clean

        @pipeline
        def cleaning():
            clean()
        """,
    )
    sys.path.append(str(site))
    told: list[str] = []

    def tell(event: StepEvent) -> None:
        told.extend(event.notes if event.state == "note" else ())

    for _ in range(2):
        run = workshop.run("cleaning", tell=tell)
        assert states(run) == {"clean": "completed"}
        assert load(run, "clean") == 3
    sys.modules.pop("vendored")
    reason = "clean is not cached: the source of `clean` is not in the repository"
    assert told == [reason, reason]


def test_an_unknown_field_of_the_outputs_names_those_there_are() -> None:
    from typing import NamedTuple

    from gitml.pipelines.dsl import PipelineFunction

    class Parts(NamedTuple):
        low: int
        high: int

    def split():  # type: ignore[no-untyped-def]
        return Parts(1, 2)

    split.__annotations__["return"] = Parts
    cut = StepFunction(split)

    def cutting() -> None:
        cut(high=cut().middle)

    with pytest.raises(UsageError, match="no output `middle`") as caught:
        PipelineFunction(cutting).compose({})
    assert caught.value.hint == "its outputs are: low, high"
