"""What was judged once is believed, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store import arrow, knowntrees
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes
from gitml.store.knowntrees import KnownTrees, Proof
from gitml.store.store import Store
from gitml.store.tree import Tree, TreeEntry

ONE = Tree.of([TreeEntry("a", trees.REGULAR, 1, hash_bytes(b"1"))])
OTHER = Tree.of([TreeEntry("b", trees.REGULAR, 1, hash_bytes(b"1"))])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small trees are worth a file, too."""
    monkeypatch.setattr(knowntrees, "FROM", 1)


@pytest.fixture
def known(tmp_path: Path) -> KnownTrees:
    return KnownTrees(tmp_path / "gitml")


def test_only_the_stored_form_that_was_judged_is_known(known: KnownTrees) -> None:
    data = arrow.encode(ONE)
    assert not known.knows(Proof(ONE.digest, data))
    known.note(Proof(ONE.digest, data))
    assert known.knows(Proof(ONE.digest, data))
    assert not known.knows(Proof(ONE.digest, data + b"\0"))
    assert not known.knows(Proof(OTHER.digest, data))


def test_the_proof_of_one_tree_is_none_of_another(known: KnownTrees) -> None:
    data = arrow.encode(ONE)
    known.note(Proof(ONE.digest, data))
    (known.folder / ONE.digest.hex).rename(known.folder / OTHER.digest.hex)
    assert not known.knows(Proof(OTHER.digest, data))


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_not_believed(known: KnownTrees, mode: int) -> None:
    data = arrow.encode(ONE)
    known.note(Proof(ONE.digest, data))
    (known.folder / ONE.digest.hex).chmod(mode)
    assert not known.knows(Proof(ONE.digest, data))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_believed(known: KnownTrees) -> None:
    data = arrow.encode(ONE)
    known.note(Proof(ONE.digest, data))
    os.chown(known.folder / ONE.digest.hex, 65534, 65534)
    assert not known.knows(Proof(ONE.digest, data))


def test_a_link_and_a_torn_file_are_not_believed(known: KnownTrees, tmp_path: Path) -> None:
    data = arrow.encode(ONE)
    known.note(Proof(ONE.digest, data))
    file = known.folder / ONE.digest.hex
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert not known.knows(Proof(ONE.digest, data))
    file.unlink()
    file.write_bytes((tmp_path / "elsewhere").read_bytes()[:31])
    assert not known.knows(Proof(ONE.digest, data))


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "gitml").write_text("a file")
    known = KnownTrees(tmp_path / "gitml")
    known.note(Proof(ONE.digest, arrow.encode(ONE)))
    assert not known.knows(Proof(ONE.digest, arrow.encode(ONE)))


def test_the_older_ones_make_room(known: KnownTrees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowntrees, "_MOST", 4)
    digests = [hash_bytes(bytes([number])) for number in range(12)]
    for number, digest in enumerate(digests):
        known.note(Proof(digest, b"data"))
        os.utime(known.folder / digest.hex, ns=(0, number))
    assert not known.knows(Proof(digests[0], b"data"))
    assert known.knows(Proof(digests[-1], b"data"))
    assert len(list(known.folder.iterdir())) <= 5


def test_a_store_judges_a_tree_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second reading neither judges the paths nor makes the canonical form."""
    with Store(tmp_path / "store").writer() as writer:
        digest = writer.put_tree(ONE)
    first = Store(tmp_path / "store", known_trees=KnownTrees(tmp_path / "gitml"))
    assert first.read_tree(digest) == ONE
    monkeypatch.setattr(Tree, "of_columns", None)
    monkeypatch.setattr(Tree, "canonical_form", None)
    again = Store(tmp_path / "store", known_trees=KnownTrees(tmp_path / "gitml"))
    found = again.read_tree(digest)
    assert found == ONE
    assert found.digest == digest


def test_what_is_put_is_known_at_once(tmp_path: Path) -> None:
    known = KnownTrees(tmp_path / "gitml")
    with Store(tmp_path / "store", known_trees=known).writer() as writer:
        writer.put_tree(ONE)
    assert known.knows(Proof(ONE.digest, arrow.encode(ONE)))


def test_damage_to_a_known_tree_is_noticed(tmp_path: Path) -> None:
    """The bytes are hashed at every reading: a known digest excuses no other bytes."""
    known = KnownTrees(tmp_path / "gitml")
    with Store(tmp_path / "store", known_trees=known).writer() as writer:
        digest: Digest = writer.put_tree(ONE)
    (pack,) = (tmp_path / "store" / "packs").glob("*.pack")
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(raw)
    with pytest.raises(CorruptData):
        Store(tmp_path / "store", known_trees=known).read_tree(digest)
