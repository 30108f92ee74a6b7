"""A run's configuration in a file: parameters, caching, the model, said outside of the code.

The keys are those that users of ZenML know. What has a meaning here is taken; what is about
containers, connectors and the like is accepted and named in ``ignored``, so that one file serves
both. A wrong type is refused with the path of the key and what is expected there.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gitml.config import CARD
from gitml.errors import GitmlError, NameNotFound, UsageError
from gitml.frozen import Frozen, field
from gitml.pipelines.dsl import Model, PipelineFunction

P = TypeVar("P", bound=PipelineFunction)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_IGNORED = frozenset(
    {
        "build",
        "settings",
        "schedule",
        "run_name",
        "enable_artifact_metadata",
        "enable_artifact_visualization",
        "enable_step_logs",
        "enable_pipeline_logs",
        "tags",
        "extra",
        "substitutions",
        "secrets",
        "environment",
        "runtime",
        "cache_policy",
        "execution_mode",
        "retry",
        "failure_hook_source",
        "success_hook_source",
    }
)
_IGNORED_OF_STEP = _IGNORED | frozenset(
    {"step_operator", "experiment_tracker", "outputs", "model", "group", "name"}
)
_KEYS = frozenset({"parameters", "steps", "enable_cache", "model"})
_KEYS_OF_STEP = frozenset({"parameters", "enable_cache"})
_KEYS_OF_MODEL = frozenset({"name", "version", "description", *CARD})
_IGNORED_OF_MODEL = frozenset({"save_models_to_registry"})

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

    ``parameters`` may name those of steps as ``<step>.<parameter>``; ``caches`` are the steps whose
    caching is switched; None is what the code says. ``ignored`` are the keys without a meaning
    here.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    cache: bool | None = None
    caches: Mapping[str, bool] = field(default_factory=dict)
    model: Model | None = None
    ignored: tuple[str, ...] = ()

    def note(self, path: Path) -> str | None:
        """What to say of the keys that mean nothing here; None where there are none."""
        if not self.ignored:
            return None
        return f"{path} sets what has no meaning here: {', '.join(self.ignored)}"


def read_configuration(path: Path, environment: Mapping[str, str]) -> RunConfiguration:
    """The configuration in a TOML, YAML or JSON file, ``${NAME}`` filled in from the environment.

    Raises UsageError, with the path of the key, for what is not as it should be.
    """
    document = read_document(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path} should hold a table, not {_kind(document)}")
    return _Reader(path).configuration(_filled(document, path, environment, ""))


def configured(pipeline: P, settings: RunConfiguration) -> P:
    """A copy of a pipeline with what a configuration says."""
    other = copy.copy(pipeline)
    other.preset = {**pipeline.preset, **settings.parameters}
    other.caches = {**pipeline.caches, **settings.caches}
    other.cache = pipeline.cache if settings.cache is None else settings.cache
    other.model = settings.model or pipeline.model
    return other


class _Reader:
    """Reads one file; its name stands in what is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ignored: list[str] = []

    def configuration(self, document: dict[str, Any]) -> RunConfiguration:
        """The whole file."""
        self._check_keys(document, "", _KEYS, _IGNORED)
        parameters = dict(self._get(document, "parameters", dict, {}))
        caches = {}
        for name, step in self._get(document, "steps", dict, {}).items():
            where = f"steps.{name}"
            if not isinstance(step, dict):
                raise self._wrong(where, dict, step)
            self._check_keys(step, f"{where}.", _KEYS_OF_STEP, _IGNORED_OF_STEP)
            given = self._get(step, "parameters", dict, {}, f"{where}.")
            parameters |= {f"{name}.{key}": one for key, one in given.items()}
            cache = self._get(step, "enable_cache", bool, None, f"{where}.")
            if cache is not None:
                caches[str(name)] = cache
        return RunConfiguration(
            parameters,
            self._get(document, "enable_cache", bool, None),
            caches,
            self._model(document),
            tuple(self._ignored),
        )

    def _model(self, document: dict[str, Any]) -> Model | None:
        given = document.get("model")
        if given is None:
            return None
        if isinstance(given, str):
            return Model(given)
        if not isinstance(given, dict):
            raise UsageError(
                f"{self._path}: `model` should be a name or a table, not {_kind(given)}"
            )
        self._check_keys(given, "model.", _KEYS_OF_MODEL, _IGNORED_OF_MODEL)
        if "name" not in given:
            raise UsageError(f"{self._path}: `model` has no `name`")
        version = given.get("version")
        if version is not None and type(version) not in (int, str):
            raise self._wrong("model.version", str, version)
        name = self._get(given, "name", str, "", "model.")
        said = {
            key: self._get(given, key, list if key == "tags" else str, None, "model.")
            for key in ("description", *CARD)
            if given.get(key) is not None
        }
        return Model(name, version, **said)

    def _check_keys(
        self, table: dict[str, Any], where: str, known: frozenset[str], ignored: frozenset[str]
    ) -> None:
        """Note the keys without a meaning; raise NameNotFound for a key that nobody knows."""
        for key in table:
            if key in ignored:
                self._ignored.append(f"{where}{key}")
            elif key not in known:
                kind = f"key of {self._path}"
                raise NameNotFound.among(kind, f"{where}{key}", {f"{where}{one}" for one in known})

    def _get(
        self, table: dict[str, Any], key: str, kind: type, absent: Any, where: str = ""
    ) -> Any:
        value = table.get(key)
        if value is None:
            return absent
        if type(value) is not kind:
            raise self._wrong(f"{where}{key}", kind, value)
        return value

    def _wrong(self, key: str, kind: type, value: Any) -> UsageError:
        return UsageError(f"{self._path}: `{key}` should be {_KINDS[kind]}, not {_kind(value)}")


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


def read_document(path: Path) -> Any:
    """What a TOML, YAML or JSON file holds; raises UsageError for one that cannot be read.

    Raises GitmlError for YAML without PyYAML.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read") from error
    read = _FORMATS.get(path.suffix)
    if read is None:
        raise UsageError(
            f"{path} is no file of parameters", hint="it ends in .toml, .yaml or .json"
        )
    try:
        return read(data)
    except ValueError as error:
        raise UsageError(f"{path} cannot be read") from error


def _toml(data: bytes) -> Any:
    import tomllib

    return tomllib.loads(data.decode())


def _yaml(data: bytes) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise GitmlError(
            "reading YAML needs PyYAML, which is not installed", hint="`pip install 'gitml[yaml]'`"
        ) from error
    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_FORMATS: dict[str, Callable[[bytes], Any]] = {
    ".toml": _toml,
    ".json": json.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}
