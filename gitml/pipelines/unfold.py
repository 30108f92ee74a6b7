"""Dynamic pipelines: the body runs while its steps do, and may ask for what they gave.

When it loads a result, the steps that it has called so far are planned and run; then it goes on. So
what it branches on is what the record has, and the run is one run with all its steps. The code of
the run is settled before: that of all steps which the body names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gitml.errors import GitmlError, UsageError
from gitml.pipelines.dsl import Handle, Node, PipelineFunction
from gitml.pipelines.execute import Execution
from gitml.pipelines.graph import override, with_step_options
from gitml.pipelines.plan import PlannedStep, Planner, call_of

MOST_LOADS = 1000
"""Results that a body may load: a loop that never ends is told from a long one."""

Do = Callable[[Sequence[PlannedStep]], None]


class Undecided(GitmlError):
    """What comes next depends on the result of ``step``, which is not known."""

    def __init__(self, step: str) -> None:
        super().__init__(f"the rest depends on the result of {step}")
        self.step = step


def unfold(
    planner: Planner,
    pipeline: PipelineFunction,
    parameters: Mapping[str, Any],
    execution: Execution,
    do: Do,
) -> None:
    """Run a pipeline's body, handing the steps to ``do`` as it comes to them; extends the plan.

    Raises what ``do`` raises, Undecided where it left a step undone whose result is loaded, and
    UsageError for a body that loads for ever.
    """
    arguments, theirs = call_of(pipeline, parameters)
    loads = 0

    def advance(nodes: Sequence[Node]) -> None:
        known = len(execution.plan.steps)
        if len(nodes) > known:
            execution.plan = planner.extended(execution.plan, pipeline, nodes[known:], theirs)
            do(execution.plan.steps[known:])
            execution.pause()

    def resolve(nodes: Sequence[Node], handle: Handle, wanted: type | None) -> Any:
        nonlocal loads
        loads += 1
        if loads > MOST_LOADS:
            raise UsageError(
                f"the body of {pipeline.name} has loaded {MOST_LOADS} results and goes on",
                hint="end its loop with a count: `for _ in range(100)`; for many items there is "
                "`step.map(items)`",
            )
        advance(nodes)
        if handle.node not in execution.done:
            execution.end()
            raise Undecided(handle.node)
        return execution.load(handle, wanted)

    nodes = pipeline.compose(arguments, resolve)
    advance(nodes)
    with_step_options(override(nodes, theirs), pipeline, whole=True)  # raises for what is not there
