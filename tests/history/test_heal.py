"""Healing: whatever has a good copy anywhere comes back, and nothing whole is lost on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.store.digest import hash_bytes
from tests.workshop import Copy, Workshop, model_for_copies

RAW = json.dumps({"rows": [1, 2, 3]})


@pytest.fixture(scope="module")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("told")) as made:
        made.training()
        made.run("training")
        made.close()
        yield made


@pytest.fixture
def told(told_once: Workshop, copied: Copy) -> Workshop:
    """One run of the training pipeline on data that git tracks."""
    return copied(told_once)


def flip(workshop: Workshop, digest: Digest) -> Path:
    """Damage the stored bytes of a digest in every copy; one of the files."""
    store = workshop.repo().store
    for copy in list(store.copies(digest)):
        pack = next(one for one in store.packs() if one.path == copy.path)
        row = pack.find_chunk(digest.raw)
        assert row is not None
        copy.path.chmod(0o644)
        data = bytearray(copy.path.read_bytes())
        data[row.offset + 96] ^= 0xFF
        copy.path.write_bytes(data)
    return copy.path


def test_lost_data_comes_back_from_the_work_tree(told: Workshop) -> None:
    digest = hash_bytes(RAW.encode())
    others = {one.digest for one in told.repo().store.objects()} - {digest}
    pack = flip(told, digest)
    assert [one.kind for one in told.problems()] == ["corrupt-blob"]
    report = told.repo().fsck(repair=True)
    assert report.problems == ()
    assert ("blob", digest.short, "data/raw.json") in [
        (one.kind, one.name, one.source) for one in report.healed
    ]
    store = told.repo().store
    assert store.read(digest).decode() == RAW
    assert others <= {one.digest for one in store.objects()}
    assert not pack.exists()
    assert [path.suffix for path, _ in store.layout.set_aside_files()] == [".bad"]


def test_and_from_the_commit_that_it_was_read_beside(told: Workshop) -> None:
    digest = hash_bytes(RAW.encode())
    flip(told, digest)
    (told.path / "data/raw.json").write_text("changed since")
    report = told.repo().fsck(repair=True)
    assert report.problems == ()
    assert any(":data/raw.json" in one.source for one in report.healed)
    assert told.repo().store.read(digest).decode() == RAW


def test_what_cannot_be_healed_says_what_helps(told: Workshop) -> None:
    output = told.repo().artifact("clf@v1:model")
    flip(told, output.digest)
    report = told.repo().fsck(repair=True)
    (problem,) = report.problems
    assert (problem.kind, problem.affects) == ("missing-blob", ("clf@v1",))
    assert "`gitml run training`" in problem.remedy
    told.run("training")
    assert told.problems() == []


def test_a_pointer_s_data_heals_from_the_file_beside_it(told: Workshop) -> None:
    data = os.urandom(5000)
    (told.path / "x.bin").write_bytes(data)
    pointer = Pointer(hash_bytes(data), "blob", len(data))
    told.write("x.bin.gitml", pointer.encode().decode())
    (problem,) = told.problems()
    assert (problem.kind, "x.bin.gitml" in problem.detail) == ("missing-blob", True)
    report = told.repo().fsck(repair=True)
    assert report.problems == ()
    assert told.repo().store.read(hash_bytes(data)) == data


def test_a_folder_heals_member_by_member(told: Workshop) -> None:
    for name in ("a", "inner/b"):
        told.write(f"folder/{name}", name * 100)
    with told.repo().store.writer() as writer:
        digest, size = writer.put_directory(told.path / "folder")
    told.write("folder.gitml", Pointer(digest, "tree", size).encode().decode())
    for path in list((told.path / ".git/gitml/store/packs").iterdir()):
        path.unlink()
    (told.path / "folder/a").write_text("changed since")
    repo = told.repo()
    repo.fsck(repair=True)
    assert not told.repo().store.has(digest)  # one file was changed, so this is another folder
    told.write("folder/a", "a" * 100)
    told.repo().fsck(repair=True)
    tree = told.repo().store.read_tree(digest)
    assert [told.repo().store.read(one.digest) for one in tree.entries] == [
        b"a" * 100,
        b"inner/b" * 100,
    ]


def test_a_pointer_that_is_none(told: Workshop) -> None:
    told.write("x.bin.gitml", "gitml 1\n<<<<<<< ours\n")
    (problem,) = told.problems()
    assert (problem.kind, problem.what) == ("corrupt-pointer", "x.bin.gitml")
    assert "git checkout" in problem.remedy


@pytest.mark.parametrize("cut", [20, 200, 600])
def test_a_truncated_pack_keeps_what_is_whole(told: Workshop, cut: int) -> None:
    store = told.repo().store
    pack = store.packs()[0].path
    whole = {one.digest for one in store.objects()}
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:-cut])
    damaged = {d for one in told.repo().store.check() if not one.readable for d in one.digests}
    told.repo().fsck(repair=True)
    held = {one.digest for one in told.repo().store.objects()}
    assert held >= whole - damaged
    assert [one for one in told.repo().store.check() if not one.readable] == []


def test_a_sample_finds_what_is_in_it_and_all_that_shows(told: Workshop) -> None:
    repo = told.repo()
    for number in range(30):
        repo.save(f"value {number}" * 50, f"v{number}")
    whole = told.repo().fsck(sample=8, seed=1)
    assert (whole.problems, whole.read) == ((), 8)
    assert whole.held > 30
    digest = repo.artifact("v3").digest
    flip(told, digest)
    found = [bool(told.repo().fsck(sample=8, seed=seed).problems) for seed in range(12)]
    assert any(found)
    assert not all(found)
    again = [bool(told.repo().fsck(sample=8, seed=seed).problems) for seed in range(4)]
    assert again == found[:4]
    assert told.repo().fsck().problems
    pack = next(told.repo().store.copies(digest)).path
    pack.write_bytes(pack.read_bytes()[:-30])
    assert told.repo().fsck(sample=0).problems


def test_a_shallow_clone_is_shallow_and_not_damaged(told: Workshop, tmp_path: Path) -> None:
    flags = ["--quiet", "--depth", "1", "--branch", "clf@v1"]
    told.git("clone", *flags, f"file://{told.path}", str(tmp_path / "clone"))
    clone = Workshop(tmp_path / "clone")
    import shutil

    shutil.copytree(told.path / ".git/gitml/store", clone.path / ".git/gitml/store")
    (problem,) = clone.problems()
    assert (problem.kind, problem.is_harmless) == ("cut-off", True)
    assert "--unshallow" in problem.remedy
