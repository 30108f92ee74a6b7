"""From a URL to a remote: which flavor it is, and what is never taken as a URL."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from gitml import plugins
from gitml.config import secrets_in
from gitml.errors import ConfigError, NameNotFound, StorageError
from gitml.fs import make_directories
from gitml.remotes.base import Access, Remote
from gitml.remotes.layers import Limited, Patience, Retrying

GROUP = "gitml.remotes"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:[^/:@\s]+@)?(?:[^/:@\s]+|\[[0-9a-fA-F:]+\]):(?!//)")


def scheme_of(url: str) -> str:
    """What a URL begins with, ``ssh`` for ``user@host:path``, ``file`` for every other path."""
    found = _SCHEME.match(url)
    if found is not None:
        return found[1].lower()
    return "ssh" if _SCP.match(url) else "file"


def flavor_of(url: str) -> type[Remote]:
    """The class for a URL; raises ConfigError where there is none or the URL holds a secret."""
    for secret in secrets_in(url):
        raise ConfigError(f"a remote's URL {secret.what}", hint=secret.hint)
    scheme = scheme_of(url)
    found = plugins.find(GROUP, scheme)
    if found is None:
        known = plugins.names(GROUP)
        error = NameNotFound.among("kind of remote", f"{scheme}://", [f"{one}://" for one in known])
        raise ConfigError(error.message, hint=error.hint)
    flavor: type[Remote] = found
    return flavor


def from_root(url: str, here: Path, root: Path) -> str:
    """The URL as it means the same from the root: a relative path was written ``here``."""
    if scheme_of(url) != "file" or url.startswith(("/", "~", "file:")) or not url.strip():
        return url
    return os.path.relpath(here / url, root)


def prepare(url: str, access: Access, root: Path) -> None:
    """Judge a URL, and make the folder that it names where only that one is missing.

    Raises ConfigError for what is no URL, and for a folder inside of the work tree at ``root``.
    """
    remote = flavor_of(url).open(url, access)
    if scheme_of(url) == "file":
        path = Path(remote.url)
        if path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"the remote {url} would lie in the repository itself",
                hint="take a folder outside of it, best on another disk or machine",
            )
        if path.parent.is_dir():
            try:
                make_directories(path)
            except StorageError as error:
                raise StorageError(
                    f"the folder {path} of the remote cannot be made",
                    hint=error.hint
                    or f"`df {shlex.quote(str(path.parent))}` shows what is there; "
                    "name a folder that you may write to",
                ) from error


def open_remote(url: str, access: Access, tell: Callable[[str], None] | None = None) -> Remote:
    """The remote at a URL, with retries and a limit around it; connects to nothing yet.

    ``tell`` hears what is waited for. A folder that is not there at first is not waited for.
    """
    bare = flavor_of(url).open(url, access)
    patience = Patience(at_first=0) if scheme_of(url) == "file" else Patience()
    return Retrying(Limited(bare, bare.capabilities.parallel), patience, tell=tell)
