"""Bytes: before the records, nothing else than what is needed, and never believed unverified."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.errors import ConfigError, CorruptData, MissingBytes, StorageError
from gitml.remotes.base import Content, Remote
from gitml.remotes.folder import FolderRemote
from gitml.remotes.layers import Counted, Layer
from gitml.store.codec import MAX_WHOLE
from gitml.store.store import Store, Tree, TreeEntry
from gitml.store.tree import REGULAR
from gitml.sync.catalogue import Catalogue, Sheet, Whereabouts
from gitml.sync.download import Downloader
from gitml.sync.needs import Need
from gitml.sync.pushing import Plan
from gitml.sync.upload import Uploader
from tests.sync.conftest import Team

NOISE = random.Random(7)


@pytest.fixture
def bob(tmp_path: Path) -> Store:
    return Store(tmp_path / "bob", link="copy")


@pytest.fixture
def alice(tmp_path: Path) -> Store:
    return Store(tmp_path / "alice", link="copy")


@pytest.fixture
def remote(tmp_path: Path) -> Counted:
    (tmp_path / "lake").mkdir()
    return Counted(FolderRemote(tmp_path / "lake"))


def put(store: Store, *blobs: bytes) -> list[Digest]:
    with store.writer() as writer:
        return [writer.put_bytes(one) for one in blobs]


def put_tree(store: Store, files: dict[str, bytes]) -> Digest:
    with store.writer() as writer:
        entries = [
            TreeEntry(name, REGULAR, len(data), writer.put_bytes(data))
            for name, data in sorted(files.items())
        ]
        return writer.put_tree(Tree.of(entries))


def needs(*digests: Digest, kind: str = "blob") -> dict[Digest, Need]:
    return {one: Need(one, kind, 0, "x") for one in digests}


def send(store: Store, remote: Counted, folder: Path, wanted: dict[Digest, Need]) -> int:
    uploader = Uploader(store, Catalogue(remote, folder))
    return uploader.send(uploader.missing(wanted)).size


def bring(store: Store, remote: Counted, folder: Path, *digests: Digest) -> set[Digest]:
    return Downloader(store, Catalogue(remote, folder)).bring(digests)


def contents(lake: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file())


def test_what_was_sent_comes(bob: Store, alice: Store, remote: Counted, tmp_path: Path) -> None:
    small, large = b"small" * 100, NOISE.randbytes(3 << 20)
    empty, first, second = put(bob, b"", small, large)
    send(bob, remote, tmp_path / "b", needs(empty, first, second))
    assert bring(alice, remote, tmp_path / "a", empty, first, second) == set()
    assert [alice.read(one) for one in (empty, first, second)] == [b"", small, large]
    assert list(alice.check()) == []
    assert [path.name for path in (tmp_path / "alice/tmp").iterdir()] == []


def test_a_whole_pack_goes_and_comes_as_it_is(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    digests = put(bob, *(NOISE.randbytes(5000) for _ in range(20)))
    send(bob, remote, tmp_path / "b", needs(*digests))
    bring(alice, remote, tmp_path / "a", *digests)
    assert [one.path.name for one in alice.packs()] == [one.path.name for one in bob.packs()]


def test_nothing_is_sent_twice(bob: Store, remote: Counted, tmp_path: Path) -> None:
    digests = put(bob, b"one" * 50, b"two" * 50)
    assert send(bob, remote, tmp_path / "b", needs(*digests)) > 0
    calls = dict(remote.counts.calls)
    assert send(bob, remote, tmp_path / "b", needs(*digests)) == 0
    assert remote.counts.calls == calls  # it is remembered
    assert send(bob, remote, tmp_path / "other", needs(*digests)) == 0
    assert "list" not in remote.counts.calls


def test_other_bytes_of_a_pack_stay_at_home(bob: Store, remote: Counted, tmp_path: Path) -> None:
    secret = b"an experiment that is nobody's business "
    wanted, _ = put(bob, b"to be shared", secret)
    send(bob, remote, tmp_path / "b", needs(wanted))
    assert b"to be shared" in contents(tmp_path / "lake")
    assert secret not in contents(tmp_path / "lake")


def test_what_is_in_an_earlier_part_of_a_pack_is_not_sent_again(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    one, two, _ = put(bob, *(NOISE.randbytes(90_000) for _ in range(3)))
    send(bob, remote, tmp_path / "b", needs(one))
    assert send(bob, remote, tmp_path / "b", needs(one, two)) < 120_000
    bring(alice, remote, tmp_path / "a", one, two)
    assert alice.read(two) == bob.read(two)


def test_a_tree_comes_with_its_files_in_two_looks(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    files = {f"{number:03}": NOISE.randbytes(400) for number in range(50)}
    digest = put_tree(bob, files)
    send(bob, remote, tmp_path / "b", needs(digest, kind="tree"))
    bring(alice, remote, tmp_path / "a", digest)
    tree = alice.read_tree(digest)
    bring(alice, remote, tmp_path / "a", *(entry.digest for entry in tree.entries))
    assert [alice.read(entry.digest) for entry in tree.entries] == list(files.values())


def test_one_of_many_comes_by_ranges(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    digests = put(bob, *(NOISE.randbytes(300_000) for _ in range(20)))
    send(bob, remote, tmp_path / "b", needs(*digests))
    remote.counts.received = 0
    bring(alice, remote, tmp_path / "a", digests[11])
    assert alice.read(digests[11]) == bob.read(digests[11])
    assert remote.counts.received < 400_000
    assert not alice.has(digests[12])
    assert list(alice.check()) == []


def test_large_files_that_differ_little_come_with_their_bases(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    rows = [f"{number},{number * 7 % 1000},{number * number % 977}\n" for number in range(150_000)]
    old = "".join(rows).encode()
    rows[::97] = [f"changed,{number}\n" for number in range(len(rows[::97]))]
    new = "".join(rows).encode()
    digests = []
    for name, data in (("old", old), ("new", new)):
        (tmp_path / name).write_bytes(data)
        with bob.writer() as writer:
            digests.append(writer.put_file(tmp_path / name)[0])
    bob.maintain([(digests[0], digests[1])])
    assert any(pack.has_bases() for pack in bob.packs())
    send(bob, remote, tmp_path / "b", needs(digests[1]))
    bring(alice, remote, tmp_path / "a", digests[1])
    assert alice.read(digests[1]) == new
    send(bob, remote, tmp_path / "b", needs(*digests))
    bring(alice, remote, tmp_path / "a", *digests)
    assert alice.read(digests[0]) == old


def test_a_large_loose_file_goes_in_parts(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    data = NOISE.randbytes(20 << 20)
    (tmp_path / "large").write_bytes(data)
    with bob.writer() as writer:
        digest, _ = writer.put_file(tmp_path / "large")
    send(bob, remote, tmp_path / "b", needs(digest))
    assert len(list((tmp_path / "lake/parts").rglob("*/*"))) == 2
    assert bring(alice, remote, tmp_path / "a", digest) == set()
    assert alice.read(digest) == data
    assert list((tmp_path / "alice/tmp").iterdir()) == []


def test_a_blob_in_one_chunk_too_long_to_be_decoded_at_once_goes(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path
) -> None:
    """A forest of 16 MB that packs to 3, say, is a single chunk; it is not for that damaged."""
    data = NOISE.randbytes(1000) * (MAX_WHOLE // 1000 + 1000)
    [digest] = put(bob, data)
    [pack] = bob.packs()
    assert [row.plain > MAX_WHOLE for _, row in pack.tables.chunks()] == [True]
    assert send(bob, remote, tmp_path / "b", needs(digest)) < len(data)
    assert bring(alice, remote, tmp_path / "a", digest) == set()
    assert alice.read(digest) == data


class Interrupted(Exception):
    pass


class Breaking(Layer):
    """A remote that breaks off for good after some calls that move a part."""

    def __init__(self, inner: Remote, calls: int) -> None:
        super().__init__(inner)
        self._left = calls

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Interrupted

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._count()
        return super().get_range(key, start, length)

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        self._count()
        super().put(key, content, create=create)


def test_a_download_goes_on_where_it_was_broken_off(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitml.sync.catalogue.PART", 1 << 16)
    monkeypatch.setattr("gitml.sync.upload.PART", 1 << 16)
    monkeypatch.setattr("gitml.sync.download.PART", 1 << 16)
    digests = put(bob, *(NOISE.randbytes(10_000) for _ in range(100)))
    send(bob, remote, tmp_path / "b", needs(*digests))
    parts = len(list((tmp_path / "lake/parts").rglob("*/*")))
    with pytest.raises(Interrupted):
        Downloader(alice, Catalogue(Breaking(remote, 9), tmp_path / "a")).bring(digests)
    assert not any(map(alice.has, digests))
    remote.counts.calls.clear()
    bring(alice, remote, tmp_path / "a", *digests)
    assert remote.counts.calls["get_range"] == parts - 9
    assert all(map(alice.has, digests))
    assert list((tmp_path / "alice/tmp").iterdir()) == []


def test_a_disk_that_fails_while_more_is_brought_is_heard(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush that was begun beforehand took the system's only word of it.

    What has arrived is not believed any more.
    """
    monkeypatch.setattr("gitml.sync.catalogue.PART", 1 << 16)
    monkeypatch.setattr("gitml.sync.upload.PART", 1 << 16)
    monkeypatch.setattr("gitml.sync.download.PART", 1 << 16)
    digests = put(bob, *(NOISE.randbytes(10_000) for _ in range(100)))
    send(bob, remote, tmp_path / "b", needs(*digests))

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageError, match="incoming"):
            bring(alice, remote, tmp_path / "a", *digests)
    assert alice.absent(digests) == digests
    assert list((tmp_path / "alice/tmp").iterdir()) == []
    bring(alice, remote, tmp_path / "a", *digests)
    assert [alice.read(one) for one in digests] == [bob.read(one) for one in digests]


def test_an_upload_goes_on_where_it_was_broken_off(
    bob: Store, remote: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitml.sync.catalogue.PART", 1 << 16)
    monkeypatch.setattr("gitml.sync.upload.PART", 1 << 16)
    digests = put(bob, *(NOISE.randbytes(10_000) for _ in range(100)))
    with pytest.raises(Interrupted):
        Uploader(bob, Catalogue(Breaking(remote, 9), tmp_path / "b")).send(needs(*digests))
    assert not (tmp_path / "lake/where").exists()
    whole = bob.packs()[0].path.stat().st_size
    assert send(bob, remote, tmp_path / "b", needs(*digests)) == whole - 8 * (1 << 16)
    assert Catalogue(remote, tmp_path / "c").holds(digests) == set(digests)


@pytest.mark.parametrize("how", ["flipped", "cut", "padded", "swapped", "gone"])
@pytest.mark.parametrize("what", ["parts", "packs", "where"])
def test_wrong_bytes_of_a_remote_are_not_kept(
    bob: Store, alice: Store, remote: Counted, tmp_path: Path, what: str, how: str
) -> None:
    digests = put(bob, *(NOISE.randbytes(5000) for _ in range(4)))
    send(bob, remote, tmp_path / "b", needs(*digests))
    others = put(Store(tmp_path / "carol"), NOISE.randbytes(5000))
    send(Store(tmp_path / "carol"), remote, tmp_path / "c", needs(*others))
    honest = tmp_path / "honest"
    shutil.copytree(tmp_path / "lake", honest)
    files = [one for one in sorted((tmp_path / "lake" / what).rglob("*")) if one.is_file()]
    for file in files:
        file.chmod(0o644)
        data = file.read_bytes()
        if how == "gone":
            file.unlink()
        elif how == "swapped":
            file.write_bytes(next(one for one in files if one != file).read_bytes()[:-1] + b"!")
        else:
            middle = len(data) // 2
            wrong = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            file.write_bytes({"flipped": wrong, "cut": data[:-1], "padded": data + b"x"}[how])
    try:
        absent = bring(alice, remote, tmp_path / "a", *digests)
    except (CorruptData, MissingBytes) as error:
        absent = set()
        assert any(one in error.message for one in ("parts/", "packs/", "where/", "blake3:"))
        assert not any(map(alice.has, digests))
    else:  # a part that is longer is read as far as it should go
        held = set(filter(alice.has, digests))
        assert held | absent == set(digests)
    for one in filter(alice.has, digests):
        assert alice.read(one) == bob.read(one)
    shutil.rmtree(tmp_path / "lake")
    honest.rename(tmp_path / "lake")
    shutil.rmtree(tmp_path / "a", ignore_errors=True)
    bring(alice, remote, tmp_path / "a", *digests)
    assert [alice.read(one) for one in digests] == [bob.read(one) for one in digests]
    assert list(alice.check()) == []


@pytest.mark.parametrize("times", [1, MAX_WHOLE // 5000 + 1])
def test_damage_here_is_not_sent(bob: Store, remote: Counted, tmp_path: Path, times: int) -> None:
    digests = put(bob, *(NOISE.randbytes(5000) * times for _ in range(4)))
    (pack,) = bob.packs()
    pack.path.chmod(0o644)
    data = bytearray(pack.path.read_bytes())
    data[2000] ^= 1
    pack.path.write_bytes(data)
    with pytest.raises(CorruptData, match="nothing was sent"):
        send(Store(bob.root), remote, tmp_path / "b", needs(*digests))
    assert not (tmp_path / "lake/parts").exists()


def test_a_remote_of_a_later_version_is_refused(
    bob: Store, remote: Counted, tmp_path: Path
) -> None:
    (digest,) = put(bob, b"x")
    remote.put("format", b"gitml-remote 2\n")
    with pytest.raises(Exception, match="gitml-remote 2"):
        send(bob, remote, tmp_path / "b", needs(digest))


def test_what_is_written_is_read() -> None:
    where = Whereabouts(("0" * 64, "1" * 64), (Digest("2" * 64),))
    assert Whereabouts.decode(where.encode(), "x") == where
    for bad in (b"", b"{}", b'{"format": 2, "packs": []}', b'{"format": 1, "packs": ["../x"]}'):
        with pytest.raises(CorruptData):
            Whereabouts.decode(bad, "x")
    for bad in (b"", b'{"format": 1, "length": 5, "parts": []}\n', b'{"format": 1}\n'):
        with pytest.raises(CorruptData):
            Sheet.decode(bad, "x")


# With records


def test_bytes_are_there_before_the_records(team: Team) -> None:
    team.bob.run()
    shutil.rmtree(team.lake)
    with pytest.raises(Exception, match=r"lake"):
        team.bob.repo().push()
    assert team.server.refs() == {}
    team.lake.mkdir()
    plan = team.bob.repo().push()
    assert plan.sent > 0
    assert team.server.refs()


def test_without_a_remote_for_bytes_only_what_needs_none_goes(team: Team) -> None:
    text = (team.bob.path / "gitml.toml").read_text().partition("[remotes")[0]
    team.bob.code("gitml.toml", text)
    assert team.bob.repo().push().branches == ["main"]
    team.bob.run()
    with pytest.raises(ConfigError, match="no remote for bytes") as caught:
        team.bob.repo().push()
    assert "gitml remote add" in (caught.value.hint or "")


def test_no_yes_is_asked_for_where_bytes_have_no_place_to_go(team: Team) -> None:
    text = (team.bob.path / "gitml.toml").read_text().partition("[remotes")[0]
    team.bob.code("gitml.toml", text)
    team.bob.repo().push()
    source = (team.bob.path / "pipelines/training.py").read_text()
    team.bob.code("pipelines/training.py", source + "# x\n", None)
    team.bob.run()
    asked: list[Plan] = []
    with pytest.raises(ConfigError, match="no remote for bytes"):
        team.bob.repo().push(confirm=asked.append)
    assert asked == []


def test_an_experiment_publishes_no_bytes(team: Team) -> None:
    team.bob.repo().save(b"kept at home " * 20, "own")
    run = team.bob.run()
    assert run.model_version is not None
    team.bob.repo().push([run.model_version.label])
    assert b"kept at home" not in contents(team.lake)


def test_data_that_was_pushed_by_plain_git_is_mended_by_a_push(team: Team) -> None:
    team.bob.write("data/big.csv", "a,b\n" * 100)
    team.bob.repo().add([team.bob.path / "data/big.csv"])
    team.bob.commit("data")
    team.bob.git("push", "--quiet", "origin", "main")
    alice = team.clone("alice")
    with pytest.raises(MissingBytes, match="big"):
        alice.repo().pull()
    assert not (alice.path / "data/big.csv").exists()
    assert alice.repo().push().lost == ["data/big.csv"]
    assert team.bob.repo().push().sent > 0
    alice.repo().pull()
    assert (alice.path / "data/big.csv").read_text() == "a,b\n" * 100


@pytest.mark.parametrize("how", ["emptied", "emptied and used by others", "an older copy"])
def test_a_push_notices_that_the_remote_was_wiped(team: Team, tmp_path: Path, how: str) -> None:
    """Nobody has told this clone: it believes what it remembers, but not without a look."""
    older = tmp_path / "older"
    team.bob.repo().push()
    shutil.copytree(team.lake, older)
    team.bob.run()
    team.bob.repo().push()
    assert team.bob.repo().push().sent == 0
    shutil.rmtree(team.lake)
    shutil.copytree(older, team.lake) if how == "an older copy" else team.lake.mkdir()
    if how == "emptied and used by others":
        others = Store(tmp_path / "others")
        digests = put(others, b"of others")
        send(others, Counted(FolderRemote(team.lake)), tmp_path / "o", needs(*digests))
    assert team.bob.repo().push().sent > 0
    alice = team.clone("alice")
    alice.repo().fetch()
    assert alice.repo().artifact("clf@v1:model").load() == {"weights": [1.0, 2.0, 3.0]}


def test_a_look_at_what_is_remembered_is_one_question(
    bob: Store, remote: Counted, tmp_path: Path
) -> None:
    digests = put(bob, *(b"%d" % number for number in range(100)))
    send(bob, remote, tmp_path / "b", needs(*digests))
    remote.counts.calls.clear()
    catalogue = Catalogue(remote, tmp_path / "b")
    catalogue.doubt()
    assert dict(remote.counts.calls) == {"stat": 1}
    assert catalogue.holds(digests) == set(digests)
    assert dict(remote.counts.calls) == {"stat": 1}


def test_what_is_remembered_of_a_remote_that_is_away_stays(
    bob: Store, remote: Counted, tmp_path: Path
) -> None:
    digests = put(bob, b"x")
    send(bob, remote, tmp_path / "b", needs(*digests))
    (tmp_path / "lake").rename(tmp_path / "unmounted")
    catalogue = Catalogue(remote, tmp_path / "b")
    catalogue.doubt()
    assert catalogue.holds(digests) == set(digests)
