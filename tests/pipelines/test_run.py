"""Runs as a whole: where and how they are started, what they record, which versions they make."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gitml.errors import (
    ConfigError,
    GitmlError,
    InvalidName,
    NoRepository,
    StepFailed,
    UsageError,
)
from gitml.pipelines.outcome import StepEvent
from gitml.repo import Repo
from gitml.testing.sealed import SealedEnvironment
from tests.workshop import Workshop, group_of, load, states, wait_for

SCRIPT = """\
import sys
from pathlib import Path

from gitml import Model, log_metrics, pipeline, step
from helpers import base


@step
def first() -> int:
    return base()


@step
def second(value: int, times: int = 2) -> int:
    log_metrics({"score": value * times})
    return value * times


@pipeline(model=Model("net"))
def chain(times: int = 2):
    second(first(), times)


if __name__ == "__main__":
    run = chain(*map(int, sys.argv[1:]))
    print(*(one.status for one in run.steps.values()), run.model_version.label)
"""


@pytest.fixture
def chain(workshop: Workshop) -> Workshop:
    """A pipeline of two steps that is also a script, beside the module that it imports."""
    workshop.write("work/pipelines/helpers.py", "def base():\n    return 21\n")
    workshop.write("work/pipelines/chain.py", SCRIPT)
    config = workshop.path / "gitml.toml"
    config.write_text(config.read_text().replace('["pipelines"]', '["work/pipelines"]'))
    workshop.commit("a chain")
    return workshop


# Ways to start


def test_script_name_file_and_subfolder_share_hits(chain: Workshop) -> None:
    ran = chain.python("work/pipelines/chain.py").out
    assert ran == "completed completed net@v1\n"
    cached = {"first": "cached", "second": "cached"}
    work = chain.path / "work"
    assert chain.states("chain") == cached
    assert chain.states("work/pipelines/chain.py") == cached
    assert chain.states("pipelines/chain.py:chain", here=work) == cached
    assert chain.states(str(work / "pipelines/chain.py")) == cached
    assert chain.python("chain.py", here=work / "pipelines").out == "cached cached net@v1\n"
    script = str(work / "pipelines/chain.py")
    elsewhere = chain.path.with_name("elsewhere")
    elsewhere.mkdir()
    assert chain.python(script, here=elsewhere).out == "cached cached net@v1\n"
    assert chain.python("-m", "chain", here=work / "pipelines").out == "cached cached net@v1\n"
    assert chain.python("work/pipelines/chain.py", "3").out == "cached completed net@v2\n"


def test_a_linked_worktree_shares_hits_and_versions(chain: Workshop) -> None:
    chain.run("chain")
    other = Workshop(chain.path.with_name("linked"))
    chain.git("worktree", "add", "--quiet", "-b", "feature", str(other.path))
    run = other.run("chain")
    assert states(run) == {"first": "cached", "second": "cached"}
    assert run.model_version is not None
    assert run.model_version.label == "net@v1"
    run = other.run("chain", {"times": 5})
    assert run.model_version is not None
    assert run.model_version.label == "net@v2"
    assert [one.label for one in chain.repo().versions("net")] == ["net@v1", "net@v2"]
    assert chain.problems() == []
    other.close()


def test_a_pipeline_called_while_its_file_is_imported_is_refused(chain: Workshop) -> None:
    text = SCRIPT.partition("if __name__")[0]
    chain.code("work/pipelines/eager.py", text + "chain()\n")
    error = chain.fails("work/pipelines/eager.py")
    assert isinstance(error, UsageError)
    assert "chain is called while its file is imported" in error.message
    assert chain.repo().runs() == []


def test_pipelines_inside_pipelines_run_as_one(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/nested.py",
        """
        from gitml import Model, pipeline, step

        @step
        def one() -> int:
            return 1

        @step
        def add(a: int, b: int) -> int:
            return a + b

        @pipeline(model=Model("inner"))
        def inner(b: int = 10):
            return add(one(), b)

        @pipeline
        def outer():
            add(inner(20), 300)
        """,
    )
    run = workshop.run("outer")
    assert states(run) == {"one": "completed", "add": "completed", "add_2": "completed"}
    assert load(run, "add_2") == 321
    assert workshop.repo().models() == []
    assert workshop.states("inner", {"b": 20}) == {"one": "cached", "add": "cached"}


def test_wrong_targets_say_what_there_is(chain: Workshop) -> None:
    for target, words, hint in (
        ("chian", "no pipeline is called `chian`", "did you mean `chain`?"),
        ("nowhere.py", "no such file", ""),
        ("work/pipelines/helpers.py", "defines no pipeline", ""),
        ("work/pipelines/chain.py:chian", "no pipeline is called `chian`", "`chain`"),
        ("../outside.py", "no such file", ""),
    ):
        error = chain.fails(target)
        assert isinstance(error, GitmlError), target
        assert words in error.message
        assert hint in (error.hint or "")


def test_step_parameters_replace_and_stand_in_the_version(chain: Workshop) -> None:
    run = chain.run("chain", {"second.times": 9})
    assert load(run, "second") == 189
    assert run.model_version is not None
    assert run.model_version.parameters == {"times": 2, "second.times": 9}
    error = chain.fails("chain", {"second.time": 9})
    assert isinstance(error, UsageError)
    assert "no step has the parameter `second.time`" in error.message
    assert "second.times" in (error.hint or "")


# States of the repository


def test_a_detached_head(chain: Workshop) -> None:
    chain.git("switch", "--quiet", "--detach")
    run = chain.run("chain")
    assert str(run.entry.record.code.commit) == chain.git("rev-parse", "main")


def test_another_default_branch(chain: Workshop) -> None:
    chain.git("branch", "--move", "trunk")
    assert chain.states("chain") == {"first": "completed", "second": "completed"}
    assert chain.git("branch", "--show-current") == "trunk"


def test_a_repository_without_a_commit(git_repository: object, tmp_path: Path) -> None:
    bench = Workshop(tmp_path / "repository")
    Repo.init(bench.path)
    bench.write("pipelines/helpers.py", "def base():\n    return 21\n")
    bench.write("pipelines/chain.py", SCRIPT)
    bench.write("notes.txt", "untracked")
    run = bench.run("chain")
    code = run.entry.record.code
    assert code.snapshot
    assert bench.parents(code.commit) == []
    files = bench.git("ls-tree", "-r", "--name-only", str(code.commit)).splitlines()
    assert files == ["pipelines/chain.py", "pipelines/helpers.py"]
    assert bench.git("status", "--porcelain").splitlines() == [
        "?? gitml.toml",
        "?? notes.txt",
        "?? pipelines/",
    ]
    assert bench.states("chain") == {"first": "cached", "second": "cached"}
    bench.commit("first")
    later = bench.run("chain")
    assert states(later) == {"first": "cached", "second": "cached"}
    assert bench.problems() == []
    bench.forget()
    bench.close()


def test_nobody_is_configured(chain: Workshop, sealed_environment: SealedEnvironment) -> None:
    sealed_environment.forget_identity()
    run = chain.run("chain")
    who = chain.git("log", "-1", "--format=%an <%ae> %cn <%ce>", str(run.id))
    assert who == "gitml <gitml@localhost> gitml <gitml@localhost>"
    assert "tagger gitml <gitml@localhost>" in chain.git("cat-file", "tag", "net@v1")
    with pytest.raises(UsageError, match="names who made it") as caught:
        chain.repo().promote("net@v1", "production", "why")
    assert "git config user.name" in (caught.value.hint or "")
    assert "net@production" not in chain.git("tag", "--list")


def test_a_second_config_below_the_root_is_refused(chain: Workshop) -> None:
    chain.write("work/gitml.toml", (chain.path / "gitml.toml").read_text())
    error = chain.fails("chain")
    assert isinstance(error, UsageError)
    assert "second gitml.toml in work" in error.message
    assert error.hint == "`git rm work/gitml.toml`"
    ended = chain.python("work/pipelines/chain.py", status=1)
    assert "second gitml.toml in work" in ended.err


def test_without_gitml_toml_the_way_out_is_init(chain: Workshop) -> None:
    (chain.path / "gitml.toml").unlink()
    error = chain.fails("work/pipelines/chain.py")
    assert isinstance(error, NoRepository)
    assert error.hint == "`gitml init` writes it"


def test_a_dirty_submodule_is_refused(chain: Workshop, tmp_path: Path) -> None:
    library = Workshop.at(tmp_path / "library")
    library.write("lib.py", "x = 1\n")
    library.commit("library")
    chain.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(library.path))
    chain.commit("with a library")
    assert chain.states("chain") == {"first": "completed", "second": "completed"}
    chain.write("library/lib.py", "x = 2\n")
    error = chain.fails("chain")
    assert isinstance(error, UsageError)
    assert "the submodule library has changes of its own" in error.message
    assert any("submodule" in one for one in chain.repo().status().warnings)


def test_merge_conflicts_are_refused(chain: Workshop) -> None:
    for branch, text in (("one", "1"), ("two", "2")):
        chain.git("switch", "--quiet", "-c", branch, "main")
        chain.write("notes.txt", text)
        chain.commit(branch)
    with pytest.raises(AssertionError):
        chain.git("merge", "one")
    error = chain.fails("chain")
    assert isinstance(error, UsageError)
    assert "notes.txt has merge conflicts" in error.message


def test_a_checked_out_version_runs_as_the_code_that_it_names(chain: Workshop) -> None:
    code = chain.git("rev-parse", "HEAD")
    chain.run("chain")
    chain.code("later.py", "x = 1\n")
    chain.git("checkout", "--quiet", "--detach", "net@v1")
    run = chain.run("chain")
    assert states(run) == {"first": "cached", "second": "cached"}
    assert str(run.entry.record.code.commit) == code
    assert not run.entry.record.code.snapshot
    assert chain.parents(run.id)[0] == code
    text = (chain.path / "work/pipelines/helpers.py").read_text()
    chain.write("work/pipelines/helpers.py", text.replace("21", "22"))
    run = chain.run("chain")
    assert states(run) == {"first": "completed", "second": "completed"}
    assert chain.parents(run.entry.record.code.commit) == [code]
    folders = chain.git("ls-tree", "--name-only", str(run.entry.record.code.commit)).splitlines()
    assert ".gitml" not in folders
    assert chain.problems() == []


def files(folder: Path) -> dict[str, int]:
    """The files below a folder that are there for good, with their sizes."""
    found = (one for one in folder.rglob("*") if one.is_file() and "index" not in one.name)
    return {str(one.relative_to(folder)): one.stat().st_size for one in found}


def test_a_run_without_a_record_leaves_nothing_behind(chain: Workshop) -> None:
    chain.run("chain")
    chain.write("work/pipelines/helpers.py", "def base():\n    return 22\n")
    before = files(chain.path / ".git")
    told: list[StepEvent] = []
    steps = chain.run_unrecorded("chain", {"times": 3}, tell=told.append)
    assert steps == ["first", "second"]
    assert [one.state for one in told] == ["started", "completed"] * 2
    assert files(chain.path / ".git") == before
    assert states(chain.run("chain", {"times": 3})) == {"first": "completed", "second": "completed"}


def test_a_failure_without_a_record_has_its_traceback(chain: Workshop) -> None:
    chain.write("work/pipelines/helpers.py", "def base():\n    raise ValueError('no base')\n")
    before = files(chain.path / ".git")
    with pytest.raises(StepFailed) as caught:
        chain.run_unrecorded("chain")
    failure = caught.value.failure  # type: ignore[attr-defined]
    assert (failure.step, failure.message) == ("first", "no base")
    assert "raise ValueError" in failure.traceback
    assert files(chain.path / ".git") == before


def test_a_run_without_a_record_needs_no_commit(workshop: Workshop, tmp_path: Path) -> None:
    fresh = Workshop(tmp_path / "fresh")
    fresh.path.mkdir()
    fresh.git("init", "--quiet")
    Repo.init(fresh.path)
    fresh.write("pipelines/helpers.py", "def base():\n    return 1\n")
    fresh.write("pipelines/chain.py", SCRIPT)
    assert fresh.run_unrecorded("chain") == ["first", "second"]
    assert fresh.refs() == {}
    fresh.close()


def test_a_version_from_an_abandoned_commit_is_named(chain: Workshop) -> None:
    def notes() -> list[str]:
        told: list[StepEvent] = []
        assert chain.run("chain", tell=told.append).model_version.label == "net@v1"  # type: ignore[union-attr]
        return [note for one in told for note in one.notes]

    chain.run("chain")
    code = chain.git("rev-parse", "HEAD")
    assert notes() == []
    chain.code("later.py", "x = 1\n")
    assert notes() == []
    chain.git("reset", "--quiet", "--hard", code)
    chain.git("commit", "--quiet", "--amend", "--message", "amended")
    (note,) = notes()
    assert note.startswith(f"net@v1 has these very steps and outputs; it was made from {code[:12]}")


def test_names_that_differ_only_in_case_are_refused(chain: Workshop) -> None:
    chain.run("chain")
    script = chain.path / "work/pipelines/chain.py"
    for old, new, name in (
        ('Model("net")', 'Model("Net")', "model `Net`"),
        ("def chain(", "def Chain(", "pipeline `Chain`"),
        ("def first() -> int:", 'def first() -> Annotated[int, "CHAIN.first"]:', "artifact"),
    ):
        text = "from typing import Annotated\n" + SCRIPT.replace(old, new)
        script.write_text(text.replace("run = chain(", "run = Chain(") if "Chain" in new else text)
        error = chain.fails("Chain" if "Chain" in new else "chain")
        assert isinstance(error, InvalidName)
        assert f"{name}" in error.message
        assert "differs only in case" in error.message
    with pytest.raises(InvalidName, match=r"artifact `Chain\.second` differs only in case"):
        chain.repo().save(1, "Chain.second")
    config = chain.path / "gitml.toml"
    config.write_text(config.read_text() + '\n[stacks.Default]\norchestrator = "local"\n')
    with pytest.raises(InvalidName, match="stack `Default` differs only in case from `default`"):
        chain.repo().stacks()


def test_a_branch_that_ends_in_a_record_is_named(chain: Workshop) -> None:
    chain.run("chain")
    chain.git("merge", "--quiet", "--ff-only", "net@v1")
    assert any("the branch ends in a record" in one for one in chain.repo().status().warnings)


# Drafts, with a git remote


def test_with_a_git_remote_versions_stay_drafts(chain: Workshop, tmp_path: Path) -> None:
    chain.run("chain")
    chain.git("remote", "add", "origin", str(tmp_path / "nowhere.git"))
    run = chain.run("chain", {"times": 7})
    assert run.model_version is not None
    assert run.model_version.number is None
    assert run.model_version.label == f"net@{run.model_version.id.short}"
    assert chain.git("tag", "--list") == "net@v1"
    repo = chain.repo()
    assert repo.version("net@latest").id == run.model_version.id
    assert repo.version(f"net@{run.model_version.id.short[:8]}").id == run.model_version.id
    with pytest.raises(GitmlError, match="origin cannot be reached; nothing was changed"):
        repo.promote("net@v1", "production", "why")
    deleted = repo.delete(run.model_version.label, "no good")
    assert (deleted.kind, deleted.label) == ("version", run.model_version.label)
    assert chain.repo().version("net@latest").label == "net@v1"


def test_promoting_a_draft_numbers_it_first(chain: Workshop, tmp_path: Path) -> None:
    chain.git("remote", "add", "origin", str(tmp_path / "nowhere.git"))
    draft = chain.run("chain").model_version
    assert draft is not None
    chain.git("remote", "remove", "origin")
    move = chain.repo().promote(draft.label, "production", "why")
    assert move.version == "net@v1"
    assert chain.git("rev-parse", "net@v1^{commit}") == str(draft.id)
    assert chain.problems() == []


# What a run records and which versions it makes


def test_the_run_s_record_by_plain_git(chain: Workshop) -> None:
    run = chain.run("chain", {"times": 3})
    record = chain.record(run.id, "run.json")
    assert record["pipeline"] == "chain"
    assert record["state"] == "completed"
    assert record["parameters"] == {"times": 3}
    assert record["stack"] == "default"
    assert [one["name"] for one in record["steps"]] == ["first", "second"]
    assert chain.record(run.id, "metrics.json")["metrics"] == {"score": 63}
    subject, _, rest = chain.git("log", "-1", "--format=%B", str(run.id)).partition("\n\n")
    assert subject == "Run chain: completed, 2 steps, 0 cached"
    code = chain.git("rev-parse", "HEAD")
    assert rest.splitlines()[:3] == [
        "Gitml-Kind: run",
        f"Gitml-Code: {code}",
        f"Gitml-Step: second {run.steps['second'].entry.commit}",
    ]
    month = record["started"][:4] + record["started"][5:7]
    assert list(chain.refs("refs/gitml/runs")) == [
        f"refs/gitml/runs/chain/{month}/{str(run.id)[:12]}"
    ]


def test_all_cached_runs_resolve_and_a_deleted_version_does_not_count(chain: Workshop) -> None:
    chain.run("chain")
    chain.run("chain", {"times": 3})
    again = chain.run("chain")
    assert again.model_version is not None
    assert again.model_version.label == "net@v1"
    assert chain.record(again.id, "run.json")["version"] == str(again.model_version.id)
    chain.repo().delete("net@v1", "wrong")
    third = chain.run("chain")
    assert third.made_version
    assert third.model_version is not None
    assert third.model_version.label == "net@v3"
    chain.repo().delete("net@v3", "wrong")
    assert chain.run("chain", {"times": 4}).model_version.label == "net@v4"  # type: ignore[union-attr]


def test_clashing_metrics_are_told_apart_by_step(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/two.py",
        """
        from gitml import Model, log_metadata, log_metrics, pipeline, step

        @step
        def a() -> None:
            log_metrics({"loss": 1, "alone": 5})
            log_metadata({"tool": "x"})

        @step
        def b() -> None:
            log_metrics({"loss": float("nan")})
            log_metadata({"tool": "y"})

        @pipeline(model=Model("two", description="a pair", tags=["pair"]), tags=["nightly"])
        def two():
            a()
            b()
        """,
    )
    version = workshop.run("two").model_version
    assert version is not None
    assert set(version.metrics) == {"a.loss", "b.loss", "alone"}
    assert version.tags == ("pair",)
    assert version.run is not None
    assert version.run.tags == ("nightly",)
    version.remove_tags("pair")
    assert [one.id for one in workshop.repo().runs(tag="nightly")] == [version.run.id]
    assert [one.tag for one in workshop.repo().everything_tagged()] == ["nightly"]
    assert version.metrics["a.loss"] == 1
    assert version.metadata() == {"a.tool": "x", "b.tool": "y"}
    assert workshop.record(version.id, "metrics.json")["metrics"]["b.loss"] == "nan"
    card = workshop.git("show", "two@v1:.gitml/README.md")
    assert card.startswith("# two\n\na pair\n\nTags: pair\n\nMade by the pipeline `two` on 20")


def test_a_covering_set_keeps_every_step(workshop: Workshop) -> None:
    """Many independent steps: more parents than a commit should have are folded."""
    workshop.code(
        "pipelines/wide.py",
        """
        from gitml import pipeline, step

        @step
        def leaf(i: int) -> int:
            return i

        @pipeline
        def wide(width: int = 130):
            for i in range(width):
                leaf(i)
        """,
    )
    run = workshop.run("wide")
    assert len(workshop.parents(run.id)) <= 65
    reached = workshop.reachable(str(run.id))
    assert all(str(one.entry.commit) in reached for one in run.steps.values())
    assert workshop.problems() == []
    workshop.git("gc", "--quiet", "--prune=now")
    assert set(workshop.states("wide").values()) == {"cached"}


def test_two_real_processes_get_version_one_and_two(chain: Workshop) -> None:
    chain.code(
        "race.py",
        """
        import sys, time
        from pathlib import Path
        sys.path.insert(0, "work/pipelines")
        import gitml.pipelines.run as engine
        from chain import chain

        real = engine.Runner._publish_versions
        def wait(*arguments, **options):
            Path(f"ready-{sys.argv[1]}").touch()
            while not Path("go").exists():
                time.sleep(0.001)
            return real(*arguments, **options)
        engine.Runner._publish_versions = wait
        print(chain(int(sys.argv[1])).model_version.label)
        """,
    )
    with group_of(chain.start("race.py", "3")) as one, group_of(chain.start("race.py", "4")) as two:
        ready = [chain.path / "ready-3", chain.path / "ready-4"]
        wait_for(lambda: all(path.exists() for path in ready))
        (chain.path / "go").touch()
        told = [process.communicate(timeout=60) for process in (one, two)]
    labels = sorted(out.strip() for out, _ in told)
    assert labels == ["net@v1", "net@v2"], told
    assert [one.label for one in chain.repo().versions("net")] == labels
    assert len(chain.repo().runs()) == 2
    assert chain.problems() == []
    left = [
        one.name for one in (chain.path / ".git").rglob("*") if one.suffix in (".lock", ".keep")
    ]
    assert left == []


def test_aliases_read(chain: Workshop) -> None:
    chain.run("chain")
    chain.run("chain", {"times": 3})
    chain.git("tag", "--annotate", "--message", "a name", "net@alias/good", "net@v1^{commit}")
    repo = chain.repo()
    assert repo.version("net@good").label == "net@v1"
    assert repo.version("net@1").label == repo.version("net@v1").label == "net@v1"
    assert repo.version("net@latest").label == repo.version("net").label == "net@v2"


def test_stacks_change_no_code_and_no_bytes(chain: Workshop) -> None:
    config = chain.path / "gitml.toml"
    config.write_text(config.read_text() + '\n[stacks.shared]\norchestrator = "local"\n')
    chain.commit("a stack")
    first = chain.run("chain")
    repo = chain.repo()
    repo.set_stack("shared")
    assert chain.git("status", "--porcelain") == ""
    assert chain.repo().active_stack.name == "shared"
    second = chain.run("chain", cache=False)
    assert second.entry.record.stack == "shared"
    for name in ("first", "second"):
        assert (
            first.steps[name].outputs["output"].digest
            == second.steps[name].outputs["output"].digest
        )
    repo.set_stack("default")
    assert chain.repo().active_stack.name == "default"
    with pytest.raises(GitmlError, match="no stack is called `shard`"):
        repo.set_stack("shard")


def test_a_stack_of_another_flavor_is_refused_before_anything_runs(chain: Workshop) -> None:
    config = chain.path / "gitml.toml"
    config.write_text(
        config.read_text()
        + '\n[stacks.big]\norchestrator = "dask"\n[stacks.far]\nartifact_store = "lake"\n'
    )
    for name, words in (("big", "orchestrator `dask`"), ("far", "`lake`, which is no remote")):
        chain.repo().set_stack(name)
        error = chain.fails("chain")
        assert isinstance(error, ConfigError)
        assert words in error.message
        assert "gitml stack set default" in (error.hint or "")
    assert chain.repo().runs() == []


def test_a_git_repository_object_is_a_place_too(chain: Workshop) -> None:
    git = pytest.importorskip("git")
    with git.Repo(chain.path) as there:
        repo = Repo.discover(there)
    assert repo.root == chain.path
    repo.close()


def test_processes_do_not_pile_up(chain: Workshop) -> None:
    """A notebook calls pipelines and loads models all day in one process."""
    chain.code(
        "day.py",
        """
        import gc, os, subprocess, sys
        sys.path.insert(0, "work/pipelines")
        from chain import chain
        from gitml import Model

        for times in range(5):
            chain(times)
            Model("net").load("chain.second")
        gc.collect()
        children = subprocess.run(["ps", "-o", "comm=", "--ppid", str(os.getpid())],
                                  capture_output=True, text=True).stdout.split()
        print(children.count("git"))
        """,
    )
    assert int(chain.python("day.py").out) <= 1


def test_a_notebook_s_pipeline_runs_where_the_notebook_stands(chain: Workshop) -> None:
    chain.code(
        "notebook.py",
        """
        from gitml import pipeline, step
        cell = '''
        from gitml import pipeline, step

        @step
        def cell() -> int:
            return 5

        @pipeline
        def typed():
            cell()
        '''
        import textwrap
        names = {"__name__": "__main__"}
        exec(compile(textwrap.dedent(cell), "/tmp/ipykernel_1/2.py", "exec"), names)
        run = names["typed"]()
        print(run.status, run.steps["cell"].outputs["output"].load())
        """,
    )
    assert chain.python("notebook.py").out == "completed 5\n"


def test_what_steps_print_is_shown_and_kept(chain: Workshop) -> None:
    text = SCRIPT.replace("return base()", 'print("hello from first")\n    return base()')
    chain.code("work/pipelines/chain.py", text)
    ended = chain.python("work/pipelines/chain.py")
    assert ended.out == "hello from first\ncompleted completed net@v1\n"
    run = chain.repo().runs()[0]
    assert run.steps["first"].log() == "hello from first\n"
    assert run.steps["second"].log() == ""
    assert chain.python("work/pipelines/chain.py").out == "cached cached net@v1\n"
    again = chain.repo().runs()[0]
    assert again.steps["first"].log() == "hello from first\n"
    assert all("log" not in one for one in chain.record(again.id, "run.json")["steps"])


def test_a_shared_store_is_one_store(chain: Workshop, tmp_path: Path) -> None:
    chain.git("config", "gitml.store", str(tmp_path / "shared"))
    chain.run("chain")
    assert (tmp_path / "shared").is_dir()
    assert not (chain.path / ".git/gitml/store").exists()
    clone = Workshop(tmp_path / "alice")
    chain.git("clone", "--quiet", str(chain.path), str(clone.path))
    clone.git("config", "gitml.store", str(tmp_path / "shared"))
    assert clone.repo().artifact("net@v1:chain.second").load() == 42
    clone.close()


def test_the_environment_is_not_in_the_record(chain: Workshop) -> None:
    os.environ["SECRET_TOKEN"] = "hunter2-hunter2"
    try:
        run = chain.run("chain", environment=dict(os.environ))
    finally:
        del os.environ["SECRET_TOKEN"]
    assert "hunter2" not in chain.git("log", "-p", "--full-diff", str(run.id))
    assert json.loads(chain.git("show", f"{run.id}:.gitml/run.json"))["state"] == "completed"


def test_untracked_data_stands_in_a_snapshot_as_a_pointer(workshop: Workshop) -> None:
    workshop.training()
    workshop.write("data/raw.json", json.dumps({"rows": [7, 8]}))
    workshop.git("rm", "--quiet", "--cached", "data/raw.json")
    run = workshop.run()
    code = run.entry.record.code
    assert code.snapshot
    held = workshop.git("ls-tree", "-r", "--name-only", code.commit.hex).split()
    assert "data/raw.json.gitml" in held and "data/raw.json" not in held
    pointer = workshop.git("show", f"{code.commit}:data/raw.json.gitml")
    source = next(pin.commit for pin in run.entry.record.pins)
    record = json.loads(workshop.git("show", f"{source}:.gitml/source.json"))
    assert f"digest {record['digest']}" in pointer
