"""Other clones: the remotes that hold bytes, and records to and from the git remote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitml import config as configuration
from gitml.entities.ids import ObjectId, check_name, check_twins
from gitml.errors import GitmlError, UsageError
from gitml.frozen import Frozen
from gitml.fs import write_durably
from gitml.history.record import Person
from gitml.repo.data import Data

if TYPE_CHECKING:
    from gitml.doctor import Finding
    from gitml.git.transport import Tell
    from gitml.remotes.names import NamedRemote
    from gitml.store.gc import Collection
    from gitml.sync.fetching import Fetched
    from gitml.sync.pushing import Plan as PushPlan
    from gitml.sync.upload import Moved, Sent
    from gitml.workspace.checkout import Move as DataMove


class Pulled(Frozen):
    """What a pull did: what was fetched, where the branch went, which data was checked out.

    ``forwarded`` is the commit at which the branch is now, None where it stayed; ``brought`` counts
    the objects that came besides. ``absent`` is why a clone has none of its data yet.
    """

    fetched: Fetched
    forwarded: ObjectId | None
    data: Sequence[DataMove]
    brought: int
    absent: GitmlError | None = None


class Sharing(Data):
    """The part of the facade that reaches other machines."""

    def remotes(self) -> list[NamedRemote]:
        """The places for bytes that ``gitml.toml`` and git's configuration name."""
        return list(self._remotes.values())

    def add_remote(
        self, name: str, url: str, here: Path, *, default: bool = False, local: bool = False
    ) -> NamedRemote:
        """Name a remote in ``gitml.toml``, or with ``local`` for this clone alone.

        A relative path counts from ``here``, and in the file from the root. A folder that is not
        there is made where its parent is. Raises UsageError for a name that is taken, ConfigError
        for a URL that is none, or holds a secret.
        """
        from gitml.git.settings import set_setting
        from gitml.remotes import names, opening

        check_twins([check_name(name, "remote")], self._remotes, "remote")
        url = opening.from_root(url, here, self.root)
        known = self._remotes.get(name)
        if known is not None and known.url != url:
            raise UsageError(
                f"there is a remote {name} already: {known.url}",
                hint=f"`gitml remote remove {name}`, or take another name",
            )
        opening.prepare(url, self._access({}), self.root)
        if known is None and local:
            set_setting(self.git, f"{names.SETTING}.{name}.url", url)
        elif known is None:
            text = self.config.path.read_text("utf-8")
            self._rewrite(configuration.with_remote(text, name, url, default=default))
        if default and (local or known is not None):
            set_setting(self.git, names.SETTING, name)
        return self._remotes[name]

    def remove_remote(self, name: str) -> NamedRemote:
        """Forget a remote; what lies there stays. UsageError while a stack keeps bytes there."""
        from gitml.git.settings import set_setting
        from gitml.remotes import names

        named = names.remote_named(self._remotes, name)
        for stack in self.stacks():
            if stack.artifact_store == name and name in self.config.remotes:
                raise UsageError(
                    f"the stack {stack.name} keeps its artifacts on {name}",
                    hint=f"change `stacks.{stack.name}.artifact_store` in gitml.toml first",
                )
        if name in self.config.remotes:
            text = self.config.path.read_text("utf-8")
            self._rewrite(configuration.without_remote(text, name))
        if named.settings:
            self.git.run("config", "--remove-section", f"{names.SETTING}.{name}", accept=(0, 128))
        if self.git.config(names.SETTING) == name:
            set_setting(self.git, names.SETTING, None)
        self.git.__dict__.pop("settings", None)
        return named

    def check_remote(self, name: str | None = None, *, read_only: bool = False) -> list[Finding]:
        """What works on a remote and on the git remote, found out by doing it; see the module."""
        from gitml.doctor_remotes import examine_git_remote, examine_remote

        with self.remote(name) as remote:
            found = examine_remote(remote, read_only=read_only)
        return [*found, *examine_git_remote(self.git, read_only=read_only)]

    def fetch(
        self, remote: str | None = None, *, tell: Tell | None = None, dry_run: bool = False
    ) -> Fetched:
        """Bring the records that a git remote has and this clone lacks; see `Fetcher.fetch`.

        Without a name it is the remote of the branch, or the only one.
        """
        from gitml.git import transport
        from gitml.sync.fetching import Fetcher

        chosen = transport.choose(self.git, remote)
        fetcher = Fetcher(self.git, self.odb, self.index, self._person or Person())
        return fetcher.fetch(chosen, tell=tell, dry_run=dry_run)

    @property
    def _seal(self) -> Callable[[bytes], bytes] | None:
        """What signs the tags of numbers; None where nobody asked for it."""
        from gitml.git.settings import signs_tags
        from gitml.git.signing import Signer

        project = self._has_config and self.config.signing.tags
        return Signer(self.git).sign if signs_tags(self.git, project) else None

    def _publish(
        self,
        words: Sequence[str],
        remote: str,
        *,
        runs: bool = False,
        confirm: Callable[[PushPlan], None],
        tell: Tell | None = None,
        moved: Moved | None = None,
        dry_run: bool = False,
    ) -> PushPlan:
        """Push the current branch and all versions, or what the words name; see `Pusher.push`."""
        from gitml.sync.order import Carrier
        from gitml.sync.pushing import Pusher

        person = self._person or Person()
        carrier = Carrier(self.git, lambda: self.store, lambda: self._catalogue)
        if moved is not None:
            carrier.moved = moved

        def ask(plan: PushPlan) -> None:
            carrier.check_place(plan)  # no yes is asked for what cannot be done
            confirm(plan)

        pusher = Pusher(
            *(self.git, self.odb, self.index, person, ask, carrier.carry, tell),
            seal=self._seal,
        )
        plan = pusher.push(remote, words, runs=runs, dry_run=dry_run)
        if dry_run:
            carrier.foresee(plan)
        plan.lost, plan.sent = carrier.lost, carrier.sent
        return plan

    def send_bytes(
        self, remote: str, tips: Sequence[ObjectId], known: Sequence[ObjectId]
    ) -> Sent | None:
        """Bring the bytes that commits name to the remote for bytes; None where none are named.

        Named is what ``tips`` have and neither ``known`` nor the branches of the git remote as they
        were seen last. Raises ConfigError, MissingBytes and what the upload raises.
        """
        from gitml.git import refs
        from gitml.sync.needs import new_needs
        from gitml.sync.order import no_place
        from gitml.sync.upload import Uploader

        seen = refs.list_refs(self.git, [f"refs/remotes/{remote}"]) if remote else []
        needs = new_needs(self.git, tips, [*known, *(one.commit for one in seen)])
        if not needs:
            return None
        catalogue = self._catalogue
        if catalogue is None:
            raise no_place(needs)
        uploader = Uploader(self.store, catalogue)
        return uploader.send(uploader.missing(needs))

    def _absent(self, name: str, url: str, version: ObjectId) -> list[str]:
        """The places in a version's history whose bytes are not on a remote now; see `proof`.

        The remote is that of the URL, wherever its name leads in this clone.
        """
        from gitml.remotes.opening import open_remote
        from gitml.sync.needs import new_needs
        from gitml.sync.proof import whole_objects

        needs = new_needs(self.git, [version], [])
        own = self._remotes.get(name)
        access = self._access(own.settings if own is not None else {})
        remote = open_remote(url, access, self.tell)
        try:
            there = whole_objects(self._catalogue_of(remote), needs)
        finally:
            remote.close()
        return sorted(need.where for digest, need in needs.items() if digest not in there)

    def pull(
        self,
        remote: str | None = None,
        *,
        everything: bool = False,
        last: int = 0,
        include: Sequence[str] = (),
        force: bool = False,
        tell: Tell | None = None,
        moved: Moved | None = None,
    ) -> Pulled:
        """Fetch, move the branch forward, and check its data out; see `sync.pulling`.

        Artifacts of runs come when they are read: before that with ``everything``, of the ``last``
        runs, or where an artifact's name matches a glob of ``include``.
        """
        from gitml.sync.download import forget_arrivals
        from gitml.sync.pulling import Puller

        fetched = self.fetch(remote, tell=tell)
        if self._supply is not None and moved is not None:
            self._supply.moved = moved
        self.store.tidy()
        puller = Puller(self.git, self.odb, self.index, self.store)
        moved_to = puller.forward(fetched.remote)
        if moved_to is not None:
            self._read_config_again()
            puller.store = self.store
            if self._supply is not None and moved is not None:
                self._supply.moved = moved
        data = self.checkout(force=force) if self._has_config else []
        brought = puller.bring(everything=everything, last=last, include=include)
        forget_arrivals(self.store.layout)
        return Pulled(fetched, moved_to, tuple(data), brought)

    def complete_clone(self) -> Pulled | None:
        """Bring to a clone that plain git made what ``gitml clone`` would have brought.

        None where there is no git remote, or its records were fetched before. Data that cannot be
        had is no error: `Pulled.absent` says why.
        """
        from gitml.git import refs
        from gitml.history.record import TRACKING

        if not self.git.has_remote() or refs.targets(self.git, [TRACKING]):
            return None
        fetched = self.fetch()
        return self._completed(fetched, None)

    def _completed(self, fetched: Fetched, head: ObjectId | None, *, data: bool = True) -> Pulled:
        """A clone whose records are here, with the data that can be had."""
        moves: Sequence[DataMove] = ()
        absent: GitmlError | None = None
        if data and self._has_config:
            try:
                moves = self.checkout()
            except GitmlError as error:
                absent = error
        return Pulled(fetched, head, tuple(moves), 0, absent)

    def drop(self, *, dry_run: bool = False) -> Collection:
        """Free the bytes here that the remote for bytes has for certain; they come back when read.

        Raises UsageError where there is no remote, and where other clones share the store.
        """
        from gitml.git import refs, walk
        from gitml.history.clones import sharing
        from gitml.store import gc
        from gitml.sync.needs import needs_at, new_needs
        from gitml.sync.proof import proven

        catalogue, store = self._catalogue, self.store
        if catalogue is None:
            raise UsageError(
                "there is no remote for bytes, so what is here is nowhere else",
                hint="`gitml remote add NAME URL --default`, then `gitml push`",
            )
        others = sharing(store.root, self.git)[1:]
        if others:
            raise UsageError(
                f"the store is shared with {others[0].common}, which may need what is dropped",
                hint="`gitml gc` frees what none of the clones names",
            )
        tips = {ObjectId(one) for one in refs.targets(self.git, ["refs"]).values()}
        commits = walk.existing(self.git, tips | walk.heads(self.git.directory))
        needs = {**new_needs(self.git, commits, ()), **needs_at(self.git, commits)}
        gone = proven(store, catalogue, list(needs.values()))

        def live() -> set[bytes]:
            return {one.digest.raw for one in store.objects()} - gone

        return gc.collect(store, live, grace=0.0, dry_run=dry_run)

    def _rewrite(self, text: str) -> None:
        """Replace ``gitml.toml``, and read it again."""
        write_durably(self.config.path, text.encode())
        self.__dict__.pop("config", None)
