"""``environment.txt``: the Python, the platform and the distributions that a run ran with."""

from __future__ import annotations

import functools
import json
import platform
import re
from importlib.metadata import Distribution, distributions

_USERINFO = re.compile(r"://[^/@]*@")


@functools.cache
def environment_text() -> bytes:
    """The environment of this process: two comment lines, then sorted requirement lines.

    A distribution installed from a repository is written with its revision
    (``name @ git+https://host/x@<commit>``), without credentials; one installed from a folder of
    this machine by name and version alone.
    """
    lines = {line for one in distributions() if (line := _requirement(one)) is not None}
    head = [
        f"# python {platform.python_implementation()} {platform.python_version()}",
        f"# platform {platform.system()} {platform.machine()}",
    ]
    return "\n".join([*head, *sorted(lines, key=str.lower), ""]).encode("utf-8")


def _requirement(distribution: Distribution) -> str | None:
    metadata = distribution.metadata  # parsed at every access
    name, version = metadata["Name"], metadata["Version"]
    if not name:
        return None
    origin = _origin(distribution)
    return f"{name} @ {origin}" if origin else f"{name}=={version}"


def _origin(distribution: Distribution) -> str | None:
    """Where a distribution came from by direct URL (PEP 610), None for index and local folders."""
    text = distribution.read_text("direct_url.json")
    if not text:
        return None
    try:
        document = json.loads(text)
        url = _USERINFO.sub("://", document["url"])
        vcs = document.get("vcs_info")
        if vcs is not None:
            return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        if "archive_info" in document and not url.startswith("file:"):
            return str(url)
    except (ValueError, KeyError, TypeError):
        return None
    return None
