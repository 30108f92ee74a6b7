"""Projects out of templates: all of one or nothing, and the starter that comes with gitml works."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from gitml import templates
from gitml.errors import ConfigError, GitmlError, InvalidName, NameNotFound, UsageError
from gitml.repo import Repo
from gitml.testing.sealed import SealedEnvironment
from tests.workshop import Workshop, states, work_at

ROOT = Path(__file__).parents[2]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template of a team's own."""
    folder = tmp_path / "template"
    files = {
        "README.md": "# {{ name }}\n{{name}} {{ other }} ${{ github.token }}\n",
        "src/{{ module }}/__init__.py": '"""{{ module }}."""\n',
        "gitml.toml": '# ours\n[project]\nid = "01JD7M3Q8V0W2X4Y6Z8A0B2C4D"\n',
        "empty/.keep": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "logo.bin").write_bytes(b"\0{{ name }}")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o555)
    (folder / "link").symlink_to("README.md")
    return folder


def held(folder: Path) -> dict[str, bytes]:
    """What a folder holds, without git's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.parts)
    }


def test_placeholders_are_filled_in_texts_and_paths_alone(template: Path, tmp_path: Path) -> None:
    made = tmp_path / "a" / "My-shop.2"
    templates.make(str(template), made)
    files = held(made)
    assert files["README.md"].decode() == (
        "# My-shop.2\nMy-shop.2 {{ other }} ${{ github.token }}\n"
    )
    assert files["src/my_shop_2/__init__.py"] == b'"""my_shop_2."""\n'
    assert files["logo.bin"] == b"\0{{ name }}"
    assert (made / "link").readlink() == Path("README.md")
    assert (made / "run.sh").stat().st_mode & 0o777 == 0o755
    assert [one.name for one in made.parent.iterdir()] == ["My-shop.2"]


def test_every_project_has_an_id_of_its_own(template: Path, tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        templates.make(str(template), tmp_path / name)
        text = (tmp_path / name / "gitml.toml").read_text()
        assert text.startswith("# ours\n[project]\nid = ")
        ids.append(tomllib.loads(text)["project"]["id"])
    (template / "gitml.toml").unlink()
    templates.make(str(template), tmp_path / "three")
    ids.append(tomllib.loads((tmp_path / "three" / "gitml.toml").read_text())["project"]["id"])
    assert len({*ids, "01JD7M3Q8V0W2X4Y6Z8A0B2C4D"}) == 4


def test_what_the_git_of_a_template_ignores_stays_there(template: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=template, check=True)
    (template / ".gitignore").write_text(".venv/\n*.log\n")
    (template / ".venv").mkdir()
    (template / ".venv" / "python").write_text("")
    (template / "a.log").write_text("")
    templates.make(str(template), tmp_path / "made")
    assert not {".venv/python", "a.log"} & set(held(tmp_path / "made"))
    assert ".gitignore" in held(tmp_path / "made")


@pytest.mark.parametrize("name", ["mine", ".hidden"])
def test_a_folder_with_anything_in_it_is_left_alone(
    name: str, template: Path, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / name).write_text("mine")
    with pytest.raises(UsageError, match=f"is not empty, it holds {name}: nothing was written"):
        templates.make(str(template), full)
    assert held(full) == {name: b"mine"}
    (full / name).rename(tmp_path / "file")
    with pytest.raises(UsageError, match="file is no folder: nothing was written"):
        templates.make(str(template), tmp_path / "file")


def test_an_empty_folder_and_an_empty_clone_are_filled(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path / "clone"], check=True)
    (tmp_path / "clone" / ".git" / "mark").write_text("")
    for name in ("empty", "clone"):
        monkeypatch.chdir(tmp_path / name)
        templates.make(str(template), Path())
        assert held(Path()).keys() == held(template).keys() - {"src/{{ module }}/__init__.py"} | {
            f"src/{name}/__init__.py"
        }
        Repo.discover(Path()).close()
    assert (tmp_path / "clone" / ".git" / "mark").exists()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("no-such", NameNotFound, "there is no template `no-such`"),
        ("", NameNotFound, "there is no template ``"),
        ("broken", ConfigError, "gitml.toml"),
    ],
)
def test_a_template_that_is_none_leaves_nothing(
    name: str, error: type[GitmlError], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "gitml.toml").write_text("[pipelines]\npaths = 3\n")
    with pytest.raises(error, match=words):
        templates.make(name, tmp_path / "a" / "b")
    assert [one.name for one in tmp_path.iterdir()] == ["broken"]


def test_a_project_needs_a_name_and_a_place_outside(template: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidName):
        templates.make(str(template), tmp_path / "it's")
    with pytest.raises(UsageError, match="is inside of the template"):
        templates.make(str(template), template / "sub")
    assert not (tmp_path / "it's").exists()
    assert not (template / "sub").exists()


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize("call", ["write_bytes", "rename"])
def test_what_fails_on_the_way_is_taken_back(
    call: str, there: bool, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, or the user stops it, at each call in turn."""
    target = tmp_path / "to" / "made"
    if there:
        target.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    whole: Callable[..., object] = getattr(Path, call)
    for count in range(12):
        calls = 0

        def failing(self: Path, *given: object, at: int = count) -> object:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise KeyboardInterrupt
            return whole(self, *given)

        with monkeypatch.context() as patch:
            patch.setattr(Path, call, failing)
            try:
                templates.make(str(template), target)
            except KeyboardInterrupt:
                assert sorted(tmp_path.rglob("*")) == before
            else:
                assert count
                break
    assert (target / "README.md").exists()


def test_what_is_no_file_is_named(template: Path, tmp_path: Path) -> None:
    os.mkfifo(template / "pipe")
    with pytest.raises(UsageError, match=r"template/pipe cannot be copied: .* named pipe"):
        templates.make(str(template), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_killed_attempt_is_no_obstacle(template: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / ".made.gitml-template").mkdir(parents=True)
    (made / ".made.gitml-template" / "half").write_text("")
    templates.make(str(template), made)
    assert not [name for name in held(made) if "half" in name]


def test_the_package_carries_every_file_of_the_starter() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["gitml.templates"]
    starter = templates.BUILT_IN["starter"].resolve()
    inside = [pattern.removeprefix("starter/") for pattern in patterns]
    carried = {path.relative_to(starter).as_posix() for one in inside for path in starter.glob(one)}
    assert {name for name in carried if (starter / name).is_file()} == {
        name for name in held(starter) if not name.startswith(".pytest_cache")
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, sealed_session: SealedEnvironment) -> Workshop:
    """A project of the starter after its pipelines ran, as its page says."""
    for name in ("pandas", "sklearn", "skops"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("starter") / "shop"
    templates.make("starter", folder)
    with pytest.MonkeyPatch.context() as patch, work_at(folder, patch) as project:
        project.commit("shop")
        for name in ("features", "training", "evaluation"):
            assert set(states(project.run(name)).values()) == {"completed"}
    return project


def test_the_pipelines_of_the_starter_meet_in_artifacts_and_the_model(made: Workshop) -> None:
    repo = made.repo()
    version = repo.version("churn@v1")
    assert version.metrics["accuracy"] > 0.7
    assert repo.promote("churn@v1", "production", "the first model")
    evaluation = repo.runs(pipeline="evaluation", limit=1)[0]
    assert made.git("merge-base", "--is-ancestor", "churn@v1", str(evaluation.id)) == ""
    assert {one.name for one in repo.stacks()} == {"default", "team"}
    assert made.git("status", "--porcelain") == ""
    repo.close()


def test_the_tests_of_the_starter_pass(made: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: in one of their own they would import for longer than they run."""
    with work_at(made.path, monkeypatch):
        assert pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]) == 0
        assert Path(sys.modules["training"].__file__ or "").parent == made.path / "pipelines"


def test_the_hooks_of_the_starter_pass_and_refuse(made: Workshop) -> None:
    pytest.importorskip("pre_commit")
    hooks = ("-m", "pre_commit", "run", "--all-files")
    said = made.python(*hooks).out
    assert said.count("Passed") == 3
    made.write("conf.py", "token = '" + "gl" + "pat-" + "Xy7Qw2Lr9Tz4Kd8Vb3Ns'\n")
    made.git("add", "conf.py")
    try:
        assert "a token of GitLab" in made.python(*hooks, status=1).out
    finally:
        made.git("rm", "--quiet", "--force", "conf.py")


def test_the_configuration_names_the_hooks_as_the_package_does() -> None:
    yaml = pytest.importorskip("yaml")
    ours = {one["id"]: one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    file = templates.BUILT_IN["starter"] / ".pre-commit-config.yaml"
    (local,) = yaml.safe_load(file.read_text())["repos"]
    shown = {one["id"]: one for one in local["hooks"]}
    about = {"description", "language"}
    assert shown.keys() == ours.keys()
    for name, hook in ours.items():
        assert {k: v for k, v in shown[name].items() if k not in about} == {
            k: v for k, v in hook.items() if k not in about
        }


def test_the_workflow_runs_what_there_is(made: Workshop) -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((made.path / ".github/workflows/ci.yml").read_text())
    lines = [
        line
        for one in workflow["jobs"]["check"]["steps"]
        for line in one.get("run", "").splitlines()
    ]
    runs = [line.split()[-1] for line in lines if line.startswith("gitml run ")]
    assert runs == ["features", "training", "evaluation"]
    shown = (made.path / "README.md").read_text()
    assert [line for line in lines if line.startswith("gitml ") and line not in shown] == []
    assert {line.split()[0] for line in lines} == {"python", "pre-commit", "gitml"}
    assert os.access(Path(sys.executable).with_name("pre-commit"), os.X_OK)
