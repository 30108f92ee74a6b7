"""Aliases: names of one's own for versions, which move at will and judge nothing.

Every move is an immutable tag ``<model>@alias/<name>/<n>``, as of stages, so that no tag of a
remote is ever moved and the history of an alias is kept; the highest n counts. Unlike a stage it
needs no policy, no reason and no remote.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from gitml.config import Config
from gitml.entities import codec
from gitml.entities.ids import ObjectId, check_alias_name, check_twins
from gitml.entities.records import Alias
from gitml.errors import NameNotFound, UsageError
from gitml.frozen import Frozen
from gitml.git import refs
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.history.index import Index
from gitml.history.models import ModelState
from gitml.history.record import TAGS, Person, Recorder, timestamp
from gitml.history.revs import Names
from gitml.history.strangers import USUAL

_TRIES = 8


class AliasMove(Frozen):
    """Where an alias went: labels of the versions, None for nothing, and whether it moved."""

    model: str
    alias: str
    version: str | None
    before: str | None
    moved: bool = True


@dataclass
class Aliases:
    """Moves the aliases of the models of one repository; every move names who."""

    git: Git
    odb: Odb
    index: Index
    config: Config
    person: Person

    def put(self, model: str, which: str, alias: str) -> AliasMove:
        """Let an alias mean a version, whatever it meant before.

        Raises UsageError for the name of a stage and InvalidName for words that mean something else
        behind an ``@``; NameNotFound where there is no such version.
        """
        check_alias_name(alias)
        return refs.retried(lambda: self._put(model, which, alias), _TRIES)

    def remove(self, model: str, alias: str, which: str | None = None) -> AliasMove:
        """Let an alias mean nothing any more; with ``which`` only if it means that version.

        Raises NameNotFound where it means nothing, UsageError where it means another version.
        """
        return refs.retried(lambda: self._remove(model, alias, which), _TRIES)

    def _put(self, model: str, which: str, alias: str) -> AliasMove:
        state, version = self._look(model, which)
        self._refuse_stage(state, alias)
        check_twins([alias], state.aliases, "alias")
        before = state.aliases.get(alias)
        label, was = state.label(version), state.label(before) if before else None
        if before == version:
            return AliasMove(model, alias, label, was, moved=False)
        self._move(state, alias, version, version)
        return AliasMove(model, alias, label, was)

    def _remove(self, model: str, alias: str, which: str | None) -> AliasMove:
        state, version = self._look(model, which)
        before = state.aliases.get(alias)
        if before is None:
            raise NameNotFound.among(f"alias of {model}", alias, state.aliases)
        if which is not None and version != before:
            raise UsageError(
                f"{alias} is {state.label(before)}, not {state.label(version)}",
                hint=f"`gitml model alias {state.label(before)} {alias} --delete`",
            )
        self._move(state, alias, None, before)
        return AliasMove(model, alias, None, state.label(before))

    def _look(self, model: str, which: str | None) -> tuple[ModelState, ObjectId]:
        """The model as it is now, and one of its versions."""
        self.index.refresh()
        names = Names.now(self.index, self.odb)
        state = names.model(model)
        if which is None and state.latest is None:
            raise NameNotFound(f"every version of {model} is deleted")
        return state, names.version(model, which or "latest")

    def _refuse_stage(self, state: ModelState, alias: str) -> None:
        if alias in USUAL or alias in state.stages or alias in self.config.policies:
            raise UsageError(
                f"{alias} is a stage, and cannot be an alias too",
                hint=f"`gitml promote {state.name}@VERSION {alias} -m WHY` moves the stage",
            )

    def _move(
        self, state: ModelState, alias: str, version: ObjectId | None, target: ObjectId
    ) -> None:
        n = state.alias_ends.get(alias, 0) + 1
        name = f"{state.name}@alias/{alias}/{n}"
        blocked = f"{TAGS}/{state.name}@alias/{alias}"
        if any(one.name == blocked for one in self.index.refs_below(blocked)):
            raise refs.obstacle(blocked, f"{TAGS}/{name}", f"move {alias}")
        now = time.time()
        record = Alias(self.config.project, state.name, alias, n, timestamp(now), version)
        recorder = Recorder(self.git, self.odb, self.person)
        label = state.label(version) if version else "nothing"
        subject = f"{state.name} {alias} {label}"
        tag = recorder.line_tag(name, target, subject, codec.to_document(record), now)
        recorder.publish_few([Change(f"{TAGS}/{name}", tag, None)], f"alias {alias}")
        self.index.refresh()
