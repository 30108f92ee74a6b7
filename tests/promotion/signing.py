"""Keys for tests: real ones of ssh, and of gpg, made in a moment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_ssh = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="`apt-get install openssh-client` has ssh-keygen"
)
needs_gpg = pytest.mark.skipif(
    shutil.which("gpg") is None, reason="`apt-get install gnupg` has gpg"
)


def ssh_key(folder: Path, name: str) -> Path:
    """A new key of ssh without a pass phrase; the public half is ``<name>.pub``."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def allowed(*keys: tuple[str, Path], options: str = "") -> str:
    """The lines of an allowed_signers file: address and key."""
    lines = []
    for who, key in keys:
        public = key.with_name(f"{key.name}.pub").read_text().rpartition(" ")[0]
        lines.append(" ".join(part for part in (who, options, public) if part))
    return "".join(f"{line}\n" for line in lines)
