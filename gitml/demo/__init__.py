"""The example project inside of the package, and a new repository made of it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from gitml.errors import GitmlError, UsageError
from gitml.git.process import Git, init_repository
from gitml.git.settings import set_setting

# A link to examples/penguins in the sources, a copy of it in what is built from them.
EXAMPLE = Path(__file__).parent / "penguins"
IDENTITY = {"user.name": "Penguin Keeper", "user.email": "keeper@penguins.example"}
MESSAGE = "Three pipelines over 344 penguins"

_NEEDED = ("pandas", "sklearn", "skops")


def require_libraries() -> None:
    """Raise GitmlError, with the command that brings them, where a library is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise GitmlError(f"the demo needs {', '.join(missing)}", hint="`pip install -e '.[demo]'`")


def copy_example(folder: Path) -> Git:
    """A new repository with the example's files, not yet in a commit.

    ``folder`` is made; raises UsageError where it holds anything already.
    """
    if not EXAMPLE.is_dir():
        raise GitmlError(
            f"{EXAMPLE} is not the example project",
            hint="`git config core.symlinks true` before cloning gitml makes it one",
        )
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UsageError(
            f"{folder} is not empty", hint=f"`gitml demo {folder.name}-2` makes another"
        )
    git = init_repository(folder)
    shutil.copytree(
        EXAMPLE,
        folder,
        copy_function=shutil.copyfile,  # an installed package may be read-only, the copy not
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    return git


def introduce(git: Git) -> bool:
    """Give this one repository an identity where git has none; whether that was needed."""
    if git.identity() is not None:
        return False
    for key, value in IDENTITY.items():
        set_setting(git, key, value)
    return True


def commit_all(git: Git) -> None:
    """Commit everything there, whatever hooks and signatures the user's own settings ask for."""
    git.run("add", "--all")
    git.run(
        "-c", "commit.gpgSign=false", "commit", "--quiet", "--no-verify", f"--message={MESSAGE}"
    )
