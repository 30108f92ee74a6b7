"""The checks by their names, and what git or the pre-commit framework tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gitml import config
from gitml.entities.ids import ObjectId
from gitml.errors import NoRepository
from gitml.frozen import Frozen
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.hooks import pointers, records, secrets
from gitml.hooks.staged import LINK, SUBMODULE, Finding, Staged

if TYPE_CHECKING:
    from gitml.workspace.workingtree import WorkingTree

POINTERS, SECRETS, RECORDS, PROMOTION, PUSH, CHECKOUT = (
    *("gitml-pointers", "gitml-secrets", "gitml-records"),
    *("gitml-promotion", "gitml-push", "gitml-checkout"),
)


class Occasion(Frozen):
    """What a hook was started for: its arguments, its environment, and what came on its input."""

    arguments: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    lines: Sequence[str] = ()

    def variable(self, name: str) -> str | None:
        """A variable of the environment, None where it is absent or empty."""
        return (self.environment or {}).get(name) or None


def before_commit(
    git: Git,
    wanted: Sequence[str],
    occasion: Occasion,
    data: Callable[[], WorkingTree],
    limit: int | None = None,
) -> list[Finding]:
    """What the wanted checks have against the commit that is being made.

    The occasion's arguments are files to look at (pre-commit hands them over), relative to the root
    of the work tree; without any, it is what is staged. ``data`` is only called when there is a
    pointer to judge; ``limit`` goes before that of the settings.
    """
    settings = _settings(git)
    index = occasion.variable("GIT_INDEX_FILE")
    with closing(Odb(git)) as odb:
        staged = Staged(
            git,
            odb,
            index=git.work_tree() / index if index else None,
            names=list(occasion.arguments) or None,
            since=occasion.variable("PRE_COMMIT_FROM_REF"),
            exclude=settings.unchecked if settings else (),
        )
        found: list[Finding] = []
        if RECORDS in wanted:
            found += records.check_commit(staged, odb)
        if POINTERS in wanted:
            most = settings.file_limit if settings else config.FILE_LIMIT
            found += pointers.check(staged, data, most if limit is None else limit)
        if SECRETS in wanted:
            found += _secrets(staged)
        if PROMOTION in wanted and any(one.startswith("promotions/") for one in staged.touched):
            from gitml.hooks import promotions

            found += promotions.check(staged, odb, settings)
    return found


def before_push(git: Git, remote: str, occasion: Occasion) -> list[Finding]:
    """What is against a push; the occasion's lines are those that git hands to pre-push.

    pre-commit hands over one ref, in variables, instead of the lines.
    """
    with closing(Odb(git)) as odb:
        return list(records.check_push(git, odb, remote, pushed_lines(occasion)))


def pushed_lines(occasion: Occasion) -> list[str]:
    """What is pushed, as git hands it to pre-push: local ref and id, remote ref and id, a line."""
    if target := occasion.variable("PRE_COMMIT_REMOTE_BRANCH"):
        tip, there = (occasion.variable(f"PRE_COMMIT_{name}_REF") for name in ("TO", "FROM"))
        return [f"HEAD {tip or 'HEAD'} {target} {there or '0' * 40}"]
    return list(occasion.lines)


def pushed_commits(git: Git, odb: Odb, occasion: Occasion) -> tuple[list[ObjectId], list[ObjectId]]:
    """The commits that a push brings, and those that the other side has, as far as is known here.

    pre-commit shows only the first of the refs that are pushed, so the versions count with it.
    """
    tips, known = [], []
    for line in pushed_lines(occasion):
        fields = line.rsplit(maxsplit=3)
        if len(fields) == 4:
            tips.append(odb.resolve(fields[1]))
            known.append(odb.resolve(fields[3]) if fields[3].strip("0") else None)
    if occasion.variable("PRE_COMMIT_REMOTE_BRANCH"):
        from gitml.git.refs import list_refs

        tips += [one.commit for one in list_refs(git, ["refs/tags/*@v*"])]
    found = [one for one in tips if one is not None]
    return found, [one for one in known if one is not None]


def _secrets(staged: Staged) -> Iterator[Finding]:
    files = [one for one in staged.files if one.mode not in (LINK, SUBMODULE)]
    for file, size in zip(files, staged.sizes(files), strict=True):
        if 0 <= size <= secrets.MAX_BYTES:
            for line, what in secrets.scan(file.path, staged.read(file)):
                yield Finding(file.path, what, line=line)


def _settings(git: Git) -> config.Config | None:
    """``gitml.toml``, None where there is none; raises ConfigError."""
    try:
        return config.read(Path(git.work_tree()) / config.FILE)
    except NoRepository:
        return None
