"""The branch of a request: the default branch with one line of one file changed."""

from __future__ import annotations

import time

from gitml.entities.ids import ObjectId
from gitml.frozen import Frozen
from gitml.git.odb import FILE, FOLDER, Builder, Odb, TreeEntry
from gitml.git.process import Git
from gitml.history.record import Person
from gitml.promotion.wishes import FOLDER as WISHES
from gitml.promotion.wishes import path_of, with_wish


def branch_of(model: str, stage: str) -> str:
    """The one branch on which a change of a stage is proposed."""
    return f"promote/{model}/{stage}"


class Proposer(Frozen):
    """Makes the commits of proposals; neither index nor work tree nor any ref is touched."""

    git: Git
    odb: Odb
    person: Person

    def commit(
        self,
        wish: tuple[str, str, str],
        tip: ObjectId,
        there: ObjectId | None,
        message: str,
    ) -> ObjectId | None:
        """The commit to which the branch of a wish (model, stage, ``v8``) is to move.

        Its tree is that of ``tip``, the default branch, with the one line. Where the branch is
        ``there`` already the commit goes on from it, so that nobody has to force anything, and
        whatever else was on the branch is not in it any more. None where ``tip`` has the line;
        ``there`` where the branch says just this. Raises ConfigError.
        """
        model, stage, which = wish
        path = path_of(model)
        before = self.odb.file(tip, path)
        after = with_wish(before, path, stage, which)
        if after == before:
            return None
        builder = Builder(self.git)
        tree = self._tree(builder, tip, path.rpartition("/")[2], after)
        parents = [tip]
        if there is not None and not self._has(tip, there):
            if self.odb.commit(there).tree == tree and self._has(there, tip):
                return there
            parents = [there] if self._has(there, tip) else [there, tip]
        line = self.person.at(time.time())
        made = builder.commit(tree, parents, line, line, message)
        builder.write_loose()
        return made

    def _has(self, commit: ObjectId, ancestor: ObjectId) -> bool:
        asked = ("merge-base", "--is-ancestor", str(ancestor), str(commit))
        return self.git.process(*asked).returncode == 0

    def _tree(self, builder: Builder, tip: ObjectId, name: str, data: bytes) -> ObjectId:
        """The tree of a commit with one file of wishes in the place of what was there."""
        root = self.odb.tree(self.odb.commit(tip).tree)
        folder = next((one for one in root if one.name == WISHES.encode()), None)
        inner = self.odb.tree(folder.id) if folder is not None and folder.mode == FOLDER else []
        inner = [one for one in inner if one.name != name.encode()]
        made = builder.tree([*inner, TreeEntry(name.encode(), FILE, builder.blob(data))])
        rest = [one for one in root if one.name != WISHES.encode()]
        return builder.tree([*rest, TreeEntry(WISHES.encode(), FOLDER, made)])
