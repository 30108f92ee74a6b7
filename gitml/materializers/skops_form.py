"""The canonical form of a skops file: equal estimators give equal bytes, in every process.

skops writes a zip of ``schema.json`` (a tree of nodes, each with a ``__loader__``) and one member
for each array, named by the memory address of the object; nodes carry such addresses as ``__id__``.
Here the same tree is written so that nothing depends on memory, hash seed or clock, and plain
``skops.io.load`` still reads it:

- members with equal bytes become one, named ``0.npy``, ``1.npy``, … in the order of first use;
- ``__id__`` stays only where it says something, on changeable objects that occur more than once,
  and is numbered from 1 in the order of appearance;
- items of sets are sorted by their own text;
- where an estimator itself keeps a memory address (`ADDRESSES`), it is 0;
- padding inside structured arrays is zero, archives of sparse matrices are rebuilt the same way;
- JSON is compact, members are stored uncompressed with the zip format's first date.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gitml.errors import CorruptData
from gitml.materializers import npy
from gitml.materializers.base import library

ADDRESSES = frozenset({"_stop_words_id"})
"""Attributes of text vectorizers that hold an ``id()``: "this list was checked already"."""

_SCHEMA = "schema.json"
# Whether two of these are the same object or equal ones cannot be seen from outside.
_IMMUTABLE = frozenset(
    {"JsonNode", "TypeNode", "FunctionNode", "TupleNode", "SliceNode", "BytesNode", "DTypeNode"}
)


def canonical(raw: bytes) -> bytes:
    """The canonical bytes of a file that skops has just written."""
    schema, members = _opened(raw)
    contents: dict[str, bytes] = {}
    for name, data in members.items():
        clean = _clean_member(name, data)
        contents[_digest(name, clean)] = clean
        members[name] = clean
    for node in nodes(schema):
        if "file" in node:
            node["file"] = _digest(node["file"], members[node["file"]])
    _forget_addresses(schema)
    _keep_shared_ids(schema)
    _sort_sets(schema)
    _number_ids(schema)
    used: dict[str, bytes] = {}
    renamed: dict[str, str] = {}
    for node in nodes(schema):
        if "file" in node:
            digest = node["file"]
            suffix = digest.partition(".")[2]
            name = renamed.setdefault(digest, f"{len(renamed)}.{suffix}")
            node["file"] = name
            used[name] = contents[digest]
    text = json.dumps(schema, separators=(",", ":"))
    return _zipped({_SCHEMA: text.encode(), **used})


def read_schema(raw: bytes) -> dict[str, Any]:
    """The tree of nodes in a stored file; raises CorruptData for what `canonical` never writes.

    Members must be stored uncompressed, so that a file cannot unpack to more than its size.
    """
    schema, members = _opened(raw)
    for name, data in members.items():
        if name.endswith(".npz"):
            _members(data)
    return schema


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a schema, in the order in which it is written.

    A node is an object whose ``__loader__`` is text; in the content of a dictionary that has such
    a key, its value is a node itself.
    """
    stack = [tree]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            if isinstance(one.get("__loader__"), str):
                yield one
            stack.extend(reversed(one.values()))
        elif isinstance(one, list):
            stack.extend(reversed(one))


def _opened(raw: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The schema and the other members of a file."""
    members = _members(raw)
    try:
        schema = json.loads(members.pop(_SCHEMA))
        schema["protocol"], schema["__loader__"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise CorruptData("not an estimator in skops format") from error
    return schema, members


def _members(raw: bytes) -> dict[str, bytes]:
    """The members of a zip file that holds them uncompressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise CorruptData("a skops file with compressed members, which gitml never writes")
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, LookupError, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptData("not an estimator in skops format") from error


def _clean_member(name: str, data: bytes) -> bytes:
    """The bytes of a member, without what memory or a compressor left in them."""
    if name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {one: archive.read(one) for one in sorted(archive.namelist())}
        return _zipped({one: _clean_member(one, part) for one, part in parts.items()})
    if name.endswith(".npy"):
        numpy = library("numpy", "sklearn")
        array = numpy.load(io.BytesIO(data), allow_pickle=False)
        if array.dtype.names is not None:
            return npy.write_array(numpy, array)
    return data


def _digest(name: str, data: bytes) -> str:
    """What a member is called while the order is not known yet: by content, with its suffix."""
    return f"{hashlib.sha256(data).hexdigest()}.{name.rpartition('.')[2]}"


def _forget_addresses(schema: Any) -> None:
    for node in nodes(schema):
        if node["__loader__"] == "ObjectNode" and node["__module__"].startswith("sklearn."):
            attributes: Any = (node.get("content") or {}).get("content")
            found = ADDRESSES.intersection(attributes) if isinstance(attributes, dict) else ()
            for name in found:
                attributes[name]["content"] = "0"


def _keep_shared_ids(schema: Any) -> None:
    """Remove ``__id__`` where it does not say that two places hold one changeable object."""
    for node in nodes(schema):
        scalar = node["__loader__"] == "NdArrayNode" and node["__class__"] != "ndarray"
        if scalar or node["__loader__"] in _IMMUTABLE:
            node.pop("__id__", None)
    counted = Counter(node["__id__"] for node in nodes(schema) if "__id__" in node)
    for node in nodes(schema):
        if counted.get(node.get("__id__"), 0) < 2:
            node.pop("__id__", None)


def _sort_sets(schema: Any) -> None:
    """Sort the items of sets; innermost first, since a frozen set may lie in a set."""
    for node in reversed(list(nodes(schema))):
        if node["__loader__"] == "SetNode":
            node["content"].sort(key=_text_without_ids)
        elif (node.get("__module__"), node.get("__class__")) == ("builtins", "frozenset"):
            for items in nodes(node["content"]):
                if items["__loader__"] == "ListNode":
                    items["content"].sort(key=_text_without_ids)
                    break


def _text_without_ids(tree: Any) -> str:
    """The text of a node from which addresses are left out; they sit in nodes alone."""
    copy = json.loads(json.dumps(tree))
    for node in nodes(copy):
        node.pop("__id__", None)
    return json.dumps(copy)


def _number_ids(schema: Any) -> None:
    numbers: dict[int, int] = {}
    for node in nodes(schema):
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)


def _zipped(members: dict[str, bytes]) -> bytes:
    """A zip file of the members in their order, the same on every system."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, data)
    return buffer.getvalue()
