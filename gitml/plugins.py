"""What can be extended: built-ins from a static table first, then installed entry points.

A *group* is an entry-point group (``gitml.materializers``, ``gitml.remotes``, …) and maps
names to objects, mostly classes. A built-in is a line of ``BUILT_IN``; a plugin is an entry point
of the same group in any installed distribution. Both are ``"module:attribute"`` and imported only
when they are asked for. Scanning the installed distributions takes about 50 ms, so it is done on a
miss of the table and never at import. A plugin cannot replace a built-in: what a recorded name
means must not depend on what else is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gitml.errors import AmbiguousName, GitmlError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "gitml.checks": {
        "approvals": "gitml.promotion.checks:Approvals",
        "card": "gitml.promotion.checks:Card",
        "command": "gitml.promotion.checks:Command",
        "has": "gitml.promotion.checks:Has",
        "lacks": "gitml.promotion.checks:Lacks",
        "bytes": "gitml.promotion.checks:Bytes",
        "lineage": "gitml.promotion.checks:LineageIs",
        "metric": "gitml.promotion.checks:Metric",
        "passed": "gitml.promotion.checks:Passed",
        "signed": "gitml.promotion.checks:Signed",
        "stored_on": "gitml.promotion.checks:StoredOn",
        "via": "gitml.promotion.checks:Via",
    },
    "gitml.materializers": {
        "arrow": "gitml.materializers.arrow:ArrowMaterializer",
        "bytes": "gitml.materializers.blob:BytesMaterializer",
        "confusion_matrix": "gitml.materializers.evaluation:ConfusionMatrixMaterializer",
        "csv": "gitml.materializers.text:CsvMaterializer",
        "curve": "gitml.materializers.evaluation:CurveMaterializer",
        "dataset": "gitml.materializers.dataset:DatasetMaterializer",
        "figure": "gitml.materializers.figure:FigureMaterializer",
        "html": "gitml.materializers.text:HtmlMaterializer",
        "image": "gitml.materializers.image:ImageMaterializer",
        "items": "gitml.materializers.items:ItemsMaterializer",
        "container": "gitml.materializers.container:ContainerMaterializer",
        "json": "gitml.materializers.json:JsonMaterializer",
        "lightgbm": "gitml.materializers.boosting:LightgbmMaterializer",
        "markdown": "gitml.materializers.text:MarkdownMaterializer",
        "npy": "gitml.materializers.npy:NpyMaterializer",
        "onnx": "gitml.materializers.onnx:OnnxMaterializer",
        "pandas": "gitml.materializers.pandas:PandasMaterializer",
        "path": "gitml.materializers.blob:PathMaterializer",
        "pickle": "gitml.materializers.pickle:PickleMaterializer",
        "plotly": "gitml.materializers.figure:PlotlyMaterializer",
        "polars": "gitml.materializers.polars:PolarsMaterializer",
        "safetensors": "gitml.materializers.tensors:SafetensorsMaterializer",
        "sklearn": "gitml.materializers.sklearn:SklearnMaterializer",
        "structured": "gitml.materializers.structured:StructuredMaterializer",
        "torch": "gitml.materializers.tensors:TorchMaterializer",
        "xgboost": "gitml.materializers.boosting:XgboostMaterializer",
    },
    "gitml.remotes": {
        "file": "gitml.remotes.folder:FolderRemote",
        "http": "gitml.remotes.http:HttpRemote",
        "https": "gitml.remotes.http:HttpRemote",
        "s3": "gitml.remotes.object_store:S3Remote",
        "ssh": "gitml.remotes.ssh:SshRemote",
    },
}


def find(group: str, name: str) -> Any | None:
    """The object that is registered as ``name`` in ``group``, imported; None when there is none.

    Raises AmbiguousName when two distributions claim the name, and GitmlError when the plugin that
    has it cannot be imported.
    """
    target = BUILT_IN.get(group, {}).get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    found = [entry for entry in _entries(group) if entry.name == name]
    if len({entry.value for entry in found}) > 1:
        owners = ", ".join(sorted(_owner(entry) for entry in found))
        raise AmbiguousName(
            f"`{name}` of {group} is claimed by {owners}",
            hint="keep one of them and remove the others with `pip uninstall`",
        )
    return _load(found[0]) if found else None


def names(group: str) -> list[str]:
    """Every name of ``group`` in order, built-in and installed; imports none of the objects."""
    return sorted({*BUILT_IN.get(group, {}), *(entry.name for entry in _entries(group))})


def installed(group: str) -> Iterator[tuple[str, Any]]:
    """Name and imported object of every plugin of ``group`` that is no built-in, by name.

    Raises GitmlError for a plugin that cannot be imported: to pass over it in silence would make
    what a value means depend on an accident.
    """
    built_in = BUILT_IN.get(group, {})
    for entry in _entries(group):
        if entry.name not in built_in:
            yield entry.name, _load(entry)


def _entries(group: str) -> list[EntryPoint]:
    """The entry points of ``group``, in an order that does not depend on the file system."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value))


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise GitmlError(
            f"the plugin `{entry.name}` of {_owner(entry)} cannot be imported",
            hint=f"see what is wrong with `python -c 'import {entry.module}'`",
        ) from error


def _owner(entry: EntryPoint) -> str:
    """The distribution that an entry point comes from, as a name."""
    return entry.dist.name if entry.dist is not None else entry.value
