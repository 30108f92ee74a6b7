"""``gitml.toml``: what a project has settled, read and checked.

Unknown tables are kept in the file and named once (``Config.unknown``): a later version may know
them. Secrets are refused: a configuration is shared with everyone who can read the repository.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitml.errors import ConfigError, NoRepository

FILE = "gitml.toml"
KEYS = (
    "project.id",
    "pipelines.paths",
    "stacks.<name>.orchestrator",
    "stacks.<name>.artifact_store",
    "metrics.<name>.direction",
    "policy.<stage>",
    "remotes.<name>.url",
    "materializers.pickle",
    "materializers.trusted_types",
)
"""Every key that is read, as docs/configuration.md lists them."""

_MAX_BYTES = 1 << 20
_KNOWN_TABLES = frozenset({"project", "pipelines", "stacks", "metrics", "policy", "remotes"})
_KNOWN_TABLES |= {"materializers"}
_PROJECT = re.compile(r"^\[project\][^\n]*\n", re.MULTILINE)
_USERINFO = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@]*:[^/@]*@", re.IGNORECASE)
_SECRET_KEY = re.compile(r"(?i)(?:^|_)(?:secret|password|passwd|token|access_key|api_key)(?:_|$)")
_REFERENCE = re.compile(r"^\$\{?[A-Za-z_][A-Za-z0-9_]*\}?$|^(?:env|keyring|git-credential):")


@dataclass(frozen=True)
class Config:
    """A project's settings.

    ``directions`` says of metrics whether more is better ("max") or less ("min"); ``policies`` are
    the raw tables of the stages; ``unknown`` the tables that this version does not read.
    """

    path: Path
    project: str
    pipeline_paths: tuple[str, ...] = ("pipelines",)
    stacks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remotes: Mapping[str, str] = field(default_factory=dict)
    pickle: bool = False
    trusted_types: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()


def read(path: Path) -> Config:
    """The settings in a ``gitml.toml``; raises ConfigError naming the key, NoRepository if absent.

    Only the format is judged here; whether a stack's flavor exists is the stack's question.
    """
    if path.exists() and not (path.is_file() and path.stat().st_size <= _MAX_BYTES):
        raise ConfigError(f"{path} is no file of settings", hint=f"`ls -l {FILE}`")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NoRepository(
            f"there is no {FILE} at {path.parent}", hint="`gitml init` writes it"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE} cannot be read", hint="`git diff gitml.toml`") from error
    _refuse_secrets(document, "")
    table = _Table(document, "")
    project = table.table("project").text("id")
    if not project:
        raise ConfigError(f"{FILE}: project.id is missing", hint="`gitml init` writes one")
    materializers = table.table("materializers")
    return Config(
        path=path,
        project=project,
        pipeline_paths=table.table("pipelines").texts("paths", ("pipelines",)),
        stacks={name: _texts(one) for name, one in table.tables("stacks")},
        directions={name: _direction(one) for name, one in table.tables("metrics")},
        policies={name: one.content for name, one in table.tables("policy")},
        remotes={name: one.text("url") for name, one in table.tables("remotes")},
        pickle=materializers.flag("pickle"),
        trusted_types=frozenset(materializers.texts("trusted_types", ())),
        unknown=tuple(sorted(set(document) - _KNOWN_TABLES)),
    )


def template(project: str) -> str:
    """The text of a new ``gitml.toml``."""
    return (
        "# Settings of gitml, shared by everyone who works here. See docs/configuration.md.\n"
        "[project]\n"
        f'id = "{project}"  # binds promotions to this repository: leave it as it is\n'
        "\n"
        "[pipelines]\n"
        'paths = ["pipelines"]  # where functions with @pipeline are looked for\n'
    )


def adopted(path: Path, project: str) -> str | None:
    """The text of a template's ``gitml.toml`` with an id of its own; None where it has one.

    A template is shared without an id: each repository that is made of it gets another.
    """
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE} cannot be read", hint="`git diff gitml.toml`") from error
    if not isinstance(table, dict) or "id" in table:
        return None
    if _PROJECT.search(text):
        return _PROJECT.sub(lambda found: f'{found[0]}id = "{project}"\n', text, count=1)
    return f'{text.rstrip()}\n\n[project]\nid = "{project}"  # leave it as it is\n'


@dataclass(frozen=True)
class _Table:
    """A TOML table, read with the key's full path in every complaint."""

    content: Mapping[str, Any]
    path: str

    def _complain(self, key: str, expected: str) -> ConfigError:
        where = f"{self.path}.{key}" if self.path else key
        return ConfigError(f"{FILE}: {where} should be {expected}")

    def table(self, key: str) -> _Table:
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise self._complain(key, f"a table, `[{key}]`")
        return _Table(value, f"{self.path}.{key}" if self.path else key)

    def tables(self, key: str) -> list[tuple[str, _Table]]:
        outer = self.table(key)
        return [(name, outer.table(name)) for name in outer.content]

    def text(self, key: str) -> str:
        value = self.content.get(key, "")
        if not isinstance(value, str):
            raise self._complain(key, "text")
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.content.get(key)
        if value is None:
            return default
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._complain(key, "a list of texts")
        return tuple(value)

    def flag(self, key: str) -> bool:
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            raise self._complain(key, "true or false")
        return value


def _texts(table: _Table) -> dict[str, str]:
    return {key: table.text(key) for key in table.content}


def _direction(table: _Table) -> str:
    value = table.text("direction")
    if value not in ("max", "min"):
        raise ConfigError(f'{FILE}: {table.path}.direction should be "max" or "min"')
    return value


def _refuse_secrets(value: Any, path: str) -> None:
    """Raise ConfigError for what looks like a credential: it would be pushed to everyone."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            where = f"{path}.{key}" if path else str(key)
            literal = isinstance(one, str) and one and not _REFERENCE.match(one)
            if literal and _SECRET_KEY.search(str(key)):
                raise ConfigError(
                    f"{FILE}: {where} holds a secret",
                    hint=f'keep it in the environment and write `{key} = "${{NAME}}"`',
                )
            _refuse_secrets(one, where)
    elif isinstance(value, list):
        for one in value:
            _refuse_secrets(one, path)
    elif isinstance(value, str) and _USERINFO.match(value):
        raise ConfigError(
            f"{FILE}: {path} holds a user name and password in its URL",
            hint="take them out of the URL; `git credential approve` or the environment keeps them",
        )
