"""A stack: an orchestrator and an artifact store by name; ``default`` exists without any set-up."""

from __future__ import annotations

from collections.abc import Mapping

from gitml.config import Config
from gitml.entities.ids import check_name, check_twins
from gitml.errors import ConfigError, NameNotFound
from gitml.frozen import Frozen, field
from gitml.stack.orchestrators.local import LocalOrchestrator

DEFAULT = "default"
SETTING = "gitml.stack"
"""The git setting with the active stack: a choice of one clone, so never a change of a file."""
_FLAVORS = {"local": LocalOrchestrator}


class Stack(Frozen):
    """A named choice of components; ``extra`` holds those that this version does not know.

    ``artifact_store`` is the remote where `gitml push` brings bytes and missing ones come from;
    "local" leaves that to the default remote.
    """

    name: str
    orchestrator: str = "local"
    artifact_store: str = "local"
    extra: Mapping[str, str] = field(default_factory=dict)

    def runner(self) -> LocalOrchestrator:
        """The orchestrator; raises ConfigError for a component that this version cannot use."""
        if self.orchestrator not in _FLAVORS:
            raise ConfigError(
                f"the stack {self.name} wants the orchestrator `{self.orchestrator}`; "
                f"this version has: {', '.join(_FLAVORS)}",
                hint="`gitml stack set default` goes back to the local one",
            )
        return _FLAVORS[self.orchestrator]()


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
