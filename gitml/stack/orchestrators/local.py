"""The local orchestrator: the steps of a plan one after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

S = TypeVar("S")


class LocalOrchestrator:
    """Runs steps in plan order and stops at the first that fails; opens no port, needs no set-up.

    It is handed the steps and the callable that does one, so it knows nothing of pipelines.
    """

    flavor = "local"

    def run(self, steps: Iterable[S], do: Callable[[S], None]) -> None:
        """Do every step; what a step raises ends the run and is raised here."""
        for step in steps:
            do(step)
