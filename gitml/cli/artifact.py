"""``gitml artifact``: list, show, get, put."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitml.cli import describe, documents, render
from gitml.cli.group import Noun
from gitml.cli.invocation import Invocation, json_option, pass_invocation, with_repo
from gitml.cli.render import paint
from gitml.errors import UsageError
from gitml.fs import make_directories

if TYPE_CHECKING:
    from gitml.handles import StoredOutput
    from gitml.repo import Repo

# How a file is named that holds what a materializer wrote; a saved file keeps its artifact's name.
_SUFFIXES = {"arrow": ".arrow", "json": ".json", "npy": ".npy", "pickle": ".pickle"}
_SUFFIXES |= {"pandas": ".arrow", "sklearn": ".skops", "curve": ".arrow"}
_SUFFIXES |= {"confusion_matrix": ".json"}


@click.group(cls=Noun)
def artifact() -> None:
    """List, describe, get and put artifacts.

    An artifact is a name for bytes: an output of a step, or a file that you put. The same bytes are
    the same version of it, whichever run made them.

    \b
    gitml artifact get clf@production:model -o model.skops
    gitml artifact put labels.csv labels
    """


@artifact.command("list")
@click.argument("name", required=False)
@click.option("--run", metavar="RUN", help="List what this run made or adopted.")
@click.option("--tag", metavar="TAG", help="List what carries this tag.")
@json_option
@with_repo
def list_artifacts(
    repo: Repo, name: str | None, run: str | None, tag: str | None, as_json: bool
) -> None:
    """List artifacts with each of their digests.

    First what steps made, then what was put by hand, each newest first.

    \b
    gitml artifact list features.clean
    gitml artifact list --run training
    """
    found = repo.artifacts(name, run=run, tag=tag)
    if as_json:
        listed = [
            {**documents.output_document(one.output, one.commit), "made_by": one.made_by or None}
            for one in found
        ]
        render.answer_json("artifact.list", {"artifacts": listed})
        return
    rows = [
        [
            *describe.artifact_row(one.output.artifact, one.output),
            one.made_by or "put by hand",
            paint("dim", repo.short(one.commit)),
            render.ago(one.at),
        ]
        for one in found
    ]
    header = ["artifact", "digest", "size", "kind", "type", "made by", "commit", "when"]
    render.answer_rows(rows, header, right={2}, nothing="No artifacts yet")


@artifact.command("show")
@click.argument("name")
@json_option
@with_repo
def show_artifact(repo: Repo, name: str, as_json: bool) -> None:
    """Describe one artifact: its digest, its size, its type, what made it.

    \b
    gitml artifact show clf@v3:model
    gitml artifact show features.clean@9c41f07b
    """
    stored = repo.artifact(name)
    if as_json:
        render.answer_json("artifact.show", documents.stored_document(stored))
        return
    render.answer(*describe.describe_artifact(repo, name, stored))


@artifact.command("get")
@click.argument("name")
@click.option(
    "-o", "--output", metavar="PATH", help="Write to this file or folder; `-` is standard output."
)
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.option("--repo", "url", metavar="URL", help="Take it from the git repository at this URL.")
@pass_invocation
def get_artifact(
    invocation: Invocation, name: str, output: str | None, force: bool, url: str | None
) -> None:
    """Write an artifact's bytes to a file.

    They are checked against the digest in the record before the file gets its name, so that a file
    that exists is right. A folder is written as a folder.

    \b
    gitml artifact get clf@production:model
    gitml artifact get clf@production:model --repo git@example.org:team/churn.git
    """
    repo = _repository(invocation, url)
    click.get_current_context().call_on_close(repo.close)
    stored = repo.artifact(name)
    if output == "-":
        render.answer_bytes(stored.load(bytes))
        return
    target = Path(output) if output is not None else Path(_file_name(stored))
    if target.is_dir() and stored.record.kind == "blob":
        target /= _file_name(stored)
    if target.exists() and not force:
        raise UsageError(
            f"{target} is there already",
            hint=f"`gitml artifact get {name} -o {target} --force` replaces it",
        )
    make_directories(target.parent)
    stored.copy_to(target)
    digest = paint("dim", stored.digest.short)
    render.answer(f"Wrote {render.size(stored.size)} {digest} to {target}")


@artifact.command("put")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@with_repo
def put_artifact(repo: Repo, file: Path, name: str) -> None:
    """Store a file or a folder as an artifact.

    Pipelines get it with `load_artifact(NAME)` or `Artifact(NAME)`; what they make of it descends
    from it. To put other bytes under the same name makes another version.

    \b
    gitml artifact put labels.csv labels
    gitml artifact put images images-2026
    """
    stored = repo.save(file, name)
    label = paint("artifact", f"{name}@{stored.digest.short}")
    render.answer(f"Stored {render.size(stored.size)} as {label}")


def _repository(invocation: Invocation, url: str | None) -> Repo:
    """The repository around the current folder, or the one at a URL."""
    if url is None:
        return invocation.repo
    from gitml.repo import Repo

    with render.Progress() as progress:
        return Repo.of_url(url, environment=os.environ, tell=progress.tell)


def _file_name(stored: StoredOutput) -> str:
    """The name of the file when none is given: the artifact's, with what its format calls for."""
    materializer = stored.record.materializer.partition("/")[0]
    suffix = _SUFFIXES.get(materializer, "")
    return stored.name if stored.name.endswith(suffix) else stored.name + suffix
