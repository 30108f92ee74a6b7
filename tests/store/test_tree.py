"""Trees: one identity, whatever the library; nothing hostile gets through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities.ids import Digest
from gitml.errors import CorruptData
from gitml.store import arrow
from gitml.store import tree as trees
from gitml.store.digest import hash_bytes
from gitml.store.tree import Tree, TreeEntry, diff_trees, judge_link_target

SOME = hash_bytes(b"some")


def entry(path: str, mode: int = trees.REGULAR, size: int = 4) -> TreeEntry:
    return TreeEntry(path, mode, size, SOME)


def arrow_form(tree: Tree, **changes: object) -> bytes:
    """The Arrow form of a tree with columns replaced, appended, or (None) removed."""
    table = pa.ipc.open_stream(arrow.encode(tree)).read_all()
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


def decoded(data: bytes, digest: Digest, size: int = 1 << 20) -> Tree:
    """The tree out of its stored form, which comes in pieces of a size."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return arrow.decode(lambda: pieces, digest)


@given(st.lists(entries, max_size=8), st.randoms())
def test_round_trip_and_order(listed: list[TreeEntry], random: object) -> None:
    try:
        tree = Tree.of(listed)
    except CorruptData:
        return
    shuffled = list(listed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Tree.of(shuffled) == tree
    assert decoded(arrow.encode(tree), tree.digest) == tree


def test_paths_sort_as_bytes_and_keep_what_is_no_utf8() -> None:
    odd = b"\xff".decode("utf-8", "surrogateescape")
    tree = Tree.of([entry("é"), entry("a/b"), entry("a.b"), entry(odd), entry("Z")])
    assert [one.path for one in tree.entries] == ["Z", "a.b", "a/b", "é", odd]
    assert decoded(arrow.encode(tree), tree.digest) == tree


def test_a_tree_and_a_blob_never_share_a_digest() -> None:
    tree = Tree.of([entry("a")])
    assert hash_bytes(b"".join(tree.canonical_form())) != tree.digest
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
    "cut": arrow.encode(TREE)[:-200],
    "no digest": arrow_form(TREE, digest=None),
    "other type": arrow_form(TREE, size=pa.array([4, 4], pa.int32())),
    "a gap": arrow_form(TREE, size=pa.array([4, None], pa.uint64())),
    "other size": arrow_form(TREE, size=pa.array([4, 5], pa.uint64())),
    "unsafe path": arrow_form(TREE, path=pa.array([b"a", b"../b"], pa.binary())),
    "twins": arrow_form(TREE, path=pa.array([b"a", b"A"], pa.binary())),
    "huge": arrow_form(TREE, size=pa.array([4, (1 << 64) - 1], pa.uint64())),
    "dictionary": arrow_form(TREE, path=pa.array([b"a", b"b"], pa.binary()).dictionary_encode()),
    "zstd": stream(pa.ipc.open_stream(arrow.encode(TREE)).read_all(), compression="zstd"),
    "lz4": stream(pa.ipc.open_stream(arrow.encode(TREE)).read_all(), compression="lz4"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arrow_forms_are_refused(name: str) -> None:
    with pytest.raises(CorruptData):
        decoded(HOSTILE[name], TREE.digest)


@given(st.data())
def test_a_flipped_byte_gives_the_same_tree_or_none(data: st.DataObject) -> None:
    good = bytearray(arrow.encode(TREE))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(CorruptData):
        assert decoded(bytes(good), TREE.digest) == TREE


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1000])
def test_the_stored_form_may_come_in_pieces_of_any_size(size: int) -> None:
    assert decoded(arrow.encode(TREE), TREE.digest, size) == TREE
    later = arrow_form(TREE, note=pa.array(["x", "y"]))
    assert decoded(later, TREE.digest, size) == TREE
    with pytest.raises(CorruptData):
        decoded(arrow.encode(TREE)[:-20], TREE.digest, size)


def test_more_than_a_tree_may_have_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[bytes]:
        yield arrow.encode(TREE)[:2000]
        while True:
            yield bytes(1000)

    monkeypatch.setattr(arrow, "MAX_ARROW_BYTES", 100_000)
    with pytest.raises(CorruptData, match="at most"):
        arrow.decode(endless, TREE.digest)


def test_columns_of_a_later_version_are_left_aside() -> None:
    later = arrow_form(TREE, note=pa.array(["x", "y"]))
    assert decoded(later, TREE.digest) == TREE


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


def test_entries_are_found_by_path_and_below_a_folder() -> None:
    odd = b"d/\xff".decode("utf-8", "surrogateescape")
    paths = ["a", "d-1", "d/a", "d/e/f", odd, "d0", "é"]
    tree = Tree.of(map(entry, paths))
    for path in paths:
        found = tree.get(path)
        assert found == entry(path)
    assert [tree.get(path) for path in ("", "b", "d", "d/", "zz", "\udcff")] == [None] * 6
    assert [one.path for one in tree.below("d")] == ["d/a", "d/e/f", odd]
    assert tree.below("d/") == tree.below("d")
    assert tree.below("") == tree.entries == [entry(path) for path in paths]
    assert list(tree.below("a")) == []
    assert tree.entries[-1] == entry("é")
    assert tree.entries[1:3] == [entry("d-1"), entry("d/a")]
    with pytest.raises(IndexError):
        tree.entries[7]


def test_a_tree_too_long_to_be_read_again_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_MAX_FORM_BYTES", 100)
    Tree.of([entry("a"), entry("b")])
    with pytest.raises(CorruptData, match="at most"):
        Tree.of([entry("a"), entry("b" * 4)])


few_paths = st.sampled_from(["a", "b", "c/a", "c/b", "d/a", "d/e/a"])
contents = st.builds(
    lambda mode, data: (mode, len(data), hash_bytes(data)),
    st.sampled_from([trees.REGULAR, trees.EXECUTABLE, trees.SYMLINK]),
    st.sampled_from([b"1", b"2", b"33"]),
)
small_trees = st.dictionaries(few_paths, contents).map(
    lambda made: Tree.of(TreeEntry(path, *content) for path, content in made.items())
)


@given(small_trees, small_trees, st.booleans())
def test_a_diff_leads_from_the_old_tree_to_the_new(old: Tree, new: Tree, halved: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if halved:
            patch.setattr(trees, "_BLOCK", 2)
            patch.setattr(trees, "_FEW", 1)
        diff = diff_trees(old, new)
    made = {one.path: one for one in old.entries}
    for one in diff.removed:
        assert made.pop(one.path) == one
    for before, after in diff.changed:
        assert made.pop(before.path) == before
        assert before.path == after.path
        assert before != after
        made[after.path] = after
    for before, after in diff.renamed:
        assert made.pop(before.path) == before
        assert before.digest == after.digest
        assert (before.mode == trees.SYMLINK) == (after.mode == trees.SYMLINK)
    for one in [*diff.added, *(after for _, after in diff.renamed)]:
        assert made.setdefault(one.path, one) == one
    assert made == {one.path: one for one in new.entries}
    assert bool(diff) == (old != new)
    gone = {(one.mode == trees.SYMLINK, one.digest) for one in diff.removed}
    assert not gone & {(one.mode == trees.SYMLINK, one.digest) for one in diff.added}
    for part in (diff.added, diff.removed):
        assert [one.raw_path for one in part] == sorted(one.raw_path for one in part)


def test_names_that_are_one_text_and_cut_elsewhere_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind rows that only one of the trees has, which shift all that follow."""
    monkeypatch.setattr(trees, "_FEW", 1)
    last = [entry("y"), entry("z")]
    for extra in ([], [entry("-long"), entry("-longer")]):
        old = Tree.of([*extra, entry("0"), entry("ab"), entry("c"), *last])
        new = Tree.of([entry("0"), entry("a"), entry("bc"), *last])
        assert trees._are_equal(old.columns, len(old) - 2, new.columns, len(new) - 2, 2)
        for one, two in ((old, new), (new, old)):
            diff = diff_trees(one, two)
            assert len(diff.renamed) == 2
            assert len(diff.added) + len(diff.removed) == len(extra)


@given(small_trees, small_trees, st.sets(few_paths))
def test_a_changed_tree_is_the_tree_of_what_is_left_and_what_is_new(
    old: Tree, new: Tree, gone: set[str]
) -> None:
    left = {one.path: one for one in old.entries if one.path not in gone}
    left |= {one.path: one for one in new.entries}
    made = old.changed(map(str.encode, gone), new)
    assert made == Tree.of(left.values())


def test_a_change_that_makes_no_tree_is_refused() -> None:
    with pytest.raises(CorruptData):
        Tree.of([entry("a")]).changed([], Tree.of([entry("a/b")]))


def test_a_rename_prefers_the_same_name() -> None:
    old = Tree.of([entry("a/x"), entry("a/y"), entry("a/z")])
    new = Tree.of([entry("b/y"), entry("b/q"), entry("b/x")])
    diff = diff_trees(old, new)
    assert [(one.path, two.path) for one, two in diff.renamed] == [
        ("a/z", "b/q"),
        ("a/x", "b/x"),
        ("a/y", "b/y"),
    ]
    assert not diff.added
    assert not diff.removed
