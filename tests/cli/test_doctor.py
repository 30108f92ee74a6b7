"""Findings as lines: what helps can be pasted, however narrow the terminal is."""

from __future__ import annotations

import os
import sys

import pytest

from gitml.cli.doctor import finding_lines
from gitml.doctor import Finding


def test_a_command_that_helps_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "`git config gitml.store /a/folder/of/a/long/name/that/has/no/place/at/80/columns`"
    findings = [
        Finding("disk", "warning", "a" * 70, command),
        Finding("git", "ok", "2.39"),
        Finding("settings", "note", "short"),
    ]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    lines = list(finding_lines(findings))
    assert any(line.endswith(command) for line in lines)
    assert any(line.endswith("a" * 70) for line in lines)
    assert len(lines) == 4
    assert len(list(finding_lines(findings, all_of_them=True))) == 4
