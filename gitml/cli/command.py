"""``gitml run -d data.csv -o model.bin -- ./train.sh``: a command as a pipeline of one step."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.cli import render
from gitml.cli.parameters import Typed
from gitml.errors import UsageError
from gitml.store.digest import hash_file

if TYPE_CHECKING:
    from gitml.handles import RunHandle
    from gitml.pipelines.dsl import PipelineFunction
    from gitml.repo import Repo


def command_of(
    repo: Repo,
    words: Sequence[str],
    name: str | None,
    inputs: Sequence[str],
    outputs: Sequence[str],
    typed: Mapping[str, Typed],
) -> PipelineFunction:
    """The pipeline of a command; paths are relative to where the user stands."""
    from gitml.pipelines.command import CommandStep, command_pipeline

    if not words:
        raise UsageError(
            "no command is given", hint="`gitml run -d data.csv -o model.bin -- ./train.sh`"
        )
    here = Path.cwd()
    parameters = {key: one.parsed for key, one in typed.items()}
    folder = _inside(repo, here)
    step = CommandStep(
        words,
        name=name or _title(words, here),
        inputs={_word(path): _inside(repo, here / path) for path in inputs},
        outputs={_word(path): path for path in outputs},
        parameters=parameters,
        folder="" if folder == "." else folder,
    )
    return command_pipeline(step, parameters)


def restore_outputs(repo: Repo, run: RunHandle, outputs: Sequence[str]) -> None:
    """Write the outputs of a cached command that are not there; name those that differ."""
    (step,) = run.steps.values()
    if step.status == "completed":
        return
    for path in outputs:
        stored, target = step.outputs[Path(path).name], Path(path)
        if not os.path.lexists(target):
            stored.copy_to(target)
            render.tell(f"Wrote {path}")
        elif stored.record.kind == "tree" or hash_file(target) != stored.digest:
            render.tell(
                f"{render.paint('warning', 'Note:')} {path} is left as it is, which may not be "
                "what the command made; without it, the same command brings that back"
            )


def _title(words: Sequence[str], here: Path) -> str:
    """What a command is called: its first word that is a file here, else its program."""
    scripts = [one for one in words if not one.startswith("-") and (here / one).is_file()]
    return _word(Path([*scripts, words[0]][0]).stem)


def _word(text: str) -> str:
    """A path as a name that a placeholder can have."""
    word = re.sub(r"\W+", "_", Path(os.path.normpath(text)).name).strip("_") or "command"
    return f"_{word}" if word[0].isdigit() else word


def _inside(repo: Repo, path: Path) -> str:
    inside = os.path.relpath(path.resolve(), repo.root.resolve())
    if inside.startswith(".."):
        raise UsageError(f"{path} is outside of the repository {repo.root}")
    return Path(inside).as_posix()
