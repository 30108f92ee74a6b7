"""ONNX models as the protocol buffer that every runtime reads, written deterministically."""

from __future__ import annotations

from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name


class OnnxMaterializer(Materializer):
    """``onnx.ModelProto``; weights in files beside it have to be in it."""

    name = "onnx"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The bytes; raises UnsupportedValue for another message and for weights elsewhere."""
        onnx = library("onnx", "onnx")
        if type(value) is not onnx.ModelProto:
            raise UnsupportedValue(f"value is a {type_name(value)}, no model")
        if any(one.data_location == one.EXTERNAL for one in value.graph.initializer):
            raise UnsupportedValue(
                "value has weights in files beside it",
                hint="return the folder as a `pathlib.Path`, or load it with "
                "`onnx.load(path, load_external_data=True)`",
            )
        raw = bytes(value.SerializeToString(deterministic=True))
        _read(onnx, raw)
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The model; raises CorruptData."""
        return _read(library("onnx", "onnx"), content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The version of the intermediate form, operator sets, inputs and outputs."""
        return {
            "ir_version": value.ir_version,
            "opsets": {one.domain or "ai.onnx": one.version for one in value.opset_import},
            "inputs": shown([one.name for one in value.graph.input]),
            "outputs": shown([one.name for one in value.graph.output]),
        }


def _read(onnx: Any, raw: bytes) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except Exception as error:  # google.protobuf.message.DecodeError, and what it lets through
        raise CorruptData("not a model in ONNX format") from error
    if model.ir_version < 1 or not model.HasField("graph"):
        raise CorruptData("not a model in ONNX format: it has no version or no graph")
    return model
