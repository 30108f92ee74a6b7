"""The lines in ``.gitignore`` that keep data out of git, and the one in ``.gitattributes``.

A line stands in the ``.gitignore`` beside the data, anchored, and only where no other line of the
project ignores the data already. The lines of gitml are sorted where they stand together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gitml.errors import UsageError
from gitml.fs import storage_errors, write_durably
from gitml.git.odb import blob_id
from gitml.git.process import Git
from gitml.git.staging import stage

ATTRIBUTES = b"*.gitml -text merge=gitml diff=gitml"
_NAMED_AT_ONCE = 500
_GLOB = re.compile(rb"[\\*?\[]")
_ATTRIBUTED = re.compile(rb"(?m)^[ \t]*\*\.gitml[ \t]")


def line_for(path: str) -> bytes:
    """The line that ignores exactly the file or folder of this path, in the file beside it."""
    name = os.fsencode(path.rpartition("/")[2])
    line = _GLOB.sub(rb"\\\g<0>", name)
    # No line can hold a line break, and git drops blanks and carriage returns at the end of one.
    line = line.replace(b"\n", b"?")
    if line.endswith(b"\r"):
        line = line[:-1] + b"?"
    stripped = line.rstrip(b" \t")
    blanks = line[len(stripped) :]
    return b"/" + stripped + b"".join(b"\\" + bytes([one]) for one in blanks)


def with_line(text: bytes, line: bytes) -> bytes:
    """The text of a ``.gitignore`` with a line, sorted into the lines of its kind at the end.

    Where it stands already it is enough, unless an exception behind it may undo it.
    """
    end = b"\r\n" if b"\r\n" in text else b"\n"
    lines = text.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n") if text else []
    exception = max((n for n, one in enumerate(lines) if one.startswith(b"!")), default=-1)
    if line in lines[exception + 1 :]:
        return text
    start = len(lines)
    while start and lines[start - 1].startswith(b"/"):
        start -= 1
    at = next((n for n in range(start, len(lines)) if lines[n] > line), len(lines))
    lines.insert(at, line)
    return end.join(lines) + end


def without_line(text: bytes, line: bytes) -> bytes:
    """The text of a ``.gitignore`` without a line, wherever it stands."""
    kept = [one for one in text.splitlines(keepends=True) if one.rstrip(b"\r\n") != line]
    return b"".join(kept)


@dataclass
class Edits:
    """Changes of ``.gitignore`` and ``.gitattributes``, collected and then made and staged at once.

    A file in which the user has changes of their own that are not staged keeps them unstaged: only
    our lines enter the index. One that git does not track yet enters as it is.
    """

    git: Git
    _lines: dict[str, list[tuple[bytes, bool]]] = field(default_factory=dict)

    def ignore(self, paths: Iterable[str]) -> None:
        """Have git ignore data, where it does not by a line that everybody has."""
        wanted = list(paths)
        ignored = _ignored_by_project(self.git, wanted)
        for path in wanted:
            if path not in ignored:
                self._lines.setdefault(_beside(path), []).append((line_for(path), True))

    def unignore(self, paths: Iterable[str]) -> None:
        """Take the lines of data out again."""
        for path in paths:
            self._lines.setdefault(_beside(path), []).append((line_for(path), False))

    def attributes(self) -> None:
        """Have git treat pointers as such: no change of line ends, our merge and diff."""
        self._lines.setdefault(".gitattributes", []).append((ATTRIBUTES, True))

    def apply(self, staged: Iterable[str] = (), removed: Iterable[str] = ()) -> None:
        """Write the files; stage them together with the ``staged`` and the ``removed``."""
        files, contents, gone = set(staged), dict[str, bytes](), set(removed)
        befores = {name: self._read(name) for name in self._lines}
        knowns = self._in_index(befores)
        for name, lines in self._lines.items():
            before, known = befores[name], knowns.get(name)
            after = _edited(name, before, lines)
            if after != before:
                self._write(name, after)
            entry = _edited(name, known or b"", lines)
            if known is None or entry == after:
                (files if after else gone).add(name)
            elif entry != known and entry:
                contents[name] = entry
            elif entry != known:
                gone.add(name)
        stage(self.git, files, contents=contents, removed=gone)

    def _write(self, name: str, text: bytes) -> None:
        path = self.git.work_tree() / name
        if text:
            write_durably(path, text, mode=0o666)
        else:
            with storage_errors(path):
                path.unlink()

    def _read(self, name: str) -> bytes:
        path = self.git.work_tree() / name
        if path.is_symlink():
            raise UsageError(
                f"{name} is a symbolic link, and git does not follow it",
                hint=f"`rm {name}`, then write a file in its place",
            )
        try:
            with storage_errors(path, "read"):
                return path.read_bytes()
        except Exception as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return b""
            raise

    def _in_index(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """What is staged of files that are as given now; without those that git does not track."""
        found: dict[str, bytes] = {}
        names = list(files)
        for start in range(0, len(names), _NAMED_AT_ONCE):
            some = names[start : start + _NAMED_AT_ONCE]
            listing = os.fsdecode(self.git.run("ls-files", "-z", "--stage", "--", *some))
            for line in listing.split("\0")[:-1]:
                about, _, name = line.partition("\t")
                if name in files and name not in found:
                    now = files[name]
                    is_same = about.split()[1:] == [blob_id(now).hex, "0"]
                    found[name] = now if is_same else self._staged(name)
        return found

    def _staged(self, name: str) -> bytes:
        """The bytes of a file in the index; none where a merge has left several."""
        return self.git.run("cat-file", "blob", f":0:{name}", accept=(0, 128))


def _beside(path: str) -> str:
    folder = path.rpartition("/")[0]
    return f"{folder}/.gitignore" if folder else ".gitignore"


def _edited(name: str, text: bytes, lines: Iterable[tuple[bytes, bool]]) -> bytes:
    for line, wanted in lines:
        if name == ".gitattributes":
            if not _ATTRIBUTED.search(text):
                gap = b"" if not text or text.endswith(b"\n") else b"\n"
                text += gap + line + b"\n"
        else:
            text = with_line(text, line) if wanted else without_line(text, line)
    return text


def _ignored_by_project(git: Git, paths: Iterable[str]) -> set[str]:
    """Those of the paths that another line of a ``.gitignore`` of the project ignores already."""
    # check-ignore refuses to be told that paths are literal; behind `./` nothing in them is magic.
    names = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)
    if not names:
        return set()
    flags = ["--stdin", "-z", "--verbose", "--no-index"]
    env = {"GIT_LITERAL_PATHSPECS": "0"}
    answer = git.run("check-ignore", *flags, stdin=names, env=env, accept=(0, 1, 128))
    fields = os.fsdecode(answer).split("\0")
    found = set()
    for at in range(0, len(fields) - 3, 4):
        source, _, pattern, path = fields[at : at + 4]
        name = path.removeprefix("./")
        shared = source.rpartition("/")[2] == ".gitignore" and not source.startswith(("/", ".git/"))
        ours = (source, pattern) == (_beside(name), os.fsdecode(line_for(name)))
        if shared and not ours and not pattern.startswith("!"):
            found.add(name)
    return found
