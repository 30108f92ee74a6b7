"""Golden transcripts: Markdown that is the manual and its own test.

``replay`` runs the fenced blocks of a text in order, in one fresh folder, with one bash that keeps
its folder and its variables, and returns the text as it should read. A transcript passes when that
is the text itself; ``GITML_TRANSCRIPTS=update`` writes it back instead. docs/testing.md says how
such files are written; in short:

    ```console               `$ ` starts a command, `> ` goes on with it, the rest is its output
    ```python file=a/b.py    writes the file, relative to where the shell is
    ```python                is run; it must end well
    <!-- not run: why -->    on the line above a block leaves it out
    <!-- needs: sklearn -->  anywhere: modules without which the file is skipped

What differs from run to run is matched by what it is, not by what it says: ids (the same id
everywhere, in long and short forms), times, dates, durations, rates. ``...`` alone on a line
stands for any lines, ``[..]`` for anything within one.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
import re
import secrets
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from gitml.testing.sealed import sealed_variables

# Read when the module is imported, before a test's environment is sealed.
UPDATE = os.environ.get("GITML_TRANSCRIPTS") == "update"

_FENCE = re.compile(r"(`{3,})\s*([^`]*?)\s*$")
_NOT_RUN = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->\s*$")
_NEEDS = re.compile(r"<!--\s*needs:\s*(.+?)\s*-->")

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_UNIT = r"(?:second|minute|hour|day|week|month|year)s?"
_NUMBER = r"(?<![\w.])\d+(?:\.\d+)?"
# What a clock or a busy machine decides. A token of one kind stands for any token of that kind.
_SOFT = {
    "timestamp": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?(?:Z\b|[+-]\d\d:?\d\d))?",
    "gitdate": r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d\d:\d\d:\d\d \d{4}(?: [+-]\d{4})?",
    "date": r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)",
    "day": rf"(?<!\d)\d{{1,2}} (?:{_MONTH})(?: \d{{4}})?\b",
    "yyyymm": r"(?<=/)20\d\d(?:0[1-9]|1[0-2])(?=/)",
    "ago": rf"(?:\b(?:\d+|an?) {_UNIT} ago\b|\bjust now\b|\byesterday\b)",
    "rate": rf"{_NUMBER} ?[kMG]?i?B/s",
    "duration": rf"(?:{_NUMBER} ?(?:µs|ms|s|min|h)\b|(?<![\w.])\d+m ?\d+s\b)",
}
_HEX = r"(?<![0-9A-Za-z])[0-9a-f]{7,64}(?![0-9A-Za-z])"
_ULID = r"(?<![0-9A-Za-z])[0-7][0-9A-HJKMNP-TV-Z]{25}(?![0-9A-Za-z])"
_ID = re.compile(rf"{_HEX}|{_ULID}")
_TOKEN = re.compile(
    "|".join(
        [
            r"(?P<any>\[\.\.\])",
            *(f"(?P<{k}>{v})" for k, v in _SOFT.items()),
            f"(?P<id>{_ID.pattern})",
        ]
    )
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, and its body as the lines ``[start, end)`` of the text."""

    language: str
    file: str | None
    not_run: str | None
    start: int
    end: int
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, in order; raises ValueError for one left open."""
    lines = text.splitlines()
    found = []
    position = 0
    while position < len(lines):
        opening = _FENCE.match(lines[position])
        position += 1
        if not opening:
            continue
        start = position
        while position < len(lines) and lines[position].rstrip() != opening[1]:
            position += 1
        if position == len(lines):
            raise ValueError(f"the block that opens on line {start} is never closed")
        language, _, rest = opening[2].partition(" ")
        file = next((w[5:] for w in shlex.split(rest) if w.startswith("file=")), None)
        above = next((line for line in reversed(lines[: start - 1]) if line.strip()), "")
        mark = _NOT_RUN.search(above)
        body = tuple(lines[start:position])
        found.append(Block(language, file, mark and mark[1], start, position, body))
        position += 1
    return found


def needs(text: str) -> list[str]:
    """The modules that a transcript declares to need."""
    return [name for found in _NEEDS.findall(text) for name in re.split(r"[,\s]+", found) if name]


@dataclass(frozen=True)
class _Command:
    """One command of a console block: the lines that give it and the lines it should print."""

    given: list[str]
    printed: list[str] = field(default_factory=list)

    @property
    def script(self) -> str:
        return "\n".join(line[2:] for line in self.given)


def _commands(block: Block) -> list[_Command]:
    found: list[_Command] = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append(_Command([line]))
        elif not found:
            raise ValueError(f"line {block.start + 1}: a console block begins with `$ `")
        elif line.startswith("> ") and not found[-1].printed:
            found[-1].given.append(line)
        else:
            found[-1].printed.append(line)
    return found


class Shell:
    """One bash whose folder and variables live on from command to command.

    Standard output and error are one pipe, so that lines come in the order of a terminal, and
    children's Python does not buffer. Use it as a context manager: what is left running at the
    end, in the background too, is killed.
    """

    def __init__(self, home: Path, seconds: float = 120) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._seconds = seconds
        self._marker = secrets.token_hex(12)
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=sealed_variables(home) | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, script: str) -> tuple[list[str], int]:
        """The lines that ``script`` prints, the home written as ``~``, and its exit status.

        Raises AssertionError when it ends the shell itself or takes longer than it may.
        """
        assert self._process.stdin is not None
        # The marker starts on a line of its own, also behind an output that ends in mid-line.
        order = f"eval {shlex.quote(script)} </dev/null\nprintf '\\n%s %d\\n' {self._marker} $?\n"
        self._process.stdin.write(order.encode())
        self._process.stdin.flush()
        output, status = self._read(script)
        text = output.decode("utf-8", "backslashreplace")
        for folder in (str(self._home.resolve()), str(self._home)):
            text = text.replace(folder, "~")
        lines = [line.rstrip() for line in text.split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        return [re.sub(r"^bash: (?:eval: )?line \d+: ", "bash: ", line) for line in lines], status

    def _read(self, script: str) -> tuple[bytes, int]:
        assert self._process.stdout is not None
        closing = re.compile(rf"\n{self._marker} (\d+)\n\Z".encode())
        output = b""
        deadline = time.monotonic() + self._seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not (end := closing.search(output)):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(
                        f"still running after {self._seconds:g} s: {script}\n"
                        + output.decode("utf-8", "replace")
                    )
                piece = os.read(self._process.stdout.fileno(), 65536)
                if not piece:
                    raise AssertionError(f"the shell ended in: {script}")
                output += piece
        return output[: end.start()], int(end[1])


class Ids:
    """Which real id stands for each id that is written in a transcript.

    One id has long and short forms: two tokens belong together when one begins with the other. The
    relation is one to one, so that two ids cannot pass as one, nor one as two. ``written`` are the
    ids of the text: tokens that look like one, and digits alone or letters alone that begin one.
    """

    def __init__(self, text: str) -> None:
        self._pairs: list[tuple[str, str]] = []
        self._taken = set(_ID.findall(text))
        whole = [token for token in self._taken if looks_like_id(token)]
        self.written = frozenset(
            token for token in self._taken if any(_related(token, one) for one in whole)
        )

    def learn(self, written: str, real: str) -> bool:
        """Whether ``written`` can stand for ``real``; if so it does from now on."""
        if not self.fits(written, real):
            return False
        for index, pair in enumerate(self._pairs):
            if _related(pair[0], written):
                if len(written) > len(pair[0]):
                    self._pairs[index] = (written, real)
                return True
        self._pairs.append((written, real))
        return True

    def fits(self, written: str, real: str) -> bool:
        """Whether nothing that is known speaks against ``written`` standing for ``real``."""
        return all(_related(w, written) == _related(r, real) for w, r in self._pairs)

    def to_real(self, text: str) -> str:
        """The text with every id that is known replaced by the real one."""
        return _ID.sub(lambda found: self._other(found[0], 0) or found[0], text)

    def to_written(self, text: str, also: Iterable[str] = ()) -> str:
        """The text with real ids replaced by written ones, new ones made where there are none.

        Digits alone are an id only where they begin one: one that is known, or one of ``also``.
        """

        def replace(found: re.Match[str]) -> str:
            real = found[0]
            known = self._other(real, 1)
            if known is None:
                if not looks_like_id(real) and not any(_related(real, one) for one in also):
                    return real
                known = self._invent(real)
            self.learn(known, real)
            return known

        return _ID.sub(replace, text)

    def _other(self, token: str, side: int) -> str | None:
        """The counterpart of ``token``, which is on ``side`` 0 (written) or 1 (real) of a pair."""
        for pair in self._pairs:
            if _related(pair[side], token):
                other = pair[1 - side]
                if side == 1 and len(token) > len(other):
                    other += hashlib.sha256(other.encode()).hexdigest()
                return other[: len(token)]
        return None

    def _invent(self, real: str) -> str:
        """A new written id of the form of ``real``: the same in every run of one transcript."""
        for number in range(len(self._pairs), len(self._pairs) + 1000):
            digits = hashlib.sha256(str(number).encode()).hexdigest()
            new = (
                digits[: len(real)]
                if real.islower() or real.isdigit()
                else f"01{digits[:24].upper()}"
            )
            if looks_like_id(new[:7]) and not any(_related(new, one) for one in self._taken):
                self._taken.add(new)
                return new
        raise AssertionError("no placeholder left")


def _related(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def looks_like_id(token: str) -> bool:
    """Whether a token of hex digits reads as an id and not as a number or a word."""
    return any(c.isdigit() for c in token) and any(c.isalpha() for c in token)


@functools.lru_cache(maxsize=4096)
def _pattern(
    line: str, written_ids: frozenset[str], *, flexible: bool
) -> tuple[re.Pattern[str], tuple[str, ...]]:
    """What a written line matches, with a group for each id that it holds."""
    parts = []
    ids = []
    position = 0
    for token in _TOKEN.finditer(line):
        kind = token.lastgroup or ""
        if kind == "id" and token[0] not in written_ids:
            continue
        parts.append(_literal(line[position : token.start()], position, flexible=flexible))
        position = token.end()
        if kind == "any":
            parts.append(".*?")
        elif kind == "id":
            ids.append(token[0])
            alphabet = "0-9a-f" if re.fullmatch(_HEX, token[0]) else "0-9A-HJKMNP-TV-Z"
            parts.append(f"((?<![0-9A-Za-z])[{alphabet}]{{{len(token[0])}}}(?![0-9A-Za-z]))")
        else:
            parts.append(f"(?:{_SOFT[kind]})")
    parts.append(_literal(line[position:], position, flexible=flexible))
    return re.compile("".join(parts)), tuple(ids)


def _literal(text: str, position: int, *, flexible: bool) -> str:
    """The text as a pattern; gutters of a table may have another width where ``flexible``."""
    pieces = re.split(r"( {2,})", text)
    indented = position == 0 and not pieces[0]
    return "".join(
        " {2,}" if flexible and index % 2 and not (indented and index == 1) else re.escape(piece)
        for index, piece in enumerate(pieces)
    )


def _matches(written: str, real: str, ids: Ids, *, flexible: bool) -> list[tuple[str, str]] | None:
    """The pairs of ids that make the written line stand for the real one; None if none do."""
    pattern, names = _pattern(written, ids.written, flexible=flexible)
    found = pattern.fullmatch(real)
    if found is None:
        return None
    pairs = list(zip(names, found.groups(), strict=True))
    return pairs if all(ids.fits(*pair) for pair in pairs) else None


def reconcile(written: Sequence[str], real: Sequence[str], ids: Ids) -> list[str]:
    """What should be written for ``real``: as much of ``written`` as still holds, else new lines.

    The result equals ``written`` exactly when ``real`` is what it foresees.
    """
    soft = any(t.lastgroup not in ("any", "id") for line in written for t in _TOKEN.finditer(line))
    also = [token for line in real for token in _ID.findall(line) if looks_like_id(token)]
    result: list[str] = []
    for old, new in _alignment(written, real, ids, flexible=soft):
        if old is None:
            result.append(ids.to_written(str(new), also))
        elif old == "...":
            result.append(old)
        elif new is not None:
            pairs = _matches(old, new, ids, flexible=soft)
            holds = pairs is not None and all(ids.learn(*pair) for pair in pairs)
            result.append(old if holds else ids.to_written(new, also))
    return result


# What a line costs in an alignment. To change one is cheaper than to lose it and gain another; to
# lose one is dear, lest a ``...`` nearby swallow what came in its place.
_NEW, _CHANGED, _GONE = 2, 3, 4


def _alignment(
    written: Sequence[str], real: Sequence[str], ids: Ids, *, flexible: bool
) -> list[tuple[str | None, str | None]]:
    """The cheapest way to lay the two over each other; a ``...`` stands beside no line at all."""
    rows, columns = len(written), len(real)
    same = {
        (i, j)
        for i, old in enumerate(written)
        for j, new in enumerate(real)
        if old != "..." and _matches(old, new, ids, flexible=flexible) is not None
    }
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]
    step = [["end"] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            ways: list[tuple[int, str]] = []
            if i < rows and written[i] == "...":
                ways.append((cost[i + 1][j], "close"))
                ways += [(cost[i][j + 1], "swallow")] if j < columns else []
            else:
                if i < rows and j < columns:
                    changed = 0 if (i, j) in same else _CHANGED
                    ways.append((cost[i + 1][j + 1] + changed, "pair"))
                if i < rows:
                    ways.append((cost[i + 1][j] + _GONE, "gone"))
                if j < columns:
                    ways.append((cost[i][j + 1] + _NEW, "new"))
            if ways:
                cost[i][j], step[i][j] = min(ways, key=lambda way: way[0])
    return _walk(written, real, step)


def _walk(
    written: Sequence[str], real: Sequence[str], step: list[list[str]]
) -> list[tuple[str | None, str | None]]:
    """The pairs of lines on the path that the steps describe, from the first lines on."""
    path: list[tuple[str | None, str | None]] = []
    i = j = 0
    while (way := step[i][j]) != "end":
        if way != "swallow":
            old = None if way == "new" else written[i]
            path.append((old, real[j] if way in ("pair", "new") else None))
        i += way in ("pair", "gone", "close")
        j += way in ("pair", "new", "swallow")
    return path


def replay(text: str, home: Path, *, seconds: float = 120) -> str:
    """Run the blocks of ``text`` in ``home`` and return the text as it should read.

    Raises AssertionError when a Python block fails, the shell dies or a command takes longer than
    ``seconds``, and ValueError when the text is not a transcript.
    """
    lines = text.splitlines()
    ids = Ids(text)
    result: list[str] = []
    done = 0
    with Shell(home, seconds) as shell:
        for block in blocks(text):
            result += lines[done : block.start]
            done = block.end
            result += block.lines if block.not_run else _replay_block(block, shell, ids)
    return "\n".join([*result, *lines[done:]]) + "\n"


def _replay_block(block: Block, shell: Shell, ids: Ids) -> Sequence[str]:
    """Do what the block says; its lines as they should read."""
    if block.file is not None:
        _write_file(block, shell, ids)
    elif block.language == "python":
        body = ids.to_real("\n".join(block.lines))
        printed, status = shell.run(f"python - <<'END OF BLOCK'\n{body}\nEND OF BLOCK")
        if status:
            output = "\n".join(printed)
            raise AssertionError(f"line {block.start}: the Python block failed\n{output}")
    elif block.language == "console":
        return [
            line for command in _commands(block) for line in _replay_command(command, shell, ids)
        ]
    return block.lines


def _write_file(block: Block, shell: Shell, ids: Ids) -> None:
    """Write the block's body to the file it names, below the folder in which the shell is."""
    name = Path(str(block.file))
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"line {block.start}: a file is named by a path below the shell's folder")
    body = ids.to_real("".join(f"{line}\n" for line in block.lines))
    script = (
        f"mkdir -p {shlex.quote(str(name.parent))} && "
        f"cat > {shlex.quote(str(name))} <<'END OF BLOCK'\n{body}END OF BLOCK"
    )
    printed, status = shell.run(script)
    if status:
        raise AssertionError(f"line {block.start}: cannot write {name}: {' '.join(printed)}")


def _replay_command(command: _Command, shell: Shell, ids: Ids) -> list[str]:
    printed, status = shell.run(ids.to_real(command.script))
    if status:
        printed.append(f"[exit {status}]")
    foreseen = [line.rstrip() for line in command.printed]
    blank = 0  # empty lines before the next command are for the reader
    while foreseen and not foreseen[-1]:
        foreseen.pop()
        blank += 1
    now = reconcile(foreseen, printed, ids)
    if now == foreseen:
        return [*command.given, *command.printed]
    return [*command.given, *now, *[""] * blank]


def check(path: Path, home: Path, *, update: bool = UPDATE) -> None:
    """Replay the transcript ``path``; raises AssertionError with the difference when there is one.

    With ``update`` the file is rewritten instead, and passes.
    """
    text = path.read_text(encoding="utf-8")
    now = replay(text, home)
    if now == text:
        return
    if update:
        path.write_text(now, encoding="utf-8")
        return
    difference = difflib.unified_diff(
        text.splitlines(), now.splitlines(), f"{path.name} as written", "as it ran", lineterm=""
    )
    raise AssertionError("\n".join(["the transcript does not hold:", *difference]))
