from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gitml import materializers
from gitml.entities.records import Output
from gitml.errors import CorruptData
from gitml.materializers import Rules
from gitml.materializers.items import Items, cell
from gitml.previews import Preview, look, preview, tables
from gitml.store import window
from gitml.store.digest import hash_bytes
from gitml.store.store import Store
from tests.workshop import Workshop


class Shelf:
    """A store, and the records of what was put there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "store")

    def keep(self, value: object, name: str | None = None) -> Output:
        """A value as an output; by the materializer that is named, or that it finds."""
        rules = Rules(allow_pickle=True)
        made = materializers.named(name) if name else materializers.for_value(value, rules)
        saved = made.save(value, rules)
        known = made.metadata(value)
        return self.put(saved, f"{made.name}/{made.version}", known)

    def put(self, saved: bytes | Path, name: str, known: Any = None) -> Output:
        """Bytes, or a file or folder, as an output of this materializer."""
        kind = "blob"
        with self.store.writer() as writer:
            if isinstance(saved, bytes):
                digest, size = writer.put_bytes(saved), len(saved)
            elif saved.is_dir():
                (digest, size), kind = writer.put_directory(saved), "tree"
            else:
                digest, size = writer.put_file(saved)
        return Output("it", "it", digest, kind, size, name, "type", known or {})

    def see(self, value: object, name: str | None = None) -> Preview:
        return preview(self.store, self.keep(value, name))

    def file(self, name: str, data: bytes) -> Preview:
        """The preview of a file of this name."""
        (self.root / name).write_bytes(data)
        return self.see(self.root / name)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


FRAME = pd.DataFrame(
    {
        "age": np.arange(1000),
        "name": [f"n{n}" for n in range(1000)],
        "kind": pd.Categorical(["a", "b"] * 500),
    }
)


def test_a_table_has_its_head_with_types_and_the_number_of_rows(shelf: Shelf) -> None:
    seen = shelf.see(FRAME)
    assert (seen.kind, seen.facts) == ("table", {"rows": 1000, "columns": 3})
    assert seen.columns[0] == ("age", "int64") and seen.columns[2] == ("kind", "category")
    assert seen.rows[0] == ["0", "n0", "a"] and len(seen.rows) == 10
    assert seen.notes == ["the first 10 of 1,000 rows"]


def test_the_results_of_items_are_shown_as_values(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [{"fold": 1, "f1": 0.5}, "a\nb", 7, np.zeros((2, 3)), b"\x00\xff"] * 3
    results = Items(tuple(cell(one, Rules()) for one in values))
    seen = shelf.see(results)
    assert (seen.kind, seen.facts, seen.notes) == (
        "table",
        {"items": 15},
        ["the first 10 of 15 rows"],
    )
    assert [name for name, _ in seen.columns] == ["item", "value"]
    shown = [row[1] for row in seen.rows]
    assert json.loads(shown[0]) == values[0]
    assert shown[1:3] == ['"a\\nb"', "7"]
    assert shown[3:5] == ["shape [2, 3], dtype float64", "bytes/1, 2 bytes"]
    monkeypatch.setattr(tables, "SMALL", 16)
    assert shelf.see(results).rows == seen.rows


WIDE: dict[str, Any] = {
    "int": pa.array([1, None, 3] * 7, pa.int16()),
    "flag": pa.array([True, None, False] * 7),
    "none": pa.nulls(21),
    "text": pa.array(["ä", None, "bc"] * 7),
    "large": pa.array(["x", "yy", None] * 7, pa.large_string()),
    "list": pa.array([[1], [], None] * 7),
    "pair": pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}] * 7),
    "code": pa.array(["a", "b", "a"] * 7).dictionary_encode(),
    "raw": pa.array([b"ab", b"cd", None] * 7, pa.binary(2)),
    "day": pa.array([1, 2, None] * 7, pa.date32()),
    "money": pa.array([1, 2, None] * 7, pa.decimal128(9, 2)),
}


def test_a_large_table_is_read_in_part_and_shows_the_same(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = shelf.keep(pa.table(WIDE))
    whole = preview(shelf.store, output)
    monkeypatch.setattr(tables, "SMALL", 0)
    part = preview(shelf.store, output)
    assert (part.columns, part.notes) == (whole.columns, whole.notes)
    for place, (name, _) in enumerate(whole.columns):
        column = [row[place] for row in part.rows]
        expected = [row[place] for row in whole.rows]
        assert column == (["…"] * 10 if name in ("list", "pair", "code") else expected), name


def test_a_preview_reads_little(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    taken = window.Window.readinto

    def counted(self: window.Window, buffer: Any) -> int:
        read.append(taken(self, buffer))
        return read[-1]

    monkeypatch.setattr(window.Window, "readinto", counted)
    monkeypatch.setattr(tables, "SMALL", 1 << 20)
    file = shelf.root / "large.npy"
    rows = np.arange(1_000_000, dtype="f8").reshape(-1, 4)
    np.save(file, rows)
    pq.write_table(pa.table({"x": rows[:, 0], "y": rows[:, 1]}), shelf.root / "large.parquet")
    table = pa.table({"x": rows[:, 0], "y": rows[:, 1]})
    for output in (shelf.keep(file), shelf.keep(shelf.root / "large.parquet"), shelf.keep(table)):
        read.clear()
        seen = preview(shelf.store, output)
        assert len(seen.rows) >= 6 and seen.rows[1][0] in ("4",), seen
        assert 0 < sum(read) < min(output.size, 3 << 19)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_has_a_corner(shelf: Shelf, order: Any) -> None:
    array = np.asarray(np.arange(2 * 30 * 40).reshape(2, 30, 40), order=order)
    seen = shelf.see(array)
    assert seen.facts == {"shape": [2, 30, 40], "dtype": "int64"}
    assert [list(map(int, row)) for row in seen.rows] == array[0, :6, :6].tolist()
    assert seen.notes == ["a corner of 2,400 elements"]


def test_arrays_of_any_shape_are_shown(shelf: Shelf) -> None:
    assert shelf.see(np.float32(2.5)).rows == [["2.5"]]
    assert shelf.see(np.arange(3)).rows == [["0", "1", "2"]]
    assert shelf.see(np.zeros((0, 5))).notes == ("it is empty",)
    assert shelf.see(np.array(["a\x1bb"])).rows == [["a\\x1bb"]]


def test_an_array_that_is_cut_off_says_so(shelf: Shelf) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(100).reshape(10, 10))
    whole = file.getvalue()
    assert shelf.file("whole.npy", whole).notes == ["a corner of 100 elements"]
    for there in (796, 84, 3, 0):
        seen = shelf.file("a.npy", whole[: len(whole) - 800 + there])
        assert seen.facts == {"shape": [10, 10], "dtype": "int64"}
        cut = f"it is cut off: {there} of 800 bytes of elements are there"
        assert seen.notes == ["a corner of 100 elements", cut]
        numbers = [[10 * row + column for column in range(6)] for row in range(6)]
        assert seen.rows == [[str(n) if n < there // 8 else "" for n in row] for row in numbers]
    items = Items((("npy/1", whole), ("npy/1", whole[:-1])))
    assert [row[1] for row in preview(shelf.store, shelf.keep(items)).rows] == [
        "shape [10, 10], dtype int64",
        "cut off, shape [10, 10], dtype int64",
    ]


def test_a_table_whose_first_line_is_cut_off_says_so(shelf: Shelf) -> None:
    names = [f"column{n:04}" for n in range(10_000)]
    seen = shelf.file("a.csv", ",".join(names).encode() + b"\n1,2,3\n")
    assert [name for name, _ in seen.columns] == names[:12]
    assert seen.notes == ["the first 0 rows", "the first 12 of 5,957 columns or more"]
    fitting = ",".join(names[:20]).encode() + b"\n" + b"1," * 40_000
    assert "the first 12 of 20 columns or more" in shelf.file("b.csv", fitting).notes
    assert shelf.file("c.csv", b"x" * 70_000).notes[-1] == "the first 1 of 1 columns or more"
    short = b"a,b\n" + b"1,2\n" * 30_000
    assert shelf.file("d.csv", short).notes == ["the first 10 rows"]


def test_tensors_are_listed(shelf: Shelf) -> None:
    seen = shelf.see({"bias": np.zeros(3, "f4"), "weight": np.ones((3, 4), "f4")})
    assert seen.facts == {"tensors": 2, "elements": 15}
    assert seen.rows == [["bias", "F32", "[3]"], ["weight", "F32", "[3, 4]"]]


def test_an_image_has_its_size_and_on_a_page_a_small_picture(shelf: Shelf) -> None:
    image = pytest.importorskip("PIL.Image")
    output = shelf.keep(image.new("RGB", (800, 600), "red"))
    seen = preview(shelf.store, output)
    assert (seen.facts["width"], seen.facts["height"], seen.picture) == (800, 600, "")
    shown = preview(shelf.store, output, picture=True).picture
    assert shown.startswith("data:image/png;base64,") and len(shown) < 4000
    made = io.BytesIO()
    image.new("RGB", (30, 20)).save(made, "JPEG")
    assert shelf.file("photo.jpg", made.getvalue()).facts == {
        "format": "jpeg",
        "width": 30,
        "height": 20,
    }
    assert (
        preview(shelf.store, shelf.put(made.getvalue()[:40], "image/1"), picture=True).picture == ""
    )


def test_json_and_texts_have_their_heads(shelf: Shelf) -> None:
    seen = shelf.see({"a": [1, 2], "b": "\x1b]0;gone\x07\u202e"})
    assert seen.kind == "json" and '"a": [' in seen.text and "\x1b" not in seen.text
    text = shelf.file("notes.txt", b"one\ttwo\r\n" * 100)
    assert text.text.startswith("one two\none two") and text.notes == ["the first 40 lines"]
    table = shelf.file("t.csv", b"a,b\n" + b'1,"x\n\x1b[2J"\n' * 20)
    assert table.rows[0] == ["1", "x\\n\\x1b[2J"] and table.notes == ["the first 10 rows"]


def test_an_estimator_has_its_class_and_its_parameters(shelf: Shelf) -> None:
    facts = {"class": "sklearn.linear_model.Ridge", "feature_names_in": ["x"]}
    known = {**facts, "params": {"alpha": 0.3, "solver": "auto"}}
    seen = preview(shelf.store, shelf.put(b"PK", "sklearn/1", known))
    assert (seen.kind, seen.facts) == ("model", facts)
    assert seen.rows == [["alpha", "0.3"], ["solver", "auto"]]


def test_a_pickle_is_not_opened(shelf: Shelf) -> None:
    evil = b"cos\nsystem\n(S'touch /tmp/gone'\ntR."
    seen = preview(shelf.store, shelf.put(evil, "pickle/1", {"class": "x.Y"}))
    assert (seen.kind, seen.facts, seen.text) == ("unknown", {"class": "x.Y"}, "")
    assert "not looked into" in seen.notes[0]


def test_files_of_any_kind_are_told_by_their_bytes(shelf: Shelf) -> None:
    pq.write_table(pa.table(WIDE), shelf.root / "data")
    seen = shelf.see(shelf.root / "data")
    assert seen.facts == {"rows": 21, "columns": 11} and seen.rows[2][3] == "bc"
    assert shelf.file("weights", b"\x00\x01\xff").facts == {"begins with": "00 01 ff"}
    assert "it is not JSON" in shelf.file("a.json", b"{").notes
    (shelf.root / "folder" / "sub").mkdir(parents=True)
    (shelf.root / "folder" / "sub" / "a\x1bb").write_bytes(b"12")
    folder = shelf.see(shelf.root / "folder")
    assert folder.rows == [["sub/a\\x1bb", "2"]] and folder.facts == {"files": 1}


@pytest.mark.parametrize("name", ["none.csv", "none.json", "none.parquet", "none.bin"])
def test_a_file_of_no_bytes_is_empty(shelf: Shelf, name: str) -> None:
    assert "it is empty" in shelf.file(name, b"").notes


def test_a_table_without_rows_or_columns_is_shown(shelf: Shelf) -> None:
    seen = shelf.see(FRAME[:0])
    assert seen.notes == ["it has no rows"] and len(seen.columns) == 3 and seen.rows == []
    assert shelf.see(pd.DataFrame()).facts == {"rows": 0, "columns": 0}
    assert "it has no rows" in shelf.see(pa.table({})).notes


def test_of_ten_thousand_columns_a_few_are_shown(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = shelf.keep(pa.table({f"c{n}": [n] for n in range(10_000)}))
    for _ in range(2):
        seen = preview(shelf.store, output)
        assert seen.facts["columns"] == 10_000 and len(seen.columns) == 12
        assert seen.rows == [[str(n) for n in range(12)]]
        assert "the first 12 of 10,000 columns" in seen.notes
        monkeypatch.setattr(tables, "SMALL", 0)


def test_bytes_that_are_not_of_their_format_say_so(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {
        "arrow/1": shelf.keep(pa.table(WIDE)),
        "npy/1": shelf.keep(np.arange(100.0).reshape(10, 10)),
        "safetensors/1": shelf.keep({"w": np.zeros(4)}),
        "image/1": shelf.keep(b"\x89PNG\r\n\x1a\n" + b"\0" * 30),
    }
    chance, digest = random.Random(11), hash_bytes(b"")
    for small in (tables.SMALL, 0):
        monkeypatch.setattr(tables, "SMALL", small)
        for name, output in good.items():
            data = shelf.store.read(output.digest)
            for _ in range(60):
                damaged = bytearray(data[: chance.randrange(len(data) + 1)])
                for place in {chance.randrange(len(data)) for _ in range(4)}:
                    damaged[place : place + 1] = chance.randbytes(1)
                about = Output("it", "it", digest, "blob", len(damaged), name, "type")
                seen = look(io.BytesIO(damaged), about, picture=True)
                assert seen.kind != "unknown" or seen.notes


def test_bytes_that_are_not_those_of_the_digest_are_an_error(shelf: Shelf) -> None:
    output = shelf.keep(FRAME)
    (pack,) = shelf.store.root.glob("**/*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises(CorruptData):
        preview(Store(shelf.store.root), output)


def test_large_bytes_are_not_fetched_for_a_preview(shelf: Shelf) -> None:
    output = Output("it", "it", hash_bytes(b"gone"), "blob", 10**10, "arrow/1", "type", {"rows": 5})
    seen = preview(shelf.store, output)
    assert (seen.kind, seen.facts) == ("unknown", {"rows": 5})
    assert "not here" in seen.notes[0]


class Temperature:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class TemperatureMaterializer(materializers.Materializer):
    ASSOCIATED_TYPES = (Temperature,)

    def save(self, value: Any, rules: Rules) -> bytes:
        return str(value.degrees).encode()

    def load(self, content: Any, wanted: type | None, rules: Rules) -> object:
        return Temperature(float(content.read()))

    def preview(self, path: Path) -> str:
        text = path.read_text()
        if text == "13.0":
            raise RuntimeError("unlucky")
        return f"{text} degrees\x1b[31m"


def test_a_materializer_of_ones_own_may_offer_a_preview(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = shelf.see(Temperature(21.5))
    assert (seen.kind, seen.text) == ("custom", "21.5 degrees\\x1b[31m")
    assert "unlucky" in shelf.see(Temperature(13.0)).notes[0]
    output = shelf.keep(Temperature(21.5))
    monkeypatch.delitem(materializers.base.DEFINED, TemperatureMaterializer.name)
    assert "imports no code" in preview(shelf.store, output).notes[0]
    monkeypatch.setattr(TemperatureMaterializer, "preview", materializers.Materializer.preview)


def test_a_handle_shows_itself(workshop: Workshop) -> None:
    repo = workshop.repo()
    stored = repo.save(FRAME, "people")
    assert str(stored.preview()).splitlines()[2].split() == ["age", "name", "kind"]
    shown = stored._repr_html_()
    assert f"people@{stored.digest.short}" in shown and "<td>n9</td>" in shown
    gone = repo.save(b"x", "gone")
    for pack in repo.store.root.glob("**/*.pack"):
        pack.unlink()
    assert "is not in this store" in workshop.repo().artifact("gone")._repr_html_()
    assert gone.size == 1


def test_a_page_gets_nothing_of_the_data_as_markup(shelf: Shelf) -> None:
    frame = pd.DataFrame({"<script>": ["<img onerror=x>"]})
    shown = shelf.see(frame).html("<b>")
    assert "<script>" not in shown and "<img" not in shown and "<b>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<script" not in shelf.see("<script>alert(1)</script>").html("x")
