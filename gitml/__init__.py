"""Git-native artifacts, runs and models for machine learning: lineage is git history.

The public names are loaded when they are first used, so that importing gitml costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitml.api import *

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "CSVString",
    "CachePolicy",
    "CommandStep",
    "ConfusionMatrix",
    "Curve",
    "HTMLString",
    "MarkdownString",
    "Model",
    "Repo",
    "SVGString",
    "StorageSize",
    "Uri",
    "data",
    "get_context",
    "link_artifact_to_model",
    "load_artifact",
    "log_metadata",
    "log_metrics",
    "pipeline",
    "save_artifact",
    "start_run",
    "step",
    "unmapped",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it (PEP 562)."""
    if name in __all__:
        return getattr(importlib.import_module("gitml.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
