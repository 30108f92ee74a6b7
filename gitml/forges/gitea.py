"""Gitea and Forgejo: close to GitHub in paths, not in filters, pages and reviews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitml.errors import NameNotFound
from gitml.forges.base import Draft, Forge, Request, Site, part

_PAGE = 50


class Gitea(Forge):
    """A repository on Gitea or Forgejo."""

    kind = "gitea"
    scheme = "token"

    @classmethod
    def api_url(cls, site: Site) -> str:
        """Below the site."""
        return f"{site.web}/api/v1"

    @classmethod
    def new_url(cls, site: Site, draft: Draft) -> str:
        """The page that compares the branches."""
        return f"{site.url}/compare/{part(draft.base)}...{part(draft.branch)}"

    def find(self, branch: str, base: str) -> Request | None:
        """The open pull request from a branch of this repository; the list has no such filter."""
        for one in self.api.pages(f"{self._repo}/pulls", "limit", _PAGE, state="open"):
            here = (one["head"].get("repo") or {}).get("full_name", "").lower()
            is_ours = not here or here == self.site.project.lower()
            if is_ours and one["head"]["ref"] == branch and one["base"]["ref"] == base:
                return _request(one)
        return None

    def request_of(self, commit: str) -> int | None:
        """The pull request that was merged with the commit."""
        try:
            return int(self.api.get(f"{self._repo}/commits/{part(commit)}/pull")["number"])
        except NameNotFound:
            return None

    def approvals(self, number: int) -> list[str]:
        """Those whose last review approves, which is neither stale nor dismissed."""
        last: dict[str, bool] = {}
        for one in self.api.pages(f"{self._repo}/pulls/{number}/reviews", "limit", _PAGE):
            if one["user"] is not None and one["state"] in ("APPROVED", "REQUEST_CHANGES"):
                counts = not one["stale"] and not one["dismissed"]
                last[one["user"]["login"]] = one["state"] == "APPROVED" and counts
        return sorted(login for login, approves in last.items() if approves)

    def _create(self, draft: Draft) -> Request:
        fields = {"head": draft.branch, "base": draft.base, "title": draft.title}
        return _request(
            self.api.call("POST", f"{self._repo}/pulls", {**fields, "body": draft.body})
        )

    def _update(self, number: int, draft: Draft) -> None:
        fields = {"title": draft.title, "body": draft.body}
        self.api.call("PATCH", f"{self._repo}/pulls/{number}", fields)

    def _comments(self, number: int) -> list[dict[str, Any]]:
        return list(self.api.get(f"{self._repo}/issues/{number}/comments") or [])

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


def _request(answer: Mapping[str, Any]) -> Request:
    return Request(int(answer["number"]), str(answer["html_url"]))
