"""The index is derived: whatever becomes of it, the next look gives what git has."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import CorruptData
from gitml.git import refs, refstamp
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.git.refs import Change
from gitml.history import index as index_module
from gitml.history.entries import line_of
from gitml.history.index import Index
from gitml.history.record import run_ref, seconds_of
from gitml.testing.sealed import GitRepository, SealedEnvironment
from tests.history.ledger import Ledger, digest_of


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Two versions, a saved value, a promotion, two runs besides."""
    raw = ledger.source("x")
    prepare = ledger.step("prepare", [raw], metrics={"rows": 3})
    train = ledger.step("train", [prepare.feeds("table")], artifact="model")
    one = ledger.version("clf", 1, steps=[prepare, train], metrics={"accuracy": 0.5})
    ledger.version("clf", 2)
    ledger.save("lookup", "abc")
    ledger.promote("clf", "production", 1, one, one)
    ledger.run([ledger.step("load", pipeline="features")], pipeline="features")
    ledger.run([], state="failed")
    return ledger


def begins(ids: list[str], prefix: str) -> bool:
    """Whether any of the ids begins so."""
    return any(one.startswith(prefix) for one in ids)


def all_of(ledger: Ledger, kind: str) -> list[ObjectId]:
    """The ids of the records of a kind that the index has."""
    index = ledger.index
    if kind == "run":
        return [one.id for one in index.runs()]
    if kind == "version":
        return [one.id for one in index.versions()]
    return [step.commit for run in index.runs() for step in run.record.steps if step.commit]


def facts(index: Index) -> dict[str, object]:
    """What an index says, all of it."""
    index.refresh()
    return {
        "refs": index.refs(),
        "runs": index.runs(),
        "steps": [index.steps_named(name) for name in ("prepare", "train", "load")],
        "outputs": index.outputs(),
        "pipelines": index.pipelines(),
        "versions": index.versions(),
        "models": index.version_models(),
        "saved": index.saved(),
        "tags": [index.tag(ref.target) for ref in index.refs()],
        "problems": index.problems(),
    }


@pytest.fixture
def expected(filled: Ledger) -> dict[str, object]:
    found = facts(filled.index)
    assert len(filled.index.runs()) == 4
    assert found["problems"] == []
    filled.index.close()
    return found


def fresh(ledger: Ledger) -> Index:
    """An index as another process would open it."""
    return Index(ledger.git, ledger.odb)


def test_records_are_read_as_they_were_made(filled: Ledger) -> None:
    index = filled.index
    newest, *_ = index.runs()
    assert (newest.record.state, newest.author) == ("failed", "Ada Example")
    assert newest.at == seconds_of(newest.record.started) + 1.0
    assert [one.id for one in index.runs(limit=2)] == [one.id for one in index.runs()][:2]
    assert [one.record.pipeline for one in index.runs(pipeline="features")] == ["features"]
    assert [one.id for one in index.runs(state="failed")] == [newest.id]
    assert len(index.runs(state="completed")) == 3
    assert len(index.runs(model="clf")) == 2
    assert index.pipelines() == [("features", 1), ("training", 3)]
    one, two = index.versions("clf")
    assert (one.metrics, two.record.model) == ({"accuracy": 0.5}, "clf")
    assert index.versions("other") == []
    assert [made.id for made in index.versions_of_run(one.record.run)] == [one.id]
    prepare = index.steps_named("prepare", "training")[0]
    assert prepare.metrics == {"rows": 3}
    assert index.steps_named("prepare", "features") == []
    assert prepare.record.key is not None
    key = prepare.record.key
    assert index.steps_with_key(key, 1) == [prepare]
    above = [one.commit for one in prepare.record.inputs]
    assert index.steps_at(key, "prepare", above, 1) == [prepare]
    assert index.steps_at(key, "prepare", [], 1) == index.steps_at(key, "train", above, 1) == []
    assert index.runs_of_step(prepare.id) == [one.record.run]
    assert [name for name, *_ in index.outputs()] == [
        *("features.load", "model", "model", "training.prepare"),
    ]
    assert [one.record.name for one in index.saved()] == ["lookup"]
    assert index.saved("look") == []
    assert index.with_prefix(one.id.hex[:10]) == [("version", one.id)]
    assert index.with_prefix("") == index.with_prefix("%") == []
    length, is_record = index.unique_length(one.id)
    assert is_record
    assert len(index.with_prefix(one.id.hex[:length])) == 1


def test_ids_are_as_long_as_they_need_to_be(filled: Ledger) -> None:
    """Also where there are many of them, whose neighbours come from a list."""
    known = [oid for kind in ("run", "step", "version") for oid in all_of(filled, kind)]
    digits = sorted(oid.hex for oid in known)
    near = [ObjectId(one[:-1] + ("0" if one[-1] != "0" else "1")) for one in digits]
    asked = [*known, *near, ObjectId("0" * 40), ObjectId("f" * 40)]
    for _ in range(2):
        for oid in asked:
            others = [one for one in digits if one != oid.hex]
            length = next(n for n in range(1, 41) if not begins(others, oid.hex[:n]))
            assert filled.index.unique_length(oid, 1) == (length, oid in known)
    late = filled.run([filled.step("late")])
    filled.index.refresh()
    assert filled.index.unique_length(late)[1]


def test_it_is_stale_for_nobody(filled: Ledger) -> None:
    other = fresh(filled)
    count = len(other.runs())
    run = filled.run([filled.step("late")])
    assert len(other.runs()) == count
    other.refresh()
    assert [one.id for one in other.runs(limit=1)] == [run]
    other.close()


def test_a_narrow_look_takes_in_stages_and_leaves_runs_for_later(filled: Ledger) -> None:
    two = ObjectId(filled.repository.git("rev-parse", "clf@v2^{commit}"))
    index = fresh(filled)
    with index.narrowed():
        assert [one.name for one in index.refs_below("refs/tags/clf@production")]
        assert index.runs() == []  # nothing was there before, and nobody looked
        assert [one.record.model for one in index.versions()] == ["clf", "clf"]
    assert len(index.runs()) == 4
    run = filled.run([filled.step("late")])
    odd = put(filled, run.hex, ".gitml/run.json", "{")
    index.refresh()
    problems = index.problems()
    assert [oid for oid, _ in problems] == [odd]
    with index.narrowed():
        filled.promote("clf", "production", 2, two, two)
        late = filled.run([filled.step("later")])
        index.refresh()
        assert [len(index.refs_below("refs/tags/clf@production/")), len(index.runs())] == [2, 5]
        assert index.problems() == problems  # of a run, which was not looked at
    assert late in [one.id for one in index.runs()]
    assert facts(index) == facts(filled.index)
    index.close()


def test_a_servers_index_is_written_when_much_is_new(
    filled: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one push brought is read again by the next: to make it durable would take longer."""

    def look() -> tuple[int, int]:
        index = Index(filled.git, filled.odb, of_runs=False)
        seen = len(index.refs_below("refs/tags/clf@"))
        index.close()
        kept = sqlite3.connect(index.path)
        rows = kept.execute("SELECT count(*) FROM refs WHERE name GLOB 'refs/tags/clf@*'")
        counted = int(rows.fetchone()[0])
        kept.close()
        return seen, counted

    assert look() == (3, 0)
    filled.version("clf", 3)
    assert look() == (4, 0)
    monkeypatch.setattr(index_module, "_LITTLE", 0)
    assert look() == (4, 4)
    filled.repository.git("tag", "--delete", "clf@v3")
    monkeypatch.setattr(index_module, "_LITTLE", 500)
    assert look() == (3, 4)


def test_what_a_narrow_look_saw_is_not_there_when_it_has_gone(
    filled: Ledger, expected: dict[str, object]
) -> None:
    """The refs are again as the last whole look found them, and the rows between were others."""
    filled.repository.git("tag", "clf@alias/best", "clf@v1")
    index = fresh(filled)
    with index.narrowed():
        assert len(index.refs_below("refs/tags/clf@alias/")) == 1
    filled.repository.git("tag", "--delete", "clf@alias/best")
    assert facts(index) == expected
    index.close()


def test_refs_that_go_take_their_records_along(filled: Ledger) -> None:
    index = filled.index
    gone = index.runs(pipeline="features")[0]
    step = gone.record.steps[0].commit
    assert step is not None
    name = run_ref("features", gone.record.started, gone.id)
    refs.update(filled.git, [Change(name, None, gone.id)], "delete")
    index.refresh()
    assert index.pipelines() == [("training", 3)]
    assert "features.load" not in [artifact for artifact, *_ in index.outputs()]
    assert index.steps_named("load") == []
    assert len(index.versions()) == 2
    # By its id it is there as long as git has it.
    assert index.run(gone.id) == gone
    assert index.step(step) is not None
    filled.repository.git("gc", "--prune=now", "--quiet")
    filled.odb.close()  # an open process may still hold the pack that went
    assert index.run(gone.id) is None


def test_ids_of_other_things_are_no_records(filled: Ledger) -> None:
    index = filled.index
    run, version = index.runs(model="clf")[0].id, index.versions()[0].id
    for oid in (run, version, filled.code.commit, filled.code.tree, ObjectId("0" * 40)):
        assert index.step(oid) is None
        assert (index.run(oid) is not None) is (oid == run)
        assert (index.version(oid) is not None) is (oid == version)


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 1000)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def torn(path: Path) -> None:
    """Pages overwritten in the middle, the header whole."""
    data = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(data), 3 * 4096):
        data[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_a_later_gitml(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE runs")
        connection.execute("CREATE TABLE later (x)")
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE steps")
    connection.close()


def deleted(path: Path) -> None:
    path.unlink()


def with_the_whole_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


DAMAGES = [garbage, truncated, torn, empty, of_a_later_gitml, without_a_table, deleted]


def test_it_heals_whatever_became_of_it(filled: Ledger, expected: dict[str, object]) -> None:
    for damage in [*DAMAGES, with_the_whole_folder]:
        damage(filled.index.path)
        index = fresh(filled)
        assert facts(index) == expected, damage.__name__
        index.close()
        again = sqlite3.connect(filled.index.path)
        assert again.execute("SELECT count(*) FROM runs").fetchone() == (4,), damage.__name__
        again.close()


def test_it_heals_while_it_is_open(filled: Ledger, expected: dict[str, object]) -> None:
    for damage in (garbage, truncated, torn, deleted):
        index = fresh(filled)
        index.refresh()
        damage(filled.index.path)
        filled.repository.git("update-ref", "refs/gitml/runs/x/202601/y", "HEAD")
        filled.repository.git("update-ref", "-d", "refs/gitml/runs/x/202601/y")
        assert facts(index) == expected, damage.__name__
        index.close()


def test_a_journal_of_the_old_file_is_not_played_into_the_new(
    filled: Ledger, expected: dict[str, object]
) -> None:
    """SQLite would: what a killed writer left beside a file that was made anew."""
    path = filled.index.path
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE runs SET pipeline = 'wrong', document = document || '   '")
    connection.execute("UPDATE steps SET name = 'wrong'")
    journal = path.with_name(path.name + "-journal")
    kept = journal.read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    garbage(path)
    journal.write_bytes(kept)
    index = fresh(filled)
    assert facts(index) == expected
    index.close()
    assert not journal.exists()


def test_rebuilding_counts_the_refs(filled: Ledger, expected: dict[str, object]) -> None:
    garbage(filled.index.path)
    index = fresh(filled)
    assert index.rebuild() == len(index.refs()) == 11
    assert facts(index) == expected
    index.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """A block in which this process, and the git that it starts, have the rights of nobody."""
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_refs_that_have_not_moved_are_not_listed_again(
    filled: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where their listing is long, what the system says of git's files is enough."""
    monkeypatch.setattr(refs, "_LONGEST_MARK", 0)
    monkeypatch.setattr(refstamp, "_SETTLED", 0)
    listings = []

    def counted(git: Git, *patterns: Sequence[str]) -> bytes:
        listings.append(1)
        return read_listing(git, *patterns)

    read_listing = refs.read_listing
    monkeypatch.setattr(refs, "read_listing", counted)
    git = filled.git
    first = facts(Index(git, Odb(git)))
    Index(git, Odb(git)).refs()  # notes what the refs look like
    listings.clear()
    again = Index(git, Odb(git))
    assert facts(again) == first
    assert listings == []
    filled.run([], state="failed")
    again.refresh()
    assert listings == [1]
    assert len(again.runs()) == len(first["runs"]) + 1  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("state", ["fresh", "stale", "garbage", "absent"])
def test_where_nothing_can_be_written_it_is_made_in_memory(
    filled: Ledger, open_folder: Path, state: str, sealed_environment: SealedEnvironment
) -> None:
    copy = open_folder / "repository"
    filled.index.refresh()
    if state == "stale":
        filled.run([])
    shutil.copytree(filled.repository.path, copy)
    path = copy / ".git/gitml/index.sqlite"
    if state == "garbage":
        garbage(path)
    elif state == "absent":
        shutil.rmtree(path.parent)
    subprocess.run(["chmod", "-R", "a+rX,a-w", str(copy)], check=True)
    before = path.read_bytes() if path.exists() else None
    config = open_folder / "gitconfig"
    config.write_text(f"[safe]\n\tdirectory = {copy}\n")
    sealed_environment.set("GIT_CONFIG_GLOBAL", str(config))
    with as_nobody():
        git = Git.discover(copy)
        index = Index(git, Odb(git))
        found = [len(index.runs()), len(index.versions()), len(index.saved())]
        index.refresh()
        assert index.rebuild() == len(index.refs())
        index.close()
    assert found == [5 if state == "stale" else 4, 2, 1]
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_writer_that_hangs_does_not_stop_a_reader(
    filled: Ledger, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_PATIENCE", 0.05)
    path = filled.index.path
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    inode = path.stat().st_ino
    index = fresh(filled)
    assert facts(index) == expected
    index.close()
    assert path.stat().st_ino == inode
    holder.execute("ROLLBACK")
    holder.close()
    assert facts(fresh(filled)) == expected


WRITER = """
import sys
from pathlib import Path
from tests.history.ledger import Ledger, START

ledger = Ledger.at(Path(sys.argv[1]))
ledger.now = START + 1000 * int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    run = ledger.run([ledger.step(f"s{n}")], pipeline=f"p{sys.argv[2]}")
    ledger.index.refresh()
    assert ledger.index.run(run) is not None
    assert ledger.index.runs(pipeline=f"p{sys.argv[2]}", limit=1)[0].id == run, n
ledger.close()
print("done")
"""


def test_processes_that_refresh_at_once_never_take_each_other_back(ledger: Ledger) -> None:
    """Who listed the refs first and got the lock last must not put back the older state."""
    root = str(Path(__file__).parents[2])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger.repository.path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    outputs = [writer.communicate("go\n", timeout=60)[0] for writer in writers]
    assert outputs == ["done\n"] * 3
    assert len(ledger.index.runs()) == 15


def test_a_thousand_runs_are_listed(ledger: Ledger) -> None:
    changes = []
    for number in range(1000):
        step = ledger.step("s")
        run = ledger.run([step], pipeline=f"p{number % 7}", publish=False)
        started = f"2026-{number % 12 + 1:02}"
        changes.append(Change(run_ref(f"p{number % 7}", started, run), run, None))
    ledger.recorder.publish(changes, "many")
    index = ledger.index
    assert len(index.runs()) == 1000
    newest = index.runs(limit=20)
    assert [one.at for one in newest] == sorted((one.at for one in newest), reverse=True)
    assert sum(count for _, count in index.pipelines()) == 1000
    assert len(index.outputs()) == 1000
    assert len(index.with_prefix(newest[0].id.hex)) == 1


def test_many_steps_are_one_query(ledger: Ledger) -> None:
    made = [ledger.step(f"s{number}") for number in range(30)]
    lone = ledger.step("in no run")
    ledger.run(made)
    index, asked = ledger.index, list[str]()
    index.refresh()
    assert index._open is not None
    index._open.set_trace_callback(asked.append)
    found = index.steps([*(one.commit for one in made), made[0].commit])
    assert len(asked) == 1
    assert found == {one.commit: index.step(one.commit) for one in made}
    assert [one.record.name for one in index.steps([lone.commit]).values()] == ["in no run"]
    assert index.steps([ledger.code.commit]) == {}


# Records that cannot be read


def put(ledger: Ledger, ref: str, path: str, content: str) -> ObjectId:
    """A record with one file replaced, under a ref of its own; its commit."""
    commit = ledger.odb.resolve(ref)
    assert commit is not None
    git = ledger.repository.git
    git("read-tree", "--index-output=.git/other", commit.hex)
    environment = {**os.environ, "GIT_INDEX_FILE": str(ledger.git.directory / "other")}
    blob = git("hash-object", "-w", "--stdin", text=content)
    entry = ["update-index", "--add", "--cacheinfo", f"100644,{blob},{path}"]
    subprocess.run(["git", *entry], cwd=ledger.git.root, env=environment, check=True)
    tree = subprocess.run(
        ["git", "write-tree"],
        cwd=ledger.git.root,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    message = git("log", "-1", "--format=%B", commit.hex)
    parents = [word for one in ledger.odb.commit(commit).parents for word in ("-p", one.hex)]
    made = git("commit-tree", tree, *parents, text=message + "\n")
    name = run_ref("odd", "2026-02", ObjectId(made))
    if "model.json" in path:
        name = f"refs/gitml/versions/odd/{made[:12]}"
    git("update-ref", name, made)
    return ObjectId(made)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ('{"format": 2}', "written in format 2"),
        ('{"format": 1}', "the field"),
        ("\udcff", "not JSON"),
    ],
)
def test_a_record_that_cannot_be_read_is_a_problem_and_hides_no_other(
    filled: Ledger, content: str, problem: str
) -> None:
    before = len(filled.index.runs())
    run = filled.index.runs(pipeline="features")[0].id
    odd = put(filled, run.hex, ".gitml/run.json", content)
    version = put(filled, "clf@v1", ".gitml/model.json", content)
    filled.index.refresh()
    found = dict(filled.index.problems())
    assert found.keys() == {odd, version}
    assert f"{odd.short}:.gitml/run.json: " in found[odd]
    assert problem in found[odd]
    assert len(filled.index.runs()) == before
    assert len(filled.index.versions()) == 2
    with pytest.raises(CorruptData, match=f"{odd.short}:.gitml/run.json"):
        filled.index.run(odd)
    filled.repository.git("update-ref", "-d", run_ref("odd", "2026-02", odd))
    filled.index.refresh()
    assert dict(filled.index.problems()).keys() == {version}


def test_fields_and_files_of_a_later_version_are_lived_with(filled: Ledger) -> None:
    run = filled.index.runs(pipeline="features")[0]
    data = filled.odb.file(run.id, ".gitml/run.json")
    assert data is not None
    document = json.loads(data) | {"carbon": {"grams": 3}}
    odd = put(filled, run.id.hex, ".gitml/run.json", json.dumps(document))
    put(filled, odd.hex, ".gitml/later/more.bin", "\x00")
    filled.index.refresh()
    assert filled.index.problems() == []
    found = filled.index.run(odd)
    assert found is not None
    assert found.record.extra == {"carbon": {"grams": 3}}


def test_what_a_shallow_clone_lacks_comes_with_unshallow(filled: Ledger, tmp_path: Path) -> None:
    url = f"file://{filled.repository.path}"
    filled.repository.git("clone", "--quiet", "--depth=1", url, str(tmp_path / "clone"))
    clone = GitRepository(tmp_path / "clone")
    clone.git("fetch", "--quiet", "--depth=1", "origin", "refs/gitml/*:refs/gitml/*")
    git = Git.discover(clone.path)
    index = Index(git, Odb(git))
    assert len(index.runs()) == 4
    assert {text[:20] for _, text in index.problems()} == {"this clone lacks the"}
    clone.git("fetch", "--quiet", "--unshallow")
    clone.git("fetch", "--quiet", "origin", "refs/gitml/*:refs/gitml/*")
    index.refresh()
    assert index.problems() == []
    assert len(index.steps_named("prepare")) == 1
    index.close()


def test_names_of_people_and_tags_of_other_tools(filled: Ledger) -> None:
    repository = filled.repository
    repository.git("config", "i18n.commitEncoding", "iso-8859-1")
    for name in ("pkg@v1.2.3", "pkg@v1", "clf@v77", "@scope/pkg@1.0.0", "a@release/1"):
        repository.git("tag", name)
    repository.git("tag", "-a", "lib@v2", "-m", "of another tool")
    repository.git("update-ref", "refs/tags/caf\udce9@v1", "HEAD")
    head = repository.git("cat-file", "commit", "HEAD")
    raw = (head.replace("Ada Example", "Zo\udceb") + "\n").encode("utf-8", "surrogateescape")
    commit = filled.git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
    repository.git("update-ref", "refs/tags/zoe@1", commit.decode().strip())
    step = filled.step("s")
    filled.recorder.person = type(filled.recorder.person)("Zo\udceb", "z@example.org")
    filled.run([step], pipeline="zoe")
    for number in range(2):
        filled.index.refresh()
        assert filled.index.problems() == []
        assert len(filled.index.versions()) == 2
        assert filled.index.runs(pipeline="zoe")[0].author == "Zo?"
        repository.git("tag", f"another@{number}")


def test_a_saved_value_under_a_wrong_ref_is_a_problem(filled: Ledger) -> None:
    digest = digest_of("abc").hex[:12]
    tag = filled.repository.git("rev-parse", f"refs/gitml/sources/lookup/{digest}")
    filled.repository.git("update-ref", f"refs/gitml/sources/other/{digest}", tag)
    filled.repository.git("update-ref", f"refs/gitml/sources/third/{digest}", "HEAD")
    filled.index.refresh()
    texts = sorted(text for _, text in filled.index.problems())
    assert len(texts) == 2
    assert "other" in texts[0]
    assert "holds the record of lookup@" in texts[0]
    assert "is not an annotated tag" in texts[1]
    assert filled.index.saved("other") == []


def test_a_tag_without_our_line_has_no_record(filled: Ledger) -> None:
    for message in ("clf x", 'clf x\n{"format": 1}', "clf x\n\nfree text", "a\n\nb\n\n{}"):
        filled.repository.git("tag", "-f", "-a", "clf@x/9", "-m", message, "clf@v1^{}")
        tag = filled.odb.tag(ObjectId(filled.repository.git("rev-parse", "clf@x/9")))
        with pytest.raises(CorruptData, match="carries no record"):
            line_of(tag)


@pytest.mark.parametrize("longest", [32 << 10, 10])
def test_a_run_that_was_just_made_is_taken_in_without_a_look_at_other_refs(
    filled: Ledger, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    monkeypatch.setattr("gitml.git.refs._LONGEST_MARK", longest)
    index = filled.index
    index.refresh()
    before = len(index.runs())
    run = filled.run([], pipeline="another")
    ref = next(one for one in refs.list_refs(filled.git, ["refs/gitml/runs"]) if one.target == run)
    with monkeypatch.context() as patch:
        patch.setattr(refs, "read_listing", None)
        index.take(ref)
        assert index.run(run) in index.runs()
    other = fresh(filled)
    other.refresh()
    assert index.mark == other.mark, "the next look finds nothing to do"
    assert facts(index) == facts(other)
    assert len(index.runs()) == before + 1
    index.take(ref)  # again, and for one that another process has seen meanwhile
    second = filled.run([], pipeline="another")
    other.refresh()
    index.take(refs.Ref(run_ref("another", index.run(run).record.started, second), second, second))  # type: ignore[union-attr]
    assert facts(index) == facts(fresh(filled))
