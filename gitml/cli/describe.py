"""Records as lines for people: a function a kind, first a head line, then what is known of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gitml.cli import render
from gitml.cli.render import paint
from gitml.history.record import seconds_of

if TYPE_CHECKING:
    from gitml.entities.records import Code, Output, Revocation
    from gitml.handles import RunHandle, StepHandle, StoredOutput, VersionHandle
    from gitml.history.live import Going
    from gitml.history.models import Event, ModelState
    from gitml.previews import Preview
    from gitml.repo import Repo

_TAIL = 20
"""Lines of a failed step's output that are shown with its run."""


def _revoked(revoked: Sequence[Revocation]) -> str:
    """What was revoked that a record stands on, and why."""
    return "; ".join(f"{one.name}: {one.reason}" for one in revoked)


def run_glyph(run: RunHandle) -> str:
    """The mark of a run: its shape says whether it completed."""
    if run.status == "completed":
        return paint("run", render.RUN)
    return paint("failed", render.FAILED)


def stages(version: VersionHandle) -> str:
    """The stages that a version holds, in brackets, and whether it is revoked; perhaps nothing."""
    revoked = paint("failed", "[revoked]") if version.revoked else ""
    if version.stages:
        held = paint("stage", f"[{', '.join(version.stages)}]")
        return f"{held} {revoked}".rstrip()
    if revoked:
        return revoked
    if version.id not in version.state.visible:
        return paint("dim", "[deleted]")
    return paint("dim", "[archived]") if version.archived else ""


def version_marks(run: RunHandle) -> str:
    """The versions that a run made or resolved to, of each of its models."""
    return ", ".join(map(version_mark, run.model_versions.values()))


def holders(state: ModelState) -> str:
    """The stages of a model with the versions that hold them: ``production clf@v3``."""
    held = []
    for stage, events in sorted(state.stages.items()):
        holder = events[-1].promotion.version
        if holder is not None or state.trouble(stage):
            held.append(f"{paint('stage', stage)} {holder_mark(state, stage)}")
    return "  ".join(held)


def holder_mark(state: ModelState, stage: str) -> str:
    """The version that holds a stage, or why there is none that counts."""
    holder = state.stages[stage][-1].promotion.version
    if state.trouble(stage):
        return paint("failed", "forked" if stage in state.forked else "unreadable")
    if holder is None:
        return "vacant"
    deleted = " (deleted)" if holder in state.hidden else ""
    return f"{paint('version', state.label(holder))}{deleted}"


def aliases(state: ModelState) -> str:
    """The aliases of a model with what they mean: ``champion clf@v3``."""
    named = state.aliases.items()
    shown = [
        f"{paint('stage', alias)} {paint('version', state.label(version))}"
        for alias, version in sorted(named)
        if version not in state.hidden
    ]
    return "  ".join(shown)


def version_mark(version: VersionHandle) -> str:
    """A version with its stages and aliases: ``clf@v3 [production] @champion``."""
    aliases = " ".join(paint("stage", f"@{one}") for one in version.aliases)
    said = [paint("version", version.label), stages(version), aliases]
    return " ".join(one for one in said if one)


def step_counts(run: RunHandle) -> str:
    """How many steps a run has, and how many of them did not run: ``4 steps, 3 cached``."""
    states = [step.state for step in run.entry.record.steps]
    counted = [(states.count(state), state) for state in ("cached", "taken")]
    if run.status == "completed":  # of a run that broke off, the rest is skipped anyway
        counted.append((states.count("skipped"), "skipped"))
    idle = [f"{number} {state}" for number, state in counted if number]
    return ", ".join([render.count(len(states), "step"), *idle])


def describe_going(run: Going) -> str:
    """A run that goes on, in a line: ``training  fit, 1 of 3 steps done  for 12 s``."""
    at, took = run.current, time.time() - seconds_of(run.started)
    done = f"{len(run.ended)} of {render.count(len(run.steps), 'step')} done"
    step = f"{at.step}, {done}" if at is not None else done
    name = paint("run", run.name or f"process {run.process}")
    return f"{name} {run.pipeline}  {step}  for {render.duration(took)}"


def describe_run(repo: Repo, run: RunHandle) -> Iterator[str]:
    """A run: what it made and of what, its steps, and why it failed if it did."""
    record = run.entry.record
    took = f"{render.ago(run.entry.at)}, took {render.duration(record.duration)}"
    failed = run.status != "completed"
    yield (
        f"{run_glyph(run)} run {paint('run', repo.short(run.id))} {run.pipeline}  "
        f"{f'{run.name}  ' if run.name else ''}"
        f"{paint('failed' if failed else 'dim', run.status)}"
    )
    made = run.made_versions
    same = [one for one in run.model_versions.values() if one not in made]
    yield from render.pairs(
        [
            ("revoked", paint("failed", _revoked(run.revoked))),
            ("made", "  ".join(map(version_mark, made))),
            ("same as", "  ".join(map(version_mark, same))),
            ("when", f"{took}, by {run.entry.author}"),
            ("code", code_words(repo, record.code)),
            ("stack", record.stack),
            ("parameters", render.settings(run.parameters)),
            ("metrics", render.metrics(run.metrics)),
            ("metadata", render.settings(run.metadata())),
            ("tags", ", ".join(run.tags)),
            ("used", _used(repo, run)),
        ]
    )
    yield ""
    yield from render.table(
        [_step_row(repo, step) for step in run.steps.values()],
        ["step", "state", "took", "id", "outputs"],
        right={2},
    )
    yield from _failure(run)


def _used(repo: Repo, run: RunHandle) -> str:
    """What a run was given by other records."""
    return "  ".join(f"{pin.name} {repo.short(pin.commit)}" for pin in run.entry.record.pins)


def _step_row(repo: Repo, step: StepHandle) -> list[str]:
    state = (
        paint("failed", step.status) if step.status in ("failed", "interrupted") else step.status
    )
    ran = step.found is not None and step.status == "completed"
    took = render.duration(step.found.record.duration) if ran and step.found else ""
    commit = paint("dim", repo.short(step.found.id)) if step.found else ""
    made = [f"{one.name} {render.size(one.size)}" for one in step.outputs.values()]
    if step.kept:
        made.append(f"{render.count(step.kept, 'result')} kept for the next run")
    return [step.name, state, took, commit, ", ".join(made)]


def _failure(run: RunHandle) -> Iterator[str]:
    failure = run.failure
    if failure is None:
        return
    where = f" in the step {failure.step}" if failure.step else ""
    yield ""
    first, *rest = render.paragraph(failure.message)
    yield f"{paint('failed', failure.type)}{where}: {first}"
    yield from rest
    yield from (paint("dim", line) for line in render.paragraph(failure.traceback, "  "))
    printed = run.steps[failure.step].log() if failure.step in run.steps else ""
    if printed.strip():
        lines = list(render.paragraph(printed, "  "))
        yield ""
        yield (
            f"The last that {failure.step} printed"
            if len(lines) > _TAIL
            else (f"What {failure.step} printed")
        )
        yield from lines[-_TAIL:]


def describe_step(repo: Repo, step: StepHandle) -> Iterator[str]:
    """A step execution: its code, what went in, what came out, what it printed."""
    if step.found is None:
        return
    record, commit = step.found.record, repo.short(step.found.id)
    yield f"{paint('run', render.RUN)} step {paint('run', commit)} {record.pipeline}.{record.name}"
    reused = f"adopted from {repo.short(record.reused)}" if record.reused else ""
    yield from render.pairs(
        [
            ("revoked", paint("failed", _revoked(repo.parts.revoked(step.found.id)))),
            ("when", f"{render.ago(step.found.at)}, took {render.duration(record.duration)}"),
            ("reused", reused),
            ("function", record.source),
            ("code", code_words(repo, record.code)),
            ("parameters", render.settings(step.parameters)),
            ("metrics", render.metrics(step.metrics)),
            ("metadata", render.settings(step.metadata)),
        ]
    )
    given = [(one.name, one) for one in (*record.inputs, *record.loads)]
    if given:
        yield ""
        yield from render.table(
            [
                [name, f"{one.kind} {one.digest.short}", repo.short(one.commit)]
                for name, one in given
            ],
            ["input", "bytes", "made by"],
        )
    if step.outputs:
        yield ""
        yield from artifact_table(step.outputs.values())
    if printed := step.log():
        yield ""
        yield "What it printed"
        yield from render.paragraph(printed, "  ")


def _said(value: object) -> str:
    """A field of a model card on one line."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _takes(version: VersionHandle) -> str:
    """The signatures of a version's models; with their names where there are several."""
    if not (found := version.signatures):
        return ""
    from gitml.pipelines.signature import words

    if len(found) == 1:
        return words(next(iter(found.values())))
    return "  ".join(f"{name}: {words(one)}" for name, one in found.items())


def describe_version(repo: Repo, version: VersionHandle) -> Iterator[str]:
    """A model version: what made it, how good it is, what it holds, who uses it."""
    record = version.entry.record
    yield f"{paint('version', render.VERSION)} {version_mark(version)}"
    said = [one for one in (record.card or {}).items() if one[0] != "tags"]
    made = f"{record.pipeline}, {render.ago(version.entry.at)}, {version.entry.author}"
    run = version.run
    users = [f"{one.pipeline} {repo.short(one.id)}" for one in repo.consumers(version)]
    yield from render.pairs(
        [
            ("revoked", paint("failed", _revoked(version.revoked))),
            ("about", record.description or ""),
            *((name.replace("_", " "), _said(one)) for name, one in said),
            ("tags", ", ".join(version.tags)),
            ("takes", _takes(version)),
            ("commit", paint("dim", repo.short(version.id))),
            ("made by", f"run {paint('run', repo.short(record.run))} of {made}"),
            ("code", code_words(repo, record.code)),
            ("parameters", render.settings(version.parameters)),
            ("metrics", render.metrics(version.metrics)),
            ("metadata", render.settings(version.metadata())),
            ("used", _used(repo, run) if run is not None else ""),
            ("used by", "  ".join(users)),
        ]
    )
    if version.artifacts:
        yield ""
        yield from artifact_table(version.artifacts.values(), names=list(version.artifacts))
    moves = [
        event
        for events in version.state.stages.values()
        for event in events
        if event.promotion.version == version.id
    ]
    if moves:
        yield ""
        yield from event_table(version.state, moves)


def event_table(state: ModelState, events: Iterable[Event]) -> list[str]:
    """Moves of stages as a table, newest first."""
    rows = []
    for event in sorted(events, key=lambda one: one.promotion.at, reverse=True):
        moved = event.promotion
        holder = paint("version", state.label(moved.version)) if moved.version else "vacant"
        rows.append(
            [
                paint("stage", f"{moved.stage}/{moved.n}"),
                holder,
                state.label(moved.before) if moved.before else "",
                render.ago(seconds_of(moved.at)),
                event.tagger.partition(" <")[0],
                moved.reason,
            ]
        )
    return render.table(rows, ["stage", "version", "was", "when", "by", "why"], shorten=(4, 3, 5))


def describe_model(repo: Repo, state: ModelState) -> Iterator[str]:
    """A model: its stages in one table, then every version."""
    yield f"{paint('head', state.name)}  {render.count(len(state.visible), 'version')}"
    if state.deleted:
        gone = ", ".join(f"v{n}" for n in sorted(state.deleted))
        yield paint("dim", f"deleted: {gone}")
    for commit in reversed(state.visible):
        yield ""
        yield from describe_version(repo, repo.version_of(commit))


def describe_artifact(
    repo: Repo, label: str, stored: StoredOutput, preview: Preview | None = None
) -> Iterator[str]:
    """An artifact: its bytes, how they are stored, who made them, and perhaps what it holds."""
    record = stored.record
    known = record.metadata if preview is None else preview.facts
    yield f"{paint('artifact', render.ARTIFACT)} {paint('artifact', label)}"
    yield from render.pairs(
        [
            ("digest", str(record.digest)),
            ("size", f"{render.size(record.size)}{' in a folder' * (record.kind == 'tree')}"),
            ("type", record.type),
            ("stored as", record.materializer),
            ("made by", repo.short(stored.commit)),
            ("metadata", render.settings({**known, **stored.said})),
            ("tags", ", ".join(stored.tags)),
        ]
    )
    if preview is not None:
        yield ""
        yield from _preview(preview)


def _preview(preview: Preview) -> Iterator[str]:
    """What an artifact holds: the head of a table, a text, and what is left out."""
    if preview.columns:
        names, *kinds = preview.head()
        head = [[paint("head", name) for name in names]]
        head += [[paint("dim", kind) for kind in line] for line in kinds]
        yield from render.table([*head, *preview.rows])
    if preview.text:
        yield from render.paragraph(preview.text)
    yield from (paint("dim", note) for note in preview.notes)


def artifact_table(outputs: Iterable[StoredOutput], names: list[str] | None = None) -> list[str]:
    """Artifacts as a table; ``names`` are those that they have where they are listed."""
    listed = list(outputs)
    shown = names or [one.name for one in listed]
    rows = [artifact_row(name, one.record) for name, one in zip(shown, listed, strict=True)]
    return render.table(rows, ["artifact", "digest", "size", "kind", "type"], right={2})


def artifact_row(name: str, output: Output) -> list[str]:
    """An artifact as a row: name, digest, size, kind, type."""
    digest = paint("dim", output.digest.short)
    return [paint("artifact", name), digest, render.size(output.size), output.kind, output.type]


def code_words(repo: Repo, code: Code) -> str:
    """A code commit in words."""
    text = paint("code", repo.short(code.commit))
    return f"{text} (a snapshot of changed files)" if code.snapshot else text
