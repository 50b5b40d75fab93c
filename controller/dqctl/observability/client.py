"""Handing requests over to DataOps Observability, and what can be known afterwards.

Its API puts an event into a queue and answers 204; it draws an event's id itself and has no key by which it would
know one again: a request that is sent twice is stored twice. So a failure is one of three: the receiver surely did
not take it, it never will, or nobody knows. Only the first is sent again.
"""

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.redaction import reveal

PATH = "/events/v1/test-outcomes"
_LONGEST = 500
_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
# The receiver's own 500 says that the event could not be queued; 503 is said before it is asked at all. What
# stands between says 502 and 504 of requests that may have gone through.
_NOT_TAKEN = (408, 425, 429, 500, 503)
_CONTENT = (400, 413, 422)


class NotTaken(EnvironmentFault):
    """The request surely was not taken, and may be sent again later."""


class Lost(EnvironmentFault):
    """Nobody knows whether the request was taken: the answer did not arrive."""


class ContentRefused(UsageError):  # noqa: N818 - named for what it is, as in dqctl.errors
    """The receiver will not take this content. ``is_outcome`` is False when it dislikes the envelope."""

    def __init__(self, message: str, *, is_outcome: bool) -> None:
        super().__init__(
            message, "the receiver's reason is in the message; dqctl export --dry-run --show has the request"
        )
        self.is_outcome = is_outcome


@dataclass(frozen=True)
class Receiver:
    """Where outcomes go. ``url`` is that of its API without ``/events/v1``, ``timeout`` seconds for one answer."""

    url: str
    key: SecretStr = field(repr=False)
    ca_bundle: Path | None = None
    timeout: float = 60.0

    @property
    def endpoint(self) -> str:
        """The address of test outcomes, made as TestGen makes it."""
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(
                f"{self.url!r} is no URL of an Observability API",
                "it looks like https://observability.example.com/api; set DQCTL_OBSERVABILITY_URL",
            )
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{PATH}"


class Client:
    """Sends to one receiver; ``patience`` seconds of refusals for a while until it gives up."""

    def __init__(self, receiver: Receiver, patience: float = 60.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self.receiver = receiver
        self._patience = patience
        self._clock = clock
        context = ssl.create_default_context()
        if receiver.ca_bundle is not None:
            try:
                context.load_verify_locations(cafile=receiver.ca_bundle)
            except OSError as error:
                raise UsageError(
                    f"certificates cannot be read from {receiver.ca_bundle}: {error}", "mend DQCTL_CA_BUNDLE"
                ) from error
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects())
        self._host = urllib.parse.urlsplit(receiver.endpoint).netloc

    def send(self, body: bytes) -> None:
        """Hand ``body`` over; again, with pauses, as long as it surely was not taken.

        Raises ``NotTaken``, ``Lost``, ``ContentRefused``, and ``UsageError`` for a key or a URL that does not fit.
        """
        deadline = Deadline(self._patience, self._clock)
        pause = _PAUSE
        while True:
            try:
                return self._once(body)
            except _Later as later:
                wait = pause if later.after is None else later.after
                if wait >= deadline.left:
                    raise NotTaken(later.message, later.hint) from later
                self._clock.sleep(wait)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, body: bytes) -> None:
        # A connection of its own for each request: one that was idle may be closed by the other side at the moment
        # in which it is used again, and nobody would know what became of the request.
        headers = {
            "Content-Type": "application/json",
            "ServiceAccountAuthenticationKey": reveal(self.receiver.key),
            "User-Agent": f"dqctl/{dqctl.__version__}",
        }
        request = urllib.request.Request(self.receiver.endpoint, body, headers, method="POST")  # noqa: S310 - see endpoint
        try:
            self._opener.open(request, timeout=self.receiver.timeout).close()
        except urllib.error.HTTPError as error:
            self._refused(error)
        except urllib.error.URLError as error:
            # Before the last byte of the request was out: urllib says everything later by the error itself.
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise UsageError(
                    f"{self._host} has a certificate that is not trusted: {error.reason.verify_message}",
                    "set DQCTL_CA_BUNDLE to the certificates (PEM) of who signed it",
                ) from error
            raise _Later(
                f"{self._host} cannot be reached: {error.reason}", "check DQCTL_OBSERVABILITY_URL and the network"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Lost(f"{self._host} did not answer: {str(error) or type(error).__name__}") from error

    def _refused(self, error: urllib.error.HTTPError) -> None:
        with error:
            said = _said(error)
        message = f"{self._host} answers HTTP {error.code}{said and f': {said}'}"
        if error.code in _NOT_TAKEN:
            raise _Later(message, "try again later", _after(error.headers.get("Retry-After"), self._clock.now))
        if error.code in (401, 403):
            raise UsageError(
                f"{message}: the key is refused",
                "set DQCTL_OBSERVABILITY_KEY or DQCTL_OBSERVABILITY_KEY_FILE to the key of a service account of "
                "Observability that may send events",
            )
        if error.code in _CONTENT:
            raise ContentRefused(message, is_outcome=error.code == 413 or "test_outcomes" in said)
        if error.code >= 500:
            raise Lost(message)
        raise UsageError(
            message,
            f"check DQCTL_OBSERVABILITY_URL: {self.receiver.endpoint} is not where Observability takes events",
        )


class _Later(EnvironmentFault):
    def __init__(self, message: str, hint: str, after: float | None = None) -> None:
        super().__init__(message, hint)
        self.after = after


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key along, wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""


def _said(error: urllib.error.HTTPError) -> str:
    try:
        text = error.read(64 * 1024).decode(errors="replace")
    except (OSError, http.client.HTTPException):  # the status counts
        return ""
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if isinstance(document, dict):
        text = str(document.get("details") or document.get("error") or document.get("message") or text)
    return " ".join(text.split())[:_LONGEST]


def _after(value: str | None, now: Callable[[], datetime]) -> float | None:
    """Seconds that ``Retry-After`` asks for, which may be a number or a date; None when it says nothing."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - now()).total_seconds())
