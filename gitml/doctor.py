"""``doctor``: what is wrong with this clone or machine, and the command that puts it right.

Each check is a function that yields what it finds. It reads, and changes nothing; a finding that
can be put right without a loss and without asking carries the function that does it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gitml import config as configuration
from gitml.errors import CorruptData, GitmlError
from gitml.frozen import Frozen, field
from gitml.fs import is_abandoned
from gitml.git import locks, refs
from gitml.git.process import Git
from gitml.history import clones, journal
from gitml.history.index import Index
from gitml.history.record import STAGES
from gitml.history.revs import Names, stage_changes
from gitml.history.strangers import strangers
from gitml.hooks import install
from gitml.store.store import Store
from gitml.workspace.ignores import Edits
from gitml.workspace.merging import install_drivers, lacks_drivers
from gitml.workspace.workingtree import WorkingTree, remove_abandoned

OLDEST_GIT = (2, 31)
"""The first git whose ``diff-tree`` compares with the first parent alone, which gc needs."""

LITTLE_SPACE = 1 << 30
_SKEW = 120.0
_STALE = 600.0
_FUTURE = 24 * 3600.0


class Finding(Frozen):
    """What a check found: ``state`` is "ok", "note", "warning" or "problem".

    ``says`` is a phrase, ``fix`` the command that helps, where there is one, and ``mended`` what
    was done about it, in the past tense.
    """

    check: str
    state: str
    says: str
    fix: str = ""
    mended: str = ""
    mend: Callable[[], str] | None = field(default=None, repr=False, compare=False)


class Patient(Frozen):
    """What is looked at: a clone with its parts, and the interpreter that its hooks should name."""

    git: Git
    index: Index
    names: Callable[[], Names]
    store: Store
    workspace: WorkingTree
    python: str


def examine(patient: Patient, *, fix: bool = False) -> list[Finding]:
    """All checks, each with at least one finding; with ``fix``, what is safe is put right."""
    found = [one for check in CHECKS for one in _guarded(check, patient)]
    return [_mended(one) if fix and one.mend is not None else one for one in found]


def _guarded(check: Callable[[Patient], Iterator[Finding]], patient: Patient) -> list[Finding]:
    """What a check finds; what it raises is a finding too, so that the others go on."""
    name = check.__name__.strip("_").replace("_", " ")
    try:
        found = list(check(patient))
    except (GitmlError, OSError) as error:
        hint = error.hint if isinstance(error, GitmlError) else None
        return [Finding(name, "problem", str(error).partition("\n")[0], hint or "")]
    return found or [Finding(name, "ok", "")]


def _mended(finding: Finding) -> Finding:
    assert finding.mend is not None  # noqa: S101 - the caller looked
    try:
        mended = finding.mend()
    except GitmlError as error:
        return Finding(
            finding.check, finding.state, f"{finding.says}: {error.message}", finding.fix
        )
    return Finding(finding.check, "ok", finding.says, finding.fix, mended)


# This machine


def _git_version(patient: Patient) -> Iterator[Finding]:
    words = patient.git.run("version").decode().strip()
    numbers = re.findall(r"\d+", words)[:2]
    if tuple(map(int, numbers)) < OLDEST_GIT:
        least = ".".join(map(str, OLDEST_GIT))
        yield Finding("git version", "problem", f"{words}; gitml needs git {least} or later")
    else:
        yield Finding("git version", "ok", words)


def _disk_space(patient: Patient) -> Iterator[Finding]:
    folder = _existing(patient.store.root)
    free = shutil.disk_usage(folder).free
    if free < LITTLE_SPACE:
        says = f"{free >> 20} MiB are free where the store is"
        yield Finding("disk space", "warning", says, "`gitml du`, then `gitml gc`")


def _clock(patient: Patient) -> Iterator[Finding]:
    """The time against that of the file system, and against the newest record."""
    folder = patient.store.layout.condemned
    if folder.is_dir() and os.access(folder, os.W_OK):
        os.utime(folder)
        skew = folder.stat().st_mtime - time.time()
        if abs(skew) > _SKEW:
            yield Finding("clock", "warning", f"the store's file system is {skew:+.0f} s off")
    newest = max((run.at for run in patient.index.runs(limit=1)), default=0.0)
    if newest > time.time() + _FUTURE:
        yield Finding("clock", "warning", "the newest run is from tomorrow or later", "`date`")


def _flushing(patient: Patient) -> Iterator[Finding]:
    """gitml flushes what it writes; what the user's own git writes is their business."""
    question = ["config", "--show-scope", "--get-all", "core.fsync"]
    answer = patient.git.process(*question).stdout.decode(errors="replace")
    lines = [line.partition("\t") for line in answer.splitlines()]
    setting = next((value for scope, _, value in lines if scope != "command"), None)
    if setting is None:
        says = "your own commits are not flushed to the disk before git says that they are made"
        yield Finding("flushing", "note", says, "`git config core.fsync committed`")
    elif setting == "none":
        yield Finding(
            "flushing", "warning", "core.fsync is none", "`git config core.fsync committed`"
        )


def _file_system(patient: Patient) -> Iterator[Finding]:
    folder = patient.git.directory
    if (folder / "HEAD").exists() and (folder / "hEAD").exists():
        says = "names that differ in case alone are one file here"
        yield Finding("file system", "note", says)


# This clone


def _settings(patient: Patient) -> Iterator[Finding]:
    if patient.git.root is None:
        yield Finding("settings", "note", "no work tree here: only records and bytes are looked at")
        return
    read = configuration.read(patient.git.root / configuration.FILE)
    if read.unknown:
        tables = ", ".join(f"[{one}]" for one in read.unknown)
        yield Finding("settings", "note", f"gitml.toml has tables of a later version: {tables}")


def _hooks(patient: Patient) -> Iterator[Finding]:
    if patient.git.root is None:
        return
    found = install.look(patient.git, patient.python)
    absent = [one.event for one in found.hooks if one.state == "absent"]
    outdated = [one.event for one in found.hooks if one.state == "outdated"]
    if outdated:

        def renew() -> str:
            install.install(patient.git, patient.python)
            return f"Renewed the hooks {', '.join(outdated)}"

        says = f"not as this gitml would write them: {', '.join(outdated)}"
        yield Finding("hooks", "warning", says, "`gitml hooks install`", mend=renew)
    elif absent:
        says = f"data does not follow a `git switch`, and nothing looks at commits: no {absent[0]}"
        yield Finding("hooks", "note", says, "`gitml hooks install`")


def _pointers(patient: Patient) -> Iterator[Finding]:
    """What git has to know of pointers: their attributes, our drivers, what to ignore."""
    git = patient.git
    tracked = patient.workspace.pointers() if git.root is not None else []
    if not tracked:
        return
    for one in tracked:
        if one.problem is not None:
            yield Finding("pointers", "problem", one.problem.message, one.problem.hint or "")
    if lacks_drivers(git):

        def install_them() -> str:
            install_drivers(git)
            return "Told git how to merge and show pointers"

        says = "git does not know how to merge pointers here"
        yield Finding("pointers", "warning", says, "`gitml doctor --fix`", mend=install_them)
    answer = git.run("check-attr", "-z", "merge", "--", tracked[0].file).split(b"\0")
    if answer[2:3] != [b"gitml"]:

        def attribute() -> str:
            edits = Edits(git)
            edits.attributes()
            edits.apply()
            return "Added the line for pointers to .gitattributes"

        says = ".gitattributes does not say that pointers are pointers"
        yield Finding("pointers", "warning", says, "`gitml doctor --fix`", mend=attribute)
    yield from _unignored(git, [one.path for one in tracked])


def _unignored(git: Git, paths: Sequence[str]) -> Iterator[Finding]:
    """Data with a pointer that git would take, or has taken, itself."""
    flags = ["-z", "--others", "--exclude-standard", "--directory", "--no-empty-directory"]
    listing = os.fsdecode(git.run("ls-files", *flags, "--", *paths))
    bare = sorted({one.rstrip("/") for one in listing.split("\0") if one} & set(paths))
    if bare:

        def ignore() -> str:
            edits = Edits(git)
            edits.ignore(bare)
            edits.apply()
            return f"Had git ignore {', '.join(bare)}"

        says = f"`git add` would take the data itself: {', '.join(bare)}"
        yield Finding("pointers", "warning", says, "`gitml doctor --fix`", mend=ignore)
    tracked = os.fsdecode(git.run("ls-files", "-z", "--", *paths)).split("\0")
    for path in sorted({one for one in tracked if one} & set(paths)):
        fix = f"`git rm --cached {shlex.quote(path)}`"
        yield Finding("pointers", "problem", f"git tracks {path} beside its pointer", fix)


def _index(patient: Patient) -> Iterator[Finding]:
    problems = patient.index.problems()
    if problems:
        says = f"{len(problems)} records cannot be read"
        yield Finding("index", "problem", says, "`gitml fsck`")


def _stages(patient: Patient) -> Iterator[Finding]:
    """The refs of stages follow from the tags of their events."""
    changes = stage_changes(patient.names(), strays=True)
    if changes:
        shown = ", ".join(one.name.removeprefix(f"{STAGES}/") for one in changes)

        def move() -> str:
            refs.update(patient.git, changes, "doctor")
            return f"Moved the refs of stages to their newest events: {shown}"

        says = f"refs of stages that are not the newest event: {shown}"
        yield Finding("stages", "warning", says, "`gitml doctor --fix`", mend=move)

    names = patient.names()
    listed = (*names.refs, *names.tracked)
    for one in strangers(listed, patient.index.tag):
        yield Finding("stages", "problem", f"{one.name}: {one.detail}", one.remedy)


def _leftovers(patient: Patient) -> Iterator[Finding]:
    """What dead processes left in the store, and runs that nobody has recorded yet."""
    left = list(patient.store.layout.abandoned())
    if left:

        def recover() -> str:
            patient.store.recover()
            return f"Recovered what {len(left)} unfinished files held"

        says = f"{len(left)} files of processes that are gone"
        yield Finding("leftovers", "note", says, "`gitml doctor --fix`", mend=recover)
    yield from _unfinished(patient)
    orphans = journal.orphans(journal.folder(patient.git.common))
    if orphans:
        says = f"{len(orphans)} runs whose process was killed are not recorded"
        yield Finding("leftovers", "warning", says, "`gitml log` records them")


def _unfinished(patient: Patient) -> Iterator[Finding]:
    """What dead processes were writing beside the user's files."""
    if patient.git.root is None:
        return
    left = []
    for path in patient.workspace.unfinished():
        with suppress(FileNotFoundError):
            if is_abandoned(path.name, path.lstat().st_mtime):
                left.append(path)
    if left:

        def remove() -> str:
            gone = sum(remove_abandoned(path) for path in left)
            return f"Removed {gone} unfinished files and folders"

        shown = left[0].relative_to(patient.git.root)
        says = f"{len(left)} unfinished files of processes that are gone, such as {shown}"
        yield Finding("leftovers", "note", says, "`gitml doctor --fix`", mend=remove)


def _locks(patient: Patient) -> Iterator[Finding]:
    """Locks of git that are older than any git takes; ours among them can be broken."""
    stale = _stale_locks(patient.git)
    if not stale:
        return

    def break_them() -> str:
        locks.break_abandoned(patient.git)
        left = _stale_locks(patient.git)
        if len(left) == len(stale):
            raise CorruptData("whose they are cannot be told")
        return f"Broke {len(stale) - len(left)} locks of processes that are gone"

    for path in stale:
        says = f"{path} has been there for more than ten minutes"
        fix = f"if no git is running: `rm {shlex.quote(str(path))}`"
        yield Finding("locks", "warning", says, fix, mend=break_them if path == stale[0] else None)


def _stale_locks(git: Git) -> list[Path]:
    places = {git.directory, git.common}
    found = {path for place in places for path in place.glob("*.lock")}
    found |= set((git.common / "refs").rglob("*.lock"))
    stale = []
    for path in sorted(found):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE:
                stale.append(path)
    return stale


# The store


def _store(patient: Patient) -> Iterator[Finding]:
    store = patient.store
    store.layout.check_format()
    if not store.root.is_dir():
        if patient.git.config("gitml.store"):
            says = f"the store {store.root} is not there: is its disk mounted?"
            yield Finding("store", "problem", says, f"`ls {shlex.quote(str(store.root.parent))}`")
        return
    for name in ("packs", "loose", "tmp"):
        folder = store.root / name
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            fix = f"`ls -ld {shlex.quote(str(folder))}`"
            yield Finding("store", "problem", f"{folder} cannot be written to by you", fix)
    loose = [path for path in _folders(store.root) if path.stat().st_mode & 0o1002 == 0o002]
    if loose:

        def close_them() -> str:
            for path in loose:
                path.chmod(path.stat().st_mode & ~0o002)
            return f"Closed {len(loose)} folders of the store to strangers"

        says = f"everybody on this machine may delete what is in {loose[0]}"
        fix = f"`chmod -R o-w {shlex.quote(str(store.root))}`"
        mend = close_them if loose[0].stat().st_uid == os.geteuid() else None
        yield Finding("store", "warning", says, fix, mend=mend)
    faults = [pack for pack in store.packs() if pack.tables and pack.index_fault]
    if faults:

        def index_again() -> str:
            store.recover()
            return f"Made {len(faults)} indexes of packs again"

        says = f"{len(faults)} packs have no good index: all is readable, and slow"
        yield Finding("store", "warning", says, "`gitml doctor --fix`", mend=index_again)


def _sharing(patient: Patient) -> Iterator[Finding]:
    """The clones that share the store: one that cannot be read stops every gc."""
    for one in clones.registered(patient.store.root):
        if clones.is_deleted(one):

            def forget(file: Path = one.file, path: Path = one.path) -> str:
                file.unlink(missing_ok=True)
                return f"Forgot the clone {path}, which was deleted"

            says = f"the clone {one.path} was deleted"
            yield Finding("sharing", "note", says, "`gitml doctor --fix`", mend=forget)
    clones.sharing(patient.store.root, patient.git)


def _folders(root: Path) -> list[Path]:
    return [root, *(path for path in sorted(root.iterdir()) if path.is_dir())]


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())


CHECKS = (
    _git_version,
    _file_system,
    _disk_space,
    _clock,
    _flushing,
    _settings,
    _hooks,
    _pointers,
    _index,
    _stages,
    _leftovers,
    _locks,
    _store,
    _sharing,
)
"""Every check, in the order in which people read what they find."""
