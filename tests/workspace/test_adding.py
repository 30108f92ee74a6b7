from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitml.entities.pointer import Pointer
from gitml.errors import GitmlError, NameNotFound, StorageError, UsageError
from gitml.fs import ProcessIdentity
from gitml.store.digest import hash_bytes
from gitml.store.store import Writer
from gitml.workspace import survey
from gitml.workspace.statcache import StatCache
from tests.workspace.conftest import Clone, later

ME = ProcessIdentity.current()
DEAD = ProcessIdentity(4_194_303, ME.start, ME.host, ME.boot)


def pointer(clone: Clone, path: str) -> Pointer:
    return Pointer.decode((clone.path / f"{path}.gitml").read_bytes(), path)


def test_a_file_gets_a_pointer_a_line_and_a_place_in_the_index(clone: Clone) -> None:
    clone.write("data/raw.csv", "a,b\n1,2\n")
    (added,) = clone.add("data/raw.csv")
    assert added.pointer == pointer(clone, "data/raw.csv")
    assert added.pointer.digest == hash_bytes(b"a,b\n1,2\n")
    assert added.pointer.kind == "blob"
    assert (clone.path / "data/raw.csv").read_bytes() == b"a,b\n1,2\n"
    assert (clone.path / "data/.gitignore").read_text() == "/raw.csv\n"
    assert (clone.path / ".gitattributes").read_text() == "*.gitml -text merge=gitml diff=gitml\n"
    assert clone.staged() == [".gitattributes", "data/.gitignore", "data/raw.csv.gitml"]
    assert clone.git("status", "--porcelain").count("\n") == 2
    assert clone.differing() == {}


def test_a_folder_is_one_pointer_to_a_tree(clone: Clone) -> None:
    for name in ("a.png", "b/c.png", "b/d.txt"):
        clone.write(f"data/images/{name}", name)
    (clone.path / "data/images/link").symlink_to("b/c.png")
    (clone.path / "data/images/b/d.txt").chmod(0o755)
    (added,) = clone.add("data/images")
    assert (added.pointer.kind, added.files, added.read) == ("tree", 4, 4)
    tree = clone.repo.store.read_tree(added.pointer.digest)
    assert [(one.path, oct(one.mode)) for one in tree.entries] == [
        ("a.png", "0o100644"),
        ("b/c.png", "0o100644"),
        ("b/d.txt", "0o100755"),
        ("link", "0o120000"),
    ]
    assert clone.differing() == {}


def test_only_what_changed_is_read_again(clone: Clone) -> None:
    for n in range(6):
        clone.write(f"data/{n}", f"{n}")
    clone.add("data")
    clone.write("data/1", "other")
    clone.write("data/new", "new")
    (clone.path / "data/2").unlink()
    (clone.path / "data/3").chmod(0o755)
    assert clone.differing() == {"data/1": "M", "data/3": "M", "data/2": "D", "data/new": "A"}
    (added,) = clone.add("data")
    assert (added.files, added.read) == (6, 3)
    again = clone.repo.store.read_tree(added.pointer.digest)
    assert again.get("1").digest == hash_bytes(b"other")
    assert again.get("3").mode == 0o100755
    assert clone.differing() == {}
    (same,) = clone.add("data")
    assert (same.read, same.is_new) == (0, False)


def test_a_store_that_lost_bytes_is_healed_by_adding_again(clone: Clone) -> None:
    import shutil

    clone.write("data/a", "a" * 5000)
    clone.add("data")
    shutil.rmtree(clone.path / ".git/gitml/store")
    clone.add("data")
    (clone.path / "data/a").unlink()
    clone.checkout()
    assert clone.files() == {"data/a": b"a" * 5000}


def test_rehash_reads_everything(clone: Clone) -> None:
    clone.write("data/a", "a")
    clone.add("data")
    (added,) = clone.add("data", rehash=True)
    assert added.read == 1


def test_all_adds_what_differs_and_nothing_else(clone: Clone) -> None:
    clone.write("a.csv", "a")
    clone.write("b.csv", "b")
    clone.add("a.csv", "b.csv")
    clone.write("b.csv", "bb")
    assert [one.path for one in clone.repo.add(everything=True)] == ["b.csv"]
    assert clone.repo.add(everything=True) == []


def test_data_of_an_older_pointer_does_not_undo_what_the_pointer_has(clone: Clone) -> None:
    """After `git pull` without a checkout: to add would take the others' work away."""
    clone.write("data/a", "one")
    clone.add("data")
    clone.commit("one")
    clone.git("branch", "one")
    clone.write("data/b", "two")
    clone.add("data")
    clone.commit("two")
    clone.git("switch", "--quiet", "one")
    clone.checkout()
    clone.git("merge", "--quiet", "main")
    clone.write("data/c", "mine")
    assert clone.repo.add(everything=True) == []
    with pytest.raises(UsageError, match="has moved on since the data was checked out"):
        clone.add("data")
    clone.checkout()
    clone.add("data")
    assert clone.files() == {"data/a": b"one", "data/b": b"two", "data/c": b"mine"}
    clone.add("data", force=True)


def test_other_staged_things_stay_as_they_are(clone: Clone) -> None:
    clone.write("code.py", "x = 1\n")
    clone.git("add", "code.py")
    clone.write("code.py", "x = 2\n")
    clone.write("data/.gitignore", "*.tmp\n")
    clone.git("add", "data/.gitignore")
    clone.write("data/.gitignore", "*.tmp\n*.mine\n")
    clone.write("data/a", "a")
    clone.add("data/a")
    assert clone.git("show", ":code.py") == "x = 1"
    assert clone.git("show", ":data/.gitignore") == "*.tmp\n/a"
    assert (clone.path / "data/.gitignore").read_text() == "*.tmp\n*.mine\n/a\n"


def test_a_dry_run_keeps_nothing(clone: Clone) -> None:
    clone.write("data/a", "a")
    (added,) = clone.add("data/a", dry_run=True)
    assert added.pointer.digest == hash_bytes(b"a")
    assert clone.git("status", "--porcelain").strip() == "?? data/"
    assert not clone.repo.store.has(added.pointer.digest)


def fifo(clone: Clone) -> None:
    os.mkfifo(clone.write("data/a", "").with_name("pipe"))


def device(clone: Clone) -> None:
    clone.write("data/a", "")
    try:
        os.mknod(clone.path / "data/zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


def unix_socket(clone: Clone) -> None:
    clone.write("data/a", "")
    os.chdir(clone.path / "data")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")


def repository(clone: Clone) -> None:
    clone.write("data/a", "")
    clone.git("init", "--quiet", "data/inner")


def twins(clone: Clone) -> None:
    clone.write("data/Readme", "")
    clone.write("data/README", "")


def composed_twins(clone: Clone) -> None:
    """One name for people and for macOS, two for Linux."""
    clone.write("data/caf\u00e9", "")
    clone.write("data/cafe\u0301", "")


def link(clone: Clone) -> None:
    clone.write("there/a", "")
    (clone.path / "data").symlink_to("there")


def escaping_link(clone: Clone) -> None:
    clone.write("data/a", "")
    (clone.path / "data/out").symlink_to("../../etc")


def tracked(clone: Clone) -> None:
    clone.write("data/a", "")
    clone.git("add", "data/a")


def inner_pointer(clone: Clone) -> None:
    clone.write("data/a", "")
    clone.add("data/a")
    clone.git("rm", "--quiet", "--cached", "-r", "data")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (fifo, "it is a named pipe"),
        (unix_socket, "it is a socket"),
        (device, "it is a device"),
        (repository, "is a git repository of its own"),
        (twins, "cannot store the folder"),
        (composed_twins, "cannot store the folder"),
        (link, "is a symbolic link"),
        (escaping_link, "cannot store"),
        (tracked, "is tracked by git already"),
        (inner_pointer, "has a pointer of its own"),
    ],
)
def test_what_can_be_no_data_is_refused_and_leaves_nothing(clone: Clone, make, words) -> None:  # type: ignore[no-untyped-def]
    make(clone)
    before = clone.git("status", "--porcelain")
    with pytest.raises(UsageError, match=words):
        clone.add("data")
    assert clone.git("status", "--porcelain") == before
    assert not (clone.path / "data.gitml").exists()


def test_a_link_to_what_is_not_there_is_kept_as_it_is(clone: Clone) -> None:
    clone.write("data/a", "a")
    for target in ("gone", "sub/gone"):
        (clone.path / f"data/to {target.replace('/', ' ')}").symlink_to(target)
    clone.add("data")
    clone.commit("data")
    shutil.rmtree(clone.path / "data")
    clone.checkout()
    assert os.readlink(clone.path / "data/to gone") == "gone"
    assert os.readlink(clone.path / "data/to sub gone") == "sub/gone"
    assert clone.differing() == {}


def test_links_out_are_refused_before_anything_is_read_with_what_helps(
    clone: Clone, tmp_path: Path
) -> None:
    """An absolute link stopped an add when much was stored, and nothing said what to do."""
    (clone.path / "data/sub").mkdir(parents=True)
    inside, there = clone.write("data/a b", "a"), tmp_path / "there"
    there.write_text("bytes of their own")
    link = clone.path / "data/sub/link"
    for target in (there, tmp_path / "gone", inside):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        before = clone.repo.store.layout.pack_files()
        with pytest.raises(UsageError, match=r"cannot store .*data/sub/link") as caught:
            clone.add("data")
        cause = caught.value.causes()[0]
        assert repr(str(target)) in cause
        assert clone.repo.store.layout.pack_files() == before
        hint = str(caught.value.hint)
        commands = hint.split("`")[1]
        subprocess.run(commands, shell=True, check=True, cwd=clone.path)
        clone.add("data")
        found = {there: b"bytes of their own", inside: b"a"}
        assert (link.read_bytes() if link.exists() else None) == found.get(target)
        assert ("leaves it out" in hint) == (target != inside)
    for name in ("one", "two"):
        (clone.path / f"data/{name}").symlink_to("/etc")
    with pytest.raises(UsageError, match=r"cannot store .*data/one and 1 more"):
        clone.add("data")
    clone.write("data/.gitmlignore", "one\ntwo\n")
    clone.add("data")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "the whole repository"),
        (".git", "is not safe"),
        (".git/config", "is not safe"),
        ("../elsewhere", "outside of the repository"),
        ("data/raw.csv.gitml", "is a pointer"),
        ("data/images/a.png", "inside data/images, which has a pointer"),
        ("data", "has a pointer of its own"),
    ],
)
def test_places_that_can_be_no_data(clone: Clone, path: str, words: str) -> None:
    clone.write("data/raw.csv", "x")
    clone.write("data/images/a.png", "x")
    clone.add("data/raw.csv", "data/images")
    with pytest.raises(UsageError, match=words):
        clone.add(path)


def test_what_is_not_there_is_named(clone: Clone) -> None:
    with pytest.raises(NameNotFound, match="there is no data at nothing"):
        clone.add("nothing")


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b" blank ", b"[a]*?", b"!x", b"#x\r"])
def test_any_name_that_a_file_can_have(clone: Clone, name: bytes) -> None:
    path = os.fsdecode(name)
    clone.write(path, "content")
    clone.write(f"folder/{path}", "more")
    clone.add(path, "folder")
    assert "??" not in clone.git("status", "--porcelain", "--untracked-files=all")
    clone.commit("data")
    assert clone.differing() == {}
    (clone.path / path).unlink()
    (clone.path / "folder" / path).write_bytes(b"changed")
    assert set(clone.differing().values()) <= {"absent", "M"}
    clone.checkout(force=True)
    clone.checkout("folder", force=True)
    assert (clone.path / path).read_bytes() == b"content"
    assert (clone.path / "folder" / path).read_bytes() == b"more"


def test_gitmlignore_leaves_files_out(clone: Clone) -> None:
    clone.write("data/a.png", "a")
    clone.write("data/a.tmp", "t")
    clone.write("data/.gitmlignore", "*.tmp\n")
    (added,) = clone.add("data")
    assert added.files == 2
    clone.write("data/b.tmp", "t")
    assert clone.differing() == {}


def test_gitmlignore_leaves_out_what_could_be_no_data(clone: Clone) -> None:
    for name in ("data/pipe", "data/deep/a.sock", "data/run/x/pipe", "data/odd\nname.fifo"):
        (clone.path / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(clone.path / name)
    clone.write("data/a", "a")
    lines = ["/pipe\n", "run/\n", "*.fifo\n"]
    for missing in lines:
        clone.write("data/.gitmlignore", "".join(one for one in lines if one != missing))
        clone.write("data/deep/.gitmlignore", "*.sock\n")
        with pytest.raises(UsageError, match="named pipe"):
            clone.add("data")
    clone.write("data/.gitmlignore", "".join(lines))
    clone.write("data/deep/.gitmlignore", "# nothing\n")
    with pytest.raises(UsageError, match=r"deep/a\.sock: it is a named pipe") as caught:
        clone.add("data")
    assert ".gitmlignore" in (caught.value.hint or "")
    clone.write("data/deep/.gitmlignore", "*.sock\n")
    clone.add("data")
    tree = clone.repo.store.read_tree(pointer(clone, "data").digest)
    assert [one.path for one in tree.entries] == [".gitmlignore", "a", "deep/.gitmlignore"]
    clone.write("data/b", "b")
    clone.add("data")
    assert clone.differing() == {}
    os.mkfifo(clone.path / "data/other")
    clone.write("data/c", "c")
    with pytest.raises(UsageError, match="data/other: it is a named pipe"):
        clone.add("data")


def test_names_of_every_length_and_folders_of_every_depth(clone: Clone) -> None:
    longest = "n" * 255
    deep = "/".join(["d"] * 300)
    clone.write(f"data/{longest}", "long")
    clone.write(f"data/{'é' * 127}", "long too")
    clone.write(f"data/{deep}/file", "deep")
    clone.write("s" * 249, "its pointer has a name of 255 bytes")
    clone.add("data", "s" * 249)
    clone.commit("data")
    assert clone.differing() == {}
    before = clone.files()
    assert len(before) == 3
    shutil.rmtree(clone.path / "data")
    (clone.path / ("s" * 249)).unlink()
    clone.checkout()
    assert clone.files() == before
    assert clone.differing() == {}
    clone.write("s" * 250, "its pointer would have one of 256")
    with pytest.raises(UsageError, match="too long"):
        clone.add("s" * 250)
    assert clone.git("status", "--porcelain").strip() == f"?? {'s' * 250}"


@contextmanager
def nobody(home: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a user without rights for the length of a block."""
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, home)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_what_may_not_be_read_is_named_and_nothing_is_kept(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    clone.write("data/a", "a")
    clone.write("data/secret", "s")
    clone.write("data/locked/b", "b")
    clone.add("data", dry_run=True)  # nobody may not import what is root's
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        there = Clone(Path(folder) / "clone")
        shutil.copytree(clone.path, there.path, symlinks=True)
        for path in [there.path, *there.path.rglob("*")]:
            os.chown(path, 65534, 65534)
        for name in ("data/locked", "data/secret"):
            (there.path / name).chmod(0)
        with nobody(folder, monkeypatch):
            with pytest.raises(StorageError, match="data/locked"):
                there.add("data")
            there.write("data/.gitmlignore", "locked/\n")
            with pytest.raises(StorageError, match="data/secret"):
                there.add("data")
            assert not (there.path / "data.gitml").exists()
            there.write("data/.gitmlignore", "locked/\nsecret\n")
            (added,) = there.add("data")
            assert added.files == 2
            assert there.differing() == {}


def test_each_linked_worktree_has_its_own_cache(clone: Clone, tmp_path: Path) -> None:
    clone.write("data/a", "a")
    clone.add("data")
    clone.commit("data")
    clone.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    other = Clone(tmp_path / "other")
    assert other.differing() == {"data": "absent"}
    other.checkout()
    other.write("data/a", "b")
    assert other.differing() == {"data/a": "M"}
    assert clone.differing() == {}


def test_two_adds_at_once_both_count(clone: Clone) -> None:
    names = [f"f{n}" for n in range(6)]
    for name in names:
        clone.write(f"data/{name}", name)
    script = "import sys; from pathlib import Path; from gitml.repo import Repo; "
    script += "Repo.discover().add([Path(sys.argv[1])])"
    running = [
        subprocess.Popen([sys.executable, "-c", script, f"data/{name}"], cwd=clone.path)
        for name in names
    ]
    assert [one.wait() for one in running] == [0] * 6
    assert clone.differing() == {}
    assert (clone.path / "data/.gitignore").read_text().split() == [f"/{name}" for name in names]
    assert sorted(StatCache.read(clone.path / ".git/gitml/stat/index").held) == [
        f"data/{name}" for name in names
    ]
    assert len(clone.staged()) == 8


def test_a_lock_of_gits_is_waited_for_and_named(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitml.git.staging._PATIENCE", 0.1)
    clone.write("a", "a")
    clone.write(".git/index.lock", "")
    with pytest.raises(GitmlError, match="git is at work on the index"):
        clone.add("a")
    (clone.path / ".git/index.lock").unlink()
    clone.add("a")
    assert clone.differing() == {}


def test_all_stages_what_an_interrupted_add_left(clone: Clone) -> None:
    """The pointer was written and the data is what it says, but git and the cache do not know."""
    clone.write("data.csv", "1,2\n")
    clone.add("data.csv")
    clone.commit("data")
    cache = clone.path / ".git/gitml/stat/index"
    for before in (None, cache.read_bytes()):
        clone.write("data.csv", "3,4\n" if before is None else "5,6\n")
        clone.add("data.csv")
        clone.git("restore", "--staged", "data.csv.gitml")
        if before is not None:
            cache.write_bytes(before)
        (added,) = clone.repo.add([], everything=True)
        assert not added.is_new
        assert clone.git("diff", "--cached", "--name-only") == "data.csv.gitml"
        assert clone.repo.add([], everything=True) == []


def test_all_leaves_data_of_another_version_alone(clone: Clone) -> None:
    clone.write("data.csv", "1,2\n")
    clone.add("data.csv")
    clone.commit("data")
    other = hash_bytes(b"other")
    clone.write("data.csv.gitml", Pointer(other, "blob", 5).encode())
    assert clone.repo.add([], everything=True) == []


def test_data_that_is_what_its_pointer_says_can_be_added_whatever_the_cache_says(
    clone: Clone,
) -> None:
    clone.write("data.csv", "1,2\n")
    clone.add("data.csv")
    cache = clone.path / ".git/gitml/stat/index"
    before = cache.read_bytes()
    clone.write("data.csv", "3,4\n")
    clone.add("data.csv")
    cache.write_bytes(before)
    (added,) = clone.add("data.csv")
    assert not added.is_new


def test_what_became_a_link_by_being_added_is_not_read_again(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.git("config", "gitml.link", "hardlink")
    clone.write("data/a/one", "one")
    clone.write("data/a/two", "two" * 50_000)
    clone.write("data/single", "single")
    later()
    clone.add("data/a", "data/single")
    clone.write("data/a/three", "three" * 20_000)
    later()
    clone.add("data/a")
    assert (clone.path / "data/a/three").stat().st_nlink == 2
    read: list[str] = []
    monkeypatch.setattr(
        "gitml.workspace.survey.hash_member",
        lambda path, look=survey.hash_member: (read.append(path.name), look(path))[1],
    )
    assert clone.differing() == {}
    assert read == []


@pytest.mark.parametrize("link", ["copy", "hardlink"])
@pytest.mark.parametrize("changed", [False, True])
def test_what_add_does_not_read_again_is_safe_from_gc_meanwhile(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, link: str, changed: bool
) -> None:
    """Only the stat cache knows of this data when gc takes all that nothing names."""
    clone.git("config", "gitml.link", link)
    clone.write("data/one.txt", "one")
    clone.write("data/large.bin", "two" * 100_000)
    clone.write("single.csv", "1,2\n")
    later()
    clone.add("data", "single.csv")
    clone.git("rm", "--quiet", "--cached", "data.gitml", "single.csv.gitml")
    for name in ("data.gitml", "single.csv.gitml"):
        (clone.path / name).unlink()
    for path in (clone.path / ".git/gitml/store").rglob("*"):
        if path.is_file() and path.suffix in (".pack", ".idx"):
            os.utime(path, (1, 1))
    if changed:
        clone.write("data/two.txt", "two")
    real = Writer.commit

    def commit(writer: Writer) -> None:
        clone.repo.gc(prune="now")
        real(writer)

    monkeypatch.setattr(Writer, "commit", commit)
    clone.add("data", "single.csv")
    monkeypatch.undo()
    shutil.rmtree(clone.path / "data")
    (clone.path / "single.csv").unlink()
    clone.checkout("data", "single.csv")
    assert (clone.path / "data/one.txt").read_text() == "one"
    assert (clone.path / "data/large.bin").read_text() == "two" * 100_000
    assert (clone.path / "single.csv").read_text() == "1,2\n"
    assert list(clone.repo.store.check()) == []


def test_what_dead_processes_left_unfinished_is_no_data(clone: Clone) -> None:
    """A power cut in a checkout leaves such files and folders between the user's."""
    clone.write("data/one.txt", "one")
    clone.write("single.csv", "1,2\n")
    before = ProcessIdentity(ME.pid, ME.start, ME.host, "00000000-0000-0000-0000-000000000000.1")
    names = [f".gitml-{one.to_text()}+ff.tmp" for one in (DEAD, before, ProcessIdentity.current())]
    for name in names:
        clone.write(f"data/{name}", "half")
        clone.write(f"data/deep/{name}/sub/file.txt", "whole, and in no place yet")
        clone.write(name, "half of a pointer")
        for path in clone.path.rglob(name):
            os.utime(path, (1, 1))
    (added, _) = clone.add("data", "single.csv")
    assert added.files == 1
    assert clone.differing() == {}
    clone.write("data/two.txt", "two")
    assert clone.differing() == {"data/two.txt": "A"}
    clone.add("data")
    tree = clone.repo.store.read_tree(pointer(clone, "data").digest)
    assert [one.path for one in tree.entries] == ["one.txt", "two.txt"]
    # Beside what add writes it removes those of the dead.
    assert {name for name in names if (clone.path / name).exists()} == {names[2]}
    assert len(clone.repo.workspace.unfinished()) == 7
    assert all((clone.path / "data" / name).exists() for name in names)
    (finding, *_) = [one for one in clone.repo.doctor(fix=True) if "unfinished" in one.says]
    assert finding.mended == "Removed 4 unfinished files and folders"
    assert {path.name for path in clone.repo.workspace.unfinished()} == {names[2]}
    assert len(clone.repo.workspace.unfinished()) == 3
    assert not any("unfinished" in one.says for one in clone.repo.doctor())
