"""A repository that was opened: its objects, index, store and remotes, each made on first use."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from gitml import config as configuration
from gitml.config import Config
from gitml.errors import ConfigError, GitmlError, StorageError, UsageError
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.handles import Parts
from gitml.history.index import Index
from gitml.history.notes import Notes
from gitml.history.record import Person
from gitml.history.revs import Names
from gitml.stack import DEFAULT, SETTING, Stack, stack_named, stacks

if TYPE_CHECKING:
    from gitml.entities.ids import Digest
    from gitml.git.transport import Tell
    from gitml.materializers import Rules
    from gitml.remotes.base import Access, Remote
    from gitml.remotes.names import NamedRemote
    from gitml.store.store import Store
    from gitml.sync.catalogue import Catalogue
    from gitml.sync.supply import RemoteSupply
    from gitml.workspace.workingtree import WorkingTree


class Opened:
    """What every part of the facade stands on."""

    def __init__(
        self,
        git: Git,
        *,
        environment: Mapping[str, str] | None = None,
        stack: str | None = None,
    ) -> None:
        self.git = git
        self.tell: Tell | None = None
        self._environment = environment or {}
        self._stack = stack or self._environment.get("GITML_STACK")

    @property
    def root(self) -> Path:
        """The top of the work tree; raises NoRepository where there is none."""
        return self.git.work_tree()

    @cached_property
    def config(self) -> Config:
        """``gitml.toml``; raises NoRepository before ``gitml init``, ConfigError when wrong."""
        return configuration.read(self.root / configuration.FILE)

    @cached_property
    def odb(self) -> Odb:
        """git's objects."""
        return Odb(self.git)

    @cached_property
    def index(self) -> Index:
        """The index of the records."""
        return Index(self.git, self.odb)

    @cached_property
    def store(self) -> Store:
        """The bytes: below the common git directory, or where ``gitml.store`` says."""
        from gitml.store.knowntrees import KnownTrees
        from gitml.store.links import link_mode
        from gitml.store.store import Store

        link = link_mode(self.git.config("gitml.link"))
        elsewhere = self.git.config("gitml.store")
        own = self.git.common / "gitml"
        known_trees = KnownTrees(own)
        opened = partial(
            Store, link=link, supply=self._supply, known_trees=known_trees, fate=self._fate
        )
        if not elsewhere:
            return opened(own / "store")
        from gitml.history.clones import is_remembered, register, remember

        root = Path(elsewhere)

        def introduce() -> None:
            register(root, self.git)
            remember(root, self.git)

        if (root / "format").exists():
            with contextlib.suppress(StorageError):  # where it may only be read
                introduce()
        known = is_remembered(root, self.git)
        return opened(root, introduce, is_known=known)

    def _fate(self, digest: Digest) -> str:
        """That an object was revoked, and why: then somebody may have taken it away on purpose."""
        from gitml.history.revocations import names_of

        with contextlib.suppress(GitmlError):  # it would hide that something is missing
            said = self.parts.revoked_bytes(digest)
            return f"; it is revoked ({names_of(said)})" if said else ""
        return ""

    @cached_property
    def parts(self) -> Parts:
        """What handles need of this repository."""
        notes = Notes(self.git, self.odb)
        return Parts(
            self.odb,
            self.index,
            notes,
            lambda: self.store,
            lambda: self._rules,
            lambda: self._person or Person(),
        )

    @property
    def names(self) -> Names:
        """Every name as it is now."""
        return self.parts.names()

    @cached_property
    def workspace(self) -> WorkingTree:
        """The working tree as a place of data."""
        from gitml.workspace.workingtree import WorkingTree

        return WorkingTree(self.git, lambda: self.store)

    def remote(self, name: str | None = None) -> Remote:
        """A remote, opened with this user's credentials, tried again when connections break.

        The default one when none is named. Nothing is asked of it yet: what is wrong there shows at
        the first use. Close it in the end. Raises NameNotFound; UsageError without a choice.
        """
        from gitml.remotes.names import remote_named
        from gitml.remotes.opening import open_remote

        named = remote_named(self._remotes, name)
        return open_remote(named.url, self._access(named.settings), self.tell)

    @property
    def active_stack(self) -> Stack:
        """The stack that runs use: ``--stack``, ``GITML_STACK``, the git setting, ``default``."""
        name = self._stack or self.git.config(SETTING) or DEFAULT
        return stack_named(self.config, name)

    def stacks(self) -> list[Stack]:
        """All stacks, ``default`` first."""
        return list(stacks(self.config).values())

    def stack(self, name: str) -> Stack:
        """A stack; raises NameNotFound with the nearest ones."""
        return stack_named(self.config, name)

    def set_stack(self, name: str) -> Stack:
        """Make a stack the active one of this clone; no file changes."""
        from gitml.git.settings import set_setting

        stack = stack_named(self.config, name)
        set_setting(self.git, SETTING, None if name == DEFAULT else name)
        return stack

    @property
    def _bytes_remote(self) -> str | None:
        """The name of the remote where bytes go: the active stack's, else the default one.

        None where there is no remote at all. Raises UsageError where there are several and none is
        the default.
        """
        store = self.active_stack.artifact_store if self._has_config else "local"
        if store != "local":
            return store
        if not self._remotes:
            return None
        from gitml.remotes.names import remote_named

        return remote_named(self._remotes, None).name

    @cached_property
    def _catalogue(self) -> Catalogue | None:
        """What is known of the remote where bytes go; None where there is none."""
        name = self._bytes_remote
        return self._catalogue_of(self.remote(name)) if name is not None else None

    def _catalogue_of(self, remote: Remote) -> Catalogue:
        """What is known of a remote."""
        from gitml.store.digest import hash_bytes
        from gitml.sync.catalogue import Catalogue

        place = hash_bytes(remote.url.encode()).hex[:16]
        return Catalogue(remote, self.git.common / "gitml" / "remotes" / place)

    @cached_property
    def _supply(self) -> RemoteSupply | None:
        """Where bytes come from that the store lacks; None where there is no remote for bytes."""
        try:
            if not self._remotes:
                return None
        except ConfigError:  # who needs the settings says so; what is here can be read without
            return None
        from gitml.sync.supply import RemoteSupply

        def opened() -> Catalogue:
            catalogue = self._catalogue
            if catalogue is None:
                raise UsageError("there is no remote for bytes", hint="`gitml remote add NAME URL`")
            return catalogue

        return RemoteSupply(opened, lambda: self.store)

    @property
    def _remotes(self) -> dict[str, NamedRemote]:
        from gitml.remotes.names import known_remotes

        return known_remotes(self.config if self._has_config else None, self.git.settings)

    def _access(self, settings: Mapping[str, str]) -> Access:
        """What remotes are opened with: this user's environment, git's credentials and settings."""
        from functools import partial

        from gitml.git.credentials import stored_credentials
        from gitml.remotes.base import Access

        program = self.git.config("core.sshCommand")
        own = {"sshcommand": program} if program else {}
        return Access(
            self.git.root or self.git.common,
            self._environment,
            partial(stored_credentials, self.git),
            {**own, **settings},
        )

    @property
    def _has_config(self) -> bool:
        if "config" in self.__dict__:
            return True
        return self.git.root is not None and (self.git.root / configuration.FILE).exists()

    @property
    def _rules(self) -> Rules:
        from gitml.materializers import Rules

        if not self._has_config:
            return Rules()
        return Rules(allow_pickle=self.config.pickle, trusted_types=self.config.trusted_types)

    @property
    def _person(self) -> Person | None:
        identity = self.git.identity()
        return Person(*identity) if identity else None

    def _read_config_again(self) -> None:
        """Forget what followed from ``gitml.toml`` when git has put another in its place."""
        catalogue = self.__dict__.pop("_catalogue", None)
        if catalogue is not None:
            catalogue.remote.close()
        for name in ("config", "_supply", "store", "parts", "workspace"):
            self.__dict__.pop(name, None)

    def pager(self) -> str | None:
        """The command that git would show a long answer with; None where it would show it bare."""
        own = self.git.config("pager.log")
        if own is not None and own.lower() in ("false", "no", "off", "0"):
            return None
        command = self.git.process("var", "GIT_PAGER").stdout.decode().strip()
        if own and own.lower() not in ("true", "yes", "on", "1"):
            command = own
        return None if command in ("", "cat") else command

    def close(self) -> None:
        """End the processes and let go of the files that reading opened."""
        if "odb" in self.__dict__:
            self.odb.close()
        if "index" in self.__dict__:
            self.index.close()
        catalogue = self.__dict__.pop("_catalogue", None)
        if catalogue is not None:
            catalogue.remote.close()
