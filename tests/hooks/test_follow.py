"""Data follows its pointers through git's own commands, and nothing of it stops git."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitml.errors import GitmlError
from gitml.git.process import Git
from gitml.hooks.checks import Occasion
from gitml.hooks.follow import Followed, follow, moved_pointers
from gitml.hooks.install import install
from gitml.repo import Repo
from gitml.testing.sealed import Project, SealedEnvironment

ZERO = "0" * 40


def add(project: Project, name: str, content: str) -> None:
    """Data with its pointer, committed."""
    project.write(name, content)
    repo = Repo.discover(project.path)
    repo.add([project.path / name.partition("/")[0]])
    repo.close()
    project.commit(f"{name}: {content}")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two versions of a file and of a folder, one behind the other."""
    made = Project(tmp_path_factory.mktemp("follow") / "shop")
    Repo.init(made.path)
    add(made, "raw.csv", "one")
    add(made, "images/a.png", "a")
    made.git("tag", "first")
    add(made, "raw.csv", "two")
    add(made, "images/b.png", "b")
    made.git("tag", "second")
    return made


@pytest.fixture
def shop(filled: Project, sealed_environment: SealedEnvironment, tmp_path: Path) -> Project:
    """A copy of it for one test."""
    shutil.copytree(filled.path, tmp_path / "shop", symlinks=True)
    return Project(tmp_path / "shop")


def moved(project: Project, hook: str, *arguments: str, **told: str) -> Mapping[str, str] | None:
    return moved_pointers(Git.discover(project.path), hook, Occasion(arguments, told))


def followed(project: Project, pointers: Mapping[str, str] | None) -> Followed | None:
    repo = Repo.discover(project.path)
    try:
        return follow(repo.workspace, pointers)
    finally:
        repo.close()


def content(project: Project) -> dict[str, str]:
    names = ("raw.csv", "images/a.png", "images/b.png", "new.csv")
    return {n: (project.path / n).read_text() for n in names if (project.path / n).exists()}


FIRST = {"raw.csv": "one", "images/a.png": "a"}
SECOND = {"raw.csv": "two", "images/a.png": "a", "images/b.png": "b"}


# What git says has moved


def test_a_checkout_says_between_which_commits(shop: Project) -> None:
    ends = [shop.git("rev-parse", f"{one}^{{commit}}") for one in ("first", "second")]
    both = {"raw.csv.gitml": "M", "images.gitml": "M"}
    assert moved(shop, "post-checkout", *ends, "1") == both
    assert moved(shop, "post-checkout", ends[0], ends[0], "1") == {}
    assert moved(shop, "post-checkout", ZERO, ends[0], "1") == dict.fromkeys(both, "A")
    assert moved(shop, "post-checkout", ends[1], ends[1], "0") is None
    assert moved(shop, "post-checkout", "1" * 40, ends[1], "1") is None
    told = {
        "PRE_COMMIT_CHECKOUT_TYPE": "1",
        "PRE_COMMIT_FROM_REF": ends[0],
        "PRE_COMMIT_TO_REF": ends[1],
    }
    assert moved(shop, "gitml-checkout", **told) == both
    assert moved(shop, "gitml-checkout") is None


def test_a_merge_and_a_rebase_come_from_where_git_says(shop: Project) -> None:
    shop.git("update-ref", "ORIG_HEAD", "first^{commit}")
    both = {"raw.csv.gitml": "M", "images.gitml": "M"}
    assert moved(shop, "post-merge", "0") == both
    assert moved(shop, "post-merge", "1") == {}
    assert moved(shop, "post-rewrite", "rebase") == both
    assert moved(shop, "post-rewrite", "amend") == {}
    assert moved(shop, "gitml-checkout", PRE_COMMIT_IS_SQUASH_MERGE="0") == both
    assert moved(shop, "gitml-checkout", PRE_COMMIT_REWRITE_COMMAND="rebase") == both
    shop.git("rm", "--quiet", "--cached", "raw.csv.gitml")
    assert moved(shop, "post-merge", "1") == {"raw.csv.gitml": "D"}


def test_data_of_commits_that_are_rebased_comes_back(shop: Project) -> None:
    """Git checks out the new base first, and there its data is another or none."""
    install(Git.discover(shop.path), sys.executable)
    shop.git("switch", "--quiet", "--create", "theirs")
    add(shop, "raw.csv", "three")
    shop.git("switch", "--quiet", "-")
    add(shop, "images/a.png", "mine")
    add(shop, "new.csv", "new")
    shop.git("rebase", "--quiet", "theirs")
    assert content(shop) == SECOND | {"raw.csv": "three", "images/a.png": "mine", "new.csv": "new"}
    assert all(one.state == "clean" for one in Repo.discover(shop.path).data_status())


# What becomes of the data


def test_data_that_was_here_follows(shop: Project) -> None:
    shop.git("checkout", "--quiet", "first")
    assert content(shop) == SECOND
    both = {"raw.csv.gitml": "M", "images.gitml": "M"}
    found = followed(shop, both)
    assert found is not None
    assert (found.written, found.removed, found.size, found.left) == (1, 1, 3, {})
    assert content(shop) == FIRST
    assert followed(shop, both) is None
    assert followed(shop, None) is None


def test_data_that_was_not_here_stays_away_and_new_data_comes(shop: Project) -> None:
    (shop.path / "raw.csv").unlink()
    clone = Project(shop.path.with_name("clone"))
    shop.git("clone", "--quiet", ".", str(clone.path))
    clone.git("config", "gitml.store", str(shop.path / ".git" / "gitml" / "store"))
    assert followed(clone, {"raw.csv.gitml": "M", "images.gitml": "M"}) is None
    assert content(clone) == {}
    found = followed(clone, {"raw.csv.gitml": "A"})
    assert found is not None and found.written == 1
    assert content(clone) == {"raw.csv": "two"}


def test_data_whose_bytes_are_elsewhere_holds_up_no_other(shop: Project) -> None:
    pointer = (shop.path / "raw.csv.gitml").read_text()
    digest = pointer.partition("blake3:")[2][:64]
    shop.write("raw.csv.gitml", pointer.replace(digest, "ab" * 32))
    shop.git("checkout", "--quiet", "first", "--", "images.gitml")
    found = followed(shop, {"raw.csv.gitml": "M", "images.gitml": "M"})
    assert found is not None
    assert list(found.left) == ["raw.csv"]
    assert (found.written, found.removed) == (0, 1)
    assert content(shop) == {"raw.csv": "two", "images/a.png": "a"}


def test_data_with_changes_of_its_own_stays(shop: Project) -> None:
    shop.write("raw.csv", "precious")
    shop.write("images/a.png", "painted over")
    shop.git("checkout", "--quiet", "first")
    found = followed(shop, {"raw.csv.gitml": "M", "images.gitml": "M"})
    assert found is not None
    assert list(found.left) == ["raw.csv"]
    assert isinstance(found.left["raw.csv"], GitmlError)
    assert content(shop) == {"raw.csv": "precious", "images/a.png": "painted over"}


def test_a_pointer_that_is_gone_takes_its_data_along(shop: Project) -> None:
    shop.git("rm", "--quiet", "raw.csv.gitml")
    shop.commit("no more")
    found = followed(shop, {"raw.csv.gitml": "D"})
    assert found is not None and found.removed == 1
    assert "raw.csv" not in content(shop)


def test_a_pointer_that_cannot_be_read_is_left_to_its_reader(shop: Project) -> None:
    shop.write("raw.csv.gitml", "<<<<<<< HEAD\n")
    assert followed(shop, {"raw.csv.gitml": "M"}) is None
    assert content(shop) == SECOND


# Through git


def git(project: Project, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=project.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.fixture
def hooked(shop: Project) -> Project:
    Repo.discover(shop.path).install_hooks()
    return shop


def test_switching_brings_the_data_along(hooked: Project) -> None:
    said = git(hooked, "checkout", "--quiet", "first")
    assert content(hooked) == FIRST
    assert said == "Data followed: 1 file written (3 B), 1 file removed\n"
    assert git(hooked, "checkout", "--quiet", "main") != ""
    assert content(hooked) == SECOND
    hooked.write("code.py", "x = 1\n")
    hooked.commit("code")
    assert git(hooked, "checkout", "--quiet", "second") == ""


def test_a_pointer_that_is_checked_out_alone_brings_its_data(hooked: Project) -> None:
    git(hooked, "checkout", "--quiet", "first", "--", "raw.csv.gitml")
    assert content(hooked) == SECOND | {"raw.csv": "one"}


def test_merges_and_rebases_bring_the_data_along(hooked: Project) -> None:
    git(hooked, "switch", "--quiet", "--create", "side", "first")
    hooked.write("code.py", "x = 1\n")
    hooked.commit("code")
    assert content(hooked) == FIRST
    git(hooked, "rebase", "--quiet", "second")
    assert content(hooked) == SECOND
    git(hooked, "switch", "--quiet", "--create", "other", "first")
    git(hooked, "merge", "--quiet", "--ff-only", "second")
    assert content(hooked) == SECOND
    git(hooked, "reset", "--quiet", "--hard", "first")
    git(hooked, "checkout", "--quiet", "other")
    git(hooked, "merge", "--quiet", "--squash", "second")
    assert content(hooked)["raw.csv"] == "two"


def test_a_new_worktree_has_its_data(hooked: Project, tmp_path: Path) -> None:
    git(hooked, "worktree", "add", "--quiet", str(tmp_path / "linked"), "first")
    assert content(Project(tmp_path / "linked")) == FIRST
    assert content(hooked) == SECOND


def test_git_goes_on_whatever_happens(hooked: Project) -> None:
    hooked.write("raw.csv", "precious")
    said = git(hooked, "checkout", "--quiet", "first")
    assert said == (
        "Data followed: 1 file removed; raw.csv stays as it is: `gitml checkout raw.csv` says why\n"
    )
    assert content(hooked) == FIRST | {"raw.csv": "precious"}
    (hooked.path / "gitml.toml").write_text("broken = = \n")
    git(hooked, "checkout", "--quiet", "--force", "second")
    index = hooked.path / ".git" / "gitml" / "stat" / "index"
    index.write_bytes(b"DIRC" + bytes(100))
    git(hooked, "checkout", "--quiet", "--force", "first")


def test_without_data_nothing_is_asked_and_nothing_said(project: Project) -> None:
    Repo.discover(project.path).install_hooks()
    project.write("code.py", "x = 1\n")
    project.commit("code")
    assert git(project, "checkout", "--quiet", "HEAD~1") == ""
    assert git(project, "checkout", "--quiet", "main", "--", "code.py") == ""
    assert not (project.path / ".git" / "gitml" / "stat").exists()
