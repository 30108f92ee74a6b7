"""Records stay off branches: what `gitml-records` holds.

A code commit that descends from a record makes every later run seem to descend from it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gitml.entities.ids import ObjectId
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.snapshot import record_code
from gitml.hooks.staged import Finding, Staged

_FOLDER = ".gitml/"
_BRANCH = "refs/heads/"
_KINDS = "^Gitml-Kind: (step|run|version)$"


def check_commit(staged: Staged, odb: Odb) -> Iterator[Finding]:
    """What a commit must not be made of or on: a record's folder, a record on a branch."""
    if any(path.startswith(_FOLDER) for path in staged.touched):
        yield Finding(
            _FOLDER,
            "a record's folder belongs to the record alone",
            "git rm -r -q --cached .gitml && rm -r .gitml",
        )
    head = odb.resolve("HEAD")
    branch = staged.git.branch()
    if head is not None and branch is not None:
        code = record_code(odb, head)
        if code != head:
            yield Finding(branch, "the branch ends in a record", f"git reset --soft {code.short}")


def check_push(git: Git, odb: Odb, remote: str, lines: Iterable[str]) -> Iterator[Finding]:
    """The branches whose push would publish records as code.

    ``lines`` are those that git hands to pre-push: local ref, local id, remote ref, remote id. What
    a branch of the remote has already can no longer be helped and is passed over.
    """
    for line in lines:
        fields = line.rsplit(maxsplit=3)
        if len(fields) != 4 or not fields[2].startswith(_BRANCH):
            continue
        tip, there = fields[1], fields[3]
        if not re.fullmatch(r"[0-9a-f]{40}", tip) or not tip.strip("0"):
            continue
        new = [tip, "--not", f"--remotes={remote}"]
        if there.strip("0") and odb.resolve(there) is not None:
            new.append(there)
        flags = ["--max-count=1", "--extended-regexp", f"--grep={_KINDS}"]
        answer = git.run("rev-list", *flags, *new, accept=(0, 128)).decode().strip()
        if re.fullmatch(r"[0-9a-f]{40}", answer):
            record = ObjectId.parse(answer)
            code = record_code(odb, record)
            if code != record:
                yield Finding(
                    fields[2].removeprefix(_BRANCH),
                    f"the branch would publish the record {record.short} as code",
                    f"git rebase --onto {code.short} {record.short}",
                )
