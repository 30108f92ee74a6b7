"""The model versions that a run makes: of which steps, with which artifacts, or which are there.

The steps of a run make a version of the pipeline's model, but those that name a model of their own
make one of that. What a step has linked is an artifact of its version, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gitml.config import CARD
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import Input, RunModel, Version, VersionArtifact
from gitml.frozen import Frozen, replace
from gitml.history.entries import VersionEntry
from gitml.history.index import Index
from gitml.history.lineage import given_output
from gitml.history.models import ModelState
from gitml.history.record import Recorder, timestamp
from gitml.pipelines.card import model_card
from gitml.pipelines.outcome import Done
from gitml.pipelines.plan import Plan
from gitml.pipelines.references import Model
from gitml.pipelines.signature import Signatures


class Share(Frozen):
    """A model, and the steps of a run that make its version."""

    model: Model
    done: tuple[Done, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """What these steps logged."""
        return united({one.name: one.metrics for one in self.done})


def shares(plan: Plan, done: Iterable[Done]) -> list[Share]:
    """The models that a run makes versions of, the pipeline's first, each with its steps.

    A model whose steps are none of the run's gets no version; one without any other does.
    """
    by_name = {one.name: one for one in done}
    makes: dict[str, tuple[Model, list[Done]]] = {}
    if plan.model is not None:
        makes[plan.model.name] = (plan.model, [])
    for planned in plan.steps:
        model = planned.makes
        if model is not None and planned.name in by_name:
            makes.setdefault(model.name, (model, []))[1].append(by_name[planned.name])
    found = [Share(model, tuple(steps)) for model, steps in makes.values()]
    return [one for one in found if one.done or len(found) == 1]


def other_models(plan: Plan, resolved: Mapping[str, VersionEntry]) -> tuple[RunModel, ...] | None:
    """What a run says of models that are its steps' and not the pipeline's."""
    main = plan.model.name if plan.model is not None else None
    names = dict.fromkeys(one.makes.name for one in plan.steps if one.makes is not None)
    named = [name for name in names if name != main]
    return (
        tuple(RunModel(name, resolved[name].id if name in resolved else None) for name in named)
        or None
    )


def same_version(index: Index, plan: Plan, model: ModelState, share: Share) -> VersionEntry | None:
    """The version that a run resolves to where all steps are cached: the same keys and outputs.

    A version that came from a snapshot does not count once the code is clean.
    """
    if not all(one.cached for one in share.done):
        return None
    keys = {one.name: one.record.key or "" for one in share.done}
    digests = _digests(version_artifacts(index, share.done))
    visible = set(model.visible)
    for entry in reversed(index.versions(model.name)):
        same = entry.record.keys == keys and _digests(entry.record.artifacts) == digests
        stale = entry.record.code.snapshot and not plan.code.snapshot
        if same and not stale and entry.id in visible:
            return entry
    return None


def new_version(
    recorder: Recorder,
    index: Index,
    plan: Plan,
    share: Share,
    run: ObjectId,
    settled: Mapping[str, Any],
    now: float,
) -> ObjectId:
    """The commit of a new version; ``settled`` is what ``gitml.toml`` says of the model."""
    model, done = share.model, share.done
    parameters = {
        f"{one.name}.{key}": value
        for one in done
        for key, value in one.record.parameters.items()
        if plan.parameters.get(key) != value
    }
    artifacts = version_artifacts(index, done)
    known = Signatures(index, {one.commit: one.record for one in done})
    record = Version(
        model=model.name,
        pipeline=plan.pipeline,
        run=run,
        code=plan.code,
        created=timestamp(now),
        parameters={**parameters, **plan.parameters},
        artifacts=artifacts,
        keys={one.name: one.record.key or "" for one in done},
        metadata=united({one.name: one.record.metadata for one in done}),
        description=model.description or settled.get("description"),
        card={**{k: v for k, v in settled.items() if k in CARD}, **model.card} or None,
        signatures=known.of_version(artifacts),
    )
    return recorder.version(record, share.metrics, model_card(record, share.metrics), now)


def version_artifacts(index: Index, done: Iterable[Done]) -> tuple[VersionArtifact, ...]:
    """The artifacts of a version: every output of its steps, and what they have linked.

    Two that would be called the same are called ``<step>.<name>``.
    """
    made = [
        (output.artifact, output.name, VersionArtifact("", one.name, one.commit, output))
        for one in done
        for output in one.record.outputs
    ]
    made += [(one.name, f"linked.{one.name}", one) for step in done for one in _linked(index, step)]
    names = [name for name, _, _ in made]
    return tuple(
        replace(one, name=name if names.count(name) == 1 else f"{one.step}.{own}")
        for name, own, one in made
    )


def _linked(index: Index, done: Done) -> Iterable[VersionArtifact]:
    """What a step has linked, by the names that it has in the version."""
    loads = {one.name: one for one in done.record.loads}
    for name, load in (done.record.links or {}).items():
        output = given_output(index, loads[load])
        if output is not None:
            yield VersionArtifact(name, done.name, _maker(index, loads[load]), output)


def _maker(index: Index, given: Input) -> ObjectId:
    """The commit that made an input's bytes: of what a version holds, the step's."""
    version = index.version(given.commit)
    held = version.record.artifacts if version is not None else ()
    return next((one.commit for one in held if one.output.digest == given.digest), given.commit)


def united(by_step: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the steps logged under one roof; a name that two steps use becomes ``<step>.<name>``."""
    owners: dict[str, list[str]] = {}
    for step, values in by_step.items():
        for name in values:
            owners.setdefault(name, []).append(step)
    return {
        name if len(owners[name]) == 1 else f"{step}.{name}": value
        for step, values in by_step.items()
        for name, value in values.items()
    }


def _digests(artifacts: Iterable[VersionArtifact]) -> dict[str, Digest]:
    return {one.name: one.output.digest for one in artifacts}
