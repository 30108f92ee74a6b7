"""The first of what an artifact holds, for people: bounded in what is read, and nothing runs.

Read are headers and the beginning of the bytes, as the format allows: a preview of ten gigabytes
takes what one of ten kilobytes takes. No value is loaded, no class is imported, nothing is brought
from a remote but what is small. Of a pickle, and of other bytes that only code can read, it says
what the record says.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from gitml import materializers, plugins
from gitml.entities.records import Output
from gitml.errors import CorruptData, GitmlError
from gitml.materializers.base import DEFINED
from gitml.previews import arrays, evaluations, images, tables, texts
from gitml.previews.preview import LINES, Preview, cell, head_of
from gitml.store.store import Store

__all__ = ["Preview", "look", "preview"]

_TABLES = ("arrow", "pandas", "polars", "dataset")
_MODELS = ("sklearn", "xgboost", "lightgbm", "onnx", "pickle")
_JSON = ("json", "structured", "plotly")
_MAX_CUSTOM = 64 << 20
_SEPARATED = (".csv", ".tsv")
# What the libraries raise for bytes that are not of their format.
_WRONG = (
    *(ValueError, TypeError, LookupError, OSError, ArithmeticError, MemoryError),
    *(RecursionError, NotImplementedError),
)


def preview(store: Store, output: Output, *, picture: bool = False) -> Preview:
    """The first of an artifact; with a ``picture`` also what only a page can show.

    Bytes that are not of their format give a preview that says so. Raises CorruptData for bytes
    that are not those of the digest, as far as they were read.
    """
    name = output.materializer.partition("/")[0]
    facts = dict(output.metadata)
    if name in _MODELS:
        return _of_record(name, facts)
    small = output.size <= tables.SMALL
    if not store.has(output.digest) and not small:
        note = "the bytes are not here, and too many to be fetched for a preview"
        return Preview("unknown", facts, notes=(note,))
    if ":" in name or name not in plugins.BUILT_IN[materializers.GROUP]:
        return _custom(store, output, name)
    if output.kind == "tree":
        return _folder(store, output)
    if small:
        return look(io.BytesIO(store.read(output.digest)), output, picture=picture)
    with store.window(output.digest) as window:
        file = io.BufferedReader(window, 64 << 10)
        found = look(cast(BinaryIO, file), output, picture=picture)
        if window.is_verified:
            return found
        note = "so many bytes are not checked against their digest for a preview"
        return _noted(found, note)


def look(file: BinaryIO, output: Output, *, picture: bool = False) -> Preview:
    """The preview of a blob that a built-in materializer made; ``file`` is read where need be.

    What is not of its format is a note.
    """
    name = output.materializer.partition("/")[0]
    if name in _MODELS:
        return _of_record(name, dict(output.metadata))
    try:
        return _of_format(file, output, name, picture)
    except CorruptData as error:
        if "blake3:" in error.message:  # the store's own word on its bytes
            raise
        note = error.message
    except GitmlError as error:  # a library that is not here
        note = f"{error.message}; {error.hint}" if error.hint else error.message
    except _WRONG as error:
        note = cell(f"it is not of its format: {error}")
    return Preview("unknown", dict(output.metadata), notes=(note,))


def _of_format(file: BinaryIO, output: Output, name: str, picture: bool) -> Preview:
    known, size = output.metadata, output.size
    if name in _TABLES:
        return tables.arrow(file, size, known)
    if name == "items":
        return tables.items(file, size, known)
    if name == "npy":
        return arrays.npy(file, size)
    if name in ("safetensors", "torch"):
        return arrays.tensors(file, size, known)
    if name == "image":
        return images.image(file, size, picture=picture)
    if name in ("curve", "confusion_matrix") and size <= tables.SMALL:
        show = evaluations.curve if name == "curve" else evaluations.matrix
        return show(file.read(), known)
    if name == "curve":
        return tables.arrow(file, size, known)
    if name in ("bytes", "path"):
        return _sniffed(file, output, str(known.get("name", "")), picture)
    data = file.read(texts.HEAD)
    whole = len(data) == size
    if name == "csv":
        return tables.separated(data, whole=whole)
    if name == "figure":
        return images.drawing(data, whole=whole, picture=picture)
    if name in _JSON:
        facts = {key: value for key, value in known.items() if key in ("class",)}
        return texts.document(data, whole=whole, facts=facts)
    return texts.text(data, whole=whole)


def _sniffed(file: BinaryIO, output: Output, name: str, picture: bool) -> Preview:
    """The preview of a file of anybody's: its first bytes say what it is, and else its name."""
    size = output.size
    data = file.read(texts.HEAD)
    whole = len(data) == size
    file.seek(0)
    suffix = Path(name).suffix.lower()
    if any(data.startswith(magic) for magic in images.MAGIC):
        return images.image(file, size, picture=picture)
    if data.startswith(b"PAR1"):
        return tables.parquet(file)
    if data.startswith(b"ARROW1"):
        return tables.arrow(file, size, {})
    if data.startswith(b"\x93NUMPY"):
        return arrays.npy(file, size)
    if suffix == ".safetensors":
        return arrays.tensors(file, size, {})
    if not texts.is_text(data):
        return Preview("bytes", {"begins with": data[:32].hex(" ")}, notes=("they are no text",))
    if suffix in _SEPARATED and data:
        return tables.separated(data, whole=whole)
    if suffix == ".json":
        return texts.document(data, whole=whole)
    return texts.text(data, whole=whole)


def _folder(store: Store, output: Output) -> Preview:
    """The first files of a folder, with their sizes."""
    entries = store.read_tree(output.digest).entries
    rows = [[cell(one.path), f"{one.size:,}"] for one in entries[:LINES]]
    notes = [f"the first {LINES} of {len(entries):,} files"] * (len(entries) > LINES)
    facts = {"files": len(entries)}
    return Preview("folder", facts, [("file", ""), ("bytes", "")], rows, notes=notes)


def _of_record(name: str, facts: Mapping[str, Any]) -> Preview:
    """What the record says of a model, whose bytes are not looked into."""
    if name == "pickle":
        note = "a pickle is a program that makes the value: it is not looked into"
        return Preview("unknown", facts, notes=(note,))
    params = facts.get("params")
    if not isinstance(params, Mapping):
        return Preview("model", facts)
    rows = [[cell(key), cell(value)] for key, value in list(params.items())[:LINES]]
    notes = [f"the first {LINES} of {len(params):,} parameters"] * (len(params) > LINES)
    rest = {key: value for key, value in facts.items() if key != "params"}
    return Preview("model", rest, [("parameter", ""), ("value", "")], rows, notes=notes)


def _custom(store: Store, output: Output, name: str) -> Preview:
    """What a materializer of somebody's own says of a file of its own, where it is loaded."""
    facts = dict(output.metadata)
    if ":" in name and name not in DEFINED:
        module = name.partition(":")[0]
        note = f"a preview imports no code: `import {module}` in Python, then ask for it there"
        return Preview("unknown", facts, notes=(note,))
    if output.size > _MAX_CUSTOM:
        return Preview("unknown", facts, notes=(f"too large for {name} to look into",))
    try:
        with tempfile.TemporaryDirectory(prefix="gitml-") as folder:
            path = Path(folder) / "artifact"
            store.copy_to(output.digest, path)
            said = materializers.named(name).preview(path)
    except GitmlError as error:
        return Preview("unknown", facts, notes=(cell(error.message),))
    except Exception as error:  # noqa: BLE001 - code that is not ours
        what = f"{type(error).__name__}: {error}"
        return Preview("unknown", facts, notes=(f"{name} cannot show it: {cell(what)}",))
    if not said:
        return Preview("unknown", facts, notes=(f"{name} has no preview",))
    text, notes = head_of(str(said), whole=True)
    return Preview("custom", facts, text=text, notes=notes)


def _noted(found: Preview, note: str) -> Preview:
    notes = (*found.notes, note)
    return Preview(
        found.kind, found.facts, found.columns, found.rows, found.text, notes, found.picture
    )
