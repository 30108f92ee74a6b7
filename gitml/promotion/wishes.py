"""Wishes: which version should hold a stage, each a line of ``promotions/<model>.toml``.

    production = "v8"

The file is changed by a pull request. The event tags are the state, and a wish changes nothing by
itself: ``gitml stage apply`` carries it out when it stands on the default branch. Only a wish that
is newer than the last move of its stage counts, so that the next merge does not undo a roll-back.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property

from gitml.entities.ids import ObjectId, check_model_name, check_stage_name
from gitml.errors import ConfigError, InvalidName
from gitml.frozen import Frozen
from gitml.git.odb import Odb
from gitml.git.process import Git

FOLDER = "promotions"
_SUFFIX = ".toml"
_MAX_BYTES = 64 << 10
_NUMBERED = r"v[1-9][0-9]{0,8}\Z"
_FORM = 'a wish is a line like production = "v8"'


def path_of(model: str) -> str:
    """The file with the wishes for a model, from the root of the repository."""
    return f"{FOLDER}/{model}{_SUFFIX}"


def model_at(path: str) -> str | None:
    """The model whose wishes a path has; None for any other path. Raises ConfigError."""
    folder, _, name = path.rpartition("/")
    if folder != FOLDER or not name.endswith(_SUFFIX):
        return None
    try:
        return check_model_name(name.removesuffix(_SUFFIX))
    except InvalidName as error:
        hint = f"`git mv {path} {FOLDER}/NAME.toml`"
        raise ConfigError(f"{path}: {error.message}", hint=hint) from None


def parse(data: bytes, path: str) -> dict[str, str]:
    """The wishes in a file: the version (``v8``) by stage.

    Raises ConfigError with the line: for what is no TOML, a conflict that was left in it, a stage
    with two wishes, a name that is none, a version without a number.
    """
    text = _text(data, path)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _unreadable(text, path, str(error)) from None
    wishes = {}
    for stage, which in document.items():
        where = f"{path}:{line_of(text, stage)}"
        try:
            check_stage_name(stage)
        except InvalidName as error:
            raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
        if not isinstance(which, str):
            raise ConfigError(f"{where}: {stage} should be a version; {_FORM}")
        if not re.match(_NUMBERED, which):
            kind = "a draft, which has no number" if _is_draft(which) else "no number of a version"
            hint = "`gitml push` gives drafts their numbers" if _is_draft(which) else None
            raise ConfigError(f"{where}: {which[:80]!r} is {kind}; {_FORM}", hint=hint)
        wishes[stage] = which
    return wishes


def with_wish(data: bytes | None, path: str, stage: str, which: str) -> bytes:
    """The file with one wish changed or added, every other line as it was; raises ConfigError."""
    head = "# Which version should hold which stage; `gitml stage apply` carries it out.\n"
    text = head if data is None else _text(data, path)
    wanted = {**parse(text.encode(), path), stage: which}
    line = f'{_key(stage)} = "{which}"'
    at = line_of(text, stage)
    lines = text.splitlines(keepends=True)
    if at:
        ending = re.search(r"[ \t]*(#[^\r\n]*)?(\r?\n)?\Z", lines[at - 1])
        lines[at - 1] = line + (ending[0] if ending else "\n")
    else:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{line}\n")
    made = "".join(lines).encode()
    try:
        if parse(made, path) == wanted:
            return made
    except ConfigError:
        pass
    raise ConfigError(
        f"{path} is written in a way that cannot be changed from here", hint=f"`$EDITOR {path}`"
    )


class Wishes(Frozen):
    """The wishes as they stand in one commit, mostly the tip of the default branch.

    Which commit set a wish is told along first parents: what a branch tried before it was merged
    was never the wish of anybody but its author.
    """

    git: Git
    odb: Odb
    tip: ObjectId

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that have a file of wishes, by name; raises ConfigError for a wrong name."""
        listing = self.git.run("ls-tree", "-z", "--name-only", str(self.tip), f"{FOLDER}/")
        names = (raw.decode("utf-8", "surrogateescape") for raw in listing.split(b"\0") if raw)
        return tuple(sorted(model for name in names if (model := model_at(name)) is not None))

    def of(self, model: str) -> Mapping[str, str]:
        """The wishes for a model; empty without a file. Raises ConfigError as `parse`."""
        return self._at(self.tip, model)

    def commit(self, model: str) -> ObjectId | None:
        """The commit of the branch that last changed the wishes for a model; None without any."""
        listing = self._log("-1", str(self.tip), model=model)
        return listing[0] if listing else None

    def set_by(self, model: str, stage: str) -> ObjectId | None:
        """The commit of the branch that gave a stage its wish; None where it has none."""
        wish, found = self.of(model).get(stage), None
        for commit in self._log(str(self.tip), model=model) if wish is not None else ():
            if self._line(commit, model, stage) != wish:
                break
            found = commit
        return found

    def sets(self, commit: ObjectId, model: str, stage: str, which: str | None) -> bool:
        """Whether a commit, wherever it stands, is what makes ``which`` the wish for a stage."""
        if self._line(commit, model, stage) != which:
            return False
        parents = self.odb.commit(commit).parents
        return all(self._line(one, model, stage) != which for one in parents)

    def knows(self, commit: ObjectId) -> bool:
        """Whether a commit is part of the branch's history."""
        question = ("merge-base", "--is-ancestor", str(commit), str(self.tip))
        return self.git.process(*question).returncode == 0

    def is_newer(self, model: str, stage: str, since: ObjectId) -> bool:
        """Whether the wish for a stage was changed behind a commit of this history, or back."""
        wish = self.of(model).get(stage)
        line = self._at(since, model).get(stage)
        return line != wish or any(one != wish for one in self._later(model, stage, since))

    def agreed(self, model: str, stage: str, which: str, since: ObjectId) -> ObjectId | None:
        """The last commit behind another from which on the wish for a stage was ``which``."""
        for commit in self._log(f"{since}..{self.tip}", model=model):
            if self._line(commit, model, stage) == which:
                return commit
        return None

    def _later(self, model: str, stage: str, since: ObjectId) -> list[str | None]:
        commits = self._log(f"{since}..{self.tip}", model=model)
        return [self._line(commit, model, stage) for commit in commits]

    def _line(self, commit: ObjectId, model: str, stage: str) -> str | None:
        """A wish as it once was; a file that was wrong then had none."""
        try:
            return self._at(commit, model).get(stage)
        except ConfigError:
            return None

    def _at(self, commit: ObjectId, model: str) -> dict[str, str]:
        path = path_of(model)
        data = self.odb.file(commit, path)
        return parse(data, path) if data is not None else {}

    def _log(self, *what: str, model: str) -> list[ObjectId]:
        # -s: to ask for the differences of merges alone is to ask for their text, too.
        flags = ("log", "--first-parent", "--diff-merges=first-parent", "-s", "--format=%H")
        listing = self.git.run(*flags, *what, "--", path_of(model))
        return [ObjectId.parse(line) for line in listing.decode().split()]


def _text(data: bytes, path: str) -> str:
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path} has {len(data) >> 10} KiB, which is no file of wishes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: this is no text in UTF-8; {_FORM}") from None


def _unreadable(text: str, path: str, why: str) -> ConfigError:
    """The error for a file that is no TOML: what is most likely the matter with it."""
    lines = text.splitlines()
    for at, line in enumerate(lines, 1):
        if re.match(r"<{7} |={7}$|>{7} ", line):
            return ConfigError(
                f"{path}:{at}: a merge conflict was left in it",
                hint=f"keep one of the wishes, then `git add {path}`",
            )
    seen: dict[str, int] = {}
    for at, line in enumerate(lines, 1):
        found = re.match(r"\s*[\"']?([A-Za-z0-9._-]+)[\"']?\s*=", line)
        if found and found[1] in seen:
            first = seen[found[1]]
            return ConfigError(
                f"{path}:{at}: {found[1]} has two wishes, the other in line {first}; {_FORM}"
            )
        if found:
            seen[found[1]] = at
    place = re.search(r"\(at line (\d+)", why)
    at = int(place[1]) if place else len(lines)
    return ConfigError(f"{path}:{at}: {_FORM}, and this is none")


def line_of(text: str, stage: str) -> int:
    """The line, from 1, in which a stage has its wish; 0 where it has none."""
    pattern = rf"\s*(?:{re.escape(stage)}|\"{re.escape(stage)}\"|'{re.escape(stage)}')\s*="
    lines = enumerate(text.splitlines(), 1)
    return next((at for at, line in lines if re.match(pattern, line)), 0)


def _key(stage: str) -> str:
    return stage if "." not in stage else f'"{stage}"'


def _is_draft(which: str) -> bool:
    return re.fullmatch("[0-9a-f]{7,40}", which) is not None
