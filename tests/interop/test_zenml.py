"""Projects written for ZenML run after a change of their imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gitml
import gitml.errors
from gitml.interop import zenml
from tests.workshop import Workshop, load

PROJECTS = Path(__file__).parent / "projects"

SAYS = {
    "churn": """\
2 production 1.0 on the training data
{'threshold': 3} {'threshold': 3}
True
None
churn@v2 holds production
1
""",
    "forecast": """\
completed cached
1 4.0
[4.0, 4.0]
""",
    "tickets": """\
ended: learn
announced
3 1 ['fetch', 'learn', 'announce']
ended: learn
announced
2 2 2
people 2 True
hardware
failed: fetch ConnectionError
3 the step fetch of training failed in all 3 attempts
[1, 2]
""",
    "reviews": """\
['the', 'a']
True completed 2
film, good {'film': 1, 'good': 2}
['cached', 'completed']
True
""",
}


def said(out: str) -> Iterator[str]:
    """What the project printed itself, without what gitml says of attempts that failed."""
    ours = ("Traceback", " ", "ConnectionError", "fetch: attempt")
    yield from (line for line in out.splitlines(keepends=True) if not line.startswith(ours))


@pytest.mark.parametrize("name", SAYS)
def test_a_project_runs_with_other_imports(project: Any, name: str) -> None:
    for file in (PROJECTS / name).iterdir():
        if file.is_file():
            project.write(file.name, file.read_text())
    project.commit("a project from elsewhere")
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=project.path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "".join(said(done.stdout)) == SAYS[name]
    unused = {"churn": "@pipeline(settings=…)", "reviews": "@step(step_operator=…)"}.get(name)
    if unused:
        assert done.stderr.count(f"{unused} has no meaning in gitml") == 1


def test_dynamic_pipelines_and_maps_are_the_same(workshop: Workshop) -> None:
    workshop.code(
        "pipelines/growing.py",
        """
        from gitml.interop.zenml import pipeline, step, unmapped

        @step
        def count(n: int) -> int:
            return n

        @step
        def scale(x: int, by: list) -> int:
            return x * by[0]

        @pipeline(dynamic=True)
        def growing(n: int = 2) -> None:
            scale.map(list(range(count(n).load())), by=unmapped([10]))
        """,
    )
    assert load(workshop.run("growing"), "scale") == [0, 10]
    assert load(workshop.run("growing", {"n": 3}), "scale") == [0, 10, 20]


def test_its_pipelines_are_found(project: Any) -> None:
    project.write("pipelines/run.py", (PROJECTS / "churn" / "run.py").read_text())
    project.commit("a project from elsewhere")
    found = project.gitml("pipeline", "list").out
    assert "training" in found
    assert "inference" in found


def test_a_cache_policy_keeps_what_has_a_meaning_here() -> None:
    with pytest.warns(UserWarning, match="CachePolicy.include_artifact_ids=…. has no meaning"):
        policy = zenml.CachePolicy(expires_after=60, include_artifact_ids=False)
    one = zenml.step(lambda: 1, name="one", cache_policy=policy)
    assert one.policy == gitml.CachePolicy(expires_after=60)


def test_a_client_says_what_it_has_not(workshop: Workshop) -> None:
    client = zenml.Client()
    with pytest.warns(UserWarning, match="get_service_connector.* has no meaning"):
        assert client.get_service_connector("aws") is None
    with pytest.raises(AttributeError, match="gitml's Client has no list_flavors"):
        client.list_flavors()
    assert client.active_stack.name == "default"
    with pytest.raises(gitml.errors.NameNotFound):
        client.activate_stack("night")


def test_options_of_steps_keep_their_meaning() -> None:
    def plain(rate: float, depth: int = 2) -> float:
        return rate * depth

    step = zenml.step(retry={"max_retries": 2, "delay": 3}, enable_cache=False)(plain)
    with pytest.warns(UserWarning, match="sandbox=…. has no meaning"):
        made = step.with_options(parameters={"rate": 0.5}, name="other", sandbox="none")
    assert (made.name, made.cache, made.options.retries) == ("other", False, 2)
    assert (made(), made(rate=1.0), made(1.0, 3), step(1.0)) == (1.0, 2.0, 3.0, 2.0)
    own = zenml.Model("scaler")
    kept = zenml.step(plain, model=own).with_options(parameters={"depth": 4})
    assert (kept.model, kept(0.5)) == (own, 2.0)
    with pytest.raises(gitml.errors.UsageError, match="has no parameter `width`"):
        step.with_options(parameters={"width": 1})


def test_on_end_comes_after_both_ends(capsys: pytest.CaptureFixture[str]) -> None:
    one = zenml.step(lambda: 1, name="one", on_end=print, on_success=lambda: print("good"))
    one.options.callbacks.on_success()
    one.options.callbacks.on_failure(ValueError("bad"))
    assert capsys.readouterr().out == "good\n\nbad\n"


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (None, None),
        (3, None),
        ("3", None),
        ("v3", None),
        ("latest", None),
        ("production", None),
        ("night", "night"),
        ("release {date}", "release 20"),
    ],
)
def test_a_free_name_is_none_of_the_words_that_mean_a_version(
    version: Any, name: str | None, workshop: Workshop
) -> None:
    found = zenml._free_name(zenml.Model("clf", version=version))
    assert found == name if name is None else str(found).startswith(name)


FREE = """
from typing import Annotated
from gitml.interop.zenml import Client, Model, get_step_context, pipeline, step

@step
def train(start: int) -> Annotated[int, "model"]:
    return start

@step(enable_cache=False)
def warm() -> Annotated[int, "model"]:
    return get_step_context().model.load_artifact("model") + 1

@step(enable_cache=False)
def predict() -> Annotated[int, "predictions"]:
    return get_step_context().model.load_artifact("model") * 100

@step(enable_cache=False)
def ask() -> Annotated[int, "answers"]:
    return Client().get_model_version("clf", "night").get_artifact("model").load() * 1000

def named(*parts):
    return Client().get_model_version("clf", "".join(parts))

@step(enable_cache=False)
def hidden() -> Annotated[int, "hints"]:
    return named("ni", "ght").load_artifact("model") * 10

NIGHT = Model("clf", version="night")

@pipeline(model=NIGHT)
def training(start: int = 1):
    train(start)

@pipeline(model=NIGHT)
def warming():
    warm()

@pipeline(model=NIGHT)
def predicting():
    predict()

@pipeline(model=NIGHT)
def asking():
    ask()

@pipeline(model=NIGHT)
def hiding():
    hidden()
"""


def test_a_free_name_that_a_step_loads_from_is_used(workshop: Workshop) -> None:
    workshop.code("pipelines/training.py", FREE)

    def run(name: str, **parameters: Any) -> Any:
        return workshop.run(name, parameters)

    def night() -> int | None:
        return workshop.repo().version("clf@night").number

    with pytest.raises(gitml.errors.GitmlError):
        run("predicting")
    assert workshop.repo().models() == []
    repo = workshop.repo()
    forecast = repo.forecast(repo.load_pipeline("training", workshop.path))
    assert [one.outcome for one in forecast] == ["run"]
    run("training")
    run("training", start=5)
    assert night() == 2
    for name, given in [("predicting", 500), ("asking", 5000)]:
        (step,) = run(name).steps.values()
        (output,) = step.outputs.values()
        assert output.load() == given
        assert len(workshop.repo().versions("clf")) == 2
        loads = workshop.record(step.entry.commit, "step.json")["loads"]
        assert loads[0]["commit"] == workshop.repo().version("clf@v2").id.hex
    run("warming")
    assert workshop.repo().artifact("clf@v3:model").load() == 6
    assert night() == 3, "what it takes, it makes again"
    run("hiding")
    assert workshop.repo().artifact("hints").load() == 60
    assert night() == 3, "the next version has no model, and the name stays"


STAGED = """
from gitml.interop.zenml import Model, get_step_context, pipeline, step

@step(enable_cache=False)
def one(force: bool) -> int:
    get_step_context().model.set_stage("production", force=force)
    return 1

@pipeline(model=Model("clf"))
def training(force: bool = False):
    one(force)
"""


def test_a_stage_that_is_held_is_refused_in_the_step(workshop: Workshop) -> None:
    workshop.code("pipelines/training.py", STAGED)
    workshop.run()
    assert workshop.repo().version("clf@production").number == 1
    error = workshop.fails()
    assert "clf@v1 holds production" in str(error)
    workshop.run(parameters={"force": True})
    assert workshop.repo().version("clf@production").number == 2


LINKED = """
from gitml.interop.zenml import Client, Model, link_artifact_to_model, pipeline, save_artifact, step

@step(model=Model("scaler"))
def scale() -> int:
    link_artifact_to_model(Client().get_artifact_version("labels"))
    return 1

@pipeline(model=Model("clf"))
def training():
    scale()
"""


def test_artifacts_are_linked_and_steps_have_models_of_their_own(workshop: Workshop) -> None:
    workshop.code("pipelines/training.py", LINKED)
    labels = zenml.save_artifact(["cat"], "labels")
    run = workshop.run()
    version = run.model_versions["scaler"]
    assert version.load("labels") == ["cat"] and "training.scale" in version.artifacts
    zenml.link_artifact_to_model(labels, zenml.Model("clf", tags=["linked"]))
    made = workshop.repo().version("clf@latest")
    assert list(made.artifacts) == ["labels"] and made.card["tags"] == ["linked"]


OWN = """
import json
from pathlib import Path
from gitml.interop.zenml import BaseMaterializer, fileio, pipeline, step

class Rule:
    def __init__(self, least):
        self.least = least

class RuleMaterializer(BaseMaterializer):
    ASSOCIATED_TYPES = (Rule,)

    def save(self, data):
        fileio.makedirs(f"{self.uri}/deep")
        with fileio.open(f"{self.uri}/deep/rule.json", "w") as file:
            json.dump(data.least, file)

    def load(self, data_type):
        assert fileio.listdir(self.uri) == ["deep"]
        with fileio.open(f"{self.uri}/deep/rule.json") as file:
            return data_type(json.load(file))

@step
def make(least: int) -> Rule:
    return Rule(least)

@step
def use(rule: Rule) -> int:
    return rule.least

@pipeline
def ruling(least: int = 3):
    use(make(least))
"""


def test_a_materializer_of_its_form_stores_and_loads(workshop: Workshop) -> None:
    path = workshop.code("pipelines/ruling.py", OWN)
    assert load(workshop.run("ruling"), "use") == 3
    assert set(workshop.states("ruling").values()) == {"cached"}
    path.write_text(OWN.replace("deep/", "deep//"))
    workshop.commit("written differently")
    assert workshop.states("ruling")["make"] == "completed"


def test_a_materializer_of_its_form_has_previews_in_the_place_of_visualizations(
    workshop: Workshop,
) -> None:
    class Rules:
        least = 3

    with pytest.warns(UserWarning, match="BaseMaterializer.save_visualizations has no meaning"):

        class RulesMaterializer(zenml.BaseMaterializer):
            ASSOCIATED_TYPES = (Rules,)

            def save(self, data: Any) -> None:
                (Path(self.uri) / "rules.txt").write_text(f"at least {data.least}\n")

            def load(self, data_type: Any) -> Any:
                return data_type()

            def save_visualizations(self, data: Any) -> dict[str, str]:
                raise AssertionError("it is never called")

            def preview(self, path: Path) -> str:
                assert path == Path(self.uri)
                return (path / "rules.txt").read_text()

    gitml.save_artifact(Rules(), "rules")
    seen = workshop.repo().artifact("rules").preview()
    assert (seen.kind, seen.text) == ("custom", "at least 3")


def test_retries_hooks_and_the_execution_mode_are_those_of_steps_and_pipelines() -> None:
    retry = zenml.StepRetryConfig(max_retries=3, delay=10, backoff=2)
    one = zenml.step(lambda: 1, name="one", retry=retry, on_failure=print, enable_cache=False)
    assert (one.options.retries, one.options.wait(2), one.cache) == (3, 20.0, False)
    assert one.options.callbacks.on_failure is print
    both = zenml.pipeline(
        lambda: None, name="both", execution_mode="continue_on_failure", on_success=print
    )
    assert (both.execution_mode, both.callbacks.on_success) == ("continue_on_failure", print)
    assert both.with_options(run_name="exp-{date}").run_name == "exp-{date}"
