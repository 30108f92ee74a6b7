"""The calls of a composed pipeline, with what a run says of them: parameters, options, policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gitml.errors import UsageError
from gitml.pipelines.annotations import number_of
from gitml.pipelines.dsl import Handle, Node, PipelineFunction, StepFunction, check_parameter
from gitml.pipelines.policy import CachePolicy
from gitml.pipelines.references import Artifact, DataFile


def override(nodes: list[Node], values: Mapping[str, Any]) -> list[Node]:
    """The calls with parameters of steps replaced: ``{"train.depth": 8}``; raises UsageError."""
    changed = {node.name: node for node in nodes}
    for path, value in values.items():
        name, _, parameter = path.rpartition(".")
        node = changed.get(name)
        if node is None or parameter not in node.bindings:
            known = [f"{one.name}.{key}" for one in nodes for key in one.bindings]
            raise UsageError(
                f"no step has the parameter `{path}`", hint=f"there are: {', '.join(known[:8])}"
            )
        if isinstance(node.bindings[parameter], (Handle, Artifact, DataFile)):
            raise UsageError(f"`{path}` is the output of another step, not a parameter")
        value = number_of(value, node.step.hints.get(parameter))
        check_parameter(value, path)
        changed[name] = replace(node, bindings={**node.bindings, parameter: value})
    return [changed[node.name] for node in nodes]


def policy_of(step: StepFunction, pipeline: PipelineFunction) -> CachePolicy:
    """The policy that holds for a step in a pipeline: its own, or the pipeline's.

    The inputs that the pipeline's ignores count where a step has none of that name.
    """
    return step.policy if step.policy is not None else pipeline.policy


def check_policies(
    nodes: Sequence[Node], pipeline: PipelineFunction, *, whole: bool = True
) -> None:
    """Raise UsageError for a policy that cannot hold for the calls, all or some, of a pipeline."""
    known = {name for node in nodes for name in node.bindings}
    if whole:
        pipeline.policy.check(pipeline.name, known)
    for node in nodes:
        ignored = policy_of(node.step, pipeline).ignored_inputs
        over = [one for one in node.fan.over if one in ignored] if node.fan is not None else []
        if over:
            raise UsageError(
                f"{node.name} is mapped over `{over[0]}`, which its cache policy ignores",
                hint="each item has a cache of its own, by what it is mapped over",
            )


def with_step_options(nodes: list[Node], pipeline: PipelineFunction, *, whole: bool) -> list[Node]:
    """The calls with the options that the pipeline's configuration says of their steps.

    Where they are the ``whole`` graph, raises UsageError for a name that no step has.
    """
    known = [node.name for node in nodes]
    for name in pipeline.step_options if whole else ():
        if name not in known:
            raise UsageError(
                f"no step is called `{name}`, so it cannot be configured",
                hint=f"there are: {', '.join(known[:8])}",
            )
    changed = []
    for node in nodes:
        retry = pipeline.retry if not node.step.options.retries else {}
        options = {**retry, **pipeline.step_options.get(node.name, {})}
        step = node.step.with_options(**options) if options else node.step
        changed.append(replace(node, step=step))
    return changed
