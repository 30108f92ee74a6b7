"""GitLab: a merge request has an `iid` in its project, and comments are notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from gitml.errors import NameNotFound
from gitml.forges.base import Draft, Forge, Request, Site, part

_PAGE = 100


class GitLab(Forge):
    """A project on GitLab."""

    kind = "gitlab"

    @classmethod
    def api_url(cls, site: Site) -> str:
        """Below the site."""
        return f"{site.web}/api/v4"

    @classmethod
    def new_url(cls, site: Site, draft: Draft) -> str:
        """The page of a new merge request, with branches and title filled in."""
        fields = {
            "merge_request[source_branch]": draft.branch,
            "merge_request[target_branch]": draft.base,
            "merge_request[title]": draft.title,
        }
        return f"{site.url}/-/merge_requests/new?{urlencode(fields)}"

    @classmethod
    def push_options(cls, draft: Draft) -> list[str]:
        """GitLab opens one for a push; an option is one line, so the text is left out."""
        options = {"target": draft.base, "title": draft.title}
        return ["merge_request.create", *(f"merge_request.{k}={v}" for k, v in options.items())]

    def find(self, branch: str, base: str) -> Request | None:
        """The open merge request of a branch."""
        found = self.api.get(
            f"{self._project}/merge_requests",
            state="opened",
            source_branch=branch,
            target_branch=base,
        )
        return _request(found[0]) if found else None

    def request_of(self, commit: str) -> int | None:
        """The first merge request that GitLab knows for the commit."""
        path = f"{self._project}/repository/commits/{part(commit)}/merge_requests"
        try:
            found = self.api.get(path)
        except NameNotFound:
            return None
        return int(found[0]["iid"]) if found else None

    def approvals(self, number: int) -> list[str]:
        """Those who approve now; whether a new commit takes that back is a setting of GitLab's."""
        answer = self.api.get(f"{self._project}/merge_requests/{number}/approvals")
        return sorted({one["user"]["username"] for one in answer["approved_by"]})

    def _create(self, draft: Draft) -> Request:
        fields = {
            "source_branch": draft.branch,
            "target_branch": draft.base,
            "title": draft.title,
            "description": draft.body,
        }
        return _request(self.api.call("POST", f"{self._project}/merge_requests", fields))

    def _update(self, number: int, draft: Draft) -> None:
        fields = {"title": draft.title, "description": draft.body}
        self.api.call("PUT", f"{self._project}/merge_requests/{number}", fields)

    def _comments(self, number: int) -> list[dict[str, Any]]:
        return list(self.api.pages(self._notes(number), "per_page", _PAGE))

    def _add_comment(self, number: int, body: str) -> Mapping[str, Any]:
        return dict(self.api.call("POST", self._notes(number), {"body": body}))

    def _change_comment(self, number: int, comment: int, body: str) -> Mapping[str, Any]:
        return dict(self.api.call("PUT", f"{self._notes(number)}/{comment}", {"body": body}))

    def _comment_url(self, number: int, comment: Mapping[str, Any]) -> str:
        return f"{self.site.url}/-/merge_requests/{number}#note_{comment['id']}"

    def _notes(self, number: int) -> str:
        return f"{self._project}/merge_requests/{number}/notes"

    @property
    def _project(self) -> str:
        return f"/projects/{part(self.site.project)}"


def _request(answer: Mapping[str, Any]) -> Request:
    return Request(int(answer["iid"]), str(answer["web_url"]))
