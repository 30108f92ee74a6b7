"""New projects out of templates: a folder of files, copied with the project's name filled in.

A template is a folder like any other. In its text files and in its paths `{{ name }}` becomes the
name of the new project and `{{ module }}` the same as a name of Python; all else stays as it is,
braces included, since workflow files are full of them. There are no conditions and no questions.
"""

from __future__ import annotations

import keyword
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gitml import config
from gitml.entities.ids import check_name
from gitml.errors import NameNotFound, UsageError, some
from gitml.fs import storage_errors
from gitml.git.process import Git, init_repository
from gitml.history.notes import ulid

BUILT_IN = {"starter": Path(__file__).parent / "starter"}
"""The templates that come with gitml. Each is a link into examples/ in the sources, and a copy of
that in what is built from them."""

_LEFT = {".git", "__pycache__"}
_PLACEHOLDER = r"\{\{ *(name|module) *\}\}"


def make(template: str, folder: Path) -> None:
    """A project at ``folder`` made of a template, by its name or the path of its folder.

    ``folder`` may be absent, empty, or hold a git repository without a file. Raises NameNotFound
    for a template that is none, UsageError for a folder that holds anything, InvalidName for one
    whose name is none for a project, ConfigError where the template's settings are wrong; nothing
    is written then. All files are ready before the first of them is where it belongs.
    """
    source, folder = _source(template).resolve(), folder.resolve()
    words = _words(folder.name)
    if folder.is_relative_to(source):
        raise UsageError(f"{folder} is inside of the template {source}", hint="choose another DIR")
    with storage_errors(folder, "make"):
        _check_empty(folder)
        with _staged(folder) as stage:
            _copy(source, stage)
            _fill(stage, words)
            _identify(stage)
            if not (folder / ".git").exists():
                init_repository(stage)
            _publish(stage, folder)


def _source(template: str) -> Path:
    """The folder of a template."""
    path = BUILT_IN.get(template) or Path(template).expanduser()
    if not template or not path.is_dir():
        raise NameNotFound(
            f"there is no template `{template}`, neither in gitml nor as a folder",
            hint=f"`gitml init --template {next(iter(BUILT_IN))}`",
        )
    return path


def _copy(source: Path, stage: Path) -> None:
    """Copy the template; raises UsageError naming what is neither file, folder nor link."""
    try:
        shutil.copytree(source, stage, symlinks=True, ignore=_left(source), dirs_exist_ok=True)
    except shutil.Error as error:
        path, _, why = error.args[0][0]
        raise UsageError(f"the template's {path} cannot be copied: {why}") from error


def _left(source: Path) -> Callable[[str, list[str]], set[str]]:
    """What of each folder of a template is left out: git's own, and what its git ignores."""
    ignored: set[str] = set()
    if (source / ".git").exists():
        asked = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        listed = Git.discover(source).run(*asked).split(b"\0")
        ignored = {os.fsdecode(name).rstrip("/") for name in listed}

    def names_left(folder: str, names: list[str]) -> set[str]:
        above = Path(folder).relative_to(source)
        return {one for one in names if one in _LEFT or (above / one).as_posix() in ignored}

    return names_left


def _check_empty(folder: Path) -> None:
    """Raise UsageError where the folder holds more than an empty git repository."""
    if folder.is_dir():
        ours = {".git", _stage_of(folder).name}
        held = sorted(one.name for one in folder.iterdir() if one.name not in ours)
    elif folder.exists():
        raise UsageError(f"{folder} is no folder: nothing was written", hint="choose another DIR")
    else:
        held = []
    if held:
        raise UsageError(
            f"{folder} is not empty, it holds {some(held, 1)}: nothing was written",
            hint="name a new folder: `gitml init --template starter my-project`",
        )


def _stage_of(folder: Path) -> Path:
    """Where the files are made ready: on the file system of the folder itself."""
    return (folder if folder.is_dir() else folder.parent) / f".{folder.name}.gitml-template"


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder to fill; gone with all in it when the block ends, or by the next one after a kill.

    So are the folders above that it needed, when the block fails.
    """
    stage = _stage_of(folder)
    made = [one for one in stage.parents if not one.exists()]
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        yield stage
    except BaseException:
        shutil.rmtree(stage)
        for one in made:
            one.rmdir()
        raise
    shutil.rmtree(stage, ignore_errors=True)


def _words(name: str) -> Mapping[str, str]:
    """What each placeholder stands for; a name of the grammar can stand in any file."""
    check_name(name, "project")
    module = re.sub(r"\W", "_", name.lower())
    if module[0].isdigit() or keyword.iskeyword(module):
        module = f"_{module}"
    return {"name": name, "module": module}


def _fill(stage: Path, words: Mapping[str, str]) -> None:
    """Fill in the placeholders of all files and paths; make what was read-only writable."""

    def filled(text: str) -> str:
        return re.sub(_PLACEHOLDER, lambda found: words[found[1]], text)

    for path in sorted(stage.rglob("*"), reverse=True):  # what is inside of a folder comes first
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o700 if path.is_dir() else 0o600))
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            text = _text(data)
            if text is not None and filled(text) != text:
                path.write_bytes(filled(text).encode())
        if filled(path.name) != path.name:
            path.rename(path.with_name(filled(path.name)))


def _text(data: bytes) -> str | None:
    """The text of a file, None of one that holds anything else."""
    try:
        return None if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _identify(stage: Path) -> None:
    """Give the project settings with an id of its own; raises ConfigError for wrong ones."""
    file = stage / config.FILE
    project = ulid(time.time())
    text = config.adopted(file, project, renew=True) if file.exists() else None
    file.write_text(text or config.template(project), encoding="utf-8")
    config.read(file)


def _publish(stage: Path, folder: Path) -> None:
    """Move what is ready to where it belongs; what fails on the way is taken back."""
    if not folder.exists():
        stage.rename(folder)
        return
    names = sorted(one.name for one in stage.iterdir())
    try:
        for name in names:
            (stage / name).rename(folder / name)
    except BaseException:
        for name in names:
            if not (stage / name).exists():
                (folder / name).rename(stage / name)
        raise
