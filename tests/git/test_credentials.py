"""What git's credential helpers know of a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.git.credentials import program_answer, stored_credentials
from gitml.git.process import Git
from gitml.testing.sealed import GitRepository


def test_a_helper_answers(git_repository: GitRepository) -> None:
    helper = '!f() { test "$1" = get && echo username=ada && echo password=pw; }; f'
    git_repository.git("config", "credential.https://s3.example.org.helper", helper)
    git = Git.discover(git_repository.path)
    assert stored_credentials(git, "https", "s3.example.org") == ("ada", "pw")
    assert stored_credentials(git, "https", "other.example.org") is None


@pytest.mark.parametrize("host", ["", "a\nusername=b", "a\0b"])
def test_what_is_no_host_is_not_asked_for(git_repository: GitRepository, host: str) -> None:
    assert stored_credentials(Git.discover(git_repository.path), "https", host) is None


def test_a_program_answers_in_one_line_or_not_at_all(tmp_path: Path) -> None:
    def program(text: str) -> str:
        path = tmp_path / "gh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    assert program_answer([program('echo "$@"'), "auth", "token"]) == "auth token"
    assert program_answer([program("echo token; exit 1")]) is None
    assert program_answer([program("echo not; echo logged in")]) is None
    assert program_answer([program("read answer; echo asked")]) == "asked"  # of nobody
    assert program_answer([str(tmp_path / "glab")]) is None
