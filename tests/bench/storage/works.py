"""The rows of the table: what is measured together, how it is called, what gitml is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.storage import lives
from tests.bench.storage.lives import Life


@dataclass(frozen=True)
class Goal:
    """What one column is asked for at scale 1; None leaves a figure free."""

    column: str
    seconds: float | None = None
    stored_mib: float | None = None
    peak_mib: float | None = None
    rate_mb: float | None = None
    """Megabytes of input a second."""
    smaller_than: str | None = None
    """Another column whose stored bytes are the limit."""


@dataclass(frozen=True)
class Work:
    """One row: its key, how it is called at a scale, and the goals."""

    key: str
    title: str
    goals: tuple[Goal, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """Rows that are measured in one life of a repository."""

    name: str
    live: Callable[[Life], None]
    works: tuple[Work, ...]
    share: float
    """Of the time that a whole run may take."""


_MODEL_GOAL = (Goal("gitml", rate_mb=300, smaller_than="zstd -3"),)

SCENARIOS = (
    Scenario(
        "blob",
        lives.blob,
        (
            Work(
                "add blob",
                "add {large} incompressible",
                (
                    Goal("gitml", seconds=0.9, peak_mib=256),
                    Goal("gitml hardlink", seconds=0.35, peak_mib=256),
                    Goal("gitml reflink", seconds=0.35, peak_mib=256),
                ),
            ),
            Work(
                "checkout blob",
                "checkout of it",
                (
                    Goal("gitml", seconds=0.7),
                    Goal("gitml hardlink", seconds=0.1),
                    Goal("gitml reflink", seconds=0.1),
                ),
            ),
        ),
        0.17,
    ),
    Scenario(
        "table",
        lives.table,
        (
            Work("add table", "add {large} of CSV", (Goal("gitml", seconds=3, stored_mib=400),)),
            Work(
                "add table in places",
                "its second version, 1 % of the rows changed in 20 places",
                (Goal("gitml", seconds=1, stored_mib=8),),
            ),
            Work(
                "add table evenly",
                "its third version, 1 % changed evenly all over",
                (Goal("gitml", seconds=3.5),),
            ),
            Work(
                "maintain table",
                "`gitml maintenance` after it",
                (Goal("gitml", stored_mib=15, rate_mb=150),),
            ),
        ),
        0.36,
    ),
    Scenario(
        "files",
        lives.files,
        (
            Work("add files", "add {files} files of 4 KiB", (Goal("gitml", seconds=1.3),)),
            Work("status", "status, nothing changed", (Goal("gitml", seconds=0.2),)),
            Work("status 10 changed", "status, 10 changed"),
            Work(
                "checkout files",
                "checkout of them",
                (
                    Goal("gitml", seconds=1.3),
                    Goal("gitml hardlink", seconds=0.8),
                    Goal("gitml reflink", seconds=0.8),
                ),
            ),
        ),
        0.42,
    ),
    Scenario(
        "model",
        lives.model,
        (
            Work("add float32", "add a model of {model}, float32 safetensors", _MODEL_GOAL),
            Work("add tuned", "the same with its last fifth of tensors tuned"),
            Work("add float16", "the same in float16", _MODEL_GOAL),
            Work("add bfloat16", "the same in bfloat16", _MODEL_GOAL),
        ),
        0.05,
    ),
    Scenario(
        "million",
        lives.million,
        (
            Work("add million", "add {million} small files", (Goal("gitml", peak_mib=1024),)),
            Work(
                "status million",
                "status, nothing changed",
                (Goal("gitml", seconds=4, peak_mib=1024),),
            ),
            Work("add million again", "add after 2,000 changes", (Goal("gitml", peak_mib=1024),)),
            Work(
                "diff million",
                "diff of the two commits",
                (Goal("gitml", seconds=0.5, peak_mib=1024),),
            ),
        ),
        0.0,
    ),
)
