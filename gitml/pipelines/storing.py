"""What steps return becomes outputs: matched to what is declared, and stored by materializers."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from gitml import materializers
from gitml.entities.records import SERIES, Output
from gitml.errors import UnsupportedValue, UsageError
from gitml.frozen import replace
from gitml.materializers import Rules
from gitml.pipelines import series
from gitml.pipelines.annotations import OutputSpec, field_names
from gitml.pipelines.plan import PlannedStep, artifact_name
from gitml.store.store import Writer

_UNFINISHED = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


class Storing:
    """Stores what the steps of one run return; ``notes`` are what deserves to be known of it."""

    def __init__(self, writer: Writer, pipeline: str) -> None:
        self._writer = writer
        self._pipeline = pipeline
        self.notes: list[str] = []
        self._tried: set[str] = set()

    def outputs(self, planned: PlannedStep, returned: Any, rules: Rules) -> tuple[Output, ...]:
        """Everything that a call returned; raises UsageError, UnsupportedValue."""
        specs = planned.step.outputs
        fields = field_names(planned.step.hints.get("return"))
        if fields and field_names(returned) == fields:
            values: Sequence[Any] = [getattr(returned, one) for one in fields]
        else:
            values = matched(specs, returned, planned.name)
        return tuple(
            self.output(planned, spec, value, rules)
            for spec, value in zip(specs, values, strict=True)
        )

    def output(self, planned: PlannedStep, spec: OutputSpec, value: Any, rules: Rules) -> Output:
        """One value as the output that a step declares; raises UnsupportedValue naming it."""
        try:
            made = store_value(
                self._writer,
                value,
                name=spec.name,
                artifact=artifact_name(self._pipeline, planned, spec),
                rules=rules,
            )
            self._name_wavering(materializer_of(made), value, rules)
            return replace(made, tags=spec.tags or None, logged=spec.metadata)
        except UnsupportedValue as error:
            raise UnsupportedValue(
                f"the output `{spec.name}` of the step {planned.name} cannot be stored",
                hint=error.hint,
            ) from error

    def _name_wavering(self, materializer: str, value: Any, rules: Rules) -> None:
        """Note once in a run that a materializer makes other bytes of the same value each time."""
        if materializer in self._tried:
            return
        self._tried.add(materializer)
        if materializers.wavers(materializer, value, rules):
            self.notes.append(
                f"the materializer {materializer} is not deterministic: it makes other bytes "
                "of the same value each time, so what uses the value always runs again"
            )


def store_value(writer: Writer, value: Any, *, name: str, artifact: str, rules: Rules) -> Output:
    """A value in the store, as the output that records name; raises UnsupportedValue."""
    materializer = materializers.for_value(value, rules)
    saved = materializers.saved(materializer, value, rules)
    kind = "blob"
    if isinstance(saved, bytes):
        digest, size = writer.put_bytes(saved), len(saved)
    elif saved.is_dir():
        kind = "tree"
        digest, size = writer.put_directory(saved)
    else:
        digest, size = writer.put_file(saved)
    return Output(
        name=name,
        artifact=artifact,
        digest=digest,
        kind=kind,
        size=size,
        materializer=f"{materializer.name}/{materializer.version}",
        type=materializers.type_name(value),
        metadata=materializer.metadata(value),
    )


def store_series(writer: Writer, points: series.Points, pipeline: str, step: str) -> Output | None:
    """The series of a step in the store, as one of its outputs; None where it logged none."""
    if not points:
        return None
    artifact = f"{pipeline}.{step}.{SERIES}"
    made = store_value(writer, points.table(), name=SERIES, artifact=artifact, rules=Rules())
    return replace(made, metadata={**made.metadata, "points": points.counts()})


def matched(specs: Sequence[OutputSpec], returned: Any, step: str) -> Sequence[Any]:
    """The returned values, one for each declared output; raises UsageError for a wrong count."""
    if isinstance(returned, _UNFINISHED):
        if isinstance(returned, types.CoroutineType):
            returned.close()
        raise UsageError(
            f"the step {step} returned a {type(returned).__name__}, which cannot be stored",
            hint="return a list, a table or a file",
        )
    if not specs:
        if returned is not None:
            raise UsageError(f"the step {step} is annotated `-> None` and returned a value")
        return ()
    if len(specs) == 1:
        return (returned,)
    if not isinstance(returned, (tuple, list)) or len(returned) != len(specs):
        count = len(returned) if isinstance(returned, (tuple, list)) else 1
        raise UsageError(
            f"the step {step} declares {len(specs)} outputs and returned {count}",
            hint="return a tuple with one value for each",
        )
    return returned


def plain_type(annotation: Any) -> type | None:
    """The class behind a parameter's annotation, None where it says nothing definite."""
    if typing.get_origin(annotation) is typing.Annotated:
        return plain_type(typing.get_args(annotation)[0])
    return annotation if isinstance(annotation, type) else None


def declared(spec: OutputSpec) -> str:
    """The materializer that a declared output will use, as far as its annotation tells."""
    wanted = plain_type(spec.annotation)
    found = materializers.for_type(wanted) if wanted is not None else None
    return materializers.identity(found) if found is not None else ""


def materializer_of(output: Output) -> str:
    """The name of the materializer that made an output's bytes."""
    return output.materializer.partition("/")[0]
