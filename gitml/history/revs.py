"""Names and what they mean: models with their versions and stages, artifacts, pipelines, runs.

A ``Names`` is a frozen view of the refs at one moment. A run takes one when it is planned and looks
everything up in it, so that a promotion meanwhile changes nothing in that run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

from gitml.entities.ids import Digest, ObjectId, check_stage_name
from gitml.entities.records import Output
from gitml.errors import AmbiguousName, InvalidName, NameNotFound
from gitml.frozen import Frozen, field
from gitml.git.odb import Odb
from gitml.git.refs import Change, Ref
from gitml.history.index import Index
from gitml.history.models import NUMBER, VERSION, Collected, ModelState
from gitml.history.record import STAGES, TAGS, TRACKING, VERSIONS

_KINDS = ("model", "artifact", "pipeline", "run")


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
        if re.match(f"{VERSION}|{NUMBER}", which):
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
        found = Collected(name, times)
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
        return name if at and re.match(VERSION, leaf) else None
    return None


Resolver = Callable[[str], Found]
