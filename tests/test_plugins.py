from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitml import plugins
from gitml.errors import AmbiguousName, GitmlError

GROUP = "gitml.materializers"


def install(folder: Path, distribution: str, group: str, **entries: str) -> None:
    """A distribution with these entry points, found on ``folder``."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_built_in_is_found_by_its_name() -> None:
    found = plugins.find(GROUP, "json")
    assert found is not None and found.name == "json"
    assert plugins.find(GROUP, "none such") is None
    assert plugins.find("gitml.none_such", "json") is None


def test_every_built_in_can_be_imported() -> None:
    for group, table in plugins.BUILT_IN.items():
        for name in table:
            assert plugins.find(group, name) is not None


def test_an_installed_plugin_stands_beside_the_built_ins(site: Path) -> None:
    install(site, "acme-one", GROUP, counter="collections:Counter")
    from collections import Counter

    assert plugins.find(GROUP, "counter") is Counter
    assert dict(plugins.installed(GROUP))["counter"] is Counter
    names = plugins.names(GROUP)
    assert names == sorted(names) and {"counter", "json"} <= set(names)


def test_a_plugin_cannot_replace_a_built_in(site: Path) -> None:
    install(site, "acme-one", GROUP, json="collections:Counter")
    assert plugins.find(GROUP, "json").name == "json"
    assert "json" not in dict(plugins.installed(GROUP))


def test_two_claims_to_one_name_are_named(site: Path) -> None:
    install(site, "acme-one", "gitml.checks", mine="collections:Counter")
    install(site, "acme-two", "gitml.checks", mine="collections:deque")
    with pytest.raises(AmbiguousName, match="claimed by acme-one, acme-two"):
        plugins.find("gitml.checks", "mine")


@pytest.mark.parametrize("target", ["no_such_module_anywhere:Thing", "collections:NoSuchThing"])
def test_a_broken_plugin_is_named(site: Path, target: str) -> None:
    install(site, "acme-one", "gitml.checks", broken=target)
    with pytest.raises(GitmlError, match="the plugin `broken` of acme-one cannot be imported"):
        plugins.find("gitml.checks", "broken")
    with pytest.raises(GitmlError, match="`broken`"):
        list(plugins.installed("gitml.checks"))
    assert "broken" in plugins.names("gitml.checks")


def test_nothing_is_scanned_for_a_built_in() -> None:
    script = (
        f"import sys; sys.path[:] = {sys.path!r}; from gitml import plugins;"
        f"plugins.find({GROUP!r}, 'json'); sys.exit('importlib.metadata' in sys.modules)"
    )
    subprocess.run([sys.executable, "-S", "-c", script], check=True)
