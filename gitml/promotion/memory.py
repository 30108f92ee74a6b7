"""The newest state of every stage that this user has seen, kept outside of any clone.

A server can show an old state to a new clone, and every hash and signature in it is in order. Who
remembers what was there once is not fooled: by a state that went back, that does not move on, or
that is another one under the same number.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitml.entities.checksum import sha256_hex
from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, NotTrusted, StorageError
from gitml.frozen import Frozen, field
from gitml.fs import make_directories, write_durably
from gitml.history.models import ModelState

_MAX_BYTES = 16 << 20


class Memory(Frozen):
    """What was seen of one project at one place, in a file; without a path nothing is remembered.

    ``stages`` is what was remembered when this was made. That has to be before the git remote is
    asked: others write here too, and what they saw later is no proof that the remote went back.
    A file that cannot be read remembers nothing, and one that cannot be written forgets: a
    promotion does not fail for it.
    """

    path: Path | None = None
    stages: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, project: str, place: str) -> Memory:
        """The memory of a project as it is at a place: the URL of a remote, or a folder.

        A fork has the same id and goes its own way, so the place is part of the name.
        """
        name = sha256_hex(f"{project}\\n{place}".encode())[:32]
        path = folder / "gitml" / "seen" / f"{name}.json"
        return cls(path, _read(path))

    def check(self, state: ModelState, stage: str) -> None:
        """Raise NotTrusted where a stage is behind what was seen of it, or another one."""
        seen = self.stages.get(f"{state.name}@{stage}")
        if not isinstance(seen, dict):
            return
        n, tag, when = seen.get("n"), seen.get("tag"), str(seen.get("at"))
        events = {one.promotion.n: one for one in state.stages.get(stage, ())}
        if not isinstance(n, int) or not isinstance(tag, str):
            return
        name = f"{state.name}@{stage}/{n}"
        ends = max(events, default=0)
        if ends < n:
            raise _error(
                state, stage, f"{name} was seen at {when}, and {stage} ends at move {ends} here"
            )
        if n not in events or str(events[n].tag) != tag:
            raise _error(state, stage, f"{name} is not the tag that was seen at {when}: {tag[:12]}")

    def note(self, model: str, stage: str, n: int, tag: ObjectId) -> None:
        """Remember a move, unless a newer one is remembered."""
        if self.path is None:
            return
        stages = _read(self.path)
        known = stages.get(f"{model}@{stage}")
        if isinstance(known, dict) and isinstance(known.get("n"), int) and known["n"] >= n:
            return
        at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        _write(self.path, {**stages, f"{model}@{stage}": {"n": n, "tag": str(tag), "at": at}})

    def accept(self, model: str, stage: str) -> None:
        """Forget what was seen of a stage: what is there now is the truth."""
        if self.path is None:
            return
        stages = _read(self.path)
        if stages.pop(f"{model}@{stage}", None) is not None:
            _write(self.path, stages)


def _error(state: ModelState, stage: str, message: str) -> GitmlError:
    return NotTrusted(
        f"{message}: this clone is behind, or what the git remote serves is old",
        hint="`gitml fetch` may bring it; if the remote was restored on purpose: "
        f"`gitml verify {state.name}@{stage} --accept`",
    )


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        if path.stat().st_size <= _MAX_BYTES:
            found = json.loads(path.read_bytes())["stages"]
            return found if isinstance(found, dict) else {}
    return {}


def _write(path: Path, stages: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError, StorageError):
        make_directories(path.parent)
        document = {"format": 1, "stages": stages}
        write_durably(path, json.dumps(document, indent=1, sort_keys=True).encode())
