"""Programs of a project's own, run for their answer."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATIENCE = 600


def run_program(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str]:
    """The exit code of a program that is run in a folder, and the last line that it prints.

    127 where it is not there, 124 where it takes longer than ten minutes.
    """
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE,
            check=False,
        )
    except OSError:
        return 127, f"{words[0]} is not here"
    except subprocess.TimeoutExpired:
        return 124, f"{words[0]} took longer than {_PATIENCE} s"
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return done.returncode, lines[-1] if lines else ""
