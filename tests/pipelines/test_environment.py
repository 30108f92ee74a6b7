"""``environment.txt``: what a run ran with, sorted, without credentials or paths of a machine."""

from __future__ import annotations

import json
import platform
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from gitml.pipelines import environment


def distribution(folder: Path, name: str, version: str, origin: object = None) -> Distribution:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (info / "direct_url.json").write_text(text)
    return PathDistribution(info)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "lib==1.0"),
        (
            {"url": "https://host/x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"lib @ git+https://host/x@{COMMIT}",
        ),
        (
            {"url": "https://me:pass@host/x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"lib @ git+https://host/x@{COMMIT}",
        ),
        (
            {"url": "ssh://git@host/x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"lib @ git+ssh://host/x@{COMMIT}",
        ),
        ({"url": "https://host/x.whl", "archive_info": {}}, "lib @ https://host/x.whl"),
        ({"url": "https://t0ken@host/x.whl", "archive_info": {}}, "lib @ https://host/x.whl"),
        ({"url": "file:///builds/x.whl", "archive_info": {}}, "lib==1.0"),
        ({"url": "file:///builds/x", "dir_info": {"editable": True}}, "lib==1.0"),
        ("not json", "lib==1.0"),
        ({"url": 7}, "lib==1.0"),
    ],
)
def test_where_a_distribution_came_from(tmp_path: Path, origin: object, expected: str) -> None:
    made = distribution(tmp_path, "lib", "1.0", origin)
    assert environment._requirement(made) == expected


def test_lines_are_sorted_and_each_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [distribution(tmp_path, name, "1") for name in ("zeta", "Alpha", "beta")]
    monkeypatch.setattr(environment, "distributions", lambda: [*found, found[0]])
    text = environment.environment_text.__wrapped__().decode()
    assert text.splitlines() == [
        f"# python CPython {platform.python_version()}",
        f"# platform {platform.system()} {platform.machine()}",
        "Alpha==1",
        "beta==1",
        "zeta==1",
    ]
    assert text.endswith("\n")
