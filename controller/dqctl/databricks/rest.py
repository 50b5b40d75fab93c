"""A few cheap questions over REST, which wake no warehouse and give up soon.

``databricks-sdk`` is asked for tokens only, and only where nothing else can get them: it takes seconds to import,
contacts the host when it is made, and repeats what fails for a minute and more (0.156).
"""

import json
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.auth import SEE_TOOLS, NoToken, PersonalToken, ServicePrincipal
from dqctl.databricks.sign_in import sdk_headers
from dqctl.databricks.target import Target
from dqctl.errors import DatabricksRefused, EnvironmentFault
from dqctl.redaction import register, reveal

_LONGEST = 300
# Seconds before its end at which a token is renewed. Azure refuses tokens in their last 30 s (SDK 0.156).
_EARLY = 60.0
_SDK_SECONDS = 30.0
_PIECE = 1 << 20


@dataclass(frozen=True)
class Answer:
    """An answer, whatever its status. ``document`` is empty when the body is no JSON object; ``date`` is UTC."""

    status: int
    document: dict[str, Any] = field(default_factory=dict)
    date: datetime | None = None

    @property
    def is_good(self) -> bool:
        """Whether the question was answered."""
        return 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """Why it was not, in the server's words."""
        said = self.document.get("message") or self.document.get("error_description") or ""
        return f"HTTP {self.status}: {said[:_LONGEST]}" if said else f"HTTP {self.status}"


class RestApi:
    """The workspace behind ``target``; may be used by several threads. ``timeout`` seconds for each step."""

    def __init__(self, target: Target, timeout: float = 3.0, clock: Clock = SYSTEM_CLOCK) -> None:
        self.target = target
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._bearer: _Bearer | None = None
        self._sdk: Callable[[], Mapping[str, str]] | None = None
        context = ssl.create_default_context(cafile=target.ca_file)
        proxies = [urllib.request.ProxyHandler({})] if target.direct else []
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), _NoRedirects(), *proxies
        )

    def get(self, path: str, **query: str) -> Answer:
        """Ask as the one whom the target names; ``EnvironmentFault`` when nobody answers, ``DatabricksRefused``
        when there is no token to be had.
        """
        question = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._send(f"{path}{question}", self._authorization())

    def post(self, path: str, document: Mapping[str, Any]) -> Answer:
        """The same with a JSON body, for what changes something."""
        headers = {**self._authorization(), "Content-Type": "application/json"}
        return self._send(path, headers, json.dumps(document).encode())

    def call(self, method: str, path: str, query: Mapping[str, str], document: Mapping[str, Any] | None) -> Answer:
        """The same with another method."""
        question = f"?{urllib.parse.urlencode(query)}" if query else ""
        headers = {**self._authorization(), "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        return self._send(f"{path}{question}", headers, body, method)

    def download(self, path: str, write: Callable[[bytes], object]) -> Answer:
        """Ask for a file and ``write`` it as it comes; errors as ``get``, also when it ends half way."""
        request = self._request(path, self._authorization())
        try:
            with self._explained():
                response = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())
        with response:
            count = 0
            while piece := self._piece(response):
                write(piece)
                count += len(piece)
            wanted = int(response.headers.get("Content-Length") or count)
            if count != wanted:
                raise EnvironmentFault(
                    f"{self.target.host} sent {count:,} of {wanted:,} bytes of a file",
                    "run the same command again",
                )
            return Answer(response.status)

    def _piece(self, response: Any) -> bytes:
        with self._explained():
            return bytes(response.read(_PIECE))

    def anonymously(self, path: str) -> Answer:
        """Ask as nobody."""
        return self._send(path, {})

    def _authorization(self) -> Mapping[str, str]:
        auth = self.target.auth
        if isinstance(auth, PersonalToken):
            return {"Authorization": f"Bearer {reveal(auth.token)}"}
        with self._lock:
            if not isinstance(auth, ServicePrincipal):
                return self._by_sdk()
            if self._bearer is None or self._clock.monotonic() >= self._bearer.until:
                self._bearer = self._sign_in(auth)
            return {"Authorization": f"Bearer {self._bearer.token}"}

    def _by_sdk(self) -> Mapping[str, str]:
        try:
            if self._sdk is None:
                self._sdk = sdk_headers(replace(self.target, patience=min(self.target.patience, _SDK_SECONDS)))
            return self._sdk()
        except NoToken as error:
            late = isinstance(error.__cause__, TimeoutError)
            kind = EnvironmentFault if late else DatabricksRefused
            raise kind(f"{self.target.host}: {error}", SEE_TOOLS) from error
        except OSError as error:
            raise EnvironmentFault(f"{self.target.host}: no token: {error}", SEE_TOOLS) from error

    def _sign_in(self, principal: ServicePrincipal) -> "_Bearer":
        asked = self._clock.monotonic()
        pair = f"{principal.client_id}:{reveal(principal.secret)}"
        headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "all-apis"}).encode()
        answer = self._send("/oidc/v1/token", headers, form)
        token = answer.document.get("access_token")
        if not answer.is_good or not isinstance(token, str):
            raise DatabricksRefused(
                f"{self.target.host} gives the service principal no token: {answer.reason}",
                "check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, and that the secret has not expired",
            )
        register(token)
        lasts = answer.document.get("expires_in")
        seconds = float(lasts) if isinstance(lasts, int | float) else 2 * _EARLY
        return _Bearer(token, asked + seconds - min(_EARLY, seconds / 2))

    def _send(
        self, path: str, headers: Mapping[str, str], body: bytes | None = None, method: str | None = None
    ) -> Answer:
        request = self._request(path, headers, body, method)
        try:
            with self._explained(), self._opener.open(request, timeout=self._timeout) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def _request(
        self, path: str, headers: Mapping[str, str], body: bytes | None = None, method: str | None = None
    ) -> urllib.request.Request:
        url = f"https://{self.target.host}:{self.target.port}{path}"
        agent = {"User-Agent": f"dqctl/{dqctl.__version__}"}
        return urllib.request.Request(url, body, {**headers, **agent}, method=method)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise EnvironmentFault(
                f"{self.target.host} does not answer: {reason}", "check DATABRICKS_HOST and the network"
            ) from error


@dataclass(frozen=True)
class _Bearer:
    """An access token. ``until``: from then on (monotonic seconds) it is renewed."""

    token: str = field(repr=False)
    until: float


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along, wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    try:
        date = parsedate_to_datetime(headers["Date"])
    except (TypeError, ValueError):
        date = None
    return Answer(status, document if isinstance(document, dict) else {}, date)
