"""What a forge is asked for: one request a branch, one comment on it, who approved.

A new forge is one file with one class, and a line in ``opening.KINDS``. Paths, fields and states
of its interface stay in that file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from gitml.forges.client import Api
from gitml.frozen import Frozen


class Site(Frozen):
    """A repository on a forge: the forge's kind, its address for browsers, the project's path."""

    kind: str
    web: str
    project: str

    @property
    def url(self) -> str:
        """The project's page."""
        return f"{self.web}/{self.project}"


class Request(Frozen):
    """A pull request (a merge request, on GitLab): its number in the project, and its page."""

    number: int
    url: str


class Draft(Frozen):
    """What a request is to be: which branch into which, what it is called and says (Markdown)."""

    branch: str
    base: str
    title: str
    body: str


class Forge(ABC):
    """One project on one forge. Every method that talks raises what `client.Api` raises."""

    kind: ClassVar[str]
    scheme: ClassVar[str] = "Bearer"
    """How a token is sent: the word before it."""

    def __init__(self, site: Site, api: Api) -> None:
        self.site = site
        self.api = api

    @classmethod
    @abstractmethod
    def api_url(cls, site: Site) -> str:
        """Where the interface of a site is."""

    @classmethod
    @abstractmethod
    def new_url(cls, site: Site, draft: Draft) -> str:
        """The page on which a person opens the request, filled in as far as a URL can."""

    @classmethod
    def push_options(cls, draft: Draft) -> list[str]:
        """The options of a push that opens the request without any token; none where it cannot."""
        return []

    def open(self, draft: Draft) -> Request:
        """The one open request of the branch, with this title and text; made where there is none.

        Two who open it at once get the same one.
        """
        from gitml.errors import RemoteFailed

        found = self.find(draft.branch, draft.base)
        if found is None:
            try:
                return self._create(draft)
            except RemoteFailed:
                found = self.find(draft.branch, draft.base)
                if found is None:
                    raise
        self._update(found.number, draft)
        return found

    def comment(self, number: int, mark: str, body: str) -> str:
        """Write the one comment on a request that has the mark, or change it; its page."""
        for one in self._comments(number):
            if mark in str(one.get("body", "")):
                if one["body"] == body:
                    return self._comment_url(number, one)
                return self._comment_url(number, self._change_comment(number, one["id"], body))
        return self._comment_url(number, self._add_comment(number, body))

    @abstractmethod
    def find(self, branch: str, base: str) -> Request | None:
        """The open request of a branch of this project, if there is one."""

    @abstractmethod
    def request_of(self, commit: str) -> int | None:
        """The number of the request that brought a commit to the default branch, if one did."""

    @abstractmethod
    def approvals(self, number: int) -> list[str]:
        """The accounts that approve of a request as it is now, each once."""

    @abstractmethod
    def _create(self, draft: Draft) -> Request: ...

    @abstractmethod
    def _update(self, number: int, draft: Draft) -> None: ...

    @abstractmethod
    def _comments(self, number: int) -> list[dict[str, Any]]: ...

    @abstractmethod
    def _add_comment(self, number: int, body: str) -> Mapping[str, Any]: ...

    @abstractmethod
    def _change_comment(self, number: int, comment: int, body: str) -> Mapping[str, Any]: ...

    def _comment_url(self, number: int, comment: Mapping[str, Any]) -> str:
        return str(comment.get("html_url") or self.site.url)


def part(text: str) -> str:
    """A text as one component of a URL's path."""
    return quote(text, safe="")
