"""What may stand at a place of a command line now: the names that a shell offers.

A shell asks with every Tab, so this reads refs and a few files, and never opens a record: what is
offered may turn out not to be usable, and the command that takes it says so.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitml import config
from gitml.entities.ids import check_name
from gitml.errors import GitmlError
from gitml.git import refs
from gitml.git.process import Git

if TYPE_CHECKING:
    from gitml.git.odb import Odb
    from gitml.history.index import Index

_NEWEST = 20
_NUMBER = r"v[1-9][0-9]{0,8}\Z"
_RUNS = "refs/gitml/runs/"
_VERSIONS = "refs/gitml/versions/"
_TAGS = "refs/tags/"


class LiveNames:
    """The names of a repository that may go on from ``text``, in the methods by their kind.

    ``model`` is the one that the line names before it, ``name`` whatever else it names. Raises
    GitmlError where there is no repository, or it cannot be read.
    """

    def __init__(
        self, folder: Path, text: str, model: str | None = None, name: str | None = None
    ) -> None:
        self._git = Git.discover(folder)
        self._text = text
        self._model = model
        self._name = name

    def pipelines(self) -> Iterable[str]:
        """Those that a file defines, and those that have run."""
        from gitml.pipelines import discovery

        paths = self._config.pipeline_paths if self._config else ()
        root = self._git.root
        defined = [one.name for one in discovery.find(root, paths)] if root else []
        ran = {ref.removeprefix(_RUNS).split("/")[0] for ref in self._refs(_RUNS)}
        return sorted({*defined, *ran})

    def runs(self) -> Iterator[str]:
        """The ids of the runs, those of the newest month first."""
        found = [ref.split("/")[-2:] for ref in self._refs(_RUNS)]
        yield from (run for _, run in sorted(found, key=lambda one: one[0], reverse=True))

    def models(self) -> Iterable[str]:
        """All models that have a version."""
        return list(self._leaves)

    def stages(self) -> Iterable[str]:
        """The stages of the model, or of all, and those that have a policy."""
        models = [self._model] if self._model in self._leaves else self._leaves
        held = {stage for one in models for stage in self._stages_of(one)}
        policies = self._config.policies if self._config else {}
        return sorted({*held, *policies})

    def aliases(self) -> Iterable[str]:
        """The aliases of the model, or of all, that were ever given."""
        models = [self._model] if self._model in self._leaves else list(self._leaves)
        return sorted({alias for one in models for alias in self._aliases_of(one)})

    def versions(self) -> Iterator[str]:
        """The versions: of each model its stages, its aliases and its newest numbers."""
        base, at, _ = self._text.partition("@")
        for model in self._leaves:
            if model == base or (not at and model.startswith(base)):
                yield from (f"{model}@{which}" for which in self._of_model(model))

    def artifacts(self) -> Iterable[str]:
        """All artifacts by name."""
        with self._index() as (index, _):
            return sorted({*index.artifacts(), *(one.record.name for one in index.saved())})

    def tags(self) -> Iterable[str]:
        """The tags of anything."""
        from gitml.history.notes import Notes
        from gitml.history.tags import tagged

        with self._index() as (index, odb):
            return sorted({tag for tag, _ in tagged(index, Notes(self._git, odb))})

    def tags_on(self) -> Iterable[str]:
        """The tags of what the line names before."""
        from gitml.repo import Repo

        repo = Repo.discover(self._git.root or self._git.directory, environment=os.environ)
        try:
            return repo.tags(self._name) if self._name else ()
        finally:
            repo.close()

    @contextlib.contextmanager
    def _index(self) -> Iterator[tuple[Index, Odb]]:
        from gitml.git.odb import Odb
        from gitml.history.index import Index

        odb = Odb(self._git)
        index = Index(self._git, odb)
        try:
            yield index, odb
        finally:
            index.close()
            odb.close()

    def in_version(self) -> Iterator[str]:
        """The artifacts of the version before the colon."""
        from gitml.repo import Repo

        version, _, _ = self._text.partition(":")
        repo = Repo.discover(self._git.root or self._git.directory, environment=os.environ)
        try:
            yield from (f"{version}:{name}" for name in repo.version(version).artifacts)
        finally:
            repo.close()

    def anything(self) -> Iterator[str]:
        """What has a record: names, and once digits are typed also runs."""
        if ":" in self._text:
            yield from self.in_version()
        elif "@" in self._text:
            yield from self.versions()
            yield from (f"{name}@latest" for name in self.artifacts())
        else:
            yield from sorted({*self.models(), *self.artifacts(), *self.pipelines()})
            yield from self.runs() if re.match(r"[0-9a-f]+\Z", self._text) else ()

    def records(self) -> Iterator[str]:
        """Versions and runs."""
        yield from self.versions()
        yield from self.runs() if re.match(r"[0-9a-f]+\Z", self._text) else ()

    def models_and_versions(self) -> Iterator[str]:
        """Models, and behind an ``@`` their versions."""
        yield from self.versions() if "@" in self._text else self.models()

    def verifiable(self) -> Iterator[str]:
        """Models, behind an ``@`` their versions and stages, and once digits are typed runs."""
        yield from self.models_and_versions()
        yield from self.runs() if re.match(r"[0-9a-f]+\Z", self._text) else ()

    def metrics(self) -> Iterable[str]:
        """The metrics for which it is settled what better means."""
        return sorted(self._config.directions) if self._config else ()

    def remotes(self) -> Iterable[str]:
        """The remotes for bytes."""
        from gitml.remotes.names import known_remotes

        return list(known_remotes(self._config, self._git.settings))

    def git_remotes(self) -> Iterable[str]:
        """The remotes of git."""
        return os.fsdecode(self._git.run("remote")).split()

    def stacks(self) -> Iterable[str]:
        """All stacks."""
        return ["default", *(self._config.stacks if self._config else ())]

    @cached_property
    def _config(self) -> config.Config | None:
        try:
            return config.read(self._git.work_tree() / config.FILE)
        except GitmlError:
            return None

    def _refs(self, *patterns: str) -> list[str]:
        listing = self._git.run("for-each-ref", "--format=%(refname)", *patterns)
        return os.fsdecode(listing).splitlines()

    @cached_property
    def _leaves(self) -> dict[str, list[str]]:
        """What stands behind the ``@`` of each model: the tags, and the ids of drafts."""
        found: dict[str, list[str]] = {}
        numbered = set()
        for ref in refs.list_refs(self._git, (f"{_TAGS}*@*", f"{_TAGS}*@*/**", _VERSIONS)):
            if ref.name.startswith(_TAGS):
                model, _, leaf = ref.name.removeprefix(_TAGS).partition("@")
                numbered.add((model, ref.commit.hex[:12]) if re.match(_NUMBER, leaf) else ())
            else:
                model, _, leaf = ref.name.removeprefix(_VERSIONS).partition("/")
            if leaf and _is_name(model):
                found.setdefault(model, []).append(leaf)
        return {
            model: [leaf for leaf in leaves if (model, leaf) not in numbered]
            for model, leaves in sorted(found.items())
        }

    def _stages_of(self, model: str) -> set[str]:
        """The stages of which a move is recorded."""
        pairs = (leaf.split("/") for leaf in self._leaves[model] if "/" in leaf)
        return {pair[0] for pair in pairs} - {"alias", "deleted", "revoked"}

    def _aliases_of(self, model: str) -> set[str]:
        leaves = (leaf.split("/") for leaf in self._leaves[model])
        return {one[1] for one in leaves if one[0] == "alias" and len(one) > 1}

    def _of_model(self, model: str) -> Iterator[str]:
        leaves = self._leaves[model]
        yield "latest"
        yield from sorted(self._stages_of(model))
        yield from (leaf for leaf in leaves if re.match(r"[0-9a-f]{12}\Z", leaf))
        yield from sorted(self._aliases_of(model))
        gone = {leaf.removeprefix("deleted/") for leaf in leaves if leaf.startswith("deleted/")}
        numbers = [leaf[1:] for leaf in leaves if re.match(_NUMBER, leaf)]
        there = sorted((int(one) for one in numbers if one not in gone), reverse=True)
        yield from (f"v{number}" for number in there[:_NEWEST])


def _is_name(text: str) -> bool:
    try:
        return bool(check_name(text, "model"))
    except GitmlError:
        return False
