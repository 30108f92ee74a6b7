"""Where the files of a store are, and how a file gets its name there: durably, whole, at once.

<root>/format          ``gitml-store 1``
<root>/packs/          <digest of the index>.pack and .idx, immutable
<root>/loose/ab/cdef…  large files that do not compress, whole and raw
<root>/reflink         whether the file system makes clones: yes or no
<root>/condemned/      what nothing named when gc looked, as <seconds>+<name>: deleted in time
<root>/clones/         the clones that share the store, each a line of JSON
<root>/tmp/            what is being written, named by its process
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitml.entities.ids import Digest
from gitml.errors import CorruptData, StorageError
from gitml.fs import (
    ProcessIdentity,
    flush_to_disk,
    make_directories,
    storage_errors,
    sync_directory,
    write_fully,
)
from gitml.store.digest import hash_bytes

FORMAT = "gitml-store 1"
_FORMATS = re.compile(r"gitml-store [1-9][0-9]{0,8}\Z")

WRITER = ".writer"
"""The suffix of the file in ``tmp/`` that says since when a writer is at work."""

ABANDONED_AFTER = 7 * 24 * 3600
"""Seconds without a write after which a temporary file of an unknown process is nobody's."""

_FOLDERS = ("packs", "loose", "condemned", "tmp")
_OWN_NAMES = frozenset({"format", "clones", "reflink", *_FOLDERS})
_SHARED = stat.S_ISGID | stat.S_IWGRP
_HEX62 = re.compile(r"[0-9a-f]{62}\Z")
_CONDEMNED = re.compile(r"([0-9]{1,12})\+([0-9a-f]{64}(?:\.pack|\.idx)?)\Z")
_USED = ".used"
_BAD = ".bad"
_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class Condemned:
    """A file that gc took out of its place: where it is now, and since when (seconds).

    ``name`` is ``<digest>.pack``, ``<digest>.idx``, or the digest of a loose file.
    """

    path: Path
    since: int
    name: str


class Layout:
    """The folders below one root. Nothing is created before `prepare`."""

    def __init__(
        self,
        root: Path,
        introduce: Callable[[], None] | None = None,
        *,
        is_known: bool = False,
    ) -> None:
        """``introduce`` is called at the first write; a store that ``is_known`` must be there."""
        self.root = root
        self._introduce = introduce
        self._is_known = is_known
        self.packs = root / "packs"
        self.condemned = root / "condemned"
        self._is_prepared = False

    def prepare(self) -> None:
        """Create what is missing, the format file last; raises StorageError.

        A folder that holds other things is refused: a store must not spill into someone's data.
        """
        if self._is_prepared:
            return
        present = {path.name for path in listed(self.root)}
        strangers = sorted(present - _OWN_NAMES)
        if strangers and "format" not in present:
            raise StorageError(
                f"{self.root} is no store: it holds `{strangers[0]}`",
                hint="choose an empty folder with `git config gitml.store <folder>`",
            )
        self.check_format()
        for name in _FOLDERS:
            self.make_folder(self.root / name)
        if "format" not in present:
            self.write_new(self.root / "format", f"{FORMAT}\n".encode())
        if self._introduce is not None:
            self._introduce()
        self._is_prepared = True

    def make_folder(self, path: Path) -> None:
        """Create a folder of the store, durably; in a shared one, for its group."""
        if path.is_dir():
            return
        make_directories(path)
        shared = self._shared_mode()
        if shared is not None:
            with storage_errors(path):
                path.chmod(shared)

    def share(self, path: Path) -> None:
        """Let those who share the store read a file that is about to get its name.

        The umask of the one who writes is meant for files of one's own, and so is the group of
        a file that is linked from there.
        """
        shared = self._shared_mode()
        if shared is not None:
            with storage_errors(path):
                group = self.root.stat().st_gid
                known = path.stat()
                if known.st_gid != group:
                    os.chown(path, -1, group)
                path.chmod(known.st_mode & 0o555 | shared & 0o444)

    def _shared_mode(self) -> int | None:
        """The mode of every folder, if the root is made for a group: setgid, and writable to it."""
        with storage_errors(self.root, "read"):
            mode = stat.S_IMODE(self.root.stat().st_mode)
        return mode if mode & _SHARED == _SHARED else None

    def is_there(self) -> bool:
        """Whether the folders of the store exist."""
        return (self.root / "tmp").is_dir()

    def check_format(self) -> None:
        """Refuse a store of a later version, with a feature we lack or garbled: StorageError."""
        path = self.root / "format"
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except (FileNotFoundError, NotADirectoryError) as error:
            if self._is_known:
                raise StorageError(
                    f"the store {self.root} is not there: nothing was read or written",
                    hint=f"`ls {shlex.quote(str(self.root))}` should show its files: is a disk not "
                    "mounted? If it is gone for good, choose another with "
                    "`git config gitml.store <folder>`",
                ) from error
            return
        except OSError as error:
            raise StorageError(f"cannot read {path}") from error
        if not _FORMATS.match(lines[0] if lines else ""):
            file, shown = shlex.quote(str(path)), f"`{lines[0][:80]}`" if lines else "nothing"
            raise StorageError(
                f"{path} is damaged: it says {shown} in place of `{FORMAT}`",
                hint=f"`rm -f {file}; echo '{FORMAT}' > {file}` mends it if no later gitml was at "
                "work there; `gitml fsck --full` says whether the rest is whole",
            )
        needs = [line for line in lines[1:] if line.startswith("requires ")]
        if lines[:1] != [FORMAT] or needs:
            shown = (needs or lines or ["empty"])[0][:80]
            raise StorageError(
                f"{self.root} is a store that this gitml cannot read: `{shown}`",
                hint="a later version wrote it: `pip install --upgrade gitml`",
            )

    def pack_files(self) -> list[str]:
        """The names in ``packs/``, sorted; as text, for this is asked at every miss."""
        with storage_errors(self.packs, "read"):
            try:
                return sorted(os.listdir(self.packs))  # noqa: PTH208
            except FileNotFoundError:
                return []

    def loose(self, digest: Digest) -> Path:
        """Where the loose file of a digest is, or would be."""
        # One string instead of three joins: every look-up of what is not in a pack comes here.
        return Path(f"{self.root}/loose/{digest.hex[:2]}/{digest.hex[2:]}")

    def remembered(self, name: str, find_out: Callable[[], bool]) -> bool:
        """A fact about the place of the store that is found out once, if it can be written."""
        path = self.root / name
        with suppress(OSError):
            return path.read_text("ascii") == "yes\n"
        with suppress(StorageError):
            is_so = find_out()
            self.write_new(path, b"yes\n" if is_so else b"no\n")
            return is_so
        return False

    def loose_files(self) -> Iterator[tuple[Digest, Path]]:
        """Every loose file with the digest that its name claims."""
        for folder in listed(self.root / "loose"):
            for path in listed(folder):
                if re.match(r"[0-9a-f]{2}\Z", folder.name) and _HEX62.match(path.name):
                    yield Digest(folder.name + path.name), path

    def temporary(self, suffix: str) -> Path:
        """A new name in ``tmp/`` that says which process owns it."""
        owner = ProcessIdentity.current().to_text()
        return self.root / "tmp" / f"{owner}+{os.urandom(4).hex()}{suffix}"

    def abandoned(self) -> Iterator[Path]:
        """The files in ``tmp/`` that nobody will finish.

        Their process is dead for certain, or cannot be judged and did not write for a week.
        """
        here = ProcessIdentity.current()
        for path in listed(self.root / "tmp"):
            with storage_errors(path, "read"), suppress(FileNotFoundError):
                is_silent = time.time() - path.stat().st_mtime > ABANDONED_AFTER
                try:
                    owner = ProcessIdentity.parse("+".join(path.name.split("+")[:4]))
                except CorruptData:
                    is_abandoned = is_silent
                else:  # a process of this boot may be as slow as it likes
                    can_judge = (owner.host, owner.boot) == (here.host, here.boot)
                    is_abandoned = not owner.is_alive() if can_judge else is_silent
                if is_abandoned:
                    yield path

    def discard_of(self, pid: int) -> None:
        """Remove the temporary files of a process of this machine that is gone and was ours."""
        ours = ProcessIdentity.current()
        for path in listed(self.root / "tmp"):
            with suppress(CorruptData):
                owner = ProcessIdentity.parse("+".join(path.name.split("+")[:4]))
                if (owner.pid, owner.host, owner.boot) == (pid, ours.host, ours.boot):
                    discard(path)

    def write_temporary(self, suffix: str, fill: Callable[[int], None]) -> Path:
        """A new durable file in ``tmp/`` as ``fill`` fills it; nothing is left if that fails."""
        path = self.temporary(suffix)
        with storage_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o444)
        try:
            try:
                with storage_errors(path):
                    fill(descriptor)
                    flush_to_disk(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            discard(path)
            raise
        return path

    def write_new(self, path: Path, data: bytes) -> None:
        """Write a file of the store durably, by way of ``tmp/``; raises StorageError."""
        self._rename(self.write_temporary(".part", lambda file: write_fully(file, data)), path)

    def rename_temporary(self, path: Path, suffix: str) -> Path:
        """Another name in ``tmp/``: what a file is may be known only when it is there."""
        renamed = self.temporary(suffix)
        with storage_errors(renamed):
            path.rename(renamed)
        return renamed

    def publish_pack(self, temporary: Path, index: bytes) -> Path:
        """Give a durable pack its name, then its index: the digest of the index names both.

        A pack that is there already with these bytes stays the same file, since somebody may have
        noted on it that they rely on it.
        """
        pack = self.packs / f"{hash_bytes(index).hex}.pack"
        with storage_errors(pack):
            try:
                self.share(temporary)
                if not self._is_there(temporary, pack):
                    temporary.replace(pack)
            finally:
                discard(temporary)
        sync_directory(self.packs)
        self.write_new(pack.with_suffix(".idx"), index)
        return pack

    def _is_there(self, temporary: Path, pack: Path) -> bool:
        """Whether a pack has its name, by a second name of this file or as another, equal one."""
        from filecmp import cmp

        try:
            # Not Path.hardlink_to: it would say nothing of links that are followed.
            os.link(temporary, pack, follow_symlinks=False)
        except FileExistsError:
            with suppress(OSError):
                return cmp(temporary, pack, shallow=False) and self.freshen(pack)
            return False
        except OSError:  # the file system has no such links
            return False
        return True

    def index_again(self, pack: Path, index: bytes) -> Path:
        """Give a pack that stands without its index a new one; where the pack is now.

        The digest of the index names both, so a damaged pack changes its name. gc may take the
        pack out at any time, and then it has no index either.
        """
        named = self.packs / f"{hash_bytes(index).hex}.pack"
        with storage_errors(pack):
            if named != pack:
                pack.rename(named)
                sync_directory(self.packs)
                pack.with_suffix(".idx").unlink(missing_ok=True)
        self.write_new(named.with_suffix(".idx"), index)
        if not named.exists():
            discard(named.with_suffix(".idx"))
        return named

    def publish_loose(self, temporary: Path, digest: Digest) -> None:
        """Give a durable loose file its name."""
        self.publish_all_loose({digest: temporary})

    def publish_all_loose(self, files: Mapping[Digest, Path]) -> None:
        """Give durable loose files their names, flushing each folder once."""
        folders = {self.loose(digest).parent for digest in files}
        for folder in sorted(folders):
            self.make_folder(folder)
        for digest, temporary in files.items():
            self._replace(temporary, self.loose(digest))
        for folder in folders:
            sync_directory(folder)

    def freshen(self, path: Path) -> bool:
        """Note that a file is relied upon from now on; False if it is not in its place any more.

        gc looks at the time of a file after it has taken it out of its place. So either it sees
        that somebody relies on the file, and puts it back, or who relies on it sees it gone.
        The parts of a second of a loose file stay, as one that is linked is known by them: its
        time is up to a second ahead, so that it is another than before.
        """
        with storage_errors(path, "rely on"):
            try:
                known = path.stat()
                if known.st_nlink > 1:  # then the time is also that of somebody's own file
                    raise PermissionError
                used = time.time_ns()
                if path.parent != self.packs:
                    used += (known.st_mtime_ns - used) % _SECOND
                os.utime(path, ns=(known.st_atime_ns, used))
            except FileNotFoundError:
                return False
            except PermissionError:  # the times are another user's, or another file's as well
                self._note_use(Path(f"{path}{_USED}"))
                return path.exists()
        return True

    def freshen_folder(self, folder: Path) -> None:
        """Note that loose files of a folder are relied upon, whichever: one note for thousands.

        It counts for a collection that may have looked for live objects before whoever relies on
        them is done. For later ones it does not: it would keep garbage as long as anybody works.
        """
        note = Path(f"{folder}{_USED}")
        with storage_errors(note, "rely on"):
            self._note_use(note)

    def _note_use(self, note: Path) -> None:
        """Give a note the time now: any user of a shared store, whoever made it.

        Where the folders are sticky, one user cannot replace the note of another.
        """
        try:
            os.utime(note)
            return
        except FileNotFoundError:
            pass
        except PermissionError:
            note.unlink(missing_ok=True)
        note.touch()
        shared = self._shared_mode()
        if shared is not None:
            note.chmod(shared & 0o666)

    def folder_used_at(self, folder: Path) -> float:
        """When `freshen_folder` was called last, in seconds; 0 if never."""
        with suppress(OSError):
            return Path(f"{folder}{_USED}").stat().st_mtime
        return 0.0

    def used_at(self, path: Path) -> float:
        """When a file was last written or relied upon, in seconds; raises FileNotFoundError."""
        at = path.stat().st_mtime
        with suppress(OSError):
            at = max(at, Path(f"{path}{_USED}").stat().st_mtime)
        return at

    def condemn(self, path: Path, since: int) -> Path:
        """Take a pack or loose file out of its place; where it is now. Not durable by itself.

        A pack's index goes first, so that no index is ever without its pack.
        """
        name = path.name if path.parent == self.packs else f"{path.parent.name}{path.name}"
        target = self.condemned / f"{since}+{name}"
        with storage_errors(target):
            if path.suffix == ".pack":
                with suppress(FileNotFoundError):
                    path.with_suffix(".idx").rename(target.with_suffix(".idx"))
            path.rename(target)
        return target

    def place_of(self, name: str) -> Path:
        """Where a condemned file of this name stood."""
        return self.packs / name if "." in name else self.loose(Digest(name))

    def bring_back(self, condemned: Path) -> None:
        """Put a condemned pack or loose file back in its place, a pack before its index.

        It may be gone: another process brings back what it relies on.
        """
        name = condemned.name.partition("+")[2]
        place = self.place_of(name)
        with storage_errors(place), suppress(FileNotFoundError):
            self.make_folder(place.parent)
            condemned.rename(place)
            if place.suffix == ".pack":
                condemned.with_suffix(".idx").rename(place.with_suffix(".idx"))
        sync_directory(place.parent)

    def returned(self, files: Iterable[Path]) -> list[Path]:
        """The files in their places: those that are condemned are brought back."""
        places = []
        for path in files:
            if path.parent == self.condemned:
                self.bring_back(path)
                path = self.place_of(path.name.partition("+")[2])
            places.append(path)
        return places

    def condemned_files(self) -> list[Condemned]:
        """Every condemned file, indexes too, the newest first."""
        with storage_errors(self.condemned, "read"):
            try:
                names = os.listdir(self.condemned)  # noqa: PTH208 - asked at every miss
            except FileNotFoundError:
                return []
        matches = (_CONDEMNED.match(name) for name in names)
        found = [Condemned(self.condemned / m[0], int(m[1]), m[2]) for m in matches if m]
        return sorted(found, key=lambda one: (-one.since, one.name))

    def set_aside(self, path: Path) -> None:
        """Put a damaged file where no reader looks; gc deletes it in time.

        It may be condemned already.
        """
        name = path.name if path.parent == self.packs else f"{path.parent.name}{path.name}"
        target = self.condemned / f"{int(time.time())}+{name}{_BAD}"
        if path.parent == self.condemned:
            target = path.with_name(f"{path.name}{_BAD}")
        with storage_errors(path):
            make_directories(self.condemned)
            if path.suffix == ".pack":
                path.with_suffix(".idx").unlink(missing_ok=True)
            path.rename(target)
        sync_directory(self.condemned)
        sync_directory(path.parent)

    def set_aside_files(self) -> list[tuple[Path, int]]:
        """The files that were set aside, each with the time at which it was (seconds)."""
        found = [path for path in listed(self.condemned) if path.suffix == _BAD]
        times = [(path, path.name.partition("+")[0]) for path in found]
        return [(path, int(since)) for path, since in times if since.isdecimal()]

    def is_ours(self, path: Path) -> bool:
        """Whether this user may finish a temporary file; in a shared store some are of others."""
        with suppress(FileNotFoundError):
            return os.geteuid() in (0, path.stat().st_uid)
        return False

    def writers(self) -> list[float]:
        """When each writer began that may still be at work, in seconds."""
        gone = set(self.abandoned())
        began = []
        for path in listed(self.root / "tmp"):
            if path.suffix == WRITER and path not in gone:
                with suppress(FileNotFoundError):
                    began.append(path.stat().st_mtime)
        return began

    def _rename(self, temporary: Path, path: Path) -> None:
        """Put a finished file in its place, durably; nothing is left if that fails."""
        self._replace(temporary, path)
        sync_directory(path.parent)

    def _replace(self, temporary: Path, path: Path) -> None:
        """Put a finished file in its place; nothing is left if that fails."""
        with storage_errors(path):
            try:
                self.share(temporary)
                temporary.replace(path)
            except BaseException:
                discard(temporary)
                raise


def listed(folder: Path) -> list[Path]:
    """What a folder of the store holds, sorted; nothing if it does not exist."""
    with storage_errors(folder, "read"):
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def discard(path: Path) -> None:
    """Remove a temporary file as far as that is possible."""
    with suppress(OSError):
        path.unlink()
