"""The events of a stage as a hash chain: each names the object of the one before."""

from __future__ import annotations

from gitml.entities.ids import ObjectId
from gitml.errors import NotTrusted
from gitml.history.index import Index
from gitml.history.models import Event, ModelState
from gitml.history.record import seconds_of


def check_chain(index: Index, state: ModelState, stage: str, project: str) -> None:
    """Raise NotTrusted that names the first event of a stage which is missing or not what it says.

    RaceLost where the stage is forked. Signatures are another matter.
    """
    if stage in state.forked:
        state.refuse_broken(stage)
    before: Event | None = None
    for event in state.stages.get(stage, ()):
        expected = before.promotion.n + 1 if before else 1
        name = f"{state.name}@{stage}/{event.promotion.n}"
        if event.promotion.n != expected:
            if stage in state.broken:  # the one that is missing here was not believed
                break
            raise NotTrusted(
                f"{state.name}@{stage}/{expected} is missing",
                hint="`gitml fetch` brings it where the git remote has it",
            )
        fault = _fault(index, event, before, project)
        if fault:
            raise _altered(name, fault)
        before = event
    if stage in state.broken:
        raise _altered(f"{state.name}@{stage}", state.broken[stage])


def _fault(index: Index, event: Event, before: Event | None, project: str) -> str | None:
    """What an event says that cannot be, None where all is well."""
    promotion, tag = event.promotion, index.tag(event.tag)
    previous: ObjectId | None = before.tag if before else None
    holder = before.promotion.version if before else None
    if promotion.project != project:
        return f"it belongs to another project, {promotion.project}"
    if promotion.previous != previous:
        named = promotion.previous.short if promotion.previous else "none"
        return f"it follows {named}, and the event before is {previous.short if previous else '-'}"
    if promotion.before != holder:
        return "it names another holder before than the event before"
    if tag is None or tag.target != (promotion.version or holder):
        return "it tags another commit than it names"
    if abs(seconds_of(promotion.at) - (tag.seconds if tag is not None else 0)) > 1:
        return "its tag has another date than it names"
    if before is not None and seconds_of(promotion.at) < seconds_of(before.promotion.at):
        return "it is older than the event before"
    return None


def _altered(name: str, fault: str) -> NotTrusted:
    return NotTrusted(
        f"{name} is not what it should be: {fault}", hint="`gitml fsck` lists what is off"
    )
