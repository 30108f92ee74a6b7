"""What git's credential helpers know of a host."""

from __future__ import annotations

import pytest

from gitml.git.credentials import stored_credentials
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
