"""``fsck``: what records say of themselves against what they are, and the bytes that they name.

Every record that a ref reaches is read again from git, not from the index: its format, its kind,
the parents that follow from its own fields, the names and the chain of the tags. Damage to bytes
is reported with the model versions that it affects.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gitml.entities import codec
from gitml.entities.conflict import Conflict
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.entities.records import (
    Fold,
    Input,
    Promotion,
    Record,
    Run,
    Saved,
    Source,
    Step,
    Tombstone,
    Version,
)
from gitml.errors import CorruptData, GitmlError, MissingBytes
from gitml.git import walk
from gitml.git.odb import Commit, Odb
from gitml.git.process import Git
from gitml.git.refs import Ref, list_refs
from gitml.history.entries import line_of
from gitml.history.index import PATTERNS
from gitml.history.models import read_alias, read_promotion, read_tombstone
from gitml.history.record import (
    RUNS,
    SOURCES,
    STAGES,
    TAGS,
    VERSIONS,
    covering_steps,
    run_ref,
    run_trailers,
    saved_ref,
    step_trailers,
    version_ref,
    version_tag,
    version_trailers,
)
from gitml.history.revocations import read_revocation
from gitml.history.strangers import strangers
from gitml.store.store import Damage, Store

R = TypeVar("R", bound=Record)
_TRAILERS = frozenset({"Kind", "Code", "Input", "Reached", "Reused", "Step", "Run"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be.

    ``kind`` is a fixed word (docs/format.md, "What fsck reports"), ``what`` names the record, ref
    or blob, ``detail`` says what is wrong, ``affects`` names the versions that depend on it, and
    ``remedy`` is a phrase with a command that may bring back what is lost.
    """

    kind: str
    what: str
    detail: str
    affects: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def is_harmless(self) -> bool:
        """Whether nothing is lost: a whole copy is left, or the clone was told to be shallow."""
        return self.kind in ("damaged-copy", "cut-off")

    @property
    def is_of_bytes(self) -> bool:
        """Whether it is about the store and not about git."""
        return self.kind in ("damaged-copy", "corrupt-blob", "missing-blob")


@dataclass
class Checker:
    """One check of a repository. ``problems`` grows while it looks.

    ``sample`` is how many stored objects are read in full, chosen at random by ``seed``; None is
    all of them. Without a store (``bytes_of``) records alone can be checked. ``lost`` are the
    digests that no good copy is here of, ``places`` the paths at which data with a digest was once
    read, with the code commit that it was read beside.
    """

    git: Git
    odb: Odb
    bytes_of: Store | None
    sample: int | None = None
    seed: int = 0
    read: int = 0
    held: int = 0
    lost: set[Digest] = field(default_factory=set)
    places: dict[Digest, dict[str, ObjectId | None]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    checked: set[ObjectId] = field(default_factory=set)
    kinds: dict[ObjectId, str] = field(default_factory=dict)
    blobs: dict[Digest, set[ObjectId]] = field(default_factory=dict)
    _trees: set[Digest] = field(default_factory=set)
    _elsewhere: set[Digest] = field(default_factory=set)
    _made: dict[ObjectId, set[Digest]] = field(default_factory=dict)
    _claims: list[tuple[ObjectId, Input]] = field(default_factory=list)
    _above: dict[ObjectId, tuple[ObjectId, ...]] = field(default_factory=dict)
    _versions: dict[ObjectId, str] = field(default_factory=dict)
    _pointers: dict[Digest, str] = field(default_factory=dict)
    _makers: dict[Digest, str] = field(default_factory=dict)
    _cut_off: set[str] = field(default_factory=set)
    _deleted: set[ObjectId] = field(default_factory=set)
    _strangers: set[str] = field(default_factory=set)

    @property
    def store(self) -> Store:
        """The bytes that are checked."""
        assert self.bytes_of is not None  # noqa: S101 - who checks bytes hands the store in
        return self.bytes_of

    def lineage(self, record: ObjectId, kind: str) -> None:
        """Look at a record of a kind and every record that it was made of, and at no bytes."""
        self._record(record, kind)
        self._inputs()

    def records(self, commits: Iterable[ObjectId]) -> None:
        """Look at these records alone, not at what they were made of."""
        for one in commits:
            self._guarded(one.short, partial(self._one, one, "", []))

    def check(self) -> None:
        """Look at every record, every tag, and every blob that is named or stored."""
        listed = list_refs(self.git, PATTERNS)
        for one in strangers(listed, self.odb.tag):
            self._strangers.add(one.name)
            kind = "forged-tag" if one.replayed else "stray-tag"
            self.problems.append(Problem(kind, one.name, one.detail, (), one.remedy))
        for ref in listed:
            self._guarded(ref.name, partial(self._ref, ref))
            if ref.name.startswith(f"{TAGS}/") and "@revoked/" in ref.name:
                self._guarded(ref.name, partial(self._revocation, ref))
        self._inputs()
        self._chains(listed)
        self._work_tree()
        self._bytes()
        if self._cut_off:
            count = len(self._cut_off)
            detail = f"{count} record{'s' * (count != 1)} cannot be followed beyond its edge"
            remedy = "`git fetch --unshallow` brings the rest"
            self.problems.append(Problem("cut-off", "shallow clone", detail, (), remedy))

    def _guarded(self, what: str, look: Callable[[], object]) -> None:
        try:
            look()
        except GitmlError as error:
            if self.git.shallow and isinstance(error, MissingBytes):
                self._cut_off.add(what)
                return
            kind = "corrupt-record" if isinstance(error, CorruptData) else "missing-object"
            self.problems.append(Problem(kind, what, error.message))

    def _ref(self, ref: Ref) -> None:
        if ref.name.startswith(f"{RUNS}/"):
            self._record(ref.commit, "run")
            run = self._read(Run, self.odb.commit(ref.commit), "run.json")
            self._named(ref, run_ref(run.pipeline, run.started, ref.commit))
        elif ref.name.startswith(f"{VERSIONS}/"):
            model = ref.name.removeprefix(f"{VERSIONS}/").partition("/")[0]
            self._versions.setdefault(ref.commit, f"{model}@{ref.commit.short}")
            self._record(ref.commit, "version")
            version = self._read(Version, self.odb.commit(ref.commit), "model.json")
            self._named(ref, version_ref(version.model, ref.commit))
        elif ref.name.startswith(f"{SOURCES}/"):
            self._saved(ref)
        elif ref.name.startswith(f"{TAGS}/"):
            self._tag(ref)

    def _named(self, ref: Ref, expected: str) -> None:
        if ref.name != expected:
            self._problem("odd-ref", ref.name, f"what it keeps belongs at {expected}")

    def _tag(self, ref: Ref) -> None:
        """The name in a tag's object, and of a number the whole object, which follows from it."""
        name = ref.name.removeprefix(f"{TAGS}/")
        model, _, leaf = name.partition("@")
        number = leaf.removeprefix("v")
        numbers = leaf.startswith("v") and number.isdigit()
        if ref.target == ref.commit:
            if numbers or leaf.startswith(("deleted/", "revoked/")):
                self._problem("forged-tag", name, "it is no annotated tag")
            return
        tag = self.odb.tag(ref.target)
        if tag.name != name and name not in self._strangers:
            self._problem("forged-tag", name, f"the tag was made as {tag.name}")
        if not numbers:
            return
        self._versions[ref.commit] = name
        self._record(ref.commit, "version")
        if version_tag(model, int(number)) != ref.name:
            self._problem("odd-tag", name, "not the way a number is written")
        version = self._read(Version, self.odb.commit(ref.commit), "model.json")
        if version.model != model:
            self._problem("forged-tag", name, f"it numbers a version of {version.model}")

    def _revocation(self, ref: Ref) -> None:
        """A revocation has to be that of its name, or it revokes nothing."""
        read_revocation(ref, line_of(self.odb.tag(ref.target)))

    def _saved(self, ref: Ref) -> None:
        record = codec.from_document(Saved, line_of(self.odb.tag(ref.target)), ref.name)
        self._named(ref, saved_ref(record.name, record.digest))
        self._record(ref.commit, "source")
        self._holds(ref.commit, record.digest, record.kind)
        self._makers[record.digest] = f"`gitml artifact put FILE {record.name}` stores it again"
        self._claims.append(
            (ref.commit, Input(record.name, record.digest, record.kind, ref.commit))
        )

    def _holds(self, commit: ObjectId, digest: Digest, kind: str) -> None:
        """Note that a record names these bytes."""
        self.blobs.setdefault(digest, set()).add(commit)
        if kind == "tree":
            self._trees.add(digest)

    def _record(self, oid: ObjectId, expected: str) -> None:
        """Check a record and, through it, everything that it was made of."""
        todo = [(oid, expected)]
        while todo:
            commit_id, kind = todo.pop()
            if commit_id in self.checked:
                continue
            self.checked.add(commit_id)
            what = f"{kind or 'record'} {commit_id.short}"
            self._guarded(what, partial(self._one, commit_id, kind, todo))

    def _one(self, oid: ObjectId, expected: str, todo: list[tuple[ObjectId, str]]) -> None:
        """Check one record; what is above it goes to ``todo``, with the kind it should have."""
        commit = self.odb.commit(oid)
        kind = dict(commit.trailers()).get("Gitml-Kind", "")
        if expected and kind != expected:
            raise CorruptData(f"is a {kind or 'commit without a kind'}, not a {expected}")
        self._above[oid] = commit.parents
        self.kinds[oid] = kind
        checks: Mapping[str, Callable[[Commit], Iterable[tuple[ObjectId, str]]]] = {
            "source": self._source,
            "step": self._step,
            "run": self._run,
            "version": self._version,
            "fold": self._fold,
        }
        if kind in checks:
            todo.extend(checks[kind](commit))

    def _source(self, commit: Commit) -> Iterable[tuple[ObjectId, str]]:
        record = self._read(Source, commit, "source.json")
        if commit.parents or commit.time != 0:
            self._problem("false-parents", commit.id.short, "a source has no parents and date 0")
        self._holds(commit.id, record.digest, record.kind)
        self._made[commit.id] = {record.digest}
        return ()

    def _step(self, commit: Commit) -> Iterable[tuple[ObjectId, str]]:
        record = self._read(Step, commit, "step.json")
        self._parents(commit, [record.code.commit, *record.input_commits()])
        self._code(commit, record.code.commit)
        self._trailers(commit, step_trailers(record))
        for output in record.outputs:
            self._holds(commit.id, output.digest, output.kind)
            self._makers[output.digest] = f"`gitml run {record.pipeline}` may make it again"
        for given in (*record.inputs, *record.loads):
            path = given.name.removeprefix("data:") if "data:" in given.name else given.artifact
            if path:
                self.places.setdefault(given.digest, {})[path] = record.code.commit
        self._made[commit.id] = {output.digest for output in record.outputs}
        self._claims += [(commit.id, one) for one in (*record.inputs, *record.loads)]
        if record.log is not None:
            self._holds(commit.id, record.log.digest, "blob")
        return [(one, "") for one in record.input_commits()]

    def _run(self, commit: Commit) -> Iterable[tuple[ObjectId, str]]:
        record = self._read(Run, commit, "run.json")
        steps = [(one.name, one.commit) for one in record.steps if one.commit is not None]
        parents = {one: list(self._unfolded(self.odb.commit(one).parents[1:])) for _, one in steps}
        covering = covering_steps(steps, parents)
        self._parents(commit, [record.code.commit, *(one for _, one in covering)])
        self._code(commit, record.code.commit)
        self._trailers(commit, run_trailers(record, covering))
        for said in (part for one in record.steps for part in (one.log, one.series, one.items)):
            if said is not None:
                self._holds(commit.id, said.digest, "blob")
        for saved in (part for one in record.steps for part in one.outputs or ()):
            self._holds(commit.id, saved.digest, saved.kind)
        return [(one, "step") for _, one in steps]

    def _version(self, commit: Commit) -> Iterable[tuple[ObjectId, str]]:
        record = self._read(Version, commit, "model.json")
        self._parents(commit, [record.code.commit, record.run])
        self._code(commit, record.code.commit)
        self._trailers(commit, version_trailers(record))
        self._made[commit.id] = {one.output.digest for one in record.artifacts}
        for artifact in record.artifacts:
            output = artifact.output
            path = f".gitml/artifacts/{artifact.name}.gitml"
            data = self.odb.file(commit.id, path)
            pointer = Pointer(output.digest, output.kind, output.size)
            if data is None or Pointer.decode(data, path) != pointer:
                self._problem("odd-pointer", f"{commit.id.short}:{path}", "differs from model.json")
            self._holds(commit.id, output.digest, output.kind)
            claim = Input(artifact.name, output.digest, output.kind, artifact.commit)
            self._claims.append((commit.id, claim))
        return [(record.run, "run")]

    def _fold(self, commit: Commit) -> Iterable[tuple[ObjectId, str]]:
        record = self._read(Fold, commit, "fold.json")
        if tuple(record.commits) != commit.parents:
            self._problem("false-parents", commit.id.short, "the fold's list differs")
        return [(one, "") for one in commit.parents]

    def _read(self, kind: type[R], commit: Commit, name: str) -> R:
        where = f"{commit.id.short}:.gitml/{name}"
        data = self.odb.file(commit.id, f".gitml/{name}")
        if data is None:
            raise CorruptData(f"{where} is missing")
        metrics = self.odb.file(commit.id, ".gitml/metrics.json")
        if metrics is not None:
            codec.metrics_from_json(metrics, f"{commit.id.short}:.gitml/metrics.json")
        return codec.from_json(kind, data, where)

    def _parents(self, commit: Commit, expected: Sequence[ObjectId]) -> None:
        """The parents have to be what follows from the record, folds spelled out."""
        found = [*commit.parents[:1], *self._unfolded(commit.parents[1:])]
        if found != list(dict.fromkeys(expected)):
            names = ", ".join(one.short for one in expected)
            self._problem("false-parents", commit.id.short, f"the record says {names}")

    def _unfolded(self, parents: Iterable[ObjectId]) -> Iterator[ObjectId]:
        for one in parents:
            commit = self.odb.commit(one)
            if dict(commit.trailers()).get("Gitml-Kind") == "fold":
                yield from self._unfolded(commit.parents)
            else:
                yield one

    def _trailers(self, commit: Commit, expected: Sequence[tuple[str, str]]) -> None:
        """The trailers say the same as the record; ones that a later version added may stand."""
        known = {f"Gitml-{one}" for one in _TRAILERS}
        if [one for one in commit.trailers() if one[0] in known] != list(expected):
            self._problem("false-trailers", commit.id.short, "they are not those of its record")

    def _inputs(self) -> None:
        """What a record names as made by another has to be among what that one made."""
        for commit, claim in self._claims:
            made = self._made.get(claim.commit)
            if made is not None and claim.digest not in made:
                detail = f"`{claim.name}` is nothing that {claim.commit.short} made"
                self._problem("false-input", commit.short, detail)

    def _code(self, commit: Commit, code: ObjectId) -> None:
        """The record stands on the tree of its code."""
        if code not in self.odb:
            return
        theirs = {e.name: e.id for e in self.odb.tree(commit.tree) if e.name != b".gitml"}
        own = {e.name: e.id for e in self.odb.tree(self.odb.commit(code).tree)}
        own.pop(b".gitml", None)
        if theirs != own:
            self._problem("odd-tree", commit.id.short, f"its files are not those of {code.short}")

    def _chains(self, listed: Sequence[Ref]) -> None:
        """Each stage's events have to follow one another; each tombstone has to be whole."""
        stages: dict[tuple[str, str], dict[int, Ref]] = {}
        models = {one.partition("@")[0] for one in self._versions.values()}
        for ref in listed:
            name = ref.name.removeprefix(f"{TAGS}/")
            model, _, leaf = name.partition("@")
            group, slash, n = leaf.partition("/")
            alias, mark, move = n.partition("/")
            if ref.name.startswith(f"{TAGS}/") and group == "alias" and mark and model in models:
                self._guarded(name, partial(self._alias, ref, model, alias, move))
            if not (ref.name.startswith(f"{TAGS}/") and slash and n.isdigit()):
                continue
            if name in self._strangers or model not in models:
                continue  # of other tools, and those that are named already
            if group == "deleted":
                self._guarded(name, partial(self._stone, ref, name))
            elif group not in ("alias", "revoked"):
                stages.setdefault((model, group), {})[int(n)] = ref
        kept = {ref.name: ref.target for ref in listed if ref.name.startswith(f"{STAGES}/")}
        for (model, stage), events in stages.items():
            self._guarded(f"{model}@{stage}", partial(self._chain, model, stage, events))
            newest = events[max(events)].target
            place = f"{STAGES}/{model}/{stage}"
            held = kept.pop(place, newest)
            if held != newest:
                known = any(one.target == held for one in events.values())
                detail = "it is behind the events" if known else "it is ahead of the events"
                self._problem("odd-ref", place, detail)
        for name in kept:
            self._problem("odd-ref", name, "no event moved this stage")

    def _stone(self, ref: Ref, name: str) -> None:
        stone: Tombstone = read_tombstone(self.odb.tag(ref.target), name)
        self._deleted.add(stone.version)
        if stone.version != ref.commit or name != f"{stone.model}@deleted/{stone.n}":
            self._problem("forged-tag", name, "the tombstone is another version's")

    def _alias(self, ref: Ref, model: str, alias: str, n: str) -> None:
        if not n.isdigit():
            raise CorruptData("it is no move of an alias")
        record = read_alias(self.odb.tag(ref.target), model, alias, int(n))
        if record.version not in (None, ref.commit):
            self._problem("forged-tag", f"{model}@alias/{alias}/{n}", "it tags another commit")

    def _chain(self, model: str, stage: str, events: Mapping[int, Ref]) -> None:
        previous: tuple[ObjectId, Promotion] | None = None
        for n in range(1, max(events) + 1):
            name = f"{model}@{stage}/{n}"
            ref = events.get(n)
            if ref is None:
                self._problem("broken-chain", name, "the event is missing")
                previous = None
                continue
            promotion = read_promotion(self.odb.tag(ref.target), model, stage, n)
            if previous is not None:
                before = previous[1].version
                if (promotion.previous, promotion.before) != (previous[0], before):
                    self._problem("broken-chain", name, "it does not follow the event before")
            if promotion.version is not None and promotion.version != ref.commit:
                self._problem("forged-tag", name, "it tags another commit than it names")
            previous = (ref.target, promotion)
        holder = previous[1].version if previous else None
        if holder in self._deleted:
            label = self._versions.get(holder, holder.short)
            detail = f"{label} holds it and is deleted: they were done at the same time"
            remedy = f"`gitml stage clear {model} {stage} -m WHY`, or promote another version"
            what = f"{model}@{stage}"
            self.problems.append(Problem("deleted-holder", what, detail, (), remedy))

    def _work_tree(self) -> None:
        """The pointers that lie in the work tree, committed or not."""
        if self.git.root is None:
            return
        for path in walk.files_in(self.git, [f"*{SUFFIX}"]):
            name = path.relative_to(self.git.root).as_posix()
            if name.startswith(f"{SUFFIX}/") or not path.is_file():
                continue
            data = b""
            try:
                data = path.read_bytes()
                pointer = Pointer.decode(data, name)
            except (CorruptData, OSError) as error:
                text = error.message if isinstance(error, CorruptData) else str(error)
                remedy = f"`git checkout -- {shlex.quote(name)}` takes the committed one"
                if Conflict.decode(data, name) is not None:
                    remedy = "`gitml status` shows what is to be decided"
                self.problems.append(Problem("corrupt-pointer", name, text, (), remedy))
                continue
            self.blobs.setdefault(pointer.digest, set())
            self._pointers.setdefault(pointer.digest, name)
            self.places.setdefault(pointer.digest, {})[name.removesuffix(SUFFIX)] = None
            if pointer.kind == "tree":
                self._trees.add(pointer.digest)

    def _bytes(self) -> None:
        """What is stored is read, all or some; damage and loss are named with what they affect."""
        self._members()
        damaged: dict[Digest, str] = {}
        for damage in self._damage():
            where = damage.path.name
            if damage.readable or not damage.digests:
                self._problem("damaged-copy", where, damage.reason)
            else:
                damaged |= dict.fromkeys(damage.digests, f"{damage.reason} in {where}")
        affected = self._affected()
        missing = set(self.store.absent(one for one in self.blobs if one not in damaged))
        # What nobody has read yet in this clone is where it comes from when somebody does.
        missing -= self.store.elsewhere(missing)
        missing -= self._elsewhere
        self.lost = {*damaged, *missing}
        for digest in sorted(self.lost):
            kind = "missing-blob" if digest in missing else "corrupt-blob"
            named = self._pointers.get(digest, "a record")
            gone = f"named by {named} and not in this store{self.store.fate(digest)}"
            detail = damaged.get(digest, gone)
            what, users = f"blob {digest.short}", self._users(digest, affected)
            self.problems.append(Problem(kind, what, detail, users, self._remedy(digest)))

    def _damage(self) -> Iterator[Damage]:
        """The damage of everything, or of all that shows without reading it and of a sample."""
        held = sorted(one.digest for one in self.store.objects())
        self.read = self.held = len(held)
        if self.sample is None or self.sample >= len(held):
            return self.store.check()
        self.read = self.sample
        chosen = random.Random(self.seed).sample(held, self.sample)  # noqa: S311 - no secret
        return self.store.check_some(chosen)

    def _remedy(self, digest: Digest) -> str:
        """What may bring back a digest, as a phrase with a command; empty where nothing can."""
        if digest in self._makers:
            return self._makers[digest]
        for path in self.places.get(digest, ()):
            return f"with the data back at {path}: `gitml fsck --repair`"
        return ""

    def _members(self) -> None:
        """The files of trees belong to the records and places of the trees."""
        away = self.store.elsewhere(self._trees)
        for digest in self._trees:
            if digest in away and not self.store.has(digest):
                continue
            with suppress(CorruptData, MissingBytes):
                for entry in self.store.read_tree(digest).entries:
                    if digest in away:
                        self._elsewhere.add(entry.digest)
                    self.blobs.setdefault(entry.digest, set()).update(self.blobs[digest])
                    if digest in self._makers:
                        self._makers.setdefault(entry.digest, self._makers[digest])
                    for path, code in self.places.get(digest, {}).items():
                        self.places.setdefault(entry.digest, {})[f"{path}/{entry.path}"] = code

    def _users(self, digest: Digest, affected: Mapping[ObjectId, set[str]]) -> tuple[str, ...]:
        named = self.blobs.get(digest, set())
        return tuple(sorted({label for one in named for label in affected.get(one, ())}))

    def _affected(self) -> dict[ObjectId, set[str]]:
        """The versions that descend from each record."""
        found: dict[ObjectId, set[str]] = {}
        for version, label in self._versions.items():
            todo, seen = [version], set[ObjectId]()
            while todo:
                one = todo.pop()
                if one in seen:
                    continue
                seen.add(one)
                found.setdefault(one, set()).add(label)
                todo.extend(parent for parent in self._above.get(one, ()) if parent in self.checked)
        return found

    def _problem(self, kind: str, what: str, detail: str) -> None:
        self.problems.append(Problem(kind, what, detail))


def check_records(
    git: Git, odb: Odb, store: Store, *, sample: int | None = None, seed: int = 0
) -> Checker:
    """A finished check of all records of a repository, and of all bytes or a sample of them."""
    checker = Checker(git, odb, store, sample, seed)
    checker.check()
    return checker


def check_lineage(git: Git, odb: Odb, record: ObjectId, kind: str = "version") -> Checker:
    """A finished check of a model version, or a run, and of all records that it was made of."""
    checker = Checker(git, odb, None)
    checker.lineage(record, kind)
    return checker


def check_new_records(git: Git, odb: Odb, commits: Iterable[ObjectId]) -> list[Problem]:
    """What is wrong with records that are about to be taken in, apart from what they came from."""
    checker = Checker(git, odb, None)
    checker.records(commits)
    return checker.problems
