"""``gitml.toml``: what a project has settled, read and checked.

Unknown tables are kept in the file and named once (``Config.unknown``): a later version may know
them. Secrets are refused: a configuration is shared with everyone who can read the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gitml.errors import ConfigError, NoRepository
from gitml.frozen import Frozen, field

FILE = "gitml.toml"
CARD = ("license", "audience", "use_cases", "limitations", "trade_offs", "ethics", "tags")
"""What a model card says besides the description: texts, and ``tags``, which are a list."""

_MAX_BYTES = 1 << 20
_KNOWN_TABLES = frozenset({"project", "pipelines", "stacks", "metrics", "policy", "remotes"})
_KNOWN_TABLES |= {"materializers", "hooks", "groups", "signing", "models", "cache"}
_PROJECT = r"(?m)^\[project\][^\n]*\n"
_PROJECT_ID = r"""(?m)^\[project\][^\n]*\n(?:[^\[\n][^\n]*\n|\n)*?id *= *("[^"\n]*"|'[^'\n]*')"""
_USERINFO = r"(?i)^[a-z][a-z0-9+.-]*://[^/@]*:[^/@]*@"
_CREDENTIAL = r"(?i)(?:^|_)(?:secret|password|passwd|token|access_key|api_key)(?:_|$)"
_REFERENCE = r"^\$\{?[A-Za-z_][A-Za-z0-9_]*\}?$|^(?:env|keyring|git-credential):"
_IS_DEFAULT = r"default *= *true *(?:#.*)?\Z"
_SIZE = r"(?i)([0-9]{1,15}(?:\.[0-9]{1,3})?) ?(k|M|G|T)?(i)?B?"
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

FILE_LIMIT = 10_000_000
"""Bytes from which on a file is too large for git, where ``hooks.limit`` says nothing."""


class Signing(Frozen):
    """Whether numbers and moves, and runs with their versions, are signed.

    And the files that say whose signatures count.
    """

    tags: bool = False
    runs: bool = False
    allowed_signers: str = "allowed_signers"
    revoked_signers: str = "revoked_signers"
    gpg_keys: str = "signers.asc"


class Config(Frozen):
    """A project's settings.

    ``directions`` says of metrics whether more is better ("max") or less ("min"); ``policies`` are
    the raw tables of the stages, ``groups`` the addresses of the people in each group;
    ``models`` is what the cards of models say where the code says nothing; ``file_limit`` is
    the size in bytes of the largest file that the hooks let into git and
    ``unchecked`` the patterns of the paths that they pass over; with ``strict_env`` a step is
    cached in the same environment alone; ``unknown`` are the tables that this version does not
    read.
    """

    path: Path
    project: str
    pipeline_paths: tuple[str, ...] = ("pipelines",)
    stacks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    directions: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signing: Signing = Signing()
    remotes: Mapping[str, str] = field(default_factory=dict)
    default_remote: str = ""
    pickle: bool = False
    trusted_types: frozenset[str] = frozenset()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file_limit: int = FILE_LIMIT
    unchecked: tuple[str, ...] = ()
    strict_env: bool = False
    unknown: tuple[str, ...] = ()


def read(path: Path) -> Config:
    """The settings in a ``gitml.toml``; raises ConfigError naming the key, NoRepository if absent.

    Only the format is judged here; whether a stack's flavor exists is the stack's question.
    """
    if path.exists() and not (path.is_file() and path.stat().st_size <= _MAX_BYTES):
        raise ConfigError(f"{path} is no file of settings", hint=f"`ls -l {FILE}`")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NoRepository(
            f"there is no {FILE} at {path.parent}", hint="`gitml init` writes it"
        ) from error
    return parse(data, path)


def parse(data: bytes, path: Path) -> Config:
    """The settings in the bytes of a ``gitml.toml``, of a commit say; raises as `read` does."""
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{FILE} cannot be read", hint="`git diff gitml.toml`") from error
    for secret in secrets_in(document):
        raise ConfigError(f"{FILE}: {secret.key} {secret.what}", hint=secret.hint)
    table = _Table(document, "")
    project = table.table("project").text("id")
    if not project:
        raise ConfigError(f"{FILE}: project.id is missing", hint="`gitml init` writes one")
    materializers = table.table("materializers")
    hooks = table.table("hooks")
    groups = table.table("groups")
    limit = hooks.text("limit")
    return Config(
        path=path,
        project=project,
        pipeline_paths=table.table("pipelines").texts("paths", ("pipelines",)),
        stacks={name: _texts(one) for name, one in table.tables("stacks")},
        directions={name: _direction(one) for name, one in table.tables("metrics")},
        policies={name: one.content for name, one in table.tables("policy")},
        signing=_signing(table.table("signing")),
        groups={name: groups.texts(name, ()) for name in groups.content},
        remotes={name: one.text("url") for name, one in table.tables("remotes")},
        default_remote=_default_remote(table),
        pickle=materializers.flag("pickle"),
        trusted_types=frozenset(materializers.texts("trusted_types", ())),
        models={name: _card(one) for name, one in table.tables("models")},
        file_limit=parse_size(limit, f"{FILE}: hooks.limit") if limit else FILE_LIMIT,
        unchecked=hooks.texts("exclude", ()),
        strict_env=table.table("cache").flag("strict_env"),
        unknown=tuple(sorted(set(document) - _KNOWN_TABLES)),
    )


def template(project: str) -> str:
    """The text of a new ``gitml.toml``."""
    return (
        "# Settings of gitml, shared by everyone who works here. What else can stand here:\n"
        "# docs/configuration.md in the repository of gitml.\n"
        "[project]\n"
        f'id = "{project}"  # binds promotions to this repository: leave it as it is\n'
        "\n"
        "[pipelines]\n"
        'paths = ["pipelines"]  # where functions with @pipeline are looked for\n'
    )


def adopted(path: Path, project: str, *, renew: bool = False) -> str | None:
    """The text of a template's ``gitml.toml`` with an id of its own; None where it has one.

    A template is shared without an id: each repository that is made of it gets another. With
    ``renew`` one that is there gives way, since two projects must not have the same.
    """
    import tomllib

    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{FILE} cannot be read", hint="`git diff gitml.toml`") from error
    if isinstance(table, dict) and "id" in table and renew:
        found = re.search(_PROJECT_ID, text)
        if found is None:
            raise ConfigError(f"{FILE} has a project.id that cannot be replaced", hint="remove it")
        return f'{text[: found.start(1)]}"{project}"{text[found.end(1) :]}'
    if not isinstance(table, dict) or "id" in table:
        return None
    if re.search(_PROJECT, text):
        return re.sub(_PROJECT, lambda found: f'{found[0]}id = "{project}"\n', text, count=1)
    return f'{text.rstrip()}\n\n[project]\nid = "{project}"  # leave it as it is\n'


def with_remote(text: str, name: str, url: str, *, default: bool = False) -> str:
    """The text of a ``gitml.toml`` with one more remote, all else as it was.

    As the ``default`` it takes the place of the one before. Raises ConfigError where the file is
    written in a way that only a person can change.
    """
    wanted = _parsed(text)
    lines = text.splitlines()
    remotes = wanted.setdefault("remotes", {})
    if default:
        for known in remotes:
            start, end = _remote_table(lines, known)
            lines[start:end] = [one for one in lines[start:end] if not re.match(_IS_DEFAULT, one)]
            remotes[known].pop("default", None)
    lines += ["", f"[remotes.{_key(name)}]", f"url = {_quoted(url)}"]
    lines += ["default = true"] if default else []
    remotes[name] = {"url": url, "default": True} if default else {"url": url}
    return _checked(lines, wanted)


def without_remote(text: str, name: str) -> str:
    """The text of a ``gitml.toml`` without a remote, all else as it was; ConfigError as above."""
    wanted = _parsed(text)
    lines = text.splitlines()
    start, end = _remote_table(lines, name)
    if start and not lines[start - 1].strip():
        start -= 1
    del lines[start:end]
    wanted.get("remotes", {}).pop(name, None)
    if not wanted.get("remotes", True):
        wanted.pop("remotes")
    return _checked(lines, wanted)


def _remote_table(lines: Sequence[str], name: str) -> tuple[int, int]:
    """Where the table of a remote begins and ends; what is said above the next one is its own."""
    headers = (f"[remotes.{name}]", f"[remotes.{_quoted(name)}]")
    start = next((at for at, one in enumerate(lines) if one.startswith(headers)), len(lines))
    end = start + 1
    while end < len(lines) and not lines[end].startswith("["):
        end += 1
    if end < len(lines):
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1
    return start, min(end, len(lines))


def _parsed(text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{FILE} cannot be read", hint="`git diff gitml.toml`") from error


def _checked(lines: Sequence[str], wanted: Mapping[str, Any]) -> str:
    """The text of these lines if it says what is wanted; raises ConfigError."""
    import tomllib

    text = "\n".join(lines) + "\n"
    try:
        if tomllib.loads(text) == wanted:
            return text
    except tomllib.TOMLDecodeError:
        pass
    raise ConfigError(
        f"{FILE} is written in a way that cannot be changed from here", hint=f"`$EDITOR {FILE}`"
    )


def _key(name: str) -> str:
    """A key of TOML: names may have dots, which part keys there."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def _default_remote(table: _Table) -> str:
    """The one remote that is marked as the default; raises ConfigError when two are."""
    marked = [name for name, one in table.tables("remotes") if one.flag("default")]
    if len(marked) > 1:
        raise ConfigError(f"{FILE}: two remotes are the default: {' and '.join(marked)}")
    return marked[0] if marked else ""


class _Table(Frozen):
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


def _signing(table: _Table) -> Signing:
    files = ("allowed_signers", "revoked_signers", "gpg_keys")
    named = {key: text for key in files if (text := table.text(key))}
    return Signing(table.flag("tags"), table.flag("runs"), **named)


def _card(table: _Table) -> dict[str, Any]:
    """What is said of a model, by the names of its card's fields; raises for another name."""
    for key in table.content:
        if key not in ("description", *CARD):
            known = ", ".join(("description", *CARD))
            raise ConfigError(f"{FILE}: {table.path}.{key} is no field of a model card: {known}")
    said: dict[str, Any] = {
        key: list(table.texts(key, ())) if key == "tags" else table.text(key)
        for key in table.content
    }
    return {key: one for key, one in said.items() if one}


def _direction(table: _Table) -> str:
    value = table.text("direction")
    if value not in ("max", "min"):
        raise ConfigError(f'{FILE}: {table.path}.direction should be "max" or "min"')
    return value


class Secret(Frozen):
    """A literal credential in a document of settings: at which key, what it is, what to do."""

    key: str
    what: str
    hint: str


def secrets_in(value: Any, path: str = "") -> Iterator[Secret]:
    """What looks like a credential in a document of settings: it would be pushed to everyone.

    A reference (``${NAME}``, ``env:NAME``, ``keyring:…``) is none.
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            where = f"{path}.{key}" if path else str(key)
            if isinstance(one, str) and is_secret(str(key), one):
                hint = f'keep it in the environment and write `{key} = "${{NAME}}"`'
                yield Secret(where, "holds a secret", hint)
            yield from secrets_in(one, where)
    elif isinstance(value, list):
        for one in value:
            yield from secrets_in(one, path)
    elif isinstance(value, str) and "@" in value and re.match(_USERINFO, value):
        hint = "take them out of the URL; `git credential approve` or the environment keeps them"
        yield Secret(path, "holds a user name and password in its URL", hint)


def is_secret(key: str, value: str) -> bool:
    """Whether a setting of this name holds a literal value although its name says secret."""
    return bool(value and re.search(_CREDENTIAL, key) and not re.match(_REFERENCE, value))


def parse_size(text: str, what: str) -> int:
    """Bytes as people write them, ``10 MB`` or ``64 KiB``; raises ConfigError naming ``what``."""
    found = re.fullmatch(_SIZE, text.strip())
    if found is None:
        raise ConfigError(f'{what} should be a size, like "10 MB"')
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _UNITS[(unit or "").lower()])


def parse_age(text: str, what: str) -> float:
    """Seconds as people write them, ``30d``, ``12 h`` or ``1.5h``; raises ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if found is None:
        raise ConfigError(f'{what} should be a length of time, like "30d", "12h", "10m" or "45s"')
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]
