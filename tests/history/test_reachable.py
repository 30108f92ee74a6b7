"""What is live: whatever git still speaks of, wherever it is; no answer where it is a guess."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.git.process import Git
from gitml.history.reachable import reachable
from gitml.store.store import Store
from tests.workshop import Copy, Workshop, model_for_copies


def live(workshop: Workshop) -> set[Digest]:
    git = Git.discover(workshop.path)
    store = Store(git.common / "gitml/store")
    return {Digest.from_bytes(raw) for raw in reachable([git], store).digests}


@pytest.fixture(scope="module")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("told")) as made:
        made.training()
        made.run("training")
        made.close()
        yield made


@pytest.fixture
def told(told_once: Workshop, copied: Copy) -> Workshop:
    """One run of the training pipeline."""
    return copied(told_once)


def digest(number: int) -> Digest:
    return Digest(f"{number:064x}")


def pointer(workshop: Workshop, number: int, name: str = "data/x.csv.gitml") -> Digest:
    """A pointer file to bytes that nobody has."""
    workshop.write(name, Pointer(digest(number), "blob", 3).encode().decode())
    return digest(number)


def test_records_name_outputs_inputs_and_logs(told: Workshop) -> None:
    repo = told.repo()
    run = repo.runs()[0]
    named = {one.digest for step in run.steps.values() for one in step.outputs.values()}
    for step in run.steps.values():
        assert step.found is not None
        named |= {one.digest for one in step.found.record.inputs}
    assert len(named) >= 3
    assert named <= live(told)
    assert {one.digest for one in repo.store.objects()} <= live(told)


def test_a_saved_value_and_a_folder_s_members(told: Workshop) -> None:
    folder = told.path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/a").write_text("a")
    (folder / "b").write_text("b")
    repo = told.repo()
    saved = repo.save(folder, "files")
    entries = repo.store.read_tree(saved.digest).entries
    assert {saved.digest, *(one.digest for one in entries)} <= live(told)


def test_pointers_wherever_they_are(told: Workshop) -> None:
    wanted = {pointer(told, 1, "a.gitml")}
    told.commit("one")
    wanted.add(pointer(told, 2, "deep/down/b.bin.gitml"))
    told.commit("two")
    (told.path / "a.gitml").unlink()
    told.commit("gone")
    wanted.add(pointer(told, 3, "staged.gitml"))
    told.git("add", "staged.gitml")
    wanted.add(pointer(told, 4, "staged.gitml"))
    wanted.add(pointer(told, 5, "untracked.gitml"))
    told.write(".gitignore", "ignored/\n")
    wanted.add(pointer(told, 6, "ignored/x.gitml"))
    assert wanted <= live(told)


def test_branches_stashes_reflogs_and_detached_heads(told: Workshop) -> None:
    told.git("switch", "--quiet", "-c", "side")
    wanted = {pointer(told, 1)}
    told.commit("on a side branch")
    told.git("switch", "--quiet", "-")
    wanted.add(pointer(told, 2))
    told.git("add", ".")
    told.git("stash", "--quiet")
    pointer(told, 3)
    told.commit("to be taken back")
    told.git("reset", "--quiet", "--hard", "HEAD~1")
    wanted.add(digest(3))
    assert wanted <= live(told)
    told.git("branch", "--quiet", "-D", "side")
    assert digest(1) in live(told)  # by the reflog of HEAD
    told.git("reflog", "expire", "--expire=now", "--all")
    told.git("update-ref", "-d", "ORIG_HEAD") if (told.path / ".git/ORIG_HEAD").exists() else None
    now = live(told)
    assert digest(1) not in now
    assert digest(3) not in now
    assert digest(2) in now
    told.git("stash", "drop", "--quiet")
    assert digest(2) not in live(told)


def test_a_merge_that_dropped_a_pointer_does_not_hide_it(told: Workshop) -> None:
    main = told.git("branch", "--show-current")
    told.git("switch", "--quiet", "-c", "side")
    wanted = pointer(told, 1)
    told.commit("on the side")
    told.git("switch", "--quiet", main)
    told.write("other.txt", "x")
    told.commit("meanwhile")
    told.git("merge", "--quiet", "-s", "ours", "-m", "not theirs", "side")
    told.git("branch", "--quiet", "-D", "side")
    told.git("reflog", "expire", "--expire=now", "--all")
    assert wanted in live(told)


def test_other_work_trees(told: Workshop, tmp_path: Path) -> None:
    other = tmp_path / "other"
    told.git("worktree", "add", "--quiet", "--detach", str(other))
    there = Workshop(other)
    wanted = {pointer(there, 1)}
    there.commit("on no branch")
    wanted.add(pointer(there, 2, "staged.gitml"))
    there.git("add", "staged.gitml")
    wanted.add(pointer(there, 3, "staged.gitml"))
    assert wanted <= live(told)
    assert wanted <= live(there)
    shutil.rmtree(other)
    assert live(told) & {digest(n) for n in (1, 2, 3)} == {digest(1), digest(2)}
    told.git("worktree", "lock", str(other))
    with pytest.raises(MissingBytes, match="locked"):
        live(told)


def test_a_copy_of_a_pointer_under_another_name_does_not_hide_it(told: Workshop) -> None:
    wanted = pointer(told, 1, "x.gitml")
    told.write("a-copy.txt", (told.path / "x.gitml").read_text())
    told.commit("twice the same blob")
    told.git("rm", "--quiet", "x.gitml")
    told.commit("the pointer goes, the copy stays")
    assert wanted in live(told)


def test_conflict_markers_do_not_hide_either_side(told: Workshop) -> None:
    one = Pointer(digest(1), "blob", 3).encode().decode()
    two = Pointer(digest(2), "blob", 3).encode().decode()
    told.write("x.gitml", f"gitml 1\n<<<<<<< ours\n{one}=======\n{two}>>>>>>> theirs\n")
    told.commit("a conflict, committed")
    assert {digest(1), digest(2)} <= live(told)


def test_notes_and_journals(told: Workshop) -> None:
    told.repo().set_metadata("clf@v1", {"see": str(digest(1))})
    pointer(told, 2)
    told.git("add", ".")
    tree = told.git("write-tree")
    snapshot = told.git("commit-tree", tree, "-m", "a snapshot that no ref keeps")
    told.git("rm", "--quiet", "--force", "data/x.csv.gitml")
    journal = told.path / ".git/gitml/journal/1+2+elsewhere+boot.0000.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"format": 1, "code": {"commit": snapshot}}),
        json.dumps({"record": {"outputs": [{"digest": str(digest(3)), "kind": "blob"}]}}),
    ]
    journal.write_text("\n".join(lines) + "\n" + '{"step": "cut o')
    assert {digest(1), digest(2), digest(3)} <= live(told)


# Where there is no answer


def test_a_shallow_clone_cannot_know(told: Workshop, tmp_path: Path) -> None:
    told.git("clone", "--quiet", "--depth", "1", f"file://{told.path}", str(tmp_path / "clone"))
    with pytest.raises(MissingBytes, match="shallow") as caught:
        live(Workshop(tmp_path / "clone"))
    assert "--unshallow" in (caught.value.hint or "")


def test_a_partial_clone_cannot_know(told: Workshop, tmp_path: Path) -> None:
    told.git("config", "uploadpack.allowFilter", "true")
    flags = ["--quiet", "--filter=blob:none", "--no-checkout"]
    told.git("clone", *flags, f"file://{told.path}", str(tmp_path / "clone"))
    with pytest.raises(MissingBytes, match="partial"):
        live(Workshop(tmp_path / "clone"))


def test_a_folder_without_its_list_is_told(told: Workshop) -> None:
    told.write("x.gitml", Pointer(digest(1), "tree", 3).encode().decode())
    git = Git.discover(told.path)
    found = reachable([git], told.repo().store)
    assert found.unlisted == (digest(1),)
    assert digest(1).raw in found.digests


def test_a_clone_whose_bytes_are_elsewhere_collects_what_is_certain(
    told: Workshop, tmp_path: Path
) -> None:
    """gc ended with 13 for ever in a clone that has the pointers of others and none of their bytes.

    A blob that nothing names may be one of theirs; a list of files is in no list.
    """
    told.write("images/a.txt", "theirs")
    told.repo().add([told.path / "images"])
    told.commit("data")
    told.close()
    shutil.move(told.path / ".git/gitml/store", tmp_path / "elsewhere")
    told.write("scratch/b.txt", "mine")
    repo = told.repo()
    kept = repo.save(b"kept", "kept").digest
    tree = repo.save(told.path / "scratch", "scratch").digest
    (file,) = [one.digest for one in repo.store.read_tree(tree).entries]
    for ref in told.refs("refs/gitml/sources/scratch/"):
        told.git("update-ref", "-d", ref)
    told.close()
    for dry_run in (True, False):
        done = told.repo().gc("now", dry_run=dry_run)
        assert done.unlisted > 0
        assert done.spared > 0
    has = told.repo().store.has
    assert (has(kept), has(tree), has(file)) == (True, False, True)
    done = told.repo().gc("now", ignore_missing=True)
    assert done.spared == 0
    has = told.repo().store.has
    assert (has(kept), has(file)) == (True, False)
    assert "not here" in told.repo().usage()[1]
    shutil.rmtree(told.path / ".git/gitml/store")
    shutil.move(tmp_path / "elsewhere", told.path / ".git/gitml/store")
    assert told.repo().gc("now").unlisted == 0


@pytest.mark.parametrize("data", ["{", '{\n  "format": 2\n}\n', "[" * 100_000])
def test_a_record_that_cannot_be_read(told: Workshop, data: str) -> None:
    told.write(".gitml/later.json", data)
    told.commit("a strange record")
    with pytest.raises(CorruptData, match=r"later\.json"):
        live(told)


def test_a_pointer_of_a_later_format(told: Workshop) -> None:
    told.write("x.gitml", "gitml 2\nsomething else\n")
    with pytest.raises(CorruptData, match="format 2") as caught:
        live(told)
    assert "pip install" in (caught.value.hint or "")


def test_missing_and_damaged_objects_of_git(told: Workshop) -> None:
    pointer(told, 1)
    told.commit("loose objects")
    oid = told.git("rev-parse", "HEAD:data/x.csv.gitml")
    path = told.path / ".git/objects" / oid[:2] / oid[2:]
    data = path.read_bytes()
    path.chmod(0o644)
    for damage in (None, b"garbage"):
        path.unlink() if damage is None else path.write_bytes(damage)
        with pytest.raises(GitmlError) as caught:
            live(told)
        assert caught.value.exit_code in (12, 13)
        path.write_bytes(data)
    commit = told.git("rev-parse", "HEAD~1")
    path = told.path / ".git/objects" / commit[:2] / commit[2:]
    path.unlink()
    with pytest.raises(GitmlError) as caught:
        live(told)
    assert caught.value.exit_code in (12, 13)
