"""``gitml hooks``: install, uninstall, status, run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.group import Noun
from gitml.cli.invocation import dry_run_option, json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import GitmlError, MissingBytes, some

if TYPE_CHECKING:
    from gitml.git.process import Git
    from gitml.hooks.checks import Occasion
    from gitml.hooks.follow import Followed
    from gitml.hooks.install import Change, Hooks
    from gitml.hooks.staged import Finding
    from gitml.repo import Repo
    from gitml.workspace.workingtree import WorkingTree

_SHOWN = 50
_HOOKS = (
    *("gitml-pointers", "gitml-secrets", "gitml-records", "gitml-promotion", "gitml-push"),
    "gitml-checkout",
    *("pre-commit", "pre-push", "post-checkout", "post-merge", "post-rewrite"),
)


@click.group(cls=Noun)
def hooks() -> None:
    """Install git's hooks, and run one by hand.

    Before a commit they look at pointers, at secrets, at wishes and at files that are too large for
    git; before a push they send the bytes; after a checkout or a merge they let data follow its
    pointers. On a server they refuse what would change or forge a record.

    \b
    gitml hooks install
    gitml hooks run gitml-secrets
    """


@hooks.command()
@click.option(
    "--server",
    is_flag=True,
    help="Guard a repository that others push to, by its pre-receive hook.",
)
@dry_run_option
@with_repo
def install(repo: Repo, server: bool, dry_run: bool) -> None:
    """Put gitml's hooks in place, behind those that are there.

    A hook that is there already runs first, and can refuse as it could before. Doing it again
    renews the scripts, which name the Python that gitml runs in. For the pre-commit framework, see
    docs/hooks.md.

    With `--server`, run where the bare repository lies, it is the hook that refuses pushes which
    would change or forge a record, or promote against a policy.

    \b
    gitml hooks install --dry-run
    gitml -C /srv/git/shop.git hooks install --server
    """
    changes = repo.install_hooks(server=server, dry_run=dry_run)
    now = repo.hooks()
    folder = render.path(now.folder)
    if not changes and server:
        render.answer(f"Nothing to do: the hook in {folder} is in place")
    elif not changes:
        render.answer(f"Nothing to do: the hooks in {folder} are in place")
    else:
        render.answer(*_table(changes))
        word = "Would install" if dry_run else "Installed"
        render.answer(f"{word} {render.count(len(changes), 'hook')} in {folder}")
    through = [one.event for one in now.hooks if one.state == "through pre-commit"]
    if through:
        render.tell(f"pre-commit runs gitml's hooks at {', '.join(through)} already")
    elif now.config:
        render.tell("Next: `pre-commit install`, since .pre-commit-config.yaml names gitml's hooks")


@hooks.command()
@dry_run_option
@with_repo
def uninstall(repo: Repo, dry_run: bool) -> None:
    """Take gitml's hooks away, and bring back those before.

    What was there before the hooks were installed is there again, byte for byte.

    \b
    gitml hooks uninstall --dry-run
    gitml hooks uninstall
    """
    changes = repo.uninstall_hooks(dry_run=dry_run)
    folder = render.path(repo.hooks().folder)
    if not changes:
        render.answer(f"Nothing to do: no hook of gitml's is in {folder}")
        return
    render.answer(*_table(changes))
    word = "Would remove" if dry_run else "Removed"
    render.answer(f"{word} {render.count(len(changes), 'hook')} from {folder}")


@hooks.command()
@json_option
@with_repo
def status(repo: Repo, as_json: bool) -> None:
    """Show which hooks are in place, and what runs before them.

    \b
    gitml hooks status
    gitml hooks status --json
    """
    now = repo.hooks()
    if as_json:
        render.answer_json("hooks", _document(now))
        return
    rows = [
        [
            one.event,
            paint("good" if one.state != "absent" else "dim", one.state),
            "pre-commit" if one.through else one.before.name if one.before is not None else "",
        ]
        for one in now.hooks
    ]
    render.answer(*render.table(rows, ["hook", "gitml's", "beside it"]))
    if now.shared is not None:
        render.tell(f"gitml writes no hook here: {now.shared}")
    elif any(one.state in ("absent", "outdated") for one in now.hooks):
        render.tell("Next: `gitml hooks install`")


def _table(changes: Sequence[Change]) -> list[str]:
    """What happens to each hook."""
    words = {"install": "new", "renew": "renewed", "remove": "removed", "restore": "restored"}
    rows = []
    for one in changes:
        said = words[one.doing]
        if one.doing == "install" and one.path.name != one.event:
            said = "started by pre-commit's, before its own hooks"
        elif one.doing == "install" and one.before is not None:
            said = "behind the hook that was there"
        rows.append([paint("add" if one.doing != "remove" else "failed", one.event), said])
    return render.table(rows, indent="  ")


def _document(now: Hooks) -> dict[str, Any]:
    return {
        "folder": str(now.folder),
        "hooks_path": now.setting,
        "shared": now.shared,
        "pre_commit_config": list(now.config),
        "hooks": [
            {
                "hook": one.event,
                "state": one.state,
                "path": str(one.path),
                "before": str(one.before) if one.before is not None else None,
                "through_pre_commit": one.through,
            }
            for one in now.hooks
        ],
    }


@hooks.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("hook", metavar="HOOK", type=click.Choice(_HOOKS))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--limit",
    metavar="SIZE",
    help="Let files up to this size into git; without it `hooks.limit` counts, then 10 MB.",
)
def run_hook(hook: str, arguments: tuple[str, ...], limit: str | None) -> None:
    """Run one hook, by gitml's name for it or by git's.

    git and pre-commit call this. By hand, files that are named are looked at as they stand in the
    index; without names it is what is staged. Exit code 1 when there is something to mend.

    \b
    gitml hooks run gitml-secrets conf/train.yaml
    gitml hooks run gitml-pointers --limit '50 MB'
    """
    from gitml.git.process import Git

    if hook.startswith("post-") or hook == "gitml-checkout":
        _follow(hook, arguments)
        return
    _report(_findings(Git.discover(Path.cwd()), hook, arguments, limit))


def _findings(git: Git, hook: str, arguments: Sequence[str], limit: str | None) -> list[Finding]:
    from gitml.config import parse_size
    from gitml.hooks import checks

    by_pre_commit = "PRE_COMMIT_REMOTE_BRANCH" in os.environ
    if hook in ("pre-push", checks.PUSH) or (hook == checks.RECORDS and by_pre_commit):
        remote = os.environ.get("PRE_COMMIT_REMOTE_NAME") or (arguments[0] if arguments else "")
        lines = () if by_pre_commit else sys.stdin.read().splitlines()
        occasion = checks.Occasion((), os.environ, lines)
        found = [] if hook == checks.PUSH else checks.before_push(git, remote, occasion)
        if not found and hook != checks.RECORDS:
            _send_first(git, remote, occasion)
        return found

    def data() -> WorkingTree:
        from gitml.repo import Repo

        return Repo(git).workspace

    is_all = hook == "pre-commit"
    every = (checks.POINTERS, checks.SECRETS, checks.RECORDS, checks.PROMOTION)
    wanted = every if is_all else (hook,)
    names = () if is_all else [_from_root(git, one) for one in arguments]
    size = parse_size(limit, "--limit") if limit is not None else None
    occasion = checks.Occasion(names, os.environ)
    return checks.before_commit(git, wanted, occasion, data, size)


def _send_first(git: Git, remote: str, occasion: Occasion) -> None:
    """Bring the bytes of what is pushed to the remote for bytes: nobody sees a name before them."""
    from gitml.hooks.checks import pushed_commits
    from gitml.repo import Repo

    with closing(Repo(git, environment=os.environ)) as repo:
        tips, known = pushed_commits(git, repo.odb, occasion)
        sent = repo.send_bytes(remote, tips, known)
    if sent is not None and sent.size:
        render.tell(f"Sent {render.size(sent.size)} of data before the push")


def _follow(hook: str, arguments: Sequence[str]) -> None:
    """Let data follow its pointers, say what became of it in one line, and never fail."""
    from gitml.git.process import Git
    from gitml.hooks.checks import Occasion
    from gitml.hooks.follow import has_data, moved_pointers

    try:
        git = Git.discover(Path.cwd())
        moved = moved_pointers(git, hook, Occasion(arguments, os.environ))
        if moved or (moved is None and has_data(git)):
            from gitml.repo import Repo

            with closing(Repo(git, environment=os.environ)) as repo:
                found = repo.follow(moved)
            if found is not None:
                render.tell(_followed_line(found))
    except GitmlError as error:
        render.tell(f"Data did not follow: {error.message}; `gitml checkout` does it later")
    except Exception as error:  # noqa: BLE001 - git's own command is done and has not failed
        kind = type(error).__name__
        render.tell(f"Data did not follow ({kind}: {error}); `gitml checkout` does it later")


def _followed_line(found: Followed) -> str:
    """What became of the data, in one line."""
    parts = []
    if found.written:
        parts.append(f"{render.count(found.written, 'file')} written ({render.size(found.size)})")
    if found.removed:
        parts.append(f"{render.count(found.removed, 'file')} removed")
    head = f"Data followed: {', '.join(parts)}" if parts else "Data did not follow"
    missing = [path for path, error in found.left.items() if isinstance(error, MissingBytes)]
    others = [path for path in found.left if path not in missing]
    notes = []
    if missing:
        notes.append(f"the bytes of {some(missing)} are not here: `gitml pull`")
    if others:
        stays = "stays as it is" if len(others) == 1 else "stay as they are"
        paths = " ".join(shlex.quote(one) for one in others[:3])
        notes.append(f"{some(others)} {stays}: `gitml checkout {paths}` says why")
    return "; ".join([head, *notes])


def _from_root(git: Git, name: str) -> str:
    """A path as it is named here, from the root of the work tree."""
    return os.path.relpath(Path.cwd().resolve() / name, git.work_tree().resolve())


def _report(findings: Sequence[Finding]) -> None:
    """Say what was found; raises GitmlError when there is anything."""
    if not findings:
        return
    for one in findings[:_SHOWN]:
        where = paint("failed", f"{one.path}:{one.line}" if one.line else one.path)
        render.tell(f"{where}: {one.what}" + (f": `{one.repair}`" if one.repair else ""))
    if len(findings) > _SHOWN:
        render.tell(paint("dim", f"and {len(findings) - _SHOWN} more"))
    hint = "`git commit --no-verify` leaves the checks out"
    if any(one.line for one in findings):
        hint = "a line that is no secret says so in a comment: `gitml: allow-secret`"
    raise GitmlError(f"{render.count(len(findings), 'thing')} to mend", hint=hint)
