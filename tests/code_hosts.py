"""Comments on pull requests as GitHub and GitLab keep them: the part of their APIs that dqctl uses.

What they answer was taken from their documentation (docs.github.com, REST, issue comments, version 2022-11-28;
docs.gitlab.com, Notes API).
"""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghs_0123456789abcdefghijABCDEFGHIJ012345"
_GITHUB = re.compile(r"/repos/(?P<repository>[^/]+/[^/]+)/issues/(?:(?P<number>\d+)/)?comments(?:/(?P<id>\d+))?")
_GITLAB = re.compile(r"/projects/(?P<repository>[^/]+)/merge_requests/(?P<number>\d+)/notes(?:/(?P<id>\d+))?")
_MOST = 65_536


@dataclass
class CodeHost:
    """One repository's comments. ``faults`` are answered first, one a request: a status, with headers."""

    url: str = ""
    is_gitlab: bool = False
    comments: list[dict[str, Any]] = field(default_factory=list)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    _ids: int = 4_100_000_000

    def add(self, body: str, **values: Any) -> dict[str, Any]:
        """A comment, by a bot unless it is said otherwise."""
        self._ids += 1
        if self.is_gitlab:
            made = {"id": self._ids, "body": body, "author": {"id": 7}, "system": False} | values
        else:
            made = {
                "id": self._ids,
                "html_url": f"https://github.example/o/r/pull/12#issuecomment-{self._ids}",
                "user": {"login": "github-actions[bot]", "id": 41898282, "type": "Bot"},
                "body": body,
                "author_association": "NONE",
                "created_at": "2026-11-22T00:00:00Z",
            } | values
        self.comments.append(made)
        return made

    def environment(self, event: str = "") -> dict[str, str]:
        """What a job of a pull request finds, ``event`` being the file that describes it."""
        if self.is_gitlab:
            return {
                "GITLAB_CI": "true",
                "CI_API_V4_URL": self.url,
                "CI_PROJECT_ID": "42",
                "CI_MERGE_REQUEST_IID": "12",
                "GITLAB_TOKEN": TOKEN,
            }
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_EVENT_PATH": event,
            "GITHUB_TOKEN": TOKEN,
        }

    def answer(self, method: str, target: str, headers: Any, content: Any) -> tuple[int, dict[str, str], Any]:
        """What the API says."""
        self.requests.append((method, target))
        if self.faults:
            status, extra = self.faults.pop(0)
            return status, extra, {"message": f"fault {status}"}
        given = headers.get("PRIVATE-TOKEN") if self.is_gitlab else headers.get("Authorization")
        if given != (TOKEN if self.is_gitlab else f"Bearer {TOKEN}"):
            return 401, {}, {"message": "Bad credentials"}
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if self.is_gitlab and path == "/user":
            return 200, {}, {"id": 7, "username": "project_42_bot"}
        found = (_GITLAB if self.is_gitlab else _GITHUB).fullmatch(path)
        if not found or found["repository"] not in ("o/r", "42"):
            return 404, {}, {"message": "Not Found"}
        if method == "GET":
            return self._page(path, int(query["page"][0]), int(query["per_page"][0]))
        if len(content["body"]) > _MOST:
            return 422, {}, {"message": "Validation Failed"}
        if method == "POST":
            return 201, {}, self.add(content["body"])
        known = [each for each in self.comments if str(each["id"]) == found["id"]]
        if method != ("PUT" if self.is_gitlab else "PATCH") or not known:
            return 404, {}, {"message": "Not Found"}
        known[0]["body"] = content["body"]
        return 200, {}, known[0]

    def _page(self, path: str, page: int, size: int) -> tuple[int, dict[str, str], Any]:
        part = self.comments[(page - 1) * size : page * size]
        more = page * size < len(self.comments)
        link = f'<{self.url}{path}?per_page={size}&page={page + 1}>; rel="next", <x>; rel="last"' if more else ""
        return 200, {"Link": link} if link else {}, part


@contextmanager
def running(*, is_gitlab: bool = False) -> Iterator[CodeHost]:
    """A code host on a free port."""
    host = CodeHost(is_gitlab=is_gitlab)

    class Handler(http.server.BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = json.loads(self.rfile.read(length)) if length else None
            status, extra, said = host.answer(self.command, self.path, self.headers, content)
            body = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**extra, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_PUT = _serve  # noqa: N815 - the names that the base class calls

        def log_message(self, *arguments: object) -> None:
            """Nothing: the tests look at the requests."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()
