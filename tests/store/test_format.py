"""The formats are for ever: a store of version 1 is read, and the document's bytes are true."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from blake3 import blake3

from gitml.entities.ids import Digest
from gitml.store.digest import hash_bytes, hash_tree_form
from gitml.store.store import Store
from gitml.store.tree import Tree

GOLDEN = Path(__file__).parent / "golden/v1"
GOLDEN_TREE = Digest("bc6a8d3771b34ea3539ab1a30bb68fe48c5aa9d558e7442e63133bf450cfc188")
GOLDEN_CHUNKS = Path(__file__).parent / "golden/v1-chunks"
GOLDEN_BLOB = Digest("96b70151d8a4626ad13824d80667232f168072afcf96132c90f9a1345618afae")
DOCS = Path(__file__).parents[2] / "docs"


def section() -> str:
    """The document's section on the store, wherever it stands by now."""
    texts = [path.read_text("utf-8") for path in sorted(DOCS.glob("format*.md"))]
    (found,) = [text for text in texts if "## The store\n" in text]
    return found


def example(name: str) -> list[str]:
    """The lines of the example with this name."""
    found = re.search(rf"^```{name}\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1].split("\n")[:-1]


def test_a_store_of_version_1_is_read(tmp_path: Path) -> None:
    store = Store(GOLDEN)
    assert list(store.check()) == []
    assert store.info(GOLDEN_TREE).entries == 6
    store.copy_to(GOLDEN_TREE, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "empty").read_bytes() == b""
    assert (out / "hello.txt").read_bytes() == b"hello\n"
    assert (out / "sub/long.csv").read_bytes() == b"1.5,2.5,abc\n" * 300
    assert os.access(out / "sub/run.sh", os.X_OK)
    assert os.readlink(out / "sub/link") == "../hello.txt"
    assert (out / "sub/noise").stat().st_size == 8192


def test_every_codec_of_version_1_is_read(tmp_path: Path) -> None:
    """Raw, zstd, byte planes and a difference, in one object of several parts."""
    store = Store(GOLDEN_CHUNKS)
    assert list(store.check()) == []
    (pack,) = store.packs()
    assert sorted(row.codec for _, row in pack.tables.chunks()) == [0, 1, 2, 3]
    data = store.read(GOLDEN_BLOB)
    noise = blake3(b"gitml golden").digest(length=4000)
    assert data[:3600] == b"1.5,2.5,abc\n" * 300
    assert data[3600 + 3 : 3600 + 4096 * 4 : 4] == b"\x3d\x3e" * 2048
    assert (
        data[-len(noise) - 3906 - 3 :] == b"odd" + noise + noise[:1000] + b"edited" + noise[1100:]
    )


def test_the_index_of_version_1_is_made_again_to_the_byte(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "store")
    (index,) = (tmp_path / "store/packs").glob("*.idx")
    before = index.read_bytes()
    index.unlink()
    Store(tmp_path / "store").recover()
    assert index.read_bytes() == before


def test_the_pack_in_the_document(tmp_path: Path) -> None:
    pack = bytes.fromhex("".join(example("hex pack")))
    store = Store(tmp_path / "store")
    with store.writer() as writer:
        digest = writer.put_bytes(b"hello\n")
    (path,) = (store.root / "packs").glob("*.pack")
    assert path.read_bytes() == pack
    assert path.stem in section()
    rows = bytes.fromhex("".join(example("hex index")))
    index = path.with_suffix(".idx").read_bytes()
    assert index[:40] + index[40 + 2 * 1024 :] == rows
    assert digest.hex in rows.hex()


def test_the_trees_in_the_document() -> None:
    form = b"".join(line.encode() + b"\0" for line in example("text tree"))
    assert f"is the tree `{hash_tree_form([form]).hex}`" in section()
    assert f"`{Tree.of([]).digest.hex}`" in section()
    assert hash_bytes(b"hello\n").hex in form.decode()
