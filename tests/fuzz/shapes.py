"""Classes that are nothing but their fields, for values of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pydantic


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Pair(NamedTuple):
    left: int
    right: str = ""


@dataclass(frozen=True)
class Point:
    x: float
    colour: Colour = Colour.RED
    pairs: list[Pair] = field(default_factory=list)
    extra: Any = None


class Settings(pydantic.BaseModel, extra="allow"):
    rate: float = 0.5
    names: set[str] = set()
    point: Any = None
