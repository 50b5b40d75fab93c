"""Handing a request over, to a real receiver with faults: what is known of it afterwards."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from dqctl.clock import Clock
from dqctl.errors import DqctlError, UsageError
from dqctl.localworkspace.certificates import Certificates
from dqctl.observability import client as observability
from dqctl.observability.client import Client, ContentRefused, Lost, NotTaken
from observability_receiver import KEY, Fault, Receiver, answering, cut_off, receiving

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Time:
    """A clock that goes on by sleeping alone."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: NOW, monotonic=lambda: sum(self.slept), sleep=self.slept.append)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.is_strict = False
        yield receiver


def client(receiver: Receiver, time: Time, patience: float = 60.0) -> Client:
    return Client(observability.Receiver(receiver.url, SecretStr(KEY), timeout=60), patience, time.clock)


def test_a_refusal_for_a_while_is_waited_for_as_long_as_the_receiver_asks(receiver: Receiver) -> None:
    time = Time()
    receiver.faults = {
        0: answering(429, Retry_After="7"),
        1: answering(503, Retry_After="Sun, 01 Mar 2026 00:00:09 GMT"),
        2: answering(500),
        3: answering(500, Retry_After="soon"),
    }
    client(receiver, time).send(b"{}")
    assert time.slept == [7.0, 9.0, 2.0, 4.0]
    assert (len(receiver.seen), len(receiver.taken)) == (5, 1)


def test_patience_ends(receiver: Receiver) -> None:
    time = Time()
    receiver.faults = dict.fromkeys(range(100), answering(503))
    with pytest.raises(NotTaken, match="HTTP 503: on request"):
        client(receiver, time).send(b"{}")
    assert 40 < sum(time.slept) <= 60
    assert max(time.slept) <= 10


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (cut_off(taken=True), Lost),
        (cut_off(taken=False), Lost),
        (answering(502), Lost),
        (answering(504), Lost),
        (answering(400, {"error": "Invalid request: {'test_outcomes': ...}"}), ContentRefused),
        (answering(413), ContentRefused),
        (answering(401), UsageError),
        (answering(301, Location="http://127.0.0.1:1/"), UsageError),
    ],
)
def test_what_may_have_been_taken_or_never_will_be_is_not_sent_again(
    receiver: Receiver, fault: Fault, kind: type[DqctlError]
) -> None:
    time = Time()
    receiver.faults = {0: fault}
    with pytest.raises(kind) as raised:
        client(receiver, time).send(b"{}")
    assert type(raised.value) is kind
    assert (len(receiver.seen), time.slept) == (1, [])
    assert KEY not in str(raised.value)


def test_nobody_there_is_surely_not_taken() -> None:
    time = Time()
    nobody = observability.Receiver("http://127.0.0.1:1/api", SecretStr(KEY))
    with pytest.raises(NotTaken, match="cannot be reached"):
        Client(nobody, 5, time.clock).send(b"{}")
    assert time.slept == [0.5, 1.0, 2.0]


def test_one_outcome_or_the_envelope_is_disliked(receiver: Receiver) -> None:
    receiver.faults = {
        0: answering(400, {"error": "Invalid request: {'test_outcomes': {0: ...}}"}),
        1: answering(400, {"error": "Invalid request: {'dataset_key': ...}"}),
    }
    found = []
    for _ in range(2):
        with pytest.raises(ContentRefused) as raised:
            client(receiver, Time()).send(b"{}")
        found.append(raised.value.is_outcome)
    assert found == [True, False]


@pytest.mark.parametrize("url", ["observability.example.com/api", "ftp://example.com", "https:///api", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no URL"):
        _ = observability.Receiver(url, SecretStr(KEY)).endpoint


def test_a_url_may_end_with_a_slash() -> None:
    receiver = observability.Receiver("https://example.com/api/", SecretStr(KEY))
    assert receiver.endpoint == "https://example.com/api/events/v1/test-outcomes"


def test_a_certificate_is_trusted_with_who_signed_it_alone(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path, "localhost")
    certificates.ensure()
    with receiving(certificates) as behind:
        behind.is_strict = False
        key = SecretStr(KEY)
        with pytest.raises(UsageError, match="a certificate that is not trusted") as raised:
            Client(observability.Receiver(behind.url, key)).send(b"{}")
        assert "DQCTL_CA_BUNDLE" in raised.value.hint
        assert not behind.seen
        Client(observability.Receiver(behind.url, key, certificates.ca_file)).send(b"{}")
        assert len(behind.taken) == 1


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pem"):
        Client(observability.Receiver("https://example.com", SecretStr(KEY), tmp_path / "none.pem"))
