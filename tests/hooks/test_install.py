"""Hooks are put in place and taken away again, and what was there keeps its rights."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gitml.errors import ConfigError, UsageError
from gitml.fs import write_durably
from gitml.git.process import Git
from gitml.hooks import install as installer
from gitml.hooks.install import EVENTS, install, look, uninstall
from gitml.testing.sealed import GitRepository, SealedEnvironment

PRE_COMMIT_SCRIPT = "#!/bin/sh\n# ID: 138fd403232d2ddd5efb44317e38bf03\necho pre-commit's own\n"


@pytest.fixture
def folder(git_repository: GitRepository) -> Path:
    return git_repository.path / ".git" / "hooks"


def git_of(repository: GitRepository) -> Git:
    return Git.discover(repository.path)


def put(repository: GitRepository) -> list[tuple[str, str]]:
    return [(one.event, one.doing) for one in install(git_of(repository), sys.executable)]


def take(repository: GitRepository) -> list[tuple[str, str]]:
    return [(one.event, one.doing) for one in uninstall(git_of(repository), sys.executable)]


def states(repository: GitRepository) -> dict[str, str]:
    return {one.event: one.state for one in look(git_of(repository), sys.executable).hooks}


def hook(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def contents(folder: Path) -> dict[str, tuple[bytes | str, int, int]]:
    """Every name below a folder with its bytes, mode and time of change."""
    found: dict[str, tuple[bytes | str, int, int]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        inside = os.readlink(path) if path.is_symlink() else path.read_bytes()
        found[str(path.relative_to(folder))] = (inside, status.st_mode, status.st_mtime_ns)
    return found


def commit(repository: GitRepository, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "commit", "--quiet", "--allow-empty", "--message", "x", *arguments],
        cwd=repository.path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_is_installed_once(git_repository: GitRepository, folder: Path) -> None:
    assert states(git_repository) == dict.fromkeys(EVENTS, "absent")
    assert put(git_repository) == [(event, "install") for event in EVENTS]
    assert states(git_repository) == dict.fromkeys(EVENTS, "installed")
    before = contents(folder)
    assert put(git_repository) == []
    assert contents(folder) == before
    assert commit(git_repository).returncode == 0


def test_a_dry_run_writes_nothing(git_repository: GitRepository, folder: Path) -> None:
    before = contents(folder)
    changes = install(git_of(git_repository), sys.executable, dry_run=True)
    assert [one.event for one in changes] == list(EVENTS)
    assert contents(folder) == before
    put(git_repository)
    before = contents(folder)
    assert len(uninstall(git_of(git_repository), sys.executable, dry_run=True)) == len(EVENTS)
    assert contents(folder) == before


def test_uninstalling_restores_exactly_what_was(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(folder / "pre-commit", "exit 0", 0o751)
    hook(folder / "post-merge", "never runs", 0o644)
    (folder / "pre-push").symlink_to("../../tools/pre-push")
    before = contents(folder)
    assert len(put(git_repository)) == 5
    assert put(git_repository) == []
    assert take(git_repository) == [
        ("pre-commit", "restore"),
        ("pre-push", "restore"),
        ("post-checkout", "remove"),
        ("post-merge", "restore"),
        ("post-rewrite", "remove"),
    ]
    assert contents(folder) == before
    assert take(git_repository) == []


def test_a_check_finds_what_is_staged(git_repository: GitRepository) -> None:
    put(git_repository)
    git_repository.write("a.gitml", "no pointer\n")
    git_repository.git("add", ".")
    done = commit(git_repository)
    assert done.returncode == 1
    assert "a.gitml: a pointer begins with the line" in done.stderr
    git_repository.git("rm", "--quiet", "--cached", "a.gitml")
    assert commit(git_repository).returncode == 0


def test_the_commit_of_named_files_is_judged_by_its_own_index(
    git_repository: GitRepository,
) -> None:
    put(git_repository)
    for name in ("a.gitml", "b.txt"):
        git_repository.write(name, "not a pointer")
    git_repository.git("add", ".")
    assert commit(git_repository, "b.txt").returncode == 0
    assert commit(git_repository, "a.gitml").returncode == 1


def test_the_hook_that_was_there_runs_first_and_can_refuse(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(folder / "pre-commit", 'echo "mine in $PWD"; exit 7')
    put(git_repository)
    git_repository.write("a.gitml", "no pointer\n")
    git_repository.git("add", ".")
    done = commit(git_repository)
    assert done.returncode == 1
    assert f"mine in {git_repository.path}" in done.stderr
    assert "a.gitml" not in done.stderr
    hook(folder / "pre-commit.before-gitml", "exit 0")
    assert "a.gitml" in commit(git_repository).stderr


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("status", [0, 3])
def test_arguments_input_and_status_pass_through(
    git_repository: GitRepository, folder: Path, event: str, status: int
) -> None:
    hook(
        folder / event,
        f'for one in "$@"; do echo "[$one]"; done > seen\ncat > input\nexit {status}',
    )
    put(git_repository)
    arguments = ["a b", "", "$(touch bad) * '", "--option"]
    lines = "one two\n\n  three  \n"
    done = subprocess.run(
        [folder / event, *arguments],
        cwd=git_repository.path,
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    seen = (git_repository.path / "seen").read_text()
    assert seen == "[a b]\n[]\n[$(touch bad) * ']\n[--option]\n"
    assert (git_repository.path / "input").read_text() == lines


def test_a_first_hook_that_does_not_read_its_input_is_no_trouble(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(folder / "pre-push", "exit 0")
    put(git_repository)
    lines = f"refs/tags/x {'1' * 40} refs/tags/x {'0' * 40}\n" * 3000
    done = subprocess.run(
        [folder / "pre-push", "origin", "somewhere"],
        cwd=git_repository.path,
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interpreter_that_has_gone_does_not_break_git(
    git_repository: GitRepository, sealed_environment: SealedEnvironment, tmp_path: Path
) -> None:
    gone = tmp_path / "venv of 'old' $HOME" / "bin" / "python"
    install(git_of(git_repository), str(gone))
    git_repository.write("a.gitml", "no pointer\n")
    git_repository.git("add", ".")
    assert commit(git_repository).returncode == 1  # PATH has another gitml
    git = shutil.which("git")
    assert git is not None
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "git").symlink_to(git)
    sealed_environment.set("PATH", f"{bare}:/usr/bin:/bin")
    if shutil.which("gitml") is not None:
        pytest.skip("the system has a gitml of its own")
    done = commit(git_repository)
    assert done.returncode == 0
    assert f"gitml is no longer at {gone}" in done.stderr


def test_an_interpreter_without_gitml_does_not_break_git(
    git_repository: GitRepository, sealed_environment: SealedEnvironment
) -> None:
    base = Path(sys.base_prefix) / "bin" / "python3"
    probe = subprocess.run([base, "-P", "-c", "import gitml"], capture_output=True, check=False)
    if probe.returncode == 0 or not base.exists():
        pytest.skip("the base interpreter has gitml, or there is none")
    install(git_of(git_repository), str(base))
    sealed_environment.set("PATH", "/usr/bin:/bin")
    if shutil.which("gitml") is not None:
        pytest.skip("the system has a gitml of its own")
    done = commit(git_repository)
    assert done.returncode == 0
    assert "gitml is no longer at" in done.stderr


def test_another_interpreter_is_written_down_by_installing_again(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(folder / "pre-commit", "exit 0")
    old = contents(folder)
    install(git_of(git_repository), "/old/python")
    assert states(git_repository) == dict.fromkeys(EVENTS, "outdated")
    assert put(git_repository) == [(event, "renew") for event in EVENTS]
    assert states(git_repository) == dict.fromkeys(EVENTS, "installed")
    take(git_repository)
    assert contents(folder) == old


def test_a_module_of_the_project_does_not_hide_gitml(git_repository: GitRepository) -> None:
    put(git_repository)
    git_repository.write("gitml/__init__.py", "raise SystemExit('theirs')\n")
    git_repository.write("click.py", "raise SystemExit('theirs')\n")
    git_repository.git("add", ".")
    assert commit(git_repository).returncode == 0


# Where git looks for hooks


def test_a_folder_of_hooks_inside_the_git_directory_is_respected(
    git_repository: GitRepository, folder: Path
) -> None:
    git_repository.git("config", "core.hooksPath", ".git/my hooks")
    put(git_repository)
    assert (git_repository.path / ".git" / "my hooks" / "pre-commit").exists()
    assert not (folder / "pre-commit").exists()
    git_repository.write("a.gitml", "no pointer\n")
    git_repository.git("add", ".")
    assert commit(git_repository).returncode == 1


def test_a_relative_folder_that_git_does_not_track_is_respected(
    git_repository: GitRepository,
) -> None:
    git_repository.git("config", "core.hooksPath", "hooks")
    git_repository.write("deep/er/x", "x")
    assert len(install(Git.discover(git_repository.path / "deep" / "er"), sys.executable)) == 5
    assert (git_repository.path / "hooks" / "pre-commit").exists()


def test_a_tracked_folder_of_hooks_is_not_written_to(git_repository: GitRepository) -> None:
    hook(git_repository.path / ".githooks" / "pre-commit", "exit 0")
    git_repository.git("config", "core.hooksPath", ".githooks")
    git_repository.commit()
    before = contents(git_repository.path / ".githooks")
    with pytest.raises(ConfigError, match="which git tracks") as caught:
        put(git_repository)
    assert "gitml hooks run pre-commit" in (caught.value.hint or "")
    assert take(git_repository) == []
    assert contents(git_repository.path / ".githooks") == before
    hook(
        git_repository.path / ".githooks" / "pre-commit",
        'gitml hooks run pre-commit -- "$@" || exit',
    )
    assert states(git_repository)["pre-commit"] == "by hand"
    git_repository.write("a.gitml", "no pointer\n")
    git_repository.git("add", ".")
    assert commit(git_repository).returncode == 1


def test_hooks_that_lead_into_a_tracked_folder_by_a_link_are_not_written_to(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(git_repository.path / "tools" / "pre-commit", "exit 0")
    git_repository.commit()
    shutil.rmtree(folder)
    folder.symlink_to("../tools")
    with pytest.raises(ConfigError, match="in tools, which git tracks"):
        put(git_repository)


def test_hooks_of_all_repositories_are_not_written_to(
    git_repository: GitRepository, tmp_path: Path
) -> None:
    hook(tmp_path / "global" / "pre-commit", "exit 0")
    git_repository.git("config", "--global", "core.hooksPath", str(tmp_path / "global"))
    before = contents(tmp_path / "global")
    with pytest.raises(ConfigError, match="all your repositories share"):
        put(git_repository)
    assert contents(tmp_path / "global") == before


def test_husky_is_told_apart(git_repository: GitRepository) -> None:
    hook(git_repository.path / ".husky" / "_" / "pre-commit", "exit 0")
    git_repository.write(".husky/_/.gitignore", "*")
    git_repository.git("config", "core.hooksPath", ".husky/_")
    with pytest.raises(ConfigError, match="husky") as caught:
        put(git_repository)
    assert str(Path(".husky", "pre-commit")) in (caught.value.hint or "")


def test_linked_worktrees_share_the_hooks(git_repository: GitRepository, tmp_path: Path) -> None:
    git_repository.commit()
    git_repository.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = GitRepository(tmp_path / "linked")
    assert len(put(linked)) == 5
    assert put(git_repository) == []
    linked.write("a.gitml", "no pointer\n")
    linked.git("add", ".")
    assert commit(linked).returncode == 1
    assert commit(git_repository).returncode == 0


def test_a_relative_folder_means_another_one_in_each_worktree(
    git_repository: GitRepository, tmp_path: Path
) -> None:
    git_repository.git("config", "core.hooksPath", "local-hooks")
    git_repository.commit()
    git_repository.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert len(put(GitRepository(tmp_path / "linked"))) == 5
    assert (tmp_path / "linked" / "local-hooks" / "pre-commit").exists()
    assert states(git_repository)["pre-commit"] == "absent"


def test_a_bare_repository_has_hooks_too(git_repository: GitRepository, tmp_path: Path) -> None:
    git_repository.commit()
    git_repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    assert len(install(Git.discover(tmp_path / "bare"), sys.executable)) == 5


# Other tools


def test_pre_commits_script_stays_and_starts_ours(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(folder / "pre-commit", "").write_text(PRE_COMMIT_SCRIPT)
    hook(folder / "pre-commit.legacy", "echo older")
    before = contents(folder)
    put(git_repository)
    assert (folder / "pre-commit").read_text() == PRE_COMMIT_SCRIPT
    assert put(git_repository) == []
    found = {one.event: one for one in look(git_of(git_repository), sys.executable).hooks}
    assert found["pre-commit"].through
    assert found["pre-commit"].path.name == "pre-commit.legacy"
    assert not found["pre-push"].through
    done = subprocess.run(
        [folder / "pre-commit.legacy"],
        cwd=git_repository.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "older\n")
    take(git_repository)
    assert contents(folder) == before


def test_where_pre_commit_runs_our_hooks_they_are_not_run_twice(
    git_repository: GitRepository, folder: Path
) -> None:
    hook(folder / "pre-commit", "").write_text(PRE_COMMIT_SCRIPT)
    git_repository.write(
        ".pre-commit-config.yaml",
        "repos:\n- repo: x\n  hooks:\n  - id: gitml-pointers\n  - id: 'gitml-secrets'\n"
        "  - {id: gitml-records}\n  - id: gitml-promotion\n",
    )
    assert states(git_repository)["pre-commit"] == "through pre-commit"
    assert [event for event, _ in put(git_repository)] == list(EVENTS[1:])


def test_two_hooks_to_run_first_are_refused_before_anything_is_written(
    git_repository: GitRepository, folder: Path
) -> None:
    put(git_repository)
    hook(folder / "post-merge", "another tool's")
    hook(folder / "post-merge.before-gitml", "the first")
    (folder / "pre-commit").unlink()
    before = contents(folder)
    with pytest.raises(UsageError, match="two hooks to run first"):
        put(git_repository)
    assert contents(folder) == before


# Kills


class Killed(BaseException):
    pass


@pytest.mark.parametrize("written", [0, 1])
def test_after_a_kill_the_same_command_finishes(
    git_repository: GitRepository, folder: Path, written: int
) -> None:
    for event in EVENTS:
        hook(folder / event, "exit 0")
    before = contents(folder)
    left = [None] * written

    def write(path: Path, data: bytes, *, mode: int) -> None:
        if not left:
            raise Killed
        left.pop()
        write_durably(path, data, mode=mode)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(installer, "write_durably", write)
        put(git_repository)
    assert all(os.access(folder / event, os.X_OK) for event in EVENTS)
    put(git_repository)
    assert states(git_repository) == dict.fromkeys(EVENTS, "installed")
    take(git_repository)
    assert contents(folder) == before


def test_scripts_are_executable_whatever_the_umask(
    git_repository: GitRepository, folder: Path
) -> None:
    old = os.umask(0o077)
    try:
        put(git_repository)
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "pre-commit").stat().st_mode) == 0o700
