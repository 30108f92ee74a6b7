"""A command as a step: what it reads and writes is named, so it is stored and cached by content.

Its key has the words of the command, the files of the repository among them (a script, a
configuration), parameters and inputs. What else the program opens is not seen.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from gitml.code.closure import Closure, Tracer
from gitml.code.sourcefile import digest_text, git_blob
from gitml.code.syntax import quote
from gitml.entities.ids import check_name
from gitml.entities.records import CodeFile
from gitml.errors import CorruptData, StepFailed, UsageError
from gitml.fs import judge_relative_path
from gitml.pipelines import context
from gitml.pipelines.content import scratch
from gitml.pipelines.dsl import PipelineFunction, StepFunction
from gitml.pipelines.references import DataFile

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PATIENCE = 5.0
"""Seconds that an interrupted program has to end by itself."""


class CommandStep(StepFunction):
    """A step that runs a program and takes the files that it writes as its outputs.

    ``command`` is a list of words, or a text for the shell. ``{name}`` in it stands for the path of
    an input or an output, or the value of a parameter; other braces stay as they are. ``inputs``
    are names, or a mapping of names to paths of the repository; ``outputs`` names, for which the
    program is given a path, or a mapping of names to paths below ``folder`` that it writes of
    itself. It runs in ``folder`` of the repository, with no standard input; an exit status other
    than 0 fails the step.
    """

    is_command = True

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        name: str,
        inputs: Sequence[str] | Mapping[str, str] = (),
        outputs: Sequence[str] | Mapping[str, str] = (),
        parameters: Mapping[str, Any] | None = None,
        folder: str = "",
        cache: bool = True,
        environment: Sequence[str] = (),
        files: Sequence[str] = (),
    ) -> None:
        self.command = command if isinstance(command, str) else tuple(command)
        if not self.command:
            raise UsageError(f"the step {name} has no command")
        self.folder = folder
        given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs)
        self._wanted = {
            one: None if path is None else DataFile(path) for one, path in given.items()
        }
        self._paths = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
        self._parameters = dict(parameters or {})
        self._check(name)
        super().__init__(
            self._function(name),
            name=name,
            cache=cache,
            environment=tuple(environment),
            files=tuple(files),
        )

    def trace(self, tracer: Tracer) -> Closure:
        """What its key has of code: the words, and the files of the repository among them."""
        root = Path(tracer.territory.root)
        scripts = {path: (root / path).read_bytes() for path in self._scripts(root)}
        words = self.command if isinstance(self.command, str) else shlex.join(self.command)
        parts = {
            "command": digest_text(quote(f"{self.folder}\n{words}")),
            **{
                f"output path {name}": digest_text(quote(path or ""))
                for name, path in self._paths.items()
            },
            **{f"file {path}": digest_text(git_blob(raw)) for path, raw in scripts.items()},
        }
        lines = "".join(f"{quote(key)} {parts[key]}\n" for key in sorted(parts))
        return Closure(
            source=f"command:{self.name}",
            code_id=digest_text("command 1\n" + lines),
            files=tuple(CodeFile(path, git_blob(raw)) for path, raw in sorted(scripts.items())),
            parts=parts,
            distributions={},
            modules=frozenset(),
            uncached=None,
            warnings=(),
        )

    def _scripts(self, root: Path) -> Iterator[str]:
        """The words that are files of the repository and neither inputs nor outputs."""
        words = self.command if not isinstance(self.command, str) else _words(self.command)
        data = {one.path for one in self._wanted.values() if one is not None}
        data |= {os.path.normpath(Path(self.folder, one)) for one in self._paths.values() if one}
        for word in dict.fromkeys(words):
            if not word or word.startswith("-") or "\0" in word:
                continue
            path = os.path.relpath(os.path.join(root, self.folder, word), root)  # noqa: PTH118
            if not path.startswith("..") and path not in data and (root / path).is_file():
                yield Path(path).as_posix()

    def _check(self, name: str) -> None:
        known = [*self._wanted, *self._paths, *self._parameters]
        twice = [one for one in known if known.count(one) > 1]
        if twice:
            raise UsageError(f"the step {name} has two things called `{twice[0]}`")
        for one in known:
            if not one.isidentifier():
                raise UsageError(
                    f"the step {name}: `{one}` is no name", hint="a name is a word like `raw_data`"
                )
        for path in self._paths.values():
            if path is not None and not _is_inside(Path(self.folder, path)):
                raise UsageError(
                    f"the step {name} writes to {path}, which is outside of the repository"
                )

    def _function(self, name: str) -> Any:
        """A function that runs the command, with the signature that the step shows."""

        def run(*args: Any, **kwargs: Any) -> Any:
            values = inspect.signature(run).bind(*args, **kwargs)
            values.apply_defaults()
            running = context.current()
            root = running.root if running is not None and running.root else Path.cwd()
            return self._run(root / self.folder, values.arguments)

        keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
        empty = inspect.Parameter.empty
        wanted = [
            inspect.Parameter(one, keyword, default=empty if path is None else path)
            for one, path in self._wanted.items()
        ]
        given = [
            inspect.Parameter(one, keyword, default=value)
            for one, value in self._parameters.items()
        ]
        required = sorted([*wanted, *given], key=lambda one: one.default is not empty)
        run.__signature__ = inspect.Signature(required)  # type: ignore[attr-defined]
        run.__name__ = run.__qualname__ = name
        made = tuple(
            Annotated[Path, Path(path).name if path else one] for one, path in self._paths.items()
        )
        returned: Any = None
        if made:
            returned = made[0] if len(made) == 1 else tuple[made]  # type: ignore[valid-type]
        run.__annotations__ = {**dict.fromkeys(self._wanted, Path), "return": returned}
        return run

    def _run(self, folder: Path, values: Mapping[str, Any]) -> Any:
        """The paths that the program wrote; raises StepFailed."""
        room = Path(tempfile.mkdtemp(dir=scratch()))
        made = {one: folder / path if path else room / one for one, path in self._paths.items()}
        filled = {name: str(value) for name, value in {**values, **made}.items()}
        command = _filled(self.command, filled)
        before = {one: _state(path) for one, path in made.items()}
        status = _ended(command, folder)
        if status != 0:
            how = f"status {status}" if status > 0 else signal.Signals(-status).name
            raise StepFailed(f"the command of {self.name} ended with {how}: {_shown(command)}")
        for one, path in made.items():
            if not path.exists():
                raise StepFailed(
                    f"the command of {self.name} wrote no {self._paths[one] or one}",
                    hint=f"`{{{one}}}` in the command is the path to write to",
                )
            if before[one] is not None and before[one] == _state(path):
                raise StepFailed(
                    f"the command of {self.name} left {self._paths[one]} as it was",
                    hint="delete it before: what is there was made by something else",
                )
        paths = tuple(made.values())
        return None if not paths else paths[0] if len(paths) == 1 else paths


def command_pipeline(step: CommandStep, parameters: Mapping[str, Any]) -> PipelineFunction:
    """A pipeline that is nothing but a command, with the command's parameters."""

    def body(**values: Any) -> None:
        step(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    body.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, keyword, default=value) for name, value in parameters.items()]
    )
    body.__annotations__ = {}
    return PipelineFunction(body, name=check_name(step.name, "pipeline"))


def _is_inside(path: Path) -> bool:
    with contextlib.suppress(CorruptData):
        return bool(judge_relative_path(os.fsencode(os.path.normpath(path))))
    return False


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _filled(command: str | Sequence[str], values: Mapping[str, str]) -> str | list[str]:
    """The command with names replaced; in a text for the shell, quoted for it."""
    if isinstance(command, str):
        return _PLACE.sub(
            lambda one: shlex.quote(values[one[1]]) if one[1] in values else one[0], command
        )
    return [_PLACE.sub(lambda one: values.get(one[1], one[0]), word) for word in command]


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written; None where there is no file, or a folder."""
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _shown(command: str | Sequence[str]) -> str:
    text = command if isinstance(command, str) else shlex.join(command)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _ended(command: str | list[str], folder: Path) -> int:
    """The exit status of a program that has run; what it started is not left behind.

    It has a process group of its own, which ends when this block is interrupted.
    """
    shell = isinstance(command, str)
    try:
        process = subprocess.Popen(
            command, shell=shell, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise StepFailed(
            f"{_shown(command)} cannot be started: {error.strerror}",
            hint="a script is named with its folder and needs to be executable: "
            "`chmod +x train.sh`, then `-- ./train.sh`",
        ) from None
    try:
        return process.wait()
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
            return
