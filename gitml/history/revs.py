"""Names and what they mean: models with their versions and stages, artifacts, pipelines, runs.

A ``Names`` is a frozen view of the refs at one moment. A run takes one when it is planned and looks
everything up in it, so that a promotion meanwhile changes nothing in that run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property

from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId, check_stage_name, is_stage_name
from gitml.entities.records import Alias, Output, Promotion, Tombstone
from gitml.errors import AmbiguousName, CorruptData, InvalidName, NameNotFound, RaceLost
from gitml.frozen import Frozen, field
from gitml.git.odb import Odb, Tag
from gitml.git.refs import Change, Ref
from gitml.history.entries import line_of
from gitml.history.index import Index
from gitml.history.record import STAGES, TAGS, TRACKING, VERSIONS

_VERSION = r"v([1-9][0-9]{0,8})\Z"
_NUMBER = r"[1-9][0-9]{0,8}\Z"
_KINDS = ("model", "artifact", "pipeline", "run")


class Event(Frozen):
    """A move of a stage: the tag that is its record, the promotion in it, and who made it."""

    tag: ObjectId
    promotion: Promotion
    tagger: str


class ModelState(Frozen):
    """A model: its versions by number, its drafts oldest first, what is deleted, its stages.

    ``stages`` holds the events of each stage by n, oldest first; ``aliases`` are names of one's
    own, and ``alias_ends`` the number of the last move of each, here or on a remote.
    ``hidden`` are the versions that tombstones name. ``broken`` says of leaves (``v3``, a stage,
    ``deleted/2``) why their tags are not believed; ``taken`` are all numbers that any tag has, so
    that the next version gets a free one, here or on a remote. ``forked`` are the stages of which a
    remote has another move for the same n: the n, our tag, the remote's.
    """

    name: str
    numbers: Mapping[int, ObjectId]
    drafts: tuple[ObjectId, ...]
    deleted: frozenset[int]
    aliases: Mapping[str, ObjectId]
    stages: Mapping[str, tuple[Event, ...]]
    hidden: frozenset[ObjectId] = frozenset()
    broken: Mapping[str, str] = field(default_factory=dict)
    taken: frozenset[int] = frozenset()
    forked: Mapping[str, tuple[int, ObjectId, ObjectId]] = field(default_factory=dict)
    alias_ends: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def lowest(self) -> Mapping[ObjectId, int]:
        """The number of each numbered version: the lowest, where it has several."""
        return {commit: n for n, commit in sorted(self.numbers.items(), reverse=True)}

    @property
    def visible(self) -> list[ObjectId]:
        """The versions that are not deleted: by number, then the drafts."""
        numbered = [commit for _, commit in sorted(self.numbers.items())]
        return [c for c in dict.fromkeys([*numbered, *self.drafts]) if c not in self.hidden]

    @property
    def latest(self) -> ObjectId | None:
        """The newest draft of this clone, else the version with the highest number."""
        return next(reversed(self.visible), None)

    @property
    def next_number(self) -> int:
        """The number of the next version: one above every number ever given, deleted or not."""
        return max([0, *self.numbers, *self.deleted, *self.taken]) + 1

    def holder(self, stage: str) -> ObjectId | None:
        """The version that holds a stage now, None where it is vacant.

        Raises CorruptData where one of its tags is not the record that it should be.
        """
        self.refuse_broken(stage)
        events = self.stages.get(stage, ())
        return events[-1].promotion.version if events else None

    def refuse_broken(self, leaf: str) -> None:
        """Raise CorruptData for a number or a stage whose tag cannot be believed.

        RaceLost for a stage that was moved here and on the remote at the same time.
        """
        if leaf in self.forked:
            n, ours, theirs = self.forked[leaf]
            raise RaceLost(
                f"{leaf} of {self.name} was moved twice as its move {n}: "
                f"here by {ours.short}, on the remote by {theirs.short}",
                hint=f"`gitml stage repair {self.name} {leaf}` keeps the remote's",
            )
        if leaf in self.broken:
            raise CorruptData(
                f"{self.name}@{leaf}: {self.broken[leaf]}",
                hint="`gitml fsck` lists what is off",
            )

    def trouble(self, stage: str) -> str | None:
        """Why nobody can tell what holds a stage, None where all is well."""
        if stage in self.forked:
            return "it was moved here and on the remote at the same time"
        return self.broken.get(stage)

    def held(self, commit: ObjectId) -> list[str]:
        """The stages that a version holds now."""
        whole = (stage for stage in self.stages if self.trouble(stage) is None)
        return sorted(stage for stage in whole if self.holder(stage) == commit)

    def aliases_of(self, commit: ObjectId) -> list[str]:
        """The aliases that mean a version now."""
        return sorted(name for name, one in self.aliases.items() if one == commit)

    def archived(self, commit: ObjectId) -> bool:
        """Whether a version held a stage once and holds none now, of those that can be read."""
        moves = [event.promotion for events in self.stages.values() for event in events]
        once = {move.stage for move in moves if move.version == commit}
        return bool(once) and not self.held(commit) and not any(map(self.trouble, once))

    def label(self, commit: ObjectId) -> str:
        """How a version is written: ``clf@v3``, a draft ``clf@<commit12>``."""
        number = self.lowest.get(commit)
        return f"{self.name}@{f'v{number}' if number else commit.short}"


class Found(Frozen):
    """What a name means.

    ``kind`` is "model", "version", "artifact", "pipeline", "run", "step", "source" or "commit";
    ``commit`` the record behind it (of a model its latest version, of a pipeline its newest run);
    ``label`` the canonical spelling; ``output`` the bytes where the name means an artifact.
    """

    kind: str
    name: str
    label: str
    commit: ObjectId | None
    output: Output | None = None
    step: str | None = None


class Names(Frozen):
    """Every name of the repository as it was when this view was taken."""

    refs: tuple[Ref, ...]
    index: Index
    odb: Odb
    tracked: tuple[Ref, ...] = ()
    _models: dict[str, ModelState] = field(default_factory=dict)

    @classmethod
    def now(cls, index: Index, odb: Odb) -> Names:
        """The names as they are now."""
        refs = (*index.refs_below(f"{VERSIONS}/"), *index.refs_below(f"{TAGS}/"))
        return cls(refs, index, odb, tuple(index.refs_below(f"{TRACKING}/")))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The names of all models that have a version, deleted or not."""
        kept, known = self.index.version_models(), {oid for oid, _ in self.index.problems()}
        found = set()
        for ref in self.refs:
            name = _model_of(ref.name)
            in_tags = ref.name.startswith(TAGS + "/")
            # Other tools tag `name@v1` too; ours stand on the record of a version.
            if name and (not in_tags or kept.get(ref.commit) == name or ref.commit in known):
                found.add(name)
        return tuple(sorted(found))

    def model(self, name: str) -> ModelState:
        """A model by name; raises NameNotFound with the nearest ones."""
        if name not in self.models:
            hint = None if self.models else "`gitml run` a pipeline with `model=Model(…)` makes one"
            raise NameNotFound.among("model", name, self.models, hint=hint)
        if name not in self._models:
            self._models[name] = self._read_model(name)
        return self._models[name]

    def version(self, model: str, which: str) -> ObjectId:
        """The version of a model that ``v3``, a stage, ``latest``, an alias or a draft names."""
        state = self.model(model)
        drafts = [c for c in state.visible if len(which) >= 4 and c.hex.startswith(which)]
        if re.match(f"{_VERSION}|{_NUMBER}", which):
            number = int(which.removeprefix("v"))
            if not drafts or number in state.taken:  # an id may begin with digits alone
                return self._numbered(state, number)
        if which == "latest":
            if state.latest is None:
                raise NameNotFound(f"every version of {model} is deleted")
            return state.latest
        if which in state.stages or which in state.broken:
            return self._holder(state, which)
        alias = which.removeprefix("alias/")
        if alias in state.aliases and state.aliases[alias] not in state.hidden:
            return state.aliases[alias]
        if len(drafts) > 1:
            spellings = " or ".join(f"`{state.name}@{commit.short}`" for commit in drafts[:3])
            raise AmbiguousName(
                f"several versions of {state.name} begin with `{which}`", hint=f"write {spellings}"
            )
        return drafts[0] if drafts else self._nothing(state, which)

    def artifact(self, name: str, which: str = "latest") -> Found:
        """An artifact by name and digest, or its newest bytes."""
        outputs = self.index.outputs(name)
        saved = self.index.saved(name)
        if not outputs and not saved:
            raise NameNotFound.among("artifact", name, self.artifact_names())
        if which == "latest":
            newest = self.index.step(outputs[0][2]) if outputs else None
            if saved and (newest is None or saved[0].at > newest.at):
                return self._saved(name, saved[0].record.digest)
            return self._output(name, outputs[0][2], outputs[0][3])
        digits = which.removeprefix("blake3:")
        if not re.match(r"[0-9a-f]{4,64}\Z", digits):
            raise NameNotFound(
                f"{name} has no version called `{which}`",
                hint=f"`gitml artifact list {name}` shows its digests",
            )
        digests = {d for _, d, _, _ in outputs} | {one.record.digest for one in saved}
        hits = sorted(digest for digest in digests if digest.hex.startswith(digits))
        if len(hits) > 1:
            spellings = " or ".join(f"`{name}@{digest.hex[:16]}`" for digest in hits[:3])
            raise AmbiguousName(
                f"several versions of {name} begin with `{which}`", hint=f"write {spellings}"
            )
        if not hits:
            known = [digest.short for digest in digests]
            raise NameNotFound.among(f"version of {name}", which, known)
        for _, digest, step, output in outputs:
            if digest == hits[0]:
                return self._output(name, step, output)
        return self._saved(name, hits[0])

    def artifact_names(self) -> list[str]:
        """The names of all artifacts."""
        saved = {one.record.name for one in self.index.saved()}
        return sorted(saved.union(self.index.artifacts()))

    def resolve(self, text: str) -> Found:
        """What a name means, by the grammar of product.md.

        Raises NameNotFound with suggestions, AmbiguousName with the spellings to choose from.
        """
        kind, slash, rest = text.partition("/")
        base, at, which = text.partition("@")
        try:
            if slash and kind in _KINDS:
                return self._of_kind(kind, rest)
            if at and base:
                return self._at(base, which)
        except NameNotFound:
            # `HEAD@{1}`, `clf@v3^1` and a branch `run/x` are git's; a deleted version is not.
            ours = base in self.models and not set("^~{").intersection(which)
            if ours or self.odb.resolve(text) is None:
                raise
            return self._revision(text)
        found = [one for kind in _KINDS if (one := self._try(kind, text))]
        if len(found) > 1:  # a name that a run was given comes behind all others
            named = self.index.run_named(text)
            found = [one for one in found if one.kind != "run" or one.commit != named]
        if len(found) > 1:
            spellings = " or ".join(f"`{one.kind}/{text}`" for one in found)
            kinds = " and ".join(f"a{'n' * (one.kind[0] == 'a')} {one.kind}" for one in found)
            raise AmbiguousName(f"`{text}` is {kinds}", hint=f"write {spellings}")
        if found:
            return found[0]
        return self._revision(text)

    def _of_kind(self, kind: str, text: str) -> Found:
        base, at, which = text.partition("@")
        if kind == "model" and ":" in which:
            version, _, artifact = which.partition(":")
            return self._version_artifact(base, version, artifact)
        if kind == "model":
            return self._version(base, which) if at else self._model(base)
        if kind == "artifact":
            return self.artifact(base, which if at else "latest")
        if kind == "pipeline":
            return self._pipeline(text)
        return self._run(text)

    def _try(self, kind: str, text: str) -> Found | None:
        try:
            return self._of_kind(kind, text)
        except NameNotFound:
            return None

    def _at(self, base: str, which: str) -> Found:
        version, colon, artifact = which.partition(":")
        a_model = base in self.models
        if colon and version != "blake3":
            return self._version_artifact(base, version, artifact)
        an_artifact = base in self.artifact_names()
        if a_model and an_artifact:
            meanings = []
            for attempt in (self._version, self.artifact):
                try:
                    meanings.append(attempt(base, which))
                except NameNotFound:
                    continue
            if len(meanings) == 1:
                return meanings[0]
            if meanings:
                raise AmbiguousName(
                    f"`{base}` is a model and an artifact",
                    hint=f"write `model/{base}@{which}` or `artifact/{base}@{which}`",
                )
        if an_artifact and not a_model:
            return self.artifact(base, which)
        if not a_model:
            known = [*self.models, *self.artifact_names()]
            raise NameNotFound.among("model or artifact", base, known)
        return self._version(base, which)

    def _model(self, name: str) -> Found:
        state = self.model(name)
        return Found("model", name, name, state.latest)

    def _version(self, model: str, which: str) -> Found:
        commit = self.version(model, which)
        return Found("version", model, self.model(model).label(commit), commit)

    def _version_artifact(self, model: str, which: str, artifact: str) -> Found:
        commit = self.version(model, which)
        label = self.model(model).label(commit)
        entry = self.index.version(commit)
        known = {one.name: one for one in entry.record.artifacts} if entry else {}
        if artifact not in known:
            raise NameNotFound.among(f"artifact of {label}", artifact, known)
        output = known[artifact].output
        return Found("artifact", artifact, f"{label}:{artifact}", commit, output)

    def _pipeline(self, name: str) -> Found:
        runs = self.index.runs(pipeline=name, limit=1)
        if not runs:
            raise NameNotFound.among("pipeline", name, [one for one, _ in self.index.pipelines()])
        return Found("pipeline", name, name, runs[0].id)

    def _run(self, prefix: str) -> Found:
        """The run of an id or the beginning of one, else the newest of a name."""
        found = self.index.with_prefix(prefix) if len(prefix) >= 4 else []
        hits = [(kind, oid) for kind, oid in found if kind == "run"]
        if not hits and (named := self.index.run_named(prefix)) is not None:
            hits = [("run", named)]
        if len(hits) > 1:
            known = " or ".join(f"`{oid.short}`" for _, oid in hits)
            raise AmbiguousName(f"several runs begin with `{prefix}`", hint=f"write {known}")
        if not hits:
            raise NameNotFound(f"no run begins with `{prefix}`", hint="`gitml log` lists the runs")
        return Found("run", hits[0][1].short, hits[0][1].short, hits[0][1])

    def _output(self, name: str, step: ObjectId, output: str) -> Found:
        entry = self.index.step(step)
        if entry is None:
            raise NameNotFound(f"the step {step.short} that made {name} is not recorded here")
        made = next(one for one in entry.record.outputs if one.name == output)
        return Found("artifact", name, f"{name}@{made.digest.short}", step, made, entry.record.name)

    def _saved(self, name: str, digest: Digest) -> Found:
        entry = next(one for one in self.index.saved(name) if one.record.digest == digest)
        output = entry.record.output()
        return Found("artifact", name, f"{name}@{digest.short}", entry.id, output)

    def _revision(self, text: str) -> Found:
        """A git revision, when nothing of ours has the name."""
        records = self.index.with_prefix(text) if len(text) >= 4 else []
        if len(records) == 1:
            kind, commit = records[0]
            return Found(kind, commit.short, commit.short, commit)
        commit_id = self.odb.resolve(text) if text else None
        if commit_id is None:
            known = [*self.models, *self.artifact_names()]
            known += [name for name, _ in self.index.pipelines()]
            raise NameNotFound.among("model, artifact, pipeline, run or revision", text, known)
        kinds = dict(self.odb.commit(commit_id).trailers())
        return Found(kinds.get("Gitml-Kind", "commit"), text, commit_id.short, commit_id)

    def _numbered(self, state: ModelState, number: int) -> ObjectId:
        state.refuse_broken(f"v{number}")
        if number in state.deleted or state.numbers.get(number) in state.hidden:
            raise NameNotFound(f"{state.name}@v{number} is deleted")
        if number not in state.numbers:
            known = [f"v{n}" for n in state.numbers if n not in state.deleted]
            raise NameNotFound.among(f"version of {state.name}", f"v{number}", known)
        return state.numbers[number]

    def _holder(self, state: ModelState, stage: str) -> ObjectId:
        holder = state.holder(stage)
        if holder is None:
            raise _vacant(state, stage)
        if holder in state.hidden:
            latest = state.label(state.latest) if state.latest else None
            raise NameNotFound(
                f"{state.label(holder)} holds {stage} and is deleted",
                hint=f"`gitml promote {latest} {stage} -m WHY`"
                if latest
                else f"`gitml stage clear {state.name} {stage} -m WHY`",
            )
        return holder

    def _nothing(self, state: ModelState, which: str) -> ObjectId:
        known = [*state.stages, *state.aliases, "latest"]
        known += [f"v{n}" for n, c in state.numbers.items() if c not in state.hidden]
        error = NameNotFound.among(f"version or stage of {state.name}", which, known)
        if "did you mean" in (error.hint or ""):
            raise error
        try:
            check_stage_name(which)
        except InvalidName:
            raise error from None
        raise _vacant(state, which)

    def _read_model(self, name: str) -> ModelState:
        times = {one.id: one.at for one in self.index.versions(name)}
        found = _Collected(name, times)
        for ref in self.refs:
            if ref.name.startswith(f"{VERSIONS}/{name}/"):
                found.kept.append(ref.commit)
            elif ref.name.startswith(f"{TAGS}/{name}@"):
                leaf = ref.name.removeprefix(f"{TAGS}/{name}@")
                found.take(leaf, ref, self.index.tag(ref.target))
        for ref in self.tracked:
            whose, _, leaf = ref.name.rpartition("/tags/")[2].partition("@")
            if whose == name:
                found.compare(leaf, ref)
        return found.state()


class _Collected:
    """The tags of one model as they are read, each believed only when it is what its name says.

    One tag that is not (forged, renamed, of another tool) spoils its own leaf and no other.
    """

    def __init__(self, name: str, times: Mapping[ObjectId, float]) -> None:
        self.name = name
        self.times = times
        self.kept: list[ObjectId] = []
        self.numbers: dict[int, ObjectId] = {}
        self.deleted: set[int] = set()
        self.hidden: set[ObjectId] = set()
        self.taken: set[int] = set()
        self.aliases: dict[str, ObjectId | None] = {}
        self.alias_ends: dict[str, int] = {}
        self.events: dict[str, list[Event]] = {}
        self.broken: dict[str, str] = {}
        self.forked: dict[str, tuple[int, ObjectId, ObjectId]] = {}
        self.local: dict[str, ObjectId] = {}

    def take(self, leaf: str, ref: Ref, tag: Tag | None) -> None:
        """Take in the tag ``<model>@<leaf>``; ``tag`` is None for one that is not annotated."""
        group, _, rest = leaf.partition("/")
        self.local[leaf] = ref.target
        try:
            if number := re.match(_VERSION, leaf):
                self.taken.add(int(number[1]))
                self._number(leaf, int(number[1]), ref, tag)
            elif group == "deleted" and re.match(_NUMBER, rest):
                self.taken.add(int(rest))
                self._tombstone(leaf, int(rest), tag)
            elif group == "alias":
                self._alias(rest, ref, tag)
            elif re.match(_NUMBER, rest) and is_stage_name(group):
                if tag is None:
                    raise CorruptData(f"the tag {self.name}@{leaf} is not annotated")
                promotion = read_promotion(tag, self.name, group, int(rest))
                event = Event(ref.target, promotion, tag.tagger)
                self.events.setdefault(group, []).append(event)
        except CorruptData as error:
            self.broken[group if is_stage_name(group) else leaf] = error.message

    def compare(self, leaf: str, there: Ref) -> None:
        """Take in what a remote has under ``<model>@<leaf>``, behind all tags of this clone."""
        group, _, rest = leaf.partition("/")
        if number := re.match(_VERSION, leaf) or re.match(f"deleted/({_NUMBER})", leaf):
            self.taken.add(int(number[1]))
        if group == "alias" and re.match(_NUMBER, n := rest.partition("/")[2]):
            alias = rest.partition("/")[0]
            self.alias_ends[alias] = max(self.alias_ends.get(alias, 0), int(n))
        ours = self.local.get(leaf)
        is_event = is_stage_name(group) and re.match(_NUMBER, rest)
        if is_event and ours is not None and ours != there.target:
            self.forked[group] = (int(rest), ours, there.target)

    def _number(self, leaf: str, number: int, ref: Ref, tag: Tag | None) -> None:
        if _annotated(tag).name != f"{self.name}@{leaf}":
            raise CorruptData(f"the tag was made as {_annotated(tag).name}")
        if ref.commit not in self.times:
            raise CorruptData(f"{ref.commit.short} is no version of {self.name} that can be read")
        self.numbers[number] = ref.commit

    def _alias(self, rest: str, ref: Ref, tag: Tag | None) -> None:
        """A move of an alias, the last of which counts; or a tag that was made by hand."""
        name, slash, n = rest.partition("/")
        if not slash:
            self.aliases.setdefault(name, ref.commit)
        elif re.match(_NUMBER, n):
            last = self.alias_ends.get(name, 0)
            self.alias_ends[name] = max(last, int(n))
            record = read_alias(_annotated(tag), self.name, name, int(n))
            if int(n) > last:
                self.aliases[name] = record.version

    def _tombstone(self, leaf: str, number: int, tag: Tag | None) -> None:
        stone = read_tombstone(_annotated(tag), f"{self.name}@{leaf}")
        named = f"{stone.model}@deleted/{stone.n}"
        if not named == _annotated(tag).name == f"{self.name}@{leaf}":
            raise CorruptData(f"the tombstone was made as {named}")
        self.deleted.add(number)
        self.hidden.add(stone.version)

    def state(self) -> ModelState:
        """The model, as far as its tags can be believed."""
        self.hidden |= {self.numbers[n] for n in self.deleted if n in self.numbers}
        drafts = set(self.kept) - set(self.numbers.values()) - self.hidden
        stages = {
            stage: tuple(sorted(moves, key=lambda one: one.promotion.n))
            for stage, moves in self.events.items()
        }
        return ModelState(
            self.name,
            self.numbers,
            tuple(sorted(drafts, key=lambda commit: (self.times.get(commit, 0.0), commit))),
            frozenset(self.deleted),
            {name: one for name, one in self.aliases.items() if one is not None},
            stages,
            frozenset(self.hidden),
            self.broken,
            frozenset(self.taken),
            self.forked,
            self.alias_ends,
        )


def _annotated(tag: Tag | None) -> Tag:
    if tag is None:
        raise CorruptData("it is not an annotated tag")
    return tag


def read_promotion(tag: Tag, model: str, stage: str, n: int) -> Promotion:
    """The promotion in an event tag; raises CorruptData unless it is of this model, stage and n.

    A tag object copied under another name is caught here: its header has the name it was made for.
    """
    name = f"{model}@{stage}/{n}"
    promotion = codec.from_document(Promotion, line_of(tag), name)
    same = (promotion.model, promotion.stage, promotion.n) == (model, stage, n)
    if tag.name != name or not same:
        raise CorruptData(
            f"the tag {name} holds the record of {tag.name}", hint="`gitml fsck` lists what is off"
        )
    return promotion


def read_alias(tag: Tag, model: str, alias: str, n: int) -> Alias:
    """The move of an alias in a tag; raises CorruptData unless it is of this model, name and n."""
    name = f"{model}@alias/{alias}/{n}"
    record = codec.from_document(Alias, line_of(tag), name)
    if tag.name != name or (record.model, record.name, record.n) != (model, alias, n):
        raise CorruptData(
            f"the tag {name} holds the record of {tag.name}", hint="`gitml fsck` lists what is off"
        )
    return record


def stage_changes(names: Names, *, strays: bool = False) -> list[Change]:
    """What brings the refs of stages to their newest events: they follow from the tags.

    A stage whose tags are not believed, or that is forked, is left as it is. A ref without any
    event is one of the ``strays``.
    """
    wanted: dict[str, ObjectId | None] = {}
    found = {one.name: one.target for one in names.index.refs_below(f"{STAGES}/")}
    for model in names.models:
        state = names.model(model)
        odd = {*state.broken, *state.forked}
        for stage in odd:
            found.pop(f"{STAGES}/{model}/{stage}", None)
        for stage, events in state.stages.items():
            if stage not in odd:
                is_held = events[-1].promotion.version is not None
                wanted[f"{STAGES}/{model}/{stage}"] = events[-1].tag if is_held else None
    others = sorted(set(found).difference(wanted)) if strays else []
    moved = [*(name for name in wanted if found.get(name) != wanted[name]), *others]
    return [Change(name, wanted.get(name), found.get(name)) for name in moved]


def read_tombstone(tag: Tag, where: str) -> Tombstone:
    """The tombstone in a tag ``<model>@deleted/<N>``; raises CorruptData."""
    return codec.from_document(Tombstone, line_of(tag), where)


def _vacant(state: ModelState, stage: str) -> NameNotFound:
    versions = ", ".join(state.label(commit) for commit in state.visible[-6:])
    latest = state.label(state.latest) if state.latest else None
    return NameNotFound(
        f"no version of {state.name} holds `{stage}`; there are: {versions or 'none'}",
        hint=f"`gitml promote {latest} {stage} -m WHY`" if latest else None,
    )


def _model_of(ref: str) -> str | None:
    """The model that a ref belongs to."""
    if ref.startswith(VERSIONS + "/"):
        return ref.removeprefix(VERSIONS + "/").partition("/")[0]
    if ref.startswith(TAGS + "/"):
        name, at, leaf = ref.removeprefix(TAGS + "/").partition("@")
        return name if at and re.match(_VERSION, leaf) else None
    return None


Resolver = Callable[[str], Found]
