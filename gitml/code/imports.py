"""Which files an import reaches: repository files by reading folders, everything else by version.

No user code runs here: only the top-level name is looked up through Python's own finders (which
knows editable installs and path hooks); below it, packages are searched as folders.
"""
# Paths are plain text here: a plan looks at thousands, and Path is ten times dearer.
# ruff: noqa: PTH100, PTH112, PTH113, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import find_spec
from pathlib import Path

ABSENT = "absent"
_ENVIRONMENTS = frozenset({"site-packages", "dist-packages"})
_SUFFIXES = (*EXTENSION_SUFFIXES, ".py", ".pyc")
_WHEEL = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.dist-info\Z")
# Imports whose distribution has another name; each is believed only if its RECORD agrees.
_RENAMED = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "git": "gitpython",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Imported:
    """What one import reaches: local files by dotted name, and top-level names of other people.

    ``files`` are pairs of repository path and dotted name, parent packages first.
    """

    files: tuple[tuple[str, str], ...] = ()
    foreign: str | None = None


@dataclass(frozen=True)
class _Top:
    """A top-level module: its own file if it has one, and the folders of its submodules."""

    file: str | None
    folders: tuple[str, ...] = ()
    is_local: bool = False


class Territory:
    """The part of the file system that is the repository's own code and data.

    Outside are ``.git``, installed packages and virtual environments, also those that stand inside
    the root: their identity is a version, not their files.
    """

    def __init__(self, root: Path) -> None:
        self.root = os.path.abspath(root)
        self._roots = tuple({self.root: None, os.path.realpath(root): None})
        self._environments: dict[str, bool] = {}
        self._paths: dict[str, str | None] = {}

    def inside(self, file: str) -> str | None:
        """The repository path (posix) of an absolute path below the root, or None.

        Cheap and only textual, except that the root's real path is known too.
        """
        for root in self._roots:
            if file.startswith(root + os.sep):
                relative = file[len(root) + 1 :].replace(os.sep, "/")
                parts = relative.split("/")
                return None if ".git" in parts or not _ENVIRONMENTS.isdisjoint(parts) else relative
        return None

    def is_root(self, folder: str) -> bool:
        """Whether an absolute path is the root itself."""
        return folder in self._roots

    def path_of(self, file: str) -> str | None:
        """The repository path of a file that is the repository's own, or None."""
        if file not in self._paths:
            path = self.inside(file) or self.inside(os.path.realpath(file))
            ours = path is not None and not self._in_environment(path.rpartition("/")[0])
            self._paths[file] = path if ours else None
        return self._paths[file]

    def _in_environment(self, folder: str) -> bool:
        """Whether a folder below the root belongs to a virtual environment."""
        if not folder:
            return False
        known = self._environments.get(folder)
        if known is None:
            known = os.path.isfile(os.path.join(self.root, folder, "pyvenv.cfg")) or (
                self._in_environment(folder.rpartition("/")[0])
            )
            self._environments[folder] = known
        return known


@dataclass
class Resolver:
    """Finds what imports reach, and remembers it for as long as one plan lives."""

    territory: Territory
    _tops: dict[tuple[str, str], _Top | None] = field(default_factory=dict)
    _found: dict[tuple[str, str], tuple[str | None, str | None]] = field(default_factory=dict)
    _parents: dict[str, list[str]] = field(default_factory=dict)

    def absolute(self, dotted: str, beside: str) -> Imported:
        """What ``import dotted`` reaches from a file in the repository folder ``beside``.

        The folder counts as importable, since it is when the file runs as a script.
        """
        name, *rest = dotted.split(".")
        if name == "gitml":  # what it does to a step is in the key by format versions
            return Imported()
        top = self._top(name, beside)
        if top is None or not top.is_local:
            return Imported(foreign=None if _is_standard(name, top) else name)
        files = []
        path = self.territory.path_of(top.file) if top.file else None
        if path:
            files.append((path, name))
        files += self._descend(top.folders, name, rest)
        if rest and not files:  # a namespace that we share with an installed distribution
            return Imported(foreign=name)
        return Imported(tuple(files))

    def relative(self, package: str, level: int, dotted: str, beside: str) -> Imported:
        """What ``from ..dotted import x`` reaches from a file in the folder ``beside``.

        ``package`` is the dotted name of the file's package; only names are made of it.
        """
        folder = beside
        for _ in range(level - 1):
            folder = folder.rpartition("/")[0]
        names = package.split(".") if package else []
        prefix = ".".join(names[: len(names) - (level - 1)])
        absolute = os.path.join(self.territory.root, folder)
        return Imported(
            tuple(self._descend((absolute,), prefix, [p for p in dotted.split(".") if p]))
        )

    def parents(self, path: str) -> list[str]:
        """The ``__init__.py`` of the packages that hold a file, outermost first."""
        if path not in self._parents:
            self._parents[path] = self._find_parents(path)
        return self._parents[path]

    def _find_parents(self, path: str) -> list[str]:
        found: list[str] = []
        folder = path.rpartition("/")[0]
        while folder:
            init = f"{folder}/__init__.py"
            if not os.path.isfile(os.path.join(self.territory.root, init)):
                break
            if init != path:
                found.append(init)
            folder = folder.rpartition("/")[0]
        return found[::-1]

    def dotted(self, path: str) -> str:
        """The dotted name of a file, counted from its outermost package."""
        folder, _, name = path.rpartition("/")
        names = [*folder.split("/"), name.partition(".")[0]]
        if names[-1] == "__init__":
            names.pop()
        return ".".join(names[-1 - len(self.parents(path)) :])

    def _top(self, name: str, beside: str) -> _Top | None:
        key = (name, beside)
        if key not in self._tops:
            self._tops[key] = self._find_top(name, beside)
        return self._tops[key]

    def _find_top(self, name: str, beside: str) -> _Top | None:
        """A top-level module as Python's finders see it, else beside the file, else in the root."""
        spec = _specification(name)
        if spec is not None:
            file = spec.origin if spec.has_location else None
            folders = tuple(map(os.path.abspath, spec.submodule_search_locations or ()))
            ours = [one for one in (file, *folders) if one and self._is_local(one)]
            return _Top(file, folders, is_local=bool(ours))
        for folder in dict.fromkeys((beside, "", "src")):
            file, package = self._in_folder(os.path.join(self.territory.root, folder), name)
            if file or package:
                return _Top(file, (package,) if package else (), is_local=True)
        return None

    def _is_local(self, location: str) -> bool:
        return self.territory.path_of(os.path.join(location, "x")) is not None

    def _descend(
        self, folders: tuple[str, ...], prefix: str, names: list[str]
    ) -> list[tuple[str, str]]:
        """The files of nested submodules, as far as they exist as files."""
        files = []
        for name in names:
            prefix = f"{prefix}.{name}" if prefix else name
            for folder in folders:
                file, package = self._in_folder(folder, name)
                if file or package:
                    break
            else:
                break
            path = self.territory.path_of(file) if file else None
            if path:
                files.append((path, prefix))
            folders = (package,) if package else ()
        return files

    def _in_folder(self, folder: str, name: str) -> tuple[str | None, str | None]:
        """A module in a folder: its file, and its own folder if it is a package."""
        key = (folder, name)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = _look(os.path.join(folder, name))
        return found


def _look(base: str) -> tuple[str | None, str | None]:
    for suffix in _SUFFIXES:
        init = os.path.join(base, f"__init__{suffix}")
        if os.path.isfile(init):
            return init, base
    for suffix in _SUFFIXES:
        if os.path.isfile(base + suffix):
            return base + suffix, None
    return None, base if os.path.isdir(base) else None


def _specification(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError, AttributeError):  # `__main__`, half-made modules
        return None


def _is_standard(name: str, top: _Top | None) -> bool:
    """Whether a module that is not ours belongs to Python itself, whose version is in the key."""
    return name in sys.stdlib_module_names or (top is not None and not (top.file or top.folders))


def versions(name: str) -> dict[str, str] | None:
    """The distributions that provide a top-level module, with their versions.

    ``{name: "absent"}`` when no such module is installed, None when there is one that no
    distribution owns at this place (a path in PYTHONPATH, an editable install): then no version
    says what its code is. importlib.metadata reads every installed package, so the folder beside
    the module is asked first.
    """
    spec = _specification(name)
    if spec is None:
        return {_normal(_RENAMED.get(name, name)).strip("-"): ABSENT}
    locations = [spec.origin] if spec.has_location and spec.origin else []
    if spec.submodule_search_locations is not None:
        locations = list(spec.submodule_search_locations)
    if not locations:
        return {}  # built into the interpreter
    return _beside(name, tuple(sorted({os.path.dirname(one) for one in locations})))


@cache
def _beside(name: str, sites: tuple[str, ...]) -> dict[str, str] | None:
    """The distributions of a module that stands in these folders; None if nobody owns it."""
    if len(sites) == 1:
        for wanted in (_normal(name), _RENAMED.get(name, "")):
            for folder, version in _wheels(sites[0]).get(wanted, ()):
                if _owns(os.path.join(sites[0], folder, "RECORD"), name):
                    return {wanted: version}
    from importlib.metadata import PackageNotFoundError, distribution

    found = {}
    for one in _all_distributions().get(name, ()):
        try:
            owner = distribution(one)
        except PackageNotFoundError:
            continue
        if os.path.realpath(str(owner.locate_file(""))) in map(os.path.realpath, sites):
            found[_normal(one)] = owner.version
    return found or None


@cache
def _all_distributions() -> dict[str, list[str]]:
    from importlib.metadata import packages_distributions

    return {name: sorted(set(owners)) for name, owners in packages_distributions().items()}


@cache
def _wheels(site: str) -> dict[str, list[tuple[str, str]]]:
    """The wheels installed in a folder: normal name → metadata folder and version."""
    found: dict[str, list[tuple[str, str]]] = {}
    try:
        entries = sorted(os.listdir(site))
    except OSError:
        return found
    for entry in entries:
        match = _WHEEL.match(entry)
        if match:
            found.setdefault(_normal(match["name"]), []).append((entry, match["version"]))
    return found


def _owns(record: str, name: str) -> bool:
    """Whether a wheel's list of files holds the module itself."""
    try:
        with open(record, encoding="utf-8") as file:
            text = "\n" + file.read()
    except (OSError, ValueError):
        return False
    return f"\n{name}/" in text or f"\n{name}." in text


def _normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
