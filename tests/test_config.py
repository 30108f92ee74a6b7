"""What ``gitml.toml`` says of the hooks, and sizes as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitml.config import FILE_LIMIT, parse_age, parse_size, read, with_remote, without_remote
from gitml.errors import ConfigError

PROJECT = '[project]\nid = "x"\n'


def settings(folder: Path, text: str) -> Path:
    path = folder / "gitml.toml"
    path.write_text(PROJECT + text)
    return path


def test_the_hooks_have_settings(tmp_path: Path) -> None:
    assert read(settings(tmp_path, "")).file_limit == FILE_LIMIT
    found = read(settings(tmp_path, '[hooks]\nlimit = "50 MB"\nexclude = ["tests/"]\n'))
    assert (found.file_limit, found.unchecked, found.unknown) == (50_000_000, ("tests/",), ())


@pytest.mark.parametrize(
    "text", ['limit = "much"', "limit = 5", 'exclude = "tests/"', 'limit = "-1 MB"']
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"hooks\.(limit|exclude)"):
        read(settings(tmp_path, f"[hooks]\n{text}\n"))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1234", 1234),
        ("10 MB", 10_000_000),
        ("10mb", 10_000_000),
        ("1.5 kB", 1500),
        ("64 KiB", 65536),
        (" 2G ", 2_000_000_000),
        ("1 TiB", 1 << 40),
        ("7 B", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "a limit") == size


@pytest.mark.parametrize("text", ["", "MB", "1 XB", "1e9", "-5", "1,5 MB", "inf", "9" * 40])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="a limit should be a size"):
        parse_size(text, "a limit")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("10m", 600), ("1.5h", 5400), ("30d", 2_592_000), (" 2 w ", 1_209_600)],
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text, "an age") == seconds


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "1 year", "1e3s", "inf"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(ConfigError, match="an age should be a length of time, like"):
        parse_age(text, "an age")


# Remotes are written into the file, and all else stays


def test_a_remote_comes_and_goes_and_the_rest_stays(tmp_path: Path) -> None:
    text = PROJECT + "\n# what better means\n[metrics.a]\ndirection = 'max' # so\n"
    one = with_remote(text, "lake", "s3://b/x?endpoint=https://h", default=True)
    two = with_remote(one, "sea.x", '/a "b"', default=True)
    assert one.startswith(text) and "# so" in two
    read_back = read(settings(tmp_path, two.removeprefix(PROJECT)))
    assert read_back.remotes == {"lake": "s3://b/x?endpoint=https://h", "sea.x": '/a "b"'}
    assert read_back.default_remote == "sea.x"
    assert without_remote(one, "lake") == text
    left = without_remote(two, "lake")
    assert "lake" not in left
    assert without_remote(left, "sea.x") == text


def test_what_is_said_of_the_next_table_stays() -> None:
    text = '[remotes.lake]\n# ours\nurl = "x"\n\n# about pipelines\n[pipelines]\npaths = ["a"]\n'
    assert without_remote(text, "lake").strip() == text.partition("\n\n")[2].strip()


@pytest.mark.parametrize(
    "text", ['[remotes]\nlake = { url = "x" }\n', '[remotes]\nlake.url = "x"\n', "[remotes\n"]
)
def test_a_file_that_is_written_otherwise_is_left_to_people(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        without_remote(text, "lake")


def test_the_default_of_another_table_is_its_own() -> None:
    text = '[stacks.a]\ndefault = true\n[remotes.lake]\nurl = "x"\ndefault = true\n'
    changed = with_remote(text, "sea", "/y", default=True)
    assert changed.startswith(
        '[stacks.a]\ndefault = true\n[remotes.lake]\nurl = "x"\n\n[remotes.sea]'
    )
