from __future__ import annotations

from pathlib import Path

from gitml.store.directory import list_directory
from gitml.store.store import Store


def test_rows_and_objects_say_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "plain").write_text("x")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("plain")
    (folder / "caf\udce9").write_text("not UTF-8")
    with Store(tmp_path / "store").writer() as writer:
        members = writer.put_members(folder, list_directory(folder).names)
    assert len(members) == 4
    for member, raw, row in zip(members, members.raw_names(), members.rows(), strict=True):
        now = (folder / member.entry.path).lstat()
        assert raw == member.entry.raw_path
        assert row.digest == member.entry.digest.raw
        for name in row._fields[1:]:
            assert getattr(row, name) == getattr(member.stat, name), name
            assert name == "st_atime_ns" or getattr(row, name) == getattr(now, name), name
