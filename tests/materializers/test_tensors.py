from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import for_value
from gitml.materializers.base import Rules
from gitml.materializers.tensors import SafetensorsMaterializer, TorchMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent

HERE = Rules(trusted_modules=frozenset({__name__}))


class TestArrays(MaterializerSuite):
    materializer = SafetensorsMaterializer
    library = "numpy"
    registered = False  # a dict is JSON's, unless it holds arrays

    def values(self, folder: object) -> Mapping[str, object]:
        return {
            "one": {"b": np.arange(3.0), "a": np.array(2, np.int8)},
            "ordered": OrderedDict(b=np.zeros((0, 2)), a=np.array([True])),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "objects": ({"a": np.array([None])}, "value['a'] has dtype object"),
            "swapped": ({"a": np.zeros(1, ">f4")}, "value['a'] has dtype >f4"),
        }

    def same(self, left: Any, right: Any) -> bool:
        ordered = isinstance(left, OrderedDict)
        return type(left) is type(right) and all(
            one.dtype == two.dtype and np.array_equal(one, two) and key == other
            for (key, one), (other, two) in zip(
                left.items() if ordered else sorted(left.items()), right.items(), strict=True
            )
        )


def test_a_dict_of_arrays_finds_it_and_others_do_not() -> None:
    assert for_value({"a": np.zeros(1)}, Rules()).name == "safetensors"
    for value in ({}, {"a": 1}, {1: np.zeros(1)}):
        assert for_value(value, Rules()).name == "json"
    assert for_value({"a": np.zeros(1), "b": 1}, Rules()).name == "container"


def test_any_reader_of_the_format_opens_it() -> None:
    reader = pytest.importorskip("safetensors.numpy")
    value = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3)}
    opened = reader.load(SafetensorsMaterializer().save(value, Rules()))
    assert {key: one.tolist() for key, one in opened.items()} == {
        key: one.tolist() for key, one in value.items()
    }


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}},
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}},
    ],
)
def test_a_header_that_lies(header: dict[str, Any]) -> None:
    about = json.dumps({"of": "numpy", "type": "dict"})
    text = json.dumps({**header, "__metadata__": {"gitml": about}}).encode()
    raw = len(text).to_bytes(8, "little") + text + b"1234"
    with pytest.raises(CorruptData, match="not a safetensors file"):
        SafetensorsMaterializer().load(SavedContent(raw), None, Rules())


torch: Any = pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(nn.Linear(3, size), nn.BatchNorm1d(size), nn.ReLU())
        self.head = nn.Linear(size, size, bias=False)
        self.tied = self.head
        self.act = nn.functional.gelu
        self.register_buffer("mask", torch.ones(size, dtype=torch.bool), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.act(self.head(self.layers(x))) * self.mask


def seeded(make: Any) -> Any:
    torch.manual_seed(3)
    return make().eval()


class TestTensors(TestArrays):
    def values(self, folder: object) -> Mapping[str, object]:
        return {
            "tensor": torch.arange(6.0).reshape(2, 3).T,
            "half": torch.tensor(1.5, dtype=torch.bfloat16),
            "empty": torch.empty(0, 3),
            "state": seeded(lambda: Net(4)).state_dict(),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "gradient": (torch.ones(1, requires_grad=True), "keeps a gradient"),
            "sparse": (torch.ones(2).to_sparse(), "is sparse"),
            "parameter": ({"a": nn.Parameter(torch.ones(1))}, "more than a tensor"),
            "complex": (torch.ones(1, dtype=torch.complex64), "complex64"),
        }

    def same(self, left: Any, right: Any) -> bool:
        if isinstance(left, dict):
            again = seeded(lambda: Net(4))
            again.load_state_dict(right)
            return [*left] == [*right] and all(torch.equal(left[k], right[k]) for k in left)
        return left.dtype == right.dtype and torch.equal(left, right)


class TestModules(MaterializerSuite):
    materializer = TorchMaterializer
    rules = HERE
    library = "torch"

    def values(self, folder: object) -> Mapping[str, object]:
        frozen = seeded(lambda: nn.Linear(3, 2))
        frozen.weight.requires_grad_(False)
        return {
            "linear": frozen,
            "own": seeded(lambda: Net(4)),
            "recurrent": seeded(lambda: nn.LSTM(3, 2, num_layers=2, batch_first=True)),
            "attention": seeded(lambda: nn.TransformerEncoderLayer(3, 1, 4, batch_first=True)),
            "convolution": seeded(
                lambda: nn.Sequential(OrderedDict(z=nn.Conv1d(5, 5, 3), a=nn.Flatten(0)))
            ),
            "lists": seeded(lambda: nn.ModuleDict({"b": nn.Embedding(3, 2), "a": nn.ReLU()})),
        }

    def refused(self) -> Mapping[str, tuple[object, str]]:
        hooked, strange = nn.Linear(1, 1), nn.Linear(1, 1)
        hooked.register_forward_hook(print)
        strange.extra = object()

        class Local(nn.Module):  # type: ignore[misc,name-defined]
            pass

        return {
            "hooks": (hooked, "has hooks (`_forward_hooks`)"),
            "object": (nn.Sequential(strange), "value.0.extra is a object"),
            "local": (Local(), "whose class cannot be found"),
        }

    def same(self, left: Any, right: Any) -> bool:
        states = left.state_dict(), right.state_dict()
        equal = [*states[0]] == [*states[1]] and all(
            torch.equal(states[0][key], states[1][key]) for key in states[0]
        )
        grads = [[p.requires_grad for p in one.parameters()] for one in (left, right)]
        if not isinstance(left, nn.ModuleDict):
            torch.manual_seed(1)
            given = torch.randn(2, 5, 3) if not isinstance(left, Net) else torch.randn(5, 3)
            with torch.no_grad():
                one, two = left(given), right(given)
            one, two = (x[0] if isinstance(x, tuple) else x for x in (one, two))
            equal = equal and torch.equal(one, two)
        return equal and grads[0] == grads[1] and repr(left) == repr(right)


def test_what_is_tied_stays_tied_and_trains() -> None:
    raw = TorchMaterializer().save(seeded(lambda: Net(4)), HERE)
    net: Any = TorchMaterializer().load(SavedContent(raw), Net, Rules())
    assert net.head.weight is net.tied.weight
    net.train()
    net(torch.randn(5, 3)).sum().backward()
    assert net.head.weight.grad is not None
    assert for_value(net, Rules()).name == "torch"


def test_the_class_of_a_module_must_be_trusted() -> None:
    raw = TorchMaterializer().save(seeded(lambda: Net(4)), HERE)
    with pytest.raises(UnsupportedValue, match="a class that is not trusted here"):
        TorchMaterializer().load(SavedContent(raw), None, Rules())
    text = raw.replace(b"nn.functional.gelu", b"nn.functional._list")
    for bad in (text, raw.replace(b"$torch", b"$other")):
        with pytest.raises(CorruptData):
            TorchMaterializer().load(SavedContent(bad), None, HERE)
