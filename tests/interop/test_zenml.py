"""Projects written for ZenML run after a change of their imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gitml
from gitml.interop import zenml

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
    "reviews": """\
['the', 'a']
True completed 2
film, good {'film': 1, 'good': 2}
['cached', 'completed']
True
""",
}


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
    assert done.stdout == SAYS[name]
    unused = {"churn": "@pipeline(settings=…)", "reviews": "@step(step_operator=…)"}.get(name)
    if unused:
        assert done.stderr.count(f"{unused} has no meaning in gitml") == 1


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
