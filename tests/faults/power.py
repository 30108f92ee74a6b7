"""A disk that loses power: ext4 on a loop device, shut down in the middle of a command.

The ioctl stops the file system at once. What was not in its journal or on the device by then is
gone, as after a power cut; mounting it again replays the journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, ``_IOR('X', 125, __u32)``."""

WITH_JOURNAL = 1
"""The journal is flushed first: names are there whose bytes, if nobody flushed them, are not."""

WITHOUT_JOURNAL = 2
"""Nothing is flushed: the latest that was made durable is all there is."""


class NoDisk(Exception):
    """No disk can be mounted by this user on this machine."""


class Disk:
    """A mounted ext4 of 64 MiB in a file; unmounted by `close`."""

    def __init__(self, folder: Path) -> None:
        """Make and mount it; raises NoDisk."""
        folder.mkdir()
        self._image = folder / "image"
        self.path = folder / "disk"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(64 << 20)
        try:
            _execute("mkfs.ext4", "-q", "-F", str(self._image))
            self._mount()
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise NoDisk(str(error)) from error

    def cut(self, flags: int) -> None:
        """Cut the power: every later call on the disk fails."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, flags.to_bytes(4, "little"))
        finally:
            os.close(descriptor)

    def restart(self) -> None:
        """Mount it again as it is after the power came back."""
        self._unmount()
        self._mount()

    def close(self) -> None:
        """Unmount it for good."""
        self._unmount()
        self._image.unlink()

    def _mount(self) -> None:
        _execute("mount", "-t", "ext4", "-o", "loop", str(self._image), str(self.path))

    def _unmount(self) -> None:
        """Unmount when the last dead process has let go of it."""
        for attempt in range(200):
            done = subprocess.run(["umount", str(self.path)], capture_output=True, check=False)
            if done.returncode == 0:
                return
            gc.collect()  # what this process judged by may still be open
            time.sleep(0.01 * (attempt % 10 + 1))
        raise AssertionError(done.stderr.decode())


@contextlib.contextmanager
def disk_in(folder: Path) -> Iterator[Disk]:
    """A disk for the length of a block."""
    disk = Disk(folder)
    try:
        yield disk
    finally:
        disk.close()


class Cutter(threading.Thread):
    """Waits until a process of a session stands still, cuts the power there and ends the session.

    ``has_cut`` says whether it came to that before the session ended by itself. A stopped process
    that is traced looks as one does for a moment at each of its calls; so it counts as standing
    still when it has not been at work for a while.
    """

    def __init__(self, disk: Disk, session: int, flags: int) -> None:
        super().__init__(daemon=True)
        self.has_cut = False
        self._disk = disk
        self._session = session
        self._flags = flags

    def run(self) -> None:
        before: dict[str, str] = {}
        while now := dict(_standing(self._session)):
            if any(switches and before.get(pid) == switches for pid, switches in now.items()):
                self._disk.cut(self._flags)
                self.has_cut = True
                with contextlib.suppress(ProcessLookupError):  # it found that its disk is gone
                    os.killpg(self._session, signal.SIGKILL)
                return
            before = now
            time.sleep(0.02)


def _standing(session: int) -> Iterator[tuple[str, str]]:
    """The living processes of a session, each with how often it was at work if it is stopped."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, found = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(found) == session and state not in "ZX":
                lines = (path / "status").read_text().splitlines()
                switches = [line for line in lines if "ctxt_switches" in line]
                yield path.name, "".join(switches) if state in "tT" else ""


def _execute(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
