"""From a URL to a flavor."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.errors import ConfigError
from gitml.remotes.base import Access
from gitml.remotes.opening import flavor_of, open_remote, scheme_of
from tests.test_plugins import install


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("s3://bucket/prefix", "s3"),
        ("S3://bucket", "s3"),
        ("ssh://ada@host:22/srv/lake", "ssh"),
        ("ada@host:lake", "ssh"),
        ("host:/srv/lake", "ssh"),
        ("[::1]:lake", "ssh"),
        ("/srv/lake", "file"),
        ("../lake", "file"),
        ("./a:b", "file"),
        ("lake", "file"),
        ("file:///srv/lake", "file"),
        ("https://host/lake", "https"),
    ],
)
def test_the_scheme_of_a_url(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


@pytest.mark.parametrize("url", ["s4://bucket", "gopher://x/y", "mailto://x"])
def test_an_unknown_scheme_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        flavor_of(url)
    assert "://" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url", ["s3://AKIA:secret@bucket/x", "https://ada:pw@host/lake", "ssh://ada:pw@host/lake"]
)
def test_a_secret_in_a_url_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_remote(url, Access(tmp_path))
    assert "secret" not in str(caught.value) and "pw" not in str(caught.value)
    assert caught.value.hint


def test_a_plugin_brings_a_kind_of_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one entry point, as GCS, Azure, WebDAV and SFTP will come."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_lake.py").write_text(
        "from pathlib import Path\n"
        "from gitml.remotes.folder import FolderRemote\n\n\n"
        "class AcmeRemote(FolderRemote):\n"
        "    @classmethod\n"
        "    def open(cls, url, access):\n"
        "        return cls(Path('/acme') / url.removeprefix('acme://'))\n"
    )
    install(tmp_path, "acme-lake", "gitml.remotes", acme="acme_lake:AcmeRemote")
    remote = open_remote("acme://lake", Access(tmp_path))
    assert remote.url == "/acme/lake"
    assert type(remote).__name__ == "Retrying"
