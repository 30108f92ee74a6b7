"""Metadata added later is lost by nobody, however many write at once and however notes are kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Note
from gitml.errors import CorruptData
from gitml.history import notes as notes_module
from gitml.history.notes import REF, Notes, ulid
from gitml.testing.sealed import GitRepository
from tests.history.ledger import ADA, Ledger


@pytest.fixture
def commit(ledger: Ledger) -> ObjectId:
    return ledger.version("clf", 1)


@pytest.fixture
def notes(ledger: Ledger, commit: ObjectId) -> Notes:
    return Notes(ledger.git, ledger.odb)


def text_of(ledger: Ledger, commit: ObjectId) -> str:
    """The note as git shows it."""
    return ledger.repository.git("notes", "--ref=gitml", "show", commit.hex)


def test_what_was_added_is_read_and_the_record_stays(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    assert notes.read(commit) == []
    first = notes.add(commit, {"live_acc": 0.91}, ADA)
    notes.add(commit, {"live_acc": 0.93, "owner": "Bob\n# x"}, ADA)
    assert notes.values(commit) == {"live_acc": 0.93, "owner": "Bob\n# x"}
    assert [note.by for note in notes.read(commit)] == [f"{ADA.name} <{ADA.mail}>"] * 2
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", first.id)
    lines = text_of(ledger, commit).split("\n")
    assert [json.loads(line)["format"] for line in lines] == [1, 1]
    assert ledger.repository.git("rev-parse", "clf@v1^{commit}") == commit.hex
    assert notes.read(ledger.code.commit) == []
    ledger.repository.git("fsck", "--strict", "--no-dangling")


def test_a_removal_is_another_line(ledger: Ledger, commit: ObjectId, notes: Notes) -> None:
    wrong = notes.add(commit, {"a": 1, "b": 1}, ADA)
    notes.add(commit, {"a": 2}, ADA)
    removal = Note(
        ulid(2e9), "2033-01-01T00:00:00.000000Z", "Bob <b@example.org>", removes=wrong.id
    )
    line = codec.dump_line(codec.to_document(removal))
    ledger.repository.git("notes", "--ref=gitml", "append", "-m", line, commit.hex)
    assert notes.values(commit) == {"a": 2}
    notes.add(commit, {"b": 3}, ADA)
    assert notes.values(commit) == {"a": 2, "b": 3}
    assert wrong.id in text_of(ledger, commit)


def test_lines_count_in_the_order_of_their_time(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    """A union of two clones' lines has any order, and a line may stand twice."""
    ids = [ulid(1e9), ulid(1e9), ulid(1e9)]
    lines = [
        codec.dump_line(codec.to_document(Note(ids[n], f"2026-01-0{n + 1}T", "x", {"v": n})))
        for n in range(3)
    ]
    text = "\n".join([lines[2], lines[0], lines[2], lines[1]])
    ledger.repository.git("notes", "--ref=gitml", "add", "-m", text, commit.hex)
    assert [note.values["v"] for note in notes.read(commit)] == [0, 1, 2]
    assert notes.values(commit) == {"v": 2}


def test_unknown_fields_are_kept_and_remarks_of_people_are_lived_with(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    later = {"format": 1, "id": ulid(1e9), "at": "t", "by": "x", "values": {}, "mood": {"a": [1]}}
    blob = ledger.repository.git(
        "hash-object", "-w", "--stdin", text=f"checked by hand\u2028{{\n{json.dumps(later)}"
    )
    ledger.repository.git("notes", "--ref=gitml", "add", "-C", blob, commit.hex)
    notes.add(commit, {"a": 1}, ADA)
    assert [note.extra for note in notes.read(commit)] == [{}, {"mood": {"a": [1]}}]
    assert text_of(ledger, commit).startswith("checked by hand\u2028{\n")
    assert notes.values(commit) == {"a": 1}


def test_a_line_that_cannot_be_read_names_the_commit(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    for line, hint in [('{"format": 2}', True), ('{"format": 1}', False), ("{", False)]:
        ledger.repository.git("notes", "--ref=gitml", "add", "-f", "-m", line, commit.hex)
        with pytest.raises(CorruptData, match=f"^note on {commit.short}: ") as caught:
            notes.read(commit)
        assert ("pip install" in (caught.value.hint or "")) is hint


@pytest.mark.parametrize("fan_out", [0, 1, 2])
def test_the_folders_that_git_makes_are_followed(
    ledger: Ledger, commit: ObjectId, notes: Notes, fan_out: int
) -> None:
    notes.add(commit, {"a": 1}, ADA)
    spread(ledger, fan_out)
    depth = {0: 0, 1: 1, 2: 2}[fan_out]
    names = ledger.repository.git("ls-tree", "-r", "--name-only", REF).split()
    assert {name.count("/") for name in names} == {depth}
    assert notes.values(commit) == {"a": 1}
    notes.add(commit, {"b": 2}, ADA)
    notes.add(ledger.code.commit, {"c": 3}, ADA)
    assert notes.values(commit) == {"a": 1, "b": 2}
    assert notes.values(ledger.code.commit) == {"c": 3}
    assert len(text_of(ledger, commit).split("\n")) == 2
    ledger.repository.git("notes", "--ref=gitml", "append", "-m", "remark", commit.hex)
    assert notes.values(commit) == {"a": 1, "b": 2}


def spread(ledger: Ledger, depth: int) -> None:
    """Rewrite the notes tree with folders of this depth, as git does with thousands of notes."""
    git = ledger.repository.git
    entries = git("ls-tree", "-r", REF).split("\n")
    lines = [
        "commit refs/notes/gitml",
        "committer x <x@example.org> 1767323045 +0000",
        "data 0",
        "",
    ]
    lines += [f"from {REF}^0", "deleteall"]
    for entry in entries:
        head, _, name = entry.partition("\t")
        digits = name.replace("/", "")
        parts = [digits[2 * n : 2 * n + 2] for n in range(depth)]
        lines.append(f"M 100644 {head.split()[2]} {'/'.join([*parts, digits[2 * depth :]])}")
    git("fast-import", "--quiet", text="\n".join([*lines, ""]))


def test_one_object_at_two_depths_is_one_note(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    """As a merge of two layouts leaves it; git itself reads both."""
    notes.add(commit, {"a": 1}, ADA)
    flat = ledger.repository.git("ls-tree", REF)
    spread(ledger, 1)
    notes.add(commit, {"b": 2}, ADA)
    both = "\n".join([ledger.repository.git("ls-tree", REF), flat])
    tree = ledger.repository.git("mktree", text=both + "\n")
    merged = ledger.repository.git("commit-tree", tree, "-m", "x")
    ledger.repository.git("update-ref", REF, merged)
    assert notes.values(commit) == {"a": 1, "b": 2}
    notes.add(commit, {"c": 3}, ADA)
    assert notes.values(commit) == {"a": 1, "b": 2, "c": 3}


def test_many_commits_are_asked_of_one_listing(
    ledger: Ledger, commit: ObjectId, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes.add(commit, {"a": 1}, ADA)
    looked = []
    whole = Notes._blob
    monkeypatch.setattr(Notes, "_blob", lambda *given: looked.append(1) or whole(*given))
    others = [ledger.code.commit, *(ledger.save(f"s{n}", f"{n}") for n in range(2))]
    for _ in range(30):
        assert [notes.values(one) for one in (commit, *others)] == [{"a": 1}, {}, {}, {}]
    assert len(looked) < 60, "those without notes are known"
    notes.add(others[1], {"b": 2}, ADA)
    assert [notes.values(one) for one in (commit, *others)] == [{"a": 1}, {}, {"b": 2}, {}]


def test_many_notes_make_folders(
    ledger: Ledger, commit: ObjectId, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes_module, "_FAN_OUT", 3)
    sources = [ledger.save(f"s{n}", f"{n}") for n in range(6)]
    for n, source in enumerate(sources):
        notes.add(source, {"n": n}, ADA)
    for n, source in enumerate(sources):
        notes.add(source, {"again": n}, ADA)
        assert notes.values(source) == {"n": n, "again": n}
    names = ledger.repository.git("ls-tree", "-r", "--name-only", REF).split()
    assert len(names) == 6
    assert sum("/" in name for name in names) >= 2
    listed = ledger.repository.git("notes", "--ref=gitml", "list").split("\n")
    assert {line.split()[1] for line in listed} == {one.hex for one in sources}


WRITER = """
import sys
from pathlib import Path
from gitml.entities.ids import ObjectId
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.history.notes import Notes
from gitml.history.record import Person

git = Git.discover(Path(sys.argv[1]))
notes = Notes(git, Odb(git))
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    notes.add(ObjectId(sys.argv[2]), {f"{sys.argv[3]}.{n}": n}, Person())
print("done")
"""


def test_eight_processes_at_once_lose_nothing(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger.repository.path), commit.hex, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for number in range(8)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=90)[0] for writer in writers] == ["done\n"] * 8
    assert notes.values(commit) == {f"{w}.{n}": n for w in range(8) for n in range(5)}
    assert len(notes.read(commit)) == 40


def test_notes_travel_with_git(
    ledger: Ledger, commit: ObjectId, notes: Notes, tmp_path: Path
) -> None:
    notes.add(commit, {"a": 1}, ADA)
    url = f"file://{ledger.repository.path}"
    ledger.repository.git("clone", "--quiet", url, str(tmp_path / "clone"))
    clone = GitRepository(tmp_path / "clone")
    clone.git("fetch", "--quiet", "origin", f"{REF}:{REF}")
    assert json.loads(clone.git("notes", "--ref=gitml", "show", "clf@v1^{}"))["values"] == {"a": 1}


def test_what_goes_on_from_theirs_is_already_the_union(
    ledger: Ledger, commit: ObjectId, notes: Notes
) -> None:
    notes.add(commit, {"theirs": 1}, ADA)
    theirs = ledger.odb.resolve(REF)
    notes.add(commit, {"ours": 2}, ADA)
    ours = ledger.odb.resolve(REF)
    assert notes.merged(ours, theirs, ADA) == ours
    assert notes.merged(theirs, ours, ADA) == ours


def test_ids_sort_by_time() -> None:
    ids = [ulid(1767323045.0 + n / 1000) for n in range(50)]
    assert ids == sorted(ids)
    assert len({ulid(1767323045.0) for _ in range(1000)}) == 1000
    digits = [notes_module._CROCKFORD.index(one) for one in ulid(1767323045.5)[:10]]
    assert sum(digit << 5 * place for place, digit in enumerate(digits[::-1])) == 1767323045500
