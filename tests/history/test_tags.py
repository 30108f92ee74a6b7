"""Tags of two people come together: what either added or took off stands, whoever merges."""

from __future__ import annotations

from typing import Any

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import InvalidName, NameNotFound
from gitml.history.intake import NotedTag, Said
from gitml.history.notes import REF, Notes
from gitml.history.record import Person
from gitml.history.tags import Place, Tags, check_tags, tagged
from tests.history.ledger import ADA, Ledger

BOB = Person("Bob Example", "bob@example.org")


@pytest.fixture
def commit(ledger: Ledger) -> ObjectId:
    return ledger.version("clf", 1)


@pytest.fixture
def notes(ledger: Ledger) -> Notes:
    return Notes(ledger.git, ledger.odb)


def apart(ledger: Ledger, notes: Notes, *sides: Any) -> None:
    """Each side works from the same notes; then they come together."""
    base = ledger.odb.resolve(REF)
    tips = []
    for work in sides:
        work()
        tips.append(ledger.odb.resolve(REF))
        if base is not None:
            ledger.repository.git("update-ref", REF, base.hex)
        else:
            ledger.repository.git("update-ref", "-d", REF)
    merged = None
    for tip in tips:
        merged = notes.merged(tip, merged, ADA)
    assert merged is not None
    other = None
    for tip in reversed(tips):
        other = notes.merged(tip, other, BOB)
    assert other is not None
    ledger.repository.git("update-ref", REF, other.hex)
    swapped = [{one.id for one in notes.read(commit)} for commit in notes.commits(other)]
    ledger.repository.git("update-ref", REF, merged.hex)
    assert [{one.id for one in notes.read(commit)} for commit in notes.commits(merged)] == swapped


def test_tags_are_put_on_once_and_taken_off(commit: ObjectId, notes: Notes) -> None:
    tags = Tags(notes, (commit,))
    assert tags.now() == ()
    assert tags.add(["baseline", "for the paper", "baseline"], ADA) == ("baseline", "for the paper")
    assert tags.add(["baseline", "αβγ"], ADA) == ("αβγ",)
    assert tags.now() == ("baseline", "for the paper", "αβγ")
    with pytest.raises(NameNotFound, match="`basline`") as caught:
        tags.remove(["αβγ", "basline"], ADA)
    assert "did you mean `baseline`" in (caught.value.hint or "")
    assert len(tags.now()) == 3, "nothing was taken off"
    tags.remove(["baseline", "αβγ"], BOB)
    assert tags.now() == ("for the paper",)
    tags.add(["baseline"], ADA)
    assert tags.now() == ("baseline", "for the paper")
    assert notes.values(commit) == {}


def test_different_tags_of_two_people_all_stand(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    tags = Tags(notes, (commit,))
    tags.add(["old", "older"], ADA)

    def ada() -> None:
        tags.add(["hers"], ADA)
        tags.remove(["old"], ADA)

    def bob() -> None:
        tags.add(["his"], BOB)
        tags.remove(["older"], BOB)

    apart(ledger, notes, ada, bob)
    assert tags.now() == ("hers", "his")


def test_a_tag_that_one_puts_on_while_another_takes_it_off_stays(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    tags = Tags(notes, (commit,))
    tags.add(["x"], ADA)

    def again() -> None:
        tags.remove(["x"], ADA)
        tags.add(["x"], ADA)

    apart(ledger, notes, again, lambda: tags.remove(["x"], BOB))
    assert tags.now() == ("x",)
    apart(ledger, notes, lambda: tags.remove(["x"], ADA), lambda: tags.remove(["x"], BOB))
    assert tags.now() == ()


def test_tags_of_the_record_itself_can_be_taken_off(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    tags = Tags(notes, (commit,), own=("born", "kept"))
    assert tags.add(["born"], ADA) == ()
    apart(ledger, notes, lambda: tags.remove(["born"], ADA), lambda: tags.remove(["born"], BOB))
    assert tags.now() == ("kept",)
    assert tags.add(["born"], ADA) == ("born",)
    assert tags.now() == ("born", "kept")
    tags.remove(["born"], ADA)
    assert tags.now() == ("kept",)


def test_an_output_has_tags_of_its_own_on_every_record_that_made_it(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    other = ledger.version("clf", 2)
    mine, theirs = (Tags(notes, one, artifact="m") for one in ((commit, other), (other, commit)))
    mine.add(["a"], ADA)
    theirs.add(["b", "a"], ADA)
    assert mine.now() == theirs.now() == ("a", "b")
    assert Tags(notes, (commit,)).now() == ()
    assert set(tagged(ledger.index, notes)) == {
        ("a", Place(commit, "m")),
        ("b", Place(other, "m")),
    }
    mine.remove(["b"], ADA)
    assert theirs.now() == ("a",)


def test_what_notes_say_of_tags_is_read_once(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    """The index remembers it: a look at one of many tags reads the notes that have changed."""
    seen: list[tuple[ObjectId | None, list[ObjectId]]] = []

    def read(since: ObjectId | None) -> Said:
        changed = notes.changed(since) if since is not None else None
        said = list(notes.everything() if changed is None else changed)
        seen.append((since, [one for one, _ in said]))
        return changed is None, said

    def look(tag: str | None = None) -> list[NotedTag]:
        return ledger.index.noted_tags(ledger.odb.resolve(REF), read, tag)

    other = ledger.version("clf", 2)
    Tags(notes, (commit,), own=("born",)).remove(["born"], ADA)
    Tags(notes, (commit,)).add(["x"], ADA)
    notes.write(commit, [notes.line(ADA, tag="\udc80")], ADA)  # some other tool's
    Tags(notes, (other,), artifact="m").add(["x"], ADA)
    first = ledger.odb.resolve(REF)
    assert sorted(look("x"), key=str) == sorted(
        [(commit, None, "x", None), (other, "m", "x", None)], key=str
    )
    assert look("born") == [(commit, None, None, "born")]
    assert look("\udc80") == [(commit, None, "\udc80", None)]
    assert len(look()) == 4
    assert [one[0] for one in seen] == [None]
    Tags(notes, (other,), artifact="m").remove(["x"], ADA)
    assert look("x") == [(commit, None, "x", None)]
    assert seen[1:] == [(first, [other])]
    ledger.repository.git("update-ref", "-d", REF)
    assert look() == []
    assert list(tagged(ledger.index, notes)) == []


def test_what_another_tool_put_on_can_be_taken_off(commit: ObjectId, notes: Notes) -> None:
    notes.write(commit, [notes.line(ADA, tag="a,\x1b[2J")], ADA)
    tags = Tags(notes, (commit,), own=("x,y",))
    assert tags.now() == ("a,\x1b[2J", "x,y")
    tags.remove(["x,y", "a,\x1b[2J"], BOB)
    assert tags.now() == ()


@pytest.mark.parametrize(
    "tags",
    ["one", [""], [" a"], ["a  b"], ["a,b"], ["-a"], ["a\nb"], ["a\x1b[2J"], [3], ["x" * 101]],
)
def test_what_cannot_be_a_tag_is_refused(tags: Any) -> None:
    with pytest.raises(InvalidName):
        check_tags(tags)
