"""Amazon's own files of profiles, ``~/.aws/credentials`` and ``config``: the keys in them."""

from __future__ import annotations

from collections.abc import Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from gitml.errors import ConfigError

_LARGEST = 1 << 20
_BY_COMMAND = ("credential_process", "sso_session", "sso_start_url", "role_arn")
_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
}


def profile_keys(environment: Mapping[str, str], name: str | None) -> dict[str, str]:
    """The keys and the region of a profile: ``name``, else ``AWS_PROFILE``, else ``default``.

    Empty where there is no profile. Raises ConfigError when one that was named is not there, or
    gets its keys from a program, which is not run.
    """
    wanted = name or environment.get("AWS_PROFILE")
    chosen = wanted or "default"
    home = Path(environment.get("HOME", "/nonexistent"))
    places = {
        chosen: environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials",
        f"profile {chosen}": environment.get("AWS_CONFIG_FILE") or home / ".aws/config",
    }
    found: dict[str, str] = {}
    for section, place in places.items():
        found = _section(Path(place), section, chosen) | found
    if wanted and not found:
        raise ConfigError(
            f"there is no profile `{wanted}`", hint=f"`aws configure --profile {wanted}` makes one"
        )
    if "aws_access_key_id" not in found and any(key in found for key in _BY_COMMAND) and wanted:
        raise ConfigError(
            f"the profile `{wanted}` holds no keys: it gets them from elsewhere",
            hint=f'`eval "$(aws configure export-credentials --profile {wanted} --format env)"`',
        )
    return {ours: found[theirs] for theirs, ours in _NAMES.items() if theirs in found}


def _section(path: Path, section: str, name: str) -> dict[str, str]:
    """A section of such a file; the default profile has the same name in both."""
    parser = RawConfigParser(default_section="", strict=False)
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path} is no file of profiles")
        parser.read_string(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, Error) as error:
        raise ConfigError(f"{path} cannot be read") from error
    for one in (section, name):
        if parser.has_section(one):
            return dict(parser.items(one))
    return {}
