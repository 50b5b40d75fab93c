"""Chat, mail and webhooks, by Apprise."""

import logging
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from dqctl.alerts.message import Message
from dqctl.alerts.rules import URL, Route, Severity
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.redaction import redact, register, reveal

if TYPE_CHECKING:
    from apprise import NotifyBase

_LONGEST = 300
# Of these schemas the host is one; of others it may be a token, as in tgram://TOKEN/CHAT.
_WITH_HOST = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "mqtt", "mqtts"})
_TOKEN = re.compile(r"^(?=.*\d)(?=.*[A-Za-z]).{8,}$|^\S{20,}$")


@dataclass(frozen=True)
class Sender:
    """The receiver of a route."""

    route: Route

    @property
    def size(self) -> int | None:
        """How many characters it takes, subject and body together; None where the URL says what becomes of more.

        Apprise hands a message over whatever its length, and what is too long for Discord or a phone is refused:
        the worse the night, the less would arrive.
        """
        from apprise import OverflowMode

        service = _service(self.route.secrets[URL], f"route {self.route.name}")
        # Between the two stand a few characters more, and services without titles put them into the body.
        return service.body_maxlen - 10 if service.overflow_mode is OverflowMode.UPSTREAM else None

    def send(self, message: Message) -> None:
        """Send it. Raises ``EnvironmentFault`` with what Apprise says about it.

        Apprise's own limits end what does not answer: 4 s to connect and 4 s to read, 15 s for mail, or what
        ``?cto=`` and ``?rto=`` in the URL say.
        """
        from apprise import NotifyFormat, NotifyType  # half a second, for who has news only

        kinds = {Severity.CRITICAL: NotifyType.FAILURE, Severity.WARNING: NotifyType.WARNING}
        service = _service(self.route.secrets[URL], f"route {self.route.name}")
        with _heard() as said:
            try:
                done = service.notify(
                    title=message.subject,
                    body=message.body,
                    notify_type=kinds.get(message.severity, NotifyType.INFO),
                    body_format=NotifyFormat.TEXT,
                )
            except Exception as error:  # noqa: BLE001 - a hundred plugins, each with errors of its own
                said.append(f"{type(error).__name__}: {error}")
                done = False
        if not done:
            reason = redact(" ".join(" ".join(said).split()))
            raise EnvironmentFault(
                f"alerts did not reach route {self.route.name} ({service.service_name}): "
                f"{reason[:_LONGEST] or 'it was refused'}",
                "they are sent again by the next command or by the controller; try it with: dqctl alerts test",
            )


def check(url: SecretStr, whose: str) -> None:
    """``UsageError`` for what is no URL of Apprise."""
    _service(url, whose)


def _service(url: SecretStr, whose: str) -> "NotifyBase":
    from apprise import Apprise

    _register_parts(url)
    with _heard():
        service = Apprise.instantiate(reveal(url))
    if service is None:
        raise UsageError(
            f"the URL of {whose} is none that Apprise can send to",
            "it is to look like slack://..., mailto://..., json://...: Apprise's documentation lists all",
        )
    return service


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What Apprise complains of meanwhile, and to nobody else: it repeats URLs that it cannot read."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, ear = logging.getLogger("apprise"), Ear(logging.WARNING)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(ear)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield said
    finally:
        logger.removeHandler(ear)
        logger.propagate = before
        logger.setLevel(level)


def _register_parts(url: SecretStr) -> None:
    """What libraries say about a URL is not the URL: what looks like a token in it must not show either.

    Not every part: ``json://example.com/orders`` would take the word out of whatever is written about a table.
    """
    try:
        parts = urllib.parse.urlsplit(reveal(url))
        host, password = parts.hostname or "", parts.password or ""
    except ValueError:
        return
    register(password, urllib.parse.unquote(password))
    found = [*parts.path.split("/"), *(value for _, value in urllib.parse.parse_qsl(parts.query))]
    if parts.scheme.lower() not in _WITH_HOST:
        found += [host, parts.username or "", parts.netloc]
    for each in found:
        for spelling in (each, urllib.parse.unquote(each)):
            if _TOKEN.search(spelling):
                register(spelling)
