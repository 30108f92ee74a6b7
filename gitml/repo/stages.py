"""Stages: promotion, roll-back and deletion, made on the git remote where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gitml.entities.ids import ObjectId
from gitml.errors import CorruptData, GitmlError, NameNotFound, RaceLost, UsageError
from gitml.frozen import Frozen, replace
from gitml.git.refs import Change
from gitml.history.models import Event, read_promotion
from gitml.history.record import Person
from gitml.history.revs import Found
from gitml.repo.records import with_article
from gitml.repo.sharing import Sharing

if TYPE_CHECKING:
    from gitml.entities.records import Output, Revocation
    from gitml.git.signing import Signers
    from gitml.git.transport import Tell
    from gitml.promotion.aliases import Aliases, AliasMove
    from gitml.promotion.memory import Memory
    from gitml.promotion.online import Online
    from gitml.promotion.promote import Move, Promoter
    from gitml.promotion.rule import Evidence, Looked, Policies
    from gitml.promotion.verify import Verified
    from gitml.sync.pushing import Plan as PushPlan
    from gitml.sync.upload import Moved

T = TypeVar("T")

_PATIENCE = 30.0
"""Seconds for which a promotion is tried again when others are first."""


def named_version(text: str, command: str) -> tuple[str, str]:
    """The model and the version that a text names; raises UsageError where it is a model alone.

    The hint is the ``command`` with the model in the place of MODEL.
    """
    model, at, which = text.removeprefix("model/").partition("@")
    if not at:
        raise UsageError(f"{text} names no version", hint=f"`{command.replace('MODEL', model)}`")
    return model, which


class Deleted(Frozen):
    """What was deleted: "version" or "run", its label, and the git remote where it is gone too."""

    kind: str
    label: str
    remote: str | None = None


class Stages(Sharing):
    """The part of the facade that moves stages.

    With ``verify_bytes`` every byte of a version's artifacts is read before it is promoted.
    """

    verify_bytes = False

    def push(
        self,
        words: Sequence[str] = (),
        *,
        remote: str | None = None,
        runs: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
        tell: Tell | None = None,
        moved: Moved | None = None,
        dry_run: bool = False,
    ) -> PushPlan:
        """Push the current branch and all versions, or what the words name; see `Pusher.push`.

        Then the promotions that waited for the git remote are made, unless words were given.
        ``confirm`` is asked before code is published that is on no branch of the remote; it raises
        for a no.
        """
        from gitml.git import transport

        chosen = transport.choose(self.git, remote)
        plan = self._publish(
            words, chosen, runs=runs, confirm=confirm, tell=tell, moved=moved, dry_run=dry_run
        )
        if not words and not dry_run:
            plan.promoted = self._promote_pending(chosen)
        return plan

    def promote(
        self,
        version: str,
        stage: str,
        reason: str,
        *,
        remote: str | None = None,
        retry: bool = False,
        local: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
        dry_run: bool = False,
    ) -> Move:
        """Make ``clf@v3`` the holder of a stage; see ``Promoter.promote``.

        Where there is a git remote it is made there: a version that is not on it is pushed first.
        Raises RaceLost where the stage has moved since this clone last looked, or moves meanwhile;
        ``retry`` promotes all the same, trying for half a minute. ``local`` keeps the promotion for
        the next push. With ``dry_run``, here and below, the answer is the same and nothing is
        written.
        """
        model, which = named_version(version, f"gitml promote MODEL@latest {stage}")
        if local and self._online(remote) is not None:
            promoter = self._promoter(dry_run=dry_run)
            return promoter.keep_for_later(model, which, stage, reason)
        return self._moved(
            lambda promoter: promoter.promote(model, which, stage, reason),
            *(model, stage, which),
            remote=remote,
            retry=retry,
            confirm=confirm,
            dry_run=dry_run,
        )

    def rollback(
        self,
        model: str,
        stage: str,
        reason: str | None = None,
        *,
        remote: str | None = None,
        dry_run: bool = False,
    ) -> Move:
        """Bring the holder before back; see ``Promoter.rollback``.

        What it takes back is what this clone has seen: RaceLost where the stage has moved since.
        """
        return self._moved(
            lambda promoter: promoter.rollback(model, stage, reason),
            *(model, stage),
            remote=remote,
            dry_run=dry_run,
        )

    def clear_stage(
        self,
        model: str,
        stage: str,
        reason: str,
        *,
        remote: str | None = None,
        dry_run: bool = False,
    ) -> Move:
        """Leave a stage without a holder; see ``Promoter.clear``. RaceLost as of `rollback`."""
        return self._moved(
            lambda promoter: promoter.clear(model, stage, reason),
            *(model, stage),
            remote=remote,
            dry_run=dry_run,
        )

    def repair_stage(self, model: str, stage: str, *, dry_run: bool = False) -> list[str]:
        """End a fork of a stage: the remote's moves stay; see ``Promoter.repair``."""
        return self._promoter(dry_run=dry_run).repair(model, stage)

    def put_alias(self, version: str, alias: str) -> AliasMove:
        """Let ``clf@alias`` mean a version, such as ``clf@v3``; see `Aliases.put`."""
        model, which = named_version(version, f"gitml model alias MODEL@latest {alias}")
        return self._aliases().put(model, which, alias)

    def remove_alias(self, name: str, alias: str) -> AliasMove:
        """Let an alias of a model, or of the version that is named, mean nothing any more."""
        model, _, which = name.removeprefix("model/").partition("@")
        return self._aliases().remove(model, alias, which or None)

    def _aliases(self) -> Aliases:
        from gitml.promotion.aliases import Aliases

        return Aliases(self.git, self.odb, self.index, self.config, self._person or Person())

    def delete(self, text: str, reason: str, *, dry_run: bool = False) -> Deleted:
        """Delete a version or a run; a version that is on the git remote, there too."""
        found = self.resolve(text)
        if found.kind == "run" and found.commit is not None:
            return Deleted("run", self._promoter(dry_run=dry_run).delete_run(found.commit))
        if found.kind != "version":
            raise UsageError(
                f"{text} is {with_article(found.kind)}; versions and runs can be deleted",
                hint=f"`gitml delete {found.name}@v1 -m WHY`" if found.kind == "model" else None,
            )
        assert found.commit is not None  # noqa: S101 - a version has a commit
        commit = found.commit
        online = self._online(None)
        if online is not None and not self._is_published(online.remote, found):
            online = None
        remote = online.remote if online is not None else None

        def move(promoter: Promoter) -> Deleted:
            label = promoter.delete_version(found.name, commit.hex, reason)
            return Deleted("version", label, remote)

        if dry_run:
            return move(self._promoter(dry_run=True))
        return self._moving(move, online)

    def revoke(self, text: str, reason: str, *, dry_run: bool = False) -> Revocation:
        """Revoke a version, a run, an artifact, or the data at a path; what was revoked.

        Promotion refuses everything that descends from it, and shows it. Where there is a git
        remote it is said there at once, if the record is there. It cannot be taken back.
        """
        record = self._revocation(text, reason)
        online = self._online(None)
        if online is None or dry_run or not self._is_there(online.remote, record.commit):
            self._promoter(dry_run=dry_run).revoke(record)
            return record
        self._moving(lambda promoter: promoter.revoke(record), online)
        return record

    def standing_on(self, revoked: Revocation) -> list[str]:
        """The versions that descend from something, whether it is revoked yet or not."""
        from gitml.history.revocations import Revocations

        found = Revocations(self.index, self.odb, (revoked,))
        states = (self.names.model(name) for name in self.names.models)
        return [
            state.label(one) for state in states for one in state.visible if found.on(one) != ()
        ]

    def held_by(self, labels: Sequence[str]) -> list[tuple[str, str]]:
        """The stages, with their models, that versions hold."""
        found = []
        for label in labels:
            model, _, which = label.partition("@")
            state = self.names.model(model)
            found += [(model, one) for one in state.held(self.names.version(model, which))]
        return found

    def _revocation(self, text: str, reason: str) -> Revocation:
        import time

        from gitml.entities.records import Revocation
        from gitml.history.record import timestamp

        name, kind, digest = text, "source", None
        commit = self._source_at(text)
        if commit is None:
            found = self.resolve(text)
            commit, kind, name = found.commit, found.kind, found.label
            run = self.index.run(commit) if commit is not None and kind == "run" else None
            name = f"{run.record.pipeline}@{run.id.short}" if run is not None else name
            digest = found.output.digest if found.output is not None else None
            if kind not in ("version", "run", "artifact", "source"):
                raise UsageError(
                    f"{text} is {with_article(kind)}; versions, runs, artifacts and data can be "
                    "revoked",
                    hint=f"`gitml revoke {found.name}@v1 -m WHY`" if kind == "model" else None,
                )
        assert commit is not None  # noqa: S101 - each of these kinds has a record
        at = timestamp(time.time())
        return Revocation(self.config.project, kind, name, commit, reason, at, digest)

    def _source_at(self, path: str) -> ObjectId | None:
        """The source commit of the data that stands at a path now; None where there is no data.

        A file that git has itself counts when a run has read it: others may be called like a model.
        """
        from gitml.entities.pointer import SUFFIX, Pointer
        from gitml.history.record import Recorder

        file = self.root / f"{path}{SUFFIX}"
        recorder = Recorder(self.git, self.odb, self._person or Person())
        if not file.is_file():
            plain = self.root / path
            if not plain.is_file():
                return None
            from gitml.store.digest import hash_file

            commit = recorder.source(hash_file(plain), "blob", plain.stat().st_size)
            return commit if commit in self.odb else None
        pointer = Pointer.decode(file.read_bytes(), f"{path}{SUFFIX}")
        commit = recorder.source(pointer.digest, pointer.kind, pointer.size)
        if commit not in self.odb:
            raise NameNotFound(
                f"no run has used {path} as it is now", hint="`gitml lineage clf@latest`"
            )
        return commit

    def _is_there(self, remote: str, commit: ObjectId) -> bool:
        """Whether a git remote was seen to have something that stands on a commit."""
        from gitml.sync import tracking

        places = (tracking.all_tracked(remote), f"refs/remotes/{remote}")
        asked = ("for-each-ref", "--count=1", f"--contains={commit}", *places)
        return bool(self.git.run(*asked).strip())

    def _promote_pending(self, remote: str) -> list[Move]:
        """Make the promotions that waited for the git remote, oldest first."""
        from gitml.git import refs
        from gitml.history.record import PENDING

        done = []
        pending = refs.list_refs(self.git, [PENDING])
        tags = [(self.odb.tag(one.target), one) for one in pending]
        for tag, ref in sorted(tags, key=lambda pair: pair[0].message.partition('"at": ')[2]):
            model, _, leaf = tag.name.partition("@")
            stage, _, n = leaf.partition("/")
            promotion = read_promotion(tag, model, stage, int(n))
            label = self.names.model(model).label(ref.commit)
            done.append(self.promote(label, stage, promotion.reason, remote=remote, retry=True))
            refs.update(self.git, [Change(ref.name, None, ref.target)], f"promote {label}")
        return done

    def _promoter(
        self, *, dry_run: bool, online: Online | None = None, memory: Memory | None = None
    ) -> Promoter:
        """What moves stages; ``memory`` is what this user saw, looked up where it is None."""
        from gitml.promotion.promote import Promoter

        if memory is None:
            memory = self._memory(online.remote if online is not None else None)
        return Promoter(
            *(self.git, self.odb, self.index, self._policies, self._person, dry_run, online),
            wished=partial(self._wish_commit, online),
            evidence=self._evidence,
            signers=partial(self._signers, online),
            memory=memory,
        )

    @property
    def _evidence(self) -> Evidence:
        """What a promotion is judged by beside the repository, looked at when it is asked for."""
        from gitml.promotion.rule import Evidence

        return Evidence(
            absent=self._absent,
            look=self._look,
            run=self._run_program,
            thorough=self.verify_bytes,
        )

    def _look(self, outputs: Sequence[Output], thorough: bool) -> Looked:
        """What is wrong with the bytes of some artifacts: here, or on the remote where bytes go.

        What is here is read, as much of it as takes no time; with ``thorough`` all is, and what the
        remote alone has is brought, which verifies it. Where the remote cannot be asked, without
        credentials say, none of what it may have counts as lost.
        """
        from gitml.promotion.rule import Looked
        from gitml.promotion.soundness import QUICK, damaged

        away = self.store.absent([one.digest for one in outputs])
        bad, unread = damaged(self.store, outputs, None if thorough else QUICK)
        here = Looked((), tuple(bad), unread)
        name = self._bytes_remote if away else None
        if name is None:
            return replace(here, lost=tuple(away))
        from gitml.sync.proof import whole_objects

        try:
            there = whole_objects(self._catalogue_of(self.remote(name)), away)
            lost = tuple(one for one in away if one not in there)
            if thorough and self._supply is not None:
                self._supply.bring([one for one in away if one in there])
        except CorruptData as error:
            return replace(here, lost=tuple(away), remote=name, trouble=error.message)
        except GitmlError as error:
            trouble = f"{name} cannot be asked: {error.message}"
            return replace(here, remote=name, trouble=trouble)
        return replace(here, lost=lost, remote=name)

    def _run_program(self, words: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """The exit code and the last line of a program of the project's, run in its root."""
        from gitml.git.program import run_program

        folder = self.git.root or self.git.common
        return run_program(words, folder, {**self._environment, **variables})

    def _signers(self, online: Online | None) -> Signers:
        from gitml.promotion.signers import signers_at

        tip = self._tip(online) if online is not None else self._main_tip()
        return signers_at(self.odb, tip)

    def _memory(self, remote: str | None) -> Memory:
        """What this user saw of the stages, as the remote has them or as they are in this clone."""
        from pathlib import Path
        from urllib.parse import urlsplit

        from gitml.git import transport
        from gitml.promotion.memory import Memory

        home = self._environment.get("HOME")
        base = self._environment.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
        if not base:
            return Memory()
        if remote is None and self.git.has_remote():
            remote = transport.choose(self.git, None)
        place = transport.url_of(self.git, remote) if remote else str(self.git.common)
        parts = urlsplit(place)
        if parts.netloc:  # whoever asks, and with what password, it is the same place
            place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        place = place.rstrip("/").removesuffix(".git")
        return Memory.of(Path(base), self.config.project, place)

    def _main_tip(self) -> ObjectId | None:
        """The tip of the main branch as this clone knows it: the remote's, where there is one."""
        from gitml.git import transport

        if self.git.has_remote():
            remote = transport.choose(self.git, None)
            for branch in ("HEAD", "main", "master"):
                found = self.odb.resolve(f"refs/remotes/{remote}/{branch}")
                if found is not None:
                    return found
        return self.odb.resolve("HEAD")

    def verify(self, text: str, *, accept: bool = False) -> Verified:
        """Verify a stage (``clf@production``), a version or a run; see `Verification`.

        With ``accept`` what this user saw of the stage before does not count any more.
        """
        from gitml.promotion.policy import policies_at
        from gitml.promotion.rule import Policies
        from gitml.promotion.signers import signers_at
        from gitml.promotion.verify import Verification

        model, _, which = text.removeprefix("model/").partition("@")
        if accept:
            self._memory(None).accept(model, which)
        tip, memory = self._main_tip(), self._memory(None)
        policies = policies_at(self.git, self.odb, tip) if tip is not None else None
        verification = Verification(
            *(self.git, self.odb, self.index, policies or Policies(self.config, {})),
            *(signers_at(self.odb, tip), memory),
        )
        if not which and model not in self.names.models:
            return verification.run(self._run_named(text))
        if not which:
            raise UsageError(
                f"{text} is a model: one of its stages or versions can be verified",
                hint=f"`gitml verify {model}@production`, `gitml verify {model}@latest`",
            )
        state = self.names.model(model)
        is_stage = which in state.stages or which in state.broken or which in state.forked
        if is_stage or f"{model}@{which}" in memory.stages:  # all its moves may have gone
            return verification.stage(model, which)
        return verification.version(model, self.names.version(model, which))

    def _run_named(self, text: str) -> ObjectId:
        """The run that a name means; raises UsageError for what is nothing that can be verified."""
        found = self.names.resolve(text)
        if found.kind not in ("run", "pipeline") or found.commit is None:
            raise UsageError(
                f"{text} is {with_article(found.kind)}: stages, versions and runs can be verified",
                hint="`gitml verify clf@production`, `gitml verify clf@v3`, `gitml verify RUN`",
            )
        return found.commit

    def _wish_commit(self, online: Online | None, model: str) -> ObjectId | None:
        """The commit of the default branch that last changed the wishes for a model."""
        from gitml.promotion.wishes import Wishes, path_of

        tip = self._tip(online)
        if tip is None or self.odb.file(tip, path_of(model)) is None:
            return None
        return Wishes(self.git, self.odb, tip).commit(model)

    def _tip(self, online: Online | None) -> ObjectId | None:
        """The commit where the wishes and policies stand that are in force, which is here then.

        It is the tip of the remote's default branch, or HEAD where there is no remote.
        """
        from gitml.git import transport

        if online is None:
            return self.odb.resolve("HEAD")
        if online.tip is not None and online.tip not in self.odb:
            transport.fetch(self.git, online.remote, [online.tip])
        return online.tip

    @property
    def _policies(self) -> Policies:
        """The policies in force in this clone: those of ``HEAD``, whatever the work tree says."""
        from gitml.promotion.policy import policies_at
        from gitml.promotion.rule import Policies

        tip = self.odb.resolve("HEAD")
        found = policies_at(self.git, self.odb, tip) if tip is not None else None
        return found or Policies(self.config, {})

    def _online(self, remote: str | None) -> Online | None:
        """The git remote on which stages move; None where there is none."""
        from gitml.git import transport
        from gitml.promotion.online import Online
        from gitml.sync import tracking
        from gitml.sync.fetching import Fetcher

        if remote is None and not self.git.has_remote():
            return None
        chosen = transport.choose(self.git, remote)
        fetcher = Fetcher(self.git, self.odb, self.index, self._person or Person())

        def bring() -> ObjectId | None:
            return fetcher.fetch(chosen, tags_only=True).head

        return Online(self.git, chosen, bring, partial(tracking.tracked, chosen))

    def _moved(
        self,
        move: Callable[[Promoter], Move],
        model: str,
        stage: str,
        which: str = "",
        *,
        remote: str | None,
        dry_run: bool,
        retry: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
    ) -> Move:
        """A move of a stage; versions that it names and the remote lacks are pushed before."""
        online = self._online(remote)
        if dry_run:
            with self.index.narrowed():
                return move(self._promoter(dry_run=True))
        return self._moving(
            move,
            online,
            names=lambda remote: self._unpublished(remote, model, stage, which),
            retry=retry,
            confirm=confirm,
            seen=None if retry else (model, stage),
        )

    def _moving(
        self,
        move: Callable[[Promoter], T],
        online: Online | None,
        *,
        names: Callable[[str], Sequence[str]] = lambda remote: (),
        retry: bool = False,
        confirm: Callable[[PushPlan], None] = lambda plan: None,
        seen: tuple[str, str] | None = None,
    ) -> T:
        """What a move of a stage gives, made on the git remote where there is one.

        The remote's tags are fetched first, and the versions that ``names`` says of the remote are
        pushed: so the move is judged by what everybody sees. With ``retry`` it is judged and made
        again when somebody else was first. A model and stage that are ``seen`` must not turn out to
        have moved since this clone's last look.
        """
        import time

        with self.index.narrowed():
            known = self._events(*seen) if seen else ()
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                memory = self._memory(online.remote if online is not None else None)
                if online is not None:
                    with self.index.narrowed():
                        online.look()
                        if seen:
                            self._refuse_unseen(*seen, known)
                        wanted = names(online.remote)
                    for name in wanted:
                        self._publish([name], online.remote, confirm=confirm)
                with self.index.narrowed():
                    return move(self._promoter(dry_run=False, online=online, memory=memory))
            except RaceLost:
                if not retry or time.monotonic() > deadline:
                    raise

    def _events(self, model: str, stage: str) -> Sequence[Event]:
        """The moves of a stage that this clone knows."""
        names = self.names
        return names.model(model).stages.get(stage, ()) if model in names.models else ()

    def _refuse_unseen(self, model: str, stage: str, known: Sequence[Event]) -> None:
        """Raise RaceLost where a stage has moves that were not known before they were fetched."""
        events = self._events(model, stage)
        if len(events) == len(known):
            return
        last = events[-1].promotion
        holder = self.names.model(model).label(last.version) if last.version else "vacant"
        raise RaceLost(
            f"{stage} of {model} has moved since this clone last looked: it is {holder}, "
            f"{last.reason}",
            hint=f"`gitml stage log {model}` shows by whom; the same again goes on from there",
        )

    def _unpublished(self, remote: str, model: str, stage: str, which: str = "") -> list[str]:
        """The versions of a model that a move of a stage names and that are not on the remote."""
        from gitml.sync import tracking

        names = self.names
        if model not in names.models:
            return []
        state = names.model(model)
        named = [one.promotion.version for one in state.stages.get(stage, ())]
        named += [names.version(model, which)] if which else []
        labels = dict.fromkeys(state.label(one) for one in named if one is not None)
        noted = {one.name for one in names.tracked}
        return [one for one in labels if tracking.tracked(remote, f"refs/tags/{one}") not in noted]

    def _is_published(self, remote: str, version: Found) -> bool:
        """Whether the remote was seen to have a number for a version."""
        from gitml.sync import tracking

        state = self.names.model(version.name)
        numbers = [n for n, one in state.numbers.items() if one == version.commit]
        noted = {one.name for one in self.names.tracked}
        tags = (f"refs/tags/{version.name}@v{n}" for n in numbers)
        return any(tracking.tracked(remote, one) in noted for one in tags)
