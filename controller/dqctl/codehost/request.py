"""A pull request (GitHub) or merge request (GitLab), and the one comment on it that is ours.

The comment is known by its first line, which nobody sees. A comment of somebody who could not be trusted with ours
is left alone, whatever it begins with.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dqctl.codehost.client import Client, Gone

_TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


def marker(key: str) -> str:
    """The line by which a comment is found again. ``key`` tells comments of one request apart."""
    # "--" would end the HTML comment.
    return f"<!-- dqctl:{quote(key, safe='').replace('--', '%2D%2D')} -->"


@dataclass(frozen=True)
class Comment:
    """What became of the comment: where it is, and whether it is a new one."""

    url: str
    created: bool


@dataclass(frozen=True)
class Request(ABC):
    """A request that can be commented on. Its methods raise what ``Client`` raises."""

    client: Client

    def comment(self, key: str, text: str) -> Comment:
        """Make the comment say ``text``; it is added where there is none of this ``key`` yet."""
        first = marker(key)
        body = f"{first}\n{text}"
        for found in self._comments():
            if str(found.get("body") or "").split("\n", 1)[0].rstrip("\r") == first and self._is_ours(found):
                try:
                    return Comment(self._url(self._update(found, body)), created=False)
                except Gone:  # deleted a moment ago
                    break
        return Comment(self._url(self._create(body)), created=True)

    @property
    @abstractmethod
    def name(self) -> str:
        """As people write it."""

    @abstractmethod
    def _comments(self) -> Iterator[dict[str, Any]]: ...

    @abstractmethod
    def _is_ours(self, found: dict[str, Any]) -> bool: ...

    @abstractmethod
    def _create(self, body: str) -> dict[str, Any]: ...

    @abstractmethod
    def _update(self, found: dict[str, Any], body: str) -> dict[str, Any]: ...

    @abstractmethod
    def _url(self, found: dict[str, Any]) -> str: ...


@dataclass(frozen=True)
class GitHubPull(Request):
    """A pull request of GitHub; ``repository`` is owner/name."""

    repository: str
    number: int

    @property
    def name(self) -> str:
        """``owner/name#12``."""
        return f"{self.repository}#{self.number}"

    def _comments(self) -> Iterator[dict[str, Any]]:
        return self.client.pages(f"/repos/{quote(self.repository)}/issues/{self.number}/comments")

    def _is_ours(self, found: dict[str, Any]) -> bool:
        # A workflow's token may not ask who it is. With it comments are a bot's.
        user = found.get("user") or {}
        return user.get("type") == "Bot" or found.get("author_association") in _TRUSTED

    def _create(self, body: str) -> dict[str, Any]:
        path = f"/repos/{quote(self.repository)}/issues/{self.number}/comments"
        return self.client.send("POST", path, {"body": body})

    def _update(self, found: dict[str, Any], body: str) -> dict[str, Any]:
        path = f"/repos/{quote(self.repository)}/issues/comments/{found['id']}"
        return self.client.send("PATCH", path, {"body": body})

    def _url(self, found: dict[str, Any]) -> str:
        return str(found.get("html_url") or self.name)


@dataclass(frozen=True)
class GitLabMerge(Request):
    """A merge request of GitLab; ``project`` is its id or its path."""

    project: str
    number: int

    @property
    def name(self) -> str:
        """``group/name!12``."""
        return f"{self.project}!{self.number}"

    @property
    def _path(self) -> str:
        return f"/projects/{quote(self.project, safe='')}/merge_requests/{self.number}/notes"

    def _comments(self) -> Iterator[dict[str, Any]]:
        return self.client.pages(self._path)

    def _is_ours(self, found: dict[str, Any]) -> bool:
        # Only its author may change a note.
        return (found.get("author") or {}).get("id") == self.client.send("GET", "/user").get("id")

    def _create(self, body: str) -> dict[str, Any]:
        return self.client.send("POST", self._path, {"body": body})

    def _update(self, found: dict[str, Any], body: str) -> dict[str, Any]:
        return self.client.send("PUT", f"{self._path}/{found['id']}", {"body": body})

    def _url(self, found: dict[str, Any]) -> str:
        return f"{self.name} (note {found['id']})" if "id" in found else self.name
