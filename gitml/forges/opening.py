"""Which forge a git remote is on, and the token with which to talk to it.

A token of the environment goes only to a host for which it is meant: the public one, the one that a
workflow runs on, or one that the user has named in git's own settings
(``git config gitml.<host>.forge gitea``). Nothing that is committed decides where it goes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from gitml.errors import ConfigError, NameNotFound
from gitml.forges.base import Forge, Site
from gitml.forges.client import Api, Token
from gitml.forges.gitea import Gitea
from gitml.forges.github import GitHub
from gitml.forges.gitlab import GitLab
from gitml.frozen import Frozen

KINDS: Mapping[str, type[Forge]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "gitea": Gitea,
    "forgejo": Gitea,
}
_PUBLIC = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "codeberg.org": "forgejo",
    "gitea.com": "gitea",
}
_VARIABLES = {
    "github": ("GH_TOKEN", "GITHUB_TOKEN"),
    "gitlab": ("GITLAB_TOKEN",),
    "gitea": ("GITEA_TOKEN", "FORGEJO_TOKEN"),
}
_PROGRAMS = {
    "github": ("gh", "auth", "token", "--hostname"),
    "gitlab": ("glab", "config", "get", "token", "--host"),
}
_SCP = r"(?:[^@/:]+@)?([^/:]+):(?!//)(.+)"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Ask = Callable[[Sequence[str]], str | None]
"""Runs a program and gives the line that it prints, None where it is absent or fails."""
Credentials = Callable[[str, str], tuple[str, str] | None]
"""What git's credential helpers know for a protocol and a host."""


class Surroundings(Frozen):
    """Where sites and tokens come from: the environment, git's settings, programs, helpers."""

    environment: Mapping[str, str]
    settings: Mapping[str, str]
    ask: Ask
    credentials: Credentials

    def workflow_host(self, name: str) -> str | None:
        """The host of the forge that a workflow runs on, from a variable with its URL."""
        return urlsplit(self.environment.get(name, "")).netloc or None


def site_of(url: str, around: Surroundings) -> Site | None:
    """The forge and project behind the URL of a git remote; None where it is on none.

    Raises ConfigError for a setting that names no kind of forge, or a site without encryption.
    """
    scheme, host, path = _parts(url)
    project = path.strip("/").removesuffix(".git")
    if not host or "/" not in project:
        return None
    kind = _kind(host, around)
    if kind is None:
        return None
    default = f"{'http' if scheme == 'http' else 'https'}://{host}"
    web = around.settings.get(f"gitml.{host}.web", default).rstrip("/")
    if urlsplit(web).scheme != "https" and urlsplit(web).hostname not in _LOOPBACK:
        raise ConfigError(f"{web} has no encryption, and a token would go there")
    return Site(kind, web, project)


def open_forge(site: Site, around: Surroundings) -> Forge:
    """The forge of a site, with the token that was found for it, or without any."""
    kind = KINDS[site.kind]
    return kind(site, Api(kind.api_url(site), find_token(site, around)))


def find_token(site: Site, around: Surroundings) -> Token | None:
    """The token for a site: from the environment, from the forge's program, from git's helpers."""
    kind = KINDS[site.kind]
    host = urlsplit(site.web).netloc
    for name in _variables(kind.kind, site.web, around):
        value = around.environment.get(name, "").strip()
        if value:
            return Token(f"{kind.scheme} {_checked(value, name)}", name)
    program = _PROGRAMS.get(kind.kind)
    value = (around.ask([*program, host]) or "").strip() if program else ""
    if program and value:
        return Token(f"{kind.scheme} {_checked(value, program[0])}", program[0])
    found = around.credentials(urlsplit(site.web).scheme, host)
    if found is None:
        return None
    user, password = found
    if kind is Gitea:  # which takes passwords, too
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return Token(f"Basic {pair}", "git's credential helper")
    return Token(f"{kind.scheme} {_checked(password, 'git')}", "git's credential helper")


def variables_of(site: Site) -> tuple[str, ...]:
    """The variables in which a token for such a site may stand."""
    return _VARIABLES[KINDS[site.kind].kind]


def _kind(host: str, around: Surroundings) -> str | None:
    """The kind of forge at a host, as far as anybody said so."""
    named = around.settings.get(f"gitml.{host}.forge")
    if named is not None:
        if named not in KINDS:
            error = NameNotFound.among("kind of forge", named, KINDS)
            raise ConfigError(f"gitml.{host}.forge: {error.message}", hint=error.hint)
        return named
    if host in _PUBLIC:
        return _PUBLIC[host]
    if around.workflow_host("CI_SERVER_URL") == host and "GITLAB_CI" in around.environment:
        return "gitlab"
    if around.workflow_host("GITHUB_SERVER_URL") == host:
        is_gitea = {"GITEA_ACTIONS", "FORGEJO_ACTIONS"} & set(around.environment)
        return "gitea" if is_gitea else "github"
    return None


def _variables(kind: str, web: str, around: Surroundings) -> tuple[str, ...]:
    """The variables whose tokens are meant for the host of these pages."""
    own, host = _VARIABLES[kind], urlsplit(web).netloc
    pages = [one.rstrip("/") for key, one in around.settings.items() if key.endswith(".web")]
    if f"gitml.{host}.forge" in around.settings or web in pages or host in _PUBLIC:
        names = own
    elif around.environment.get("GH_HOST") == host and kind == "github":
        names = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
    elif around.workflow_host("CI_SERVER_URL") == host:
        names = own
    else:
        names = ()
    if around.workflow_host("GITHUB_SERVER_URL") == host:
        names = (*own, "GITHUB_TOKEN")
    return tuple(dict.fromkeys(names))


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, host with its port where that is one for browsers, and path of a remote's URL."""
    if "://" not in url:
        found = re.fullmatch(_SCP, url)
        return ("ssh", found[1], found[2]) if found else ("", "", "")
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme in ("http", "https"):
        return parts.scheme, host, parts.path
    return ("ssh", parts.hostname or "", parts.path) if parts.scheme == "ssh" else ("", "", "")


def _checked(value: str, source: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,4000}", value):
        raise ConfigError(f"what {source} has is no token: a token is one word of ASCII")
    return value
