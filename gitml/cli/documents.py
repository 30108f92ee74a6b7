"""Records as JSON documents: the fields of the record itself, with names and ids put beside them.

The same record has the same fields wherever it appears. Points in time are RFC 3339 in UTC, ids and
digests are in full, sizes are bytes, durations seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gitml.entities import codec
from gitml.entities.metadata import all_typed

if TYPE_CHECKING:
    from gitml.entities.ids import ObjectId
    from gitml.entities.records import Output
    from gitml.handles import RunHandle, StepHandle, StoredOutput, VersionHandle
    from gitml.history.lineage import Ancestor
    from gitml.history.live import Going
    from gitml.history.models import Event, ModelState
    from gitml.repo import Repo

Document = dict[str, Any]


def moment(seconds: float) -> str:
    """A point in time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def output_document(output: Output, commit: ObjectId | None = None) -> Document:
    """An output's record; ``commit`` is the step or source that it comes from."""
    document = record_document(output)
    document["metadata"] = {**document["metadata"], **all_typed(document.pop("logged", {}))}
    return document if commit is None else {**document, "commit": str(commit)}


def stored_document(stored: StoredOutput) -> Document:
    """An artifact: its output's record and the commit that made it."""
    document = output_document(stored.record, stored.commit)
    return {**document, "metadata": dict(stored.metadata), "tags": list(stored.tags)}


def run_summary(run: RunHandle) -> Document:
    """A run without its steps' details: what a listing has."""
    record = run.entry.record
    version = run.model_version
    return {
        "id": str(run.id),
        "name": run.name,
        "pipeline": run.pipeline,
        "state": run.status,
        "version": version_reference(version) if version else None,
        "made_version": run.made_version,
        "versions": [version_reference(one) for one in run.model_versions.values()],
        "started": record.started,
        "duration": record.duration,
        "by": run.entry.author,
        "revoked": [one.name for one in run.revoked],
        "code": record_document(record.code),
        "stack": record.stack,
        "parameters": dict(run.parameters),
        "metrics": dict(run.metrics),
        "steps": [
            {"name": one.name, "state": one.state, "commit": _text(one.commit)}
            for one in record.steps
        ],
    }


def going_document(run: Going) -> Document:
    """A run that goes on in a process of this machine."""
    return {
        "pipeline": run.pipeline,
        "name": run.name,
        "process": run.process,
        "started": run.started,
        "steps": list(run.steps),
        "step": run.current.step if run.current else None,
        "ended": dict(run.ended),
        "models": list(run.models),
        "tags": list(run.tags),
    }


def run_document(run: RunHandle) -> Document:
    """A run with all that is known of it."""
    record = run.entry.record
    return {
        **run_summary(run),
        "model": record.model,
        "pins": [record_document(pin) for pin in record.pins],
        "metadata": run.metadata(),
        "tags": list(run.tags),
        "steps": [step_document(step) for step in run.steps.values()],
        "failure": record_document(record.failure) if record.failure else None,
    }


def step_document(step: StepHandle) -> Document:
    """A step as it stands in a run."""
    found = step.found
    return {
        "name": step.name,
        "state": step.status,
        "commit": str(found.id) if found else None,
        "pipeline": found.record.pipeline if found else None,
        "duration": found.record.duration if found else None,
        "key": found.record.key if found else None,
        "code_id": found.record.code_id if found else None,
        "parameters": dict(step.parameters),
        "metrics": dict(step.metrics),
        "metadata": dict(step.metadata),
        "inputs": [record_document(one) for one in found.record.inputs] if found else [],
        "loads": [record_document(one) for one in found.record.loads] if found else [],
        "outputs": [stored_document(one) for one in step.outputs.values()],
    }


def version_reference(version: VersionHandle) -> Document:
    """How a version is named."""
    return {
        "label": version.label,
        "model": version.model,
        "number": version.number,
        "commit": str(version.id),
        "stages": version.stages,
        "aliases": version.aliases,
        "archived": version.archived,
        "revoked": [one.name for one in version.revoked],
    }


def version_document(version: VersionHandle, consumers: list[RunHandle]) -> Document:
    """A model version with its artifacts, and the runs that used it."""
    record, run = version.entry.record, version.run
    return {
        **version_reference(version),
        "created": record.created,
        "by": version.entry.author,
        "pipeline": record.pipeline,
        "run": str(record.run),
        "pins": [record_document(pin) for pin in run.entry.record.pins] if run else [],
        "code": record_document(record.code),
        "description": record.description,
        "card": dict(record.card or {}),
        "signatures": {name: record_document(one) for name, one in version.signatures.items()},
        "parameters": dict(version.parameters),
        "metrics": dict(version.metrics),
        "metadata": version.metadata(),
        "tags": list(version.tags),
        "artifacts": {name: stored_document(stored) for name, stored in version.artifacts.items()},
        "consumers": [{"run": str(one.id), "pipeline": one.pipeline} for one in consumers],
    }


def model_document(state: ModelState) -> Document:
    """A model: its versions by name, its stages with their holders."""
    latest = state.latest
    return {
        "name": state.name,
        "versions": [
            {
                "label": state.label(commit),
                "number": state.lowest.get(commit),
                "commit": str(commit),
            }
            for commit in state.visible
        ],
        "deleted": sorted(state.deleted),
        "latest": state.label(latest) if latest else None,
        "stages": {stage: _holder(state, stage) for stage in sorted(state.stages)},
        "unreadable": {
            stage: why for stage in sorted(state.stages) if (why := state.trouble(stage))
        },
        "aliases": {name: state.label(commit) for name, commit in sorted(state.aliases.items())},
    }


def event_document(state: ModelState, event: Event) -> Document:
    """A move of a stage."""
    promotion = event.promotion
    name, _, rest = event.tagger.partition(" <")
    return {
        "model": promotion.model,
        "stage": promotion.stage,
        "n": promotion.n,
        "version": state.label(promotion.version) if promotion.version else None,
        "before": state.label(promotion.before) if promotion.before else None,
        "at": promotion.at,
        "by": {"name": name, "mail": rest.partition(">")[0]},
        "reason": promotion.reason,
        "restores": promotion.restores,
        "tag": f"{promotion.model}@{promotion.stage}/{promotion.n}",
        "tag_object": str(event.tag),
    }


def lineage_document(repo: Repo, ancestor: Ancestor) -> Document:
    """A lineage as a list: every record once, with the records that it was made of."""
    records, waiting = [], [ancestor]
    while waiting:
        one = waiting.pop()
        if one.repeated:
            continue
        is_version = one.kind == "version"
        records.append(
            {
                "commit": str(one.commit),
                "kind": one.kind,
                "label": repo.version_of(one.commit).label if is_version else one.label,
                "made_of": [
                    {"commit": str(above.commit), "role": above.role} for above in one.made_of
                ],
            }
        )
        waiting += reversed(one.made_of)
    return {"commit": str(ancestor.commit), "records": records}


def _holder(state: ModelState, stage: str) -> str | None:
    holder = state.holder(stage) if state.trouble(stage) is None else None
    return state.label(holder) if holder else None


def _text(oid: ObjectId | None) -> str | None:
    return str(oid) if oid is not None else None


def record_document(record: Any) -> Document:
    """A record as JSON without its format number, which belongs to the stored file."""
    document = codec.to_document(record)
    document.pop("format", None)
    return document
