"""A store that several clones use is collected by what all of them know."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gitml.errors import MissingBytes
from gitml.history.clones import is_deleted, registered, sharing
from tests.workshop import Workshop


@pytest.fixture
def two(workshop: Workshop, tmp_path: Path) -> tuple[Workshop, Workshop]:
    """Two clones that keep their bytes in one folder, each with a value of its own."""
    made = []
    for one in (workshop, Workshop.at(tmp_path / "alice")):
        one.git("config", "gitml.store", str(tmp_path / "shared"))
        one.repo().save(f"of {one.path.name}".encode(), "value")
        made.append(one)
    return made[0], made[1]


def forget(workshop: Workshop) -> None:
    """Delete the saved value; its bytes are nobody's then."""
    (ref,) = workshop.refs("refs/gitml/sources")
    workshop.git("update-ref", "-d", ref)


def test_each_clone_says_that_it_uses_the_store(
    two: tuple[Workshop, Workshop], tmp_path: Path
) -> None:
    found = {one.path for one in registered(tmp_path / "shared")}
    assert found == {(one.path / ".git").resolve() for one in two}
    bob = two[0].repo()
    assert {git.common for git in sharing(bob.store.root, bob.git)} == found


def test_who_only_reads_is_known_too(two: tuple[Workshop, Workshop], tmp_path: Path) -> None:
    two[0].git("clone", "--quiet", str(two[0].path), str(tmp_path / "carol"))
    carol = Workshop(tmp_path / "carol")
    carol.git("config", "gitml.store", str(tmp_path / "shared"))
    assert carol.repo().store.root == tmp_path / "shared"
    assert len(registered(tmp_path / "shared")) == 3


def test_gc_in_one_clone_keeps_what_the_other_names(two: tuple[Workshop, Workshop]) -> None:
    bob, alice = two
    store = bob.repo().store
    assert len(list(store.objects())) == 2
    bob.repo().gc("now")
    assert len(list(bob.repo().store.objects())) == 2
    forget(bob)
    bob.repo().gc("now")
    (left,) = bob.repo().store.objects()
    assert left.digest == alice.repo().artifact("value").digest


def test_a_clone_that_cannot_be_read_stops_gc_by_name(
    two: tuple[Workshop, Workshop], tmp_path: Path
) -> None:
    bob, alice = two
    forget(bob)
    (alice.path / ".git/HEAD").unlink()
    with pytest.raises(MissingBytes, match="alice") as caught:
        bob.repo().gc("now")
    assert "rm " in (caught.value.hint or "")
    assert len(list(bob.repo().store.objects())) == 2


def test_a_deleted_clone_is_gone(two: tuple[Workshop, Workshop], tmp_path: Path) -> None:
    bob, alice = two
    alice.close()
    shutil.rmtree(alice.path)
    bob.repo().gc("now")
    assert len(list(bob.repo().store.objects())) == 1


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"device": 1}])
def test_one_on_another_host_or_a_disk_that_is_away_is_not(
    two: tuple[Workshop, Workshop], tmp_path: Path, change: dict[str, object]
) -> None:
    bob, alice = two
    alice.close()
    shutil.rmtree(alice.path)
    (clone,) = [one for one in registered(tmp_path / "shared") if is_deleted(one)]
    document = json.loads(clone.file.read_text())
    clone.file.write_text(json.dumps(document | change))
    with pytest.raises(MissingBytes, match="alice"):
        bob.repo().gc("now")
    clone.file.unlink()
    bob.repo().gc("now")
    assert len(list(bob.repo().store.objects())) == 1


def test_a_store_in_somebody_s_git_directory_has_an_owner(
    workshop: Workshop, tmp_path: Path
) -> None:
    workshop.repo().save(b"of bob", "value")
    alice = Workshop.at(tmp_path / "alice")
    alice.git("config", "gitml.store", str(workshop.path / ".git/gitml/store"))
    alice.repo().gc("now")
    assert len(list(workshop.repo().store.objects())) == 1
