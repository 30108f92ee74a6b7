"""``gitml serve``: what ssh starts on the machine of a remote. Not for people."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from gitml.errors import UsageError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--stdio", is_flag=True, help="Talk over standard input and output, as ssh has them.")
@click.option("--read-only", is_flag=True, help="Let nothing be written.")
def serve(folder: Path, stdio: bool, read_only: bool) -> None:
    """Answer for a folder, called by ssh: whoever has it as the remote ssh://host/folder.

    Nothing but the objects below FOLDER is read or written. To let somebody in for this alone, it
    can stand as `command=` in a line of authorized_keys.

    \b
    gitml serve --stdio /data/gitml
    gitml serve --stdio --read-only /data/gitml
    """
    from gitml.remotes.folder import FolderRemote
    from gitml.remotes.serve import serve as answer

    if not stdio or sys.stdout.isatty():
        raise UsageError(
            "serve talks to another gitml, not to people", hint="`gitml remote add NAME ssh://…`"
        )
    remote = FolderRemote(folder.expanduser().absolute())
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=1 << 20)
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=1 << 20)
    with suppress(BrokenPipeError), source, sink:  # the other side has ended
        answer(remote, source, sink, read_only=read_only)
