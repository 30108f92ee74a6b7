"""Removing files below a root without ever following a symbolic link on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gitml.fs import storage_errors

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Remover:
    """Removes files and empty folders below ``root``; a context manager.

    The folder of the last file stays open, since most come sorted.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder: str | None = None
        self._descriptor = -1

    def __enter__(self) -> Remover:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def remove(self, path: str) -> None:
        """Remove a file or link; what is gone already is fine. Raises StorageError."""
        folder, _, name = path.rpartition("/")
        with storage_errors(self._root / path, "remove"), suppress(FileNotFoundError):
            if self._open(folder):
                os.unlink(os.fsencode(name), dir_fd=self._descriptor)

    def prune(self, paths: Iterable[str], *, stop: str) -> None:
        """Remove the folders above some paths that are empty now, but ``stop`` and those above it.

        A folder in which something is left stays.
        """
        folders = {folder for path in paths for folder in _above(path) if _is_inside(folder, stop)}
        for folder in sorted(folders, key=lambda one: one.count("/"), reverse=True):
            parent, _, name = folder.rpartition("/")
            with storage_errors(self._root / folder, "remove"):
                if self._open(parent):
                    _remove_if_empty(name, self._descriptor)

    def _open(self, folder: str) -> bool:
        """Have the descriptor be that of a folder; False where it is gone or not a folder."""
        if folder == self._folder:
            return True
        self._close()
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for component in folder.split("/") if folder else ():
            try:
                below = os.open(os.fsencode(component), _FOLDER, dir_fd=descriptor)
            except (FileNotFoundError, NotADirectoryError):
                return False
            except OSError as error:
                if error.errno == errno.ELOOP:
                    return False
                raise
            finally:
                os.close(descriptor)
            descriptor = below
        self._folder, self._descriptor = folder, descriptor
        return True

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._folder, self._descriptor = None, -1


def _remove_if_empty(name: str, descriptor: int) -> None:
    try:
        os.rmdir(os.fsencode(name), dir_fd=descriptor)
    except OSError as error:
        if error.errno not in (
            errno.ENOTEMPTY,
            errno.EEXIST,
            errno.ENOENT,
            errno.ENOTDIR,
            errno.EBUSY,
        ):
            raise


def _above(path: str) -> Iterable[str]:
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _is_inside(folder: str, stop: str) -> bool:
    """Whether a folder is below ``stop``."""
    return not stop or folder.startswith(f"{stop}/")
