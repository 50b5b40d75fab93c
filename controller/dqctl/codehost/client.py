"""Requests to a code host's REST API: JSON in and out, the token in a header, no redirects."""

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from typing import Any

from pydantic import SecretStr

import dqctl
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.redaction import reveal

_TIMEOUT = 20.0  # seconds for one answer
_LARGEST = 16 * 1024 * 1024
_LONGEST = 300
# Pages of 100: nobody reads a discussion of 5,000 comments.
_PAGES = 50


class Gone(UsageError):  # noqa: N818 - named for what it is, as in dqctl.errors
    """There is nothing at that address, or the token may not know of it."""


@dataclass(frozen=True)
class Client:
    """One API. ``scheme`` is the word before the token in ``header``; ``headers`` go with every request."""

    url: str
    token: SecretStr = field(repr=False)
    header: str = "Authorization"
    scheme: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=dict)

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All objects of a list, page by page."""
        for page in range(1, _PAGES + 1):
            found, headers = self._send("GET", f"{path}?per_page=100&page={page}", None)
            if not isinstance(found, list):
                raise EnvironmentFault(f"{self.url} has no list at {path}", "check the address of the API")
            yield from (each for each in found if isinstance(each, dict))
            # GitHub says it in Link, GitLab in both.
            if 'rel="next"' not in (headers.get("Link") or ""):
                return

    def send(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request. Raises ``Gone``, ``UsageError`` for what is refused, ``EnvironmentFault`` for the rest."""
        found, _ = self._send(method, path, content)
        return found if isinstance(found, dict) else {}

    def _send(self, method: str, path: str, content: Mapping[str, Any] | None) -> tuple[Any, Message]:
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise UsageError(f"{self.url!r} is no URL of an API", "it looks like https://api.github.com")
        request = urllib.request.Request(  # noqa: S310 - http and https alone, see above
            self.url.rstrip("/") + path,
            json.dumps(content).encode() if content is not None else None,
            {
                **self.headers,
                self.header: self.scheme + reveal(self.token),
                "Content-Type": "application/json",
                "User-Agent": f"dqctl/{dqctl.__version__}",
            },
            method=method,
        )
        host = urllib.parse.urlsplit(self.url).netloc
        try:
            with _opener().open(request, timeout=_TIMEOUT) as answer:
                return json.loads(answer.read(_LARGEST) or b"null"), answer.headers
        except urllib.error.HTTPError as error:
            raise _refused(host, error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise EnvironmentFault(
                f"{host} did not answer: {reason}", "check the network; the summary is in its file all the same"
            ) from error


@cache  # reading the certificates takes longer than a request
def _opener() -> urllib.request.OpenerDirector:
    context = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    return urllib.request.build_opener(context, _NoRedirects())


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along, wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""


def _refused(host: str, error: urllib.error.HTTPError) -> UsageError | EnvironmentFault:
    with error:
        try:
            said = json.loads(error.read(64 * 1024))
        except (OSError, http.client.HTTPException, ValueError):  # the status counts
            said = {}
        is_limited = error.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in error.headers
    reason = str(said.get("message") or said.get("error") or "") if isinstance(said, dict) else ""
    message = f"{host} answers HTTP {error.code}{reason and f': {reason[:_LONGEST]}'}"
    if error.code == 429 or error.code >= 500 or (error.code == 403 and is_limited):
        return EnvironmentFault(message, "try again later; the summary is in its file all the same")
    if error.code in (404, 410):
        return Gone(message, "check the repository and the number; a token that may not read it gets this, too")
    return UsageError(
        message,
        "the token has to be allowed to write comments: on GitHub `permissions: pull-requests: write`, which runs "
        "of forks never get; on GitLab a project's token with the scope api",
    )
