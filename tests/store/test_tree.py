"""Trees: one identity, whatever the library; nothing hostile gets through."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes
from gitml.store.tree import Tree, TreeEntry, judge_link_target

SOME = hash_bytes(b"some")


def entry(path: str, mode: int = trees.REGULAR, size: int = 4) -> TreeEntry:
    return TreeEntry(path, mode, size, SOME)


def arrow(tree: Tree, **changes: object) -> bytes:
    """The Arrow form of a tree with columns replaced, appended, or (None) removed."""
    table = pa.ipc.open_stream(trees.encode(tree)).read_all()
    for name, values in changes.items():
        if name in table.column_names:
            table = table.drop_columns(name)
        if values is not None:
            table = table.append_column(name, values)
    return stream(table)


def stream(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(table)
    return sink.getvalue().to_pybytes()


names = st.text(st.characters(codec="utf-8", exclude_characters="\\:\0"), min_size=1, max_size=8)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
entries = st.builds(
    TreeEntry,
    paths,
    st.sampled_from([trees.REGULAR, trees.EXECUTABLE, trees.SYMLINK]),
    st.integers(0, trees.MAX_SIZE),
    st.binary(min_size=32, max_size=32).map(Digest.from_bytes),
)


@given(st.lists(entries, max_size=8), st.randoms())
def test_round_trip_and_order(listed: list[TreeEntry], random: object) -> None:
    try:
        tree = Tree.of(listed)
    except CorruptData:
        return
    shuffled = list(listed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Tree.of(shuffled) == tree
    assert trees.decode(trees.encode(tree), tree.digest) == tree


def test_paths_sort_as_bytes_and_keep_what_is_no_utf8() -> None:
    odd = b"\xff".decode("utf-8", "surrogateescape")
    tree = Tree.of([entry("é"), entry("a/b"), entry("a.b"), entry(odd), entry("Z")])
    assert [one.path for one in tree.entries] == ["Z", "a.b", "a/b", "é", odd]
    assert trees.decode(trees.encode(tree), tree.digest) == tree


def test_a_tree_and_a_blob_never_share_a_digest() -> None:
    tree = Tree.of([entry("a")])
    assert hash_bytes(tree.canonical_form()) != tree.digest
    assert hash_bytes(b"") != Tree.of([]).digest


@pytest.mark.parametrize("change", ["path", "mode", "size", "digest"])
def test_every_field_is_part_of_the_identity(change: str) -> None:
    one = TreeEntry("a", trees.REGULAR, 4, SOME)
    other = {
        "path": TreeEntry("b", trees.REGULAR, 4, SOME),
        "mode": TreeEntry("a", trees.EXECUTABLE, 4, SOME),
        "size": TreeEntry("a", trees.REGULAR, 5, SOME),
        "digest": TreeEntry("a", trees.REGULAR, 4, hash_bytes(b"other")),
    }[change]
    assert Tree.of([one]).digest != Tree.of([other]).digest


@pytest.mark.parametrize(
    "bad",
    [[entry("../x")], [entry("a"), entry("A")], [entry("a", 0o100600)], [entry("a", size=-1)]],
)
def test_unsafe_entries_make_no_tree(bad: list[TreeEntry]) -> None:
    with pytest.raises(CorruptData):
        Tree.of(bad)


TREE = Tree.of([entry("a"), entry("b")])
HOSTILE = {
    "nothing": b"",
    "noise": b"\xff" * 100,
    "cut": trees.encode(TREE)[:-200],
    "no digest": arrow(TREE, digest=None),
    "other type": arrow(TREE, size=pa.array([4, 4], pa.int32())),
    "a gap": arrow(TREE, size=pa.array([4, None], pa.uint64())),
    "other size": arrow(TREE, size=pa.array([4, 5], pa.uint64())),
    "unsafe path": arrow(TREE, path=pa.array([b"a", b"../b"], pa.binary())),
    "twins": arrow(TREE, path=pa.array([b"a", b"A"], pa.binary())),
    "huge": arrow(TREE, size=pa.array([4, (1 << 64) - 1], pa.uint64())),
    "dictionary": arrow(TREE, path=pa.array([b"a", b"b"], pa.binary()).dictionary_encode()),
    "zstd": stream(pa.ipc.open_stream(trees.encode(TREE)).read_all(), compression="zstd"),
    "lz4": stream(pa.ipc.open_stream(trees.encode(TREE)).read_all(), compression="lz4"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arrow_forms_are_refused(name: str) -> None:
    with pytest.raises(CorruptData):
        trees.decode(HOSTILE[name], TREE.digest)


@given(st.data())
def test_a_flipped_byte_gives_the_same_tree_or_none(data: st.DataObject) -> None:
    good = bytearray(trees.encode(TREE))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(CorruptData):
        assert trees.decode(bytes(good), TREE.digest) == TREE


def test_columns_of_a_later_version_are_left_aside() -> None:
    later = arrow(TREE, note=pa.array(["x", "y"]))
    assert trees.decode(later, TREE.digest) == TREE


@pytest.mark.parametrize(
    ("path", "target"),
    [("l", b"a"), ("l", b"a/b/c"), ("d/l", b"../a"), ("d/e/l", b"../../a"), ("d/l", b"..")],
)
def test_links_may_point_inside(path: str, target: bytes) -> None:
    judge_link_target(path, target)


@pytest.mark.parametrize(
    ("path", "target"),
    [("l", b"/etc/passwd"), ("l", b".."), ("l", b"../a"), ("d/l", b"../../a"), ("l", b"a/../.."),
     ("d/e/l", b"x/../../../y"), ("l", b""), ("l", b"a\0b"), ("l", b".git/config"), ("l", b"C:\\x"),
     ("l", b"a//b"), ("l", b"a/../b")],
)  # fmt: skip
def test_links_never_point_out(path: str, target: bytes) -> None:
    with pytest.raises(CorruptData):
        judge_link_target(path, target)
