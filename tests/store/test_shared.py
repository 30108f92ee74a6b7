"""A store that many users of a machine share, and one that is not there."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitml.errors import CorruptData, MissingBytes, StorageError
from gitml.fs import ProcessIdentity
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes
from gitml.store.store import LARGE, Store, TreeEntry

GROUP = 54_100
ANNA, BERT = 54_101, 54_102
NOISE = os.urandom(LARGE)


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder made for a group, as an administrator makes it, and homes of two users beside it."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    (base / "store").mkdir()
    os.chown(base / "store", 0, GROUP)
    (base / "store").chmod(0o2770)
    for user in (ANNA, BERT):
        (base / str(user)).mkdir()
        os.chown(base / str(user), user, user)
    yield base
    shutil.rmtree(base)


def act(user: int, action: Callable[[], object]) -> None:
    """Do something as a user of the group with a strict umask; fails if it raises."""
    with tempfile.TemporaryDirectory() as scratch:
        use_everything(Path(scratch))  # what is imported lazily may lie where the user cannot read
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        problem = b""
        try:
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            os.umask(0o077)
            action()
        except BaseException as error:
            problem = repr(error).encode()
        os.write(writing, problem or b"fine")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    assert answer == b"fine", answer.decode()


def use_everything(base: Path) -> None:
    (base / "1").mkdir()
    put(base, "a", NOISE, 1)
    store = Store(base / "store", link="hardlink")
    store.restore(base, [TreeEntry("out", trees.REGULAR, len(NOISE), hash_bytes(NOISE))])
    "x".encode("ascii")
    assert list(store.check()) == store.recover() == []


def put(base: Path, name: str, data: bytes, user: int) -> None:
    path = base / str(user) / name
    path.write_bytes(data)
    with Store(base / "store", link="hardlink").writer() as writer:
        writer.put_file(path)
        writer.put_bytes(data[:100])


def test_users_of_a_group_share_a_store(common: Path) -> None:
    act(ANNA, lambda: put(common, "a", NOISE, ANNA))
    act(BERT, lambda: put(common, "b", NOISE[1:], BERT))

    def read_all() -> None:
        store = Store(common / "store")
        for data in (NOISE, NOISE[1:], NOISE[:100], NOISE[1:101]):
            assert store.read(hash_bytes(data)) == data
        assert list(store.check()) == []

    act(ANNA, read_all)
    act(BERT, read_all)
    for path in (common / "store").rglob("*"):
        status = path.stat()
        assert status.st_gid == GROUP, path
        wanted = 0o2770 if path.is_dir() else 0o440
        assert stat.S_IMODE(status.st_mode) == wanted, path


def test_users_may_rely_on_the_same_where_each_removes_only_their_own(common: Path) -> None:
    """A sticky folder: the second user could not renew the note of the first, so gc saw no use."""
    (common / "store").chmod(0o3770)
    for name in ("one", "two"):
        act(ANNA, lambda name=name: put(common, name, NOISE, ANNA))
    notes = list((common / "store").rglob("*.used"))
    assert {note.stat().st_uid for note in notes} == {ANNA}
    for note in notes:
        os.utime(note, (0, 0))
    act(BERT, lambda: put(common, "two", NOISE, BERT))
    assert all(note.stat().st_mtime > 0 for note in notes)


def test_a_link_is_never_shared_between_users(common: Path) -> None:
    act(ANNA, lambda: put(common, "a", NOISE, ANNA))
    digest = hash_bytes(NOISE)
    loose = Store(common / "store").layout.loose(digest)
    assert loose.samefile(common / str(ANNA) / "a")

    def restore(user: int, nlink: int) -> None:
        store = Store(common / "store", link="hardlink")
        entry = TreeEntry("out", trees.REGULAR, len(NOISE), digest)
        (status,) = store.restore(common / str(user), [entry])
        assert (status.st_nlink, status.st_uid) == (nlink, user)

    act(BERT, lambda: restore(BERT, 1))
    act(ANNA, lambda: restore(ANNA, 3))


def test_what_another_user_changes_is_noticed(common: Path) -> None:
    act(ANNA, lambda: put(common, "a", NOISE, ANNA))
    digest = hash_bytes(NOISE)

    def tamper() -> None:
        path = common / str(ANNA) / "a"
        status = path.stat()
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.write(b"!")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the seal looks whole
        path.chmod(0o444)

    def meet() -> None:
        store = Store(common / "store", link="hardlink")
        entry = TreeEntry("out", trees.REGULAR, len(NOISE), digest)
        with pytest.raises(CorruptData):
            store.restore(common / str(BERT), [entry])
        put(common, "again", NOISE, BERT)
        Store(common / "store", link="hardlink").restore(common / str(BERT), [entry])

    act(ANNA, tamper)
    act(BERT, meet)
    assert (common / str(BERT) / "out").read_bytes() == NOISE


def test_what_another_user_left_unfinished_is_left_to_them(common: Path) -> None:
    act(ANNA, lambda: put(common, "a", NOISE, ANNA))
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    path = common / f"store/tmp/{dead}+00000000+{hash_bytes(b'x').hex}.loose"
    path.write_bytes(b"x")
    os.chown(path, ANNA, GROUP)
    path.chmod(0o444)
    act(BERT, lambda: Store(common / "store").recover())
    assert path.exists()
    act(ANNA, lambda: Store(common / "store").recover())
    assert not path.exists()
    assert Store(common / "store").read(hash_bytes(b"x")) == b"x"


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_store_that_is_not_there_is_never_made_again(tmp_path: Path, is_empty: bool) -> None:
    root = tmp_path / "mounted/store"
    with Store(root).writer() as writer:
        digest = writer.put_bytes(b"data")
    root.rename(tmp_path / "away")
    if is_empty:
        root.mkdir()
    before = sorted(tmp_path.rglob("*"))

    def write(store: Store) -> None:
        with store.writer() as writer:
            writer.put_bytes(b"more")

    for ask in (
        lambda store: store.has(digest),
        lambda store: store.read(digest),
        lambda store: list(store.check()),
        lambda store: store.recover(),
        lambda store: store.restore(tmp_path, [TreeEntry("out", trees.REGULAR, 4, digest)]),
        write,
    ):
        with pytest.raises(StorageError, match="is not there"):
            ask(Store(root, is_known=True))
    assert sorted(tmp_path.rglob("*")) == before
    if is_empty:
        root.rmdir()
    (tmp_path / "away").rename(root)
    assert Store(root, is_known=True).read(digest) == b"data"
    with pytest.raises(MissingBytes):
        Store(tmp_path / "new").read(digest)
