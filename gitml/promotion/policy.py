"""Policies as ``gitml.toml`` has them, read and checked.

``[policy.<stage>] require = [{ metric = "accuracy", min = 0.9 }, …]`` is a list of rules. The check
that a rule means is its first known word (``metric``), the others are its settings. Checks are
found in the entry-point group ``gitml.checks``: the built-in ones and those of any plugin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitml import config as configuration
from gitml import plugins
from gitml.config import Config
from gitml.entities.checksum import sha256_hex
from gitml.entities.ids import ObjectId, check_stage_name
from gitml.errors import ConfigError, GitmlError, InvalidName, NameNotFound
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.promotion.rule import Policies, Policy, Rule

GROUP = "gitml.checks"
_MAX_RULES = 100
_FORM = 'the form is require = [{ metric = "accuracy", min = 0.9 }, …]'


def read_policies(config: Config, commit: ObjectId | None = None) -> Policies:
    """The policies that settings contain; raises ConfigError that names the rule and its form."""
    found = {stage: _policy(config, stage, table) for stage, table in config.policies.items()}
    return Policies(config, found, commit)


def policies_at(git: Git, odb: Odb, commit: ObjectId) -> Policies | None:
    """The policies in the ``gitml.toml`` of a commit; None where it has no such file.

    Raises ConfigError as `read_policies` does, MissingBytes where the commit is not here.
    """
    data = odb.file(commit, configuration.FILE)
    if data is None:
        odb.commit(commit)
        return None
    listing = git.run("log", "-1", "--format=%H", str(commit), "--", configuration.FILE)
    changed = ObjectId.parse(listing.decode().strip())
    return read_policies(configuration.parse(data, Path(configuration.FILE)), changed)


def _policy(config: Config, stage: str, table: Mapping[str, Any]) -> Policy:
    where = f"{configuration.FILE}: policy.{stage}"
    try:
        check_stage_name(stage)
    except InvalidName as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
    unknown = sorted(set(table) - {"require"})
    if unknown:
        raise ConfigError(f"{where}.{unknown[0]} is no setting; {_FORM}")
    listed = table.get("require")
    if not isinstance(listed, list) or len(listed) > _MAX_RULES:
        raise ConfigError(f"{where}.require should be a list of at most {_MAX_RULES}; {_FORM}")
    rules = tuple(
        _rule(config, one, f"{where}.require[{at}]") for at, one in enumerate(listed, start=1)
    )
    return Policy(stage, rules, _digest(config, stage, listed))


def _rule(config: Config, settings: Any, where: str) -> Rule:
    """The rule of an entry, the first of which is 1."""
    if not isinstance(settings, dict) or not settings:
        raise ConfigError(f"{where} should be a table; {_FORM}")
    kind = next((find_check(word) for word in settings if find_check(word)), None)
    if kind is None:
        word = next(iter(settings))
        error = NameNotFound.among("check", word, plugins.names(GROUP))
        raise ConfigError(f"{where}: {error.message}", hint=error.hint)
    rule = kind.read(settings, where)
    complaint = rule.complain(config)
    if complaint:
        raise ConfigError(f"{where}: {complaint}; {kind.form()}")
    return rule


def find_check(word: str) -> type[Rule] | None:
    """The check of this name, built-in or a plugin's; raises GitmlError where it is no check."""
    found = plugins.find(GROUP, word)
    if found is None:
        return None
    if not (isinstance(found, type) and issubclass(found, Rule)):
        raise GitmlError(f"the plugin `{word}` of {GROUP} is no subclass of gitml.promotion's Rule")
    return found


def _digest(config: Config, stage: str, listed: list[Any]) -> str:
    """A digest of all that decides: the rules, what better means, who is in which group, where."""
    whole = {
        "stage": stage,
        "require": listed,
        "directions": dict(config.directions),
        "groups": {name: list(one) for name, one in config.groups.items()},
    }
    places = [one["stored_on"] for one in listed if "stored_on" in one]
    if places:
        whole["remotes"] = {name: config.remotes[name] for name in sorted(places)}
    text = json.dumps(whole, sort_keys=True, default=str)
    return f"sha256:{sha256_hex(text.encode())}"
