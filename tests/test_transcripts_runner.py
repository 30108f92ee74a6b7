"""The transcript runner: what passes, what must not, and what an update writes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transcripts import Ids, blocks, check, needs, reconcile, replay

ONE = "7f3a9c1e55aa0b1c2d3e4f5061728394a5b6c7d8"
OTHER = "0b88d10f2233445566778899aabbccddeeff0011"


def text(body: str) -> str:
    return textwrap.dedent(body).lstrip("\n")


def holds(body: str, home: Path) -> bool:
    return replay(text(body), home) == text(body)


# What a transcript is made of


def test_folder_and_variables_live_on(tmp_path: Path) -> None:
    assert holds(
        """
        ```console
        $ mkdir demo && cd demo
        $ NAME=world
        ```
        and later
        ```console
        $ echo "hello $NAME"; pwd
        hello world
        ~/demo
        ```
        """,
        tmp_path / "home",
    )


def test_a_command_goes_on_behind_the_second_prompt(tmp_path: Path) -> None:
    assert holds(
        """
        ```console
        $ for n in 1 2; do
        >   echo "line $n"
        > done
        line 1
        line 2

        $ cat
        ```
        """,
        tmp_path / "home",
    )


def test_both_streams_come_in_the_order_of_a_terminal(tmp_path: Path) -> None:
    assert holds(
        """
        ```console
        $ python -c 'import sys; print("a"); print("b", file=sys.stderr); print("c")'
        a
        b
        c
        ```
        """,
        tmp_path / "home",
    )


def test_the_exit_status_is_part_of_the_output(tmp_path: Path) -> None:
    failing = "```console\n$ (echo no; exit 3)\nno\n[exit 3]\n```\n"
    assert replay(failing, tmp_path / "a") == failing
    assert replay(failing.replace("[exit 3]\n", ""), tmp_path / "b") == failing
    assert replay(failing.replace("exit 3)", "exit 0)"), tmp_path / "c") != failing


def test_output_without_a_last_line_feed_and_missing_commands(tmp_path: Path) -> None:
    assert holds(
        """
        ```console
        $ printf 'half'
        half
        $ no-such-command
        bash: no-such-command: command not found
        [exit 127]
        ```
        """,
        tmp_path / "home",
    )


def test_file_blocks_are_written_where_the_shell_is(tmp_path: Path) -> None:
    assert holds(
        """
        ```console
        $ mkdir p && cd p
        ```
        ```python file=pipelines/x.py
        print("it's", "$HOME")
        ```
        ```toml
        ignored = true
        ```
        ```console
        $ python pipelines/x.py
        it's $HOME
        ```
        """,
        tmp_path / "home",
    )
    assert (tmp_path / "home/p/pipelines/x.py").read_text() == 'print("it\'s", "$HOME")\n'


def test_a_file_block_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="below the shell's folder"):
        replay("```text file=../x\na\n```\n", tmp_path / "home")


def test_python_blocks_must_end_well(tmp_path: Path) -> None:
    good = "```python\nassert 1 + 1 == 2\n```\n"
    assert replay(good, tmp_path / "a") == good
    with pytest.raises(AssertionError, match=r"(?s)line 1: the Python block failed.*TypeError"):
        replay("```python\n1 + 'a'\n```\n", tmp_path / "b")


def test_marked_blocks_are_left_out(tmp_path: Path) -> None:
    body = "<!-- not run: needs a network -->\n\n```console\n$ exit 1\nnever\n```\n"
    assert replay(body, tmp_path / "home") == body
    assert [block.not_run for block in blocks(body)] == ["needs a network"]


def test_needs_are_read_from_comments() -> None:
    assert needs("# x\n<!-- needs: sklearn, strace -->\n<!-- needs: yaml -->\n") == [
        "sklearn",
        "strace",
        "yaml",
    ]


def test_what_is_no_transcript_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 1 is never closed"):
        blocks("```console\n$ true\n")
    with pytest.raises(ValueError, match="begins with"):
        replay("```console\nout\n```\n", tmp_path / "home")


def test_a_hanging_command_and_a_dead_shell_are_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?s)still running after 0.3 s: .*sleep 60.*begun"):
        replay("```console\n$ echo begun; sleep 60\n```\n", tmp_path / "a", seconds=0.3)
    with pytest.raises(AssertionError, match="the shell ended in: exit 4"):
        replay("```console\n$ exit 4\n```\n", tmp_path / "b")


def test_nothing_of_the_outer_world_gets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "leak")
    assert holds(
        """
        ```console
        $ echo "[$GIT_AUTHOR_NAME]" ~
        [] ~
        ```
        """,
        tmp_path / "home",
    )


# What differs from run to run


def same(written: str, real: str) -> bool:
    lines = text(written).splitlines()
    return reconcile(lines, text(real).splitlines(), Ids(written)) == lines


@pytest.mark.parametrize(
    ("written", "real"),
    [
        ("run 7f3a9c1 done", "run 1234567 done"),
        ("at 2026-01-02T03:04:05Z", "at 2027-11-12T13:14:15.123456+00:00"),
        ("Date:   Fri Jan 2 03:04:05 2026 +0000", "Date:   Mon Nov 23 17:04:59 2026 +0000"),
        ("on 2026-01-02", "on 2027-11-12"),
        ("on 4 March", "on 23 November 2026"),
        ("took 1.2 s", "took 913 ms"),
        ("took 6m12s", "took 0.4 s"),
        ("2 minutes ago", "just now"),
        ("84 MB/s", "1.3 GB/s"),
        ("refs/gitml/runs/training/202601/x", "refs/gitml/runs/training/202711/x"),
        ("id = '01JD0000000000000000000000'", "id = '01KA5W3QXCV7N8M9P0R1S2T3V4'"),
        ("step  auc  1.2 s  ok", "step  auc  913 ms   ok"),
        ("made [..] of x", "made anything at all of x"),
    ],
)
def test_clocks_and_ids_do_not_matter(written: str, real: str) -> None:
    assert same(written, real)


@pytest.mark.parametrize(
    ("written", "real"),
    [
        ("run 7f3a9c1 done", "run 1234567 failed"),
        ("run 7f3a9c1", "run 7f3a9c12"),
        ("run 7f3a9c1", "run unknown"),
        ("10485760 bytes", "10485761 bytes"),
        ("the effaced one", "the defaced one"),
        ("took 1.2 s", "took a while"),
        ("accuracy 0.91", "accuracy 0.92"),
        ("a  b", "a   b"),
        ("412 MB", "413 MB"),
        ("a.c", "abc"),
    ],
)
def test_everything_else_does(written: str, real: str) -> None:
    assert not same(written, real)


def test_one_id_is_the_same_everywhere_in_short_and_long() -> None:
    written = f"run 7f3a9c1\nfull {ONE}\nagain 7f3a9c1e55aa"
    real = f"run {OTHER[:7]}\nfull {OTHER}\nagain {OTHER[:12]}"
    assert same(written, real)
    assert not same(written, real.replace(f"again {OTHER[:12]}", "again 555555555aaa"))
    assert not same("a 7f3a9c1\nb 0b88d10", f"a {OTHER[:7]}\nb {OTHER[:7]}")
    assert not same("a 7f3a9c1\nb 7f3a9c1", "a 1111aaa\nb 2222bbb")


def test_three_dots_stand_for_any_lines() -> None:
    assert same("first\n...\nlast", "first\na\nb\nlast")
    assert same("first\n...\nlast", "first\nlast")
    assert same("...\nlast", "a\nlast\nlast")
    assert not same("first\n...\nlast", "first\na\nb")
    assert not same("first\n...\nlast", "a\nb\nlast")


def test_ids_in_commands_and_files_are_the_real_ones(tmp_path: Path) -> None:
    assert holds(
        """
        ```console
        $ git init --quiet; echo text > a.txt
        $ git add a.txt; git commit --quiet -m first; git log --oneline
        7f3a9c1 first
        $ git show 7f3a9c1:a.txt
        text
        ```
        ```text file=pin
        7f3a9c1
        ```
        ```console
        $ git show --format=%s --no-patch $(cat pin)
        first
        ```
        """,
        tmp_path / "home",
    )


# What an update writes


def test_an_update_keeps_what_still_holds() -> None:
    written = ["run 7f3a9c1  2 hours ago", "...", "kept [..]", "auc 0.91"]
    real = ["run 1111aaa  just now", "x", "y", "kept for ever", "auc 0.92", "new 1111aaa99"]
    assert reconcile(written, real, Ids("\n".join(written))) == [
        "run 7f3a9c1  2 hours ago",
        "...",
        "kept [..]",
        "auc 0.92",
        "new 7f3a9c1c2",
    ]


def test_new_ids_get_the_same_placeholders_in_every_run() -> None:
    first = reconcile([], [f"a {ONE[:7]}", f"b {OTHER}", f"c {ONE}"], Ids(""))
    second = reconcile([], [f"a {OTHER[:7]}", f"b {ONE}", f"c {OTHER}"], Ids(""))
    assert first == second
    assert first[2].startswith(first[0].replace("a ", "c "))
    assert same("\n".join(first), f"a {ONE[:7]}\nb {OTHER}\nc {ONE}")


IDS = [ONE, OTHER, "1234567" + ONE[7:], "01KA5W3QXCV7N8M9P0R1S2T3V4"]
PIECES = st.one_of(
    st.sampled_from(
        ["run", "  ", " ", "◆", "...", "[..]", "1.2 s", "912 ms", "just now", "12345678"]
    ),
    st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02", "(x)", "$", "7f3a9c1", "/202601/"]),
    st.builds(lambda one, length: one[:length], st.sampled_from(IDS), st.integers(7, 40)),
)
LINES = st.lists(st.lists(PIECES, max_size=5).map(" ".join).map(str.rstrip), max_size=6)


@given(LINES, LINES)
def test_what_an_update_writes_holds(written: list[str], real: list[str]) -> None:
    now = reconcile(written, real, Ids("\n".join(written)))
    assert reconcile(now, real, Ids("\n".join(now))) == now


def test_digits_alone_become_an_id_only_where_they_begin_one() -> None:
    plain, short, full = reconcile([], ["size 10485760", "run 1234567", "full 1234567abc"], Ids(""))
    assert plain == "size 10485760"
    assert short != "run 1234567"
    assert full.split()[1].startswith(short.split()[1])


def test_update_rewrites_the_file_and_then_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text(
        "# T\n\n```console\n$ git init -q\n$ git hash-object -w /dev/null\n\n```\nend\n"
    )
    with pytest.raises(AssertionError, match=r"(?s)--- x.md as written.*\+[0-9a-f]{40}\n"):
        check(path, tmp_path / "a", update=False)
    check(path, tmp_path / "b", update=True)
    updated = path.read_text()
    assert "e69de29" not in updated
    assert updated.startswith("# T\n\n```console\n$ git init -q\n$ git hash-object")
    assert updated.endswith("\n\n```\nend\n")
    check(path, tmp_path / "c", update=False)
    assert path.read_text() == updated
