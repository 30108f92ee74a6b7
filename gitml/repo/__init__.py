"""``Repo``: the one facade. It finds the repository, wires the layers, and has a method a verb.

Each part of it is a module here, over one base (``opened``) that opens what all need. What runs
pipelines, moves stages or checks bytes is imported by the methods that do: reading the records
(``log``, ``status``, ``show``) should not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitml import config as configuration
from gitml.errors import NoRepository, UsageError
from gitml.git.process import Git, init_repository
from gitml.history.notes import ulid
from gitml.repo.care import Care
from gitml.repo.pipelines import Pipelines
from gitml.repo.review import Review
from gitml.repo.sharing import Pulled
from gitml.repo.tagging import Tagging

if TYPE_CHECKING:
    from gitml.charts.chart import Chart
    from gitml.git.transport import Tell
    from gitml.sync.upload import Moved


class Repo(Pipelines, Review, Care, Tagging):
    """A repository with gitml in it. Command line, web and Python API hold only this.

    ``environment`` are the variables that steps may declare; ``stack`` overrides the active one.
    ``tell`` may be set: it hears in a phrase when a remote is waited for.
    """

    @classmethod
    def discover(
        cls,
        start: Any = ".",
        *,
        environment: Mapping[str, str] | None = None,
        stack: str | None = None,
        settings: bool = False,
    ) -> Repo:
        """The repository around a path, or that of a GitPython ``git.Repo``.

        With ``settings`` git's are read at once. Raises NoRepository, with the command that makes
        or opens one.
        """
        path = getattr(start, "working_dir", None) or getattr(start, "git_dir", None) or start
        git = Git.discover(Path(path).absolute(), settings=settings)
        return cls(git, environment=environment, stack=stack)

    @classmethod
    def init(cls, path: Path, *, environment: Mapping[str, str] | None = None) -> tuple[Repo, bool]:
        """The repository at ``path`` with a ``gitml.toml``, and whether that had to be written.

        git's own repository is made where there is none.
        """
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is no folder", hint="`gitml init FOLDER`")
        try:
            git = Git.discover(path)
        except NoRepository as error:
            if "not inside" not in error.message and "no such folder" not in error.message:
                raise
            git = init_repository(path)
        import time

        file = git.work_tree() / configuration.FILE
        project = ulid(time.time())
        text = (
            configuration.adopted(file, project)
            if file.exists()
            else configuration.template(project)
        )
        if text is None:
            configuration.read(file)
        else:
            file.write_text(text, encoding="utf-8")
        repo = cls(git, environment=environment)
        repo.install_drivers()
        return repo, text is not None

    @classmethod
    def of_url(cls, url: str, *, environment: Mapping[str, str], tell: Tell | None = None) -> Repo:
        """The repository at a URL, to be read: its records as they are now, and no work tree.

        A copy of the records is kept in the user's cache.
        """
        from gitml.sync.mirror import mirrored

        base = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME', '.')}/.cache"
        git, config = mirrored(url, Path(base) / "gitml" / "repositories", tell=tell)
        repo = cls(git, environment=environment)
        if config is not None:
            repo.config = configuration.read(config)
        return repo

    @classmethod
    def clone(
        cls,
        url: str,
        folder: Path | None,
        *,
        data: bool = True,
        environment: Mapping[str, str] | None = None,
        tell: Tell | None = None,
        moved: Moved | None = None,
    ) -> tuple[Repo, Pulled]:
        """A clone of a git repository with its records and, unless told not to, its data.

        Without a folder it is called as git would call it. A clone that was killed is finished.
        Raises what `cloning.clone` raises; where data cannot be had, `Pulled.absent` says why.
        """
        from gitml.sync import cloning
        from gitml.sync.download import forget_arrivals

        place = folder or Path(cloning.folder_of(url))
        git, fetched = cloning.clone(url, place.absolute(), tell=tell)
        repo = cls(git, environment=environment)
        repo.install_drivers()
        if repo._supply is not None and moved is not None:
            repo._supply.moved = moved
        try:
            done = repo._completed(fetched, repo.odb.resolve("HEAD"), data=data)
        finally:
            cloning.finish(git)
        repo.store.tidy()
        forget_arrivals(repo.store.layout)
        return repo, done

    def chart(
        self, names: Sequence[str], metrics: Sequence[str] = (), *, limit: int | None = None
    ) -> Chart:
        """Metrics over the versions of models, the runs of pipelines, or the steps of runs.

        ``limit`` leaves the newest versions or runs. Without ``metrics`` the only one there is.
        Raises NameNotFound with the metrics that there are; UsageError for names that have no axis
        in common, and for several metrics where none is named.
        """
        from gitml.repo.charting import chart_of

        return chart_of(self, names, metrics, limit)
