"""Apprise's URLs are secrets, in parts too, and its complaints repeat nothing."""

import logging

import pytest
from pydantic import SecretStr

from dqctl.alerts import chat
from dqctl.alerts.message import Message
from dqctl.alerts.rules import Chat, Route, Severity
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.redaction import redact

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"


def test_every_part_of_a_url_is_kept_out_of_what_is_written() -> None:
    chat.check(SecretStr(SLACK), "route chat")
    said = redact("POST /services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ to hooks.slack.com")
    assert said == "POST /services/********/********/******** to hooks.slack.com"
    chat.check(SecretStr("mailto://bot:pa%24s-wort@mail.example.com?to=team@example.com"), "route mail")
    assert redact("AUTH bot pa$s-wort at mail.example.com") == "AUTH bot ******** at mail.example.com"
    chat.check(SecretStr("json://example.com/orders/services"), "route hook")
    assert redact("3 tests of orders and services failed") == "3 tests of orders and services failed"


@pytest.mark.parametrize("url", ["hidden-word", "nothing://hidden-word/x", "slack://hidden-word", "http://["])
def test_what_is_no_url_of_apprise_is_refused_without_repeating_it(
    url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UsageError, match="the URL of route chat is none") as refused:
        chat.check(SecretStr(url), "route chat")
    said = refused.value.message + refused.value.hint + caplog.text + "".join(capfd.readouterr())
    assert "hidden-word" not in said


def test_who_cannot_be_reached_is_an_error_with_its_reason() -> None:
    url = SecretStr("json://127.0.0.1:1/secret-path-4711")
    sender = chat.Sender(Route("chat", chat=Chat(), secrets={"url": url}))
    with pytest.raises(EnvironmentFault, match=r"did not reach route chat \(JSON\): .+") as refused:
        sender.send(Message("subject", "body", Severity.CRITICAL))
    assert "secret-path-4711" not in refused.value.message


@pytest.mark.parametrize(
    ("url", "size"),
    [
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", 1990),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?overflow=split", None),
        ("json://127.0.0.1/hook", 32758),
    ],
)
def test_how_much_a_service_takes_is_known_unless_the_url_says_what_becomes_of_more(
    url: str, size: int | None
) -> None:
    assert chat.Sender(Route("chat", chat=Chat(), secrets={"url": SecretStr(url)})).size == size
