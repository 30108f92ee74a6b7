"""The code commit of a run: HEAD, or a deterministic snapshot of a dirty working tree.

A snapshot is made through a copy of the index, so that the user's index, branch and stash stay as
they are, byte for byte. It takes changes of tracked files, staged files, and those untracked files
that the run's import closure needs; it never sweeps up what else lies around, since snapshots get
pushed. The same dirty tree gives the same snapshot: identity and dates are those of HEAD.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, MissingBytes, UsageError
from gitml.frozen import Frozen
from gitml.fs import storage_errors, sync_directory
from gitml.git.odb import Odb, TreeEntry, parse_tree
from gitml.git.process import Git, GitFailed

RECORD_FOLDER = b".gitml"
SNAPSHOT_MESSAGE = "Snapshot of a working tree\n\nGitml-Kind: snapshot\n"
NOBODY = "gitml <gitml@localhost>"
_HFS_IGNORED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)


class CodeState(Frozen):
    """The code that a run runs.

    ``commit`` and ``tree`` are its commit and root tree, ``snapshot`` whether the commit was made
    of a dirty tree, ``left_out`` the untracked files that the snapshot does not hold.
    """

    commit: ObjectId
    tree: ObjectId
    snapshot: bool
    left_out: tuple[str, ...] = ()


class WorkTree(Frozen):
    """What is checked out, and what differs from it.

    ``branch`` is None where HEAD is detached, ``head`` before the first commit; then changed
    tracked paths, untracked paths, and what blocks a run.
    """

    branch: str | None
    head: ObjectId | None
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    unmerged: tuple[str, ...]
    dirty_submodules: tuple[str, ...]


_STATUS = (
    *("status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind"),
    *("--untracked-files=all", "--ignore-submodules=none", "--no-renames"),
)


def look(git: Git) -> WorkTree:
    """The state of the working tree, as git's own status sees it.

    ``.gitml/`` never counts, nor does untracked bytecode, which Python leaves behind everywhere.
    """
    return _seen(git, git.run(*_STATUS))


@contextlib.contextmanager
def looking(git: Git) -> Iterator[Callable[[], WorkTree]]:
    """Have git look at the working tree while other things are done.

    What it gives waits for the state as it was when the block began, once; as `look`.
    """
    process = git.start(*_STATUS, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait() -> WorkTree:
        listing, complaint = process.communicate()
        if process.returncode:
            raise GitFailed(_STATUS, process.returncode, complaint.decode(errors="replace"))
        return _seen(git, listing)

    try:
        yield wait
    finally:
        if process.returncode is None:
            process.kill()
            process.communicate()


def _seen(git: Git, listing: bytes) -> WorkTree:
    """The state of the working tree that a listing of git's says."""
    header: dict[str, str] = {}
    changed, untracked, unmerged, submodules = [], [], [], []
    for line in os.fsdecode(listing).split("\0"):
        kind, _, rest = line.partition(" ")
        if kind == "#":
            name, _, header[name] = rest.partition(" ")
        elif kind == "?":
            untracked.append(rest)
        elif kind == "1":
            _, submodule, *_, path = rest.split(" ", 7)
            if submodule[0] == "S" and (submodule[2] == "M" or submodule[3] == "U"):
                submodules.append(path)
            else:
                changed.append(path)
        elif kind == "u":
            unmerged.append(rest.split(" ", 9)[-1])
    oid, branch = header["branch.oid"], header["branch.head"]
    return WorkTree(
        # A branch may be called "(detached)", so then somebody has to be asked who knows.
        git.branch() if branch == "(detached)" else branch,
        ObjectId(oid) if oid != "(initial)" else None,
        _outside_records(changed),
        _outside_records(path for path in untracked if "__pycache__/" not in path),
        tuple(unmerged),
        tuple(submodules),
    )


def _outside_records(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if not path.startswith(".gitml/"))


def record_code(odb: Odb, head: ObjectId) -> ObjectId:
    """The code commit behind ``head``: itself, or the one that it names when it is a record."""
    for key, value in odb.commit(head).trailers():
        if key == "Gitml-Code" and odb.read(f"{head}:.gitml") is not None:
            return ObjectId.parse(value)
    return head


def code_state(
    git: Git,
    odb: Odb,
    *,
    closure: Set[str] = frozenset(),
    pointers: Mapping[str, bytes] | None = None,
    seen: Callable[[], WorkTree] | None = None,
) -> CodeState:
    """The code commit of a run that starts now; a snapshot where the working tree is dirty.

    ``closure`` are the repository paths that the run imports: untracked ones among them enter the
    snapshot, ignored ones are left out and named. ``pointers`` are those of the data that the run
    reads, by the path of the data: each stands in the snapshot beside data that git does not
    track, unless it is tracked already. ``seen`` gives the state where it was looked at before.
    Raises UsageError for merge conflicts, dirty submodules
    and a root entry that reads as ``.gitml``.
    """
    git.work_tree()
    state = seen() if seen is not None else look(git)
    _refuse(state)
    code = None
    if state.head is not None:
        code = record_code(odb, state.head)
        if code not in odb:
            raise MissingBytes(
                f"the checked-out record names the code commit {code.short}, which is cut off here",
                hint="`git fetch --unshallow` brings it; `gitml run --no-record` does without",
            )
    wanted = closure & set(state.untracked)
    unknown = closure - {*state.untracked, *_committed(odb, state, closure)}
    left_out = tuple(sorted({*state.untracked, *_ignored(git, unknown)} - wanted))
    if code is not None and not state.changed and not wanted:
        tree = odb.commit(code).tree
        check_root(odb, tree)
        return CodeState(code, tree, False, left_out)
    return _snapshot(git, odb, code, wanted, pointers or {}, left_out)


def check_root(odb: Odb, tree: ObjectId) -> list[TreeEntry]:
    """The root entries of a code tree, without a record's folder.

    Raises UsageError where an entry is not ``.gitml`` but some file systems take it for that.
    """
    entries = []
    for entry in odb.tree(tree):
        if entry.name == RECORD_FOLDER and _is_record_folder(odb, entry):
            continue
        if _folds_to_record_folder(entry.name):
            import shlex

            name = entry.name.decode("utf-8", "replace")
            raise UsageError(
                f"the entry {name!r} at the repository's root is in the place of gitml's records",
                hint=f"`git mv {shlex.quote(name)} gitml-data` gives it another name",
            )
        entries.append(entry)
    return entries


def _is_record_folder(odb: Odb, entry: TreeEntry) -> bool:
    if entry.mode != 0o040000:
        return False
    names = {one.name for one in odb.tree(entry.id)}
    return b".gitattributes" in names and any(name.endswith(b".json") for name in names)


def _folds_to_record_folder(name: bytes) -> bool:
    """Whether some file system takes a root entry for ``.gitml`` (or for something in it)."""
    text = name.decode("utf-8", "replace").translate(_HFS_IGNORED).casefold()
    text = text.partition("\\")[0].partition(":")[0].rstrip(". ")
    return text == ".gitml" or re.match(r"gitml~[1-9]\Z", text) is not None


def _committed(odb: Odb, state: WorkTree, paths: Iterable[str]) -> set[str]:
    """Those of the paths that HEAD has and that are not changed: git tracks them.

    It spares the question whether git ignores them, and nearly all files of a closure are such.
    """
    if state.head is None:
        return set()
    folders: dict[str, set[bytes]] = {}
    found = set()
    for path in set(paths) - set(state.changed):
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            read = odb.read(f"{state.head}:{folder}")
            entries = parse_tree(read[2]) if read is not None and read[1] == "tree" else []
            folders[folder] = {one.name for one in entries}
        if os.fsencode(name) in folders[folder]:
            found.add(path)
    return found


def _ignored(git: Git, closure: Set[str]) -> set[str]:
    """The files of the closure that git is told to ignore: they ran, and no commit holds them."""
    if not closure:
        return set()
    # check-ignore refuses to be told that paths are literal; behind `./` nothing in them is magic.
    names = _joined(f"./{path}" for path in closure)
    env = {"GIT_LITERAL_PATHSPECS": "0"}
    # 128: a path leads through a symbolic link, and git cannot hold it either.
    listing = git.run("check-ignore", "-z", "--stdin", stdin=names, env=env, accept=(0, 1, 128))
    return {one.removeprefix("./") for one in os.fsdecode(listing).split("\0")} - {""}


def _joined(paths: Iterable[str]) -> bytes:
    return "\0".join(sorted(paths)).encode("utf-8", "surrogateescape")


def _refuse(state: WorkTree) -> None:
    if state.unmerged:
        raise UsageError(
            f"{state.unmerged[0]} has merge conflicts", hint="resolve them, then `git add` the file"
        )
    if state.dirty_submodules:
        path = state.dirty_submodules[0]
        raise UsageError(
            f"the submodule {path} has changes of its own, which no snapshot can hold",
            hint=f"`git -C {path} stash` or commit them there",
        )


def _snapshot(
    git: Git,
    odb: Odb,
    parent: ObjectId | None,
    wanted: Set[str],
    pointers: Mapping[str, bytes],
    left_out: tuple[str, ...],
) -> CodeState:
    with durable_objects(git):
        try:
            tree = _written_tree(git, wanted, pointers)
            entries = check_root(odb, tree)
            if len(entries) != len(odb.tree(tree)):
                tree = _made_tree(git, entries)
            if parent is not None and odb.commit(parent).tree == tree:
                return CodeState(parent, tree, False, left_out)
            data = _commit_bytes(odb, tree, parent)
            commit = _id_in(git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=data))
        except GitFailed as error:
            raise GitmlError(
                "the working tree cannot be made into a snapshot",
                hint="`git stash` or `git commit` gives a clean one",
            ) from error
    return CodeState(commit, tree, True, left_out)


def _written_tree(git: Git, wanted: Set[str], pointers: Mapping[str, bytes]) -> ObjectId:
    """The tree of the working tree's code, made through a copy of the index."""
    # Hooks of the user have no part in this, and a split index would write beside theirs.
    quiet = ["-c", "core.hooksPath=/dev/null", "-c", "core.splitIndex=false"]
    with _copied_index(git) as index:
        env = {"GIT_INDEX_FILE": str(index)}
        git.run(*quiet, "add", "--update", env=env)
        if wanted:
            names = ["--pathspec-from-file=-", "--pathspec-file-nul"]
            git.run(*quiet, "add", *names, stdin=_joined(wanted), env=env)
        for path, data in sorted(pointers.items()):
            beside = f"{path}.gitml"
            if git.run("ls-files", "-z", "--", path, beside, env=env):
                continue
            blob = _id_in(git.run("hash-object", "-w", "--stdin", stdin=data))
            entry = ["--cacheinfo", f"100644,{blob},{beside}"]
            git.run(*quiet, "update-index", "--add", *entry, env=env)
        return _id_in(git.run(*quiet, "write-tree", env=env))


def _made_tree(git: Git, entries: Iterable[TreeEntry]) -> ObjectId:
    kinds = {0o040000: b"tree", 0o160000: b"commit"}
    lines = [
        b"%06o %b %b\t%b\0"
        % (one.mode, kinds.get(one.mode, b"blob"), one.id.hex.encode(), one.name)
        for one in entries
    ]
    return _id_in(git.run("mktree", "-z", "--missing", stdin=b"".join(lines)))


def _id_in(answer: bytes) -> ObjectId:
    return ObjectId.parse(answer.decode().strip())


@contextlib.contextmanager
def durable_objects(git: Git) -> Iterator[None]:
    """Flush the folders in which git put loose objects: it flushes the files, not their names."""
    objects = git.common / "objects"
    before = _times(objects)
    yield
    touched = [path for path, at in _times(objects).items() if before.get(path) != at]
    for path in touched:
        sync_directory(path)
    if touched:
        sync_directory(objects)


def _times(objects: Path) -> dict[Path, int]:
    with os.scandir(objects) as found:
        return {Path(e.path): e.stat().st_mtime_ns for e in found if len(e.name) == 2}


def _commit_bytes(odb: Odb, tree: ObjectId, parent: ObjectId | None) -> bytes:
    lines = [f"tree {tree}"]
    if parent is None:
        lines += [f"author {NOBODY} 0 +0000", f"committer {NOBODY} 0 +0000"]
    else:
        origin = odb.commit(parent)
        lines += [f"parent {parent}", f"author {origin.author}", f"committer {origin.committer}"]
    return "\n".join([*lines, "", SNAPSHOT_MESSAGE]).encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _copied_index(git: Git) -> Iterator[Path]:
    """A private copy of the index, with its times, so that git trusts the stat data in it.

    It lies in the system's folder for temporary files: what a kill leaves is not in the repository.
    """
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gitml-index-") as folder:
        copy = Path(folder) / "index"
        original = git.directory / "index"
        if original.exists():
            with storage_errors(copy):
                shutil.copy2(original, copy)
        yield copy
