"""The name of a run, made of a template: for people, beside the id that is its identity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gitml.entities import codec
from gitml.entities.ids import check_name
from gitml.errors import InvalidName, UsageError
from gitml.pipelines.dsl import PipelineFunction

_PLACE = re.compile(r"\{([^{}]*)\}")


def run_name(pipeline: PipelineFunction, parameters: Mapping[str, Any], now: float) -> str | None:
    """The name of a run that begins at ``now``; None where its pipeline has no template.

    ``{date}`` and ``{time}`` (UTC, with microseconds) are replaced, the pipeline's substitutions,
    and parameters by name. Raises UsageError for another place, InvalidName for what is no name.
    """
    template = pipeline.run_name
    if template is None:
        return None
    moment = datetime.fromtimestamp(now, UTC)
    known: dict[str, Any] = {
        "date": moment.strftime("%Y_%m_%d"),
        "time": moment.strftime("%H_%M_%S_%f"),
        **parameters,
        **pipeline.substitutions,
    }

    def fill(place: re.Match[str]) -> str:
        if place[1] not in known:
            raise UsageError(
                f"the run's name `{template}` has {place[0]}, which is no parameter",
                hint=f"there are: {', '.join(sorted(known))}",
            )
        value = known[place[1]]
        text = value if isinstance(value, str) else codec.dump_line(codec.plain(value))
        return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")

    name = check_name(_PLACE.sub(fill, template), "run")
    if re.fullmatch("[0-9a-f]{4,}", name):
        raise InvalidName(
            f"not a name for a run: `{name}` reads as an id", hint=f"`run-{name}` does not"
        )
    return name
