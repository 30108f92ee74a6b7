"""The facade: setting up, finding, listing, naming, deleting, and what it says of bad places."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gitml import StorageSize, Uri, pipeline
from gitml.errors import (
    AmbiguousName,
    ConfigError,
    GitmlError,
    InvalidName,
    NameNotFound,
    NoRepository,
    StorageError,
    UsageError,
)
from gitml.fs import ProcessIdentity
from gitml.repo import Repo
from tests.workshop import Workshop, states


def test_init_makes_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    repo, made = Repo.init(folder)
    assert made
    text = (folder / "gitml.toml").read_text()
    assert repo.config.project in text
    assert (folder / ".git").is_dir()
    repo.close()
    again, made = Repo.init(folder)
    assert not made
    assert (folder / "gitml.toml").read_text() == text
    inside = folder / "deep/er"
    inside.mkdir(parents=True)
    assert Repo.init(inside)[1] is False
    assert not (inside / "gitml.toml").exists()
    other, _ = Repo.init(tmp_path / "other")
    assert other.config.project != again.config.project
    other.close()
    again.close()


def test_init_says_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="file is no folder"):
        Repo.init(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot write"):
        Repo.init(tmp_path / "file" / "inside")
    assert (tmp_path / "file").read_text() == "mine"


def test_it_is_found_from_any_folder(workshop: Workshop) -> None:
    inside = workshop.path / "a/b"
    inside.mkdir(parents=True)
    assert Repo.discover(inside).root == workshop.path


@pytest.mark.parametrize("kind", ["bare", "nothing", "missing", "git folder"])
def test_places_without_a_work_tree(tmp_path: Path, workshop: Workshop, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "bare":
        workshop.git("init", "--quiet", "--bare", str(place))
    elif kind == "nothing":
        place.mkdir()
    elif kind == "git folder":
        place = workshop.path / ".git"
    with pytest.raises(NoRepository) as caught:
        Repo.discover(place).run(pipeline(name="nothing")(lambda: None))
    assert caught.value.exit_code == 10
    assert caught.value.hint or kind == "missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_is_refused(workshop: Workshop) -> None:
    for path in (workshop.path, workshop.path / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(NoRepository, match="belongs to another user") as caught:
        Repo.discover(workshop.path)
    assert "git config --global --add safe.directory" in (caught.value.hint or "")


def test_a_sha256_repository_is_named(tmp_path: Path) -> None:
    place = tmp_path / "place"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(place)], check=True)
    with pytest.raises(NoRepository, match="sha256"):
        Repo.discover(place)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense [", "cannot be read"),
        ("[project]\n", "project.id is missing"),
        ('[project]\nid = "x"\n[metrics.a]\ndirection = "up"\n', 'should be "max" or "min"'),
        ('[project]\nid = "x"\n[remotes.a]\nurl = "s3://k:v@b"\n', "user name and password"),
        ('[project]\nid = "x"\n[remotes.a]\nsecret = "abc"\n', "holds a secret"),
        ('[project]\nid = "x"\n[pipelines]\npaths = "p"\n', "a list of texts"),
    ],
)
def test_a_wrong_gitml_toml_names_the_key(workshop: Workshop, text: str, words: str) -> None:
    (workshop.path / "gitml.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        _ = workshop.repo().config


def test_tables_of_a_later_version_are_kept_and_named(workshop: Workshop) -> None:
    with (workshop.path / "gitml.toml").open("a") as file:
        file.write("\n[serving]\nport = 1\n")
    (warning,) = workshop.repo().status().warnings
    assert "[serving]" in warning


@pytest.fixture
def ran(workshop: Workshop) -> Workshop:
    workshop.training()
    workshop.run()
    workshop.run("training", {"rate": 0.25})
    return workshop


def test_runs_are_listed_newest_first(ran: Workshop) -> None:
    text = (ran.path / "pipelines/training.py").read_text()
    ran.code("pipelines/training.py", text.replace("log_metrics(", "1 / 0\n    log_metrics("))
    ran.fails("training", {"rate": 0.75})
    repo = ran.repo()
    assert [one.status for one in repo.runs()] == ["failed", "completed", "completed"]
    assert [one.parameters["rate"] for one in repo.runs()] == [0.75, 0.25, 0.5]
    assert len(repo.runs(limit=2)) == 2
    assert len(repo.runs(state="failed")) == 1
    assert len(repo.runs(pipeline="training")) == 3
    assert len(repo.runs(model="clf")) == 3
    assert repo.runs(pipeline="other") == []


def test_names_of_runs_are_prefixes(ran: Workshop) -> None:
    repo = ran.repo()
    run = repo.runs()[0]
    for text in (str(run.id), run.id.short, run.id.hex[:8], f"run/{run.id.short}"):
        assert repo.resolve(text).commit == run.id
    assert repo.resolve("training").kind == "pipeline"
    assert repo.resolve("training").commit == run.id
    with pytest.raises(NameNotFound, match="no run begins with"):
        repo.resolve("run/ffffffffffff")


def test_artifacts_are_listed_once_for_each_of_their_bytes(ran: Workshop) -> None:
    repo = ran.repo()
    repo.save([1], "by-hand")
    names = [one.output.artifact for one in ran.repo().artifacts()]
    assert sorted(names) == ["by-hand", "model", "model", "table"]
    assert [one.made_by for one in ran.repo().artifacts("table")] == ["training.prepare"]
    with pytest.raises(NameNotFound, match="no artifact is called `tabel`"):
        ran.repo().artifacts("tabel")
    with pytest.raises(UsageError, match="not a run"):
        ran.repo().artifacts(run="clf")


def test_an_artifact_is_asked_for_by_an_artifact_s_name(ran: Workshop) -> None:
    repo = ran.repo()
    assert repo.artifact("table").load() == [2, 4, 6]
    with pytest.raises(UsageError, match="clf@v2 is a version, not an artifact") as caught:
        repo.artifact("clf@v2")
    assert "`clf@v2:model`" in (caught.value.hint or "")
    repo.save(1, "clf")
    assert ran.repo().artifact("clf").load() == 1, "a bare name is an artifact's here"
    with pytest.raises(AmbiguousName):
        ran.repo().resolve("clf")


def test_metadata_is_added_without_rewriting(ran: Workshop) -> None:
    repo = ran.repo()
    version = repo.version("clf@v2").id
    assert repo.set_metadata("clf@v2", {"live_acc": 0.91}) == "clf@v2"
    repo.set_metadata("clf@v2", {"live_acc": 0.92, "who": "ops"})
    repo.set_metadata(repo.runs()[0].id.short, {"looked": True})
    assert ran.repo().metadata("clf@v2") == {"accuracy": 0.95, "live_acc": 0.92, "who": "ops"}
    assert ran.repo().version("clf@v2").id == version
    assert ran.repo().runs()[0].metadata() == {"looked": True}
    notes = ran.git("notes", "--ref", "gitml", "show", str(version)).splitlines()
    assert len([one for one in notes if one]) == 2
    for text in ("HEAD", "main"):
        with pytest.raises(UsageError, match="carries no metadata"):
            ran.repo().set_metadata(text, {"a": 1})


def test_metadata_of_an_artifact_is_of_its_bytes(ran: Workshop) -> None:
    repo = ran.repo()
    assert (
        repo.set_metadata("clf@v2:model", {"tested": "yes", "data": {"rows": 3}}) == "clf@v2:model"
    )
    version = repo.version("clf@v2")
    name = f"model@{version.artifacts['model'].digest.short}"
    repo.set_metadata(name, {"tested": "twice"})
    told = ran.repo().metadata("clf@v2:model")
    assert told["tested"] == "twice"
    assert told["data.rows"] == 3
    assert dict(ran.repo().artifact(name).metadata) == told
    assert dict(ran.repo().version("clf@v2").artifacts["model"].metadata) == told
    for other in ("clf@v1:model", "clf@v2", "table"):
        assert "tested" not in ran.repo().metadata(other), "the bytes of others are others"

    ran.run(cache=False, parameters={"rate": 0.25})  # the same bytes, made by another step
    assert ran.repo().artifact(name).commit != version.artifacts["model"].commit
    assert ran.repo().metadata(name)["tested"] == "twice"

    repo.save({"at": 0.5}, "thresholds")
    repo.set_metadata("thresholds", {"by": "hand"}, "artifact")
    assert ran.repo().metadata("thresholds")["by"] == "hand"


def test_late_metadata_asks_for_the_kind_and_for_plain_values(ran: Workshop) -> None:
    repo = ran.repo()
    for text, kind, words in (
        ("training", "model", "training"),
        ("clf@v1", "run", "clf@v1 is a version, not a run"),
        ("clf@v1", "artifact", "clf@v1 is a version, not an artifact"),
    ):
        with pytest.raises(GitmlError, match=words):
            repo.set_metadata(text, {"a": 1}, kind)
    with pytest.raises(UsageError, match="`a` is a object"):
        repo.set_metadata("clf@v1", {"a": object()})
    run = repo.runs()[0]
    repo.set_metadata(str(run.id), {"disk": StorageSize(2000), "page": Uri("https://x.org")}, "run")
    step = run.steps["train"]
    assert step.found is not None
    repo.set_metadata(str(step.found.id), {"looked": True})
    again = ran.repo().run_of(run.id)
    assert again.metadata() == {"disk": 2000, "page": "https://x.org"}
    assert isinstance(again.metadata()["disk"], StorageSize)
    assert again.steps["train"].metadata == {"looked": True}


def test_tags_are_on_runs_versions_and_artifacts(ran: Workshop) -> None:
    repo = ran.repo()
    run, version = repo.runs()[0], repo.version("clf@v2")
    assert repo.add_tags("training", ["nightly"]) == (f"run {run.id.hex[:7]}", ("nightly",))
    assert version.add_tags("baseline", "nightly") == ("baseline", "nightly")
    assert repo.add_tags("clf@v2:model", ["baseline"])[0] == "clf@v2:model"

    again = ran.repo()
    assert again.run_of(run.id).tags == ("nightly",)
    assert again.tags("clf@v2") == ("baseline", "nightly")
    assert "<td>tag</td><td>baseline</td>" in again.version("clf@v2")._repr_html_()
    assert again.artifact("clf@v2:model").tags == ("baseline",)
    assert again.version("clf@v1").tags == again.tags("table") == ()
    assert [one.id for one in again.runs(tag="nightly")] == [run.id]
    assert again.runs(tag="baseline") == []
    assert [one.output.artifact for one in again.artifacts(tag="baseline")] == ["model"]
    assert again.artifacts("model", tag="nightly") == []
    assert [one.name for one in again.models(tag="baseline")] == ["clf"]
    model = f"model@{version.artifacts['model'].digest.short}"
    assert [(one.tag, one.kind, one.name) for one in again.everything_tagged()] == [
        ("baseline", "artifact", model),
        ("baseline", "version", "clf@v2"),
        ("nightly", "run", f"training {run.id.hex[:7]}"),
        ("nightly", "version", "clf@v2"),
    ]
    for ask in (again.runs, again.models, again.artifacts):
        with pytest.raises(NameNotFound, match="no tag is called `nightl`"):
            ask(tag="nightl")  # type: ignore[operator]

    assert repo.remove_tags("clf@v2", ["nightly"]) == "clf@v2"
    assert ran.repo().tags("clf") == ("baseline",)
    with pytest.raises(NameNotFound, match="no tag is called `nightly`"):
        ran.repo().everything_tagged("nightly") if repo.remove_tags("training", ["nightly"]) else 0
    step = run.steps["train"].found
    assert step is not None
    with pytest.raises(UsageError, match="is a step, and carries no tags"):
        repo.add_tags(str(step.id), ["x"])


def test_what_cannot_be_deleted_says_so(ran: Workshop) -> None:
    repo = ran.repo()
    with pytest.raises(UsageError, match="clf is a model") as caught:
        repo.delete("clf", "all")
    assert "gitml delete clf@v1" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="table is an artifact"):
        repo.delete("table", "all")
    with pytest.raises(NameNotFound):
        repo.delete("clf@v9", "all")


def test_a_run_without_a_version_can_be_forgotten(ran: Workshop) -> None:
    repo = ran.repo()
    first = repo.runs()[-1]
    with pytest.raises(GitmlError, match="clf@v1 was made by the run") as caught:
        repo.delete(first.id.short, "tidy")
    assert "gitml delete clf@v1" in (caught.value.hint or "")
    again = ran.run("training")  # all cached: it makes none
    assert again.made_versions == []
    repo = ran.repo()
    assert repo.delete(again.id.short, "the same again", dry_run=True).kind == "run"
    assert again.id in [one.id for one in repo.runs()]
    assert repo.delete(again.id.short, "the same again").label == again.id.short
    repo = ran.repo()
    assert (
        again.id not in [one.id for one in repo.runs()] and repo.version("clf@v1").run is not None
    )
    with pytest.raises(NameNotFound):
        repo.delete(again.id.short, "again")
    assert ran.problems() == []


def test_names_outside_the_grammar_are_refused(workshop: Workshop) -> None:
    for name in ("a b", "../x", "", "x.lock", "con", "a..b", "-x", "é", "a" * 101):
        with pytest.raises(InvalidName):
            workshop.repo().save(1, name)
    assert workshop.refs("refs/gitml") == {}


def test_status_runs_no_code_and_says_how_things_stand(ran: Workshop) -> None:
    ran.write("pipelines/evil.py", "raise SystemExit('ran')\n")
    ran.write("data/raw.json", '{"rows": [9]}')
    status = ran.repo().status()
    assert status.tree.branch == "main"
    assert str(status.tree.head) == ran.git("rev-parse", "HEAD")
    assert status.stack == "default"
    assert status.tree.changed == ("data/raw.json",)
    assert status.tree.untracked == ("pipelines/evil.py",)
    assert [one.name for one in status.models] == ["clf"]
    assert status.warnings == ()
    assert [one.name for one in ran.repo().pipelines()] == ["training"]


def test_a_pipeline_whose_file_is_gone_is_still_listed(ran: Workshop) -> None:
    (ran.path / "pipelines/training.py").unlink()
    (entry,) = ran.repo().pipelines()
    assert entry.definition is None
    assert entry.runs == 2


def test_reading_needs_no_store_and_no_index(ran: Workshop) -> None:
    answers = [one.id for one in ran.repo().runs()], ran.repo().lineage("clf@v1")
    shutil.rmtree(ran.path / ".git/gitml")
    assert ([one.id for one in ran.repo().runs()], ran.repo().lineage("clf@v1")) == answers
    assert states(ran.repo().runs()[0]) == {"prepare": "cached", "train": "completed"}
    assert [one.kind for one in ran.problems()] == ["missing-blob"] * 4


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_repository_that_cannot_be_written_can_be_read(ran: Workshop) -> None:
    """Another user, who may only read it, sees everything, and what differs in the data too.

    `diff` wanted to write there to know the time, and `status` said nothing of the data.
    """
    table, folder = ran.write("data/table.csv", "a\n1\n"), ran.path / "data/images"
    ran.write("data/images/a.png", "a")
    ran.repo().add([table, folder])
    ran.write("data/table.csv", "a\n1\n2\n")
    ran.write("data/images/b.png", "b")
    ran.close()
    read_as_another(ran)
    shutil.rmtree(ran.path / ".git/gitml/stat")  # as in a clone that nobody has looked at
    read_as_another(ran)


def read_as_another(ran: Workshop) -> None:
    """Have a user who may only read look at the repository; its data is a table and a folder."""
    for path in ran.path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for folder in (ran.path, *ran.path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "from pathlib import Path\n"
        "from gitml.repo import Repo\n"
        f"repo = Repo.discover({str(ran.path)!r})\n"
        "print(len(repo.runs()), repo.version('clf@v2').load('model'))\n"
        f"print([one.path for one in repo.diff([], Path({str(ran.path)!r})).data])\n"
        "print([(one.state, *one.added, *one.changed) for one in repo.status().data])\n"
    )
    variables = {**os.environ, "GIT_CONFIG_COUNT": "1"}
    variables |= {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*", "HOME": "/tmp"}
    variables |= {"GIT_CONFIG_GLOBAL": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1"}
    import sys

    done = subprocess.run(
        ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", sys.executable, "-c", code],
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named 'gitml'" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("this installation of Python or gitml cannot be read by others")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 {'weights'")
    assert lines[1] == "['data/images', 'data/table.csv']"
    assert "b.png" in lines[2]


def test_explaining_needs_a_step_s_name(ran: Workshop) -> None:
    ran.forget()
    (told,) = ran.repo().explain("training.train", ran.path)
    assert told.outcome == "cached" or told.outcome == "run"
    with pytest.raises(GitmlError):
        ran.repo().explain("training.nothing", ran.path)
    ran.forget()


def test_the_next_command_tidies_up_what_a_dead_git_announced(workshop: Workshop) -> None:
    moves = workshop.path / ".git/gitml/moves"
    moves.mkdir(parents=True, exist_ok=True)
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot)
    (moves / f"{dead.to_text()}+00000000").write_text('{"refs/heads/x": ""}')
    (moves / f"{mine.to_text()}+00000000").write_text('{"refs/heads/y": ""}')
    assert workshop.repo().recover() == []
    assert [path.name for path in moves.iterdir()] == [f"{mine.to_text()}+00000000"]


def test_a_shared_store_that_is_not_mounted_is_named_and_not_made_again(
    workshop: Workshop, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    workshop.git("config", "gitml.store", str(root))
    with Repo.discover(workshop.path).store.writer() as writer:
        digest = writer.put_bytes(b"data")
    root.rename(tmp_path / "away")
    root.mkdir()
    store = Repo.discover(workshop.path).store
    with pytest.raises(StorageError, match="shared is not there"):
        store.read(digest)
    with pytest.raises(StorageError, match="shared is not there"), store.writer() as writer:
        writer.put_bytes(b"more")
    assert os.listdir(root) == []
    root.rmdir()
    (tmp_path / "away").rename(root)
    assert Repo.discover(workshop.path).store.read(digest) == b"data"
    workshop.git("config", "gitml.store", str(tmp_path / "another"))
    with Repo.discover(workshop.path).store.writer() as writer:
        writer.put_bytes(b"in a new one")


def test_a_setting_for_links_that_means_nothing_is_an_error(workshop: Workshop) -> None:
    workshop.git("config", "gitml.link", "symlink")
    with pytest.raises(ConfigError, match="should be auto, hardlink or copy"):
        _ = Repo.discover(workshop.path).store


# What the cache offers


def test_results_are_listed_and_cleared_by_pipeline_step_and_age(workshop: Workshop) -> None:
    workshop.training()
    first = workshop.run(parameters={"rate": 0.1})
    second = workshop.run(parameters={"rate": 0.2})
    repo = workshop.repo()
    listed = repo.cached_steps()
    assert [one.step for one in listed] == ["train", "train", "prepare"]
    assert [one.run for one in listed] == [second.id, first.id, first.id]
    train = listed[0]
    assert train.commit == second.steps["train"].entry.commit
    assert (train.pipeline, train.here) == ("training", True)
    assert train.size == second.steps["train"].outputs["model"].size
    assert repo.cached_steps("training", "prepare", 0.0) == listed[2:]
    assert repo.cached_steps(older_than=3600.0) == []
    with pytest.raises(NameNotFound, match="no cached step is called `trian`"):
        repo.cached_steps(step="trian")
    with pytest.raises(NameNotFound, match="no pipeline is called `trainign`"):
        repo.clear_cache("trainign")

    before = workshop.refs()
    assert repo.clear_cache(step="train") == listed[:2]
    assert workshop.refs() == before
    assert repo.cached_steps() == listed[2:]
    assert repo.clear_cache(step="train") == []
    again = workshop.run(parameters={"rate": 0.2})
    assert states(again) == {"prepare": "cached", "train": "completed"}
    assert workshop.states(parameters={"rate": 0.2}) == {"prepare": "cached", "train": "cached"}
    assert workshop.problems() == []
