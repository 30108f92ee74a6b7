"""A commit in which pointer and data do not agree, or data gets into git, is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gitml.entities.pointer import Pointer
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.hooks import pointers
from gitml.hooks.staged import Finding, Staged
from gitml.repo import Repo
from gitml.store.store import Store
from gitml.testing.sealed import GitRepository, Project
from gitml.workspace.workingtree import WorkingTree


@pytest.fixture
def store(git_repository: GitRepository) -> Store:
    return Store(git_repository.path / ".git" / "gitml" / "store")


@pytest.fixture
def odb(git_repository: GitRepository) -> Iterator[Odb]:
    opened = Odb(Git.discover(git_repository.path))
    yield opened
    opened.close()


def add(repository: GitRepository, store: Store, name: str, data: bytes) -> Pointer:
    """Store data, and stage its pointer."""
    repository.write(name, data)
    with store.writer() as writer:
        digest = writer.put_bytes(data)
    pointer = Pointer(digest, "blob", len(data))
    repository.write(f"{name}.gitml", pointer.encode())
    repository.git("add", f"{name}.gitml")
    return pointer


def check(
    repository: GitRepository, odb: Odb, store: Store, limit: int = 1000, **options: object
) -> list[Finding]:
    git = Git.discover(repository.path)
    staged = Staged(git, odb, **options)  # type: ignore[arg-type]
    return list(pointers.check(staged, lambda: WorkingTree(git, lambda: store), limit))


def test_a_pointer_whose_bytes_are_stored_passes(
    git_repository: GitRepository, odb: Odb, store: Store
) -> None:
    add(git_repository, store, "data/raw.csv", b"1,2\n")
    git_repository.write("code.py", "x = 1\n")
    git_repository.git("add", "code.py")
    assert check(git_repository, odb, store) == []
    (git_repository.path / "data" / "raw.csv").unlink()
    assert check(git_repository, odb, store) == []


def test_code_alone_opens_no_store(git_repository: GitRepository, odb: Odb) -> None:
    def never() -> WorkingTree:
        raise AssertionError("no pointer asked for it")

    git_repository.write("code.py", "x = 1\n")
    git_repository.git("add", ".")
    staged = Staged(Git.discover(git_repository.path), odb)
    assert list(pointers.check(staged, never, 1000)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<<<<<<< HEAD\n", "a pointer begins with the line"),
        ("gitml 1\n<<<<<<< HEAD\ndigest x\n", "line 2 is a merge conflict marker"),
        ("gitml 1\nkind blob\nsize 1\n", "the line `digest` is missing"),
        ("gitml 2\n", "a pointer of format 2"),
        ("x" * 70_000, "too large for a pointer"),
        ("\udcff", "not a pointer"),
    ],
)
def test_a_pointer_that_does_not_parse_is_named(
    git_repository: GitRepository, odb: Odb, store: Store, text: str, what: str
) -> None:
    git_repository.write("a.gitml", text.encode("utf-8", "surrogateescape"))
    git_repository.git("add", ".")
    (found,) = check(git_repository, odb, store)
    assert found.path == "a.gitml"
    assert what in found.what
    git_repository.git("commit", "--quiet", "--message", "it went in")
    assert check(git_repository, odb, store) == []
    assert len(check(git_repository, odb, store, names=["a.gitml"])) == 1


def test_a_pointer_that_is_a_link_is_named(
    git_repository: GitRepository, odb: Odb, store: Store
) -> None:
    (git_repository.path / "a.gitml").symlink_to("elsewhere")
    git_repository.git("add", ".")
    assert [one.what for one in check(git_repository, odb, store)] == [
        "a pointer is a regular file"
    ]


def test_bytes_that_nobody_stored_are_named_with_the_command(
    git_repository: GitRepository, odb: Odb, store: Store
) -> None:
    add(git_repository, store, "a b.csv", b"1\n")
    other = Store(git_repository.path / ".git" / "other")
    (found,) = check(git_repository, odb, other)
    assert (found.path, found.what) == ("a b.csv.gitml", "the store has not the bytes")
    assert found.repair == "gitml add 'a b.csv'"
    (git_repository.path / "a b.csv").unlink()
    (found,) = check(git_repository, odb, other)
    assert found.repair == "gitml pull"


def test_bytes_may_be_elsewhere_where_the_pointer_is_not_this_commits(
    git_repository: GitRepository, odb: Odb, store: Store
) -> None:
    add(git_repository, store, "a", b"1")
    git_repository.commit()
    git_repository.git("branch", "before", "HEAD")
    add(git_repository, store, "b", b"2")
    git_repository.commit()
    git_repository.git("switch", "--quiet", "--detach", "before")
    git_repository.write("c", "c")
    git_repository.commit()
    git_repository.git("merge", "--quiet", "--no-commit", "main")
    other = Store(git_repository.path / ".git" / "other")
    names = ["a.gitml", "b.gitml"]
    assert check(git_repository, odb, other) == []
    assert check(git_repository, odb, other, names=names) == []
    git_repository.git("commit", "--quiet", "--message", "merged")
    assert check(git_repository, odb, other, names=names, since="HEAD~1") == []


@pytest.mark.parametrize("change", [b"1,2,3", b"9,9\n"])
def test_data_that_is_not_what_its_pointer_says_is_named(
    git_repository: GitRepository, odb: Odb, store: Store, change: bytes
) -> None:
    add(git_repository, store, "raw.csv", b"1,2\n")
    git_repository.write("raw.csv", change)
    (found,) = check(git_repository, odb, store)
    assert (found.path, found.repair) == ("raw.csv", "gitml add raw.csv")


def test_data_that_a_pointer_covers_stays_out_of_git(
    git_repository: GitRepository, odb: Odb, store: Store
) -> None:
    add(git_repository, store, "raw.csv", b"1")
    folder = git_repository.write("images/deep/a.png", b"png").parents[1]
    with store.writer() as writer:
        digest, size = writer.put_directory(folder)
    git_repository.write("images.gitml", Pointer(digest, "tree", size).encode())
    git_repository.write("images-of-code/a.png", b"png")
    git_repository.git("add", "--force", ".")
    found = {one.path: one for one in check(git_repository, odb, store)}
    assert set(found) == {"raw.csv", "images/deep/a.png"}
    assert "images.gitml stands for it" in found["images/deep/a.png"].what
    assert found["raw.csv"].repair == "git rm --cached raw.csv"


def test_files_over_the_limit_stay_out_of_git(
    git_repository: GitRepository, odb: Odb, store: Store
) -> None:
    git_repository.write("old.bin", b"x" * 5000)
    git_repository.commit()
    git_repository.write("new file.bin", b"x" * 1001)
    git_repository.write("small.bin", b"x" * 1000)
    git_repository.git("add", ".")
    (found,) = check(git_repository, odb, store)
    assert found.path == "new file.bin"
    assert found.repair == "git rm --cached 'new file.bin' && gitml add 'new file.bin'"
    assert check(git_repository, odb, store, names=["old.bin", "small.bin"]) == []
    assert check(git_repository, odb, store, limit=1001) == []
    git_repository.write("old.bin", b"x" * 6000)
    git_repository.git("add", ".")
    assert [one.path for one in check(git_repository, odb, store)] == ["new file.bin", "old.bin"]


def test_the_files_of_a_folder_are_known_without_reading_them(project: Project) -> None:
    project.write("images/a.png", "a")
    project.write("images/b.png", "b")
    repo = Repo.discover(project.path)
    folder = project.path / "images"

    def found() -> list[tuple[str, str | None]]:
        staged = Staged(repo.git, repo.odb)
        findings = pointers.check(staged, lambda: repo.workspace, 1000)
        return [(one.path, one.repair) for one in findings]

    repo.add([folder])
    assert found() == []
    project.write("images/c.png", "c")
    assert found() == [("images", "gitml add images")]
    first = (project.path / "images.gitml").read_bytes()
    repo.add([folder])
    assert found() == []
    project.write("images.gitml", first)
    project.git("add", "images.gitml")
    assert found() == [("images", "gitml checkout images")]
    repo.checkout([folder])
    assert found() == []
    assert not (folder / "c.png").exists()
    (folder / "a.png").write_text("painted over")
    assert found() == [("images", "gitml add images")]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert found() == []
    repo.close()
