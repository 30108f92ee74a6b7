"""The key under which a step's result is found again.

Pure functions: whoever calls them has traced the code, digested the inputs and read the declared
environment. The form is in docs/design/0002-step-cache-key.md and stays as it is for ever, since
old records are looked up by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitml.code.closure import Closure
from gitml.code.sourcefile import digest_text
from gitml.code.syntax import quote
from gitml.code.values import canonical_value, looks_secret

_USERINFO = re.compile(r"://[^/\s:@]*:[^/\s@]*@")


@dataclass(frozen=True)
class StepKey:
    """The key of a step: 64 hex digits in ``digest``, which is the digest of its ``parts``.

    ``parts`` maps a readable name (``code definition a.py:scale``, ``parameter depth``,
    ``input features``, ``python 3.11``) to a digest, never to a value.
    """

    digest: str
    parts: Mapping[str, str]


def step_key(
    *,
    name: str,
    closure: Closure,
    parameters: Mapping[str, object],
    inputs: Mapping[str, str],
    outputs: Sequence[tuple[str, str]],
    input_materializers: Mapping[str, str],
    environment: Mapping[str, str | None] | None = None,
    files: Mapping[str, str] | None = None,
    python: str = "3.11",
    packages: str | None = None,
    fan: str = "",
    said: str | None = None,
    code: bool = True,
) -> StepKey:
    """The key of one step of a plan.

    ``inputs`` are digests as text, ``outputs`` pairs of an output's name and its materializer with
    version (or an empty string) in the order of the outputs, ``environment`` the values of the
    declared variables, ``files`` what `digest_files` gave for the declared files, ``python`` the
    minor version that runs the step, ``packages`` the text of ``environment.txt`` where the whole
    environment counts, ``fan`` how the step is mapped over items, ``said`` the canonical text of
    what the function of its policy said; without ``code`` the closure does not count. Parameters
    are plain data, as every call of a step is refused that has others.
    """
    texts = {
        "name": quote(name),
        "source": quote(closure.source),
        f"python {python}": quote(python),
    }
    if fan:
        texts["map"] = quote(fan)
    for key, value in parameters.items():
        texts[f"parameter {key}"] = canonical_value(value)
    for key, digest in inputs.items():
        texts[f"input {key}"] = quote(digest)
    for key, materializer in input_materializers.items():
        texts[f"materializer {key}"] = quote(materializer)
    for place, (key, materializer) in enumerate(outputs):
        texts[f"output {key}"] = f"{place} {quote(materializer)}"
    for key, setting in (environment or {}).items():
        texts[f"environment {key}"] = _variable(key, setting)
    for key, digest in (files or {}).items():
        texts[f"file {key}"] = quote(digest)
    if packages is not None:
        texts["environment.txt"] = quote(packages)
    if said is not None:
        texts["cache_func"] = said
    parts = {f"code {key}": digest for key, digest in closure.parts.items() if code}
    parts |= {key: digest_text(text) for key, text in texts.items()}
    lines = "".join(f"{quote(key)} {parts[key]}\n" for key in sorted(parts))
    return StepKey(digest_text("step 1\n" + lines), dict(sorted(parts.items())))


def _variable(name: str, value: str | None) -> str:
    """A declared variable by value; of a secret, whether it is set: digests are published."""
    if value is None:
        return "unset"
    if looks_secret(name) or _USERINFO.search(value):
        return "set"
    return quote(value)
