"""Which remotes a project has: the table of ``gitml.toml``, and what one clone says differently."""

from __future__ import annotations

from collections.abc import Mapping

from gitml.config import Config, secrets_in
from gitml.entities.ids import check_name, check_twins
from gitml.errors import ConfigError, NameNotFound, UsageError
from gitml.frozen import Frozen, field

SETTING = "gitml.remote"
"""The git setting with the default remote of one clone; below it, each remote has its own."""

_PREFIX = f"{SETTING}."


class NamedRemote(Frozen):
    """A remote by name: ``is_shared`` tells that its URL stands in ``gitml.toml``, for everyone.

    ``settings`` are those of git for this remote, by lower-case name: of this clone alone.
    """

    name: str
    url: str
    is_default: bool = False
    is_shared: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


def known_remotes(config: Config | None, settings: Mapping[str, str]) -> dict[str, NamedRemote]:
    """All remotes by name, those of ``gitml.toml`` first, in its order.

    ``settings`` are git's: ``gitml.remote.<name>.url`` wins over the table, or stands alone. The
    default is ``gitml.remote``, else the one of the table, else the only one there is. Raises
    ConfigError for a remote without a URL and for a default that is none.
    """
    own = _own_settings(settings)
    shared = dict(config.remotes) if config is not None else {}
    names = [*shared, *(name for name in own if name not in shared)]
    for at, name in enumerate(names):
        check_twins([check_name(name, "remote")], names[:at], "remote")
    default = settings.get(SETTING) or (config.default_remote if config is not None else "")
    if default and default not in names:
        raise ConfigError(
            f"the default remote `{default}` is not there",
            hint=f"`gitml remote list`, then `git config {SETTING} NAME`",
        )
    if not default and len(names) == 1:
        default = names[0]
    found = {}
    for name in names:
        url = own.get(name, {}).get("url") or shared.get(name, "")
        if not url:
            raise ConfigError(
                f"the remote {name} has no URL", hint=f"`git config {_PREFIX}{name}.url URL`"
            )
        for secret in secrets_in(url):
            raise ConfigError(f"the URL of the remote {name} {secret.what}", hint=secret.hint)
        is_shared = "url" not in own.get(name, {})
        found[name] = NamedRemote(name, url, name == default, is_shared, own.get(name, {}))
    return found


def remote_named(known: Mapping[str, NamedRemote], name: str | None) -> NamedRemote:
    """The remote of a name, or the default; raises NameNotFound, UsageError without a choice."""
    if name is not None:
        if name not in known:
            raise NameNotFound.among(
                "remote", name, known, hint=None if known else "`gitml remote add NAME URL`"
            )
        return known[name]
    if not known:
        raise UsageError(
            "this project has no remote for bytes",
            hint="`gitml remote add lake /shared/folder` or `… s3://bucket/prefix` names one",
        )
    for one in known.values():
        if one.is_default:
            return one
    raise UsageError(
        f"there are several remotes and none is the default: {', '.join(known)}",
        hint=f"`git config {SETTING} {next(iter(known))}` chooses one",
    )


def _own_settings(settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What git's configuration says of each remote: name → setting → value."""
    found: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        name, dot, setting = key.removeprefix(_PREFIX).rpartition(".")
        if key.startswith(_PREFIX) and dot and name:
            found.setdefault(name, {})[setting.lower()] = value
    return found
