"""What this user's programs know: git's credential helpers, and those of forges."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from gitml.git.process import Git


def stored_credentials(git: Git, protocol: str, host: str) -> tuple[str, str] | None:
    """What the helpers that the user has set up answer; None where they know nothing.

    Nobody is asked: neither on the terminal nor in a window.
    """
    if not host or "\n" in host or "\0" in host:
        return None
    question = f"protocol={protocol}\nhost={host}\n\n".encode()
    silent = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"}
    done = git.process("-c", "core.askPass=true", "credential", "fill", stdin=question, env=silent)
    lines = done.stdout.decode(errors="surrogateescape").splitlines()
    answer = dict(line.partition("=")[::2] for line in lines)
    user, password = answer.get("username"), answer.get("password")
    return (user, password) if done.returncode == 0 and user and password else None


def program_answer(arguments: Sequence[str]) -> str | None:
    """The line that a program prints; None where it is not installed, fails or takes long."""
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0] if done.returncode == 0 and len(lines) == 1 else None
