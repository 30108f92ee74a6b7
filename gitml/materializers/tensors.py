"""Tensors and torch modules as safetensors files: a header of JSON, then the bytes of the tensors.

**safetensors, format 1.** A file that any reader of the safetensors format opens: tensors in the
order of their names, the header padded with blanks to a multiple of 8. ``__metadata__`` has one
key, ``gitml``: canonical JSON that says whether the value is one tensor, a ``dict`` or an
``OrderedDict``, of torch or NumPy, and of the last its order.

**torch, format 1.** The same file of a ``torch.nn.Module``: its tensors under the names of its
state dict, and in ``gitml`` its classes and attributes, as JSON with three more tags:

    {"$module": [class, {attribute: value, …}]}   parameters, buffers and modules as lists of pairs
    {"$tensor": [name, "tensor" | "parameter", requires_grad]}
    {"$torch": "float32" | "nn.functional.relu" | "cpu"}

A module is rebuilt from its attributes, without a call of its constructor, on the CPU. Classes of
``torch.nn`` are trusted; others as in `gitml.materializers.classes`. Refused: hooks, tensors that
are no plain memory, and attributes that are none of the above.
"""

from __future__ import annotations

import json as stdlib_json
import math
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import classes, json
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name

# The format's names of element types, and what torch and NumPy call them; and bytes an element.
_DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U64": ("uint64", 8),
    "U32": ("uint32", 4),
    "U16": ("uint16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_BY_NAME = {name: code for code, (name, _) in _DTYPES.items()}
_MAX_HEADER = 100_000_000
# What `torch.nn.Module.__init__` makes anew, and what is written as lists of pairs.
_PAIRS = ("_parameters", "_buffers", "_modules")


class SafetensorsMaterializer(Materializer):
    """A tensor, or a dict of tensors or arrays by name, such as a state dict."""

    name = "safetensors"
    version = 1
    # Dicts of tensors and arrays are found by what they hold.

    def save(self, value: Any, rules: Rules) -> bytes:
        """The file; raises UnsupportedValue with the entry, as ``value['weight']``."""
        if not isinstance(value, dict):
            return write({"value": _checked(value, "value")}, {"of": "torch", "type": "tensor"})
        named = {name: _checked(one, f"value[{name!r}]") for name, one in value.items()}
        of = "numpy" if type_name(next(iter(value.values()))) == "numpy.ndarray" else "torch"
        about: dict[str, JSON] = {"of": of, "type": type(value).__name__}
        if type(value) is not dict:
            about["order"] = [*value]
        if versions := getattr(value, "_metadata", None):
            about["versions"] = json.plain({key: dict(one) for key, one in versions.items()})
        return write(named, about)

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The tensor or dict, on the CPU; raises CorruptData."""
        entries, text = read(content.read())
        about: Any = json.decode(text.encode())
        if not isinstance(about, dict):
            raise CorruptData("a safetensors file that is not of this format")
        make = _array if about.get("of") == "numpy" else _tensor
        named = {name: make(one) for name, one in entries.items()}
        kind = about.get("type")
        if kind == "tensor" and set(named) == {"value"}:
            return named["value"]
        if kind == "dict":
            return named
        order: Any = about.get("order")
        versions = about.get("versions", {})
        ordered = isinstance(order, list) and all(type(one) is str for one in order)
        if kind != "OrderedDict" or not ordered or sorted(order) != sorted(named):
            raise CorruptData("a safetensors file that is not of this format")
        made = OrderedDict((name, named[name]) for name in order)
        if not isinstance(versions, dict):
            raise CorruptData("a safetensors file that is not of this format")
        if "versions" in about:
            made._metadata = OrderedDict(versions)  # type: ignore[attr-defined]
        return made

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Of each tensor name, dtype and shape, and the number of all elements."""
        named = value if isinstance(value, dict) else {"value": value}
        rows: list[JSON] = [
            [name, str(one.dtype).removeprefix("torch."), [*one.shape]]
            for name, one in sorted(named.items())
        ]
        total = sum(math.prod(one.shape) for one in named.values())
        return {"elements": int(total), "tensors": shown(rows, 100)}


class TorchMaterializer(Materializer):
    """``torch.nn.Module`` with all that it holds."""

    name = "torch"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The file; raises UnsupportedValue with the attribute, as ``value.encoder.size``."""
        torch = library("torch", "torch")
        writer = _ModuleWriter(torch, value)
        about = json.plain(value, other=writer)
        return write(writer.tensors, about)

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The module; raises UnsupportedValue for a class that is not trusted, else CorruptData."""
        torch = library("torch", "torch")
        entries, text = read(content.read())
        reader = _ModuleReader(torch, entries, wanted, rules)
        try:
            made = json.decode(text.encode(), reader.tags())
        except (AttributeError, RuntimeError) as error:
            raise CorruptData("a safetensors file that is not of a module") from error
        if not isinstance(made, torch.nn.Module):
            raise CorruptData("a safetensors file that is not of a module")
        return made

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The class, the number of parameters, and names and shapes of the first of them."""
        rows: list[JSON] = [[name, [*one.shape]] for name, one in value.named_parameters()]
        total = sum(one.numel() for one in value.parameters())
        return {"class": type_name(value), "parameters": total, "tensors": shown(rows, 100)}


class _ModuleWriter:
    """Writes modules, tensors and what else of torch stands among attributes."""

    def __init__(self, torch: Any, module: Any) -> None:
        self._torch = torch
        self.tensors: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        for named in (module.named_parameters, module.named_buffers):
            for name, tensor in named(remove_duplicate=False):
                self._names.setdefault(id(tensor), name)

    def __call__(self, value: Any, walk: json.Walk) -> JSON:
        """The tagged form of a value; raises UnsupportedValue at its place."""
        torch = self._torch
        if isinstance(value, torch.nn.Module):
            return {"$module": [classes.spelled(type(value)), self._state(value, walk)]}
        if isinstance(value, torch.Tensor):
            return self._tensor(value, walk)
        if isinstance(value, torch.dtype):
            return {"$torch": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"$torch": "cpu"}  # where all of it comes back
        name = getattr(value, "__name__", "")
        if callable(value) and getattr(torch.nn.functional, name, None) is value:
            return {"$torch": f"nn.functional.{name}"}
        raise walk.refusal(value, f"is a {type_name(value)}")

    def _state(self, module: Any, walk: json.Walk) -> JSON:
        fresh = vars(self._torch.nn.Module())
        if classes.found(classes.spelled(type(module))) is not type(module):
            raise walk.refusal(
                module, f"is a {type_name(module)}, whose class cannot be found by its name"
            )
        state = module.__getstate__()
        if not isinstance(state, dict):
            raise walk.refusal(module, "keeps its state in another way than in attributes")
        made: dict[str, JSON] = {}
        for key, one in state.items():
            if key in _PAIRS:
                made[key] = [[name, walk.at(f".{name}", part)] for name, part in one.items()]
            elif key == "_non_persistent_buffers_set":
                made[key] = sorted(one)
            elif key not in fresh or key == "training":
                made[key] = walk.at(f".{key}", one)
            elif one != fresh[key]:
                raise walk.refusal(module, f"has hooks (`{key}`), which are code")
        return made

    def _tensor(self, value: Any, walk: json.Walk) -> JSON:
        name = self._names.setdefault(id(value), f"attribute {len(self._names)}")
        torch = self._torch
        if name not in self.tensors:
            kept = value.detach()
            if type(kept) not in (torch.Tensor, torch.nn.Parameter) or kept.layout != torch.strided:
                raise walk.refusal(value, f"is a {type_name(value)} that is no plain memory")
            if str(kept.dtype).removeprefix("torch.") not in _BY_NAME:
                raise walk.refusal(value, f"has dtype {kept.dtype}, which the format lacks")
            if not value.is_leaf:
                raise walk.refusal(value, "is a result with a gradient to come")
            self.tensors[name] = kept
        kind = "parameter" if isinstance(value, torch.nn.Parameter) else "tensor"
        return {"$tensor": [name, kind, value.requires_grad]}


class _ModuleReader:
    """Rebuilds modules from their tagged form."""

    def __init__(
        self, torch: Any, entries: Mapping[str, _Entry], wanted: type | None, rules: Rules
    ) -> None:
        self._torch = torch
        self._entries = entries
        self._wanted = wanted
        self._rules = rules
        self._made: dict[str, Any] = {}

    def tags(self) -> Mapping[str, Any]:
        """What each tag's payload means."""
        return {"$module": self._module, "$tensor": self._tensor, "$torch": self._constant}

    def _module(self, payload: list[Any]) -> object:
        path, state = payload
        own = path.startswith("torch.nn.modules.")
        kind = classes.found(path) if own else classes.trusted(path, self._wanted, self._rules)
        base = self._torch.nn.Module
        if kind is None or not issubclass(kind, base):
            raise UnsupportedValue(f"{path.replace(':', '.')} is no class of modules here")
        made = kind.__new__(kind)
        base.__init__(made)
        fresh = vars(made)
        for key in _PAIRS:
            pairs = state.pop(key)
            state[key] = type(fresh[key])((name, one) for name, one in pairs)
        state["_non_persistent_buffers_set"] = set(state["_non_persistent_buffers_set"])
        made.__setstate__({**fresh, **state})
        return made

    def _tensor(self, payload: list[Any]) -> object:
        name, kind, gradient = payload
        if name not in self._made:
            tensor = _tensor(self._entries[name])
            if kind == "parameter":
                tensor = self._torch.nn.Parameter(tensor, requires_grad=gradient)
            self._made[name] = tensor.requires_grad_(gradient) if gradient else tensor
        return self._made[name]

    def _constant(self, payload: str) -> object:
        torch = self._torch
        if payload.startswith("nn.functional."):
            found = getattr(torch.nn.functional, payload.removeprefix("nn.functional."))
            if not callable(found) or getattr(found, "__name__", "").startswith("_"):
                raise ValueError("no function of torch")
            return found
        if payload == "cpu":
            return torch.device("cpu")
        found = getattr(torch, payload)
        if not isinstance(found, torch.dtype):
            raise ValueError("no element type")
        return found


class _Entry(NamedTuple):
    """A tensor of a file: what the format calls its elements, its shape, its bytes."""

    code: str
    shape: list[int]
    raw: memoryview


def write(named: Mapping[str, Any], about: JSON) -> bytes:
    """The safetensors file of these tensors, and what ``gitml`` says about them."""
    header: dict[str, Any] = {"__metadata__": {"gitml": json.text(about)}}
    parts: list[bytes] = []
    end = 0
    for name, tensor in sorted(named.items()):
        raw = _raw(tensor)
        code = _BY_NAME[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {
            "dtype": code,
            "shape": [*tensor.shape],
            "data_offsets": [end, end + len(raw)],
        }
        parts.append(raw)
        end += len(raw)
    text = stdlib_json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def read(raw: bytes) -> tuple[dict[str, _Entry], str]:
    """The tensors of a file by name, and what ``gitml`` says about them; raises CorruptData."""
    try:
        (length,) = struct.unpack_from("<Q", raw)
        if length > min(len(raw) - 8, _MAX_HEADER):
            raise ValueError("a header that is longer than the file")
        header = stdlib_json.loads(raw[8 : 8 + length])
        text = header.pop("__metadata__")["gitml"]
        text.encode()  # raises for a lone surrogate
        data = memoryview(raw)[8 + length :]
        entries = {name: _entry(one, data) for name, one in header.items()}
        if not isinstance(text, str) or sum(len(one.raw) for one in entries.values()) != len(data):
            raise ValueError("bytes that are of no tensor")
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise CorruptData("not a safetensors file of gitml's") from error
    except RecursionError as error:
        raise CorruptData("a safetensors file whose header is nested without end") from error
    return entries, text


def _entry(said: Mapping[str, Any], data: memoryview) -> _Entry:
    start, end = said["data_offsets"]
    code, shape = said["dtype"], said["shape"]
    if not all(type(one) is int and 0 <= one < 1 << 63 for one in (start, *shape)):
        raise ValueError("a shape that makes no sense")
    if end - start != math.prod(shape) * _DTYPES[code][1] or end > len(data):
        raise ValueError("a tensor of another size than its shape")
    return _Entry(code, shape, data[start:end])


def _checked(value: Any, where: str) -> Any:
    """The tensor or array; raises UnsupportedValue for what is more than its elements."""
    if type_name(value) not in ("torch.Tensor", "numpy.ndarray"):
        raise UnsupportedValue(
            f"{where} is a {type_name(value)}, which is more than a tensor",
            hint="return `module.state_dict()`, or `value.detach()`",
        )
    if str(value.dtype).removeprefix("torch.") not in _BY_NAME:
        raise UnsupportedValue(f"{where} has dtype {value.dtype}, which the format lacks")
    if getattr(value, "requires_grad", False):
        raise UnsupportedValue(f"{where} keeps a gradient", hint="return `value.detach()`")
    if str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        raise UnsupportedValue(f"{where} is sparse", hint="return `value.to_dense()`")
    return value


def _raw(tensor: Any) -> bytes:
    if type_name(tensor) == "numpy.ndarray":
        return bytes(tensor.tobytes())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(library("torch", "torch").uint8).numpy().tobytes())


def _tensor(entry: _Entry) -> Any:
    torch = library("torch", "torch")
    kind = getattr(torch, _DTYPES[entry.code][0])
    if not entry.raw:
        return torch.empty(entry.shape, dtype=kind)
    return torch.frombuffer(bytearray(entry.raw), dtype=kind).reshape(entry.shape)


def _array(entry: _Entry) -> Any:
    numpy = library("numpy", "numpy")
    try:
        kind = numpy.dtype(_DTYPES[entry.code][0])
    except TypeError as error:
        raise CorruptData(f"an array of {entry.code}, which NumPy lacks") from error
    return numpy.frombuffer(bytearray(entry.raw), kind).reshape(entry.shape)
