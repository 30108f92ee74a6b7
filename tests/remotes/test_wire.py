"""Frames and messages, and what a server answers to nonsense."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml import errors
from gitml.errors import ConnectionLost, CorruptData, GitmlError
from gitml.remotes.folder import FolderRemote
from gitml.remotes.serve import serve
from gitml.remotes.wire import GREETING, Line, complaint, raised


def line(data: bytes) -> Line:
    return Line(io.BytesIO(data), io.BytesIO())


def sent(*calls: tuple[str, object]) -> bytes:
    sink = io.BytesIO()
    out = Line(io.BytesIO(), sink)
    for name, value in calls:
        getattr(out, name)(value)
    return sink.getvalue()


@given(st.lists(st.binary(max_size=3000)))
def test_data_comes_as_it_was_sent(pieces: list[bytes]) -> None:
    received = line(sent(("send_data", pieces))).receive_data()
    assert b"".join(received) == b"".join(pieces)


def test_large_pieces_are_cut() -> None:
    data = bytes(3 << 20)
    pieces = list(line(sent(("send_data", [data]))).receive_data())
    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(pieces) == data


def test_a_frame_is_bounded_before_it_is_read() -> None:
    for frame in (b"H\xff\xff\xff\xff", b"D\x00\x10\x00\x01", b"E\x00\x00\x00\x01", b"X\0\0\0\0"):
        with pytest.raises(CorruptData):
            line(frame).receive()


def test_what_ends_too_soon_is_a_cut_line() -> None:
    whole = sent(("send", {"a": 1}))
    for length in range(len(whole)):
        with pytest.raises(ConnectionLost):
            line(whole[:length]).receive()


@pytest.mark.parametrize("payload", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_a_message_is_a_json_object(payload: bytes) -> None:
    with pytest.raises(CorruptData):
        line(b"H" + len(payload).to_bytes(4, "big") + payload).receive()


@pytest.mark.parametrize(
    "kind",
    [
        *("MissingBytes", "CorruptData", "AuthenticationFailed", "RaceLost", "UsageError"),
        *("StorageError", "RemoteFailed"),
    ],
)
def test_an_error_goes_over_the_line(kind: str) -> None:
    error = getattr(errors, kind)("what failed", hint="what helps")
    again = raised(complaint(error))
    assert type(again) is type(error)
    assert (again.message, again.hint) == ("what failed", "what helps")


def test_a_broken_line_on_the_other_side_is_no_broken_line_here() -> None:
    assert type(raised(complaint(ConnectionLost("x")))) is errors.RemoteFailed
    assert type(raised({"error": "SystemExit", "message": 5})) is errors.RemoteFailed


def talk(root: Path, *messages: bytes, read_only: bool = False) -> list[dict[str, object]]:
    """What a server answers to these bytes, greeting and first message left out."""
    sink = io.BytesIO()
    serve(FolderRemote(root), io.BytesIO(b"".join(messages)), sink, read_only=read_only)
    answers = line(sink.getvalue().removeprefix(GREETING))
    assert set(answers.receive()) == {"writes"}
    found = []
    while True:
        try:
            found.append(answers.receive())
        except ConnectionLost:
            return found


def ask(**request: object) -> bytes:
    return sent(("send", request))


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": "fly"},
        {"do": 5},
        {"do": "stat"},
        {"do": "stat", "keys": "abc"},
        {"do": "stat", "keys": [1]},
        {"do": "stat", "keys": ["../secret"]},
        {"do": "get", "key": "../secret", "start": 0},
        {"do": "get", "key": "a", "start": -1},
        {"do": "get", "key": "a", "start": True},
        {"do": "get", "key": "a", "start": 0, "length": 1 << 70},
        {"do": "get", "key": "absent", "start": 0},
        {"do": "delete", "keys": ["/etc/passwd"]},
    ],
)
def test_nonsense_is_answered_and_the_next_request_too(
    tmp_path: Path, request_: dict[str, object]
) -> None:
    (tmp_path / "secret").write_text("not an object")
    root = tmp_path / "lake"
    root.mkdir()
    (root / "a").write_bytes(b"x")
    first, second = talk(root, sent(("send", request_)), ask(do="stat", keys=["a"]))
    assert first["error"] in ("CorruptData", "UsageError", "MissingBytes")
    assert second == {"sizes": {"a": 1}}
    assert (tmp_path / "secret").exists()


def test_a_put_of_other_bytes_than_were_announced_is_refused(tmp_path: Path) -> None:
    for size in (0, 4, 6, 1 << 61):
        put = ask(do="put", key="a", size=size, create=False)
        answer, after = talk(tmp_path, put, sent(("send_data", [b"12345"])), ask(do="list"))
        assert answer["error"] == "CorruptData"
        assert after == {"entries": []}


def test_a_put_that_is_cut_leaves_nothing(tmp_path: Path) -> None:
    put = ask(do="put", key="a", size=5) + sent(("send_data", [b"12345"]))
    for length in range(len(put)):
        talk(tmp_path, put[:length])
        assert FolderRemote(tmp_path).stat(["a"]) == {}
    assert not list((tmp_path / ".tmp").iterdir())
    assert talk(tmp_path, put) == [{}]


def test_a_sender_that_cannot_go_on_is_believed(tmp_path: Path) -> None:
    def pieces() -> object:
        yield b"123"
        raise GitmlError("the file is gone")

    sink = io.BytesIO()
    with pytest.raises(GitmlError):
        Line(io.BytesIO(), sink).send_data(pieces())  # type: ignore[arg-type]
    put = ask(do="put", key="a", size=3) + sink.getvalue()
    answer, after = talk(tmp_path, put, ask(do="stat", keys=["a"]))
    assert "the file is gone" in str(answer["message"])
    assert after == {"sizes": {}}
