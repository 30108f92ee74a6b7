"""Entities as commits and tags: trees, parents and trailers exactly as docs/format.md has them.

A ``Recorder`` builds the objects of one run in memory and publishes them with their refs: objects
first, as one durable pack, then all refs in one transaction. Parents are true inputs only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from gitml.entities import codec
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import SUFFIX, Pointer
from gitml.entities.records import Code, Fold, Revocation, Run, Saved, Source, Step, Version
from gitml.errors import UsageError
from gitml.frozen import Frozen
from gitml.git import refs
from gitml.git.odb import FILE, FOLDER, Builder, Odb, TreeEntry
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.git.snapshot import NOBODY, RECORD_FOLDER, check_root

RUNS = "refs/gitml/runs"
VERSIONS = "refs/gitml/versions"
SOURCES = "refs/gitml/sources"
STAGES = "refs/gitml/stages"
TAGS = "refs/tags"
PENDING = "refs/gitml/pending"
"""Promotions that wait for the git remote."""
FORKS = "refs/gitml/forks"
"""Moves of stages that lost to the remote's, by their object ids."""
TRACKING = "refs/gitml-remotes"
"""What each git remote was seen to have: the records, as git notes branches in ``refs/remotes``."""

MAX_PARENTS = 64
MAX_LINE = 64 << 10
"""Bytes of the line of JSON in a tag."""
ATTRIBUTES = b"* -text -filter -ident -working-tree-encoding\n"
_UNFIT = r"[\x00-\x1f%\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_EPOCH = f"{NOBODY} 0 +0000"


class Person(Frozen):
    """Who a record is by; without a configured identity, gitml itself."""

    name: str = "gitml"
    mail: str = "gitml@localhost"

    def at(self, seconds: float) -> str:
        """The raw header line of a commit or tag made at this time, with the local zone."""
        offset = time.localtime(seconds).tm_gmtoff // 60
        sign = "-" if offset < 0 else "+"
        hours, minutes = divmod(abs(offset), 60)
        return f"{self.name} <{self.mail}> {int(seconds)} {sign}{hours:02}{minutes:02}"


def timestamp(seconds: float) -> str:
    """A point in time as records have it: RFC 3339, UTC, microseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float:
    """The seconds since the epoch of a record's timestamp."""
    return datetime.fromisoformat(text).timestamp()


def made_at(record: Step) -> float:
    """When the result of a step was made (seconds): that of the original where it was reused."""
    return seconds_of(record.started) + record.duration


def quoted(name: str) -> str:
    """A name as trailers have it: one line, whatever a path that somebody asked for has in it.

    Control characters, line and paragraph separators, ``%`` and bytes that are no UTF-8 stand as
    ``%`` and two hex digits a byte, so that no name can add a trailer of its own.
    """
    return re.sub(_UNFIT, _percent, name)


def _percent(match: re.Match[str]) -> str:
    whole = "surrogateescape" if match[0] >= "\udc80" and match[0] <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", whole))


def run_ref(pipeline: str, started: str, commit: ObjectId) -> str:
    """The ref that keeps a run: its pipeline, the month it started, its commit."""
    return f"{RUNS}/{pipeline}/{started[:4]}{started[5:7]}/{commit.short}"


def version_ref(model: str, commit: ObjectId) -> str:
    """The ref that keeps a model version, numbered or not."""
    return f"{VERSIONS}/{model}/{commit.short}"


def saved_ref(name: str, digest: Digest) -> str:
    """The ref that keeps a value saved by hand."""
    return f"{SOURCES}/{name}/{digest.hex[:12]}"


def version_tag(model: str, number: int) -> str:
    """The ref of a version's number."""
    return f"{TAGS}/{model}@v{number}"


def revocation_tag(record: Revocation) -> str:
    """The ref of a revocation: by the bytes that it is about, or by its record."""
    base = record.name.partition("@")[0] if record.kind != "source" else "source"
    which = record.digest.hex[:12] if record.digest is not None else record.commit.short
    return f"{TAGS}/{base}@revoked/{which}"


class Recorder:
    """Builds records in memory and publishes them. Not for use by several threads at once.

    ``seal`` signs the tags of numbers and moves: it puts a signature to the bytes of a tag.
    ``seal_record`` does so with the commits of runs and versions; see `Builder.commit`.
    """

    def __init__(
        self,
        git: Git,
        odb: Odb,
        person: Person,
        seal: Callable[[bytes], bytes] | None = None,
        seal_record: Callable[[bytes, bytes], bytes] | None = None,
    ) -> None:
        self.git = git
        self.odb = odb
        self.person = person
        self.seal = seal
        self.seal_record = seal_record
        self.builder = Builder(git)
        self._roots: dict[ObjectId, list[TreeEntry]] = {}

    def source(self, digest: Digest, kind: str, size: int) -> ObjectId:
        """The source commit of these bytes: a function of digest, kind and size alone."""
        record = Source(digest, kind, size)
        root = self._tree(None, {"source.json": codec.to_json(record)})
        message = _message(f"Source {digest.hex[:12]}", [("Gitml-Kind", "source")])
        return self.builder.commit(root, (), _EPOCH, _EPOCH, message)

    def step(self, record: Step, metrics: Mapping[str, float], at: float) -> ObjectId:
        """The commit of a step execution; its parents are the code and what its record names."""
        files = {
            "step.json": codec.to_json(record),
            "metrics.json": codec.metrics_to_json(metrics),
        }
        subject = f"Step {record.pipeline}.{record.name}"
        inputs, trailers = record.input_commits(), step_trailers(record)
        return self._commit(record.code, files, inputs, subject, trailers, at)

    def run(
        self,
        record: Run,
        metrics: Mapping[str, float],
        environment: bytes,
        covering: Sequence[tuple[str, ObjectId]],
        at: float,
    ) -> ObjectId:
        """The commit of a run.

        ``covering`` are the steps (name, commit) that are no direct parent of another step of the
        run, in plan order: every step is reachable through them.
        """
        files = {
            "run.json": codec.to_json(record),
            "metrics.json": codec.metrics_to_json(metrics),
            "environment.txt": environment,
        }
        cached = sum(step.state == "cached" for step in record.steps)
        count = f"{len(record.steps)} step{'s' if len(record.steps) != 1 else ''}"
        subject = f"Run {record.pipeline}: {record.state}, {count}, {cached} cached"
        parents, trailers = [commit for _, commit in covering], run_trailers(record, covering)
        seal = self.seal_record
        return self._commit(record.code, files, parents, subject, trailers, at, seal)

    def version(
        self, record: Version, metrics: Mapping[str, float], card: str, at: float
    ) -> ObjectId:
        """The commit of a model version: model card, metrics, and a pointer for each artifact."""
        files = {
            "model.json": codec.to_json(record),
            "metrics.json": codec.metrics_to_json(metrics),
            "README.md": card.encode("utf-8"),
        }
        for artifact in record.artifacts:
            output = artifact.output
            pointer = Pointer(output.digest, output.kind, output.size)
            files[f"artifacts/{artifact.name}{SUFFIX}"] = pointer.encode()
        subject = f"Version of {record.model}, made by {record.pipeline}"
        trailers = version_trailers(record)
        seal = self.seal_record
        return self._commit(record.code, files, [record.run], subject, trailers, at, seal)

    def number(self, model: str, number: int, commit: ObjectId, committer: str) -> ObjectId:
        """The tag object that gives a version its number: a function of commit and number.

        Unless it is signed: then it is as different as the signatures are.
        """
        name = f"{model}@v{number}"
        return self.builder.tag(commit, name, committer, f"{model} v{number}\n", seal=self.seal)

    def line_tag(
        self, name: str, target: ObjectId, subject: str, document: Mapping[str, object], at: float
    ) -> ObjectId:
        """A tag object whose message is a line of names and one line of JSON.

        Free text stands only inside the JSON: git drops lines that begin with ``#`` and takes a
        raw signature header for a signature. Raises UsageError for more than ``MAX_LINE`` bytes.
        """
        line = codec.dump_line(document)
        if len(line) > MAX_LINE:
            raise UsageError(
                f"the record of {name} has {len(line) >> 10} KiB, and a tag holds {MAX_LINE >> 10}",
                hint="a shorter reason (`-m`) fits",
            )
        message = f"{subject}\n\n{line}\n"
        return self.builder.tag(target, name, self.person.at(at), message, seal=self.seal)

    def saved(self, record: Saved, at: float) -> tuple[ObjectId, ObjectId]:
        """Source commit and tag object of a value that was saved by hand."""
        source = self.source(record.digest, record.kind, record.size)
        name = f"{record.name}@{record.digest.hex[:12]}"
        document = codec.to_document(record)
        if len(codec.dump_line(document)) > MAX_LINE:  # thousands of columns; the bytes have them
            document["metadata"] = {}
        return source, self.line_tag(name, source, f"Saved {name}", document, at)

    def publish(self, changes: Iterable[Change], reason: str) -> None:
        """Store everything built so far as one pack, then move the refs in one transaction."""
        with self.builder.write_pack():
            refs.update(self.git, changes, reason)

    def publish_few(self, changes: Iterable[Change], reason: str) -> None:
        """The same for a tag or two, which need no pack of their own."""
        self.builder.write_loose()
        refs.update(self.git, changes, reason)

    def _commit(
        self,
        code: Code,
        files: Mapping[str, bytes],
        inputs: Sequence[ObjectId],
        subject: str,
        trailers: list[tuple[str, str]],
        at: float,
        seal: Callable[[bytes, bytes], bytes] | None = None,
    ) -> ObjectId:
        line = self.person.at(at)
        parents = [code.commit, *self._folded(inputs, at)]
        root = self._tree(code.tree, files)
        message = _message(subject, trailers)
        return self.builder.commit(root, parents, line, line, message, seal=seal)

    def _folded(self, commits: Sequence[ObjectId], at: float) -> list[ObjectId]:
        """The commits themselves, or folds of at most 64 where there are more than that."""
        level = list(dict.fromkeys(commits))
        line = f"{NOBODY} {int(at)} +0000"
        while len(level) > MAX_PARENTS:
            groups = [level[i : i + MAX_PARENTS] for i in range(0, len(level), MAX_PARENTS)]
            level = []
            for group in groups:
                root = self._tree(None, {"fold.json": codec.to_json(Fold(tuple(group)))})
                message = _message(f"Fold of {len(group)}", [("Gitml-Kind", "fold")])
                level.append(self.builder.commit(root, group, line, line, message))
        return level

    def _tree(self, code_tree: ObjectId | None, files: Mapping[str, bytes]) -> ObjectId:
        """The root tree of a record: the code's entries, and ``.gitml/`` with these files."""
        entries: list[TreeEntry] = []
        if code_tree is not None:
            if code_tree not in self._roots:
                self._roots[code_tree] = check_root(self.odb, code_tree)
            entries = self._roots[code_tree]
        folder = self._folder({".gitattributes": ATTRIBUTES, **files})
        record = TreeEntry(RECORD_FOLDER, FOLDER, folder)
        like = hash(code_tree) if code_tree is not None else None
        return self.builder.tree([*entries, record], like=like)

    def _folder(self, files: Mapping[str, bytes]) -> ObjectId:
        entries = []
        folders: dict[str, dict[str, bytes]] = {}
        for path, data in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = data
            else:
                entries.append(TreeEntry(name.encode(), FILE, self.builder.blob(data)))
        for name, inner in folders.items():
            entries.append(TreeEntry(name.encode(), FOLDER, self._folder(inner)))
        return self.builder.tree(entries)


def step_trailers(record: Step) -> list[tuple[str, str]]:
    """The trailers of a step's commit: the roles of its parents, and what it stands for."""
    given = (*record.inputs, *record.loads)
    return [
        ("Gitml-Kind", "step"),
        ("Gitml-Code", str(record.code.commit)),
        *(("Gitml-Input", f"{quoted(one.name)} {one.commit}") for one in given),
        *(("Gitml-Reached", str(one)) for one in record.reached),
        *([("Gitml-Reused", str(record.reused))] if record.reused is not None else []),
    ]


def run_trailers(record: Run, covering: Sequence[tuple[str, ObjectId]]) -> list[tuple[str, str]]:
    """The trailers of a run's commit: its code, and the covering steps."""
    return [
        ("Gitml-Kind", "run"),
        ("Gitml-Code", str(record.code.commit)),
        *(("Gitml-Step", f"{quoted(name)} {commit}") for name, commit in covering),
    ]


def version_trailers(record: Version) -> list[tuple[str, str]]:
    """The trailers of a version's commit: its code, and the run that made it."""
    return [
        ("Gitml-Kind", "version"),
        ("Gitml-Code", str(record.code.commit)),
        ("Gitml-Run", str(record.run)),
    ]


def covering_steps(
    steps: Sequence[tuple[str, ObjectId]], parents: Mapping[ObjectId, Sequence[ObjectId]]
) -> list[tuple[str, ObjectId]]:
    """The steps that are no direct parent of another step of the run, in plan order.

    With them as parents every step of the run is reachable, also when a cached consumer, whose
    parent is an earlier producer, stands beside a producer that was made again.
    """
    commits = {commit for _, commit in steps}
    covered = {parent for commit in commits for parent in parents[commit]}
    seen: set[ObjectId] = set()
    covering = []
    for name, commit in steps:
        if commit not in covered and commit not in seen:
            seen.add(commit)
            covering.append((name, commit))
    return covering


def _message(subject: str, trailers: Sequence[tuple[str, str]]) -> str:
    lines = [f"{key}: {value}" for key, value in trailers]
    return "\n".join([subject, "", *lines, ""])
