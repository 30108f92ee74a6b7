"""docs/format.md is true: its examples are what gitml writes, and its frozen ids what git makes."""

from __future__ import annotations

import hashlib
import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from gitml.entities import codec, records
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.records import (
    CodeFile,
    Input,
    Note,
    Output,
    Promotion,
    Run,
    RunStep,
    Saved,
    Step,
    Tombstone,
    Version,
    VersionArtifact,
)
from gitml.frozen import fields
from gitml.git.snapshot import code_state
from gitml.history.check import check_records
from gitml.history.record import covering_steps
from gitml.store.digest import hash_bytes
from gitml.store.store import Store
from tests.history.ledger import ADA, Ledger

PAGE = (
    (Path(__file__).parents[2] / "docs/format.md").read_text("utf-8").partition("## The store\n")[0]
)
PROJECT = "01KDYAK348Z8N6Q3V5T7W9X0YA"
RAW = b"species,mass\nAdelie,3700\n"
TABLE, MODEL = b"[3700]", b'{"mean": 3700}'


def blocks(language: str) -> dict[str, str]:
    """The fenced blocks of the page that have a name, by name."""
    found = re.findall(rf"^```{language} (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(dict(found)) == len(found)
    return dict(found)


class Story:
    """A small project, to the byte: what the examples of the page show."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.make = ledger, ledger.recorder
        self.shown: dict[str, str] = {}
        repository = ledger.repository
        repository.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "Train on penguins")
        self.code = ledger.code
        self.source = Input("raw", hash_bytes(RAW), "blob", self._source())
        self.prepare = self._step("prepare", (self.source,), TABLE, {})
        self.train = self._step(
            "train", (self._output(self.prepare, "table"),), MODEL, {"depth": 6}
        )
        self.run = self._run()
        self.version = self._version()
        self._fold()
        self.make.builder.write_pack().release()
        self._tags()
        self._note()
        self._snapshot()

    def show(self, name: str, commit: ObjectId, *files: str) -> None:
        """Put an object into the examples, and files of its ``.gitml`` folder."""
        self.objects = getattr(self, "objects", [])
        self.objects.append((name, commit, files))

    def finish(self) -> dict[str, str]:
        """The examples by name."""
        for name, oid, files in self.objects:
            found = self.ledger.odb.read(oid)
            assert found is not None
            self.shown[f"{found[1]}-{name}"] = found[2].decode()
            for file in files:
                data = self.ledger.odb.file(oid, f".gitml/{file}")
                assert data is not None
                self.shown[f"{name}:{file}"] = data.decode()
        return self.shown

    def _source(self) -> ObjectId:
        commit = self.make.source(hash_bytes(RAW), "blob", len(RAW))
        self.show("source", commit, "source.json")
        return commit

    def _step(
        self, name: str, inputs: tuple[Input, ...], made: bytes, parameters: dict[str, Any]
    ) -> tuple[ObjectId, Step]:
        at = self.ledger.tick()
        output = Output(
            name="out" if name == "prepare" else "model",
            artifact="training.prepare" if name == "prepare" else "model",
            digest=hash_bytes(made),
            kind="blob",
            size=len(made),
            materializer="json/1",
            type="builtins.list" if name == "prepare" else "builtins.dict",
        )
        blob = self.ledger.repository.git("rev-parse", "HEAD:train.py")
        record = Step(
            name=name,
            pipeline="training",
            source=f"train.py:{name}",
            code=self.code,
            code_id=hash_bytes(b"code").hex,
            files=(CodeFile("train.py", blob),),
            parameters=parameters,
            inputs=inputs,
            outputs=(output,),
            started=f"2026-01-02T03:04:0{int(at) % 10}.250000Z",
            duration=0.125,
            key=hash_bytes(name.encode()).hex,
            parts={"name": hash_bytes(f'"{name}"'.encode()).hex},
        )
        metrics = {"accuracy": 0.75, "loss": float("inf")} if name == "train" else {}
        commit = self.make.step(record, metrics, at)
        if name == "train":
            self.show("step", commit, "step.json", "metrics.json")
        return commit, record

    def _output(self, step: tuple[ObjectId, Step], name: str) -> Input:
        output = step[1].outputs[0]
        return Input(name, output.digest, output.kind, step[0], output.artifact)

    def _run(self) -> ObjectId:
        steps = [("prepare", self.prepare[0]), ("train", self.train[0])]
        record = Run(
            pipeline="training",
            state="completed",
            code=self.code,
            stack="default",
            parameters={"depth": 6},
            steps=tuple(RunStep(name, "completed", commit) for name, commit in steps),
            started="2026-01-02T03:04:06.000000Z",
            duration=2.5,
            model="clf",
        )
        parents = {
            one: (self.code.commit, *r.input_commits()) for one, r in (self.prepare, self.train)
        }
        environment = b"# python CPython 3.11.7\n# platform Linux x86_64\nnumpy==2.2.0\n"
        metrics = {"accuracy": 0.75, "loss": float("inf")}
        covering = covering_steps(steps, parents)
        commit = self.make.run(record, metrics, environment, covering, self.ledger.tick())
        self.show("run", commit, "run.json", "environment.txt")
        return commit

    def _version(self) -> ObjectId:
        output = self.train[1].outputs[0]
        keys = {r.name: r.key or "" for _, r in (self.prepare, self.train)}
        record = Version(
            model="clf",
            pipeline="training",
            run=self.run,
            code=self.code,
            created="2026-01-02T03:04:08.500000Z",
            parameters={"depth": 6},
            artifacts=(VersionArtifact("model", "train", self.train[0], output),),
            keys=keys,
            description="Mean body mass",
        )
        commit = self.make.version(record, {"accuracy": 0.75}, "# clf\n", self.ledger.tick())
        self.show("version", commit, "model.json", "artifacts/model.gitml")
        return commit

    def _fold(self) -> None:
        line = self.ledger.now
        parts = [hash_bytes(b"%d" % n) for n in range(65)]
        commits = [self.make.source(digest, "blob", 1) for digest in parts]
        folded = self.make._folded(commits, line)
        self.show("fold", folded[1], "fold.json")

    def _tags(self) -> None:
        committer = ADA.at(self.ledger.now)
        self.show("number", self.make.number("clf", 1, self.version, committer))
        first = Promotion(PROJECT, "clf", "production", 1, "first model", self._at(), self.version)
        tag = self._line("clf@production/1", "clf production 1 clf@v1", first)
        self.show("promotion", tag)
        cleared = Promotion(
            *(PROJECT, "clf", "production", 2, "drifted", self._at()),
            before=self.version,
            previous=tag,
        )
        self.show("vacancy", self._line("clf@production/2", "clf production 2 vacant", cleared))
        stone = Tombstone(PROJECT, "clf", 1, self.version, "trained on test data", self._at())
        self.show("tombstone", self._line("clf@deleted/1", "clf deleted v1", stone))
        saved = Saved("table", hash_bytes(TABLE), "blob", 6, "json/1", "builtins.list", self._at())
        self.show("saved", self.make.saved(saved, self.ledger.now)[1])
        self.make.builder.write_loose()

    def _at(self) -> str:
        return f"2026-01-02T03:04:{int(self.ledger.tick()) % 60:02}.000000Z"

    def _line(self, name: str, subject: str, record: Any) -> ObjectId:
        document = codec.to_document(record)
        return self.make.line_tag(name, self.version, subject, document, self.ledger.now)

    def _note(self) -> None:
        note = Note(
            "01KDYAK3HR4T0V2W8X6Y9Z1A3B",
            self._at(),
            "Ada Example <ada@example.org>",
            {"live_acc": 0.91},
        )
        self.shown["note"] = codec.dump_line(codec.to_document(note)) + "\n"

    def _snapshot(self) -> None:
        self.ledger.repository.write("train.py", "depth = 8\n")
        state = code_state(self.ledger.git, self.ledger.odb)
        self.show("snapshot", state.commit)
        self.show("code", self.code.commit)


@pytest.fixture
def story(ledger: Ledger) -> Story:
    return Story(ledger)


def test_the_examples_are_what_gitml_writes(story: Story) -> None:
    shown = story.finish()
    found = blocks("text") | blocks("json")
    assert found.keys() == shown.keys()
    for name, text in shown.items():
        assert found[name] == text, name
    story.ledger.repository.git("fsck", "--strict", "--no-dangling")


def test_the_examples_are_sound_to_fsck(story: Story) -> None:
    git = story.ledger.repository.git
    git("update-ref", f"refs/gitml/runs/training/202601/{story.run.short}", story.run.hex)
    git("update-ref", f"refs/gitml/versions/clf/{story.version.short}", story.version.hex)
    store = Store(story.ledger.git.common / "gitml/store")
    with store.writer() as writer:
        for data in (RAW, TABLE, MODEL):
            writer.put_bytes(data)
    found = check_records(story.ledger.git, story.ledger.odb, store).problems
    assert [problem for problem in found if problem.kind != "odd-pointer"] == []


def test_frozen_sources(ledger: Ledger) -> None:
    """Made from the page's own words alone, with nothing of gitml: the ids are for ever."""
    rows = re.findall(
        r"^\| (blob|tree) \| (\d+) \| `([0-9a-f]{64})` \| `([0-9a-f]{40})` \|$", PAGE, re.M
    )
    assert len(rows) >= 3
    for kind, size, digest, frozen in rows:
        attributes = _object("blob", b"* -text -filter -ident -working-tree-encoding\n")
        json_text = (
            f'{{\n  "digest": "blake3:{digest}",\n  "format": 1,\n  "kind": "{kind}",\n'
            f'  "size": {size}\n}}\n'
        )
        source = _object("blob", json_text.encode())
        folder = _object(
            "tree",
            b"100644 .gitattributes\0"
            + bytes.fromhex(attributes)
            + b"100644 source.json\0"
            + bytes.fromhex(source),
        )
        root = _object("tree", b"40000 .gitml\0" + bytes.fromhex(folder))
        nobody = "gitml <gitml@localhost> 0 +0000"
        text = (
            f"tree {root}\nauthor {nobody}\ncommitter {nobody}\n\n"
            f"Source {digest[:12]}\n\nGitml-Kind: source\n"
        )
        assert _object("commit", text.encode()) == frozen
        assert ledger.recorder.source(Digest(digest), kind, int(size)).hex == frozen


def _object(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


DOCUMENTED = [
    *(records.Source, records.Code, records.CodeFile, Input, Output, records.Log, Step),
    *(
        RunStep,
        records.Failure,
        records.Pin,
        records.RunModel,
        Run,
        VersionArtifact,
        Version,
        records.Fold,
    ),
    *(Promotion, Tombstone, records.Revocation, records.Alias, Saved, Note),
]


@pytest.mark.parametrize("kind", DOCUMENTED, ids=lambda kind: kind.__name__)
def test_every_field_stands_in_its_table(kind: type) -> None:
    """Each table of fields is headed by its class, says the type and whether it must be there."""
    table = re.search(rf"^\| `{kind.__name__}` \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert table, kind
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", table[0], re.MULTILINE)[1:]
    hints = typing.get_type_hints(kind)
    expected = {}
    for name, field in fields(kind).items():
        if name != "extra":
            expected[name] = _word(hints[name]) + ("" if field.required else ", optional")
    assert dict(rows) == expected


def _word(hint: Any) -> str:
    """What the page calls a type."""
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        return _word(next(one for one in arguments if one is not type(None)))
    if typing.get_origin(hint) is tuple:
        return f"list of {_word(arguments[0])}"
    if arguments:
        return "object" if arguments[1] is Any else f"object of {_word(arguments[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "boolean", ObjectId: "commit"}
    names[Digest] = "digest"
    return names.get(hint, getattr(hint, "__name__", ""))


def test_every_problem_that_fsck_names_stands_in_the_page() -> None:
    source = (Path(__file__).parents[2] / "gitml/history/check.py").read_text("utf-8")
    kinds = set(re.findall(r'(?:_problem\(|Problem\(|kind = |else )"([a-z]+-[a-z-]+)"', source))
    kinds |= set(re.findall(r'"([a-z]+-[a-z]+)" if isinstance', source))
    kinds |= {"missing-object"}
    section = PAGE.partition("## What fsck reports\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == kinds


def test_every_json_example_is_canonical() -> None:
    for name, text in blocks("json").items():
        if name != "note":
            assert codec.dump(json.loads(text)).decode() == text, name
