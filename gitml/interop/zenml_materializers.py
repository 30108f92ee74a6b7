"""Materializers of ZenML's form: classes that write files below ``self.uri`` and read them."""

from __future__ import annotations

import enum
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any, ClassVar

from gitml.interop.zenml_records import say_once
from gitml.materializers.base import JSON, Content, Materializer, Rules
from gitml.pipelines.content import scratch


class ArtifactType(enum.StrEnum):
    """What an artifact is for, in ZenML's words; here it is a word and nothing more."""

    DATA = "DataArtifact"
    MODEL = "ModelArtifact"
    SCHEMA = "SchemaArtifact"
    SERVICE = "ServiceArtifact"
    STATISTICS = "StatisticsArtifact"
    DATA_ANALYSIS = "DataAnalysisArtifact"
    BASE = "BaseArtifact"


class Files:
    """Files by path: ZenML's ``fileio``, and the ``artifact_store`` of a materializer."""

    @staticmethod
    def open(path: str | Path, mode: str = "r") -> IO[Any]:
        """The open file."""
        return Path(path).open(mode, encoding=None if "b" in mode else "utf-8")

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Whether there is anything at the path."""
        return Path(path).exists()

    @staticmethod
    def isdir(path: str | Path) -> bool:
        """Whether there is a folder at the path."""
        return Path(path).is_dir()

    @staticmethod
    def makedirs(path: str | Path) -> None:
        """Make a folder and those above it, where they are missing."""
        Path(path).mkdir(parents=True, exist_ok=True)

    mkdir = makedirs

    @staticmethod
    def listdir(path: str | Path) -> list[str]:
        """The names in a folder, sorted."""
        return sorted(one.name for one in Path(path).iterdir())

    @staticmethod
    def remove(path: str | Path) -> None:
        """Remove a file."""
        Path(path).unlink()

    @staticmethod
    def copy(source: str | Path, target: str | Path, overwrite: bool = False) -> None:
        """Copy a file; raises FileExistsError for one that is there, without ``overwrite``."""
        if Path(target).exists() and not overwrite:
            raise FileExistsError(target)
        shutil.copyfile(source, target)


fileio = Files()
"""The module of ZenML's that most materializers write with."""


class BaseMaterializer:
    """What a class of a ZenML project derives from; to define it is enough to have it used.

    ``save`` writes files below ``self.uri``, a folder that becomes the artifact, and ``load`` finds
    them there. The laws of gitml hold: equal values make equal files.
    """

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = ()
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[Any] = ArtifactType.BASE

    def __init__(self, uri: str, artifact_store: Any = None) -> None:
        self.uri = uri
        self.artifact_store = artifact_store or fileio

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the class known as a materializer of gitml's under its own name."""
        super().__init_subclass__(**options)
        if "save_visualizations" in vars(cls):
            say_once("BaseMaterializer.save_visualizations")
        own = {
            "theirs": cls,
            "ASSOCIATED_TYPES": tuple(cls.ASSOCIATED_TYPES),
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
        }
        type(cls.__name__, (_Adapter,), own)

    def save(self, data: Any) -> None:
        """Write the value below ``self.uri``."""
        raise NotImplementedError

    def load(self, data_type: Any) -> Any:
        """The value that was written below ``self.uri``."""
        raise NotImplementedError

    def extract_metadata(self, data: Any) -> dict[str, Any]:
        """Small facts about the value."""
        return {}

    def save_visualizations(self, data: Any) -> dict[str, Any]:
        """Never called: a preview is made of the stored files when somebody looks."""
        return {}

    def preview(self, path: Path) -> str:
        """A few lines for people about the folder that `save` has filled."""
        return ""


class _Adapter(Materializer):
    """A class of ZenML's form as one of gitml's; each of them gets a subclass of this."""

    name = "zenml"
    version = 1
    theirs: ClassVar[type[BaseMaterializer]]

    def save(self, value: Any, rules: Rules) -> Path:
        """The folder that the class has filled."""
        folder = Path(tempfile.mkdtemp(dir=scratch())) / "artifact"
        folder.mkdir()
        self.theirs(str(folder)).save(value)
        return folder

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """What the class makes of a private copy of the folder."""
        kind = wanted or next(iter(self.theirs.ASSOCIATED_TYPES), object)
        return self.theirs(str(content.path())).load(kind)

    def preview(self, path: Path) -> str:
        """The lines that the class makes of the folder."""
        return self.theirs(str(path)).preview(path)

    def metadata(self, value: Any) -> dict[str, JSON]:
        """What the class says of the value."""
        said = self.theirs("").extract_metadata(value)
        return {str(key): _plain(one) for key, one in said.items()}


def _plain(value: Any) -> JSON:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
