"""Whose signatures count in a project: from files of a branch of its."""

from __future__ import annotations

from pathlib import Path

from gitml import config as configuration
from gitml.entities.ids import ObjectId
from gitml.git.odb import Odb
from gitml.git.signing import Signers


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
