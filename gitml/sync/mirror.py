"""A repository known by its URL alone: a bare copy of its records in the user's cache.

It is brought up to date at each use, and deleting it loses nothing.
"""

from __future__ import annotations

from pathlib import Path

from gitml.config import FILE
from gitml.fs import write_durably
from gitml.git import transport
from gitml.git.odb import Odb
from gitml.git.process import Git, init_repository
from gitml.git.transport import Tell
from gitml.history.index import Index
from gitml.history.record import Person
from gitml.store.digest import hash_bytes
from gitml.sync.fetching import Fetcher

REMOTE = "origin"


def mirrored(url: str, cache: Path, *, tell: Tell | None = None) -> tuple[Git, Path | None]:
    """The copy of the repository at a URL, and the ``gitml.toml`` of its branch, where it has one.

    Raises AuthenticationFailed, GitmlError.
    """
    if "://" not in url and (Path.cwd() / url).exists():
        url = str(Path.cwd() / url)
    git = init_repository(cache / hash_bytes(url.encode()).hex[:16], bare=True)
    if git.config(f"remote.{REMOTE}.url") != url:
        git.run("remote", "add", "--", REMOTE, url, accept=(0, 3))
        git = Git.discover(git.common)
    odb = Odb(git)
    index = Index(git, odb)
    try:
        Fetcher(git, odb, index, Person()).fetch(REMOTE, tell=tell)
        branch = transport.head_of(git, REMOTE)
        text = odb.file_at(f"refs/remotes/{REMOTE}/{branch}", FILE) if branch else None
    finally:
        index.close()
        odb.close()
    if text is None:
        return git, None
    path = git.common / FILE
    if not path.exists() or path.read_bytes() != text:
        write_durably(path, text)
    return git, path
