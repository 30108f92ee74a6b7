"""``doctor``: every kind of trouble is found, and what is safe to put right is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.doctor import Finding
from gitml.fs import ProcessIdentity
from tests.workshop import Copy, Workshop, model_for_copies


@pytest.fixture(scope="module")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with model_for_copies(tmp_path_factory.mktemp("told")) as made:
        made.training()
        made.run("training")
        made.repo().promote("clf@v1", "production", "why")
        made.write("table.csv", "a,b\n")
        made.close()
        yield made


@pytest.fixture
def told(told_once: Workshop, copied: Copy) -> Workshop:
    """A model with a stage, and a data file that has no pointer yet."""
    return copied(told_once)


def found(workshop: Workshop, check: str, *, fix: bool = False) -> list[Finding]:
    findings = workshop.repo().doctor(fix=fix)
    return [one for one in findings if one.check == check and (one.state != "ok" or one.mended)]


def troubled(workshop: Workshop) -> set[str]:
    findings = workshop.repo().doctor()
    return {one.check for one in findings if one.state in ("warning", "problem")}


def test_a_sound_clone(told: Workshop) -> None:
    assert troubled(told) == set()
    checks = {one.check for one in told.repo().doctor()}
    assert checks >= {"git version", "disk space", "clock", "hooks", "stages", "locks", "store"}


def test_stages_that_are_behind_their_events(told: Workshop) -> None:
    told.repo().promote("clf@v1", "staging", "why")
    told.git("update-ref", "refs/gitml/stages/clf/production", "clf@staging/1")
    told.git("update-ref", "-d", "refs/gitml/stages/clf/staging")
    told.git("update-ref", "refs/gitml/stages/clf/made-up", "clf@staging/1")
    (finding,) = found(told, "stages")
    assert "clf/production" in finding.says
    (mended,) = found(told, "stages", fix=True)
    assert mended.mended.startswith("Moved the refs of stages")
    refs = told.refs("refs/gitml/stages")
    assert set(refs) == {f"refs/gitml/stages/clf/{one}" for one in ("production", "staging")}
    assert refs["refs/gitml/stages/clf/production"] == told.git("rev-parse", "clf@production/1")
    assert troubled(told) == set()


def test_tags_by_hand_where_moves_of_a_stage_belong(told: Workshop) -> None:
    told.git("tag", "clf@production/2", "clf@v1^{commit}")
    (finding,) = found(told, "stages")
    assert finding.says.startswith("clf@production/2: it is no annotated tag")
    told.follow(finding.fix)
    assert troubled(told) == set()


def test_pointers_without_what_git_has_to_know(told: Workshop) -> None:
    repo = told.repo()
    repo.add([Path("table.csv")])
    assert found(told, "pointers") == []
    for key in ("merge.gitml.driver", "merge.gitml.name", "diff.gitml.textconv"):
        told.git("config", "--unset", key)
    (told.path / ".gitattributes").write_text("")
    (told.path / ".gitignore").write_text("__pycache__/\n")
    assert len(found(told, "pointers")) == 3
    assert len([one for one in found(told, "pointers", fix=True) if one.mended]) == 3
    assert found(told, "pointers") == []
    told.git("add", "--force", "table.csv")
    (finding,) = found(told, "pointers")
    assert (finding.state, finding.fix) == ("problem", "`git rm --cached table.csv`")


def test_leftovers_and_stale_locks(told: Workshop) -> None:
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    store = told.path / ".git/gitml/store"
    (store / f"tmp/{dead}+00000000.part").write_bytes(b"half")
    assert [one.state for one in found(told, "leftovers")] == ["note"]
    assert found(told, "leftovers", fix=True)[0].mended
    assert os.listdir(store / "tmp") == []
    foreign = told.path / ".git/index.lock"
    foreign.touch()
    assert found(told, "locks") == []  # a git may be running
    old = time.time() - 3600
    os.utime(foreign, (old, old))
    (finding,) = found(told, "locks")
    assert f"rm {foreign}" in finding.fix
    assert found(told, "locks", fix=True)[0].mended == ""  # nobody knows whose it is
    foreign.unlink()
    version = told.git("rev-parse", "clf@v1^{commit}")
    ours = told.path / ".git/refs/heads/x.lock"
    ours.write_text(f"{version}\n")
    moves = told.path / ".git/gitml/moves"
    moves.mkdir(exist_ok=True)
    (moves / f"{dead}+00000000").write_text(json.dumps({"refs/heads/x": version}))
    os.utime(ours, (old, old))
    told.close()
    findings = found(told, "locks", fix=True)
    assert [one.mended for one in findings] in ([], ["Broke 1 locks of processes that are gone"])
    assert not ours.exists()


def test_a_store_that_strangers_may_change(told: Workshop) -> None:
    packs = told.path / ".git/gitml/store/packs"
    packs.chmod(0o777)
    (finding,) = found(told, "store")
    assert "chmod" in finding.fix
    assert found(told, "store", fix=True)[0].mended
    assert packs.stat().st_mode & 0o002 == 0


def test_packs_without_an_index(told: Workshop) -> None:
    for path in (told.path / ".git/gitml/store/packs").glob("*.idx"):
        path.unlink()
    (finding,) = found(told, "store")
    assert "index" in finding.says
    assert found(told, "store", fix=True)[0].mended
    assert found(told, "store") == []


def test_a_shared_store_that_is_away(told: Workshop, tmp_path: Path) -> None:
    told.git("config", "gitml.store", str(tmp_path / "away"))
    (finding,) = found(told, "store")
    assert finding.state == "problem"
    assert "mounted" in finding.says


def test_a_clone_that_was_deleted_is_forgotten(told: Workshop, tmp_path: Path) -> None:
    import shutil

    other = Workshop.at(tmp_path / "other")
    for one in (told, other):
        one.git("config", "gitml.store", str(tmp_path / "shared"))
        one.repo().save(b"x", "value")
    other.close()
    (other.path / ".git/HEAD").rename(tmp_path / "HEAD")
    (finding,) = found(told, "sharing")
    assert finding.state == "problem"
    assert "other" in finding.says
    shutil.rmtree(other.path)
    (finding,) = found(told, "sharing")
    assert finding.state == "note"
    assert "Forgot the clone" in found(told, "sharing", fix=True)[0].mended
    assert found(told, "sharing") == []


def test_settings_that_are_wrong_do_not_stop_the_others(told: Workshop) -> None:
    told.write("gitml.toml", "[project\n")
    (finding,) = found(told, "settings")
    assert finding.state == "problem"
    assert len(told.repo().doctor()) > 8


def test_records_that_cannot_be_read(told: Workshop) -> None:
    head = told.git("rev-parse", "HEAD")
    told.git("update-ref", f"refs/gitml/versions/clf/{head[:12]}", head)
    (finding,) = found(told, "index")
    assert (finding.state, finding.fix) == ("problem", "`gitml fsck`")


def test_hooks_that_are_old_are_renewed(told: Workshop) -> None:
    assert [one.state for one in found(told, "hooks")] == ["note"]
    told.repo().install_hooks()
    assert found(told, "hooks") == []
    hook = told.path / ".git/hooks/post-checkout"
    hook.write_text(hook.read_text() + "\n# as an older one wrote it\n")
    (finding,) = found(told, "hooks")
    assert finding.state == "warning"
    assert found(told, "hooks", fix=True)[0].mended == "Renewed the hooks post-checkout"
    assert found(told, "hooks") == []
