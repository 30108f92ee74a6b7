"""What a git user sees and may do once gitml has worked in the repository."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitml.errors import MissingBytes
from gitml.repo import Repo
from tests.workshop import Copy, Workshop, model_for_copies, states


@pytest.fixture(scope="module")
def told_once(
    trained_once: Workshop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("told")
    shutil.copytree(trained_once.path, folder / "bob")
    with model_for_copies(folder) as made:
        made.git("tag", "--annotate", "--message", "first release", "1.0")
        repo = made.repo()
        repo.promote("clf@v1", "production", "first")
        repo.promote("clf@v2", "production", "better")
        repo.rollback("clf", "production", "too slow")
        repo.promote("clf@v3", "staging", "to look at")
        made.run("inference")
        repo = made.repo()
        repo.set_metadata("clf@v2", {"live_acc": 0.91})
        repo.save([1, 2, 3], "thresholds")
        repo.delete("clf@v2", "unused")
        made.close()
        yield made


@pytest.fixture
def told(told_once: Workshop, copied: Copy) -> Workshop:
    """The whole story: three versions, promotions, a roll-back, inference, a deletion, a note."""
    return copied(told_once)


def test_git_finds_nothing_wrong_and_gc_loses_nothing(told: Workshop) -> None:
    before = told.refs()
    told.git("fsck", "--strict", "--full", "--no-dangling")
    reached = told.reachable("--all")
    told.git("reflog", "expire", "--expire=now", "--all")
    told.git("gc", "--quiet", "--prune=now")
    assert told.refs() == before
    assert told.reachable("--all") == reached
    told.git("fsck", "--strict", "--full")
    assert told.problems() == []
    assert told.states("inference") == {"predict": "cached"}


def test_nothing_is_left_lying_in_the_git_directory(told: Workshop) -> None:
    left = [
        path
        for path in (told.path / ".git").rglob("*")
        if path.suffix in (".lock", ".keep", ".tmp") or path.name.startswith(("tmp_", "gitml-"))
    ]
    assert left == []
    assert not list((told.path / ".git/gitml").rglob("*.jsonl"))
    assert told.git("status", "--porcelain") == ""


def test_a_clone_has_versions_lineage_and_promotions(told: Workshop, tmp_path: Path) -> None:
    alice = Workshop(tmp_path / "alice")
    told.git("clone", "--quiet", told.path.as_uri(), str(alice.path))
    tags = [one for one in told.refs("refs/tags") if "@" in one]
    assert set(tags) <= set(alice.refs("refs/tags"))
    metrics = json.loads(alice.git("show", "clf@v3:.gitml/metrics.json"))
    assert metrics == {"format": 1, "metrics": {"accuracy": 0.3}}
    assert alice.git("rev-parse", "clf@production/3^{commit}") == alice.git(
        "rev-parse", "clf@v1^{commit}"
    )
    repo = alice.repo()
    try:
        assert [one.label for one in repo.versions("clf")] == ["clf@v1", "clf@v3"]
        assert repo.version("clf@production").label == "clf@v1"
        assert repo.lineage("clf@v3") == told.repo().lineage("clf@v3")
    finally:
        alice.close()


def test_a_shallow_clone_of_a_version_is_what_a_deployment_needs(
    told: Workshop, tmp_path: Path
) -> None:
    there = Workshop(tmp_path / "deployment")
    url = told.path.as_uri()
    told.git("clone", "--quiet", "--depth", "1", "--branch", "clf@v3", url, str(there.path))
    assert there.git("rev-list", "--count", "HEAD") == "1"
    assert (there.path / "pipelines/training.py").exists()
    pointer = (there.path / ".gitml/artifacts/model.gitml").read_text()
    assert str(told.repo().artifact("clf@v3:model").digest) in pointer
    assert "accuracy" in (there.path / ".gitml/README.md").read_text()
    repo = there.repo()
    assert repo.version("clf@v3").metrics == {"accuracy": 0.3}
    with pytest.raises(MissingBytes):
        repo.artifact("clf@v3:model").load()
    error = there.fails("features")
    assert isinstance(error, MissingBytes)
    assert "git fetch --unshallow" in (error.hint or "")
    assert "gitml run --no-record" in (error.hint or "")
    before = there.refs()
    assert there.run_unrecorded("features") == ["clean"]
    assert there.refs() == before
    assert there.repo().runs() == []
    there.git("fetch", "--quiet", "--unshallow")
    run = there.run("features")
    assert str(run.entry.record.code.commit) == told.git("rev-parse", "HEAD")
    there.close()


def test_the_log_of_a_version_is_its_making(told: Workshop) -> None:
    graph = told.git("log", "--graph", "--format=%s", "clf@v3", "--not", "main")
    for line in (
        "Version of clf, made by training",
        "Run training: completed, 2 steps, 1 cached",
        "Step training.train",
        "Step training.preprocess",
        "Step features.clean",
        "Source ",
    ):
        assert line in graph
    assert "three pipelines" not in graph


def test_the_first_parent_diff_is_exactly_the_record(told: Workshop) -> None:
    stat = told.git("show", "--first-parent", "--stat", "--format=%s", "--stat-width=120", "clf@v3")
    files = [line.split("|")[0].strip() for line in stat.splitlines() if "|" in line]
    names = ("checkpoint", "metrics", "model", "training.preprocess")
    assert sorted(files) == sorted(
        [
            ".gitml/.gitattributes",
            ".gitml/README.md",
            *(f".gitml/artifacts/{one}.gitml" for one in names),
            ".gitml/metrics.json",
            ".gitml/model.json",
        ]
    )


def test_contains_names_the_models_of_a_code_commit(told: Workshop) -> None:
    code = told.git("rev-parse", "HEAD")
    told.code("later.py", "answer = 42\n")
    later = told.git("rev-parse", "HEAD")
    versions = ["clf@v1", "clf@v2", "clf@v3"]
    named = told.git("tag", "--list", "clf@v*", "--contains", code).splitlines()
    assert named == versions
    assert told.git("tag", "--contains", later) == ""
    assert told.git("merge-base", "clf@v1", "clf@v3") == told.git(
        "rev-parse", str(told.repo().lineage("clf@v1").made_of[0].made_of[0].commit)
    )


def test_describe_and_release_tags_are_untouched(told: Workshop) -> None:
    assert told.git("describe") == "1.0"
    told.git("commit", "--quiet", "--allow-empty", "--message", "later")
    assert told.git("describe").startswith("1.0-1-g")
    assert [one for one in told.git("tag", "--list").splitlines() if "@" not in one] == ["1.0"]


def test_a_project_s_own_attributes_do_not_touch_a_record(trained: Workshop) -> None:
    trained.write(".gitattributes", "* text eol=crlf ident\n")
    trained.commit("attributes")
    run = trained.run("training", {"rate": 0.75})
    assert run.model_version is not None
    trained.git("checkout", "--quiet", "--detach", "clf@v4")
    raw = trained.git("cat-file", "blob", "clf@v4:.gitml/model.json")
    assert (trained.path / ".gitml/model.json").read_bytes().decode().rstrip("\n") == raw
    assert trained.git("status", "--porcelain") == ""


def test_a_run_is_one_pack_and_one_transaction(bob: Workshop) -> None:
    bob.run("features")
    hook = bob.path / ".git/hooks/reference-transaction"
    log = bob.path.with_name("transactions")
    hook.write_text(f'#!/bin/sh\nwhile read old new ref; do echo "$1 $$ $ref"; done >> {log}\n')
    hook.chmod(0o755)
    before = _objects(bob)
    run = bob.run("training")
    after = _objects(bob)
    assert after["packs"] - before["packs"] == 1
    assert after["loose"] - before["loose"] == 1, "the tag with the number, and nothing else"
    assert not list((bob.path / ".git/objects").rglob("*.keep"))
    moves = [line.split() for line in log.read_text().splitlines() if line.startswith("committed")]
    assert len({process for _, process, _ in moves}) == 1
    assert run.model_version is not None
    assert sorted(ref for _, _, ref in moves) == sorted(
        [
            *(one for one in bob.refs("refs/gitml/runs/training")),
            f"refs/gitml/versions/clf/{run.model_version.id.short}",
            "refs/tags/clf@v1",
        ]
    )


SETTINGS = {
    "commit.gpgSign": "true",
    "tag.forceSignAnnotated": "true",
    "i18n.commitEncoding": "ISO-8859-1",
    "i18n.logOutputEncoding": "ISO-8859-1",
    "core.autocrlf": "true",
    "core.quotePath": "false",
    "core.abbrev": "4",
    "core.logAllRefUpdates": "always",
    "status.showUntrackedFiles": "no",
    "status.branch": "true",
    "status.short": "true",
    "status.renames": "copies",
    "color.ui": "always",
    "column.ui": "always",
    "log.showSignature": "true",
    "fsck.missingEmail": "error",
    "transfer.fsckObjects": "true",
    "gc.auto": "1",
    "merge.ff": "false",
    "diff.external": "false",
}
"""What people have in their configuration, and what must not show in a record.

``tag.gpgSign`` is not among them: who has it set wants the tags of moves signed.
"""


def test_settings_of_the_user_do_not_get_in(bob: Workshop, tmp_path: Path) -> None:
    shutil.copytree(bob.path, tmp_path / "plain")
    plain = Workshop(tmp_path / "plain")
    for name, value in SETTINGS.items():
        bob.git("config", name, value)
    bob.git("config", "user.name", "Zoë Ångström")
    made = []
    for one in (bob, plain):
        for turn in ("features", "training", "training"):
            one.run(turn)
        repo = one.repo()
        repo.promote("clf@v1", "production", "é")
        repo.set_metadata("clf@v1", {"a": "é"})
        repo.save("é", "text")
        made.append(set(repo.lineage("artifact/features").made_of))
        assert one.problems() == []
        one.git("fsck", "--strict", "--full", "--no-dangling")
    assert made[0] == made[1], "a source is the same commit under any settings"
    assert "Zoë Ångström" in bob.git("cat-file", "tag", "clf@production/1")
    assert bob.repo().runs()[0].entry.author == "Zoë Ångström"
    plain.close()


def test_a_run_inside_of_a_hook_is_a_run(bob: Workshop) -> None:
    """git hands its hooks variables that would bend every command in them."""
    text = (bob.path / "pipelines/features.py").read_text()
    bob.write("pipelines/features.py", text + "\nif __name__ == '__main__':\n    features()\n")
    hook = bob.path / ".git/hooks/post-commit"
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} pipelines/features.py\n")
    hook.chmod(0o755)
    commit = bob.commit("with a hook")
    (run,) = bob.repo().runs()
    assert run.status == "completed"
    assert str(run.entry.record.code.commit) == commit
    assert bob.git("status", "--porcelain") == ""


def test_names_with_spaces_and_letters_of_the_world(workshop: Workshop) -> None:
    workshop.write("donn ées/«ça».json", "[1, 2]")
    workshop.code(
        "pipelines/été.py",
        """
        import json
        from pathlib import Path
        import gitml
        from gitml import pipeline, step

        @step
        def lire(données: Path) -> list:
            return json.loads(données.read_text()) + json.loads(
                gitml.data("donn ées/«ça».json").read_text()
            )

        @pipeline(name="summer")
        def été(note: str = "Größe\\n#x"):
            lire(gitml.data("donn ées/«ça».json"))
        """,
    )
    run = workshop.run("summer")
    assert run.steps["lire"].outputs["output"].load() == [1, 2, 1, 2]
    assert workshop.states("summer") == {"lire": "cached"}
    assert workshop.problems() == []
    workshop.git("fsck", "--strict", "--full", "--no-dangling")


def test_records_do_not_depend_on_who_looks(told: Workshop, tmp_path: Path) -> None:
    """Sources are the same commit in every clone: a function of the bytes alone."""
    other = Workshop.at(tmp_path / "other")
    other.write("data/raw.json", (told.path / "data/raw.json").read_bytes())
    for name in ("features", "inference", "training"):
        path = f"pipelines/{name}.py"
        other.write(path, (told.path / path).read_bytes())
    other.write("lib/scaling.py", (told.path / "lib/scaling.py").read_bytes())
    other.commit("another history")
    there = other.run("features")
    here = told.repo().runs(pipeline="features")[-1]
    assert there.steps["clean"].entry.commit != here.steps["clean"].entry.commit
    sources = {
        Repo.discover(one.path).lineage("artifact/features").made_of[0].commit
        for one in (told, other)
    }
    assert len(sources) == 1
    assert states(there) == {"clean": "completed"}
    other.close()


def _objects(workshop: Workshop) -> dict[str, int]:
    counts = dict(line.split(": ") for line in workshop.git("count-objects", "-v").splitlines())
    return {"packs": int(counts["packs"]), "loose": int(counts["count"])}
