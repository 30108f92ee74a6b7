"""Tags on runs, artifacts and versions: put on, taken off, and found again."""

from __future__ import annotations

from collections.abc import Iterable

from gitml.entities.ids import ObjectId
from gitml.errors import NameNotFound, UsageError
from gitml.frozen import Frozen
from gitml.handles import RunHandle, StoredOutput, VersionHandle
from gitml.history.revs import Found
from gitml.repo.records import Records, with_article


class TaggedThing(Frozen):
    """Something that carries a tag: its kind, how it is called, and the commit of its record."""

    tag: str
    kind: str
    name: str
    commit: ObjectId


class Tagging(Records):
    """The part of the facade for tags."""

    def tags(self, text: str) -> tuple[str, ...]:
        """The tags of what a name means; raises UsageError for what carries none."""
        return self._tagged(self._notable(text)).tags

    def add_tags(self, text: str, tags: Iterable[str]) -> tuple[str, tuple[str, ...]]:
        """Put tags on a run, an artifact or a version: how it is called, and the new ones."""
        found = self._notable(text)
        return self._called(found), self._tagged(found).add_tags(*tags)

    def remove_tags(self, text: str, tags: Iterable[str]) -> str:
        """Take tags off; how the thing is called. Raises NameNotFound where one is not there."""
        found = self._notable(text)
        self._tagged(found).remove_tags(*tags)
        return self._called(found)

    def everything_tagged(self, tag: str | None = None) -> list[TaggedThing]:
        """All that carries a tag, by tag and name; raises NameNotFound for one that nothing has."""
        from gitml.history.tags import tagged

        things = {
            thing
            for name, place in tagged(self.index, self.parts.notes, tag)
            if (thing := self._thing(name, place.commit, place.artifact)) is not None
        }
        if tag is not None and not things:
            known = {one.tag for one in self.everything_tagged()}
            raise NameNotFound.among("tag", tag, sorted(known))
        return sorted(things, key=lambda one: (one.tag, one.kind, one.name))

    def _thing(self, tag: str, commit: ObjectId, artifact: str | None) -> TaggedThing | None:
        """What carries a tag; None where this clone has no such record, or it is deleted."""
        if artifact is not None:
            output = self.output_named(commit, artifact)
            if output is None:
                return None
            return TaggedThing(tag, "artifact", f"{artifact}@{output.digest.short}", commit)
        if self.index.version(commit) is not None:
            version = self.version_of(commit)
            hidden = commit not in version.state.visible
            return None if hidden else TaggedThing(tag, "version", version.label, commit)
        if (run := self.index.run(commit)) is not None:
            name = f"{run.record.pipeline} {self.short(commit)}"
            return TaggedThing(tag, "run", name, commit)
        return None

    def _tagged(self, found: Found) -> RunHandle | VersionHandle | StoredOutput:
        assert found.commit is not None  # noqa: S101 - _notable gives those that have one
        if found.output is not None:
            return StoredOutput(found.output, self._place_of(found), self.parts)
        if found.kind in ("run", "pipeline"):
            return self.run_of(found.commit)
        if found.kind in ("model", "version"):
            return self.version_of(found.commit)
        raise UsageError(
            f"{found.label} is {with_article(found.kind)}, and carries no tags",
            hint="tags are on runs, artifacts and versions",
        )

    def _called(self, found: Found) -> str:
        thing = self._tagged(found)
        if isinstance(thing, VersionHandle):
            return thing.label
        return found.label if isinstance(thing, StoredOutput) else f"run {self.short(thing.id)}"
