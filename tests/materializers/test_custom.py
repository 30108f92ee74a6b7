"""Materializers that are classes of a project: found by definition, named in records, told on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gitml import materializers
from gitml.errors import NameNotFound, UnsupportedValue
from gitml.materializers import Materializer, Rules, for_type, for_value, load_value, named
from gitml.materializers.base import DEFINED
from gitml.testing.materializer_suite import SavedContent
from tests.workshop import Workshop


class Song:
    def __init__(self, notes: str) -> None:
        self.notes = notes


class Hymn(Song):
    pass


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = dict(DEFINED)
    yield
    DEFINED.clear()
    DEFINED.update(before)


def define(**changes: Any) -> type[Materializer]:
    def save(self: Materializer, value: Any, rules: Rules) -> bytes:
        return value.notes.encode()  # type: ignore[no-any-return]

    def load(self: Materializer, content: Any, wanted: type | None, rules: Rules) -> Song:
        return Song(content.read().decode())

    body = {"ASSOCIATED_TYPES": (Song,), "save": save, "load": load, "__module__": __name__}
    return type("SongMaterializer", (Materializer,), {**body, **changes})


def test_to_define_it_is_enough() -> None:
    with pytest.raises(UnsupportedValue):
        for_value(Song("c"), Rules())
    kind = define()
    name = f"{__name__}:SongMaterializer"
    for value in (Song("c"), Hymn("d")):
        found = for_value(value, Rules())
        assert type(found) is kind and (found.name, found.version) == (name, 1)
    assert type(for_type(Song)) is kind
    loaded = load_value(SavedContent(b"cde"), name, Song, Rules())
    assert isinstance(loaded, Song) and loaded.notes == "cde"
    again = define()
    assert type(for_value(Song("c"), Rules())) is again  # a cell that was run once more


def test_types_by_name_and_types_of_gitml() -> None:
    define(ASSOCIATED_TYPES=(f"{__name__}.Song", int))
    assert for_value(Song("c"), Rules()).name.endswith(":SongMaterializer")
    assert for_value(3, Rules()).name == "json"
    with pytest.raises(UnsupportedValue):
        for_value(Hymn("c"), Rules())


def test_what_it_raises_or_returns_is_told() -> None:
    def broken(self: Materializer, *_: Any) -> bytes:
        raise KeyError("notes")

    found = define(save=broken, load=broken)()
    with pytest.raises(UnsupportedValue, match="raised while it saved a"):
        materializers.saved(found, Song("c"), Rules())
    with pytest.raises(UnsupportedValue, match="raised while it loaded"):
        load_value(SavedContent(b""), found.name, Song, Rules())
    with pytest.raises(UnsupportedValue, match="returned a str"):
        materializers.saved(define(save=lambda *_: "text")(), Song("c"), Rules())


def test_one_that_is_not_here() -> None:
    with pytest.raises(NameNotFound) as caught:
        named("pipelines.songs:SongMaterializer")
    assert "`import pipelines.songs` before" in str(caught.value.hint)


SONGS = """
from typing import Annotated
from gitml import pipeline, step
from gitml.materializers import Content, Materializer, Rules

class Song:
    def __init__(self, notes):
        self.notes = notes

class SongMaterializer(Materializer):
    ASSOCIATED_TYPES = (Song,)

    def save(self, value, rules):
        return value.notes.encode()

    def load(self, content, wanted, rules):
        return Song(content.read().decode())

@step
def write(count: int) -> Annotated[Song, "song"]:
    return Song("la" * count)

@step
def sing(song: Song) -> Annotated[str, "sung"]:
    return song.notes + "!"

@pipeline
def singing(count: int = 2):
    sing(write(count))
"""


def test_a_run_with_a_class_of_its_own(workshop: Workshop) -> None:
    workshop.code("pipelines/songs.py", SONGS)
    run = workshop.run("singing")
    song = run.steps["write"].outputs["song"]
    assert song.record.materializer.endswith("songs:SongMaterializer/1")
    assert run.steps["sing"].outputs["sung"].load() == "lala!"
    assert workshop.states("singing") == {"write": "cached", "sing": "cached"}
    assert song.load(bytes) == b"lala"
    changed = SONGS.replace("value.notes.encode()", "value.notes.encode() + b' '")
    workshop.code("pipelines/songs.py", changed)
    assert workshop.states("singing")["write"] == "completed"
    assert workshop.problems() == []


def test_one_that_is_not_deterministic_is_told_once(workshop: Workshop) -> None:
    wavering = SONGS.replace("value.notes.encode()", "value.notes.encode() + os.urandom(8)")
    twice = wavering.replace("sing(write(count))", "write(count), write(count + 1)")
    workshop.code("pipelines/songs.py", "import os\n" + twice)
    notes: list[str] = []
    workshop.run("singing", tell=lambda event: notes.extend(event.notes))
    told = [one for one in notes if "not deterministic" in one]
    assert len(told) == 1 and "songs:SongMaterializer is not" in told[0]
