"""``fsck``: damage and forgery of every kind is found, and named with the versions it affects."""

from __future__ import annotations

import json
import os
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitml.errors import CorruptData
from gitml.history.check import Problem
from gitml.store.digest import hash_bytes
from tests.workshop import TRAINING, Copy, Workshop, model_for_copies

TWO_MODELS = (
    TRAINING
    + """

@step
def folder() -> Annotated[Path, "folder"]:
    import tempfile
    made = Path(tempfile.mkdtemp())
    (made / "a.txt").write_text("in a folder")
    return made


@pipeline(model=Model("other"))
def alone():
    folder()
"""
)


@pytest.fixture(scope="module")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("told")) as made:
        made.write("data/raw.json", json.dumps({"rows": [1, 2, 3]}))
        made.code("pipelines/training.py", TWO_MODELS)
        made.run("training")
        made.run("training", {"rate": 0.25})
        made.repo().save(b"in a folder", "inner")
        made.run("alone")
        repo = made.repo()
        for version in ("clf@v1", "clf@v2", "clf@v1"):
            repo.promote(version, "production", "why")
        repo.save({"by": "hand"}, "saved")
        made.close()
        yield made


@pytest.fixture
def told(told_once: Workshop, copied: Copy) -> Workshop:
    """Models ``clf`` (two versions, three events) and ``other`` (one), two saved values."""
    return copied(told_once)


def found(workshop: Workshop, kind: str) -> list[Problem]:
    return [one for one in workshop.problems() if one.kind == kind]


def test_a_clean_repository_has_no_problems(told: Workshop) -> None:
    report = told.repo().fsck()
    assert report.problems == ()
    assert report.records == 3 + 4 + 3 + 3  # runs, steps (one is shared), versions, sources
    assert report.blobs >= 6


# Bytes

Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0x40]) + data[len(data) // 2 + 1 :]
    ),
    "truncated": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("how", list(DAMAGES))
def test_damaged_bytes_name_the_versions_that_they_affect(told: Workshop, how: str) -> None:
    repo = told.repo()
    output = repo.artifact("clf@v2:model")
    path = next(repo.store.copies(output.digest)).path
    path.chmod(0o644)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    problems = [one for one in told.problems() if output.digest.short in one.what]
    assert problems, told.problems()
    assert problems[0].kind in ("corrupt-blob", "missing-blob")
    assert problems[0].affects == ("clf@v2",)


def test_every_file_of_the_store_is_judged(told: Workshop) -> None:
    """Cut each file of the store in turn: no damage goes unnoticed."""
    files = [one for one in (told.path / ".git/gitml/store").rglob("*") if one.is_file()]
    packs = [one for one in files if one.suffix in (".pack", ".idx") or one.parent.name != "store"]
    assert len(packs) >= 3
    for path in packs:
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[: max(0, len(data) - 5)])
        assert told.problems() != [], path.name
        path.write_bytes(data)
    assert told.problems() == []


def test_swapped_packs_are_found(told: Workshop) -> None:
    packs = sorted((told.path / ".git/gitml/store").rglob("*.pack"))[:2]
    one, two = (path.read_bytes() for path in packs)
    for path, data in zip(packs, (two, one), strict=True):
        path.chmod(0o644)
        path.write_bytes(data)
    assert any(problem.affects for problem in told.problems())


def test_a_missing_file_of_a_folder_affects_the_folder_s_version(told: Workshop) -> None:
    digest = hash_bytes(b"in a folder")
    path = next(told.repo().store.copies(digest)).path
    for one in path.parent.glob(f"{path.stem}.*"):
        one.unlink()
    (problem,) = [one for one in told.problems() if digest.short in one.what]
    assert problem.kind == "missing-blob"
    assert problem.affects == ("other@v1",)


# Records


def remake(
    workshop: Workshop,
    commit: str,
    *,
    tree: str | None = None,
    parents: list[str] | None = None,
    message: str | None = None,
) -> str:
    """A commit like another one, but for what is given."""
    arguments = ["commit-tree", tree or f"{commit}^{{tree}}"]
    for one in workshop.parents(commit) if parents is None else parents:
        arguments += ["-p", one]
    text = workshop.git("log", "-1", "--format=%B", commit) if message is None else message
    return workshop.git(*arguments, "-F", "-", text=text)


def with_file(workshop: Workshop, commit: str, path: str, data: bytes | None) -> str:
    """The tree of a commit with one file replaced, or removed."""
    index = str(workshop.path / ".git/other-index")
    environment = {**os.environ, "GIT_INDEX_FILE": index}

    def git(*arguments: str, given: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=workshop.path,
            env=environment,
            input=given,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    git("read-tree", commit)
    if data is None:
        git("rm", "--cached", "--quiet", path)
    else:
        blob = git("hash-object", "-w", "--stdin", given=data)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    tree = git("write-tree")
    Path(index).unlink()
    return tree


def forge(workshop: Workshop, name: str, **changes: object) -> str:
    """Put a forged version in the place of one, under its number and its ref."""
    real = workshop.git("rev-parse", f"{name}^{{commit}}")
    made = remake(workshop, real, **changes)  # type: ignore[arg-type]
    model = name.partition("@")[0]
    workshop.git("update-ref", "-d", f"refs/gitml/versions/{model}/{real[:12]}")
    workshop.git("update-ref", f"refs/gitml/versions/{model}/{made[:12]}", made)
    return made


def test_false_parents(told: Workshop) -> None:
    parents = told.parents("other@v1")
    made = forge(told, "other@v1", parents=[*parents, told.git("rev-parse", "clf@v1^{commit}")])
    assert [one.what for one in found(told, "false-parents")] == [made[:12]]


def test_missing_and_reordered_parents(told: Workshop) -> None:
    code, run = told.parents("other@v1")
    for parents in ([code], [run, code], []):
        made = forge(told, "other@v1", parents=parents)
        assert made[:12] in [one.what for one in found(told, "false-parents")]
        told.git("update-ref", "-d", f"refs/gitml/versions/other/{made[:12]}")


def test_false_trailers(told: Workshop) -> None:
    text = told.git("log", "-1", "--format=%B", "other@v1")
    run = told.parents("other@v1")[1]
    lie = text.replace(f"Gitml-Run: {run}", f"Gitml-Run: {told.parents('clf@v1')[1]}")
    made = forge(told, "other@v1", message=lie)
    assert [one.what for one in found(told, "false-trailers")] == [made[:12]]
    told.git("update-ref", "-d", f"refs/gitml/versions/other/{made[:12]}")
    made = forge(told, "other@v1", message=text.rstrip() + "\nGitml-Later: something\n")
    assert told.problems() == []


def test_a_tree_that_is_not_its_code_s(told: Workshop) -> None:
    tree = with_file(told, "other@v1", "pipelines/training.py", b"print('innocent')\n")
    made = forge(told, "other@v1", tree=tree)
    assert [one.what for one in found(told, "odd-tree")] == [made[:12]]


def test_a_swapped_pointer(told: Workshop) -> None:
    other = told.git("cat-file", "blob", "clf@v1:.gitml/artifacts/model.gitml") + "\n"
    tree = with_file(told, "other@v1", ".gitml/artifacts/folder.gitml", other.encode())
    made = forge(told, "other@v1", tree=tree)
    (problem,) = found(told, "odd-pointer")
    assert problem.what == f"{made[:12]}:.gitml/artifacts/folder.gitml"


def test_a_record_that_names_what_was_never_made(told: Workshop) -> None:
    """Record and pointer agree with one another, and with no step."""
    text = told.git("cat-file", "blob", "clf@v2:.gitml/model.json")
    digests = [
        str(told.repo().artifact(f"clf@v{n}:model").digest).removeprefix("blake3:") for n in (1, 2)
    ]
    swapped = text.replace(digests[1], digests[0])
    assert swapped != text
    tree = with_file(told, "clf@v2", ".gitml/model.json", swapped.encode() + b"\n")
    forged = remake(told, told.git("rev-parse", "clf@v2^{commit}"), tree=tree)
    pointer = told.git("cat-file", "blob", "clf@v1:.gitml/artifacts/model.gitml") + "\n"
    tree = with_file(told, forged, ".gitml/artifacts/model.gitml", pointer.encode())
    made = forge(told, "clf@v2", tree=tree)
    assert [one.what for one in found(told, "false-input")] == [made[:12]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "is missing"),
        (b"", "not JSON"),
        (b"{}", "format"),
        (b'{"format": 99}', "format 99"),
        (b'{"format": 1}', "missing"),
        (b"[" * 5000, "not JSON"),
    ],
)
def test_a_record_that_cannot_be_read(told: Workshop, data: bytes | None, words: str) -> None:
    tree = with_file(told, "other@v1", ".gitml/model.json", data)
    made = forge(told, "other@v1", tree=tree)
    problems = found(told, "corrupt-record")
    assert any(made[:12] in one.what and words in one.detail for one in problems), problems


def test_a_kind_that_is_another(told: Workshop) -> None:
    run = told.parents("other@v1")[1]
    told.git("update-ref", f"refs/gitml/versions/other/{run[:12]}", run)
    (problem,) = found(told, "corrupt-record")
    assert problem.what == f"refs/gitml/versions/other/{run[:12]}"


def test_refs_in_the_wrong_place(told: Workshop) -> None:
    version = told.git("rev-parse", "other@v1^{commit}")
    told.git("update-ref", f"refs/gitml/versions/clf/{version[:12]}", version)
    told.git("update-ref", "refs/gitml/stages/clf/staging", "clf@production/1")
    told.git("update-ref", "refs/gitml/stages/clf/production", "clf@production/1")
    assert {one.what for one in found(told, "odd-ref")} == {
        f"refs/gitml/versions/clf/{version[:12]}",
        "refs/gitml/stages/clf/staging",
        "refs/gitml/stages/clf/production",
    }


def test_a_stage_whose_last_event_is_gone_is_ahead_of_the_events(told: Workshop) -> None:
    place = "refs/gitml/stages/clf/production"
    last = max(told.refs("refs/tags/clf@production/*"), key=lambda one: int(one.rpartition("/")[2]))
    held = told.git("rev-parse", last)
    told.git("update-ref", place, "clf@production/1")
    assert [one.detail for one in found(told, "odd-ref")] == ["it is behind the events"]
    told.git("update-ref", place, held)
    told.git("update-ref", "-d", last)
    assert [one.detail for one in found(told, "odd-ref")] == ["it is ahead of the events"]


def test_missing_and_corrupt_objects(told: Workshop) -> None:
    """Objects of git's that are gone or damaged: a source, a record's file, a step."""
    objects = told.path / ".git/objects"
    for pack in list((objects / "pack").glob("*.pack")):
        data = pack.read_bytes()
        for one in objects.joinpath("pack").glob(f"{pack.stem}.*"):
            one.unlink()
        subprocess.run(["git", "unpack-objects", "-q"], cwd=told.path, input=data, check=True)
    assert told.problems() == []
    run = told.repo().version("clf@v1").run
    assert run is not None
    step = str(run.steps["prepare"].entry.commit)
    source = told.parents(step)[1]

    def loose(oid: str) -> Path:
        return objects / oid[:2] / oid[2:]

    def damaged(oid: str, data: bytes | None) -> list[Problem]:
        path = loose(oid)
        before = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data) if data is not None else path.unlink()
        try:
            return told.problems()
        finally:
            path.write_bytes(before)

    assert any(one.kind == "missing-object" for one in damaged(source, None))
    assert any(one.kind == "missing-object" for one in damaged(step, None))
    blob = told.git("rev-parse", "clf@v1:.gitml/model.json")
    assert damaged(blob, None)
    assert damaged(blob, b"garbage")
    assert damaged(blob, zlib.compress(b"blob 5\0other"))
    assert told.problems() == []


# Tags


def retag(workshop: Workshop, name: str, text: str) -> None:
    """Put a tag object with this text under a name."""
    oid = workshop.git("hash-object", "-t", "tag", "-w", "--literally", "--stdin", text=text)
    workshop.git("update-ref", f"refs/tags/{name}", oid)


def test_a_missing_event(told: Workshop) -> None:
    told.git("tag", "--delete", "clf@production/2")
    details = {one.what: one.detail for one in found(told, "broken-chain")}
    assert details["clf@production/2"] == "the event is missing"


def test_a_rewritten_event_breaks_the_chain(told: Workshop) -> None:
    text = told.git("cat-file", "tag", "clf@production/1")
    retag(told, "clf@production/1", text.replace('"why"', '"another reason"') + "\n")
    problems = found(told, "broken-chain")
    assert [one.what for one in problems] == ["clf@production/2"]


def test_a_renamed_or_replayed_event(told: Workshop) -> None:
    oid = told.git("rev-parse", "clf@production/1")
    told.git("update-ref", "refs/tags/clf@production/4", oid)
    assert any(one.kind in ("forged-tag", "corrupt-record") for one in told.problems())
    told.git("update-ref", "-d", "refs/tags/clf@production/4")
    told.git("update-ref", "refs/tags/clf@staging/1", oid)
    assert any(one.kind in ("forged-tag", "corrupt-record") for one in told.problems())


def test_an_event_on_another_commit_than_it_names(told: Workshop) -> None:
    text = told.git("cat-file", "tag", "clf@production/3")
    one, two = (told.git("rev-parse", f"clf@v{n}^{{commit}}") for n in (1, 2))
    retag(told, "clf@production/3", text.replace(f"object {one}", f"object {two}") + "\n")
    assert "clf@production/3" in [one.what for one in found(told, "forged-tag")]


def test_tags_by_hand_where_moves_belong_and_what_takes_them_away(told: Workshop) -> None:
    commit = told.git("rev-parse", "clf@v2^{commit}")
    told.git("tag", "clf@production/4", commit)
    told.git("tag", "--annotate", "--message", "mine", "clf@production/5", commit)
    told.git("tag", "--annotate", "--message", "mine", "clf@staging", commit)
    told.git("tag", "clf@1.2.3", commit)
    told.git("tag", "tool@production/1", commit)
    told.git("tag", "clf@alias/best", commit)
    with pytest.raises(CorruptData, match="clf@production/"):
        told.repo().version("clf@production")
    problems = told.problems()
    assert {one.what: one.kind for one in problems} == {
        "clf@production/4": "stray-tag",
        "clf@production/5": "stray-tag",
        "clf@staging": "stray-tag",
    }
    for one in problems:
        told.follow(one.remedy)
    assert told.problems() == []
    assert told.git("rev-parse", "old/clf@staging^{commit}") == commit
    assert told.repo().resolve("clf@production").label == "clf@v1"
    told.repo().promote("clf@v2", "staging", "again")


def test_an_event_that_cannot_be_read_is_no_tag_by_hand(told: Workshop) -> None:
    """A record of a later format, or one whose object is lost, is not to be thrown away."""
    commit = told.git("rev-parse", "clf@v2^{commit}")
    line = 'clf production 4\n\n{"format": 2}'
    told.git("tag", "--annotate", "--message", line, "clf@production/4", commit)
    assert found(told, "stray-tag") == []
    assert "clf@production" in [one.what for one in found(told, "corrupt-record")]


def test_numbers_that_were_not_given_by_gitml(told: Workshop) -> None:
    told.git("tag", "clf@v8", "clf@v1^{commit}")
    told.git("tag", "--annotate", "--message", "x", "other@v2", "clf@v1^{commit}")
    told.git("tag", "--annotate", "--message", "x", "clf@v09", "clf@v1^{commit}")
    kinds = {one.what: one.kind for one in told.problems()}
    assert kinds["clf@v8"] == "forged-tag"
    assert kinds["other@v2"] == "forged-tag"
    assert kinds["clf@v09"] == "odd-tag"


def test_a_tombstone_of_another_version(told: Workshop) -> None:
    told.repo().delete("clf@v2", "worse")
    assert told.problems() == []
    oid = told.git("rev-parse", "clf@deleted/2")
    told.git("update-ref", "refs/tags/clf@deleted/1", oid)
    assert any(one.what == "clf@deleted/1" for one in found(told, "forged-tag"))
