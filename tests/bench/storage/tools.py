"""The tools as data: what a user of each one would type to do the same work.

A command is one line without a shell; its words may have these places in them: ``{name}`` (the
file or folder), ``{stamp}`` and ``{look}`` (another word for each add and each status),
``{python}`` and ``{xet}`` (a Python that has hf-xet, and the script for it). Copies that a command
makes beside are called ``copied`` and ``out``: they are moved away before the next one. A command
that is None is one that the tool does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

ENVIRONMENT = {
    "DVC_NO_ANALYTICS": "1",
    "DVC_SITE_CACHE_DIR": "{home}/dvc-site",
    "RESTIC_PASSWORD": "x",
    "BORG_BASE_DIR": "{home}",
    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "{home}/hf",
}
"""What the tools need besides the sealed environment; ``{home}`` is the tool's own home."""

EVERY = frozenset({"blob", "table", "files", "model"})
"""The scenarios that every peer goes through."""


@dataclass(frozen=True)
class Tool:
    """One column: how a tool does each piece of work, and where it keeps what it was given."""

    name: str
    probe: str
    """Prints the version; a tool for which this fails is not installed."""
    start: tuple[str, ...] = ()
    """Before anything is measured, in an empty folder."""
    add: str | None = None
    keep: str | None = None
    """After an add, not measured: commit what it left."""
    status: str | None = None
    checkout: str | None = None
    maintain: str | None = None
    diff: str | None = None
    """What differs between the last two commits."""
    store: tuple[str, ...] = ()
    """The files and folders whose growth is what an add stored."""
    restored: str = "{name}"
    """Where checkout puts the data: in its place, or below ``out``."""
    works: frozenset[str] = EVERY
    floor: bool = False
    """Not a peer, but what the machine needs for a part of the work."""
    reflinks: bool = False
    """Makes no sense where the file system cannot share extents."""
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether this is gitml, in one of its modes."""
        return self.name.startswith("gitml")


_GIT = (
    "git init --quiet",
    "git config gc.auto 0",
    "git commit --quiet --allow-empty --message=start",
)
_COMMIT_ALL = "git commit --quiet --all --message=add"


def _gitml(name: str, link: str, *, works: frozenset[str], reflinks: bool = False) -> Tool:
    return Tool(
        name,
        "gitml --version",
        start=(
            *_GIT,
            "gitml init",
            f"git config gitml.link {link}",
            "git add --all",
            "git commit --quiet --message=init",
        ),
        add="gitml add {name}",
        keep="git commit --quiet --message=add",
        status="gitml status",
        checkout="gitml checkout {name}",
        maintain="gitml maintenance",
        diff="sh -c 'gitml diff HEAD~1 HEAD; test $? -eq 1'",  # 1 is "different"
        store=(".git/gitml/store",),
        works=works,
        reflinks=reflinks,
    )


_DVC_SETTINGS = "[core]\\n  analytics = false\\n  check_update = false\\n"


def _dvc(name: str, settings: str = "") -> Tool:
    return Tool(
        name,
        "dvc --version",
        start=(
            *_GIT,
            "dvc init --quiet",
            f"sh -c 'printf \"{_DVC_SETTINGS + settings}\" > .dvc/config'",
            "git commit --quiet --all --message=init",
        ),
        add="dvc add --quiet {name}",
        keep="sh -c 'git add --all && git commit --quiet --message=add'",
        status="dvc status",
        checkout="dvc checkout --quiet {name}.dvc",
        store=(".dvc/cache",),
    )


TOOLS = (
    Tool(
        "cp + sync",
        "cp --version",
        add="sh -c 'cp -R --reflink=never {name} copied && sync -f copied'",
        checkout="cp -R --reflink=never copied {name}",
        works=EVERY | {"million"},
        floor=True,
        note="the floor's checkout is `cp` without `sync`",
    ),
    Tool(
        "cp -l",
        "cp --version",
        keep="cp -Rl {name} copied",
        checkout="cp -Rl copied {name}",
        works=frozenset({"blob", "files"}),
        floor=True,
    ),
    Tool(
        "b3sum",
        "b3sum --version",
        add="sh -c 'find {name} -type f -print0 | xargs -0 b3sum'",
        works=EVERY | {"million"},
        floor=True,
        note="`b3sum` only reads and hashes",
    ),
    Tool(
        "find -newer",
        "find --version",
        start=("touch marker",),
        status="find {name} -type f -newer marker",
        works=frozenset({"files", "million"}),
        floor=True,
    ),
    Tool(
        "zstd -3",
        "zstd --version",
        add="zstd -q -3 {name} -o copied",
        store=("copied",),
        works=frozenset({"table", "model"}),
        floor=True,
    ),
    _gitml("gitml", "copy", works=EVERY | {"million"}),
    _gitml("gitml hardlink", "hardlink", works=frozenset({"blob", "files"})),
    _gitml("gitml reflink", "auto", works=frozenset({"blob", "files"}), reflinks=True),
    Tool(
        "git",
        "git --version",
        start=_GIT,
        add="git add {name}",
        keep="git commit --quiet --message=add",
        status="git status --short",
        checkout="git checkout --quiet -- {name}",
        store=(".git/objects",),
    ),
    Tool(
        "git-lfs",
        "git lfs version",
        start=(
            *_GIT,
            "git lfs install --local",
            "git lfs track *.bin *.csv *.dat *.safetensors",
            "git add .gitattributes",
            "git commit --quiet --message=track",
        ),
        add="git add {name}",
        keep="git commit --quiet --message=add",
        status="git status --short",
        checkout="git checkout --quiet -- {name}",
        store=(".git/lfs", ".git/objects"),
    ),
    Tool(
        "git-annex",
        "git annex version --raw",
        start=(*_GIT, "git annex init --quiet here"),
        add="git annex add --quiet -J2 {name}",
        keep="git commit --quiet --message=add",
        status="git status --short",
        checkout="git checkout --quiet -- {name}",
        store=(".git/annex", ".git/objects"),
        note="git-annex moves the file into its store and leaves a symlink, also at checkout",
    ),
    _dvc("DVC"),
    _dvc("DVC hardlink", "[cache]\\n  type = hardlink\\n"),
    Tool(
        "restic",
        "restic version",
        start=("restic -q init --repo repo",),
        add="restic -q --repo repo backup {name}",
        status="restic -q --repo repo backup --dry-run {name}",
        checkout="restic -q --repo repo restore latest --target out",
        store=("repo",),
        restored="out/{name}",
        note="restic's status is a backup as a dry run",
    ),
    Tool(
        "borg",
        "borg --version",
        start=("borg init --encryption none repo",),
        add="borg create --files-cache ctime,size,inode repo::{stamp} {name}",
        status="borg create --files-cache ctime,size,inode repo::{stamp}-{look} {name}",
        checkout="sh -c 'mkdir out && cd out && borg extract ../repo::{stamp}'",
        store=("repo",),
        restored="out/{name}",
        note="borg's status is one more snapshot",
    ),
    Tool(
        "hf-xet",
        "{python} {xet} version",
        add="{python} {xet} up {name}",
        checkout="{python} {xet} down {name}",
        store=("store",),
        restored="out/{name}",
        note="hf-xet has a local store and keeps no names",
    ),
)
