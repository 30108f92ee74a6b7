"""The repository is found where git finds it, and refused with the way out where it is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gitml.errors import GitmlError, NoRepository
from gitml.git.process import Git, GitFailed, init_repository
from gitml.testing.sealed import GitRepository, SealedEnvironment


@pytest.fixture
def repository(git_repository: GitRepository) -> GitRepository:
    git_repository.write("src/a.py", "a = 1\n")
    git_repository.commit("one")
    return git_repository


def test_it_is_found_from_any_folder(repository: GitRepository) -> None:
    for start in (repository.path, repository.path / "src"):
        git = Git.discover(start)
        assert git.root == repository.path
        assert git.directory == git.common == repository.path / ".git"
        assert not git.shallow
        assert git.run("rev-parse", "--show-prefix").strip() == b""


def test_paths_may_have_any_bytes(sealed_environment: SealedEnvironment) -> None:
    for name in (b"caf\xe9", "a b\u2028c\x0b'".encode(), b"-x"):
        path = Path(os.fsdecode(os.fsencode(sealed_environment.home) + b"/" + name))
        git = init_repository(path)
        assert git.root == path
        assert git.run("rev-parse", "--is-inside-work-tree") == b"true\n"


def test_a_line_break_in_the_path_is_refused(sealed_environment: SealedEnvironment) -> None:
    folder = sealed_environment.home / "a\nb"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    with pytest.raises(NoRepository, match="has a line break"):
        Git.discover(folder)


def test_outside_of_a_repository(sealed_environment: SealedEnvironment) -> None:
    with pytest.raises(NoRepository, match="not inside a git repository") as caught:
        Git.discover(sealed_environment.home)
    assert caught.value.exit_code == 10
    assert "`git init && gitml init`" in (caught.value.hint or "")
    with pytest.raises(NoRepository, match="no such folder"):
        Git.discover(sealed_environment.home / "nowhere")


def test_a_bare_repository_reads_and_has_no_work_tree(
    repository: GitRepository, tmp_path: Path
) -> None:
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    git = Git.discover(tmp_path / "bare")
    assert git.root is None
    assert git.run("log", "--format=%s") == b"one\n"
    with pytest.raises(NoRepository, match="needs a work tree") as caught:
        git.work_tree()
    assert "`git clone`" in (caught.value.hint or "")


def test_inside_dot_git_there_is_no_work_tree(repository: GitRepository) -> None:
    git = Git.discover(repository.path / ".git" / "refs")
    assert git.directory == repository.path / ".git"
    with pytest.raises(NoRepository, match="needs a work tree") as caught:
        git.work_tree()
    assert "`cd`" in (caught.value.hint or "")


def test_a_linked_worktree_shares_the_common_directory(
    repository: GitRepository, tmp_path: Path
) -> None:
    repository.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    git = Git.discover(tmp_path / "linked" / "src")
    assert git.root == tmp_path / "linked"
    assert git.common == repository.path / ".git"
    assert git.directory == repository.path / ".git/worktrees/linked"
    assert git.branch() is None


def test_a_shallow_clone_knows_it(repository: GitRepository, tmp_path: Path) -> None:
    repository.commit("two")
    source = f"file://{repository.path}"
    repository.git("clone", "--quiet", "--depth=1", source, str(tmp_path / "shallow"))
    assert Git.discover(tmp_path / "shallow").shallow


def test_a_sha256_repository_is_refused(sealed_environment: SealedEnvironment) -> None:
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256"], check=True)
    with pytest.raises(NoRepository, match="sha256 object ids"):
        Git.discover(sealed_environment.home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_repository_of_another_user_is_refused_with_gits_command(
    repository: GitRepository,
) -> None:
    for folder, names, files in os.walk(repository.path):
        for name in (".", *names, *files):
            os.chown(os.path.join(folder, name), 4321, 4321)
    with pytest.raises(NoRepository, match="belongs to another user") as caught:
        Git.discover(repository.path)
    hint = caught.value.hint or ""
    assert f"git config --global --add safe.directory {repository.path}" in hint
    command = hint.partition("`")[2].removesuffix("`")
    subprocess.run(command, shell=True, check=True)
    assert Git.discover(repository.path).root == repository.path


def test_a_hooks_variables_do_not_bend_it(
    repository: GitRepository, sealed_environment: SealedEnvironment, tmp_path: Path
) -> None:
    """A hook in a linked worktree is given GIT_DIR; git then takes any folder for the top."""
    repository.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    directory = repository.path / ".git/worktrees/linked"
    sealed_environment.set("GIT_DIR", str(directory))
    sealed_environment.set("GIT_INDEX_FILE", str(tmp_path / "other-index"))
    sealed_environment.set("GIT_PREFIX", "src/")
    for start in (tmp_path / "linked", tmp_path / "linked" / "src"):
        os.chdir(start)
        git = Git.discover(Path.cwd())
        assert (git.root, git.directory) == (tmp_path / "linked", directory)
        assert git.run("status", "--porcelain") == b""
    # A path that somebody names is meant, whatever the hook's repository is.
    other = init_repository(tmp_path / "other")
    assert (other.root, other.directory) == (tmp_path / "other", tmp_path / "other/.git")


def test_git_dir_of_the_user_counts(
    repository: GitRepository, sealed_environment: SealedEnvironment
) -> None:
    """`git --git-dir=… --work-tree=… ml status` hands both down."""
    sealed_environment.set("GIT_DIR", str(repository.path / ".git"))
    sealed_environment.set("GIT_WORK_TREE", str(repository.path))
    git = Git.discover(sealed_environment.home)
    assert git.root is None
    sealed_environment.set("GIT_DIR", str(repository.path / ".git"))
    os.chdir(sealed_environment.home)
    assert Git.discover(Path.cwd()).directory == repository.path / ".git"


def test_it_works_inside_a_real_hook(repository: GitRepository) -> None:
    script = (
        "#!/bin/sh\ncd src && exec python -c 'from pathlib import Path; "
        "from gitml.git.process import Git; git = Git.discover(Path.cwd()); "
        'open("../seen", "w").write(f"{git.root} {git.directory}")\'\n'
    )
    hook = repository.write(".git/hooks/pre-commit", script)
    hook.chmod(0o755)
    repository.write("src/a.py", "a = 2\n")
    repository.git("commit", "--quiet", "-a", "-m", "two")
    seen = (repository.path / "seen").read_text()
    assert seen == f"{repository.path} {repository.path / '.git'}"


def test_the_identity_is_what_git_was_told(
    repository: GitRepository, sealed_environment: SealedEnvironment
) -> None:
    assert Git.discover(repository.path).identity() == ("Ada Example", "ada@example.org")
    repository.git("config", "user.name", "A <b>\n# x\tc ")
    assert Git.discover(repository.path).identity() == ("A b# xc", "ada@example.org")
    sealed_environment.set("GIT_COMMITTER_NAME", "Bob")
    assert Git.discover(repository.path).identity() == ("Bob", "ada@example.org")


def test_without_an_identity_none_is_made_up(
    repository: GitRepository, sealed_environment: SealedEnvironment
) -> None:
    sealed_environment.forget_identity()
    assert Git.discover(repository.path).identity() is None
    repository.git("config", "user.name", "<>")
    repository.git("config", "user.email", "x@example.org")
    assert Git.discover(repository.path).identity() is None


def test_a_remote_is_seen(repository: GitRepository) -> None:
    assert not Git.discover(repository.path).has_remote()
    repository.git("remote", "add", "origin", "https://example.org/x.git")
    assert Git.discover(repository.path).has_remote()


def test_a_failure_has_gits_words(repository: GitRepository) -> None:
    git = Git.discover(repository.path)
    with pytest.raises(GitFailed, match="git rev-parse --verify nowhere: fatal: Needed a single"):
        git.run("rev-parse", "--verify", "nowhere")
    assert git.run("rev-parse", "--verify", "nowhere", accept=(128,)) == b""


def test_git_that_is_not_there_is_told_from_a_folder_that_is_not(
    repository: GitRepository, sealed_environment: SealedEnvironment, tmp_path: Path
) -> None:
    git = Git(repository.path / ".git", repository.path / ".git", tmp_path / "gone", False)
    with pytest.raises(NoRepository, match="no such folder"):
        git.run("status")
    sealed_environment.set("PATH", str(tmp_path))
    with pytest.raises(GitmlError, match="git is not installed"):
        Git.discover(repository.path)


def test_an_id_means_the_object_that_has_it(repository: GitRepository) -> None:
    """`git replace` may lie to people; a record that is checked is the one of that id."""
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit("two")
    repository.git("replace", second, first)
    assert Git.discover(repository.path).run("log", "--format=%s").split() == [b"two", b"one"]
