"""Data beside its pointers: the verbs of the working tree, and what differs between states."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gitml.entities.pointer import SUFFIX, Pointer
from gitml.errors import AmbiguousName, NameNotFound, StorageError, UsageError
from gitml.frozen import Frozen
from gitml.repo.records import Records

if TYPE_CHECKING:
    from gitml.diff.records import RecordDifference
    from gitml.diff.records import Side as RecordSide
    from gitml.tables import TableChange
    from gitml.workspace.adding import Added
    from gitml.workspace.checkout import Move as DataMove
    from gitml.workspace.compare import DataChange, DataSide
    from gitml.workspace.merging import Merged
    from gitml.workspace.moving import Removed, Renamed
    from gitml.workspace.resolving import Side
    from gitml.workspace.statcache import View
    from gitml.workspace.status import DataState
    from gitml.workspace.survey import Look


class Difference(Frozen):
    """What differs between two states of the repository.

    ``data`` are the pointers whose data differs; ``tables`` the changes of tables among their
    files, by path; ``records`` compares two runs or model versions, where the states are such.
    """

    old: str
    new: str
    data: Sequence[DataChange]
    tables: Mapping[str, TableChange]
    records: RecordDifference | None = None

    def __bool__(self) -> bool:
        return bool(self.data or self.records)


class Data(Records):
    """The part of the facade that keeps data beside git."""

    def add(
        self,
        paths: Sequence[Path] = (),
        *,
        everything: bool = False,
        rehash: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> list[Added]:
        """Store data and give it pointers, staged; with ``everything`` all data that differs.

        See ``gitml.workspace.adding.add``.
        """
        from gitml.workspace import pointerfiles
        from gitml.workspace.adding import add

        self.config  # noqa: B018 - without gitml.toml there is no project to add to
        if not dry_run:
            self.install_drivers()
        wanted, unfinished = self._inside(paths), list[str]()
        if everything:
            differing = ("changed", "conflict", *(("clean",) if rehash else ()))
            states = self.data_status()
            wanted += [one.path for one in states if one.state in differing]
            unstaged = pointerfiles.unstaged(self.git)
            unfinished = [
                one.path
                for one in states
                if one.state == "behind" or (one.state == "clean" and one.path in unstaged)
            ]
        flags = {"rehash": rehash, "force": force, "dry_run": dry_run}
        return add(self.workspace, wanted, unfinished=unfinished, **flags)

    def checkout(
        self,
        paths: Sequence[Path] = (),
        *,
        view: View | None = None,
        force: bool = False,
        side: Side | None = None,
        dry_run: bool = False,
    ) -> list[DataMove]:
        """Make data follow the pointers; see ``gitml.workspace.checkout.checkout``.

        Where a model version is checked out, its artifacts are written beside their pointers.
        """
        from gitml.workspace.checkout import checkout

        inside = self._inside(paths)
        moves = checkout(self.workspace, inside, view=view, force=force, side=side, dry_run=dry_run)
        if not paths and view is None and (self.root / SUFFIX).is_dir():
            from gitml.workspace.deployment import check_out_artifacts

            moves += check_out_artifacts(self.workspace, self.odb, dry_run=dry_run)
        return moves

    def remove(
        self,
        paths: Sequence[Path],
        *,
        keep: bool = False,
        recursive: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> list[Removed]:
        """Stop tracking data; see ``gitml.workspace.moving.remove``."""
        from gitml.workspace.moving import remove

        inside = self._inside(paths)
        flags = {"keep": keep, "recursive": recursive, "force": force, "dry_run": dry_run}
        return remove(self.workspace, inside, **flags)

    def move(
        self, sources: Sequence[Path], target: Path, *, dry_run: bool = False
    ) -> list[Renamed]:
        """Move data with its pointer; see ``gitml.workspace.moving.move``."""
        from gitml.workspace.moving import move

        (inside,) = self._inside([target])
        return move(self.workspace, self._inside(sources), inside, dry_run=dry_run)

    def data_status(self) -> list[DataState]:
        """The state of each pointer's data; reads nothing that its time stamps vouch for."""
        from gitml.workspace.status import data_status

        return data_status(self.workspace)

    def diff(
        self, words: Sequence[str], here: Path, *, staged: bool = False, tables: bool = True
    ) -> Difference:
        """What differs between two states: ``[A [B]] [PATH…]`` as on the command line.

        Without a state, the working tree is compared with the pointers in git's index, with one it
        is compared with that; with ``staged``, the index is compared with HEAD or that state.
        ``A..B`` and ``A...B`` mean what they mean to git. Without ``tables`` none is read.
        """
        from gitml.workspace.compare import compare_sides

        states, paths = self._states_and_paths(words, here)
        if staged and len(states) > 1:
            raise UsageError("with `--staged` there is one state to compare the index with")
        sides = {one: self._record_side(one) for one in states}
        if len(states) == 1 and sides[states[0]] is not None:
            raise UsageError(
                f"{states[0]} is compared with nothing: runs and versions are compared in twos",
                hint=self._two(states[0]),
            )
        old = self._side(states[0] if states else "HEAD" if staged else None, sides, index=True)
        new = self._side(states[1] if len(states) > 1 else None, sides, index=staged)
        within = self._inside(paths)
        data = compare_sides(old, new, within)
        found = self._tables(data, new) if tables else {}
        records = (
            None if paths else self._compared_records([sides[one] for one in states], tables=tables)
        )
        return Difference(old.label, new.label, data, found, records)

    def _two(self, name: str) -> str:
        """A comparison in which a run or a version stands with another of its kind."""
        found = self.resolve(name)
        if found.commit is not None and found.kind in ("version", "model"):
            version = self.version_of(found.commit)
            others = [one for one in version.state.visible if one != found.commit]
            if others:
                other = self.version_of(others[-1]).label
                two = [version.label, other]
                at = version.state.visible.index(found.commit)
                two = two[::-1] if at == len(others) else two
                return f"`gitml diff {' '.join(two)}`"
            return f"`gitml show {version.label}` describes the only version"
        if found.commit is not None:
            pipeline = self.run_of(found.commit).pipeline
            if found.commit != self.resolve(pipeline).commit:
                return f"`gitml diff {self.short(found.commit)} {pipeline}`"
        return f"`gitml log` lists the runs, for `gitml diff RUN {name}`"

    def _compared_records(
        self, states: Sequence[RecordSide | None], *, tables: bool
    ) -> RecordDifference | None:
        """What differs between two runs or versions; None unless both states are one."""
        sides = [one for one in states if one is not None]
        if len(sides) != 2:
            return None
        from gitml.diff.records import compare_records

        directions = self.config.directions if self._has_config else {}
        return compare_records(self.git, self.parts, *sides, directions=directions, tables=tables)

    def _record_side(self, name: str) -> RecordSide | None:
        from gitml.diff.records import side_of_run, side_of_version

        try:
            found = self.resolve(name)
        except NameNotFound:
            return None
        if found.commit is None or found.output is not None:
            return None
        if found.kind in ("version", "model"):
            return side_of_version(self.version_of(found.commit))
        if found.kind in ("run", "pipeline"):
            return side_of_run(self.run_of(found.commit), f"run {self.short(found.commit)}")
        return None

    def merge_pointers(self, base: bytes, ours: bytes, theirs: bytes, path: str) -> Merged:
        """The pointer after a merge; see ``gitml.workspace.merging.merge``."""
        from gitml.workspace.merging import merge

        return merge(self.store, base, ours, theirs, path)

    def described_pointer(self, data: bytes) -> Iterator[str]:
        """A pointer's lines and its folder's files, for ``git diff``."""
        from gitml.workspace.merging import described

        return described(self.store, data)

    def install_drivers(self) -> bool:
        """Have git merge and show pointers by gitml, in this clone; whether that was new."""
        from gitml.workspace.merging import install_drivers

        return install_drivers(self.git)

    def _inside(self, paths: Sequence[Path]) -> list[str]:
        return [self.workspace.relative(path.absolute()) for path in paths]

    def _data_state(self, files: Sequence[str], begun: Look | None) -> list[DataState]:
        """The state of the data of the pointers at some paths, with a look that has begun."""
        from gitml.workspace import pointerfiles
        from gitml.workspace.status import data_status

        return data_status(self.workspace, pointerfiles.at(self.root, files), begun)

    def _begin_look(self) -> Look | None:
        """Have git look at the data while other questions are answered, where there is any."""
        if not (self.git.directory / "gitml" / "stat" / "index").exists():
            return None
        from gitml.workspace.survey import Look

        with suppress(StorageError):
            return Look.begin(self.workspace, self.workspace.cache())
        return None

    def _states_and_paths(self, words: Sequence[str], here: Path) -> tuple[list[str], list[Path]]:
        """Which of the words are states, the first two at most, and which are paths."""
        states: list[str] = []
        for place, word in enumerate(words):
            full = here / word
            is_path = os.path.lexists(full) or os.path.lexists(f"{full}.gitml")
            if is_path and not word.startswith((".", "/")) and self.odb.resolve(word) is not None:
                raise AmbiguousName(
                    f"`{word}` is a path and a revision", hint=f"`./{word}` is the path"
                )
            if is_path or place >= 2 or len(states) == 2:
                return states, [here / one for one in words[place:]]
            states += self._ends(word)
        return states[:2], []

    def _ends(self, word: str) -> list[str]:
        """The states that a word means: one, or the two ends of a range."""
        for dots in ("...", ".."):
            left, found, right = word.partition(dots)
            if found:
                left, right = left or "HEAD", right or "HEAD"
                if dots == "...":
                    ends = ["--end-of-options", left, right]
                    done = self.git.process("merge-base", *ends)
                    left = done.stdout.decode().strip() or left
                return [left, right]
        return [word]

    def _side(
        self, name: str | None, records: Mapping[str, RecordSide | None], *, index: bool
    ) -> DataSide:
        """The state of the data that a name means; without one, the index or the working tree.

        ``records`` are the runs and versions that names mean.
        """
        from gitml.workspace import compare

        if name is None and index:
            return compare.side_of_index("the index", self.workspace, self.odb)
        if name is None:
            return compare.side_of_working_tree("the working tree", self.workspace)
        if name == "HEAD" and self.odb.resolve("HEAD") is None:
            return compare.DataSide("HEAD")
        found = self.resolve(name)
        if found.output is not None:
            output = found.output
            pointer = Pointer(output.digest, output.kind, output.size)
            label = found.label if "@" in name else name
            return compare.side_of_pointers(label, {found.name: pointer}, self.store)
        if found.commit is None:
            raise NameNotFound(f"{name} has no version")
        side = compare.side_of_commit(name, self.workspace, self.odb, found.commit)
        record = records.get(name)
        if record is None:
            return side
        made = {
            place: Pointer(stored.digest, stored.record.kind, stored.size)
            for place, stored in record.outputs.items()
        }
        artifacts = compare.side_of_pointers("", made, self.store)
        return compare.DataSide(record.label, {**side.contents, **artifacts.contents})

    def _tables(self, data: Sequence[DataChange], new: DataSide) -> dict[str, TableChange]:
        """The changes of the tables among changed files, where something can read them."""
        from gitml.workspace.tablediff import changed_tables

        return changed_tables(data, new, self.store)
