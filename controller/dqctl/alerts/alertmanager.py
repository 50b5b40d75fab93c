"""Prometheus Alertmanager, by version 2 of its API."""

import json
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dqctl.alerts.alert import TEST, Alert
from dqctl.alerts.rules import PASSWORD, TOKEN, Route, Severity
from dqctl.alerts.telling import Known
from dqctl.errors import EnvironmentFault
from dqctl.redaction import redact, reveal

_BATCH = 200  # alerts of one request, some hundred kilobytes at most
_SECONDS = 10.0
_LONGEST = 300
_ANNOTATION = 1000


@dataclass(frozen=True)
class Sender:
    """One Alertmanager of a route."""

    route: Route
    url: str

    def send(self, alerts: Sequence[Known], now: datetime, link: str = "") -> None:
        """Tell it what fires and what does not any more; again changes nothing.

        What fires ends by itself after the route's ``keep``, unless it is told again. Raises ``EnvironmentFault``.
        """
        keep = timedelta(seconds=self.route.alertmanager.keep if self.route.alertmanager else 0)
        for begin in range(0, len(alerts), _BATCH):
            self._post([_document(each, now, keep, link) for each in alerts[begin : begin + _BATCH]])

    def test(self, stack: str, now: datetime) -> None:
        """Send an alert that says that it is a test and ends by itself within a minute."""
        labels = {"alertname": TEST, "severity": Severity.INFO.value, "stack": stack, "route": self.route.name}
        summary = "Nothing is wrong: somebody tried this route with dqctl alerts test"
        known = Known(Alert(labels, {"summary": summary}, since=now))
        self._post([_document(known, now, timedelta(minutes=1), "")])

    def _post(self, documents: list[dict[str, Any]]) -> None:
        request = urllib.request.Request(  # noqa: S310 - http and https alone are let into a systems file
            f"{self.url.rstrip('/')}/api/v2/alerts",
            data=json.dumps(documents).encode(),
            headers={"Content-Type": "application/json", **self._authorization()},
            method="POST",
        )
        try:
            with self._opener().open(request, timeout=_SECONDS):
                return
        except urllib.error.HTTPError as error:
            with error:
                said = error.read1(_LONGEST).decode(errors="replace").strip() if error.fp else ""
            reason = f"HTTP {error.code} {said}".strip()
        except (OSError, ValueError) as error:  # ValueError: an answer that is no HTTP
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - http.client has a tree of its own, and no foreign error leaves here
            reason = f"{type(error).__name__}: {error}"
        raise EnvironmentFault(
            f"alerts did not reach Alertmanager {self.url}: {redact(reason)[:_LONGEST]}",
            "they are sent again by the next command or by the controller; try it with: dqctl alerts test",
        )

    def _opener(self) -> urllib.request.OpenerDirector:
        ca = self.route.alertmanager.ca if self.route.alertmanager else None
        context = ssl.create_default_context(cadata=ca) if ca else ssl.create_default_context()
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects())

    def _authorization(self) -> Mapping[str, str]:
        secrets = self.route.secrets
        if TOKEN in secrets:
            return {"Authorization": f"Bearer {reveal(secrets[TOKEN])}"}
        if PASSWORD in secrets and self.route.alertmanager:
            pair = f"{self.route.alertmanager.user}:{reveal(secrets[PASSWORD])}"
            return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        return {}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the credentials to somebody else, and make a GET of a POST."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        del args, kwargs


def _document(known: Known, now: datetime, keep: timedelta, link: str) -> dict[str, Any]:
    alert = known.alert
    starts = min(alert.since or now, known.resolved_at or now)
    document: dict[str, Any] = {
        "labels": dict(alert.labels),
        "annotations": {name: value[:_ANNOTATION] for name, value in alert.annotations.items()},
        "startsAt": _time(starts),
        "endsAt": _time(known.resolved_at or now + keep),
    }
    return document | ({"generatorURL": link} if link else {})


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
