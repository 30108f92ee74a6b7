"""The records that gitml keeps in git, as frozen values (docs/format.md, "Records").

Each class is one JSON file of a record's ``.gitml/`` folder, or the line of JSON in a tag. Points
in time are UTC in RFC 3339 with microseconds; durations are seconds; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitml.entities.ids import Digest, ObjectId
from gitml.frozen import Frozen, field

SERIES = "metric-series"
"""The output of a step that has its series of metrics; no declared output is called so."""


class Record(Frozen):
    """What all records have: the fields that a later version wrote, kept to be written again."""

    extra: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


class Source(Record):
    """``source.json``: data from outside a pipeline. A function of the bytes alone."""

    digest: Digest
    kind: str
    size: int


class Code(Record):
    """The code commit that ran, its tree, and whether it is a snapshot of a dirty tree."""

    commit: ObjectId
    tree: ObjectId
    snapshot: bool = False


class CodeFile(Record):
    """A file of a step's import closure: its path in the repository and its git blob id."""

    path: str
    blob: str


class Input(Record):
    """What a step was given or has loaded: bytes, and the commit that made them.

    ``name`` is the parameter, or for what the step loaded itself the name that it asked for.
    """

    name: str
    digest: Digest
    kind: str
    commit: ObjectId
    artifact: str | None = None


class Output(Record):
    """A named output: bytes, how they were made of a value, and what is known of them.

    ``artifact`` is its repository-wide name, ``materializer`` is ``<name>/<format version>``,
    ``type`` the dotted name of the value's class. ``logged`` is what the step said of it besides,
    ``tags`` those that it was declared with.
    """

    name: str
    artifact: str
    digest: Digest
    kind: str
    size: int
    materializer: str
    type: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    logged: Mapping[str, Any] | None = None
    tags: tuple[str, ...] | None = None


class Log(Record):
    """The output that a step printed: a blob."""

    digest: Digest
    size: int


class Map(Record):
    """How a step was called for many items: ``kind`` "map" or "product", over which parameters.

    ``key`` is the cache key without these, absent where items cannot be cached.
    """

    kind: str
    over: tuple[str, ...]
    items: int
    cached: int
    key: str | None = None


class Step(Record):
    """``step.json``: one execution of a step.

    ``key`` is the step cache key (absent where the step cannot be cached), ``parts`` what it was
    made of, by readable name; ``code_id`` leaves out Python's version; ``observed`` are repository
    files that were read while it ran and are not in the closure (path to digest or "absent").
    ``attempts`` is how often it was tried, absent for once.
    ``reused`` is the first original where this record stands for a cached execution on an abandoned
    branch, and ``reached`` the sources of that original which the inputs do not lead to.
    ``cell`` is the source of a step that was defined in a notebook or a shell, and has no file.
    ``links`` are those of its loads that are artifacts of the version, too, by their names there.
    """

    name: str
    pipeline: str
    source: str
    code: Code
    code_id: str
    files: tuple[CodeFile, ...]
    parameters: Mapping[str, Any]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    started: str
    duration: float
    key: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    loads: tuple[Input, ...] = ()
    observed: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    log: Log | None = None
    reused: ObjectId | None = None
    reached: tuple[ObjectId, ...] = ()
    attempts: int | None = None
    map: Map | None = None
    cell: str | None = None
    links: Mapping[str, str] | None = None

    def input_commits(self) -> list[ObjectId]:
        """The commits that made what the step was given or loaded: its parents after the code."""
        commits = [one.commit for one in (*self.inputs, *self.loads)]
        return list(dict.fromkeys([*commits, *self.reached]))


class RunStep(Record):
    """A step in a run: its state, and the step commit where there is one.

    ``after`` are the steps that had to be done before it and gave it nothing.

    Of a step that did not finish there is what it had said: ``log`` is what it printed, ``series``
    and ``metadata`` what it had logged. Its metrics are among those of the run. ``items`` are the
    results that a mapped step had by then, ``outputs`` what the block of a run without a pipeline
    had saved.
    """

    name: str
    state: str
    commit: ObjectId | None = None
    log: Log | None = None
    series: Output | None = None
    metadata: Mapping[str, Any] | None = None
    after: tuple[str, ...] | None = None
    items: Output | None = None
    outputs: tuple[Output, ...] | None = None


class Failure(Record):
    """Why a run failed: the step, the error's class and text, and the traceback."""

    step: str
    type: str
    message: str
    traceback: str


class Pin(Record):
    """A name that was resolved when the run was planned, and the commit that it meant."""

    name: str
    commit: ObjectId


class RunModel(Record):
    """A model that is of steps of a run and not the pipeline's, and the version there was of it."""

    model: str
    version: ObjectId | None = None


class Run(Record):
    """``run.json``: one run of a pipeline.

    ``model`` is the model that it makes a version of. A run of which every step was cached makes
    none; ``version`` is then the commit of the version that has the same steps and outputs.
    ``others`` are the models that single steps name.
    ``failure`` is what ended it, or the first where it went on; ``failures`` are those after it.
    ``tags`` are those that its pipeline gives to its runs.
    ``name`` is what people call it; the identity is the commit.
    """

    pipeline: str
    state: str
    code: Code
    stack: str
    parameters: Mapping[str, Any]
    steps: tuple[RunStep, ...]
    started: str
    duration: float
    model: str | None = None
    version: ObjectId | None = None
    pins: tuple[Pin, ...] = ()
    failure: Failure | None = None
    failures: tuple[Failure, ...] | None = None
    tags: tuple[str, ...] | None = None
    name: str | None = None
    others: tuple[RunModel, ...] | None = None


class VersionArtifact(Record):
    """An artifact of a model version: its name in the version, and the output that it is.

    ``step`` made it, or has linked what ``commit`` made.
    """

    name: str
    step: str
    commit: ObjectId
    output: Output


class Feature(Record):
    """A column that a model takes: its name, and its type in the table that it was fitted with."""

    name: str
    type: str | None = None


class Signature(Record):
    """What a model of a version takes and gives.

    ``count`` is the number of columns; ``features`` are those of them that have names, in order,
    the first 200. ``classes`` are the labels that a classifier gives.
    """

    features: tuple[Feature, ...]
    count: int
    classes: tuple[Any, ...] | None = None


class Version(Record):
    """``model.json``: a model version, without its number (that lives in the tag alone).

    ``keys`` maps the steps of the run to their cache keys ("" where there is none). ``card`` is
    what its makers say of it, by the names of `gitml.config.CARD`. ``signatures`` are those of its
    artifacts that are models, by their names here.
    """

    model: str
    pipeline: str
    run: ObjectId
    code: Code
    created: str
    parameters: Mapping[str, Any]
    artifacts: tuple[VersionArtifact, ...]
    keys: Mapping[str, str]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    card: Mapping[str, Any] | None = None
    signatures: Mapping[str, Signature] | None = None


class Fold(Record):
    """``fold.json``: stands for up to 64 commits where a list of parents would be longer."""

    commits: tuple[ObjectId, ...]


class Promotion(Record):
    """The JSON line of an event tag ``<model>@<stage>/<n>``: one move of a stage.

    ``version`` is the new holder's commit, null for a vacancy; ``before`` the holder before;
    ``previous`` the object id of the event tag before, which makes the tags a hash chain. A
    roll-back names in ``restores`` the n of the event whose holder it brought back, so that the
    next one goes further back. ``policy`` is the digest of the policy in force, ``policy_commit``
    the commit that last changed the file it was read from, ``verdict`` what its checks found.
    ``wish`` is the commit that last changed the model's wishes on the default branch when the stage
    was moved; with ``hold`` the move was an emergency, and that wish is not carried out until it
    agrees with the holder.
    """

    project: str
    model: str
    stage: str
    n: int
    reason: str
    at: str
    version: ObjectId | None = field(default=None, metadata={"null": True})
    before: ObjectId | None = None
    previous: ObjectId | None = None
    restores: int | None = None
    policy: str | None = None
    policy_commit: ObjectId | None = None
    verdict: Mapping[str, Any] | None = None
    wish: ObjectId | None = None
    hold: bool | None = None


class Tombstone(Record):
    """The JSON line of ``<model>@deleted/<N>``: version N is hidden from all readers, for ever."""

    project: str
    model: str
    n: int
    version: ObjectId
    reason: str
    at: str


class Alias(Record):
    """The JSON line of ``<model>@alias/<name>/<n>``: one move of an alias; null takes it away."""

    project: str
    model: str
    name: str
    n: int
    at: str
    version: ObjectId | None = field(default=None, metadata={"null": True})


class Revocation(Record):
    """The JSON line of ``<name>@revoked/<id12>``: nothing may stand on this any more.

    ``kind`` is "version", "run", "artifact" or "source", ``name`` how it was called, ``commit`` its
    record. ``digest`` is set where bytes are meant, whichever record made them.
    """

    project: str
    kind: str
    name: str
    commit: ObjectId
    reason: str
    at: str
    digest: Digest | None = None


class Saved(Record):
    """The JSON line of the tag behind ``refs/gitml/sources/<name>/<digest12>``: a saved value."""

    name: str
    digest: Digest
    kind: str
    size: int
    materializer: str
    type: str
    at: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def output(self) -> Output:
        """The value as the output of a step would be described: named as it was saved."""
        return Output(
            name=self.name,
            artifact=self.name,
            digest=self.digest,
            kind=self.kind,
            size=self.size,
            materializer=self.materializer,
            type=self.type,
            metadata=self.metadata,
        )


class Note(Record):
    """A line of ``refs/notes/gitml``: metadata that was added to a record later.

    ``removes`` names the id of a line that no longer counts; ``values`` are set over the record's.
    With ``artifact`` the line is about the output of this repository-wide name, not the record.
    ``tag`` is put on it; ``untag`` is taken off that the record itself has.
    """

    id: str
    at: str
    by: str
    values: Mapping[str, Any] = field(default_factory=dict)
    removes: str | None = None
    artifact: str | None = None
    tag: str | None = None
    untag: str | None = None
