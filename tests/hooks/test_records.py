"""A record on a branch is named before it is committed on, or pushed as code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.hooks.records import check_commit, check_push
from gitml.hooks.staged import Finding, Staged
from tests.workshop import Copy, Workshop, model_for_copies


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A repository in which a run made ``clf@v1``."""
    with model_for_copies(tmp_path_factory.mktemp("records")) as made:
        made.training()
        made.run()
        yield made


@pytest.fixture
def bob(filled: Workshop, copied: Copy) -> Workshop:
    return copied(filled)


@pytest.fixture
def odb(bob: Workshop) -> Iterator[Odb]:
    opened = Odb(Git.discover(bob.path))
    yield opened
    opened.close()


def committing(bob: Workshop, odb: Odb) -> list[Finding]:
    return list(check_commit(Staged(Git.discover(bob.path), odb), odb))


def pushing(bob: Workshop, odb: Odb, *lines: str) -> list[Finding]:
    return list(check_push(Git.discover(bob.path), odb, "origin", lines))


def test_code_on_a_branch_is_as_it_should_be(bob: Workshop, odb: Odb) -> None:
    bob.write("more.py", "x = 1\n")
    bob.git("add", ".")
    assert committing(bob, odb) == []


def test_a_branch_that_ends_in_a_record_is_named_and_mended(bob: Workshop, odb: Odb) -> None:
    code = bob.git("rev-parse", "HEAD")
    bob.git("reset", "--hard", "--quiet", "clf@v1")
    (found,) = committing(bob, odb)
    assert found.path == "main"
    assert found.repair == f"git reset --soft {code[:12]}"
    bob.git(*found.repair.split()[1:])
    (found,) = committing(bob, odb)
    assert found.path == ".gitml/"
    bob.git("rm", "-r", "-q", "--cached", ".gitml")
    assert committing(bob, odb) == []
    assert bob.git("rev-parse", "HEAD") == code


def test_a_detached_record_is_a_place_to_look_around(bob: Workshop, odb: Odb) -> None:
    bob.git("checkout", "--quiet", "clf@v1")
    assert committing(bob, odb) == []


def test_a_push_of_code_goes_through(bob: Workshop, odb: Odb) -> None:
    tip = bob.git("rev-parse", "main")
    version = bob.git("rev-parse", "clf@v1^{commit}")
    zero = "0" * 40
    assert (
        pushing(
            bob,
            odb,
            f"refs/heads/main {tip} refs/heads/main {zero}",
            f"refs/tags/clf@v1 {version} refs/tags/clf@v1 {zero}",
            f"(delete) {zero} refs/heads/old {tip}",
            "nonsense",
        )
        == []
    )


def test_a_push_of_a_record_as_code_is_named_and_mended(bob: Workshop, odb: Odb) -> None:
    code = bob.git("rev-parse", "HEAD")
    bob.git("reset", "--hard", "--quiet", "clf@v1")
    bob.git("rm", "-r", "-q", ".gitml")
    bob.write("more.py", "x = 1\n")
    tip = bob.commit("goes on from a record")
    line = f"refs/heads/main {tip} refs/heads/main"
    for there in ("0" * 40, code, "1" * 40):
        (found,) = pushing(bob, odb, f"{line} {there}")
        assert found.path == "main"
    assert found.repair is not None
    bob.git(*found.repair.split()[1:])
    tip = bob.git("rev-parse", "HEAD")
    assert pushing(bob, odb, f"refs/heads/main {tip} refs/heads/main {code}") == []
    assert bob.parents(tip) == [code]


def test_what_the_remote_has_is_passed_over(bob: Workshop, odb: Odb) -> None:
    record = bob.git("rev-parse", "clf@v1^{commit}")
    bob.git("reset", "--hard", "--quiet", record)
    bob.write("more.py", "x = 1\n")
    tip = bob.commit("goes on from a record")
    assert pushing(bob, odb, f"refs/heads/main {tip} refs/heads/main {record}") == []
    bob.git("update-ref", "refs/remotes/origin/main", record)
    assert pushing(bob, odb, f"refs/heads/main {tip} refs/heads/main {'0' * 40}") == []


def test_a_message_that_only_sounds_like_a_record_is_code(bob: Workshop, odb: Odb) -> None:
    bob.write("more.py", "x = 1\n")
    tip = bob.commit("About trailers\n\nGitml-Kind: run\nis what a run has.\n\nGitml-Kind: version")
    assert pushing(bob, odb, f"refs/heads/main {tip} refs/heads/main {'0' * 40}") == []
