"""Strict forges on loopback: `git http-backend`, and of each REST interface what gitml uses.

What a real forge would refuse, or would let pass in silence though it means a mistake of ours (a
field or a parameter that it does not know), is refused here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "token-of-the-test"
BACKEND = Path(
    subprocess.run(
        ["git", "--exec-path"], capture_output=True, text=True, check=True
    ).stdout.strip(),
    "git-http-backend",
)
LOG_OF_PUSHES = """\
#!/bin/sh
while read -r old new ref; do
    n=0
    while [ "$n" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
        eval "echo \\"$ref \\$GIT_PUSH_OPTION_$n\\"" >> pushed.log
        n=$((n + 1))
    done
done
"""


class Refusal(Exception):
    def __init__(self, status: int, words: str, **headers: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = headers


@dataclass
class Asked:
    """A request to the interface: its method and path, parameters, fields of its body."""

    method: str
    path: str
    query: dict[str, str]
    fields: dict[str, Any]

    def only(self, required: str, optional: str = "") -> None:
        """Refuse fields that are missing, and those that nobody knows."""
        wanted, known = set(required.split()), set(f"{required} {optional}".split())
        if wanted - set(self.fields) or set(self.fields) - known:
            raise Refusal(422, f"fields: {sorted(self.fields)}, not {sorted(known)}")
        for key, value in self.fields.items():
            if not isinstance(value, str) or (key in wanted and not value):
                raise Refusal(422, f"{key} is no text")

    def filters(self, known: str) -> None:
        if set(self.query) - set(known.split()):
            raise Refusal(400, f"parameters: {sorted(self.query)}")


@dataclass
class Requested:
    """A pull request as the forge keeps it."""

    number: int
    head: str
    base: str
    title: str
    body: str
    state: str = "open"
    merged: str | None = None
    comments: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)


Handler = Callable[[Asked, Any], tuple[int, Any]]


@dataclass
class Forge:
    """One project on one forge. ``failures`` are answers to be given before the real one."""

    git: Path
    project: str = "shop/models"
    port: int = 0
    requests: list[Requested] = field(default_factory=list)
    failures: list[Refusal] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _ids: int = 100

    kind: ClassVar[str]
    api: ClassVar[str]
    scheme: ClassVar[str]
    size: ClassVar[str]
    most: ClassVar[int]

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL for git."""
        return f"{self.web}/{self.project}.git"

    def answer(self, asked: Asked) -> tuple[int, Any]:
        raise NotImplementedError

    def shown(self, one: Requested) -> dict[str, Any]:
        raise NotImplementedError

    def within(self, project: str, asked: Asked) -> str:
        """The path below the project's."""
        path = asked.path.removeprefix(project)
        if path == asked.path:
            raise Refusal(404, "no such project")
        return path

    def paged(self, asked: Asked, items: list[Any], also: str = "") -> list[Any]:
        """The page that is asked for, of which ``also`` are other parameters."""
        asked.filters(f"{self.size} page {also}")
        count, page = int(asked.query.get(self.size, "30")), int(asked.query.get("page", "1"))
        if not 0 < count <= self.most or page < 1:
            raise Refusal(400, "no such page")
        return items[(page - 1) * count : page * count]

    def edited(self, asked: Asked, number: str, body: str) -> dict[str, Any]:
        """Change a request's title and its text, which is called ``body``."""
        asked.only("", f"title {body}")
        one = self.find(number)
        one.title, one.body = asked.fields["title"], asked.fields[body]
        return self.shown(one)

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.git, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def tip(self, branch: str) -> str | None:
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"],
            cwd=self.git,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() or None

    def add(self, head: str, base: str, title: str, body: str) -> Requested:
        if self.tip(head) is None or self.tip(base) is None:
            raise Refusal(422, f"no branch {head} or {base}")
        if self.tip(head) == self.tip(base):
            raise Refusal(422, f"No commits between {base} and {head}")
        if any((o.head, o.base, o.state) == (head, base, "open") for o in self.requests):
            raise Refusal(409 if self.kind == "gitlab" else 422, "a request exists already")
        made = Requested(len(self.requests) + 1, head, base, title, body)
        self.requests.append(made)
        return made

    def find(self, number: str | int) -> Requested:
        for one in self.requests:
            if one.number == int(number):
                return one
        raise Refusal(404, "Not Found")

    def comment(self, number: int, body: str) -> dict[str, Any]:
        self._ids += 1
        made = {"id": self._ids, "body": body, "number": number}
        self.find(number).comments.append(made)
        return made

    def change_comment(self, identity: int, body: str) -> dict[str, Any]:
        for one in self.requests:
            for comment in one.comments:
                if comment["id"] == identity:
                    comment["body"] = body
                    return comment
        raise Refusal(404, "Not Found")

    def approve(self, number: int, login: str, *, state: str = "APPROVED") -> None:
        """A review by somebody, of what the branch is now."""
        found = self.find(number)
        commit = self.tip(found.head) or found.merged
        found.reviews.append({"login": login, "state": state, "commit": commit})

    def merge(self, number: int, *, squash: bool = False) -> str:
        """Merge a request as the forge's button does; the commit."""
        found = self.find(number)
        tree = self.run("merge-tree", "--write-tree", found.base, found.head)
        parents = ["-p", found.base] + ([] if squash else ["-p", found.head])
        who = ["-c", "user.name=Forge", "-c", "user.email=forge@example.org"]
        made = self.run(*who, "commit-tree", tree, *parents, "-m", found.title)
        self.run("update-ref", f"refs/heads/{found.base}", made)
        found.state, found.merged = "merged", made
        return made

    def request_of(self, commit: str) -> Requested | None:
        return next((one for one in self.requests if one.merged == commit), None)

    def pushed(self) -> None:
        """Take in what a push has asked for by its options."""

    def authorized(self, header: str | None) -> bool:
        return header == f"{self.scheme} {TOKEN}"


class GitHub(Forge):
    kind, api, scheme = "github", "/api/v3", "Bearer"
    size, most = "per_page", 100
    """How the size of a page is asked for, and the largest."""
    changed = 200
    """The status that tells of a change."""
    origin = "pulls"
    """What of a commit is asked for the request that it came by."""

    def answer(self, asked: Asked) -> tuple[int, Any]:
        path = self.within(f"/repos/{self.project}", asked)
        method = asked.method
        if path == "/pulls" and method == "GET":
            return 200, self.listed(asked)
        if path == "/pulls" and method == "POST":
            asked.only("title head base", "body")
            return 201, self.shown(self.add(**asked.fields))
        if found := re.fullmatch(r"/pulls/(\d+)", path):
            if method == "GET":
                return 200, self.shown(self.find(found[1]))
            if method == "PATCH":
                return self.changed, self.edited(asked, found[1], "body")
        if (found := re.fullmatch(r"/pulls/(\d+)/reviews", path)) and method == "GET":
            one = self.find(found[1])
            return 200, self.paged(asked, [self.judged(one, review) for review in one.reviews])
        found = re.fullmatch(rf"/commits/([0-9a-f]{{40}})/{self.origin}", path)
        if found and method == "GET":
            return 200, self.of_commit(self.request_of(found[1]))
        if found := re.fullmatch(r"/issues/(\d+)/comments", path):
            if method == "GET":
                return 200, self.comments(asked, self.find(found[1]))
            if method == "POST":
                asked.only("body")
                return 201, self.said(self.comment(int(found[1]), asked.fields["body"]))
        if method == "PATCH" and (found := re.fullmatch(r"/issues/comments/(\d+)", path)):
            asked.only("body")
            return 200, self.said(self.change_comment(int(found[1]), asked.fields["body"]))
        raise Refusal(405 if path.startswith(("/pulls", "/issues")) else 404, "Not Found")

    def listed(self, asked: Asked) -> list[Any]:
        asked.filters("state head base per_page page")
        owner, _, head = asked.query.get("head", "").partition(":")
        if owner != self.project.partition("/")[0]:
            raise Refusal(422, "head should be owner:branch")
        return [
            self.shown(one)
            for one in self.requests
            if (one.head, one.base) == (head, asked.query.get("base"))
            and one.state == asked.query.get("state")
        ]

    def judged(self, one: Requested, review: dict[str, Any]) -> dict[str, Any]:
        """A review as it is shown."""
        return {
            "user": {"login": review["login"]},
            "state": review["state"],
            "commit_id": review["commit"],
        }

    def of_commit(self, merged: Requested | None) -> Any:
        return [self.shown(merged)] if merged else []

    def comments(self, asked: Asked, one: Requested) -> list[Any]:
        return self.paged(asked, [self.said(comment) for comment in one.comments])

    def said(self, comment: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.web}/{self.project}/pull/{comment['number']}#issuecomment-{comment['id']}"
        return {"id": comment["id"], "body": comment["body"], "html_url": url}

    def shown(self, one: Requested) -> dict[str, Any]:
        return {
            "number": one.number,
            "html_url": f"{self.web}/{self.project}/pull/{one.number}",
            "title": one.title,
            "body": one.body,
            "head": {"ref": one.head, "sha": self.tip(one.head)},
            "base": {"ref": one.base},
        }


class Gitea(GitHub):
    kind, api, scheme = "gitea", "/api/v1", "token"
    size, most = "limit", 50
    changed, origin = 201, "pull"

    def listed(self, asked: Asked) -> list[Any]:
        open_ones = [self.shown(o) for o in self.requests if o.state == asked.query["state"]]
        return self.paged(asked, open_ones, "state")

    def judged(self, one: Requested, review: dict[str, Any]) -> dict[str, Any]:
        now = self.tip(one.head)
        return {
            "user": {"login": review["login"]},
            "state": review["state"],
            "stale": now is not None and review["commit"] != now,
            "dismissed": False,
        }

    def of_commit(self, merged: Requested | None) -> Any:
        if merged is None:
            raise Refusal(404, "not found")
        return self.shown(merged)

    def comments(self, asked: Asked, one: Requested) -> list[Any]:
        asked.filters("")  # they come on one page
        return [self.said(comment) for comment in one.comments]

    def shown(self, one: Requested) -> dict[str, Any]:
        made = super().shown(one)
        made["head"]["repo"] = {"full_name": self.project}
        made["html_url"] = f"{self.web}/{self.project}/pulls/{one.number}"
        return made

    def authorized(self, header: str | None) -> bool:
        basic = base64.b64encode(f"ada:{TOKEN}".encode()).decode()
        return super().authorized(header) or header == f"Basic {basic}"


class GitLab(Forge):
    kind, api, scheme = "gitlab", "/api/v4", "Bearer"
    size, most = "per_page", 100

    def answer(self, asked: Asked) -> tuple[int, Any]:
        encoded = self.project.replace("/", "%2F")
        path = self.within(f"/projects/{encoded}", asked)
        method = asked.method
        if path == "/merge_requests" and method == "GET":
            asked.filters("state source_branch target_branch")
            wanted = (asked.query.get("source_branch"), asked.query.get("target_branch"))
            is_open = asked.query.get("state") == "opened"
            return 200, [
                self.shown(one)
                for one in self.requests
                if (one.head, one.base) == wanted and is_open == (one.state == "open")
            ]
        if path == "/merge_requests" and method == "POST":
            asked.only("title source_branch target_branch", "description")
            fields = asked.fields
            branches = fields["source_branch"], fields["target_branch"]
            made = self.add(*branches, fields["title"], fields.get("description", ""))
            return 201, self.shown(made)
        if (found := re.fullmatch(r"/merge_requests/(\d+)", path)) and method == "PUT":
            return 200, self.edited(asked, found[1], "description")
        if found := re.fullmatch(r"/merge_requests/(\d+)/notes", path):
            if method == "GET":
                return 200, self.paged(asked, self.find(found[1]).comments)
            if method == "POST":
                asked.only("body")
                return 201, self.comment(int(found[1]), asked.fields["body"])
        if method == "PUT" and (found := re.fullmatch(r"/merge_requests/(\d+)/notes/(\d+)", path)):
            asked.only("body")
            return 200, self.change_comment(int(found[2]), asked.fields["body"])
        if method == "GET" and (found := re.fullmatch(r"/merge_requests/(\d+)/approvals", path)):
            reviews = self.find(found[1]).reviews
            return 200, {
                "approved_by": [
                    {"user": {"username": one["login"]}}
                    for one in reviews
                    if one["state"] == "APPROVED"
                ]
            }
        if method == "GET" and (
            found := re.fullmatch(r"/repository/commits/([0-9a-f]{40})/merge_requests", path)
        ):
            merged = self.request_of(found[1])
            return 200, [self.shown(merged)] if merged else []
        raise Refusal(405 if path.startswith("/merge_requests") else 404, "404 Not Found")

    def shown(self, one: Requested) -> dict[str, Any]:
        url = f"{self.web}/{self.project}/-/merge_requests/{one.number}"
        return {"iid": one.number, "id": 7000 + one.number, "title": one.title, "web_url": url}

    def pushed(self) -> None:
        log = self.git / "pushed.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        options = dict(line.partition(" ")[2].partition("=")[::2] for line in lines)
        if "merge_request.create" in options:
            head = lines[0].partition(" ")[0].removeprefix("refs/heads/")
            target, title = (options[f"merge_request.{key}"] for key in ("target", "title"))
            self.add(head, target, title, "")


KINDS: dict[str, type[Forge]] = {"github": GitHub, "gitlab": GitLab, "gitea": Gitea}


@contextmanager
def serving(kind: str, git: Path) -> Iterator[Forge]:
    """A forge for a bare repository, until the end of the block."""
    forge = KINDS[kind](git)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(forge))
    forge.port = server.server_port
    forge.run("config", "http.receivepack", "true")
    if kind == "gitlab":
        forge.run("config", "receive.advertisePushOptions", "true")
        hook = git / "hooks" / "post-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(LOG_OF_PUSHES)
        hook.chmod(0o755)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(forge: Forge) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def _any(self) -> None:
            if self.path.startswith(f"/{forge.project}.git/"):
                self._git()
            else:
                self._rest()

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any

        def _rest(self) -> None:
            parts = urlsplit(self.path)
            try:
                status, document = self._judged(parts.path, parts.query)
                headers: dict[str, str] = {}
            except Refusal as refusal:
                status, headers = refusal.status, refusal.headers
                document = {"message": refusal.words}
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _judged(self, path: str, query: str) -> tuple[int, Any]:
            length = int(self.headers.get("Content-Length", 0))
            data = self.rfile.read(length)
            if not path.startswith(f"{forge.api}/"):
                raise Refusal(404, "no such page")
            forge.asked.append(f"{self.command} {path.removeprefix(forge.api)}")
            if forge.failures:
                raise forge.failures.pop(0)
            if not forge.authorized(self.headers.get("Authorization")):
                raise Refusal(401, "Bad credentials")
            if data and self.headers.get("Content-Type") != "application/json":
                raise Refusal(415, "JSON is wanted")
            fields = json.loads(data) if data else {}
            pairs = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
            single = {key: values[0] for key, values in pairs.items()}
            wanted = path.removeprefix(forge.api)
            wanted = wanted if forge.kind == "gitlab" else unquote(wanted)
            return forge.answer(Asked(self.command, wanted, single, fields))

        def _git(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = self._chunks()
            env = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(forge.git),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": parts.path.removeprefix(f"/{forge.project}.git"),
                "QUERY_STRING": parts.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_ADDR": "127.0.0.1",
            }
            for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_ALLOW_PROTOCOL", "GIT_LITERAL_PATHSPECS"):
                env.pop(name, None)
            done = subprocess.run([BACKEND], input=body, env=env, capture_output=True, check=False)
            head, _, data = done.stdout.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if ": " in line)
            status = int(headers.pop("Status", "200").split()[0])
            if parts.path.endswith("git-receive-pack"):
                forge.pushed()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _chunks(self) -> bytes:
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_: Any) -> None:
            pass

    return Answering
