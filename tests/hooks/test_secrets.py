"""Credentials are found and never repeated; what only reads like one is let through.

The samples are put together from parts, so that this file holds none.
"""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitml.hooks.secrets import ALLOWED, MAX_BYTES, scan

_LETTERS = string.ascii_letters + string.digits


def made(length: int, letters: str = _LETTERS, seed: int = 7) -> str:
    """A random text, the same in every run."""
    return "".join(random.Random(seed).choices(letters, k=length))


KEY = "-----BEGIN {}PRIVATE " + "KEY-----\n" + made(64) + "\n-----END {}PRIVATE " + "KEY-----\n"
CREDENTIALS = {
    "private key": KEY.format("RSA ", "RSA "),
    "private key of openssh": KEY.format("OPENSSH ", "OPENSSH "),
    "private key in JSON": f'"private_key": "{KEY.format("", "")}"'.replace("\n", "\\n"),
    "AWS id": "AK" + "IA" + made(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "AWS secret": "aws_secret_" + "access_key = " + made(40),
    "GitHub": "x = 'gh" + "p_" + made(36) + "'",
    "GitHub, fine-grained": "github_" + "pat_" + made(22) + "_" + made(59),
    "GitLab": "glpat" + "-" + made(20),
    "Hugging Face": "login('hf" + "_" + made(34) + "')",
    "OpenAI": "sk-" + "proj-" + made(40) + "T3Blbk" + "FJ" + made(40),
    "Anthropic": "sk-" + "ant-api03-" + made(93),
    "Weights & Biases": "wandb" + "_v1_" + made(40),
    "Slack": "xox" + "b-" + made(12, string.digits) + "-" + made(24),
    "Slack's webhook": "https://hooks.slack" + ".com/services/T" + made(8) + "/B" + made(40),
    "Google": "AI" + "za" + made(35),
    "Azure storage": "AccountName=x;Account" + "Key=" + made(86) + "==;",
    "Azure's signed URL": "https://x.blob/c?sv=1&si" + "g=" + made(43) + "%3D",
    "PyPI": "pypi-" + "AgE" + made(60),
    "npm": "//registry/:_authToken=npm" + "_" + made(36),
    "Stripe": "sk_" + "live_" + made(24),
    "JWT": "ey" + "J" + made(30) + ".ey" + "J" + made(60) + "." + made(43),
    "netrc": "machine host.net\n  login ada\n  password " + made(12),
    "URL": "postgres://ada:" + made(12) + "@db.company.net/prices",
    "api key in code": "API" + "_KEY = '" + made(32) + "'",
    "camel case": '"client' + 'Secret": "' + made(32) + '"',
    "hex": "wandb_" + "api_key='" + made(40, "0123456789abcdef") + "'",
    "a password": "pass" + "word='Tr0ub4dor&3'",
}
HARMLESS = {
    "special tokens": 'pad_token = "<pad>"\nbos_token: "<|begin_of_text|>"\nunk_token="[UNK]"',
    "token names": 'token = "my-training-token-2024"\nmax_tokens = "4096"\ntokenizer = "bert-base"',
    "references": 'token = "${LAKE_TOKEN}"\npassword = "env:PASSWORD"\napi_key: "{{ secret }}"',
    "reading them": 'token = os.environ["HF_TOKEN"]\npassword = getpass.getpass()',
    "placeholders": 'password = "changeme"\napi_key = "your-api-key-goes-here-1234"',
    "documentation": "AKIAIOSFODNN7EXAMPLE and wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "local database": "postgres://postgres:postgres@localhost/x redis://:secret9x@127.0.0.1",
    "URL with a template": "https://user:${PASSWORD}@host.net https://u:<password>@host.net",
    "URL with a port": "https://host.net:8080/a@b http://[::1]:80/ s3://bucket/key@v3",
    "ids": 'lock_token = "0674c84b-0304-47fe-8728-c6bff46af8fc"\nnext_token="' + made(40) + '"',
    "digests": "digest blake3:" + made(64, "0123456789abcdef") + "\nsha256=" + made(64),
    "a public key": "-----BEGIN PUBLIC KEY-----\n" + made(64) + "\n-----END PUBLIC KEY-----",
    "the words alone": "-----BEGIN PRIVATE " + "KEY-----\n\nlooks like this",
    "constants": 'FORCE_CHANGE_PASSWORD = "FORCE_CHANGE_PASSWORD"\nPASSWORD_FIELD = "new-password"',
    "kinds of a cloud": '"AWS::IAM::AccessKey": "62d91b17309e76c8",',
    "prose": "The password: choose one with 12 letters. The token: see the settings.",
}


def lines(path: str, text: str) -> list[int]:
    return [line for line, _ in scan(path, text.encode())]


@pytest.mark.parametrize("text", CREDENTIALS.values(), ids=CREDENTIALS)
def test_credentials_are_found(text: str) -> None:
    found = list(scan("code.py", f"x = 1\n\n{text}\ny = 2\n".encode()))
    assert [line for line, _ in found] == [3]


@pytest.mark.parametrize("text", CREDENTIALS.values(), ids=CREDENTIALS)
def test_what_is_said_does_not_repeat_them(text: str) -> None:
    ((_, what),) = scan("code.py", text.encode())
    words = {what[at : at + 8] for at in range(len(what) - 7)}
    secret_part = max(text.replace('"', "'").split("'"), key=len)[-12:]
    assert not any(word in secret_part for word in words)


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("path", ["code.py", "conf/train.yaml", ".env"])
def test_what_only_reads_like_one_is_let_through(text: str, path: str) -> None:
    assert lines(path, text) == []


def test_settings_need_no_quotes() -> None:
    text = f"export WANDB_API_KEY={made(40, '0123456789abcdef')}\nDB_PASSWORD: hunter2-rose\n"
    assert lines("code.py", text) == []
    for path in (".env", "deploy/.env.production", "conf/x.yml", "setup.cfg", "Dockerfile", "a.sh"):
        assert lines(path, text) == [1, 2], path


def test_a_line_that_says_so_is_left_alone() -> None:
    token = CREDENTIALS["GitHub"]
    for mark in ALLOWED:
        assert lines("a.py", f"{token}  # {mark}\n") == []
    assert lines("a.py", f"# {ALLOWED[0]}\n{token}\n{token}\n") == [2, 3]


def test_one_line_is_named_once() -> None:
    assert lines("a.py", f"token = '{made(40)}'; x = 'gh" + "p_" + made(36) + "'\n") == [1]


def test_gitml_toml_is_judged_as_its_reader_does() -> None:
    text = '[remotes.a]\nurl = "s3://key:value@bucket"\ntoken = "abc"\nsecret = "${NAME}"\n'
    found = list(scan("gitml.toml", text.encode()))
    assert found == [
        (2, "remotes.a.url holds a user name and password in its URL"),
        (3, "remotes.a.token holds a secret"),
    ]
    assert lines("other.toml", 'token = "abc"\n') == []
    assert lines("gitml.toml", "not = = toml\n") == []


def test_fields_of_a_pointer_are_judged_by_their_names() -> None:
    text = "gitml 1\naccess_key abc\ndigest blake3:00\nkind blob\nsize 1\ntoken ${TOKEN}\n"
    assert list(scan("data/a.csv.gitml", text.encode())) == [
        (2, "the field `access_key` of a pointer holds a secret")
    ]


def test_binary_files_have_none() -> None:
    token = CREDENTIALS["GitHub"].encode()
    assert list(scan("a.bin", b"\0" + token)) == []
    assert list(scan("a.txt", "käse ".encode("latin-1") + token)) != []
    assert list(scan("a.txt", token + b" " * MAX_BYTES)) == []


@given(st.binary(max_size=400), st.sampled_from(["a.py", "gitml.toml", "x.gitml", ".env"]))
def test_any_bytes_can_be_read(data: bytes, path: str) -> None:
    for line, what in scan(path, data):
        assert 1 <= line <= data.count(b"\n") + 1
        assert what


@settings(max_examples=40)
@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(sorted(CREDENTIALS)))
def test_they_are_found_wherever_they_stand(before: str, behind: str, name: str) -> None:
    text = f"{before}\n{CREDENTIALS[name]}\n{behind}"
    if not any(mark in text for mark in ALLOWED) and "\0" not in text:
        assert len(lines("a.py", text)) >= 1


def test_a_large_notebook_is_no_reason_to_wait() -> None:
    """Linear in the size: what would be quadratic takes minutes here."""
    picture = '"image/png": "' + made(1 << 20) + '",\n'
    hostile = ("token" * 2000 + "a.b-" * 50_000 + "://x:" * 20_000 + "eyJ" * 30_000 + "\n") * 2
    assert lines("a.ipynb", picture * 4 + hostile) == []
