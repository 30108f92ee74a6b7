"""What looks like a credential in a file that is about to enter git.

The rules know the forms in which services give out their keys, so that a match is nearly always
one; a plain assignment counts only when its name says secret (as in ``gitml.toml``) and its value
looks made by a machine. Nothing here ever repeats the secret itself.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from gitml import config
from gitml.entities.pointer import SUFFIX
from gitml.frozen import Frozen

MAX_BYTES = 32 << 20
"""Larger files are not read: `gitml-pointers` keeps them out of git."""

ALLOWED = ("gitml: allow-secret", "pragma: allowlist secret", "gitleaks:allow")
"""A line that has one of these is left alone: it says that somebody looked at it."""


class _Late:
    """A pattern that is compiled when it is first needed: most commits never need it."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        """What the compiled pattern has; it is kept by ``re``."""
        return getattr(re.compile(self._source), name)


_PLACEHOLDER = _Late(
    r"(?i)example|change.?me|place.?holder|your[_.-]|dummy|sample|fake|redacted|insert|replace|todo"
    r"|xxxx|1234567890|abcdef|(.)\1{5}|^(?:user|pass|passwd|pwd|password|secret|token|test|root"
    r"|admin|guest|postgres|mysql|minio(?:admin)?|foo|bar)\d{0,3}$"
)
_TEMPLATE = _Late(r"^[$%<{\[*]|[{<]|\$[({A-Za-z_]|%[(s]|\.\.\.|^env[:.(]|^os\.|\(\)")
_UUID = _Late(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = ("secret", "passw", "token", "api_key", "api-key", "apikey", "access_key", "accesskey")
_NAME = rf"([A-Za-z0-9_.-]{{0,60}}?(?:{'|'.join(_WORDS)})[A-Za-z0-9_.-]{{0,40}})"
_QUOTED = _Late(
    rf"(?i)(?<![A-Za-z0-9_.:-]){_NAME}[\"'\]]{{0,2}}[ \t]{{0,8}}(?::=|=>|=|:)[ \t]{{0,8}}"
    r"[rbfu]?(?:\"([^\"\\\r\n]{8,200})\"|'([^'\\\r\n]{8,200})')"
)
_UNQUOTED = _Late(
    rf"(?i)[ \t]*(?:export[ \t]+|ENV[ \t]+|-[ \t]+)?{_NAME}"
    r"[ \t]{0,8}[=:][ \t]{0,8}([^\s\"'#;,]{8,200})[ \t]*(?:[#;].*)?\r?$"
)
_SETTINGS_FILE = _Late(
    r"(?i)(?:^|/)(?:\.env[^/]*|[^/]*\.(?:env|ini|cfg|conf|properties|ya?ml|sh|tfvars)"
    r"|\.?dockerfile[^/]*|\.pypirc|\.npmrc|credentials)$"
)
_CAMEL = _Late(r"(?<=[a-z0-9])(?=[A-Z])")
_HARMLESS_NAME = _Late(r"(?i)(?:^|_)(?:next|page|continuation|lock|arn|public)(?:_|$)")
_LOCAL = _Late(r"(?i)^(?:localhost|127\.|\[::1\]|0\.0\.0\.0|[^/]*\bexample\b)")
_REACH = 320


class _Rule(Frozen):
    """A form of credentials. Each begins with one of ``marks``, and to find a text is cheap."""

    what: str
    marks: tuple[str, ...]
    pattern: _Late
    judge: Callable[[re.Match[str]], bool]

    def match(self, text: str, at: int) -> bool:
        """Whether it stands at an offset of a text."""
        found = self.pattern.match(text, at)
        return found is not None and self.judge(found)


def _is_random(found: re.Match[str]) -> bool:
    """Whether the first group is no placeholder and has the variety of a random text."""
    return _entropy(found[1]) >= 2.8 and not _PLACEHOLDER.search(found[1])


def _is_password(found: re.Match[str]) -> bool:
    """Whether the password of a URL is a literal one, for a machine that others reach."""
    password, host = found[1], found[2]
    is_literal = not _PLACEHOLDER.search(password) and not _TEMPLATE.search(password)
    return is_literal and not _LOCAL.match(host)


def _is_key(found: re.Match[str]) -> bool:
    return "EXAMPLE" not in found[0]


def _rule(
    what: str,
    marks: str,
    pattern: str,
    judge: Callable[[re.Match[str]], bool] = _is_random,
    *,
    edges: bool = True,
) -> _Rule:
    """A rule; with ``edges`` nothing that could be a part of the same word stands around it."""
    whole = rf"(?<![A-Za-z0-9_-]){pattern}(?![A-Za-z0-9_-])" if edges else pattern
    return _Rule(what, tuple(marks.split("|")), _Late(whole), judge)


_RULES = (
    _rule(
        "a private key",
        "-----BEGIN ",
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\\r|\\n|\s){0,8}(?:[A-Za-z0-9+/=]{20}|[A-Z][A-Za-z-]+: )",
        _is_key,
        edges=False,
    ),
    _rule("a key id of AWS", "AKIA|ASIA|ABIA|ACCA", "(A[A-Z]{3}[A-Z2-7]{16})"),
    _rule(
        "a secret key of AWS",
        "aws_secret_access_key|AWS_SECRET_ACCESS_KEY",
        r"[A-Za-z_]{21}[\"']?\s{0,4}[=:]{1,2}\s{0,4}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        edges=False,
    ),
    _rule("a token of GitHub", "ghp_|gho_|ghu_|ghs_|ghr_", "gh._([A-Za-z0-9]{36,255})"),
    _rule("a token of GitHub", "github_pat_", "github_pat_([A-Za-z0-9]{22}_[A-Za-z0-9]{59})"),
    _rule("a token of GitLab", "glpat-", "glpat-([A-Za-z0-9_.-]{20,300})"),
    _rule("a token of Hugging Face", "hf_", "hf_([A-Za-z0-9]{34,40})"),
    _rule("a key of OpenAI", "sk-", "sk-([A-Za-z0-9_-]{20,120}T3BlbkFJ[A-Za-z0-9_-]{20,100})"),
    _rule("a key of Anthropic", "sk-ant-", "sk-ant-([a-z0-9]{2,12}-[A-Za-z0-9_-]{60,120})"),
    _rule("a key of Weights & Biases", "wandb_v1_", "wandb_v1_([A-Za-z0-9_-]{20,120})"),
    _rule(
        "a token of Slack",
        "xoxa|xoxb|xoxe|xoxp|xoxr|xoxs|xapp-",
        r"x[a-z]{3}(?:\.xox[bp])?-([A-Za-z0-9-]{20,250})",
    ),
    _rule(
        "a webhook of Slack",
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9+/]{30,80})",
    ),
    _rule("a key of Google", "AIza", "AIza([A-Za-z0-9_-]{35})"),
    _rule("a client secret of Google", "GOCSPX-", "GOCSPX-([A-Za-z0-9_-]{28})"),
    _rule("a key of Azure storage", "AccountKey=", "AccountKey=([A-Za-z0-9+/]{86}==)"),
    _rule("a signed URL of Azure", "sig=", "(?<=[?&;])sig=([A-Za-z0-9%+/]{40,90}(?:%3D|=))"),
    _rule("a token of Databricks", "dapi", r"dapi([0-9a-f]{32})(?:-\d)?"),
    _rule("a token of Docker", "dckr_pat_", "dckr_pat_([A-Za-z0-9_-]{27})"),
    _rule("a token of PyPI", "pypi-AgE", "pypi-(AgE[A-Za-z0-9_-]{50,1000})"),
    _rule("a token of npm", "npm_", "npm_([A-Za-z0-9]{36})"),
    _rule("a key of Stripe", "sk_live_|rk_live_", "[sr]k_live_([A-Za-z0-9]{20,247})"),
    _rule("a key of SendGrid", "SG.", r"SG\.([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    _rule("a token of Kaggle", "KGAT_", "KGAT_([A-Za-z0-9]{30,60})"),
    _rule(
        "a signed token (JWT)",
        "eyJ",
        r"(eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{20,2000})",
    ),
    _rule(
        "a password for a machine",
        "machine",
        r"machine[ \t]{1,8}\S{1,255}\s{1,80}login\s{1,80}\S{1,255}"
        r"\s{1,80}password\s{1,80}(\S{6,255})",
    ),
    _rule(
        "a user name and password in a URL",
        "://",
        r"(?<=[A-Za-z0-9])://[^\s/:@'\"<>]{0,80}:([^\s/:@'\"<>]{3,200})@([^\s/'\"]{1,200})",
        _is_password,
        edges=False,
    ),
)


def scan(path: str, data: bytes) -> Iterator[tuple[int, str]]:
    """The lines of a file that look like credentials, each once: its number and what it has.

    ``path`` decides which more rules hold: ``gitml.toml`` and pointers are judged as their own
    readers do, files of settings (``.env``, YAML, …) also by assignments without quotes. Binary
    files have none. Lines marked with one of ``ALLOWED`` are left out.
    """
    if len(data) > MAX_BYTES or b"\0" in data[:8192]:
        return
    text = data.decode("latin-1")  # one letter a byte: all that the rules know is ASCII
    said: dict[int, str] = {}
    for at, what in (*_own_settings(path, data), *_findings(text), *_assigned(path, text)):
        begin, end = _line_around(text, at)
        if not any(mark in text[begin:end] for mark in ALLOWED):
            said.setdefault(begin, what)
    for begin, what in sorted(said.items()):
        yield text.count("\n", 0, begin) + 1, what


def _line_around(text: str, at: int) -> tuple[int, int]:
    """Where the line of an offset begins and ends."""
    end = text.find("\n", at)
    return text.rfind("\n", 0, at) + 1, end if end >= 0 else len(text)


def _places(text: str, mark: str) -> Iterator[int]:
    """Every offset at which a mark stands."""
    at = text.find(mark)
    while at >= 0:
        yield at
        at = text.find(mark, at + 1)


def _findings(text: str) -> Iterator[tuple[int, str]]:
    """Where a known form of credentials stands, as offsets."""
    for rule in _RULES:
        for mark in rule.marks:
            for at in _places(text, mark):
                if rule.match(text, at):
                    yield at, rule.what


def _own_settings(path: str, data: bytes) -> Iterator[tuple[int, str]]:
    """What gitml's own files may not hold: ``gitml.toml`` and the fields of pointers."""
    if path == config.FILE:
        try:
            document = tomllib.loads(data.decode("utf-8", "replace"))
        except (tomllib.TOMLDecodeError, RecursionError):
            return
        for secret in config.secrets_in(document):
            key = secret.key.rpartition(".")[2]
            yield max(data.find(key.encode()), 0), f"{secret.key} {secret.what}"
    elif path.endswith(SUFFIX):
        at = 0
        for line in data.decode("latin-1").splitlines(keepends=True):
            key, _, value = line.strip().partition(" ")
            if config.is_secret(key, value):
                yield at, f"the field `{key[:40]}` of a pointer holds a secret"
            at += len(line)


def _assigned(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Where a literal value is given to a name that says secret."""
    lowered = text.lower()
    is_settings = _SETTINGS_FILE.search(path) is not None
    for place in sorted({place for word in _WORDS for place in _places(lowered, word)}):
        begin, end = _line_around(text, place)
        if is_settings and end - begin <= _REACH and (plain := _UNQUOTED.match(text, begin, end)):
            yield from _literal(plain)
        begin, end = max(begin, place - _REACH), min(end, place + _REACH)
        if quoted := _QUOTED.search(text, max(begin, place - 64), end):
            yield from _literal(quoted)


def _literal(found: re.Match[str]) -> Iterator[tuple[int, str]]:
    """An assignment, if its name says secret and its value is one."""
    name, value = found[1], next(filter(None, found.groups()[1:]))
    key = _CAMEL.sub("_", name.rpartition(".")[2]).replace("-", "_")
    if not config.is_secret(key, value) or _TEMPLATE.search(value) or _HARMLESS_NAME.search(key):
        return
    is_password = "passw" in key.lower()
    if _is_literal_password(value) if is_password else _is_machine_made(value):
        yield found.start(1), f"a literal value for `{name[:40]}`"


def _is_literal_password(value: str) -> bool:
    """Whether a value looks chosen by somebody who wanted a password."""
    if " " in value or "/" in value or _PLACEHOLDER.search(value):
        return False
    classes = [any(map(judge, value)) for judge in (str.isalpha, str.isdigit, _is_sign)]
    return sum(classes) >= 2 and re.fullmatch(r"[A-Za-z]+(?:[._-][A-Za-z]+)*", value) is None


def _is_sign(letter: str) -> bool:
    return not letter.isalnum()


def _is_machine_made(value: str) -> bool:
    """Whether a value has the length, the letters and the variety of a generated key."""
    if len(value) < 16 or not re.fullmatch(r"[A-Za-z0-9+/=_.~:-]+", value):
        return False
    if _PLACEHOLDER.search(value) or not re.search(r"[0-9]", value) or _UUID.fullmatch(value):
        return False
    # Names that people give have words and numbers, each by itself: `my-token-2024`.
    if all(one.isalpha() or one.isdigit() for one in re.split(r"[+/=_.~:-]+", value) if one):
        return len(value) >= 40 and _entropy(value) >= 4.5
    return _entropy(value) >= (2.8 if re.fullmatch(r"[0-9a-fA-F]+", value) else 3.3)


def _entropy(text: str) -> float:
    """Bits a letter, from how often each letter stands in the text."""
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values()) if total else 0.0
