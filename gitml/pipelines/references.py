"""What a pipeline names and no run of it makes: models, artifacts, files of the repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitml.config import CARD
from gitml.entities.ids import check_model_name, check_name
from gitml.errors import UsageError


@dataclass(frozen=True)
class Model:
    """A model by name; with ``version`` one of its versions: a number, a stage, "latest", ….

    As a pipeline's ``model`` without a version it says what a run makes; with one, what it uses.
    ``repo`` is the URL of another git repository to read it from, outside of pipelines. The other
    fields are the card of the versions that a run makes. Raises UsageError without a name.
    """

    name: str = ""
    version: str | int | None = None
    description: str | None = None
    repo: str | None = None
    license: str | None = None
    audience: str | None = None
    use_cases: str | None = None
    limitations: str | None = None
    trade_offs: str | None = None
    ethics: str | None = None
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise UsageError(
                f"a model needs a name, and this one has {self.name!r}", hint='`Model("clf")`'
            )
        check_model_name(self.name)
        for field_name in ("description", *CARD):
            said = getattr(self, field_name)
            if field_name == "tags":
                fits = not isinstance(said, str) and all(isinstance(one, str) for one in said)
                object.__setattr__(self, "tags", tuple(said))
            else:
                fits = said is None or isinstance(said, str)
            if not fits:
                wanted = "a list of texts" if field_name == "tags" else "text"
                raise UsageError(f"{field_name} of the model {self.name} should be {wanted}")

    @property
    def card(self) -> dict[str, Any]:
        """What is said of the model besides its description."""
        said = {name: getattr(self, name) for name in CARD}
        return {name: list(one) if name == "tags" else one for name, one in said.items() if one}

    @property
    def which(self) -> str:
        """The version as it is written behind the ``@``."""
        return str(self.version) if self.version is not None else "latest"

    def artifact(self, name: str) -> Artifact:
        """A reference to an artifact of this version, to hand to a step.

        Raises UsageError for a model of another repository: no commit here could be its parent.
        """
        if self.repo is not None:
            raise UsageError(
                f"{self.name} is of another repository, and a step cannot descend from it",
                hint=f"`gitml artifact get {self.name}@{self.which}:{name} --repo {self.repo}`, "
                "then `gitml artifact put`",
            )
        return Artifact(name, model=self)


@dataclass(frozen=True)
class Artifact:
    """A reference to a named artifact: its newest bytes, those of a digest, or a version's.

    Handed to a step it is resolved once, when the run is planned. In a return annotation
    (``Annotated[T, Artifact("features", tags=["raw"])]``) it names the output, and says what is
    recorded with it.
    """

    name: str
    version: str = "latest"
    model: Model | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "artifact")

    @property
    def spelling(self) -> str:
        """The name as the command line takes it."""
        if self.model is not None:
            return f"{self.model.name}@{self.model.which}:{self.name}"
        return f"artifact/{self.name}@{self.version}"


@dataclass(frozen=True)
class DataFile:
    """A file or folder of the repository that a step reads: what ``gitml.data(path)`` gives."""

    path: str
