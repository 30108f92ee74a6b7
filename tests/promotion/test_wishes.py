"""Files of wishes: read, refused with the line, changed in one line; which wish is new."""

from __future__ import annotations

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import ConfigError
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.promotion.wishes import Wishes, model_at, parse, path_of, with_wish
from gitml.testing.sealed import GitRepository

PATH = "promotions/clf.toml"


def test_a_line_a_stage() -> None:
    assert parse(b'# why\nproduction = "v8"\n"eu.west" = "v7"\n', PATH) == {
        "production": "v8",
        "eu.west": "v7",
    }
    assert parse(b"", PATH) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'staging = "v1"\nproduction = 8\n',
            r"clf\.toml:2: production should be a version; a wish",
        ),
        ('production = "8"\n', "clf.toml:1: '8' is no number of a version"),
        ('production = "v0"\n', "'v0' is no number of a version"),
        ('production = "staging"\n', "'staging' is no number of a version"),
        ('production = "0a1b2c3d4e5f"\n', "'0a1b2c3d4e5f' is a draft, which has no number"),
        ('production = "v8"\nproduction = "v9"\n', "clf.toml:2: production has two wishes, .* 1;"),
        ('latest = "v8"\n', "clf.toml:1: a stage cannot be called 'latest'"),
        ('[production]\nversion = "v8"\n', "production should be a version"),
        ("\nproduction = v8\n", "clf.toml:2: a wish is a line like"),
        ("production\n", "clf.toml:1: a wish is a line like"),
        (
            'a = "v1"\n<<<<<<< HEAD\ny = "v1"\n=======\ny = "v2"\n>>>>>>> x\n',
            ":2: a merge conflict",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(text.encode(), PATH)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = [[" * 5000, b"#" * (65 << 10), b"\0"])
def test_bytes_that_are_no_wishes_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"promotions/clf\.toml"):
        parse(data, PATH)


def test_only_files_in_the_folder_are_wishes() -> None:
    assert model_at(PATH) == "clf"
    assert model_at("promotions/README.md") is None
    assert model_at("old/promotions/clf.toml") is None
    assert path_of("clf") == PATH
    with pytest.raises(ConfigError, match="cannot be called 'v7'"):
        model_at("promotions/v7.toml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('x = "v1"  # since May\ny = "v1"\n', 'x = "v2"  # since May\ny = "v1"\n'),
        ('\'x\' = "v1"\r\ny = "v1"\r\n', 'x = "v2"\r\ny = "v1"\r\n'),
        ('y = "v1"', 'y = "v1"\nx = "v2"\n'),
        ("# only words\n", '# only words\nx = "v2"\n'),
    ],
)
def test_one_line_changes_and_no_other(before: str, after: str) -> None:
    assert with_wish(before.encode(), PATH, "x", "v2").decode() == after


def test_the_first_wish_makes_the_file() -> None:
    made = with_wish(None, PATH, "eu.west", "v2")
    assert parse(made, PATH) == {"eu.west": "v2"}
    assert made.decode().startswith("# ")


def test_a_file_that_only_a_person_can_change_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="cannot be changed from here"):
        with_wish(b'"\\u0078" = "v1"\n', PATH, "x", "v2")


@pytest.fixture
def book(git_repository: GitRepository) -> GitRepository:
    git_repository.git("init", "--quiet", "--initial-branch=main")
    return git_repository


def wish(book: GitRepository, text: str) -> ObjectId:
    book.write(PATH, text)
    book.commit(text)
    return ObjectId(book.git("rev-parse", "HEAD"))


def at(book: GitRepository, revision: str = "HEAD") -> Wishes:
    git = Git.discover(book.path)
    return Wishes(git, Odb(git), ObjectId(book.git("rev-parse", revision)))


def test_a_wish_is_new_when_its_line_was_changed_behind_a_commit(book: GitRepository) -> None:
    first = wish(book, 'x = "v1"\ny = "v1"\n')
    assert at(book).commit("clf") == first
    assert not at(book).is_newer("clf", "x", first)
    second = wish(book, 'x = "v1"\ny = "v2"\n')
    assert not at(book).is_newer("clf", "x", first)
    assert at(book).is_newer("clf", "y", first)
    assert at(book).commit("clf") == second
    wish(book, 'x = "v2"\ny = "v2"\n')
    assert not at(book, "HEAD~1").is_newer("clf", "x", first)
    wish(book, 'x = "v1"\ny = "v2"\n')  # there and back: somebody means it
    assert at(book).is_newer("clf", "x", first)
    assert at(book).agreed("clf", "x", "v2", first) == ObjectId(book.git("rev-parse", "HEAD~1"))
    assert at(book).agreed("clf", "x", "v9", first) is None


def test_what_a_branch_tried_before_its_merge_is_nobodys_wish(book: GitRepository) -> None:
    first = wish(book, 'x = "v1"\n')
    book.git("switch", "--quiet", "--create", "try")
    wish(book, 'x = "v2"\n')
    wish(book, 'x = "v1"\n')
    book.git("switch", "--quiet", "main")
    book.write("other", "x")
    book.commit("other work")
    book.git("merge", "--quiet", "--no-edit", "try")
    assert not at(book).is_newer("clf", "x", first)
    assert at(book).models == ("clf",)


def test_a_merge_is_the_wish_commit_of_what_it_brings(book: GitRepository) -> None:
    wish(book, 'x = "v1"\n')
    book.git("switch", "--quiet", "--create", "try")
    wish(book, 'x = "v2"\n')
    book.git("switch", "--quiet", "main")
    book.git("merge", "--quiet", "--no-ff", "--no-edit", "try")
    assert at(book).commit("clf") == ObjectId(book.git("rev-parse", "HEAD"))
    assert at(book).knows(ObjectId(book.git("rev-parse", "try")))
    book.git("switch", "--quiet", "--orphan", "elsewhere")
    wish(book, 'x = "v1"\n')
    assert not at(book).knows(ObjectId(book.git("rev-parse", "main")))


def test_a_merge_of_another_wish_makes_no_wish_new(book: GitRepository) -> None:
    """Whatever the difference of a merge says, it is no commit: else it would undo roll-backs."""
    first = wish(book, 'x = "v1"\ny = "v1"\n')
    book.git("switch", "--quiet", "--create", "try")
    wish(book, 'x = "v1"\ny = "v2"\n')
    book.git("switch", "--quiet", "main")
    book.git("merge", "--quiet", "--no-ff", "--no-edit", "try")
    assert not at(book).is_newer("clf", "x", first)
    assert at(book).is_newer("clf", "y", first)
    assert at(book).set_by("clf", "x") == first
    assert at(book).set_by("clf", "y") == ObjectId(book.git("rev-parse", "HEAD"))
    assert at(book).set_by("clf", "z") is None
