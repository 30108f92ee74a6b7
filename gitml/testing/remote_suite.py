"""What every remote must do, as tests: subclass `RemoteSuite`, say how to open an empty one.

    class TestMine(RemoteSuite):
        def remote(self, folder):
            return MyRemote.open("mine://place/" + secrets.token_hex(4), Access(folder))

        def again(self, remote):
            return MyRemote.open(remote.url, Access(Path()))

The tests are the laws of `gitml.remotes.base`. A flavor that only reads also defines ``plant``,
which puts an object there by other means.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gitml.errors import (
    AuthenticationFailed,
    CorruptData,
    GitmlError,
    MissingBytes,
    RaceLost,
    RemoteFailed,
    UsageError,
)
from gitml.remotes.base import Content, FilePart, Remote, check_key
from gitml.remotes.layers import Counted, Limited, Retrying
from gitml.remotes.transfer import download

KEY = "packs/" + "ab" * 32 + ".pack"
OTHER = "packs/" + "cd" * 32 + ".idx"
BAD_KEYS = (
    *("", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/..", "A", "a b", "a\nb", "é"),
    *(".tmp/a", "a/.b", "a.", "a?b", "a%2e", "a#b", "a\\b", "a:b", "-a", "a" * 201, "a\0b", "a\n"),
)


class RemoteSuite:
    """The conformance tests of one flavor; a subclass is collected when named ``Test…``."""

    large: int = 5 << 20
    """Bytes of the largest object of the tests: more than a piece."""
    page: int = 1_000
    """Objects in a page of the service's listings; fewer where it has no pages."""
    many: int = 1_500
    """Keys that are asked for at once."""

    def remote(self, folder: Path) -> Remote:
        """A new, empty place, opened; ``folder`` is scratch."""
        raise NotImplementedError

    def again(self, remote: Remote) -> Remote:
        """The same place, opened by someone else."""
        raise NotImplementedError

    def plant(self, remote: Remote, key: str, data: bytes) -> None:
        """Put an object there; defined by a flavor that only reads, by other means."""
        remote.put(key, data)

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Remote]:
        """The empty place of one test."""
        with closing(self.remote(tmp_path)) as remote:
            yield remote

    @pytest.fixture
    def writable(self, place: Remote) -> Remote:
        """The same, where the flavor writes."""
        if not place.capabilities.writes:
            pytest.skip("this flavor only reads")
        return place

    # Reading

    def test_an_empty_place_has_nothing(self, place: Remote) -> None:
        """Asking for what is not there is an answer, reading it an error of its own class."""
        assert place.stat([KEY, OTHER]) == {}
        assert place.stat([]) == {}
        assert place.path_of(KEY) is None
        for read in (
            lambda: list(place.get(KEY)),
            lambda: place.get_range(KEY, 0, 1),
            lambda: place.read(KEY, 10),
        ):
            with pytest.raises(MissingBytes):
                read()

    def test_what_comes_is_what_was_put(self, place: Remote) -> None:
        """Sizes from nothing to more than a piece, whole and in ranges."""
        source = random.Random(7)  # noqa: S311 - bytes to compare
        for size in (0, 1, 4096, (1 << 20) + 1, self.large):
            data = source.randbytes(size)
            self.plant(place, KEY, data)
            assert place.stat([KEY, OTHER]) == {KEY: size}
            assert b"".join(place.get(KEY)) == data
            assert place.read(KEY, size) == data
            for start, length in ((0, size), (size // 3, size // 2), (size - min(size, 5), 0)):
                wanted = data[start : start + length]
                assert place.get_range(KEY, start, length) == wanted
                assert b"".join(place.get(KEY, start, length)) == wanted
            assert b"".join(place.get(KEY, size // 2)) == data[size // 2 :]

    def test_a_range_beyond_the_end_is_an_error(self, place: Remote) -> None:
        """An object that is shorter than its manifest says must not look like a whole one."""
        self.plant(place, KEY, b"0123456789")
        for start, length in ((0, 11), (5, 6), (10, 1), (100, 1)):
            with pytest.raises(CorruptData):
                place.get_range(KEY, start, length)
            with pytest.raises(CorruptData):
                list(place.get(KEY, start, length))
        assert list(place.get(KEY, 10)) == []
        with pytest.raises(CorruptData):
            list(place.get(KEY, 11))

    def test_a_read_is_bounded(self, place: Remote) -> None:
        """What should be small and is not must not fill the memory."""
        self.plant(place, KEY, b"x" * 100_000)
        with pytest.raises(CorruptData):
            place.read(KEY, 99_999)

    def test_a_stream_can_be_left(self, place: Remote) -> None:
        """And the remote answers as before."""
        data = os.urandom(self.large)
        self.plant(place, KEY, data)
        stream = place.get(KEY)
        first = next(stream)
        assert data.startswith(first)
        del stream
        assert place.get_range(KEY, 0, 10) == data[:10]

    def test_many_are_asked_for_at_once(self, place: Remote) -> None:
        """More keys than fit any one request."""
        keys = [f"objects/{number:05}" for number in range(self.many)]
        for key in keys[::500]:
            self.plant(place, key, key.encode())
        assert place.stat(iter(keys)) == dict.fromkeys(keys[::500], len(keys[0]))

    def test_many_threads_read_at_once(self, place: Remote) -> None:
        """What one reads is never what another has asked for."""
        keys = [f"objects/{number}" for number in range(8)]
        for key in keys:
            self.plant(place, key, key.encode() * 5_000)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda key: place.read(key, 1 << 20), keys * 4))
        assert found == [key.encode() * 5_000 for key in keys * 4]

    def test_a_file_is_filled_and_gone_on_with(self, place: Remote, tmp_path: Path) -> None:
        """In parts, at once where that pays, from where it was left."""
        data = os.urandom(self.large)
        self.plant(place, KEY, data)
        counted = Counted(Retrying(Limited(place, 4)))
        target = tmp_path / "target"
        target.write_bytes(data[: self.large // 2])
        arrived: list[int] = []
        download(counted, KEY, len(data), target, part=1 << 19, arrived=arrived.append)
        assert target.read_bytes() == data
        assert sum(arrived) == len(data)
        assert counted.counts.received == len(data) - self.large // 2

    # Writing

    def test_bytes_files_and_parts_are_put(self, writable: Remote, tmp_path: Path) -> None:
        """Each in its own way, with the same outcome; the file is left as it was."""
        data = os.urandom(self.large)
        file = tmp_path / "source"
        file.write_bytes(data)
        writable.put("a/whole", file)
        writable.put("a/part", FilePart(file, 1000, 70_000))
        writable.put("a/tail", FilePart(file, self.large - 10, 10))
        writable.put("a/none", FilePart(file, 10, 0))
        there = self.again(writable)
        with closing(there):
            assert b"".join(there.get("a/whole")) == data
            assert there.read("a/part", 1 << 20) == data[1000:71_000]
            assert there.read("a/tail", 10) == data[-10:]
            assert there.read("a/none", 0) == b""
        assert file.read_bytes() == data

    def test_many_are_put_at_once(self, writable: Remote, tmp_path: Path) -> None:
        """Bytes, files and parts together; what was there is replaced; what went is told of."""
        file = tmp_path / "source"
        file.write_bytes(os.urandom(200_000))
        writable.put("many/000", b"before")
        wanted = {f"many/{number:03}": b"%d" % number * 50 for number in range(40)}
        wanted[KEY] = file.read_bytes()
        wanted[OTHER] = file.read_bytes()[10:5_010]
        contents: dict[str, Content] = {**wanted, KEY: file, OTHER: FilePart(file, 10, 5_000)}
        sent: list[int] = []
        counted = Counted(Retrying(Limited(writable, 3)))
        counted.put_all(iter(contents.items()), sent.append)
        assert sum(sent) == counted.counts.sent == sum(map(len, wanted.values()))
        assert counted.counts.calls == {"put": len(wanted)}
        with closing(self.again(writable)) as there:
            assert there.stat(wanted) == {key: len(data) for key, data in wanted.items()}
            for key in (KEY, OTHER, "many/000", "many/039"):
                assert there.read(key, 1 << 20) == wanted[key]
        writable.put_all([])

    def test_of_many_that_fail_none_is_torn(self, writable: Remote, tmp_path: Path) -> None:
        """Some may be there, but none of them in part."""
        contents: list[tuple[str, Content]] = [(f"many/{at}", b"whole") for at in range(6)]
        contents.insert(3, (KEY, tmp_path / "absent"))
        with pytest.raises(GitmlError):
            writable.put_all(contents)
        found = writable.stat([key for key, _ in contents])
        assert KEY not in found
        assert set(found.values()) <= {5}

    def test_a_put_replaces(self, writable: Remote) -> None:
        """So that a damaged object can be healed."""
        writable.put(KEY, b"damaged bytes")
        writable.put(KEY, b"good")
        assert writable.read(KEY, 10) == b"good"

    def test_a_put_that_fails_leaves_nothing(self, writable: Remote, tmp_path: Path) -> None:
        """A source that ends early, or is not there: no key, and what was there stays."""
        short = tmp_path / "short"
        short.write_bytes(b"x" * 100)
        writable.put(OTHER, b"before")
        for source in (FilePart(short, 50, 100), tmp_path / "absent"):
            for key in (KEY, OTHER):
                with pytest.raises(GitmlError):
                    writable.put(key, source)
        assert writable.stat([KEY, OTHER]) == {OTHER: 6}
        assert writable.read(OTHER, 6) == b"before"

    def test_one_of_many_creates(self, writable: Remote) -> None:
        """Exactly one wins, and what it wrote is what is there."""
        if not writable.capabilities.create:
            pytest.skip("this flavor cannot create only")

        def create(number: int) -> bool:
            try:
                writable.put(KEY, b"%d" % number * 1000, create=True)
            except RaceLost:
                return False
            return True

        with ThreadPoolExecutor(6) as threads:
            won = [number for number, has in enumerate(threads.map(create, range(6))) if has]
        assert len(won) == 1
        assert writable.read(KEY, 1000) == b"%d" % won[0] * 1000
        with pytest.raises(RaceLost):
            writable.put(KEY, b"again", create=True)

    def test_many_write_one_key_at_once(self, writable: Remote) -> None:
        """Nobody ever reads a mixture, or a part."""
        versions = [bytes([number]) * 300_000 for number in range(4)]
        writable.put(KEY, versions[0])

        def put_and_read(number: int) -> bool:
            writable.put(KEY, versions[number % 4])
            return writable.read(KEY, 300_000) in versions

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(put_and_read, range(16)))

    def test_it_lists_by_prefix(self, writable: Remote) -> None:
        """Prefixes are of text, as object stores have them."""
        if not writable.capabilities.lists:
            pytest.skip("this flavor cannot list")
        for key in ("packs/a1.pack", "packs/a1.idx", "packs/b2.pack", "pack", "format", "x/y/z"):
            writable.put(key, key.encode())

        def keys(prefix: str) -> list[str]:
            return sorted(one.key for one in writable.list(prefix))

        assert keys("packs/") == ["packs/a1.idx", "packs/a1.pack", "packs/b2.pack"]
        assert keys("packs/a1") == ["packs/a1.idx", "packs/a1.pack"]
        assert keys("pack") == ["pack", "packs/a1.idx", "packs/a1.pack", "packs/b2.pack"]
        assert keys("x/") == ["x/y/z"]
        assert keys("nothing/") == []
        assert len(keys("")) == 6
        entry = next(iter(writable.list("form")))
        assert (entry.key, entry.size) == ("format", 6)
        assert entry.modified > 1.5e9

    def test_many_are_listed(self, writable: Remote) -> None:
        """More than a page of any service; each once."""
        if not writable.capabilities.lists:
            pytest.skip("this flavor cannot list")
        keys = [f"many/{number:04}" for number in range(self.page + 20)]
        with ThreadPoolExecutor(writable.capabilities.parallel) as threads:
            list(threads.map(lambda key: writable.put(key, b"x"), keys))
        assert sorted(one.key for one in writable.list("many/")) == keys
        writable.delete(keys)
        assert list(writable.list("many/")) == []

    def test_it_deletes(self, writable: Remote) -> None:
        """What is not there is deleted too."""
        writable.put(KEY, b"x")
        writable.put(OTHER, b"y")
        writable.delete([KEY, "packs/never.pack"])
        assert writable.stat([KEY, OTHER]) == {OTHER: 1}
        writable.delete([])

    def test_who_only_reads_says_so(self, place: Remote) -> None:
        """In an error of ours, with nothing changed."""
        if place.capabilities.writes:
            pytest.skip("this flavor writes")
        for write in (lambda: place.put(KEY, b"x"), lambda: place.delete([KEY])):
            with pytest.raises((RemoteFailed, AuthenticationFailed)):
                write()  # type: ignore[no-untyped-call]
        if not place.capabilities.lists:
            with pytest.raises(RemoteFailed):
                list(place.list())

    # Both

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_what_is_no_key_is_refused(self, place: Remote, key: str) -> None:
        """By every method, before anything is sent."""
        with pytest.raises(UsageError):
            check_key(key)
        for use in (
            lambda: place.stat([key]),
            lambda: list(place.get(key)),
            lambda: place.get_range(key, 0, 1),
            lambda: place.put(key, b"x"),
            lambda: place.delete([key]),
            lambda: place.path_of(key),
        ):
            with pytest.raises((UsageError, RemoteFailed)):
                use()

    def test_the_url_holds_no_secret(self, place: Remote) -> None:
        """It is printed, and written into logs."""
        assert "@" not in place.url or ":" not in place.url.partition("@")[0].partition("//")[2]
