"""The hooks in the hands of the real pre-commit program.

It clones this package and installs it into an environment of its own, as it does for everyone. To
be quick, and to need no network, that environment borrows the libraries of the one that runs the
tests: only gitml itself is installed. The heavy sweep installs all of it, as users get it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gitml.repo import Repo
from gitml.testing.sealed import GitRepository, Project, sealed_variables

pytest.importorskip("pre_commit")
pytest.importorskip("setuptools", minversion="77")

ROOT = Path(__file__).parents[2]
HOOKS = (
    *("gitml-pointers", "gitml-secrets", "gitml-records", "gitml-promotion"),
    *("gitml-push", "gitml-checkout"),
)
TOKEN = "gl" + "pat-" + "Xy7Qw2Lr9Tz4Kd8Vb3Ns"
STAGES = (
    "default_install_hook_types: [pre-commit, pre-push, post-checkout, post-merge, post-rewrite]\n"
)
BORROWED = {
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the other way round: no isolation
    "PIP_NO_INDEX": "1",
    "PIP_NO_COMPILE": "1",
    "VIRTUALENV_SYMLINK_APP_DATA": "1",
    "PYTHONPATH": sysconfig.get_paths()["purelib"],
}


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    """A repository with what pre-commit needs of this one, as it lies here."""
    made = GitRepository(tmp_path_factory.mktemp("package"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", ".pre-commit-hooks.yaml"):
        shutil.copy2(ROOT / name, made.path / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "gitml", made.path / "gitml", symlinks=True, ignore=ignored)
    shutil.copytree(ROOT / "examples", made.path / "examples", symlinks=True, ignore=ignored)
    made.git("init", "--quiet")
    made.commit("gitml")
    made.git("tag", "v0")
    return made


@pytest.fixture(scope="session")
def environments(
    package: GitRepository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The variables under which pre-commit finds the one environment of this test session."""
    home = tmp_path_factory.mktemp("pre-commit-home")
    places = {"PRE_COMMIT_HOME": home / "cache", "VIRTUALENV_OVERRIDE_APP_DATA": home / "data"}
    variables = BORROWED | {name: str(path) for name, path in places.items()}
    probe = GitRepository(home / "probe")
    probe.path.mkdir()
    probe.git("init", "--quiet")
    write_config(probe, package)
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "install-hooks"],
        cwd=probe.path,
        env=sealed_variables(home / "h") | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pre-commit cannot build its environment here: {done.stdout[-300:]}")
    yield variables


def write_config(repository: GitRepository, package: GitRepository, extra: str = "") -> None:
    hooks = "".join(f"      - id: {one}\n{extra if one == HOOKS[0] else ''}" for one in HOOKS)
    repository.write(
        ".pre-commit-config.yaml",
        f"{STAGES}repos:\n  - repo: {package.path}\n    rev: v0\n    hooks:\n{hooks}",
    )


@pytest.fixture
def team(
    project: Project,
    package: GitRepository,
    environments: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A project whose pre-commit runs gitml's hooks."""
    for name, value in environments.items():
        monkeypatch.setenv(name, value)
    write_config(project, package, "        args: ['--limit=2 kB']\n")
    project.commit("pre-commit")
    pre_commit(project, "install")
    return project


def run(repository: GitRepository, *command: str) -> tuple[int, str]:
    done = subprocess.run(command, cwd=repository.path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def pre_commit(repository: GitRepository, *arguments: str, status: int = 0) -> str:
    code, said = run(repository, sys.executable, "-m", "pre_commit", *arguments)
    assert code == status, said
    return said


@pytest.mark.sweep  # it builds an environment of its own, as `environments` has for the others
def test_try_repo_runs_the_hooks_of_a_clone(
    project: Project,
    package: GitRepository,
    environments: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environments.items():
        monkeypatch.setenv(name, value)
    project.write("conf.py", f"token = '{TOKEN}'\n")
    project.git("add", ".")
    said = pre_commit(project, "try-repo", str(package.path), "gitml-secrets", status=1)
    assert "conf.py:1: a token of GitLab" in said
    assert TOKEN not in said


def test_a_commit_is_judged(team: Project) -> None:
    team.write("code.py", "x = 1\n")
    team.git("add", ".")
    code, said = run(team, "git", "commit", "--quiet", "--message", "code")
    assert code == 0, said
    team.write("conf.py", f"token = '{TOKEN}'\n")
    team.write("big.bin", b"\0" * 2001)
    team.write("a.gitml", "<<<<<<< HEAD\n")
    team.write(".gitml/run.json", "{}")
    team.git("add", ".")
    code, said = run(team, "git", "commit", "--quiet", "--message", "all of it")
    assert code == 1
    for words in (
        "conf.py:1: a token of GitLab",
        "big.bin: 0.0 MB is too much for git (at most 0.002 MB)",
        "a.gitml: a pointer begins with",
        ".gitml/: a record's folder",
    ):
        assert words in said
    assert TOKEN not in said


def test_all_files_are_judged_by_hand_and_in_ci(team: Project) -> None:
    base = team.git("rev-parse", "HEAD")
    team.write("conf.py", f"token = '{TOKEN}'\n")
    team.write("big.bin", b"\0" * 2001)
    team.git("add", ".")
    team.git("commit", "--quiet", "--no-verify", "--message", "it got in")
    said = pre_commit(team, "run", "--all-files", status=1)
    assert "conf.py:1" in said
    assert "big.bin" not in said
    said = pre_commit(team, "run", "--from-ref", base, "--to-ref", "HEAD", status=1)
    assert "conf.py:1" in said
    assert "big.bin" in said


def test_data_follows_its_pointers(team: Project) -> None:
    with closing(Repo.discover(team.path)) as repo:
        for content in ("one", "two"):
            team.write("raw.csv", content)
            repo.add([team.path / "raw.csv"])
            team.commit(content)
    code, said = run(team, "git", "checkout", "--detach", "HEAD~1")
    assert code == 0, said
    assert "Data followed: 1 file written (3 B)" in said
    assert (team.path / "raw.csv").read_text() == "one"
    team.write("raw.csv", "precious")
    code, said = run(team, "git", "checkout", "main")
    assert code == 0, said
    assert "raw.csv stays as it is" in said
    assert (team.path / "raw.csv").read_text() == "precious"


def test_a_record_is_not_pushed_as_code(team: Project, tmp_path: Path) -> None:
    team.git("init", "--quiet", "--bare", str(tmp_path / "hub"))
    team.git("remote", "add", "origin", str(tmp_path / "hub"))
    code = team.git("rev-parse", "HEAD")
    assert run(team, "git", "push", "--quiet", "origin", "main")[0] == 0
    team.write(".gitml/run.json", "{}")
    team.git("add", ".")
    message = f"a record\n\nGitml-Kind: run\nGitml-Code: {code}"
    team.git("commit", "--quiet", "--no-verify", "--message", message)
    status, said = run(team, "git", "push", "origin", "main")
    assert status == 1
    assert "would publish the record" in said


def test_a_wish_is_judged_and_bytes_go_first(team: Project, tmp_path: Path) -> None:
    team.write("promotions/clf.toml", 'production = "v1"\nproduction = "v2"\n')
    team.git("add", ".")
    code, said = run(team, "git", "commit", "--quiet", "--message", "two wishes")
    assert code == 1
    assert "promotions/clf.toml:2: production has two wishes" in said
    team.git("rm", "--quiet", "--cached", "promotions/clf.toml")
    (team.path / "promotions/clf.toml").unlink()
    lake = tmp_path / "lake"
    lake.mkdir()
    with (team.path / "gitml.toml").open("a") as file:
        file.write(f'\n[remotes.lake]\nurl = "{lake}"\n')
    with closing(Repo.discover(team.path)) as repo:
        team.write("raw.csv", "id\n" * 1000)
        repo.add([team.path / "raw.csv"])
    team.commit("data")
    team.git("init", "--quiet", "--bare", str(tmp_path / "hub"))
    team.git("remote", "add", "origin", str(tmp_path / "hub"))
    code, said = run(team, "git", "push", "origin", "main")
    assert code == 0, said
    assert "of data before the push" in said
    assert [one for one in lake.rglob("*") if one.is_file()]


def test_both_installers_go_together_in_any_order(team: Project) -> None:
    hooks = team.path / ".git" / "hooks"
    assert "Nothing to do" in team.gitml("hooks", "install").out
    (team.path / ".pre-commit-config.yaml").write_text(f"{STAGES}repos: []\n")
    team.gitml("hooks", "install")
    assert (hooks / "pre-commit.legacy").exists()
    pre_commit(team, "install")
    pre_commit(team, "install")
    team.write("a.gitml", "no pointer\n")
    team.git("add", "a.gitml")
    for step in ("uninstall", "install", "uninstall"):
        code, said = run(team, "git", "commit", "--quiet", "--message", "x")
        assert code == 1, step
        assert "a.gitml: a pointer begins with" in said
        assert "bug" not in said
        pre_commit(team, step)
    assert run(team, "git", "commit", "--quiet", "--message", "x")[0] == 1
    team.gitml("hooks", "uninstall")
    assert not [one.name for one in hooks.iterdir() if not one.name.endswith(".sample")]


def test_the_manifest_is_one(package: GitRepository) -> None:
    pre_commit(package, "validate-manifest", str(package.path / ".pre-commit-hooks.yaml"))


@pytest.mark.sweep
def test_the_whole_package_installs_as_users_get_it(
    project: Project, package: GitRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    project.write("conf.py", f"token = '{TOKEN}'\n")
    project.git("add", ".")
    code, said = run(
        project, sys.executable, "-m", "pre_commit", "try-repo", str(package.path), HOOKS[1]
    )
    if "conf.py:1" not in said:
        pytest.skip(f"pip cannot install the dependencies here: {said[-300:]}")
    assert code == 1
