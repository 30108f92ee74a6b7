"""``gitml remote``: add, list, remove, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import render
from gitml.cli.doctor import finding_document, finding_lines
from gitml.cli.group import Noun
from gitml.cli.invocation import json_option, with_repo
from gitml.cli.render import paint
from gitml.errors import GitmlError

if TYPE_CHECKING:
    from gitml.remotes.names import NamedRemote
    from gitml.repo import Repo


@click.group(cls=Noun)
def remote() -> None:
    """Name the places where bytes go, and look whether they work.

    A remote is a folder, a bucket, a folder of another machine or a web server. git's own remotes
    are for records; `git remote` names those.

    \b
    gitml remote add lake s3://team-bucket/gitml
    gitml remote doctor lake
    """


@remote.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--default", is_flag=True, help="Mean this one where no remote is named.")
@click.option(
    "--local", is_flag=True, help="Tell this clone alone, in git's configuration, nobody else."
)
@json_option
@with_repo
def add_remote(repo: Repo, name: str, url: str, default: bool, local: bool, as_json: bool) -> None:
    """Name a remote, in gitml.toml for everyone.

    URL is a folder, s3://bucket/prefix, ssh://user@host/folder, user@host:folder or
    https://host/folder. Keys and passwords never stand in it: they come from the environment, a
    profile or git's credential helpers.

    \b
    gitml remote add lake /shared/gitml
    gitml remote add lake 's3://bucket/gitml?endpoint=https://s3.example.org' --default
    """
    added = repo.add_remote(name, url, Path.cwd(), default=default, local=local)
    if as_json:
        render.answer_json("remote.add", _document(added))
        return
    where = "this clone" if not added.is_shared else "gitml.toml"
    render.answer(
        f"Added the remote {paint('head', added.name)} to {where}: {added.url}",
        f"`gitml remote doctor {added.name}` looks whether it works",
    )


@remote.command("list")
@json_option
@with_repo
def list_remotes(repo: Repo, as_json: bool) -> None:
    """List the remotes, the default one marked.

    \b
    gitml remote list
    gitml remote list --json
    """
    found = repo.remotes()
    if as_json:
        listed = [_document(one) for one in found]
        render.answer_json("remote.list", {"remotes": listed})
        return
    rows = [
        [
            paint("head", one.name) if one.is_default else one.name,
            paint("good", "default") if one.is_default else "",
            one.url,
            "" if one.is_shared else "this clone",
        ]
        for one in found
    ]
    nothing = "No remote yet: `gitml remote add NAME URL` names one"
    render.answer_rows(rows, ["remote", "", "URL", ""], nothing=nothing)


@remote.command("remove")
@click.argument("name")
@json_option
@with_repo
def remove_remote(repo: Repo, name: str, as_json: bool) -> None:
    """Forget a remote; the bytes that lie there stay.

    \b
    gitml remote remove lake
    gitml remote remove old-bucket
    """
    removed = repo.remove_remote(name)
    if as_json:
        render.answer_json("remote.remove", _document(removed))
        return
    render.answer(f"Removed the remote {removed.name}; its bytes are still at {removed.url}")


@remote.command("doctor")
@click.argument("name", required=False)
@click.option("--read-only", is_flag=True, help="Write nothing, neither there nor to git's remote.")
@json_option
@with_repo
def doctor_remote(repo: Repo, name: str | None, read_only: bool, as_json: bool) -> None:
    """Look whether a remote works, by using it: the default one when none is named.

    Tells whether it answers, may be read and written, lets one of two writers win, can be listed,
    and whether its clock agrees; and whether the git remote takes refs and tags of records. What is
    written for that is taken away again. The exit code is 1 when something does not work.

    \b
    gitml remote doctor
    gitml remote doctor lake --read-only
    """
    findings = repo.check_remote(name, read_only=read_only)
    if as_json:
        document = [finding_document(one) for one in findings]
        render.answer_json("remote.doctor", {"findings": document})
    else:
        render.answer(*finding_lines(findings, all_of_them=True))
    problems = sum(one.state == "problem" for one in findings)
    if problems:
        raise GitmlError(render.count(problems, "problem"))


def _document(one: NamedRemote) -> dict[str, Any]:
    return {"name": one.name, "url": one.url, "default": one.is_default, "shared": one.is_shared}
