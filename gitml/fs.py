"""The file system as promises need it: durable writes, judged paths, processes that still live.

The write recipe is one for all of gitml: a temporary file in the same folder, created
exclusively, written to the last byte, fsynced, renamed, and then the folder fsynced. A name
that can be seen therefore always has all of its bytes behind it, after a kill as after a power
cut. Streams that do not fit ``write_durably`` are built from its parts (`write_fully`,
`flush_to_disk`, `sync_directory`).
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from operator import ge
from pathlib import Path

from gitml.errors import CorruptData, StorageError
from gitml.frozen import Frozen

_TEMPORARY, _TEMPORARY_END = ".gitml-", ".tmp"

MAX_PATH_BYTES = 4096
MAX_COMPONENT_BYTES = 255

# Code points that HFS+ ignores when it compares names: `.g<U+200C>it` opens `.git` there.
_IGNORED_BY_HFS = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
_PLAIN_PATH = rb"[\w-]+(?:\.[\w-]+)*(?:/[\w-]+(?:\.[\w-]+)*)*\Z"
_PLAIN_BYTES = b"\0abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"
_ODD_PLACES = (b"\0\0", b"//", b"..", b"/.", b"./", b"\0.", b".\0", b"\0/", b"/\0")


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the file ``path`` by ``data``, wholly or not at all, and durably.

    When this returns, a power cut cannot lose the bytes; when it raises StorageError, ``path`` is
    as it was and no temporary file is left. The folder must exist. After a failed fsync the
    kernel may have dropped the dirty pages, so the temporary file is thrown away, never retried.
    ``mode`` is subject to the umask.
    """
    with storage_errors(path):
        temporary = path.with_name(temporary_name())
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            try:
                write_fully(descriptor, data)
                flush_to_disk(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(path.parent)


def temporary_name() -> str:
    """A new name for what is written beside its target, which says whose it is."""
    owner = ProcessIdentity.current().to_text()
    return f"{_TEMPORARY}{owner}+{os.urandom(8).hex()}{_TEMPORARY_END}"


def is_temporary(path: str) -> bool:
    """Whether a relative path is that of something unfinished beside its target, or is in such."""
    return _TEMPORARY in path and any(
        one.startswith(_TEMPORARY) and one.endswith(_TEMPORARY_END) for one in path.split("/")
    )


def is_abandoned(name: str, modified: float) -> bool:
    """Whether a temporary name is of a process that is dead for certain.

    ``modified`` is the time of its file in seconds: what another boot of this host has left must
    be older than this boot, for another machine may have the same name.
    """
    if not is_temporary(name):
        return False
    owner = name.removeprefix(_TEMPORARY).removesuffix(_TEMPORARY_END).rpartition("+")[0]
    with suppress(CorruptData):
        process = ProcessIdentity.parse(owner)
        if process.is_of_another_boot():
            return modified < boot_time()
        return not process.is_alive()
    return False


def write_in_place(path: Path, data: bytes) -> None:
    """Write a short file where it is and flush it, with nothing beside it that a kill could leave.

    For notes of which half is as good as none: who reads one has to bear with that. Raises
    StorageError.
    """
    with storage_errors(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        try:
            write_fully(descriptor, data)
            flush_to_disk(descriptor)
        finally:
            os.close(descriptor)


def write_fully(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of ``data`` at the descriptor's position; one ``write`` may take only a part.

    Raises OSError as ``write`` does: wrap it in `storage_errors`, which knows the path.
    """
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(descriptor, view[done:])


def flush_to_disk(descriptor: int) -> None:
    """Wait until the file's bytes are on the medium, as far as the system can say.

    On macOS ``fsync`` stops at the drive's cache; ``F_FULLFSYNC`` goes through it where the file
    system knows it.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):
            fcntl.fcntl(descriptor, full)
            return
    os.fsync(descriptor)


_FICLONE = 0x40049409
_NO_CLONE = (
    *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL),
    *(errno.ENOSYS, errno.ETXTBSY, errno.EISDIR),
)


def clone(source: int, target: int) -> bool:
    """Whether the empty file ``target`` now shares all blocks of ``source``; raises OSError.

    Both are descriptors. False where the file system, or the two of them, cannot.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def sync_directory(path: Path) -> None:
    """Make the names in the folder ``path`` durable: what was created, renamed or removed there.

    Some network and user-space file systems cannot fsync a folder and say so (EINVAL,
    ENOTSUP); there the rename is as durable as it gets. Raises StorageError for other failures.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def make_directories(path: Path) -> None:
    """Create the folder ``path`` and its missing parents, durably; an existing one is fine."""
    missing = []
    folder = path
    with storage_errors(path):
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            one.mkdir(exist_ok=True)
            sync_directory(one.parent)


@contextmanager
def storage_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an OSError of the block into StorageError: ``cannot <doing> <path>``.

    The OSError stays as the cause, and a hint says what helps where the errno tells. Where that is
    about a temporary name, nobody has heard of it: the folder is named instead.
    """
    try:
        yield
    except OSError as error:
        named = (
            Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        )
        if named is not None and is_temporary(named.name):
            error.filename = os.fspath(named.parent)
        hint = _hint_for(error, path)
        raise StorageError(f"cannot {doing} {os.fspath(path)}", hint=hint) from error


def hint_in(words: str, path: Path) -> str:
    """What to do about the errno that another program names in its words, writing ``path``."""
    known = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO, errno.EMFILE)
    for number in known:
        hint = _hint_for(OSError(number, ""), path) if os.strerror(number) in words else None
        if hint is not None:
            return hint
    return "`df .`"


def _hint_for(error: OSError, path: Path) -> str | None:
    """What to do about an errno, as a phrase with a command, or None."""
    import shlex

    folder = shlex.quote(os.fspath(path.parent))
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"free some space and run the same command again; `df -h {folder}` shows it"
        case errno.EFBIG:
            return "the size of a file is limited here; `ulimit -f` shows the limit"
        case errno.EROFS:
            return f"the file system is read-only; `df {folder}` shows which one it is"
        case errno.EACCES | errno.EPERM:
            return f"check who may write there with `ls -ld {folder}`"
        case errno.EIO:
            return "the disk may be failing; `dmesg | tail` shows what the system saw"
        case errno.EMFILE | errno.ENFILE:
            return "too many files are open; `ulimit -n` shows the limit"
    return None


def judge_relative_path(raw: bytes) -> str:
    """The path ``raw`` as text (surrogateescape), if it is safe to create below any folder.

    Raises CorruptData for an empty path or component, ``.``, ``..``, an absolute path, a drive, a
    UNC path, NUL, a component that some file system takes for ``.git`` (case, trailing dots and
    spaces, ``git~1``, ``:`` streams, code points that HFS+ ignores), or one that is too long.
    Backslashes separate components here as they do on Windows, so that a path is safe on every
    system or on none: the manifest travels.
    """
    if len(raw) <= MAX_COMPONENT_BYTES and re.match(_PLAIN_PATH, raw):
        # Nearly every path is plain, and a manifest may have a million of them.
        return raw.decode("ascii")
    if not raw or len(raw) > MAX_PATH_BYTES or b"\0" in raw:
        raise CorruptData(f"unsafe path: {os.fsdecode(raw[:120])!r}")
    text = raw.decode("utf-8", "surrogateescape")
    if re.match("[A-Za-z]:", text) or not all(map(_is_safe_component, re.split(r"[/\\]", text))):
        raise CorruptData(f"unsafe path: {os.fsdecode(raw[:120])!r}")
    return text


def are_plain_paths(raws: Sequence[bytes]) -> bool:
    """Whether a whole manifest is short plain ASCII, in order, and safe for that.

    Then `judge_relative_paths` would accept it. It takes six times as long, and has the last word
    wherever the answer here is False.
    """
    joined = b"\0".join([b"", *raws, b""])
    if joined.translate(None, _PLAIN_BYTES) or any(odd in joined for odd in _ODD_PLACES):
        return False
    if joined.count(b"\0") != len(raws) + 1 or max(map(len, raws), default=0) > MAX_COMPONENT_BYTES:
        return False
    if any(map(ge, raws, islice(raws, 1, None))):
        return False
    folders = _folders_of(raws)
    folded = joined.lower()
    if folded != joined:
        raws = folded.split(b"\0")[1:-1]
        if len(set(raws)) != len(raws) or len(_folders_of(raws)) != len(folders):
            return False
        folders = _folders_of(raws)
    return folders.isdisjoint(raws)


def _folders_of(raws: Iterable[bytes]) -> set[bytes]:
    """Every folder that these paths need."""
    folders = {raw.rpartition(b"/")[0] for raw in raws}
    for folder in list(folders):
        above = folder.rpartition(b"/")[0]
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition(b"/")[0]
    return folders


def judge_relative_paths(raws: Iterable[bytes]) -> list[str]:
    """Every path of one manifest as text, in the order given, if the whole list is safe.

    Beyond `judge_relative_path` for each, no two paths, and no two folders among their parents,
    may be one name to a file system that folds case or normal forms (``A/x`` beside ``a``,
    NFC beside NFD), no path may stand twice, and no file may be the folder of another.
    Raises CorruptData that names the first offender.
    """
    names: dict[str, str] = {}
    folders: dict[str, str] = {}
    known_folders: set[str] = set()
    judged = []
    for raw in raws:
        text = judge_relative_path(raw)
        key = _fold(text)
        if key in names or key in folders:
            other = names.get(key) or folders[key]
            raise CorruptData(f"two paths that can be one file: {other!r} and {text!r}")
        names[key] = text
        parent = text.rpartition("/")[0]
        while parent and parent not in known_folders:
            folder_key = _fold(parent)
            if folders.setdefault(folder_key, parent) != parent or folder_key in names:
                other = names.get(folder_key) or folders[folder_key]
                raise CorruptData(f"two paths that can be one folder: {other!r} and {parent!r}")
            known_folders.add(parent)
            parent = parent.rpartition("/")[0]
        judged.append(text)
    return judged


def _is_safe_component(component: str) -> bool:
    """Whether no system reads this component as a folder above, as none at all, or as .git."""
    if len(component.encode("utf-8", "surrogateescape")) > MAX_COMPONENT_BYTES:
        return False
    folded = _fold(component)
    without_stream = folded.partition(":")[0].rstrip(". ")
    return (
        folded.rstrip(". ") != ""
        and without_stream != ".git"
        and not re.match(r"git~[1-9]\Z", without_stream)
    )


def _fold(text: str) -> str:
    """The key under which the most forgiving file system would look ``text`` up."""
    text = text.replace("\\", "/")
    if text.isascii():
        return text.lower()
    import unicodedata

    seen = unicodedata.normalize("NFC", text.translate(_IGNORED_BY_HFS))
    return unicodedata.normalize("NFC", seen.casefold())


class ProcessIdentity(Frozen):
    """Which process owns a lock, a journal or a temporary file, told apart from its pid's heirs.

    ``start`` is when the process began, in the system's own ticks; ``boot`` names the boot of the
    machine and the pid namespace in it (two containers on one machine count pids apart). Where
    the system does not say, they are ``-``.
    """

    pid: int
    start: str
    host: str
    boot: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """The identity of this process; ask again after a fork."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a running process of this machine: of a child, say."""
        _, start = _state_and_start(pid)
        return cls(pid, start, _tame(os.uname().nodename), _boot())

    def is_alive(self) -> bool:
        """Whether the process may still be running; False only when its death is certain.

        A process of another host or another boot cannot be judged from here, so it counts as
        alive; who waits for it needs a rule about age as well.
        """
        if self.host != _tame(os.uname().nodename) or self.boot != _boot():
            return True
        state, start = _state_and_start(self.pid)
        if state == "?":
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return False
            except OSError:
                return True
            return True
        return state not in "ZX" and start == self.start

    def is_of_another_boot(self) -> bool:
        """Whether it ran on a host of this name, under another boot than the present one.

        Then it is dead, unless it is another machine that has the same name.
        """
        here = _boot().partition(".")[0]
        there = self.boot.partition(".")[0]
        is_this_host = self.host == _tame(os.uname().nodename)
        return is_this_host and "-" not in (here, there) and here != there

    def to_text(self) -> str:
        """The identity as one line that can stand in a file's name: ``pid+start+host+boot``."""
        return f"{self.pid}+{self.start}+{self.host}+{self.boot}"

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity:
        """The identity that `to_text` wrote; raises CorruptData for anything else."""
        fields = text.split("+")
        well_formed = len(fields) == 4 and all(field == _tame(field) for field in fields)
        if not well_formed or not fields[0].isascii() or not fields[0].isdecimal():
            raise CorruptData(f"not the identity of a process: {text[:120]!r}")
        return cls(int(fields[0]), fields[1], fields[2], fields[3])


def _state_and_start(pid: int) -> tuple[str, str]:
    """The state letter and start tick of a process; X where there is none, ``?`` if unknowable."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ("X", "-") if Path("/proc/self/stat").exists() else ("?", "-")
    except OSError:
        return "?", "-"
    # The second field is the program's name in parentheses and may hold anything, also ")".
    fields = line.rpartition(b")")[2].split()
    return fields[0].decode(), fields[19].decode()


def _boot() -> str:
    """The running boot and the pid namespace in it, or ``-`` where the system names neither."""
    return _boot_of(os.getpid())


@functools.cache
def _boot_of(process: int) -> str:
    """The same, read once by a process: a child may have been put into another namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        return "-"
    return _tame(f"{boot}.{namespace}")


def boot_time() -> float:
    """When this machine was started, in seconds since the epoch; 0 where the system says not."""
    try:
        lines = Path("/proc/stat").read_text("ascii").splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("btime ")))
    except (OSError, StopIteration):
        return 0.0


def _tame(text: str) -> str:
    """The text with everything replaced that could not stand in a file's name or our form."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:64] or "-"
