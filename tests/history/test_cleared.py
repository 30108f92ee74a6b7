"""What this clone does not take from the cache: lines that several may add at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import StorageError
from gitml.history.cleared import Cleared


def ids(first: int, count: int) -> list[ObjectId]:
    return [ObjectId(f"{number:040x}") for number in range(first, first + count)]


def test_what_was_cleared_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    one, two, three = ids(1, 3)
    cleared = Cleared(tmp_path)
    assert one not in cleared
    cleared.add([one, two])
    assert one in cleared and two in cleared and three not in cleared
    assert two in Cleared(tmp_path)


def test_several_clear_at_once(tmp_path: Path) -> None:
    batches = [ids(100 * place, 100) for place in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda batch: Cleared(tmp_path).add(batch), batches))
    cleared = Cleared(tmp_path)
    assert all(one in cleared for batch in batches for one in batch)


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path: Path) -> None:
    one, two = ids(1, 2)
    Cleared(tmp_path).add([one])
    file = tmp_path / "gitml" / "cleared"
    file.write_bytes(file.read_bytes()[:-7])
    Cleared(tmp_path).add([two])
    cleared = Cleared(tmp_path)
    assert two in cleared and one not in cleared


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "gitml" / "cleared").mkdir(parents=True)
    with pytest.raises(StorageError, match="cleared"):
        Cleared(tmp_path).add(ids(1, 1))
