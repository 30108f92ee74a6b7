"""``gitml run``."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitml.cli import documents, render
from gitml.cli.command import command_of, restore_outputs
from gitml.cli.describe import step_counts
from gitml.cli.forecast import answer_forecast, forecast_document
from gitml.cli.invocation import dry_run_option, json_option, with_repo
from gitml.cli.parameters import coerced, from_file, from_options
from gitml.cli.render import paint
from gitml.cli.steplist import progress
from gitml.cli.sweep import Sweep, combinations, swept
from gitml.errors import GitmlError, StepFailed, UsageError
from gitml.frozen import Frozen, replace

if TYPE_CHECKING:
    from gitml.entities.records import Failure
    from gitml.handles import RunHandle
    from gitml.pipelines.dsl import PipelineFunction
    from gitml.pipelines.explain import Explanation
    from gitml.pipelines.selection import Selection
    from gitml.repo import Repo

_ENDING = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


@click.command()
@click.argument("name", metavar="NAME|FILE.py[:NAME]", required=False)
@click.argument("command", nargs=-1, metavar="| -o FILE -- COMMAND…")
@click.option(
    "-p",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter of the pipeline, or of a step as STEP.NAME; JSON, else text.",
)
@click.option(
    "--params",
    "file",
    type=click.Path(path_type=Path),
    help="Read parameters from a TOML, YAML or JSON file; -p comes on top.",
)
@click.option(
    "-d",
    "inputs",
    multiple=True,
    metavar="PATH",
    help="Run a command, which reads this file or folder.",
)
@click.option(
    "-o",
    "outputs",
    multiple=True,
    metavar="PATH",
    help="Run a command, which writes this file or folder: it is stored, and kept for the cache.",
)
@click.option("--name", "title", metavar="NAME", help="Call the command's pipeline so.")
@click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take parameters, options of steps, the model and more from a TOML, YAML or JSON file.",
)
@click.option(
    "--run-name",
    metavar="TEMPLATE",
    help="Call the run so: `exp-{date}-{rate}` has the day and a parameter in it.",
)
@click.option("--no-cache", is_flag=True, help="Run every step, also those with a known result.")
@click.option(
    "--strict-env",
    is_flag=True,
    help="Take a result from the cache only where every installed package was the same.",
)
@click.option(
    "--no-record",
    is_flag=True,
    help="Keep nothing: no record, no version, no bytes; every step runs.",
)
@click.option(
    "--from",
    "start",
    multiple=True,
    metavar="STEP",
    help="Begin with this step: it and what needs it run; the rest is cached, else taken from the"
    " newest run that has it with these parameters.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="STEP",
    help="Run this step alone, on results of the newest run that has them with these parameters;"
    " no version is made.",
)
@click.option(
    "--resume",
    metavar="RUN",
    help="Go on from a run, with its parameters (-p comes on top) and the results that it has.",
)
@dry_run_option
@json_option
@with_repo
def run(
    repo: Repo,
    name: str | None,
    command: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    title: str | None,
    parameters: tuple[str, ...],
    file: Path | None,
    config: Path | None,
    run_name: str | None,
    no_cache: bool,
    strict_env: bool,
    no_record: bool,
    start: tuple[str, ...],
    only: tuple[str, ...],
    resume: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run a pipeline and record it.

    Steps whose code, parameters and inputs are known are not run again: their results are taken
    from the cache. What runs is the working tree as it is; if it is dirty, a snapshot is recorded
    and your index, branch and stash stay as they are. A run that fails is recorded too.

    With -d or -o what follows is a command: it runs here, and is cached by its words, the scripts
    among them, its parameters (`{rate}` in a word is that of `-p rate=…`) and what it reads.

    Several values between commas are a sweep: a run for each combination, and a table at the end. A
    text with commas is written as JSON: `-p 'name="a,b"'`.

    A step that is taken over from another run is not looked at again, whatever changed in its code
    since; the record names the commit that it comes from.

    \b
    gitml run training -p depth=8 -p train.seed=3
    gitml run training -p rate=0.01,0.1,1 --dry-run
    """
    repo.strict_env = strict_env
    resumed = _resumed(repo, resume) if resume else None
    typed = from_options(parameters)
    if inputs or outputs:
        words = [*([name] if name else []), *command]
        pipeline = command_of(repo, words, title, inputs, outputs, typed)
    else:
        _refuse_words(command, title)
        pipeline = _loaded(repo, name, resumed)
    if resumed is not None and resumed.pipeline != pipeline.name:
        raise UsageError(f"{resumed.id.short} is a run of {resumed.pipeline}")
    if config is not None:
        pipeline = _configured(pipeline, config)
    if run_name is not None:
        pipeline = _named(pipeline, run_name)
    selection = _selection(start, only, resumed, no_record)
    given = {**(resumed.parameters if resumed else {})}
    given |= {**(from_file(file, pipeline.signature) if file else {}), **typed}
    order = _Order(repo, pipeline, not no_cache, selection)
    if several := swept(given):
        if no_record or resumed is not None:
            raise UsageError("a sweep makes new runs, with a record each")
        _sweep(order, given, several, dry_run, as_json)
        return
    values = coerced(given, pipeline.function)
    if dry_run:
        answer_forecast(repo, pipeline.name, order.forecast(values), as_json)
        return
    if no_record:
        _run_unrecorded(repo, pipeline, values, as_json)
        return
    done = order.run(values, as_json)
    if outputs:
        restore_outputs(repo, done, outputs)
    if as_json:
        render.answer_json("run", documents.run_document(done))
        return
    render.answer(_done(repo, done))
    render.tell(*_why_new(repo, done), *_next_step(done))


class _Order(Frozen):
    """What is to be run, and how; the parameters are still open."""

    repo: Repo
    pipeline: PipelineFunction
    cache: bool
    selection: Selection

    def forecast(self, values: dict[str, Any]) -> list[Explanation]:
        """What a run with these parameters would do."""
        return self.repo.forecast(self.pipeline, values, cache=self.cache, selection=self.selection)

    def run(self, values: dict[str, Any], as_json: bool = False) -> RunHandle:
        """The run with these parameters; a failure is told before it is raised."""
        try:
            with _ended_by_signals(), progress(self.pipeline.name) as shown:
                return self.repo.run(
                    self.pipeline,
                    values,
                    cache=self.cache,
                    selection=self.selection,
                    tell=shown.tell,
                    live=shown.live,
                )
        except SystemExit as error:
            raise _as_failure(error, as_json) from None
        except (Exception, KeyboardInterrupt) as error:
            _tell_failure(error, as_json)
            raise


def _sweep(
    order: _Order, given: dict[str, Any], several: dict[str, list[Any]], dry: bool, as_json: bool
) -> None:
    """A run, or its forecast, for every combination of the parameters with several values."""
    chosen = combinations(several)
    wanted = [coerced({**given, **one}, order.pipeline.function) for one in chosen]
    if dry:
        _forecast_sweep(order, wanted, list(several), as_json)
        return
    sweep = Sweep(order.repo, list(several))
    for place, values in enumerate(wanted, 1):
        title = render.settings({name: values[name] for name in several})
        sweep.add(f"{place}/{len(wanted)}  {title}", partial(order.run, values))
    sweep.answer(as_json)


def _forecast_sweep(
    order: _Order, wanted: list[dict[str, Any]], names: list[str], as_json: bool
) -> None:
    pipeline = order.pipeline.name
    plans = []
    for values in wanted:
        given = {name: values[name] for name in names}
        steps = order.forecast(values)
        plans.append({"parameters": given, **forecast_document(pipeline, steps)})
        if not as_json:
            render.answer(paint("head", render.settings(given)))
            answer_forecast(order.repo, pipeline, steps, as_json)
    if as_json:
        render.answer_json("run.sweep.plan", {"swept": names, "runs": plans})


def _configured(pipeline: PipelineFunction, path: Path) -> PipelineFunction:
    """The pipeline with what a file says about its run."""
    from gitml.pipelines.configuration import configured, read_configuration

    settings = read_configuration(path, os.environ)
    if note := settings.note(path):
        render.tell(f"{paint('warning', 'Note:')} {note}")
    try:
        values = coerced(settings.parameters, pipeline.function)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message} in `parameters`") from None
    return configured(pipeline, replace(settings, parameters=values))


def _named(pipeline: PipelineFunction, template: str) -> PipelineFunction:
    """The pipeline with another name for its run."""
    from gitml.pipelines.configuration import configuration, configured

    return configured(pipeline, configuration({"run_name": template}, "--run-name"))


def _resumed(repo: Repo, text: str) -> RunHandle:
    """The run that a name means; raises UsageError for another thing."""
    if text.startswith("-"):  # the next option was read as the name
        raise UsageError(
            "--resume needs a run", hint="`gitml log` lists them: `gitml run --resume RUN`"
        )
    found = repo.resolve(text)
    if found.kind not in ("run", "pipeline") or found.commit is None:
        raise UsageError(f"`{text}` is no run", hint="`gitml log` lists the runs")
    return repo.run_of(found.commit)


def _selection(
    start: tuple[str, ...], only: tuple[str, ...], resumed: RunHandle | None, no_record: bool
) -> Selection:
    from gitml.pipelines.selection import Selection

    if no_record and (start or only or resumed):
        raise UsageError("without a record every step runs: nothing can be taken from other runs")
    return Selection(start, only, resumed.id if resumed else None)


def _run_unrecorded(
    repo: Repo, pipeline: PipelineFunction, values: dict[str, Any], as_json: bool
) -> None:
    try:
        with _ended_by_signals(), progress(pipeline.name) as shown:
            steps = repo.run_unrecorded(pipeline, values, tell=shown.tell, live=shown.live)
    except StepFailed as error:
        failure: Failure | None = getattr(error, "failure", None)
        if failure is not None and not as_json:
            render.tell(*render.paragraph(failure.traceback))
        raise
    except SystemExit as error:
        raise _as_failure(error, as_json) from None
    if as_json:
        document = {"pipeline": pipeline.name, "recorded": False, "steps": steps}
        render.answer_json("run", document)
        return
    count = render.count(len(steps), "step")
    render.answer(f"Ran {pipeline.name} ({count}) and recorded nothing")


class Ended(KeyboardInterrupt):
    """A signal asked this process to end; ``exit_code`` is what a shell makes of it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have the signals that ask to end do in the block what Ctrl-C does: the run is recorded.

    So end a CI job that is cancelled, a container that is stopped, a connection that is cut. The
    second such signal is final, and so is the first in a child that was forked.
    """
    process = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:
            os.kill(os.getpid(), number)
            return
        raise Ended(number)

    usual = [one for one in _ENDING if signal.getsignal(one) == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        usual = []
    for one in usual:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in usual:
            signal.signal(one, signal.SIG_DFL)


def _refuse_words(command: tuple[str, ...], title: str | None) -> None:
    """Raise UsageError for what only makes sense with a command."""
    if command or title:
        raise UsageError(
            f"`{command[0] if command else title}` is too much: a command has -d or -o",
            hint="say what it reads and writes: `gitml run -d data.csv -o model.bin -- ./train.sh`",
        )


def _loaded(repo: Repo, name: str | None, resumed: RunHandle | None) -> PipelineFunction:
    """The pipeline that is named, or that of the run to go on from; its file is imported."""
    if name is None:
        if resumed is None:
            hint = "`gitml pipeline list` shows what there is"
            raise UsageError("no pipeline is named", hint=hint)
        name = resumed.pipeline
    try:
        return repo.load_pipeline(name, Path.cwd())
    except SystemExit as error:
        raise GitmlError(
            f"{name} ends Python while it is imported",
            hint="put what it does below `if __name__ == '__main__':`",
        ) from error


def _done(repo: Repo, done: RunHandle) -> str:
    """The run in one line."""
    name = f" ({done.name})" if done.name else ""
    text = f"Ran {done.pipeline} {paint('run', repo.short(done.id))}{name}"
    states = [step.state for step in done.entry.record.steps]
    all_cached = all(state == "cached" for state in states)
    made = [paint("version", one.label) for one in done.made_versions]
    if all_cached and done.model_versions and not made:
        same = [paint("version", one.label) for one in done.model_versions.values()]
        return f"{text} with every step cached: same as {' and '.join(same)}"
    if made:
        text += f" and made {' and '.join(made)}"
    if all_cached:
        return f"{text} with every step cached"
    return f"{text} in {render.duration(done.entry.record.duration)} ({step_counts(done)})"


def _why_new(repo: Repo, done: RunHandle) -> Iterator[str]:
    """Why a run that computed nothing has made a version all the same."""
    if any(step.state != "cached" for step in done.entry.record.steps):
        return
    for made in done.made_versions:
        record, label = made.entry.record, paint("version", made.label)
        others = [repo.version_of(one) for one in made.state.visible if one != made.id]
        same = [one for one in others if one.entry.record.keys == record.keys]
        if same and same[-1].entry.record.code.snapshot and not record.code.snapshot:
            yield (
                f"{label} is new since its code is committed; {same[-1].label}, of the same steps, "
                "was made of a snapshot"
            )
        elif not same:
            yield f"{label} is new since no version was made of just these steps"


def _next_step(done: RunHandle) -> Iterator[str]:
    version = done.model_version
    if version is None or not done.made_version:
        return
    has_others = len(version.state.visible) > 1
    command = f"model compare {version.model}" if has_others else f"show {version.label}"
    yield f"Next: `gitml {command}`"


def _tell_failure(error: BaseException, as_json: bool) -> None:
    """Print the record, or the traceback of the user's own frames."""
    run: RunHandle | None = getattr(error, "run", None)
    if run is None or isinstance(error, KeyboardInterrupt):
        return
    if as_json:
        render.answer_json("run", documents.run_document(run))
    elif isinstance(error, StepFailed) and run.failure and run.failure.type != "StepFailed":
        render.tell(*render.paragraph(run.failure.traceback))


def _as_failure(error: SystemExit, as_json: bool) -> StepFailed:
    """A step that ends the process, as the failure that it is."""
    run: RunHandle | None = getattr(error, "run", None)
    failed = run.failure if run is not None else None
    step = (failed.step or "the body of the pipeline") if failed is not None else "a step"
    if as_json and run is not None:
        render.answer_json("run", documents.run_document(run))
    hint = f"`gitml show {run.id.short}` has the record" if run is not None else None
    return StepFailed(f"{step} called `sys.exit({error.code!r})`", hint=hint)
