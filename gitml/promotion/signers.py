"""Whose signatures count in a project, and whether its tags are signed: from its files."""

from __future__ import annotations

from pathlib import Path

from gitml import config as configuration
from gitml.config import Config
from gitml.entities.ids import ObjectId
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.signing import Signers

_TRUE = ("true", "yes", "on", "1", "")


def signs_tags(git: Git, config: Config) -> bool:
    """Whether this user (git's ``tag.gpgSign``) or the project has numbers and moves signed."""
    wish = git.config("tag.gpgSign")
    return config.signing.tags or (wish is not None and wish.lower() in _TRUE)


def signers_at(odb: Odb, commit: ObjectId | None) -> Signers:
    """Whose signatures count by the files in a commit, the tip of the main branch; perhaps none.

    Never those of the work tree, or of a branch that is only proposed: who may sign is decided
    there where everybody sees it. Raises ConfigError.
    """
    data = odb.file(commit, configuration.FILE) if commit is not None else None
    if data is None or commit is None:
        return Signers()
    signing = configuration.parse(data, Path(configuration.FILE)).signing
    files = (signing.allowed_signers, signing.revoked_signers, signing.gpg_keys)
    return Signers(*(odb.file(commit, one) or b"" for one in files))
