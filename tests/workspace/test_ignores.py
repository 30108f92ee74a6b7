from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.workspace.ignores import line_for, with_line, without_line
from tests.workspace.conftest import Clone


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (b"", b"/b", b"/b\n"),
        (b"*.tmp", b"/b", b"*.tmp\n/b\n"),
        (b"/a\n/c\n", b"/b", b"/a\n/b\n/c\n"),
        (b"/z\n*.tmp\n/c\n", b"/b", b"/z\n*.tmp\n/b\n/c\n"),
        (b"/a\r\n/c\r\n", b"/b", b"/a\r\n/b\r\n/c\r\n"),
        (b"/b\n# mine\n", b"/b", b"/b\n# mine\n"),
        (b"!x\n\n", b"/b", b"!x\n\n/b\n"),
        (b"/b\n!/b\n", b"/b", b"/b\n!/b\n/b\n"),
    ],
)
def test_a_line_is_sorted_in_and_stands_once(text: bytes, line: bytes, expected: bytes) -> None:
    assert with_line(text, line) == expected
    assert with_line(expected, line) == expected


@given(st.lists(st.sampled_from([b"/a", b"/b", b"*.x", b"", b"# y"])), st.booleans())
def test_what_was_put_in_is_taken_out_again(lines: list[bytes], ends: bool) -> None:
    text = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    after = without_line(with_line(text, b"/new"), b"/new")
    assert after.removesuffix(b"\n") == text.removesuffix(b"\n")


@pytest.mark.parametrize(
    "name",
    [b"plain", b"a b ", b"tab\t", b"[x]", b"a*b?", b"\\", b"#", b"!", b"a\nb", b"\xff"],
)
def test_git_ignores_exactly_the_file_that_is_meant(clone: Clone, name: bytes) -> None:
    path = os.fsdecode(name)
    clone.write(f"d/{path}", "")
    clone.write(f"d/x{path}", "")
    clone.write(f"d/d/{path}", "")
    clone.write("d/.gitignore", line_for(f"d/{path}") + b"\n")
    listed = clone.git("-c", "core.quotePath=false", "ls-files", "-o", "-z", "--exclude-standard")
    assert sorted(listed.split("\0")[:-1]) == sorted([f"d/d/{path}", f"d/x{path}", "d/.gitignore"])


def test_no_line_where_the_project_ignores_the_data_already(clone: Clone) -> None:
    clone.write(".gitignore", "*.csv\n/out/\n")
    clone.write("data/a.csv", "a")
    clone.write("out/b", "b")
    clone.add("data/a.csv", "out/b")
    assert not (clone.path / "data/.gitignore").exists()
    assert sorted(clone.staged()) == [".gitattributes", "data/a.csv.gitml", "out/b.gitml"]
    assert (clone.path / ".gitignore").read_text() == "*.csv\n/out/\n"


def test_a_line_that_only_this_clone_has_does_not_count(clone: Clone) -> None:
    clone.write(".git/info/exclude", "*.csv\n")
    clone.write("a.csv", "a")
    clone.add("a.csv")
    assert (clone.path / ".gitignore").read_text() == "/a.csv\n"


def test_attributes_of_the_users_own_are_left_alone(clone: Clone) -> None:
    clone.write(".gitattributes", "*.py text\n*.gitml -text\n")
    clone.write("a", "a")
    clone.add("a")
    assert (clone.path / ".gitattributes").read_text() == "*.py text\n*.gitml -text\n"
