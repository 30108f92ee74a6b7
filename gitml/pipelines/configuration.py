"""A run's configuration, in a file or in code: all that may be said of a run outside of its steps.

The keys are those that users of ZenML know. What has a meaning here is taken; what is about
containers, connectors and the like is accepted and named in ``ignored``, so that one file serves
both. A wrong type is refused with the path of the key and what is expected there.
"""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from gitml.config import CARD
from gitml.errors import InvalidName, NameNotFound, UsageError
from gitml.frozen import Frozen, field, fields, replace
from gitml.history.tags import check_tags
from gitml.pipelines.annotations import number_of
from gitml.pipelines.documents import read_document
from gitml.pipelines.dsl import PipelineFunction
from gitml.pipelines.options import EXECUTION_MODES, Callback
from gitml.pipelines.policy import CachePolicy
from gitml.pipelines.references import Model

P = TypeVar("P", bound=PipelineFunction)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_IGNORED = frozenset(
    {
        "build",
        "settings",
        "schedule",
        "enable_artifact_metadata",
        "enable_artifact_visualization",
        "enable_step_logs",
        "enable_pipeline_logs",
        "enable_heartbeat",
        "extra",
        "secrets",
        "environment",
        "runtime",
        "unlisted",
        "prevent_build_reuse",
    }
)
_IGNORED_OF_STEP = _IGNORED | frozenset(
    {
        "step_operator",
        "experiment_tracker",
        "outputs",
        "group",
        "name",
        "substitutions",
    }
)
_HOOKS = {
    "on_start": "on_start",
    "on_success": "on_success",
    "on_failure": "on_failure",
    "success_hook_source": "on_success",
    "failure_hook_source": "on_failure",
}
"""The keys that name a function, by what it is called for."""
_KEYS_OF_RETRY = frozenset({"max_retries", "delay", "backoff"})
PIPELINE_KEYS = frozenset(
    {"parameters", "steps", "enable_cache", "model", "retry", "cache_policy", "execution_mode"}
    | {"run_name", "substitutions", "tags", *_HOOKS}
)
STEP_KEYS = frozenset(
    {"parameters", "enable_cache", "retry", "timeout", "cache_policy", "model", "tags", *_HOOKS}
)
_KEYS_OF_MODEL = frozenset({"name", "version", "description", *CARD})
_IGNORED_OF_MODEL = frozenset({"save_models_to_registry"})
_KEYS_OF_POLICY = frozenset(fields(CachePolicy))
_IGNORED_OF_POLICY = frozenset(
    {"include_step_parameters", "include_artifact_values", "include_artifact_ids"}
    | {"source_dependencies"}
)

_KINDS: dict[type, str] = {
    dict: "a table",
    bool: "true or false",
    str: "text",
    list: "a list",
    int: "a whole number",
    float: "a number",
    type(None): "nothing",
}


class RunConfiguration(Frozen):
    """What a file says about a run.

    ``parameters`` may name those of steps as ``<step>.<parameter>``; ``steps`` are options of
    steps, by the names that ``StepFunction.with_options`` has, and ``retry`` those of all steps
    that have no retries of their own. ``options`` are the pipeline's: ``cache``, ``model``,
    ``policy``, ``execution_mode``, ``run_name``, ``substitutions``. What is absent is as the code
    says. ``hooks`` are called for the run, ``tags`` put on it. ``ignored`` are the keys without a
    meaning here.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    retry: Mapping[str, Any] = field(default_factory=dict)
    hooks: Mapping[str, Callback] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def note(self, where: Path | str) -> str | None:
        """What to say of the keys that mean nothing here; None where there are none."""
        if not self.ignored:
            return None
        return f"{where} sets what has no meaning here: {', '.join(self.ignored)}"


def read_configuration(path: Path, environment: Mapping[str, str]) -> RunConfiguration:
    """The configuration in a TOML, YAML or JSON file, ``${NAME}`` filled in from the environment.

    Raises UsageError, with the path of the key, for what is not as it should be.
    """
    document = read_document(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path} should hold a table, not {_kind(document)}")
    return _Reader(str(path)).configuration(_filled(document, path, environment, ""))


def configuration(settings: Mapping[str, Any], where: str) -> RunConfiguration:
    """The configuration that code says, by the keys of a file; ``where`` is for the messages.

    Functions, a `Model` and a `CachePolicy` may stand as they are.
    """
    return _Reader(where).configuration(dict(settings))


def step_options(settings: Mapping[str, Any], where: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The options of a step that the keys of ``steps.<name>`` say, and the keys without a meaning.

    Raises as the reading of a file does.
    """
    reader = _Reader(where)
    return reader.step(dict(settings), ""), tuple(reader.ignored)


def configured(pipeline: P, settings: RunConfiguration) -> P:
    """A copy of a pipeline with what a configuration says."""
    other = copy.copy(pipeline)
    other.preset = {**pipeline.preset, **settings.parameters}
    other.step_options = {
        **pipeline.step_options,
        **{
            name: {**pipeline.step_options.get(name, {}), **options}
            for name, options in settings.steps.items()
        },
    }
    other.retry = settings.retry or pipeline.retry
    other.callbacks = replace(pipeline.callbacks, **settings.hooks)
    other.callbacks.check(pipeline.name)
    other.tags = check_tags([*pipeline.tags, *settings.tags])
    for name, value in settings.options.items():
        setattr(other, name, value)
    return other


class _Reader:
    """Reads one document; ``where`` it stands is said of what is refused."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.ignored: list[str] = []

    def configuration(self, document: dict[str, Any]) -> RunConfiguration:
        """The whole document."""
        self._check_keys(document, "", PIPELINE_KEYS, _IGNORED)
        parameters = dict(self._get(document, "parameters", dict, {}))
        steps = {}
        for name, step in self._get(document, "steps", dict, {}).items():
            where = f"steps.{name}"
            if not isinstance(step, Mapping):
                raise self._wrong(where, dict, step)
            if options := self.step(dict(step), f"{where}."):
                steps[str(name)] = options
            given = self._get(step, "parameters", dict, {}, f"{where}.")
            parameters |= {f"{name}.{key}": one for key, one in given.items()}
        options = self._caching(document, "")
        said = {
            "cache": options.get("cache"),
            "policy": options.get("cache_policy"),
            "model": self._model(document, ""),
            "execution_mode": self._mode(document),
            "run_name": self._get(document, "run_name", str, None),
            "substitutions": self._substitutions(document),
        }
        return RunConfiguration(
            parameters,
            {name: one for name, one in said.items() if one is not None},
            steps,
            self._retry(document, ""),
            self._hooks(document, ""),
            self._tags(document, ""),
            tuple(self.ignored),
        )

    def step(self, step: dict[str, Any], where: str) -> dict[str, Any]:
        """The options of one step, by the names that `@step` has; ``where`` ends with a dot."""
        self._check_keys(step, where, STEP_KEYS, _IGNORED_OF_STEP)
        options = {**self._caching(step, where), **self._retry(step, where)}
        timeout = self._get(step, "timeout", float, None, where)
        if timeout is not None:
            options["timeout"] = timeout
        model = self._model(step, where)
        if model is not None:
            options["model"] = model
        if step.get("tags") is not None:
            options["tags"] = self._tags(step, where)
        return {**options, **self._hooks(step, where)}

    def _caching(self, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """What is said of the cache: ``cache`` and ``cache_policy``."""
        options = {}
        cache = self._get(table, "enable_cache", bool, None, where)
        if cache is not None:
            options["cache"] = cache
        policy = table.get("cache_policy")
        if policy == "no_cache":
            options["cache"] = False
        elif policy is not None:
            options["cache_policy"] = self._policy(policy, f"{where}cache_policy")
        return options

    def _policy(self, given: Any, where: str) -> CachePolicy:
        if isinstance(given, CachePolicy):
            return given
        if given == "default":
            return CachePolicy()
        if not isinstance(given, dict):
            raise UsageError(
                f'{self._where}: `{where}` should be a table, "default" or "no_cache", not '
                f"{_kind(given)}"
            )
        self._check_keys(given, f"{where}.", _KEYS_OF_POLICY, _IGNORED_OF_POLICY)
        said = {name: one for name, one in given.items() if name in _KEYS_OF_POLICY}
        if "cache_func" in said:
            said["cache_func"] = self._function(said["cache_func"], f"{where}.cache_func")
        try:
            return CachePolicy(**said)
        except UsageError as error:
            message = f"{self._where}: `{where}`: {error.message}"
            raise UsageError(message, hint=error.hint) from None

    def _retry(self, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """What is said of attempts, by the names that `@step` has."""
        given = self._get(table, "retry", dict, None, where)
        if given is None:
            return {}
        where = f"{where}retry."
        self._check_keys(given, where, _KEYS_OF_RETRY, frozenset())
        said = {
            "retries": self._get(given, "max_retries", int, 1, where),
            "backoff": self._get(given, "delay", float, 0, where),
            "factor": max(self._get(given, "backoff", float, 1, where), 1),
        }
        if said["retries"] < 0 or said["backoff"] < 0:
            raise UsageError(f"{self._where}: `{where[:-1]}` should have numbers from 0 on")
        return said

    def _hooks(self, table: Mapping[str, Any], where: str) -> dict[str, Callback]:
        """The functions that are to be called, by when."""
        given = ((key, table[key]) for key in _HOOKS if table.get(key) is not None)
        return {_HOOKS[key]: self._function(one, f"{where}{key}") for key, one in given}

    def _function(self, given: Any, where: str) -> Callback:
        """A function, or the one that ``module.function`` names."""
        if isinstance(given, dict) and given.keys() >= {"module", "attribute"}:
            given = f"{given['module']}.{given['attribute']}"
        if callable(given):
            return given  # type: ignore[no-any-return]
        module, _, name = str(given).rpartition(".")
        if not isinstance(given, str) or not module:
            raise UsageError(
                f"{self._where}: `{where}` should be a function, like `alerts.notify`, not "
                f"{_kind(given)}"
            )
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"{self._where}: `{where}` names {given}, which cannot be imported: {error}"
            ) from None
        return found  # type: ignore[no-any-return]

    def _mode(self, table: Mapping[str, Any]) -> str | None:
        mode: str | None = self._get(table, "execution_mode", str, None)
        if mode is not None and mode not in EXECUTION_MODES:
            known = ", ".join(EXECUTION_MODES)
            raise UsageError(
                f"{self._where}: `execution_mode` should be one of {known}, not {mode!r}"
            )
        return mode

    def _tags(self, table: Mapping[str, Any], where: str) -> tuple[str, ...]:
        given = table.get("tags")
        if given is not None and not isinstance(given, (list, tuple)):
            raise self._wrong(f"{where}tags", list, given)
        try:
            return check_tags(given or ())
        except InvalidName as error:
            raise InvalidName(
                f"{self._where}: `{where}tags`: {error.message}", hint=error.hint
            ) from None

    def _substitutions(self, table: Mapping[str, Any]) -> dict[str, str] | None:
        given = self._get(table, "substitutions", dict, None)
        for key, value in (given or {}).items():
            if not isinstance(value, str):
                raise self._wrong(f"substitutions.{key}", str, value)
        return given  # type: ignore[no-any-return]

    def _model(self, document: Mapping[str, Any], where: str) -> Model | None:
        given = document.get("model")
        if given is None or isinstance(given, Model):
            return given
        if isinstance(given, str):
            return Model(given)
        if not isinstance(given, dict):
            raise UsageError(
                f"{self._where}: `{where}model` should be a name or a table, not {_kind(given)}"
            )
        self._check_keys(given, f"{where}model.", _KEYS_OF_MODEL, _IGNORED_OF_MODEL)
        if "name" not in given:
            raise UsageError(f"{self._where}: `{where}model` has no `name`")
        version = given.get("version")
        if version is not None and type(version) not in (int, str):
            raise self._wrong(f"{where}model.version", str, version)
        name = self._get(given, "name", str, "", f"{where}model.")
        said = {
            key: self._get(given, key, list if key == "tags" else str, None, f"{where}model.")
            for key in ("description", *CARD)
            if given.get(key) is not None
        }
        return Model(name, version, **said)

    def _check_keys(
        self, table: Mapping[str, Any], where: str, known: frozenset[str], ignored: frozenset[str]
    ) -> None:
        """Note the keys without a meaning; raise NameNotFound for a key that nobody knows."""
        for key in table:
            if key in ignored:
                self.ignored.append(f"{where}{key}")
            elif key not in known:
                kind = f"key of {self._where}"
                raise NameNotFound.among(kind, f"{where}{key}", {f"{where}{one}" for one in known})

    def _get(
        self, table: Mapping[str, Any], key: str, kind: type, absent: Any, where: str = ""
    ) -> Any:
        value = number_of(table.get(key), kind)
        if value is None:
            return absent
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise self._wrong(f"{where}{key}", kind, value)
        return value

    def _wrong(self, key: str, kind: type, value: Any) -> UsageError:
        return UsageError(f"{self._where}: `{key}` should be {_KINDS[kind]}, not {_kind(value)}")


def _kind(value: Any) -> str:
    """A value as a message names it: what it is, and how it looks when it is short."""
    kind = _KINDS.get(type(value), type(value).__name__)
    return kind if isinstance(value, (dict, list, type(None))) else f"{kind}: {value!r}"


def _filled(value: Any, path: Path, environment: Mapping[str, str], where: str) -> Any:
    """The value with ``${NAME}`` and ``${NAME:-fallback}`` in its texts filled in.

    A text that is one reference and nothing else takes the type that its filling has as JSON.
    """
    if isinstance(value, dict):
        prefix = f"{where}." if where else ""
        return {
            str(key): _filled(one, path, environment, f"{prefix}{key}")
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_filled(one, path, environment, f"{where}[{i}]") for i, one in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def fill(found: re.Match[str]) -> str:
        filling = environment.get(found[1], found[2])
        if filling is None:
            raise UsageError(
                f"{path}: `{where}` names the variable {found[1]}, which is not set",
                hint=f"`{found[1]}=… gitml run …`, or `${{{found[1]}:-fallback}}` in the file",
            )
        return filling

    text = _VARIABLE.sub(fill, value)
    if not _VARIABLE.fullmatch(value):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
