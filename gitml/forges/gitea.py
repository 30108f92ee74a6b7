"""Gitea and Forgejo: GitHub's paths and fields, with other filters, pages and reviews."""

from __future__ import annotations

from typing import Any

from gitml.errors import NameNotFound
from gitml.forges.base import Draft, Request, Site, part
from gitml.forges.github import GitHub, as_request

_PAGE = 50


class Gitea(GitHub):
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
                return as_request(one)
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

    def _comments(self, number: int) -> list[dict[str, Any]]:
        """All at once: this list has no pages."""
        return list(self.api.get(f"{self._repo}/issues/{number}/comments") or [])
