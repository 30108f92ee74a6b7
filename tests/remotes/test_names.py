"""Which remotes there are, and which one is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml import config as configuration
from gitml.errors import ConfigError, InvalidName, NameNotFound, UsageError
from gitml.remotes.names import known_remotes, remote_named


def config(folder: Path, text: str) -> configuration.Config:
    path = folder / "gitml.toml"
    path.write_text('[project]\nid = "x"\n' + text)
    return configuration.read(path)


def test_the_table_and_git_together(tmp_path: Path) -> None:
    shared = config(tmp_path, '[remotes.lake]\nurl = "/a"\n[remotes.sea]\nurl = "/b"\n')
    settings = {
        "gitml.remote.sea.url": "/c",
        "gitml.remote.Own.url": "/d",
        "gitml.remote.lake.command": "/opt/gitml",
        "gitml.remote": "sea",
        "gitml.stack": "default",
    }
    known = known_remotes(shared, settings)
    assert [(one.name, one.url, one.is_default, one.is_shared) for one in known.values()] == [
        ("lake", "/a", False, True),
        ("sea", "/c", True, False),
        ("Own", "/d", False, False),
    ]
    assert known["lake"].settings == {"command": "/opt/gitml"}
    assert remote_named(known, None).name == "sea"
    assert remote_named(known, "Own").url == "/d"


def test_which_one_is_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no remote for bytes") as none:
        remote_named({}, None)
    assert "gitml remote add" in (none.value.hint or "")
    only = known_remotes(config(tmp_path, '[remotes.lake]\nurl = "/a"\n'), {})
    assert remote_named(only, None).name == "lake"
    two = config(tmp_path, '[remotes.lake]\nurl = "/a"\n[remotes.sea]\nurl = "/b"\n')
    with pytest.raises(UsageError, match="several remotes and none is the default: lake, sea"):
        remote_named(known_remotes(two, {}), None)
    marked = config(tmp_path, '[remotes.lake]\nurl="/a"\n[remotes.sea]\nurl="/b"\ndefault=true\n')
    assert remote_named(known_remotes(marked, {}), None).name == "sea"
    assert remote_named(known_remotes(marked, {"gitml.remote": "lake"}), None).name == "lake"
    with pytest.raises(NameNotFound, match="no remote is called `lak`"):
        remote_named(known_remotes(marked, {}), "lak")


@pytest.mark.parametrize(
    ("text", "settings", "error", "words"),
    [
        ("[remotes.lake]\n", {}, ConfigError, "has no URL"),
        ("", {"gitml.remote": "sea"}, ConfigError, "`sea` is not there"),
        ("", {"gitml.remote.lake.url": "https://a:b@host/x"}, ConfigError, "password"),
        (
            '[remotes.lake]\nurl="/a"\n',
            {"gitml.remote.Lake.url": "/b"},
            InvalidName,
            "in case",
        ),
        ('[remotes."a b"]\nurl="/a"\n', {}, InvalidName, "not a name"),
        (
            '[remotes.a]\nurl="/a"\ndefault=true\n[remotes.b]\nurl="/b"\ndefault=true\n',
            {},
            ConfigError,
            "two remotes are the default: a and b",
        ),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, settings: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        known_remotes(config(tmp_path, text), settings)
