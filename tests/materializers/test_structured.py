from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pytest

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import for_value
from gitml.materializers.base import Rules
from gitml.materializers.structured import StructuredMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

HERE = Rules(trusted_modules=frozenset({__name__}))


class Species(Enum):
    GENTOO = "gentoo"
    ADELIE = "adélie"


class Level(IntEnum):
    LOW = 1


class Bits(Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclass(frozen=True)
class Rate:
    value: float
    seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", self.seen + 1)


@dataclass
class Settings:
    name: str
    rates: list[Rate] = field(default_factory=list)
    where: Point = field(default_factory=lambda: Point(0.0))
    kind: Species = Species.GENTOO
    weights: Any = None

    @cached_property
    def total(self) -> float:
        return sum(one.value for one in self.rates)


@dataclass(slots=True)
class Slotted:
    a: int
    b: str = "x"


@dataclass
class Numbers(list):  # type: ignore[type-arg]
    unit: str = "mm"


class Outer:
    @dataclass
    class Inner:
        a: int


class TestStructured(MaterializerSuite):
    materializer = StructuredMaterializer
    rules = HERE
    library = "pydantic"

    def values(self, folder: object) -> Mapping[str, object]:
        looked_at = Settings("looked at", [Rate(0.1)])
        assert looked_at.total == 0.1
        return {
            "dataclass": Settings("a", [Rate(0.1), Rate(float("inf"))], Point(1, 2.0)),
            "array": Settings("b", weights=np.arange(3)),
            "cached property": looked_at,
            "slots": Slotted(1),
            "named tuple": Point(1.5, -0.0),
            "enum": Species.ADELIE,
            "int enum": Level.LOW,
            "flag": Bits.A,
            "nested class": Outer.Inner(3),
            "keys": Settings("c", weights={Species.GENTOO: 1, (1, 2): {"$x": Level.LOW}}),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        more = Settings("a")
        more.late = 1  # type: ignore[attr-defined]
        less = Slotted(1)
        del less.b
        circle = Settings("a")
        circle.rates = [circle]  # type: ignore[list-item]

        @dataclass
        class Local:
            a: int = 1

        return {
            "more": (more, "value has the attribute `late`, which is no field"),
            "less": (less, "value has no value for its field `b`"),
            "circle": (circle, "value.rates[0] contains itself"),
            "inner": (Settings("a", weights=[object()]), "value.weights[0] is a object"),
            "local": (Local(), "whose class cannot be found by its name"),
            "a list with fields": (Numbers("cm"), "more than its fields"),  # type: ignore[arg-type]
            "two flags": (Bits.A | Bits.B, "combination of flags"),
        }

    def same(self, left: Any, right: Any) -> bool:
        if dataclasses.is_dataclass(left) and type(left) is type(right):
            names = [one.name for one in dataclasses.fields(left)]
            return all(self.same(getattr(left, n), getattr(right, n)) for n in names)
        if isinstance(left, np.ndarray):
            return left.dtype == right.dtype and bool((left == right).all())
        return type(left) is type(right) and repr(left) == repr(right)


pydantic = pytest.importorskip("pydantic")


class Tuned(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    rate: float
    depth: int = 3
    _calls: int = pydantic.PrivateAttr(default=0)


class Open(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    model_config = pydantic.ConfigDict(extra="allow")
    parts: list[Tuned] = []  # noqa: RUF012 (pydantic copies it)


class TestPydantic(MaterializerSuite):
    materializer = StructuredMaterializer
    rules = HERE
    library = "pydantic"

    def values(self, folder: object) -> Mapping[str, object]:
        counted = Tuned(rate=0.1)
        counted._calls = 2
        return {
            "defaults": Tuned(rate=0.1),
            "said": Tuned(rate=0.1, depth=3),
            "private": counted,
            "nested, with more": Open(parts=[Tuned(rate=1)], note="z", also=1),
        }

    def same(self, left: Any, right: Any) -> bool:
        said = left.model_fields_set == right.model_fields_set
        return type(left) is type(right) and bool(left == right) and said


SAVED = b'{"$object":["tests.materializers.test_structured:Slotted",{"a":1,"b":"x"}]}'


def load(raw: bytes, wanted: type | None = None, rules: Rules = HERE) -> object:
    return StructuredMaterializer().load(SavedContent(raw), wanted, rules)


def test_the_bytes() -> None:
    assert StructuredMaterializer().save(Slotted(1), Rules()) == SAVED


def test_a_class_is_trusted_by_its_module_by_name_or_because_it_is_asked_for() -> None:
    with pytest.raises(UnsupportedValue, match="a class that is not trusted here") as caught:
        load(SAVED, rules=Rules())
    assert "annotate the parameter with it" in str(caught.value.hint)
    named = Rules(trusted_types=frozenset({f"{__name__}.Slotted"}))
    for found in (load(SAVED, Slotted, Rules()), load(SAVED, rules=named), load(SAVED)):
        assert found == Slotted(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("Slotted", "Gone"), "no such class is here"),
        (("Slotted", "np"), "no such class is here"),
        (("Slotted", "Point"), "is of another kind"),
        (('"b":"x"', '"c":"x"'), "other fields than when the value was saved: `b`, `c`"),
    ],
)
def test_a_class_that_has_changed(change: tuple[str, str], words: str) -> None:
    with pytest.raises(UnsupportedValue, match=words):
        load(SAVED.decode().replace(*change).encode())
    enum = json.dumps({"$enum": [f"{__name__}:Species", "KING"]}).encode()
    with pytest.raises(UnsupportedValue, match="no member `KING`"):
        load(enum)


def test_nothing_of_the_class_runs_and_no_function_is_called() -> None:
    loaded = load(StructuredMaterializer().save(Rate(1.0), HERE))
    assert loaded == Rate(1.0) and vars(loaded)["seen"] == 1
    for bad in ('["os:system",{}]', '"os"', f'["{__name__}:Slotted",[1]]'):
        with pytest.raises((UnsupportedValue, CorruptData)):
            load(f'{{"$object":{bad}}}'.encode())


def test_metadata_and_look_up() -> None:
    facts = StructuredMaterializer().metadata
    assert facts(Species.ADELIE) == {"class": f"{__name__}.Species", "name": "ADELIE"}
    assert facts(Settings("a", weights=np.arange(2)))["fields"] == [
        ["name", "a"],
        ["rates", "list"],
        ["where", f"{__name__}.Point"],
        ["kind", f"{__name__}.Species"],
        ["weights", "numpy.ndarray"],
    ]
    for value in (Settings("a"), Point(1), Species.GENTOO, Tuned(rate=1)):
        assert for_value(value, Rules()).name == "structured"
