"""What is built in memory is what git would make; reading survives what git does beside."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.entities.ids import ObjectId
from gitml.errors import CorruptData, GitmlError, MissingBytes, StorageError
from gitml.fs import ProcessIdentity
from gitml.git.odb import (
    FILE,
    FOLDER,
    Builder,
    Odb,
    TreeEntry,
    blob_id,
    parse_tree,
    splice_delta,
)
from gitml.git.process import Git
from gitml.testing.sealed import GitRepository

ADA = "Ada Example <ada@example.org> 1767323045 -0230"


@pytest.fixture
def git(git_repository: GitRepository) -> Git:
    return Git.discover(git_repository.path)


def ask(git: Git, kind: str, data: bytes) -> str:
    """The id that git gives these bytes; it refuses malformed ones."""
    return git.run("hash-object", "-t", kind, "--stdin", stdin=data).decode().strip()


def packs(git: Git) -> list[Path]:
    return sorted((git.common / "objects/pack").glob("*.pack"))


# Building

NAMES = [b"a", b"a.b", b"a-b", b"a0", b"ab", b"a/"[:1] + b"\xff", b"B", b"\xc3\xa9", b" x", b"a b"]


@pytest.mark.parametrize("folder", NAMES)
def test_trees_are_in_gits_order(git: Git, folder: bytes) -> None:
    """`a` sorts behind `a.b` and `a-b` where it is a folder, and before them as a file."""
    builder = Builder(git)
    blob = builder.blob(b"x")
    inner = builder.tree([TreeEntry(b"f", FILE, blob)])
    entries = [
        TreeEntry(name, FOLDER if name == folder else FILE, inner if name == folder else blob)
        for name in NAMES
    ]
    tree = builder.tree(entries)
    builder.write_pack()
    lines = [
        b"%06o %b %b\t%b\0"
        % (e.mode, b"tree" if e.mode == FOLDER else b"blob", e.id.hex.encode(), e.name)
        for e in entries
    ]
    assert git.run("mktree", "-z", stdin=b"".join(lines)).decode().strip() == tree.hex
    git.run("fsck", "--strict", "--no-dangling")
    assert {one.name for one in Odb(git).tree(tree)} == set(NAMES)


def test_every_kind_of_object_is_what_git_makes(git: Git, git_repository: GitRepository) -> None:
    builder = Builder(git)
    blob = builder.blob(b"hello\n")
    assert blob == blob_id(b"hello\n") == ObjectId(ask(git, "blob", b"hello\n"))
    tree = builder.tree([TreeEntry(b"run.sh", 0o100755, blob), TreeEntry(b"link", 0o120000, blob)])
    one = builder.commit(tree, [], ADA, ADA, "one\n")
    two = builder.commit(tree, [one, one], ADA, ADA, "two\n\nGitml-Kind: step\n")
    tag = builder.tag(two, "clf@v1", ADA, "clf v1\n")
    builder.write_pack()
    git.run("update-ref", "refs/heads/main", two.hex)
    git.run("update-ref", "refs/tags/clf@v1", tag.hex)
    git.run("fsck", "--strict")
    assert git_repository.git("log", "--format=%s", "clf@v1") == "two\none"
    assert (
        git_repository.git("log", "-1", "--format=%ad|%p")
        == f"Fri Jan 2 00:34:05 2026 -0230|{one.hex[:7]}"
    )
    git_repository.git("config", "i18n.commitEncoding", "iso-8859-1")
    again = Builder(git)
    assert again.commit(tree, [], ADA, ADA, "one\n") == one
    odb = Odb(git)
    commit = odb.commit(two)
    assert commit.parents == (one,)
    assert commit.trailers() == [("Gitml-Kind", "step")]
    assert (commit.subject, commit.time, commit.author) == ("two", 1767323045, ADA)
    found = odb.tag(tag)
    assert (found.name, found.target, found.tagger, found.message) == (
        "clf@v1",
        two,
        ADA,
        "clf v1\n",
    )
    odb.close()


def test_objects_of_every_size_are_whole_in_git(git: Git) -> None:
    # The size stands in four bits, and then in seven a byte.
    builder, odb = Builder(git), Odb(git)
    contents = [b"x" * size for size in (0, 1, 15, 16, 17, 2047, 2048, 2049, 262_143, 262_144)]
    made = {builder.blob(one): one for one in contents}
    builder.write_pack().release()
    assert {oid: odb.read(oid) for oid in made} == {
        oid: (oid, "blob", content) for oid, content in made.items()
    }
    assert git.run("fsck", "--strict", "--no-dangling") == b""
    odb.close()


def test_nothing_is_there_before_it_is_written(git: Git) -> None:
    builder = Builder(git)
    blob = builder.blob(b"later")
    assert blob in builder
    assert len(builder) == 1
    odb = Odb(git)
    assert blob not in odb
    keep = builder.write_pack()
    assert blob in odb
    assert len(builder) == 0
    assert len(packs(git)) == 1
    assert builder.write_pack().path is None
    keep.release()
    keep.release()
    assert list((git.common / "objects/pack").glob("*.keep")) == []
    odb.close()


def test_a_kept_pack_survives_gc_until_it_is_released(git: Git) -> None:
    builder = Builder(git)
    blob = builder.blob(b"no ref yet")
    keep = builder.write_pack()
    git.run("gc", "--prune=now", "--quiet")
    odb = Odb(git)
    assert blob in odb
    keep.release()
    git.run("gc", "--prune=now", "--quiet")
    odb.close()
    assert blob not in odb


def test_a_keep_of_a_dead_process_is_released_by_the_next(git: Git) -> None:
    builder = Builder(git)
    builder.blob(b"mine")
    alive = builder.write_pack()
    assert alive.path is not None
    keep = Path(alive.path)
    assert keep.read_text().strip() == f"gitml {ProcessIdentity.current().to_text()}"
    foreign = keep.with_name("pack-" + "0" * 40 + ".keep")
    foreign.write_text("somebody's\n")
    builder.blob(b"second")
    builder.write_pack()
    assert keep.exists()
    me = ProcessIdentity.current()
    dead = ProcessIdentity(me.pid, "1", me.host, me.boot)
    keep.write_text(f"gitml {dead.to_text()}\n")
    builder.blob(b"third")
    builder.write_pack()
    assert not keep.exists()
    assert foreign.exists()


def test_loose_objects_of_which_a_pack_has_some_already(git: Git) -> None:
    builder = Builder(git)
    tree = builder.tree([TreeEntry(b"a", FILE, builder.blob(b"a"))])
    commit = builder.commit(tree, [], ADA, ADA, "one\n")
    builder.write_pack()
    builder.commit(tree, [], ADA, ADA, "one\n")
    tag = builder.tag(commit, "clf@v1", ADA, "clf v1\n")
    builder.write_loose()
    assert (git.common / "objects" / tag.hex[:2] / tag.hex[2:]).exists()
    assert not (git.common / "objects" / commit.hex[:2]).exists()
    builder.write_loose()


def test_objects_that_cannot_be_stored_are_an_error_of_storage(git: Git) -> None:
    builder = Builder(git)
    builder.blob(b"x")
    os.rename(git.common / "objects/pack", git.common / "objects/elsewhere")
    (git.common / "objects/pack").write_bytes(b"")
    with pytest.raises(StorageError, match=r"could not store"):
        builder.write_pack()


# Deltas

entries = st.builds(
    TreeEntry,
    st.binary(min_size=1, max_size=12).filter(
        lambda name: not {0, ord("/")} & set(name) and name.lower() not in (b".", b"..", b".git")
    ),
    st.just(FILE),
    st.just(blob_id(b"x")),
)


@settings(max_examples=60)
@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=40))
def test_a_delta_gives_the_target_by_the_rules_of_the_format(
    base: bytes, other: bytes, middle: bytes
) -> None:
    for target in (other, base[:20] + middle + base[20:], base[:5] + base[30:], base):
        assert apply(base, splice_delta(base, target)) == target


@pytest.mark.parametrize("size", [0, 0xFFFF, 0x10000, 0x1FFFF, 0x200000])
def test_a_delta_of_a_large_base(size: int) -> None:
    base = bytes(size) + b"tail"
    for target in (base + b"x", b"x" + base, bytes(size) + b"new" + b"tail"):
        assert apply(base, splice_delta(base, target)) == target


def apply(base: bytes, delta: bytes) -> bytes:
    """What git makes of a delta (gitformat-pack, "Deltified representation"), written plainly."""

    def varint() -> int:
        value = shift = 0
        while True:
            byte = next(stream)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    stream = iter(delta)
    assert varint() == len(base)
    size = varint()
    out = bytearray()
    for code in stream:
        assert code != 0
        if code & 0x80:
            offset = sum(next(stream) << 8 * bit for bit in range(4) if code >> bit & 1)
            length = sum(next(stream) << 8 * bit for bit in range(3) if code >> 4 + bit & 1)
            length = length or 0x10000
            assert offset + length <= len(base)
            out += base[offset : offset + length]
        else:
            out += bytes(next(stream) for _ in range(code))
    assert len(out) == size
    return bytes(out)


def test_delta_trees_are_whole_in_git(git: Git) -> None:
    """Random trees and one of more than 64 KiB: what `index-pack` resolves has our ids."""
    builder = Builder(git)
    blob = builder.blob(b"x")
    made: list[tuple[ObjectId, int]] = []
    large = [TreeEntry(b"file-%06d" % n, FILE, blob) for n in range(3000)]

    @settings(max_examples=30, database=None)
    @given(st.lists(st.lists(entries, max_size=6, unique_by=lambda e: e.name), max_size=4))
    def build(trees: list[list[TreeEntry]]) -> None:
        for number, tree in enumerate(trees):
            made.append((builder.tree(tree, like=number % 2), len(tree)))

    build()
    for extra in (b"file-", b"z", b"file-001500x", b"file-001500x"):
        entry = TreeEntry(extra, FILE, builder.blob(b"%d" % len(made)))
        made.append((builder.tree([*large, entry], like=len(extra)), 3001))
    builder.write_pack().release()
    git.run("fsck", "--strict", "--no-dangling", "--full")
    odb = Odb(git)
    assert all(len(odb.tree(oid)) == count for oid, count in made)
    odb.close()
    listing = git.run("verify-pack", "-v", *(str(path) for path in packs(git))).decode()
    deltas = [line.split() for line in listing.splitlines() if line.startswith(made[-1][0].hex)]
    assert int(deltas[0][3]) < 100
    assert len(deltas[0]) == 7


def test_a_tree_under_two_bases_is_stored_once(git: Git) -> None:
    builder = Builder(git)
    blob = builder.blob(b"x")
    trees = [[TreeEntry(b"%d" % n, FILE, blob)] for n in range(3)]
    ids = [
        builder.tree(trees[n], like=like) for like, n in [(1, 0), (1, 1), (2, 1), (2, 2), (1, 0)]
    ]
    assert len(set(ids)) == 3
    builder.write_pack().release()
    git.run("fsck", "--strict", "--no-dangling")


# Reading


def test_what_is_not_there_is_none(git: Git, git_repository: GitRepository) -> None:
    git_repository.write("a b missing", "x")
    git_repository.commit()
    odb = Odb(git)
    for spec in ("", "nowhere", "HEAD:nope", "HEAD\nHEAD", "HEAD\0", "0" * 40, "a b c", "HEAD:a b"):
        assert odb.read(spec) is None, spec
    found = odb.read("HEAD:a b missing")
    assert found is not None
    assert found[1:] == ("blob", b"x")
    assert odb.resolve("HEAD") == ObjectId(git_repository.git("rev-parse", "HEAD"))
    assert odb.resolve("--all") is None
    assert odb.resolve("HEAD:a b missing") is None
    head = odb.resolve("HEAD")
    assert head is not None
    assert odb.file(head, "a b missing") == b"x"
    assert odb.file(head, "") is None
    with pytest.raises(MissingBytes, match="lacks the commit 000000000000"):
        odb.commit(ObjectId("0" * 40))
    with pytest.raises(CorruptData, match="is a commit, not a tag"):
        odb.tag(head)
    odb.close()


def test_an_ambiguous_prefix_is_none(git: Git) -> None:
    builder = Builder(git)
    ids = sorted(builder.blob(b"%d" % n).hex for n in range(900))
    builder.write_pack().release()
    twins = next(a[:4] for a, b in itertools.pairwise(ids) if a[:4] == b[:4])
    odb = Odb(git)
    assert odb.read(twins) is None
    assert odb.read(ids[0]) is not None
    odb.close()


def test_reading_goes_on_while_git_repacks(git: Git, git_repository: GitRepository) -> None:
    """The open process holds packs that `gc` deletes, and learns of objects made since."""
    for n in range(3):
        git_repository.write("f", f"{n}" * 5000)
        git_repository.commit()
    odb = Odb(git)
    ids = git_repository.git("rev-list", "--objects", "--no-object-names", "--all").split()
    for round_number in range(3):
        assert all(ObjectId(one) in odb for one in ids[round_number::2])
        git_repository.git("repack", "-a", "-d", "-q", "-f")
        git_repository.git("pack-refs", "--all")
        git_repository.git("prune-packed")
        git_repository.write("g", f"{round_number}")
        ids.append(git_repository.commit())
        assert odb.resolve("main") == ObjectId(ids[-1])
    assert all(ObjectId(one) in odb for one in ids)
    odb.close()


def test_reading_goes_on_when_the_process_is_killed(git: Git) -> None:
    builder = Builder(git)
    small, large = builder.blob(b"x"), builder.blob(os.urandom(1 << 20))
    builder.write_pack().release()
    odb = Odb(git)
    assert small in odb
    for oid in (small, large):
        process = odb._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found = odb.read(oid)
        assert found is not None
        assert blob_id(found[2]) == oid
    odb.close()
    odb.close()
    assert small in odb
    odb.close()


def test_an_answer_that_breaks_off_is_asked_again(git: Git) -> None:
    """A process killed in the middle of a large object must not pass off what came as all."""
    builder = Builder(git)
    large = builder.blob(os.urandom(8 << 20))
    builder.write_pack().release()
    odb = Odb(git)
    assert large in odb
    process = odb._process
    assert process is not None
    script = f"import os, time; time.sleep(0.05); os.kill({process.pid}, 9)"
    killer = subprocess.Popen([sys.executable, "-c", script])
    while killer.poll() is None:
        found = odb.read(large)
        assert found is not None
        assert len(found[2]) == 8 << 20
    killer.wait()
    odb.close()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: data[:20], MissingBytes),
        (lambda data: data[:-200], CorruptData),
        (lambda data: data[:5000] + bytes(64) + data[5064:], CorruptData),
    ],
)
def test_a_damaged_object_is_an_error_that_names_it(
    git: Git, damage: Callable[[bytes], bytes], error: type[GitmlError]
) -> None:
    noise = os.urandom(10_000)
    builder = Builder(git)
    commit = builder.commit(builder.tree([]), [], ADA, ADA, noise.hex())
    builder.write_loose()
    path = git.common / "objects" / commit.hex[:2] / commit.hex[2:]
    path.chmod(0o644)
    path.write_bytes(damage(path.read_bytes()))
    odb = Odb(git)
    with pytest.raises(error, match=commit.short) as caught:
        odb.commit(commit)
    assert "fsck`" in (caught.value.hint or "")
    odb.close()


def test_a_tree_that_breaks_off_is_corrupt_data(git: Git) -> None:
    builder = Builder(git)
    whole = b"100644 a\0" + bytes(20)
    with pytest.raises(ValueError, match="not found"):
        parse_tree(whole + b"100644 b")
    tree = builder._add("tree", whole + b"100644 b")
    builder.write_pack().release()
    odb = Odb(git)
    with pytest.raises(CorruptData, match=r"the tree .* is damaged"):
        odb.tree(tree)
    odb.close()


def test_names_and_messages_that_are_no_utf8(git: Git, git_repository: GitRepository) -> None:
    git_repository.git("config", "i18n.commitEncoding", "iso-8859-1")
    file = git_repository.write("message", b"Gr\xfc\xdfe\n\nGitml-Kind: x\n")
    git_repository.git("add", "-A")
    git_repository.git("commit", "--quiet", "-F", str(file))
    odb = Odb(git)
    head = odb.resolve("HEAD")
    assert head is not None
    commit = odb.commit(head)
    assert commit.subject == "Gr\udcfc\udcdfe"
    builder = Builder(git)
    same = builder.commit(commit.tree, [], commit.author, commit.committer, commit.message)
    assert same != head  # git notes the encoding in a header of its own
    assert commit.trailers() == [("Gitml-Kind", "x")]
    odb.close()


def test_an_unused_reader_starts_nothing(git: Git) -> None:
    started = time.perf_counter()
    for _ in range(1000):
        Odb(git).close()
    assert time.perf_counter() - started < 1
