"""Wishes meet their policy before they are committed: what `gitml-promotion` holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from gitml.config import Config
from gitml.entities.ids import ObjectId
from gitml.errors import ConfigError, GitmlError
from gitml.git.odb import Odb
from gitml.hooks.staged import Finding, Staged, StagedFile
from gitml.promotion.wishes import Wishes, line_of, model_at, parse


def check(staged: Staged, odb: Odb, config: Config | None) -> Iterator[Finding]:
    """What is against the wishes that a commit changes: their form, their versions, their policy.

    The policy is that of ``HEAD``. Who approves is known only when it is asked for, so what cannot
    be told here is passed over, as is a wish that stands already.
    """
    files = [(file, model) for file in staged.files if (model := _model(file)) is not None]
    if not files or config is None:
        return
    head = odb.resolve("HEAD")
    for file, model in files:
        if isinstance(model, ConfigError):
            yield Finding(file.path, model.message.removeprefix(f"{file.path}: "))
            continue
        data = staged.read(file)
        try:
            wished = parse(data, file.path)
        except ConfigError as error:
            yield _malformed(file.path, error)
            continue
        before = _before(staged, odb, head, model)
        changed = {stage: one for stage, one in wished.items() if before.get(stage) != one}
        if changed and head is not None:
            text = data.decode()
            yield from _judged(staged, odb, head, config, model, changed, text)


def _judged(
    staged: Staged,
    odb: Odb,
    head: ObjectId,
    config: Config,
    model: str,
    changed: dict[str, str],
    text: str,
) -> Iterator[Finding]:
    """What the policies say of the wishes that a commit changes."""
    from gitml.history.index import Index
    from gitml.promotion.planning import Planner
    from gitml.promotion.policy import policies_at
    from gitml.promotion.rule import Policies
    from gitml.promotion.verdict import FAILED
    from gitml.promotion.wishes import path_of

    git, path = staged.git, path_of(model)
    policies = policies_at(git, odb, head) or Policies(config, {})
    with closing(Index(git, odb)) as index:
        planner = Planner(git, odb, index, Wishes(git, odb, head), policies)
        for stage, which in sorted(changed.items()):
            planned, line = planner.propose(model, stage, which), line_of(text, stage)
            if planned.error is not None:
                yield Finding(path, planned.error.message.partition(", but ")[2], line=line)
            elif planned.verdict is not None:
                failed = [one for one in planned.verdict.missed if one.state == FAILED]
                if failed:
                    said = "; ".join(f"{o.name}: {o.found}, asked is {o.expected}" for o in failed)
                    repair = f"gitml promote {planned.label} {stage} --dry-run"
                    what = f"{planned.label} does not meet the policy for {stage}: {said}"
                    yield Finding(path, what, repair, line)


def _model(file: StagedFile) -> str | ConfigError | None:
    try:
        return model_at(file.path)
    except ConfigError as error:
        return error


def _malformed(path: str, error: GitmlError) -> Finding:
    """The finding for a file that is no file of wishes, with its line."""
    rest = error.message.removeprefix(f"{path}:")
    line, _, what = rest.partition(": ")
    return Finding(path, what, line=int(line)) if line.isdigit() else Finding(path, rest.strip())


def _before(staged: Staged, odb: Odb, head: ObjectId | None, model: str) -> dict[str, str]:
    try:
        return dict(Wishes(staged.git, odb, head).of(model)) if head is not None else {}
    except ConfigError:
        return {}
