"""A run that makes a version of what is there already: its one step links, and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from gitml.code.closure import Closure, Tracer
from gitml.code.sourcefile import digest_text
from gitml.pipelines import context
from gitml.pipelines.dsl import PipelineFunction, StepFunction
from gitml.pipelines.references import Model


class _Link(StepFunction):
    """Links artifacts; what it does is gitml's, and no code of the project."""

    def __init__(self) -> None:
        def link(links: dict[str, str]) -> None:
            running = context.get_context()
            for name, artifact in links.items():
                running.link(artifact, None, name)

        super().__init__(link, name="link", cache=False)

    def trace(self, tracer: Tracer) -> Closure:
        """No file of the repository."""
        return Closure(
            source="gitml:link",
            code_id=digest_text("link 1\n"),
            files=(),
            parts={},
            distributions={},
            modules=frozenset(),
            uncached=None,
            warnings=(),
        )


def linking(model: Model, links: Mapping[str, str]) -> PipelineFunction:
    """A pipeline that makes a version of a model of artifacts by name, by their names there."""

    def body() -> None:
        _Link()(dict(links))

    return PipelineFunction(body, name="link", model=model, cache=False)
