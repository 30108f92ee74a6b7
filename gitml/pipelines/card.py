"""The model card of a version: ``.gitml/README.md``, what a forge shows beside the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitml.entities.records import Output, Version

_TITLES = {
    "license": "License",
    "audience": "Audience",
    "use_cases": "Use cases",
    "limitations": "Limitations",
    "trade_offs": "Trade-offs",
    "ethics": "Ethics",
}


def model_card(version: Version, metrics: Mapping[str, float]) -> str:
    """The card as Markdown: what made the version, with what, how good it is, what it holds."""
    lines = [f"# {version.model}", ""]
    if version.description:
        lines += [_text(version.description), ""]
    card = version.card or {}
    if tags := card.get("tags"):
        lines += ["Tags: " + ", ".join(_text(str(one)) for one in tags), ""]
    lines += [f"Made by the pipeline `{version.pipeline}` on {version.created[:10]}."]
    for name, title in _TITLES.items():
        if name in card:
            lines += ["", f"## {title}", "", _text(str(card[name]))]
    lines += _table("Metrics", "metric", {k: f"{v:.6g}" for k, v in sorted(metrics.items())})
    lines += _table("Parameters", "parameter", dict(sorted(version.parameters.items())))
    for name, one in (version.signatures or {}).items():
        taken = {column.name: column.type or "" for column in one.features}
        lines += _table(f"What {_text(name)} takes", "column", taken, "type")
    artifacts = {one.name: _artifact(one.output) for one in version.artifacts}
    lines += _table("Artifacts", "artifact", artifacts)
    return "\n".join([*lines, ""])


def _artifact(output: Output) -> str:
    return f"{output.type or output.kind}, {output.size} bytes, {output.digest.short}"


def _table(title: str, head: str, rows: Mapping[str, Any], value: str = "value") -> list[str]:
    if not rows:
        return []
    lines = ["", f"## {title}", "", f"| {head} | {value} |", "|---|---|"]
    return lines + [f"| {_text(key)} | {_text(str(value))} |" for key, value in rows.items()]


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = "".join(
        one if one.isprintable() or one in "\n\t" else f"\\u{ord(one):04x}" for one in text
    )
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split()) or " "
