"""The workflow files: their steps are carried out as the forges would, checkout included."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitml.errors import UsageError
from tests.forges.server import TOKEN, Forge
from tests.forges.test_requests import Shop, shop
from tests.reviewed import PATH, Reviewed
from tests.workshop import Workshop

yaml = pytest.importorskip("yaml")


def checkout(forge: Forge, folder: Path, revision: str, depth: int) -> Workshop:
    """What `actions/checkout` and GitLab's runner do: fetch to this depth, and detach."""
    made = Workshop(folder)
    folder.mkdir()
    made.git("init", "--quiet")
    made.git("remote", "add", "origin", forge.url)
    specs = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    flags = [f"--depth={depth}"] if depth else []
    made.git("fetch", "--quiet", *flags, "origin", *specs)
    made.git("checkout", "--quiet", "--detach", revision)
    return made


@functools.cache
def installed(command: str) -> bool:
    """Whether a job can install gitml so, which is there: tried once, for pip takes a second."""
    env = os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(["bash", "-c", command], env=env, capture_output=True).returncode == 0


def carry_out(work: Workshop, commands: list[str], variables: dict[str, str]) -> tuple[int, str]:
    """Run the commands of a job in its checkout, with what the test has installed."""
    installing = [one for one in commands if one.startswith("python3 -m pip install")]
    assert all(map(installed, installing))
    commands = [one for one in commands if one not in installing]
    env = {**os.environ, **variables}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(commands)],
        cwd=work.path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def actions(text: str, job: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    document = yaml.safe_load(text)
    return document["jobs"][job]["steps"], document


@pytest.fixture(params=["github", "forgejo"])
def made(request: pytest.FixtureRequest, reviewed: Reviewed) -> Iterator[tuple[str, Shop]]:
    for one in shop("github" if request.param == "github" else "gitea", reviewed):
        yield request.param, one


def test_the_steps_of_a_workflow_report_and_apply(made: tuple[str, Shop]) -> None:
    kind, team = made
    path, written, is_new = team.team.bob.repo().write_workflow(kind)
    assert is_new
    text = (team.team.bob.path / path).read_text()
    assert text == written.text
    team.team.merge(text, "workflow", path)
    team.team.policy('[{ metric = "accuracy", min = 0.85 }, { via = "pull-request" }]')
    team.bob.request("clf@v2", "production", "better")

    def run(job: str, revision: str, **variables: str) -> str:
        steps, document = actions(text, job)
        assert document[True]["push"]["branches"] == ["main"]  # YAML 1.1 reads `on` as true
        assert steps[0]["uses"].startswith("actions/checkout@")
        work = checkout(
            team.forge, team.team.folder / job, revision, steps[0]["with"]["fetch-depth"]
        )
        work.git("config", f"gitml.127.0.0.1:{team.forge.port}.forge", team.forge.kind)
        variables |= {"GITHUB_SERVER_URL": team.forge.web, "GITHUB_ACTIONS": "true"}
        said = ""
        for step in steps[1:]:
            if "run" in step:
                tokens = {"${{ github.token }}": TOKEN}
                own = {key: tokens[value] for key, value in step.get("env", {}).items()}
                code, more = carry_out(work, [step["run"]], {**variables, **own})
                said += more
                assert code == 0, more
        return said

    branch = "origin/promote/clf/production"
    said = run("report", branch, GITHUB_REF="refs/pull/1/merge")
    assert "Reported on 1 wish" in said
    [comment] = team.forge.requests[0].comments
    assert "will be promoted when this is merged" in comment["body"]
    team.forge.merge(1)
    said = run("apply", "origin/main")
    assert "Promoted clf@v2 to production" in said
    assert team.team.holders() == ["clf@v2"]
    tagger = team.team.server.git("for-each-ref", "--format=%(taggername)", "refs/tags/clf@p*/*")
    assert tagger == ("github-actions[bot]" if kind == "github" else "gitml on Forgejo")


def test_gitlabs_jobs_report_and_apply(reviewed: Reviewed) -> None:
    for team in shop("gitlab", reviewed):
        path, written, _ = reviewed.bob.repo().write_workflow("gitlab")
        assert path == ".gitlab-ci.yml"
        reviewed.policy('[{ metric = "accuracy", min = 0.85 }, { via = "pull-request" }]')
        team.bob.request("clf@v2", "production", "better")
        branch = "origin/promote/clf/production"
        run_gitlab(team, written.text, "gitml-report", branch, CI_MERGE_REQUEST_IID="1")
        assert len(team.forge.requests[0].comments) == 1
        team.forge.merge(1)
        said = run_gitlab(team, written.text, "gitml-apply", "origin/main")
        assert "Promoted clf@v2" in said
        assert reviewed.holders() == ["clf@v2"]


def run_gitlab(team: Shop, text: str, job: str, revision: str, **variables: str) -> str:
    """What GitLab's runner does for a job, and what that prints."""
    jobs = yaml.safe_load(text)
    whole = {**jobs[".gitml"], **jobs[job]}
    depth = int(whole["variables"]["GIT_DEPTH"])
    work = checkout(team.forge, team.team.folder / job, revision, depth)
    work.git("remote", "set-url", "origin", "https://token@gitlab.invalid/x.git")
    work.git("config", f"gitml.127.0.0.1:{team.forge.port}.forge", "gitlab")
    variables |= {
        "GITLAB_CI": "true",
        "CI_SERVER_URL": team.forge.web,
        "CI_SERVER_HOST": "127.0.0.1",
        "CI_PROJECT_URL": f"{team.forge.web}/shop/models",
        "GITLAB_TOKEN": TOKEN,
    }
    code, said = carry_out(work, [*whole["before_script"], *whole["script"]], variables)
    assert code == 0, said
    return said


def test_a_policy_that_says_no_fails_the_job(reviewed: Reviewed) -> None:
    for team in shop("github", reviewed):
        reviewed.policy('[{ metric = "accuracy", min = 0.85 }]')
        reviewed.alice.git("fetch", "--quiet")
        reviewed.alice.git("switch", "--quiet", "--create", "worse", "origin/main")
        reviewed.alice.write(PATH, 'production = "v1"\n')
        reviewed.alice.commit("worse")
        reviewed.alice.git("push", "--quiet", "origin", "worse")
        team.forge.add("worse", "main", "worse", "")
        variables = {"GITHUB_REF": "refs/pull/1/merge", "GH_TOKEN": TOKEN}
        code, said = carry_out(reviewed.alice, ["gitml report"], variables)
        assert code == 3
        assert "clf@v1 does not meet the policy for production" in said
        assert "✗" in team.forge.requests[0].comments[0]["body"]


def test_a_file_that_is_there_is_left_alone(reviewed: Reviewed) -> None:
    bob = reviewed.bob
    assert bob.repo().write_workflow("github")[2]
    assert not bob.repo().write_workflow("github")[2]
    bob.write(".github/workflows/gitml.yml", "name: mine\n")
    with pytest.raises(UsageError, match="is there already, and it is another"):
        bob.repo().write_workflow("github")
    bob.write(".gitlab-ci.yml", "test:\n  script: [make]\n")
    path, written, _ = bob.repo().write_workflow("gitlab")
    assert path == written.elsewhere == ".gitlab/gitml.gitlab-ci.yml"
    assert (bob.path / ".gitlab-ci.yml").read_text() == "test:\n  script: [make]\n"


def test_no_template_leaves_a_brace_of_its_own(reviewed: Reviewed) -> None:
    for kind in ("github", "gitlab", "forgejo", "gitea"):
        text = reviewed.bob.repo().write_workflow(kind, dry_run=True)[1].text
        assert set(re.findall(r"\{\{.*?\}\}", text)) <= {"{{ github.ref }}", "{{ github.token }}"}
        assert yaml.safe_load(text)
