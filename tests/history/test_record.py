"""Records are the commits and tags of docs/format.md, and git's own questions work on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.pointer import Pointer
from gitml.entities.records import Input, Saved, Step
from gitml.errors import RaceLost, UsageError
from gitml.frozen import replace
from gitml.git import refs
from gitml.git.refs import Change
from gitml.history import record
from gitml.history.entries import line_of
from gitml.history.record import (
    ATTRIBUTES,
    Person,
    Recorder,
    covering_steps,
    quoted,
    run_ref,
    version_tag,
)
from gitml.testing.sealed import GitRepository, SealedEnvironment
from tests.history.ledger import ADA, START, Ledger, digest_of


def shown(ledger: Ledger, commit: ObjectId | str, path: str) -> str:
    return ledger.repository.git("show", f"{commit}:{path}")


def header(ledger: Ledger, oid: ObjectId) -> list[str]:
    """The lines of an object that is no blob."""
    return ledger.repository.git("cat-file", "-p", oid.hex).split("\n")


def test_a_source_is_a_function_of_the_bytes_alone(ledger: Ledger) -> None:
    raw = ledger.source("1,2,3\n")
    train = ledger.step("train", [raw])
    ledger.run([train])
    commit = raw.commit
    assert header(ledger, commit)[1:] == [
        "author gitml <gitml@localhost> 0 +0000",
        "committer gitml <gitml@localhost> 0 +0000",
        "",
        f"Source {raw.digest.hex[:12]}",
        "",
        "Gitml-Kind: source",
    ]
    listing = ledger.repository.git("ls-tree", "-r", "--name-only", commit.hex).split("\n")
    assert listing == [".gitml/.gitattributes", ".gitml/source.json"]
    assert json.loads(shown(ledger, commit, ".gitml/source.json")) == {
        "format": 1,
        "digest": str(raw.digest),
        "kind": "blob",
        "size": 6,
    }


def test_a_source_has_one_id_in_every_clone(
    ledger: Ledger, sealed_environment: SealedEnvironment, tmp_path: Path
) -> None:
    commit = ledger.source("1,2,3\n").commit
    ledger.save("raw", "1,2,3\n")
    ledger.repository.commit("more")
    url = f"file://{ledger.repository.path}"
    for name, depth in [("full", []), ("shallow", ["--depth=1"])]:
        ledger.repository.git("clone", "--quiet", *depth, url, str(tmp_path / name))
    rewritten = GitRepository(tmp_path / "full")
    rewritten.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "rewritten")
    rewritten.git("config", "i18n.commitEncoding", "iso-8859-1")
    rewritten.git("config", "user.name", "Bob")
    sealed_environment.set("TZ", "Asia/Kolkata")
    for name in ("full", "shallow"):
        other = Ledger.at(tmp_path / name)
        again = Recorder(other.git, other.odb, Person("Bob", "b@example.org"))
        assert again.source(digest_of("1,2,3\n"), "blob", 6) == commit
        assert again.source(digest_of("1,2,3\n"), "tree", 6) != commit
        other.close()


def test_parents_and_trailers_of_a_step(ledger: Ledger) -> None:
    raw = ledger.source("x")
    prepare = ledger.step("prepare", [raw])
    model = replace(prepare.feeds("model"), name="clf@production:model")
    train = ledger.step(
        "train",
        [prepare.feeds("table"), replace(raw, name="data:data/a b%.csv")],
        loads=(model,),
        reached=(ledger.source("older").commit,),
        reused=prepare.commit,
        metrics={"loss": float("nan"), "accuracy": 0.5},
    )
    ledger.run([prepare, train])
    code = ledger.code.commit
    lines = header(ledger, train.commit)
    assert [line for line in lines if line.startswith("parent ")] == [
        f"parent {one}" for one in (code, prepare.commit, raw.commit, ledger.source("older").commit)
    ]
    zone = "+0000"
    assert f"author {ADA.name} <{ADA.mail}> {int(START + 2)} {zone}" in lines
    message = lines[lines.index("") + 1 :]
    assert message == [
        "Step training.train",
        "",
        "Gitml-Kind: step",
        f"Gitml-Code: {code}",
        f"Gitml-Input: table {prepare.commit}",
        f"Gitml-Input: data:data/a b%25.csv {raw.commit}",
        f"Gitml-Input: clf@production:model {prepare.commit}",
        f"Gitml-Reached: {ledger.source('older').commit}",
        f"Gitml-Reused: {prepare.commit}",
    ]
    assert json.loads(shown(ledger, train.commit, ".gitml/metrics.json")) == {
        "format": 1,
        "metrics": {"accuracy": 0.5, "loss": "nan"},
    }
    data = (shown(ledger, train.commit, ".gitml/step.json") + "\n").encode()
    assert codec.from_json(Step, data, "step.json") == train.record
    trailers = ledger.repository.git("log", "-1", "--format=%(trailers:key=Gitml-Code,valueonly)")
    assert trailers == ""
    form = "--format=%(trailers:key=Gitml-Code,valueonly,separator=%x2C)"
    assert ledger.repository.git("log", "-1", form, train.commit.hex) == code.hex


ODD = ["x\n\nGitml-Code: " + "0" * 40, "a\rb", "\x85", "\u2028", "é ü", "100%", "\udcff\ud800"]


def test_a_name_stays_in_its_trailer(ledger: Ledger) -> None:
    steps = [ledger.step("s", [replace(ledger.source("x"), name=n)]) for n in ODD]
    ledger.run(steps)
    for name, step in zip(ODD, steps, strict=True):
        trailers = ledger.odb.commit(step.commit).trailers()
        assert [key for key, _ in trailers] == ["Gitml-Kind", "Gitml-Code", "Gitml-Input"]
        assert trailers[1][1] == ledger.code.commit.hex
        assert trailers[2][1] == f"{quoted(name)} {ledger.source('x').commit}"
        entry = ledger.index.step(step.commit)
        assert entry is not None
        assert entry.record.inputs[0].name == name
    assert [quoted(name) for name in ODD] == [
        "x%0A%0AGitml-Code: " + "0" * 40,
        *("a%0Db", "%C2%85", "%E2%80%A8", "é ü", "100%25", "%FF%ED%A0%80"),
    ]


def test_a_run_is_the_code_and_one_folder(ledger: Ledger) -> None:
    raw = ledger.source("x")
    prepare = ledger.step("prepare", [raw])
    train = ledger.step("train", [prepare.feeds("table")])
    alone = ledger.step("report")
    run = ledger.run([prepare, train, alone])
    code = ledger.code.commit
    lines = header(ledger, run)
    parents = [line.removeprefix("parent ") for line in lines if line.startswith("parent ")]
    assert parents == [code.hex, train.commit.hex, alone.commit.hex]
    assert lines[lines.index("") + 1 :] == [
        "Run training: completed, 3 steps, 0 cached",
        "",
        "Gitml-Kind: run",
        f"Gitml-Code: {code}",
        f"Gitml-Step: train {train.commit}",
        f"Gitml-Step: report {alone.commit}",
    ]
    stat = ledger.repository.git("show", "--first-parent", "--name-status", "--format=", run.hex)
    assert stat.split("\n") == [
        "A\t.gitml/.gitattributes",
        "A\t.gitml/environment.txt",
        "A\t.gitml/metrics.json",
        "A\t.gitml/run.json",
    ]
    tree = ledger.repository.git("ls-tree", "--name-only", run.hex).split("\n")
    assert tree == [".gitml", "data", "train.py"]
    assert shown(ledger, run, ".gitml/environment.txt") == "# python CPython 3.11.7"
    name = run_ref("training", "2026-01-02T03:04:09.000000Z", run)
    assert name == f"refs/gitml/runs/training/202601/{run.short}"
    assert ledger.repository.git("rev-parse", name) == run.hex


def test_a_version_is_the_project_with_its_record_and_pointers(ledger: Ledger) -> None:
    train = ledger.step("train", artifact="model")
    commit = ledger.version("clf", 1, steps=[train], metrics={"accuracy": 0.75})
    run = ledger.odb.commit(commit).parents[1]
    assert ledger.odb.commit(commit).parents == (ledger.code.commit, run)
    assert ledger.odb.commit(commit).trailers() == [
        ("Gitml-Kind", "version"),
        ("Gitml-Code", ledger.code.commit.hex),
        ("Gitml-Run", run.hex),
    ]
    stat = ledger.repository.git(
        "show", "--first-parent", "--name-only", "--format=%s", "clf@v1^{commit}"
    )
    assert stat.split("\n") == [
        "Version of clf, made by training",
        "",
        ".gitml/.gitattributes",
        ".gitml/README.md",
        ".gitml/artifacts/model.gitml",
        ".gitml/metrics.json",
        ".gitml/model.json",
    ]
    data = (shown(ledger, "clf@v1", ".gitml/artifacts/model.gitml") + "\n").encode()
    assert Pointer.decode(data, "x") == Pointer(train.record.outputs[0].digest, "blob", 6)
    assert json.loads(shown(ledger, "clf@v1", ".gitml/metrics.json"))["metrics"] == {
        "accuracy": 0.75
    }
    assert shown(ledger, "clf@v1", ".gitml/.gitattributes") + "\n" == ATTRIBUTES.decode()
    ledger.repository.git("fsck", "--strict", "--no-dangling")


def test_a_number_is_a_function_of_commit_and_number(
    ledger: Ledger, sealed_environment: SealedEnvironment
) -> None:
    commit = ledger.version("clf", 7)
    committer = ledger.odb.commit(commit).committer
    tag = ledger.repository.git("rev-parse", "clf@v7")
    assert ledger.repository.git("cat-file", "tag", tag) == (
        f"object {commit}\ntype commit\ntag clf@v7\ntagger {committer}\n\nclf v7"
    )
    sealed_environment.set("TZ", "Asia/Kolkata")
    other = Recorder(ledger.git, ledger.odb, Person("Bob", "bob@example.org"))
    assert other.number("clf", 7, commit, committer).hex == tag
    assert other.number("clf", 8, commit, committer).hex != tag


def test_a_line_tag_keeps_free_text_in_one_line(ledger: Ledger) -> None:
    commit = ledger.version("clf", 1)
    reason = "# no comment\n-----BEGIN SSH SIGNATURE-----\n\u2028é"
    tag = ledger.recorder.line_tag("clf@x/1", commit, "clf x 1", {"reason": reason}, START)
    ledger.recorder.publish_few([Change("refs/tags/clf@x/1", tag, None)], "x")
    lines = header(ledger, tag)
    assert lines[:2] == [f"object {commit}", "type commit"]
    assert lines[lines.index("") + 1 :][:2] == ["clf x 1", ""]
    assert json.loads(lines[-1]) == {"reason": reason}
    ledger.repository.git("fsck", "--strict", "--no-dangling")


def test_a_saved_value_is_a_source_behind_a_tag(ledger: Ledger) -> None:
    source = ledger.save("lookup", "abc")
    ref = f"refs/gitml/sources/lookup/{digest_of('abc').hex[:12]}"
    assert ledger.repository.git("rev-parse", f"{ref}^{{commit}}") == source.hex
    tag = ledger.odb.tag(ObjectId(ledger.repository.git("rev-parse", ref)))
    assert tag.name == f"lookup@{digest_of('abc').hex[:12]}"
    subject, blank, line, end = tag.message.split("\n")
    assert (subject, blank, end) == (f"Saved {tag.name}", "", "")
    assert codec.from_json(Saved, line, "tag").size == 3
    assert ledger.recorder.source(digest_of("abc"), "blob", 3) == source


def test_a_line_that_is_too_long_is_refused_and_metadata_gives_way(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="64") as caught:
        ledger.recorder.line_tag(
            "clf@x/1", ledger.code.commit, "x", {"reason": "é" * 20_000}, START
        )
    assert "`-m`" in (caught.value.hint or "")
    digest = digest_of("wide")
    columns = {"columns": [f"column {n}" for n in range(10_000)]}
    wide = Saved("wide", digest, "blob", 4, "arrow/1", "Table", "t", metadata=columns)
    _, tag = ledger.recorder.saved(wide, START)
    ledger.recorder.builder.write_pack().release()
    assert line_of(ledger.odb.tag(tag))["metadata"] == {}
    assert line_of(ledger.odb.tag(tag))["digest"] == str(digest)


def test_times_have_the_zone_of_where_they_were(
    sealed_environment: SealedEnvironment,
) -> None:
    import time

    for zone, ending in [
        ("UTC", "+0000"),
        ("Asia/Kolkata", "+0530"),
        ("America/St_Johns", "-0330"),
    ]:
        sealed_environment.set("TZ", zone)
        time.tzset()
        assert ADA.at(START + 0.9) == f"{ADA.name} <{ADA.mail}> {int(START)} {ending}"


# What git makes of them


def test_gc_keeps_all_that_is_reachable_and_nothing_is_dangling(ledger: Ledger) -> None:
    raw = ledger.source("x")
    prepare = ledger.step("prepare", [raw])
    train = ledger.step("train", [prepare.feeds("table")], artifact="model")
    commit = ledger.version("clf", 1, steps=[prepare, train])
    ledger.save("lookup", "abc")
    ledger.promote("clf", "production", 1, commit, commit)
    lost = ledger.run([ledger.step("lost")], publish=False)
    ledger.recorder.builder.write_pack().release()
    before = set(ledger.rev_list("--all", "--objects", "--no-object-names"))
    assert before >= {raw.commit.hex, prepare.commit.hex, train.commit.hex, commit.hex}
    assert ledger.repository.git("cat-file", "-t", lost.hex) == "commit"
    ledger.repository.git("gc", "--prune=now", "--quiet")
    ledger.repository.git("fsck", "--strict", "--full")
    assert set(ledger.rev_list("--all", "--objects", "--no-object-names")) == before
    with pytest.raises(AssertionError):
        ledger.repository.git("cat-file", "-t", lost.hex)


def test_contains_names_the_versions_that_saw_a_source(ledger: Ledger) -> None:
    old, new = ledger.source("old"), ledger.source("new")
    one = ledger.step("train", [old])
    ledger.version("clf", 1, steps=[one])
    two = ledger.step("train", [new])
    ledger.version("clf", 2, steps=[two])
    three = ledger.step("train", [new], reached=(old.commit,), reused=one.commit)
    ledger.version("clf", 3, steps=[three])
    git = ledger.repository.git
    assert git("tag", "--contains", old.commit.hex).split() == ["clf@v1", "clf@v3"]
    assert git("tag", "--contains", new.commit.hex).split() == ["clf@v2", "clf@v3"]
    assert git("tag", "--contains", one.commit.hex).split() == ["clf@v1"]
    assert git("merge-base", "--is-ancestor", ledger.code.commit.hex, "clf@v3") == ""
    assert git("describe", "--all", "--match=main") == "heads/main"
    with pytest.raises(AssertionError, match="No tags can describe"):
        git("describe")


def test_a_clone_brings_the_versions_with_all_they_were_made_of(
    ledger: Ledger, tmp_path: Path
) -> None:
    raw = ledger.source("x")
    train = ledger.step("train", [raw], artifact="model")
    commit = ledger.version("clf", 1, steps=[train])
    ledger.promote("clf", "production", 1, commit, commit)
    url = f"file://{ledger.repository.path}"
    ledger.repository.git("clone", "--quiet", url, str(tmp_path / "full"))
    full = GitRepository(tmp_path / "full")
    assert full.git("tag").split() == ["clf@production/1", "clf@v1"]
    assert full.git("cat-file", "-t", raw.commit.hex) == "commit"
    graph = full.git("log", "--graph", "--format=%s", "clf@v1", "--not", "main")
    assert [line.lstrip("*|\\/ ") for line in graph.split("\n") if "*" in line] == [
        "Version of clf, made by training",
        "Run training: completed, 1 step, 0 cached",
        "Step training.train",
        f"Source {raw.digest.hex[:12]}",
    ]
    arguments = ["--quiet", "--depth=1", "--branch=clf@v1", url, str(tmp_path / "thin")]
    ledger.repository.git("-c", "advice.detachedHead=false", "clone", *arguments)
    thin = tmp_path / "thin"
    assert (thin / "train.py").read_text() == "depth = 6\n"
    assert (thin / ".gitml/model.json").exists()
    assert (thin / ".gitml/artifacts/model.gitml").exists()
    assert GitRepository(thin).git("rev-list", "--count", "HEAD") == "1"
    clone = Ledger.at(thin)
    assert clone.names().version("clf", "v1") == commit
    assert clone.names().version("clf", "latest") == commit
    clone.close()


def test_attributes_of_the_project_do_not_rewrite_a_record(ledger: Ledger) -> None:
    repository = ledger.repository
    repository.write(
        ".gitattributes",
        "* text=auto eol=crlf ident filter=shout\n*.json working-tree-encoding=UTF-16\n",
    )
    repository.git("config", "filter.shout.smudge", "tr a-z A-Z")
    repository.git("config", "filter.shout.clean", "tr A-Z a-z")
    repository.git("config", "core.autocrlf", "true")
    repository.git("add", ".gitattributes")
    repository.git("commit", "--quiet", "-m", "attributes")
    commit = ledger.version("clf", 1, description="$Id$ of a model")
    repository.git("checkout", "--quiet", "--force", "clf@v1")
    for name in ("model.json", "metrics.json", "README.md", "artifacts/model.gitml"):
        data = (repository.path / ".gitml" / name).read_bytes()
        assert data == ledger.odb.file(commit, f".gitml/{name}"), name
    assert repository.git("status", "--porcelain", "--", ".gitml") == ""


def test_a_lost_race_leaves_no_pack_that_gc_may_not_touch(ledger: Ledger) -> None:
    step = ledger.step("train")
    ledger.run([step])
    ledger.step("another")
    taken = run_ref("training", "2026-01-02T03:04:07.000000Z", step.commit)
    refs.update(ledger.git, [Change(taken, step.commit, None)], "first")
    with pytest.raises(RaceLost):
        ledger.recorder.publish([Change(taken, step.commit, None)], "second")
    assert list((ledger.git.common / "objects/pack").glob("*.keep")) == []


def test_a_code_trees_own_gitml_folder_is_not_carried_along(ledger: Ledger) -> None:
    """Code on top of a checked-out version that was committed by mistake."""
    ledger.version("clf", 1)
    ledger.repository.git("merge", "--quiet", "--ff-only", "clf@v1")
    ledger.repository.write("train.py", "depth = 7\n")
    ledger.repository.commit("by mistake")
    run = ledger.run([ledger.step("train")])
    names = ledger.repository.git("ls-tree", "-r", "--name-only", run.hex).split("\n")
    assert [name for name in names if name.startswith(".gitml/")] == [
        ".gitml/.gitattributes",
        ".gitml/environment.txt",
        ".gitml/metrics.json",
        ".gitml/run.json",
    ]


# Folds and the covering set


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_many_parents_are_folded_in_order(ledger: Ledger, count: int) -> None:
    inputs = []
    for number in range(count):
        raw = ledger.source(f"part {number}")
        inputs.append(replace(raw, name=f"data:part-{number}"))
    step = ledger.step("train", loads=tuple(inputs))
    ledger.run([step])
    parents = ledger.odb.commit(step.commit).parents
    assert len(parents) == 1 + (count if count <= 64 else -(-count // 64))
    unfolded = list(parents[1:])
    if count > 64:
        folds = [ledger.odb.commit(one) for one in parents[1:]]
        assert all(fold.trailers() == [("Gitml-Kind", "fold")] for fold in folds)
        assert all(
            fold.author == f"gitml <gitml@localhost> {int(START + 1)} +0000" for fold in folds
        )
        unfolded = [one for fold in folds for one in fold.parents]
        data = ledger.odb.file(folds[0].id, ".gitml/fold.json")
        assert data is not None
        assert json.loads(data)["commits"] == [one.hex for one in folds[0].parents]
        listing = ledger.repository.git("ls-tree", "-r", "--name-only", folds[0].id.hex)
        assert listing.split() == [".gitml/.gitattributes", ".gitml/fold.json"]
    assert unfolded == [one.commit for one in inputs]
    ledger.repository.git("fsck", "--strict", "--no-dangling")


def test_a_fold_of_folds_has_no_parent_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "MAX_PARENTS", 8)
    ids = [ledger.source(f"{n}").commit for n in range(8 * 8 + 1)]
    level = ledger.recorder._folded([*ids, *ids[:10]], START)
    assert len(level) == 2
    builder = ledger.recorder.builder
    builder.write_pack().release()
    commit = builder.commit(builder.tree([]), level, ADA.at(START), ADA.at(START), "x\n")
    builder.write_pack().release()
    listed = ledger.rev_list("--max-parents=0", commit.hex)
    assert sorted(listed) == sorted(one.hex for one in ids)


graphs = st.integers(1, 9).flatmap(
    lambda count: st.tuples(
        *(
            st.frozensets(st.integers(0, n - 1), max_size=3) if n else st.just(frozenset())
            for n in range(count)
        )
    )
)


@given(graphs, st.data())
def test_every_step_of_a_run_is_reachable(
    graph: tuple[frozenset[int], ...], data: st.DataObject
) -> None:
    """Also where a cached consumer stands beside a producer that was made again."""
    ids = [ObjectId(f"{n:040x}") for n in range(len(graph))]
    parents = {ids[n]: [ids[p] for p in sorted(above)] for n, above in enumerate(graph)}
    chosen = data.draw(st.lists(st.sampled_from(range(len(graph))), min_size=1, unique=True))
    steps = [(f"s{n}", ids[n]) for n in sorted(chosen)]
    covering = covering_steps([*steps, steps[0]], parents)
    assert covering == [one for one in steps if one in covering]
    reached: set[ObjectId] = set()
    todo = [commit for _, commit in covering]
    while todo:
        commit = todo.pop()
        if commit not in reached:
            reached.add(commit)
            todo += parents[commit]
    assert {commit for _, commit in steps} <= reached
    direct = {parent for _, commit in steps for parent in parents[commit]}
    assert not direct & {commit for _, commit in covering}


def test_a_cached_consumer_beside_a_producer_made_again(ledger: Ledger) -> None:
    old = ledger.step("prepare", [ledger.source("old")], content="same")
    consumer = ledger.step("train", [old.feeds("table")])
    ledger.run([old, consumer])
    new = ledger.step("prepare", [ledger.source("new")], content="same")
    run = ledger.run([new, consumer])
    parents = ledger.odb.commit(run).parents
    assert parents == (ledger.code.commit, new.commit, consumer.commit)
    assert {new.commit.hex, old.commit.hex, consumer.commit.hex} <= set(ledger.rev_list(run.hex))


def test_an_input_that_stands_twice_is_one_parent(ledger: Ledger) -> None:
    raw = ledger.source("x")
    twice = [raw, Input("other", raw.digest, "blob", raw.commit)]
    step = ledger.step("s", twice)
    ledger.run([step])
    assert ledger.odb.commit(step.commit).parents == (ledger.code.commit, raw.commit)
    trailers = ledger.odb.commit(step.commit).trailers()
    assert [value for key, value in trailers if key == "Gitml-Input"] == [
        f"raw {raw.commit}",
        f"other {raw.commit}",
    ]


def test_the_refs_of_numbers(ledger: Ledger) -> None:
    assert version_tag("clf", 3) == "refs/tags/clf@v3"
    ledger.repository.git("check-ref-format", version_tag("clf", 999999999))
