"""Native hooks: scripts that git starts, beside and behind those that are there already.

A hook that was there is renamed to ``<hook>.before-gitml`` and runs first, with its arguments, its
input and the right to refuse. pre-commit's own scripts stay where they are: they start a script
``<hook>.legacy`` first, so ours takes that name. Both survive ``pre-commit install`` and
``pre-commit uninstall`` in any order.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from gitml.errors import ConfigError, UsageError
from gitml.frozen import Frozen
from gitml.fs import make_directories, storage_errors, sync_directory, write_durably
from gitml.git.process import Git

EVENTS = ("pre-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite")
"""The hooks of git's that gitml takes part in."""

SERVER_EVENTS = ("pre-receive",)
"""The hooks of a repository that others push to."""

State = Literal["installed", "outdated", "by hand", "through pre-commit", "absent"]

_MARK = "# gitml hook 1:"
_BEFORE = ".before-gitml"
_GONE = 125
_MAX_SCRIPT = 1 << 20
_WITH_INPUT = ("pre-push", "post-rewrite")
# How pre-commit knows its own scripts again, of all its versions.
_PRE_COMMIT = re.compile(
    rb"138fd403232d2ddd5efb44317e38bf03|4d9958c90bc262f47553e2c073f14cfe"
    rb"|d8ee923c46731b42cd95cc869add4062|49fd668cb42069aa1b6048464be5d395"
    rb"|79f09a650522a87b0da915d0d983b2de|e358c9dae00eac5d06b38dfdb1e33a8c"
)
_IDS = {
    "pre-commit": ("gitml-pointers", "gitml-secrets", "gitml-records", "gitml-promotion"),
    "pre-push": ("gitml-records", "gitml-push"),
    **dict.fromkeys(("post-checkout", "post-merge", "post-rewrite"), ("gitml-checkout",)),
}

_SCRIPT = """\
#!/bin/sh
{mark} `gitml hooks uninstall` takes it away, `gitml hooks install` renews it.
# A hook that was here before stands beside it as {hook}{before} and runs first.
python={python}
before="${{0%/*}}/{hook}{before}"

gitml_hook() {{
    if [ -x "$python" ]; then
        "$python" -P -c 'import sys
try:
    from gitml.cli import main
except ImportError:
    sys.exit({gone})
main()' hooks run {hook} -- "$@"
        code=$?
        [ "$code" = {gone} ] || return "$code"
    fi
    if command -v gitml >/dev/null 2>&1; then
        gitml hooks run {hook} -- "$@"
        return
    fi
    echo "gitml is no longer at $python: the {hook} hook did nothing." >&2
    echo "Where gitml is, 'gitml hooks install' renews it." >&2
}}

{body}"""
_SERVER_SCRIPT = """\
#!/bin/sh
{mark} `gitml hooks install --server` renews it, `gitml hooks uninstall` takes it away.
# A hook that was here before stands beside it as {hook}{before} and runs first.
python={python}
source={source}
before="${{0%/*}}/{hook}{before}"
if [ ! -x "$python" ]; then
    echo "gitml is no longer at $python: nothing is let in." >&2
    echo "On the server, 'gitml hooks install --server' renews this." >&2
    exit 1
fi

judge() {{
    GITML_RECEIVER=$PPID "$python" -IS -c '
import gc, os, pathlib, sys
gc.disable()
sys.path.insert(0, sys.argv[1])
from gitml.hooks.receive import refusals
lines = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
refused = refusals(lines, os.environ, pathlib.Path.cwd())
for one in refused:
    sys.stderr.write(f"gitml: {{one}}\\n".encode("ascii", "backslashreplace").decode())
sys.exit(1 if refused else 0)
' "$source"
}}

if [ ! -x "$before" ]; then
    judge
    exit
fi
input=$(cat; echo x)
input=${{input%x}}
printf %s "$input" 2>/dev/null | "$before" "$@" || exit
printf %s "$input" | judge
"""
_CHECK = """\
if [ -x "$before" ]; then
    "$before" "$@" || exit
fi
gitml_hook "$@"
"""
_CHECK_WITH_INPUT = """\
input=$(cat; echo x)
input=${input%x}
if [ -x "$before" ]; then
    printf %s "$input" 2>/dev/null | "$before" "$@" || exit
fi
printf %s "$input" | gitml_hook "$@"
"""
_FOLLOW = """\
status=0
if [ -x "$before" ]; then
    "$before" "$@" || status=$?
fi
gitml_hook "$@"
exit "$status"
"""
_FOLLOW_WITH_INPUT = """\
input=$(cat; echo x)
input=${input%x}
status=0
if [ -x "$before" ]; then
    printf %s "$input" 2>/dev/null | "$before" "$@" || status=$?
fi
printf %s "$input" | gitml_hook "$@"
exit "$status"
"""


class Hook(Frozen):
    """One of git's hooks: where gitml's script is or would be, and what it means now.

    ``before`` is the hook that runs first, or would; ``through`` tells that pre-commit's script
    starts ours.
    """

    event: str
    path: Path
    state: State
    before: Path | None
    through: bool


class Hooks(Frozen):
    """The hooks of a clone: the folder in which git looks, and each of ``EVENTS``.

    ``setting`` is ``core.hooksPath``, ``shared`` why gitml leaves the folder alone, if it does.
    ``config`` are the ids of gitml's hooks in ``.pre-commit-config.yaml``.
    """

    folder: Path
    setting: str | None
    shared: str | None
    hooks: Sequence[Hook]
    config: Sequence[str]


class Change(Frozen):
    """What `install` or `uninstall` does to one hook: "install", "renew", "remove" or "restore".

    ``before`` is the hook that was there: the one to run first, or the one that comes back.
    """

    event: str
    doing: Literal["install", "renew", "remove", "restore"]
    path: Path
    before: Path | None


def look(git: Git, python: str, events: Sequence[str] = EVENTS) -> Hooks:
    """How the hooks of this clone stand; ``python`` is the interpreter that would be recorded."""
    answer = git.run("rev-parse", "--path-format=absolute", "--git-path", "hooks")
    folder = Path(os.fsdecode(answer).removesuffix("\n"))
    scoped = git.process("config", "--show-scope", "--get", "core.hooksPath").stdout
    scope, _, setting = os.fsdecode(scoped).removesuffix("\n").partition("\t")
    config = _ids_in_config(git)
    shared = _why_shared(git, folder, scope)
    hooks = [_hook(folder, event, python, config) for event in events]
    return Hooks(folder, setting or None, shared, hooks, config)


def install(
    git: Git, python: str, events: Sequence[str] = EVENTS, *, dry_run: bool = False
) -> list[Change]:
    """Put the scripts in place; what changed, nothing where all is as it should be.

    Raises ConfigError where ``core.hooksPath`` leads to a folder that is not this clone's own, and
    UsageError where two hooks would have to run first. Nothing is written then. A kill between two
    scripts leaves each hook either as it was or in place; running it again does the rest.
    """
    found = look(git, python, events)
    if found.shared is not None:
        raise ConfigError(f"{found.shared}: nothing was written", hint=_by_hand(found.folder))
    changes = [change for one in found.hooks if (change := _change_for(one)) is not None]
    if not dry_run:
        for change in changes:
            _put(change, python)
    return changes


def uninstall(git: Git, python: str, *, dry_run: bool = False) -> list[Change]:
    """Take our scripts away and bring back what was there before, byte for byte; what changed."""
    found = look(git, python)
    changes = []
    for path in [] if found.shared else _places(found.folder):
        if _is_ours(_content(path)):
            event = path.name.removesuffix(".legacy")
            before = path.with_name(f"{event}{_BEFORE}")
            if os.path.lexists(before):
                changes.append(Change(event, "restore", path, before))
            else:
                changes.append(Change(event, "remove", path, None))
    for change in [] if dry_run else changes:
        with storage_errors(change.path, "remove"):
            if change.before is not None:
                change.before.replace(change.path)
            else:
                change.path.unlink()
        sync_directory(change.path.parent)
    return changes


def script(event: str, python: str) -> str:
    """The text of the hook for an event that is run by this interpreter."""
    if event in SERVER_EVENTS:
        source = shlex.quote(str(Path(__file__).resolve().parents[2]))
        return server_script(event, shlex.quote(python), source)
    bodies = (_CHECK, _CHECK_WITH_INPUT, _FOLLOW, _FOLLOW_WITH_INPUT)
    body = bodies[2 * event.startswith("post-") + (event in _WITH_INPUT)]
    return _SCRIPT.format(
        mark=_MARK, hook=event, before=_BEFORE, python=shlex.quote(python), gone=_GONE, body=body
    )


def server_script(event: str, python: str, source: str) -> str:
    """The text of a server's hook: ``python`` and ``source`` (where gitml is) as shell words."""
    return _SERVER_SCRIPT.format(
        mark=_MARK, hook=event, before=_BEFORE, python=python, source=source
    )


def _hook(folder: Path, event: str, python: str, config: Sequence[str]) -> Hook:
    """How one hook stands."""
    path = folder / event
    through = _PRE_COMMIT.search(_content(path)) is not None
    if through:
        path = folder / f"{event}.legacy"
    content = _content(path)
    before: Path | None = path if os.path.lexists(path) else None
    state: State = "absent"
    if _is_ours(content):
        fresh = content == script(event, python).encode() and os.access(path, os.X_OK)
        state = "installed" if fresh else "outdated"
        kept = folder / f"{event}{_BEFORE}"
        before = kept if os.path.lexists(kept) else None
    elif through and set(_IDS.get(event, ("",))) <= set(config):
        state, before = "through pre-commit", None
    elif re.search(rb"gitml +hooks +run +" + event.encode(), content):
        state, before = "by hand", None
    return Hook(event, path, state, before, through)


def _change_for(hook: Hook) -> Change | None:
    """What installing does to a hook; raises UsageError where it cannot tell what should run."""
    if hook.state in ("installed", "by hand", "through pre-commit"):
        return None
    if hook.state == "outdated":
        return Change(hook.event, "renew", hook.path, hook.before)
    before = hook.path.with_name(f"{hook.event}{_BEFORE}")
    if os.path.lexists(before) and not _is_same(hook.path, before):
        raise UsageError(
            f"{before.name} is there, and {hook.path.name} is not gitml's: two hooks to run first",
            hint=f"`rm {shlex.quote(str(before))}` if nothing needs it any more",
        )
    return Change(hook.event, "install", hook.path, hook.before)


def _put(change: Change, python: str) -> None:
    """Write a script, in one step from what git would start before to what it starts then."""
    folder = change.path.parent
    make_directories(folder)
    before = folder / f"{change.event}{_BEFORE}"
    if change.doing == "install" and change.before is not None and not os.path.lexists(before):
        with storage_errors(before):
            try:
                os.link(change.path, before, follow_symlinks=False)
            except OSError:  # a file system without hard links
                shutil.copy2(change.path, before, follow_symlinks=False)
        sync_directory(folder)
    write_durably(change.path, script(change.event, python).encode(), mode=0o777)


def _places(folder: Path) -> list[Path]:
    """Every path at which a script of ours can be."""
    every = (*EVENTS, *SERVER_EVENTS)
    return [folder / f"{event}{suffix}" for event in every for suffix in ("", ".legacy")]


def _is_ours(content: bytes) -> bool:
    return b"\n" + _MARK.encode() in content[:200]


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are one file: the rest of an installation that was killed."""
    with suppress(OSError):
        same_name = os.path.samestat(one.lstat(), other.lstat())
        return same_name or _content(one) == _content(other)
    return False


def _content(path: Path) -> bytes:
    """What a script says; nothing where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_SCRIPT)
    except OSError:
        return b""


def _why_shared(git: Git, folder: Path, scope: str) -> str | None:
    """Why a folder of hooks is not this clone's own; None where it is."""
    place = folder.resolve()
    if place.is_relative_to(git.common.resolve()):
        return None
    if git.root is not None and place.is_relative_to(git.root.resolve()):
        inside = place.relative_to(git.root.resolve())
        if git.run("ls-files", "-z", "--", str(inside)):
            return f"the hooks are in {inside}, which git tracks and everyone here shares"
        if inside.parts[-2:] == (".husky", "_"):
            return f"the hooks are in {inside}, which husky writes"
        return None
    whose = (
        "all your repositories share" if scope in ("global", "system") else "is not this clone's"
    )
    return f"the hooks are in {folder}, which {whose}"


def _by_hand(folder: Path) -> str:
    place = folder.parent if folder.parts[-2:] == (".husky", "_") else folder
    rest = ", ".join(EVENTS[1:-1]) + f" and {EVENTS[-1]}"
    return (
        f'add the line `gitml hooks run {EVENTS[0]} -- "$@" || exit` to {place / EVENTS[0]}, '
        f"and its like to {rest}"
    )


def _ids_in_config(git: Git) -> list[str]:
    """Which of gitml's hooks pre-commit's configuration at the root has."""
    if git.root is None:
        return []
    text = _content(git.root / ".pre-commit-config.yaml").decode("utf-8", "replace")
    known = {one for ids in _IDS.values() for one in ids}
    return sorted(known & set(re.findall(r"\bid:\s*[\"']?(gitml-[a-z]+)", text)))
