"""The example project: it travels with the package, and `gitml demo` plays it to its end."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from gitml import demo
from gitml.errors import GitmlError, UsageError
from gitml.testing.sealed import GitRepository, SealedEnvironment

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, without git's own and compiled files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.parts)
    }


def test_a_new_repository_has_the_files_of_the_example(tmp_path: Path) -> None:
    git = demo.copy_example(tmp_path / "penguins")
    assert git.root == (tmp_path / "penguins").resolve()
    assert files(tmp_path / "penguins") == files(demo.EXAMPLE.resolve())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        demo.copy_example(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_identity_is_made_up_only_where_there_is_none(
    tmp_path: Path, sealed_environment: SealedEnvironment
) -> None:
    assert not demo.introduce(demo.copy_example(tmp_path / "known"))
    sealed_environment.forget_identity()
    git = demo.copy_example(tmp_path / "unknown")
    assert demo.introduce(git)
    assert git.identity() == tuple(demo.IDENTITY.values())
    assert demo.copy_example(tmp_path / "another").identity() is None


def test_the_commit_needs_no_hook_and_no_key(
    tmp_path: Path, sealed_environment: SealedEnvironment
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    for key, value in {"core.hooksPath": str(hooks), "commit.gpgSign": "true"}.items():
        subprocess.run(["git", "config", "--global", key, value], check=True)
    git = demo.copy_example(tmp_path / "penguins")
    demo.commit_all(git)
    assert git.run("status", "--porcelain") == b""


def test_a_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    demo.require_libraries()
    monkeypatch.setattr(demo, "_NEEDED", ("json", "no_such_library"))
    with pytest.raises(GitmlError, match="no_such_library") as caught:
        demo.require_libraries()
    assert caught.value.hint is not None
    assert "pip install -e '.[demo]'" in caught.value.hint


def test_the_package_carries_every_file_of_the_example() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["gitml.demo"]
    # Path.glob would not follow the link, so the part below it is matched in the example itself.
    example = demo.EXAMPLE.resolve()
    inside = [pattern.removeprefix("penguins/") for pattern in patterns]
    carried = {path.relative_to(example).as_posix() for one in inside for path in example.glob(one)}
    assert {name for name in carried if (example / name).is_file()} == set(files(example))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, GitRepository]:
    """What `gitml demo` printed, and the repository that it left."""
    for name in ("pandas", "sklearn", "skops"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        ["gitml", "demo"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, GitRepository(folder / "gitml-demo")


def test_the_demo_shows_its_commands_and_what_to_try_next(
    played: tuple[str, GitRepository],
) -> None:
    out, _ = played
    for command in ("init", "run training", "model compare clf", "promote clf@v2", "rollback clf"):
        assert f"\n$ gitml {command}" in out
    assert len(out.partition("Now you")[2].strip().splitlines()) == 4


def test_the_demo_leaves_three_versions_and_the_whole_history(
    played: tuple[str, GitRepository],
) -> None:
    _, repository = played
    tags = repository.git("tag").splitlines()
    moves = [f"clf@production/{n}" for n in range(1, 5)]
    assert tags == [*moves, "clf@v1", "clf@v2", "clf@v3"]
    held = repository.git("rev-parse", "refs/gitml/stages/clf/production^{commit}")
    assert held == repository.git("rev-parse", "clf@v2^{commit}")
    assert repository.git("status", "--porcelain") == ""
    repository.git("fsck", "--strict")


def test_what_the_demo_says_to_try_next_works(played: tuple[str, GitRepository]) -> None:
    out, repository = played
    for line in out.partition("Now you")[2].strip().splitlines()[1:]:
        command = line.strip().partition("  ")[0]
        done = subprocess.run(
            command, shell=True, cwd=repository.path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
