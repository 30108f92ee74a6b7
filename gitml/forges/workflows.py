"""The workflow files that put promotion by pull request to work, one for each kind of forge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gitml.frozen import Frozen


class Workflow(Frozen):
    """A workflow file: where it belongs in the repository, what it says, what else is to be done.

    ``elsewhere`` is a path that takes it where the usual one has another file already, which then
    has to name it by the line ``include``.
    """

    path: str
    text: str
    next_steps: tuple[str, ...] = ()
    elsewhere: str | None = None
    include: str | None = None


_ACTIONS = """\
# Promotion by pull request; `gitml ci init {kind}` wrote it, and it is yours to change.
name: gitml

on:
  pull_request:
    paths: ["promotions/**", "gitml.toml"]
  push:
    branches: [{branch}]
    paths: ["promotions/**", "gitml.toml"]

# One after the other: each looks at the default branch as it is then, so none is lost.
concurrency:
  group: gitml-${{{{ github.ref }}}}

jobs:
  report:
    if: github.event_name == 'pull_request'
    runs-on: {runner}
    permissions:
      contents: read
      pull-requests: write
    steps:
{setup}
      - name: Say what becomes of the wishes when this is merged
        run: gitml report
        env:
          GITHUB_TOKEN: ${{{{ github.token }}}}

  apply:
    if: github.event_name == 'push'
    runs-on: {runner}
    permissions:
      contents: write
      pull-requests: read
    steps:
{setup}
      - name: Say who promotes
        run: |
          git config user.name "{who}"
          git config user.email "{mail}"
      - name: Carry out the wishes that the policies allow
        run: gitml stage apply
        env:
          GITHUB_TOKEN: ${{{{ github.token }}}}
"""
_SETUP = """\
      # All of the history and the tags: in a shallow clone nobody can tell which wishes are new.
      - uses: {checkout}
        with:
          fetch-depth: 0
{python}      # A policy with `stored_on` looks at the remote for bytes: 'gitml[s3]', and secrets.
      - name: Install gitml
        run: python3 -m pip install gitml
      - name: Bring the records, which no branch has
        run: gitml fetch"""
_PYTHON = """\
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
"""
_GITLAB = """\
# Promotion by merge request; `gitml ci init gitlab` wrote it, and it is yours to change.
# It needs the CI variable GITLAB_TOKEN: a project access token with the scopes `api` and
# `write_repository`, masked; also protected, if requests come from protected branches alone.
.gitml:
  image: python:3.12
  variables:
    GIT_DEPTH: "0"  # all of the history: else nobody can tell which wishes are new
    GIT_STRATEGY: clone
  resource_group: gitml
  before_script:
    - python3 -m pip install gitml  # 'gitml[s3]' where a policy has `stored_on`
    - git remote set-url origin "$CI_PROJECT_URL.git"
    - git config credential.helper '!f() { echo username=gitml; echo "password=$GITLAB_TOKEN"; }; f'
    - git config user.name "gitml on GitLab"
    - git config user.email "gitml@noreply.$CI_SERVER_HOST"
    - gitml fetch

gitml-report:
  extends: .gitml
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
      changes: ["promotions/**", "gitml.toml"]
  script:
    - gitml report

gitml-apply:
  extends: .gitml
  rules:
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      changes: ["promotions/**", "gitml.toml"]
  script:
    - gitml stage apply
"""


def workflow(kind: str, branch: str) -> Workflow:
    """The workflow for a kind of forge (``github``, ``gitlab``, ``forgejo``, ``gitea``).

    ``branch`` is the default branch. Raises KeyError for another kind.
    """
    return _MAKERS[kind](kind, branch)


def _github(kind: str, branch: str) -> Workflow:
    setup = _SETUP.format(checkout="actions/checkout@v4", python=_PYTHON)
    bot = "41898282+github-actions[bot]@users.noreply.github.com"
    text = _ACTIONS.format(
        kind=kind,
        branch=branch,
        runner="ubuntu-latest",
        setup=setup,
        who="github-actions[bot]",
        mail=bot,
    )
    steps = (
        "protect the tags `*@*` with a ruleset: no update, no deletion",
        f"require a pull request and the check `report` on {branch}",
    )
    return Workflow(".github/workflows/gitml.yml", text, steps)


def _forgejo(kind: str, branch: str) -> Workflow:
    setup = _SETUP.format(checkout="actions/checkout@v4", python="")
    text = _ACTIONS.format(
        kind=kind,
        branch=branch,
        runner="docker",
        setup=setup,
        who=f"gitml on {kind.capitalize()}",
        mail="gitml@noreply.localhost",
    )
    steps = (
        "protect the tags `*@*`, and let the workflow's user alone make them",
        f"require a pull request and the check `report` on {branch}",
    )
    return Workflow(f".{kind}/workflows/gitml.yml", text, steps)


def _gitlab(kind: str, branch: str) -> Workflow:
    steps = (
        "make a project access token, and the masked CI variable GITLAB_TOKEN of it",
        "protect the tags `*@*`: allowed to create are maintainers and the token's user",
        f"protect {branch}, and let pipelines succeed before a merge",
    )
    elsewhere = ".gitlab/gitml.gitlab-ci.yml"
    include = f"include: {{ local: {elsewhere} }}"
    return Workflow(".gitlab-ci.yml", _GITLAB, steps, elsewhere, include)


_MAKERS: Mapping[str, Callable[[str, str], Workflow]] = {
    "github": _github,
    "gitlab": _gitlab,
    "forgejo": _forgejo,
    "gitea": _forgejo,
}
KINDS = tuple(_MAKERS)
