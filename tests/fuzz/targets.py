"""Every parser of bytes from outside, as a function of bytes, with examples of what it reads.

The law for all of them: whatever the bytes, either a value comes out or an error of gitml.errors,
soon and in little memory. Some check more: what was read is written the same, no path leads out.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gitml import config, materializers, previews
from gitml.entities import codec, records
from gitml.entities.ids import Digest, ObjectId
from gitml.entities.pointer import Pointer
from gitml.errors import ConnectionLost, CorruptData, GitmlError
from gitml.fs import ProcessIdentity, judge_relative_paths
from gitml.git.odb import parse_commit, parse_tag, parse_tree
from gitml.history import journal, models, notes
from gitml.history.entries import line_of
from gitml.materializers import Rules
from gitml.pipelines.configuration import read_configuration
from gitml.remotes.base import Access
from gitml.remotes.folder import FolderRemote
from gitml.remotes.opening import flavor_of
from gitml.remotes.profiles import profile_keys
from gitml.remotes.serve import serve
from gitml.remotes.ssh import entry_of
from gitml.remotes.wire import Line, Told
from gitml.store import arrow, tensors
from gitml.store import tree as trees
from gitml.store.chunking import SMALLEST
from gitml.store.digest import hash_bytes
from gitml.store.store import Store
from gitml.store.tree import Tree, TreeEntry
from gitml.tables import compare_tables
from gitml.workspace import ignores
from gitml.workspace.globs import Globs
from gitml.workspace.statcache import Block, Held, StatCache, View

_OID = ObjectId("a" * 40)
_RULES = Rules(trusted_modules=frozenset({"tests.fuzz.shapes"}))
_KINDS = (
    *(records.Source, records.Step, records.Run, records.Version, records.Fold),
    *(records.Promotion, records.Tombstone, records.Saved, records.Note, records.Alias),
)


@dataclass(frozen=True)
class Target:
    """A parser: ``read`` takes any bytes, ``seeds`` gives some that it likes.

    ``allowed`` are errors besides ours that its callers are written for.
    """

    name: str
    read: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    allowed: tuple[type[Exception], ...] = ()

    def __str__(self) -> str:
        return self.name

    def try_out(self, data: bytes) -> bool:
        """Whether the bytes were read; an error that nobody foresaw comes out."""
        try:
            self.read(data)
        except (GitmlError, *self.allowed):
            return False
        return True


@dataclass
class _Content:
    """Bytes as a stored artifact."""

    data: bytes
    kind: str = "blob"

    @property
    def metadata(self) -> dict[str, object]:
        return {}

    def read(self) -> bytes:
        return self.data

    def path(self) -> Path:
        raise AssertionError("no parser asks for the file")


# The store


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="gitml-fuzz-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@cache
def _store_files() -> tuple[bytes, bytes]:
    """A pack with a blob of each codec, an empty one and a tree, and its index."""
    with _scratch() as folder:
        store = Store(folder)
        with store.writer() as writer:
            blobs = [b"", b"short", b"long and dull, " * 300, bytes(range(256)) * 3]
            held = [(writer.put_bytes(blob), len(blob)) for blob in blobs]
            entries = [
                TreeEntry(f"in/{n}", trees.REGULAR, size, digest)
                for n, (digest, size) in enumerate(held)
            ]
            writer.put_tree(Tree.of(entries))
        (pack,) = folder.glob("packs/*.pack")
        return pack.read_bytes(), pack.with_suffix(".idx").read_bytes()


def _golden(suffix: str) -> list[bytes]:
    """Packs with every codec, where they are small enough to be read thousands of times."""
    files = (Path(__file__).parents[1] / "store/golden").glob(f"*/packs/*.{suffix}")
    return [path.read_bytes() for path in files if path.stat().st_size < 1 << 20]


def _use(store: Store) -> None:
    """Do all that reads a store, damage or not: whatever is read has the digest it is read by."""
    for one in list(store.objects()):
        with contextlib.suppress(GitmlError):
            if one.kind == "tree":
                assert store.read_tree(one.digest).digest == one.digest
            else:
                assert hash_bytes(store.read(one.digest)) == one.digest
    list(store.check())


def _pack(data: bytes) -> None:
    with _scratch() as folder:
        store = Store(folder)
        store.layout.prepare()
        (folder / "packs" / f"{hash_bytes(data).hex}.pack").write_bytes(data)
        _use(store)
        store.recover()
        _use(Store(folder))


def _index(data: bytes) -> None:
    with _scratch() as folder:
        store = Store(folder)
        store.layout.prepare()
        stem = folder / "packs" / hash_bytes(data).hex
        stem.with_suffix(".pack").write_bytes(_store_files()[0])
        stem.with_suffix(".idx").write_bytes(data)
        _use(store)


def _abandoned(data: bytes) -> None:
    """What a killed writer left is salvaged as far as it is whole."""
    mine = ProcessIdentity.current()
    dead = ProcessIdentity(4_194_303, "1", mine.host, mine.boot).to_text()
    with _scratch() as folder:
        store = Store(folder)
        store.layout.prepare()
        (folder / f"tmp/{dead}+00000000.pack").write_bytes(data)
        store.recover()
        assert os.listdir(folder / "tmp") == []
        assert list(Store(folder).check()) == []


def _arrow_tree(data: bytes) -> None:
    tree = arrow.decode(lambda: [data], _example_tree().digest)
    assert tree == _example_tree() or tree.digest == _example_tree().digest


@cache
def _example_tree() -> Tree:
    digest = Digest("ab" * 32)
    names = ("a", "b/c.txt", "b/d/e", "é/ü")
    return Tree.of(TreeEntry(name, trees.REGULAR, 3, digest) for name in names)


def _paths(data: bytes) -> None:
    """A list of paths that is judged safe stays below any folder and out of .git."""
    for text in judge_relative_paths(data.split(b"\n")):
        parts = text.replace("\\", "/").split("/")
        assert posixpath.normpath(text) == text
        assert not text.startswith("/")
        assert not {"", ".", "..", ".git", ".GIT", "git~1"}.intersection(parts)
        assert "\0" not in text


def _link(data: bytes) -> None:
    """A link that is judged safe leads to a place in its tree."""
    path, _, target = data.partition(b"\n")
    (text,) = judge_relative_paths([path])
    trees.judge_link_target(text, target)
    led = posixpath.normpath(posixpath.join(posixpath.dirname(text), os.fsdecode(target)))
    assert not led.startswith(("/", "../"))
    assert led != ".."


def _pointer(data: bytes) -> None:
    pointer = Pointer.decode(data, "data.gitml")
    assert Pointer.decode(pointer.encode(), "data.gitml") == pointer


# Records


def _record(data: bytes) -> None:
    """Every kind of record from the same bytes; what can be read is written the same."""
    document = codec.parse(data, "x.json")
    for kind in _KINDS:
        with contextlib.suppress(GitmlError):
            record = codec.from_document(kind, document, "x.json")
            written = codec.to_json(record)
            assert codec.from_json(kind, written, "x.json") == record


def _record_seeds() -> list[bytes]:
    code = records.Code(_OID, _OID, snapshot=True)
    digest = Digest("cd" * 32)
    at = "2026-01-02T03:04:05.000006Z"
    output = records.Output("out", "table", digest, "blob", 5, "json/1", "list", {"rows": 3})
    step = records.Step(
        name="train",
        pipeline="training",
        source="train.py:3",
        code=code,
        code_id="x",
        files=(records.CodeFile("train.py", _OID),),
        parameters={"rate": 0.5, "names": ["a", None]},
        inputs=(records.Input("data", digest, "blob", _OID, "raw"),),
        outputs=(output,),
        started=at,
        duration=0.5,
        log=records.Log(digest, 3),
    )
    values = [
        records.Source(digest, "blob", 5),
        step,
        records.Fold((_OID, ObjectId("b" * 40))),
        records.Promotion("p", "clf", "production", 1, "why", at, version=_OID),
        records.Tombstone("p", "clf", 1, _OID, "why", at),
        records.Saved("labels", digest, "blob", 5, "blob/1", "bytes", at),
        records.Note("01J0", at, "Ada", {"a": 1}),
    ]
    return [codec.to_json(value) for value in values]


def _metrics(data: bytes) -> None:
    metrics = codec.metrics_from_json(data, "metrics.json")
    again = codec.metrics_from_json(codec.metrics_to_json(metrics), "metrics.json")
    assert repr(again) == repr(dict(sorted(metrics.items())))


def _commit(data: bytes) -> None:
    commit = parse_commit(_OID, data)
    commit.trailers()
    assert "\n" not in commit.subject
    assert isinstance(commit.time, int)


def _tag(data: bytes) -> None:
    tag = parse_tag(_OID, data)
    line_of(tag)
    with contextlib.suppress(GitmlError):
        models.read_promotion(tag, "clf", "production", 1)
    with contextlib.suppress(GitmlError):
        models.read_alias(tag, "clf", "champion", 1)
    models.read_tombstone(tag, "clf@deleted/1")


def _tag_seed() -> bytes:
    at = "2026-01-02T03:04:05.000006Z"
    promotion = records.Promotion("p", "clf", "production", 1, "why", at, version=_OID)
    line = codec.dump_line(codec.to_document(promotion))
    head = f"object {_OID}\ntype commit\ntag clf@production/1\ntagger A <a@b> 1 +0000"
    return f"{head}\n\nPromote\n\n{line}\n".encode()


def _note(data: bytes) -> None:
    for line in data.decode("utf-8", "replace").splitlines():
        notes._decode(line, _OID)


def _journal(data: bytes) -> None:
    with _scratch() as folder:
        path = folder / "x.jsonl"
        path.write_bytes(data)
        journal._read(path)


def _journal_seed() -> bytes:
    header: dict[str, Any] = dict.fromkeys(journal.HEADER, "x")
    header["format"] = codec.FORMAT
    step = {"step": {"name": "a", "state": "completed", "commit": str(_OID)}, "at": 1.5}
    return f"{codec.dump_line(header)}\n{codec.dump_line(step)}\n".encode()


def _settings(data: bytes) -> None:
    with _scratch() as folder:
        path = folder / "gitml.toml"
        path.write_bytes(data)
        config.read(path)


def _served(data: bytes) -> None:
    """A server's side of a line: it answers, and touches nothing but the objects of its folder."""
    with _scratch() as folder:
        root = folder / "lake"
        root.mkdir()
        (root / "a").write_bytes(b"0123456789")
        beside = folder / "b"
        beside.write_bytes(b"not an object")
        sink = io.BytesIO()
        serve(FolderRemote(root), io.BytesIO(data), sink)
        assert sorted(one.name for one in folder.iterdir()) == ["b", "lake"]
        assert beside.read_bytes() == b"not an object"
        assert b"not an object" not in sink.getvalue()


def _answered(data: bytes) -> None:
    """A client's side of it: messages, and data behind every second one."""
    line = Line(io.BytesIO(data), io.BytesIO())
    with contextlib.suppress(ConnectionLost, Told):
        while True:
            for row in line.receive().get("entries") or ():
                entry_of(row)
            size = sum(map(len, line.receive_data()))
            assert size <= len(data)


def _frames(*messages: dict[str, Any] | bytes) -> bytes:
    sink = io.BytesIO()
    line = Line(io.BytesIO(), sink)
    for one in messages:
        if isinstance(one, bytes):
            line.send_data([one])
        else:
            line.send(one)
    return sink.getvalue()


def _line_seeds() -> list[bytes]:
    put = {"do": "put", "key": "packs/b", "size": 5, "create": True}
    get = {"do": "get", "key": "a", "start": 2, "length": 3}
    keys = {"do": "stat", "keys": ["a", "packs/b"]}
    return [
        _frames(put, b"12345", keys, get),
        _frames({"do": "list", "prefix": ""}, {"do": "delete", "keys": ["a"]}),
        _frames({"entries": [["a", 5, 1.5]]}, b"data"),
    ]


def _remote_url(data: bytes) -> None:
    """A URL is refused, or is of a remote whose own URL is the same remote again."""
    url = data.decode("utf-8", "surrogateescape")
    access = Access(Path("/nowhere"), {"HOME": "/home/ada"})
    first = flavor_of(url).open(url, access)
    assert flavor_of(first.url).open(first.url, access).url == first.url


def _profiles(data: bytes) -> None:
    with _scratch() as folder:
        path = folder / "credentials"
        path.write_bytes(data)
        place = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_CONFIG_FILE": str(path)}
        profile_keys(place, None)
        profile_keys(place, "lake")


def _identity(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    identity = ProcessIdentity.parse(text)
    assert ProcessIdentity.parse(identity.to_text()) == identity


# Values


def _value(name: str, rules: Rules = _RULES) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        # Not `load_value`, which makes one of gitml's errors of whatever a materializer raises.
        materializers.named(name).load(_Content(data), None, rules)

    return read


def _saved(name: str, *make: Callable[[], object]) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        return [bytes(materializers.named(name).save(one(), _RULES)) for one in make]  # type: ignore[arg-type]

    return seeds


def _table() -> object:
    import pyarrow as pa

    return pa.table({"a": [1, 2, None], "b": ["x", "y", "z"], "c": [[1], [], None]})


def _frame() -> object:
    import pandas as pd

    return pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])})


def _array() -> object:
    import numpy as np

    return np.arange(6, dtype="<f4").reshape(2, 3)


def _structured() -> list[Callable[[], object]]:
    from tests.fuzz.shapes import Colour, Pair, Point, Settings

    def point() -> object:
        return Point(0.5, Colour.BLUE, [Pair(1, "a"), Pair(2)], _array())

    return [
        point,
        lambda: Pair(-1, "é"),
        lambda: Colour.RED,
        lambda: Settings(rate=1.5, names={"a", "b"}, point=Point(1.0), more=[1, None]),
    ]


def _structured_seeds() -> list[bytes]:
    return _saved("structured", *_structured())()


def _documents(data: bytes) -> None:
    """A text that is read is written the same."""
    for name in ("html", "markdown", "csv"):
        found = materializers.named(name)
        assert found.save(found.load(_Content(data), None, _RULES), _RULES) == data


def _booster() -> object:
    import lightgbm
    import numpy as np

    rows = np.arange(40.0).reshape(20, 2)
    settings = {"verbose": -1, "min_data_in_leaf": 1, "num_leaves": 3, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(rows, rows[:, 0] % 3), 2)


def _boosted(data: bytes) -> None:
    """What reaches lightgbm is what was written: its own parser crashes on anything else."""
    seed = _boosted_seed()
    try:
        materializers.named("lightgbm").load(_Content(data), None, _RULES)
    except CorruptData:
        return
    text, written = data.decode().split(), seed.decode().split()
    assert [one for one in text if "=" not in one] == [one for one in written if "=" not in one]


@cache
def _boosted_seed() -> bytes:
    return _saved("lightgbm", _booster)()[0]


def _named_arrays() -> object:
    import numpy as np

    return {"weight": _array(), "steps": np.arange(3), "empty": np.zeros((0, 2), "u1")}


def _ordered_arrays() -> object:
    from collections import OrderedDict

    return OrderedDict(b=_array(), a=_array())


def _items() -> object:
    from gitml.materializers.items import Items, cell

    return Items(tuple(cell(one, _RULES) for one in (1, "b", {"a": None}, _array())))


def _polars() -> object:
    import polars as pl

    return pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1.5], []]})


def _picture() -> object:
    from PIL import Image

    return Image.new("RGB", (5, 3), (1, 2, 3))


def _chart() -> object:
    import plotly.graph_objects

    return plotly.graph_objects.Figure(plotly.graph_objects.Bar(x=["a", "b"], y=[1, 2]))


def _graph() -> object:
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    return helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [given], [made])
    )


def _matrix() -> object:
    from gitml.evaluation import ConfusionMatrix

    return ConfusionMatrix(("a", "b"), ((3, 1), (0, 2)))


_SHOWN = (
    *("arrow", "npy", "safetensors", "image", "confusion_matrix", "curve", "bytes", "csv"),
    *("figure", "json", "markdown"),
)


def _preview(data: bytes) -> None:
    """Somebody looks at a stranger's bytes, whatever the record says that they are."""
    digest = hash_bytes(data)
    for name in _SHOWN:
        suffix = ".csv" if data[:1] == b"i" else ".safetensors"
        facts = {"name": f"x{suffix}"}
        output = records.Output("o", "o", digest, "blob", len(data), f"{name}/1", "x", facts)
        previews.look(io.BytesIO(data), output, picture=True)


def _preview_seeds() -> list[bytes]:
    made = [_saved(name, one)()[0] for name, one in _SEEDS_SHOWN]
    return [*made, b"i,j\n1,2\n3,4\n", b'{"a": [1, {"b": null}]}', b"<svg></svg>"]


_SEEDS_SHOWN: tuple[tuple[str, Callable[[], object]], ...] = (
    *(("arrow", _table), ("npy", _array), ("safetensors", _named_arrays)),
    *(("image", _picture), ("confusion_matrix", _matrix)),
)


def _run_configuration(data: bytes) -> None:
    """The first byte says in which format the rest is."""
    suffix = (".toml", ".yaml", ".json")[data[0] % 3 if data else 0]
    with _scratch() as folder:
        path = folder / f"night{suffix}"
        path.write_bytes(data[1:])
        read_configuration(path, {"RATE": "0.5"})


_CONFIGURATION_SEEDS = (
    b'\0enable_cache = true\nrun_name = "night-{date}"\n[parameters]\nrate = "${RATE}"\n'
    b"[steps.train]\nenable_cache = false\nretry = { max_retries = 2, delay = 0.5 }\n"
    b'[model]\nname = "clf"\nversion = 3\n',
    b"\1parameters:\n  rate: ${RATE}\n  depth: [1, 2]\nsteps:\n  train:\n    parameters: {a: 1}\n"
    b"cache_policy: {expires_after: 60}\nexecution_mode: fail_fast\n",
    b'\2{"parameters": {"rate": "${RATE:-1}"}, "tags": ["a"], "settings": {"docker": null}}',
)


# Data


def _tensors(data: bytes) -> None:
    """Whatever a header says, the regions go up and end where the file does."""
    found = tensors.regions_of(lambda at, length: data[at : at + length], len(data))
    ends = [region.end for region in found]
    assert ends == sorted(set(ends))
    assert ends[-1:] == [len(data)][: len(data)]
    assert {region.width for region in found} <= {1, 2, 4, 8}


def _tensor_seeds() -> list[bytes]:
    size = 4 * SMALLEST
    about = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({"a": about, "__metadata__": {"x": "y"}}).encode()
    array = b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }"
    return [
        len(header).to_bytes(8, "little") + header + bytes(size),
        array.ljust(127) + b"\n" + bytes(size),
    ]


def _stat_cache(data: bytes) -> None:
    """A cache whose sum is right: what is behind it is our own, but may be of a later version."""
    with _scratch() as folder:
        path = folder / "index"
        end = max(0, len(data) - 24)
        summed = zlib.crc32(data[:end]).to_bytes(4, "big")
        path.write_bytes(data[:end] + summed + bytes(20))
        cache = StatCache.read(path)
        for name in cache.held:
            list(cache.entries(name))
            list(cache.block(name).rows())


@cache
def _stat_cache_seed() -> bytes:
    with _scratch() as folder:
        path = folder / "index"
        pointer = Pointer(Digest("ab" * 32), "tree", 12)
        block = Block.of((name, 0o100644, b"x" * 20, bytes(40)) for name in (b"d/a", b"d/b"))
        StatCache.read(path).saved({"d": (Held("d", pointer), block)})
        return path.read_bytes()


def _globs(data: bytes) -> None:
    pattern, _, path = data.decode("utf-8", "surrogateescape").partition("\n")
    Globs.of(View((pattern,))).match(path)


def _ignores(data: bytes) -> None:
    """A line that is put into a .gitignore is there, and taking it out leaves the others."""
    line, _, text = data.partition(b"\0")
    line = ignores.line_for(os.fsdecode(line))
    written = ignores.with_line(text, line)
    assert line in [one.removesuffix(b"\r") for one in written.split(b"\n")]
    assert ignores.with_line(written, line) == written
    assert line not in ignores.without_line(written, line).splitlines()


def _tables(data: bytes) -> None:
    """A table beside another, either way round; made of two halves where it begins with 2."""
    compare_tables(data, _table_seeds()[0])
    compare_tables(_table_seeds()[0], data)


@cache
def _table_seeds() -> list[bytes]:
    import pyarrow.parquet

    rows = _table()
    sink = io.BytesIO()
    pyarrow.parquet.write_table(rows, sink)
    text = b'id,name\n1,x\n2,"y, z"\n3,\n'
    return [text, sink.getvalue(), bytes(materializers.named("arrow").save(rows, Rules()))]  # type: ignore[arg-type]


_COMMIT = (
    f"tree {_OID}\nparent {_OID}\nauthor A <a@b> 1700000000 +0100\n"
    "committer A <a@b> 1700000000 +0100\n\nSubject\n\nGitml-Kind: step\nGitml-Code: x\n"
).encode()
_SETTINGS = (
    b'[project]\nid = "01J0"\n[pipelines]\npaths = ["pipelines"]\n[stacks.local]\n'
    b'orchestrator = "local"\n[metrics]\naccuracy = { direction = "max" }\n'
    b"[policy.production]\nmin = 1\n"
)

TARGETS = (
    Target("pack", _pack, lambda: [_store_files()[0], *_golden("pack")]),
    Target("index", _index, lambda: [_store_files()[1], *_golden("idx")]),
    Target("abandoned", _abandoned, lambda: [_store_files()[0], *_golden("pack")]),
    Target("tree", _arrow_tree, lambda: [arrow.encode(_example_tree())]),
    Target("paths", _paths, lambda: [b"a/b\nc.txt\na/d", b"x\nX", b".git/config", "é\n".encode()]),
    Target("link", _link, lambda: [b"a/b\n../c", b"a\n..", b"a/b\n/etc", b"a/b/c\n../../d/e"]),
    Target(
        "pointer",
        _pointer,
        lambda: [Pointer(Digest("ab" * 32), "tree", 12, {"note": "x"}).encode()],
    ),
    Target("record", _record, _record_seeds),
    Target(
        "metrics",
        _metrics,
        lambda: [codec.metrics_to_json({"a": 0.5, "b": float("nan"), "c": 1e300})],
    ),
    Target("commit", _commit, lambda: [_COMMIT]),
    Target("tag", _tag, lambda: [_tag_seed()]),
    Target(
        "git tree",
        parse_tree,
        lambda: [b"100644 a\0" + b"x" * 20 + b"40000 b\0" + b"y" * 20],
        (ValueError,),
    ),
    Target("note", _note, lambda: [_record_seeds()[-1].replace(b"\n", b"")]),
    Target("journal", _journal, lambda: [_journal_seed()]),
    Target("settings", _settings, lambda: [_SETTINGS]),
    Target("line served", _served, _line_seeds),
    Target("line answered", _answered, _line_seeds),
    Target(
        "remote url",
        _remote_url,
        lambda: [
            *(b"s3://bucket/prefix?endpoint=https://h&region=x", b"ssh://ada@host:22/lake"),
            *(b"ada@host:lake", b"https://host:8/lake", b"../lake", b"file:///lake", b"[::1]:lake"),
        ],
    ),
    Target(
        "profiles",
        _profiles,
        lambda: [b"[lake]\naws_access_key_id = A\nregion=x\n[default]\nsso_session = y\n"],
    ),
    Target("identity", _identity, lambda: [b"12+345+host+boot.1"]),
    Target("json value", _value("json"), _saved("json", lambda: {"a": [1, 2.5, None, b"x"]})),
    Target("npy value", _value("npy"), _saved("npy", _array)),
    Target("arrow value", _value("arrow"), _saved("arrow", _table)),
    Target("pandas value", _value("pandas"), _saved("pandas", _frame)),
    Target("structured value", _value("structured"), _structured_seeds),
    Target("documents", _documents, lambda: [b"<p>\xc3\xa9</p>", b"# A\n\n- b", b"a,b\r\n1,2\n"]),
    Target("boosted value", _boosted, lambda: [_boosted_seed()]),
    Target(
        "safetensors value",
        _value("safetensors"),
        _saved("safetensors", _named_arrays, _ordered_arrays),
    ),
    Target("items value", _value("items"), _saved("items", _items)),
    Target("polars value", _value("polars"), _saved("polars", _polars)),
    Target("image value", _value("image"), _saved("image", _picture)),
    Target("plotly value", _value("plotly"), _saved("plotly", _chart)),
    Target("onnx value", _value("onnx"), _saved("onnx", _graph)),
    Target("matrix value", _value("confusion_matrix"), _saved("confusion_matrix", _matrix)),
    Target("preview", _preview, _preview_seeds),
    Target("run configuration", _run_configuration, lambda: list(_CONFIGURATION_SEEDS)),
    Target("tensors", _tensors, _tensor_seeds),
    Target("stat cache", _stat_cache, lambda: [_stat_cache_seed()]),
    Target("globs", _globs, lambda: [b"*.png\na/b.png", b"a/**/[!x]?.txt\na/b/yz.txt"]),
    Target("ignores", _ignores, lambda: [b"data\0# x\n*.pyc\n/b\n", b"a b \0\r\n/x\r\n"]),
    Target("tables", _tables, lambda: list(_table_seeds())),
)
