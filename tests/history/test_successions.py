"""Which bytes came after which, as git and the records tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.entities.ids import Digest
from gitml.entities.pointer import Pointer
from gitml.repo import Repo
from gitml.store.digest import hash_bytes
from gitml.testing.sealed import GitRepository
from tests.workshop import Workshop


class Data:
    """A repository with pointers, whose bytes are stored."""

    def __init__(self, git: GitRepository) -> None:
        self.git = git
        self.repo = Repo.discover(git.path)

    def add(self, name: str, content: bytes | dict[str, bytes]) -> Digest:
        """Store a file or folder and write its pointer, as `gitml add` does."""
        place = self.git.path.parent / "folder"
        with self.repo.store.writer() as writer:
            if isinstance(content, bytes):
                kind, size, digest = "blob", len(content), writer.put_bytes(content)
            else:
                kind = "tree"
                for path, data in content.items():
                    (place / path).parent.mkdir(parents=True, exist_ok=True)
                    (place / path).write_bytes(data)
                digest, size = writer.put_directory(place)
        pointer = Pointer(digest, kind, size)
        self.git.write(f"{name}.gitml", pointer.encode().decode())
        self.git.git("add", f"{name}.gitml")
        return digest

    def pairs(self) -> list[tuple[Digest, Digest]]:
        from gitml.history.successions import successions

        return successions(self.repo.git, self.repo.index, self.repo.store)


@pytest.fixture
def data(git_repository: GitRepository) -> Data:
    return Data(git_repository)


def test_a_pointers_versions_follow_each_other(data: Data) -> None:
    assert data.pairs() == []
    first = data.add("a.csv", b"one")
    assert data.pairs() == []
    data.git.commit("one")
    second = data.add("a.csv", b"two")
    assert data.pairs() == [(first, second)]
    data.git.commit("two")
    data.git.git("switch", "-qc", "side")
    third = data.add("a.csv", b"three")
    other = data.add("b.csv", b"other")
    data.git.commit("three")
    data.git.git("switch", "-q", "main")
    staged = data.add("a.csv", b"staged")
    assert data.pairs() == [(first, second), (second, third), (second, staged)]
    assert other not in {digest for pair in data.pairs() for digest in pair}


def test_what_is_no_pointer_or_not_held_is_left_out(data: Data) -> None:
    data.git.write("a.gitml", "no pointer")
    data.git.commit("none")
    first = data.add("a", b"one")
    data.git.commit("one")
    data.git.write("a.gitml", Pointer(hash_bytes(b"elsewhere"), "blob", 9).encode().decode())
    data.git.commit("elsewhere")
    last = data.add("a", b"two")
    data.git.commit("two")
    assert data.pairs() == []
    assert first != last


def test_the_files_of_a_folder_follow_by_their_paths(data: Data) -> None:
    before = data.add("images", {"a/x": b"1", "y": b"2", "z": b"3"})
    data.git.commit("one")
    after = data.add("images", {"a/x": b"one", "y": b"2", "new": b"4"})
    assert data.pairs() == [(before, after), (hash_bytes(b"1"), hash_bytes(b"one"))]


def test_what_is_checked_out_is_known(data: Data) -> None:
    from gitml.history.successions import checked_out

    folder = data.add("images", {"x": b"1", "y": b"2"})
    data.git.commit("one")
    file = data.add("a", b"one")
    digests = [hash_bytes(text) for text in (b"1", b"one", b"elsewhere")]
    found = checked_out(data.repo.git, data.repo.store, [*digests, folder])
    assert found == {hash_bytes(b"1"), file}


def test_what_runs_make_under_one_name_follows(workshop: Workshop) -> None:
    workshop.training([1, 2, 3])
    first = workshop.run("training")
    workshop.training([1, 2, 3, 4])
    second = workshop.run("training")
    repo = workshop.repo()
    from gitml.history.successions import successions

    made = [run.steps["prepare"].outputs["table"].digest for run in (first, second)]
    assert (made[0], made[1]) in successions(repo.git, repo.index, repo.store)


def test_maintenance_in_a_repository(data: Data) -> None:
    text = b"".join(b"%d,%d\n" % (n, n * n) for n in range(5000))
    data.add("a.csv", text)
    data.git.commit("one")
    data.add("a.csv", text.replace(b"77,", b"seventy-seven,"))
    data.git.commit("two")
    planned = data.repo.maintenance(dry_run=True)
    done = data.repo.maintenance()
    assert planned.deltas == done.deltas == 1
    assert data.repo.store.read(hash_bytes(text)) == text
    assert Path(data.git.path, ".git/objects/info").is_dir()
