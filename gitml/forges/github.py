"""GitHub, and GitHub Enterprise: `/repos/{owner}/{name}`, where a pull request is an issue too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from gitml.errors import NameNotFound
from gitml.forges.base import Draft, Forge, Request, Site, part

PUBLIC = "https://github.com"
_PAGE = 100


class GitHub(Forge):
    """A repository on GitHub."""

    kind = "github"

    @classmethod
    def api_url(cls, site: Site) -> str:
        """A host of its own for the public one; below the site elsewhere."""
        return "https://api.github.com" if site.web == PUBLIC else f"{site.web}/api/v3"

    @classmethod
    def new_url(cls, site: Site, draft: Draft) -> str:
        """The page that compares the branches, with the title filled in."""
        query = urlencode({"expand": 1, "title": draft.title})
        return f"{site.url}/compare/{part(draft.base)}...{part(draft.branch)}?{query}"

    def find(self, branch: str, base: str) -> Request | None:
        """The open pull request from a branch of this repository."""
        owner = self.site.project.partition("/")[0]
        found = self.api.get(
            f"{self._repo}/pulls", state="open", head=f"{owner}:{branch}", base=base
        )
        return as_request(found[0]) if found else None

    def request_of(self, commit: str) -> int | None:
        """The first pull request that GitHub knows for the commit."""
        try:
            found = self.api.get(f"{self._repo}/commits/{part(commit)}/pulls")
        except NameNotFound:
            return None
        return int(found[0]["number"]) if found else None

    def approvals(self, number: int) -> list[str]:
        """Those whose last review approves, of the commit that is the branch's tip."""
        head = self.api.get(f"{self._repo}/pulls/{number}")["head"]["sha"]
        last: dict[str, bool] = {}
        for one in self.api.pages(f"{self._repo}/pulls/{number}/reviews", "per_page", _PAGE):
            if one["user"] is not None and one["state"] in (
                "APPROVED",
                "CHANGES_REQUESTED",
                "DISMISSED",
            ):
                last[one["user"]["login"]] = one["state"] == "APPROVED" and one["commit_id"] == head
        return sorted(login for login, approves in last.items() if approves)

    def _create(self, draft: Draft) -> Request:
        fields = {"head": draft.branch, "base": draft.base, "title": draft.title}
        return as_request(
            self.api.call("POST", f"{self._repo}/pulls", {**fields, "body": draft.body})
        )

    def _update(self, number: int, draft: Draft) -> None:
        fields = {"title": draft.title, "body": draft.body}
        self.api.call("PATCH", f"{self._repo}/pulls/{number}", fields)

    def _comments(self, number: int) -> list[dict[str, Any]]:
        return list(self.api.pages(f"{self._repo}/issues/{number}/comments", "per_page", _PAGE))

    def _add_comment(self, number: int, body: str) -> Mapping[str, Any]:
        path = f"{self._repo}/issues/{number}/comments"
        return dict(self.api.call("POST", path, {"body": body}))

    def _change_comment(self, number: int, comment: int, body: str) -> Mapping[str, Any]:
        path = f"{self._repo}/issues/comments/{comment}"
        return dict(self.api.call("PATCH", path, {"body": body}))

    @property
    def _repo(self) -> str:
        owner, _, name = self.site.project.partition("/")
        return f"/repos/{part(owner)}/{part(name)}"


def as_request(answer: Mapping[str, Any]) -> Request:
    """A pull request as the answer describes it."""
    return Request(int(answer["number"]), str(answer["html_url"]))
