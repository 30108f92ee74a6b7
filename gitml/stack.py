"""A stack: an orchestrator and an artifact store by name; ``default`` exists without any set-up.

Chosen without touching a pipeline's code.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitml.config import Config
from gitml.entities.ids import check_name, check_twins
from gitml.errors import ConfigError, NameNotFound
from gitml.frozen import Frozen, field

DEFAULT = "default"
SETTING = "gitml.stack"
"""The git setting with the active stack: a choice of one clone, so never a change of a file."""
_ORCHESTRATORS = ("local",)
"""What runs steps: this process, one after the other."""


class Stack(Frozen):
    """A named choice of components; ``extra`` holds those that this version does not know.

    ``artifact_store`` is the remote where `gitml push` brings bytes and missing ones come from;
    "local" leaves that to the default remote.
    """

    name: str
    orchestrator: str = "local"
    artifact_store: str = "local"
    extra: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ConfigError for an orchestrator that this version does not have."""
        if self.orchestrator not in _ORCHESTRATORS:
            raise ConfigError(
                f"the stack {self.name} wants the orchestrator `{self.orchestrator}`; "
                f"this version has: {', '.join(_ORCHESTRATORS)}",
                hint="`gitml stack set default` goes back to the local one",
            )


def stacks(config: Config | None) -> dict[str, Stack]:
    """All stacks by name, ``default`` first, then those of ``gitml.toml`` in its order."""
    found = {DEFAULT: Stack(DEFAULT)}
    for name, table in (config.stacks if config is not None else {}).items():
        check_twins([check_name(name, "stack")], found, "stack")
        rest = {k: v for k, v in table.items() if k not in ("orchestrator", "artifact_store")}
        found[name] = Stack(
            name, table.get("orchestrator", "local"), table.get("artifact_store", "local"), rest
        )
    return found


def stack_named(config: Config | None, name: str) -> Stack:
    """The stack of this name; raises NameNotFound with the nearest ones."""
    known = stacks(config)
    if name not in known:
        raise NameNotFound.among("stack", name, known)
    return known[name]
