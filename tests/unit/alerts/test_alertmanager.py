"""What goes to an Alertmanager over the wire, and what is made of its answers."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alert_receivers import web
from dqctl.alerts.alert import Alert
from dqctl.alerts.alertmanager import Sender
from dqctl.alerts.rules import Alertmanager, Route
from dqctl.alerts.telling import Known
from dqctl.errors import EnvironmentFault
from dqctl.localworkspace.certificates import Certificates

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def known(number: int = 0, resolved_at: datetime | None = None) -> Known:
    labels = {"alertname": "DataTestFailed", "test": str(number)}
    return Known(Alert(labels, {"summary": "s"}, "run", NOW - timedelta(hours=1)), resolved_at)


def sender(url: str, ca: str | None = None) -> Sender:
    return Sender(Route("ops", Alertmanager((url,), ca=ca)), url)


def test_what_fires_ends_later_by_itself_and_what_is_resolved_has_ended() -> None:
    with web() as server:
        sender(server.url).send([known(), known(1, NOW - timedelta(minutes=1))], NOW, "https://example.com/x")
        (posted,) = server.posted
    assert [(each["startsAt"], each["endsAt"]) for each in posted] == [  # type: ignore[index]
        ("2026-11-21T05:00:00.000Z", "2026-11-22T08:00:00.000Z"),
        ("2026-11-21T05:00:00.000Z", "2026-11-21T05:59:00.000Z"),
    ]
    assert {each["generatorURL"] for each in posted} == {"https://example.com/x"}  # type: ignore[index]


def test_many_alerts_go_in_several_requests() -> None:
    with web() as server:
        sender(server.url).send([known(number) for number in range(450)], NOW)
        assert [len(each) for each in server.posted] == [200, 200, 50]


def test_an_alertmanager_behind_tls_is_checked_with_its_own_certificates(tmp_path: Path) -> None:
    made = Certificates(tmp_path, "localhost")
    made.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_file, made.server_key_file)
    with web(context) as server:
        url = f"https://localhost:{server.port}"
        sender(url, made.ca_file.read_text()).send([known()], NOW)
        assert len(server.posted) == 1
        with pytest.raises(EnvironmentFault, match="certificate verify failed"):
            sender(url).send([known()], NOW)


@pytest.mark.parametrize("answer", [302, 307, 400, 503])
def test_another_answer_is_an_error_and_no_redirect_is_followed(answer: int) -> None:
    with web() as server, web() as elsewhere:
        server.answer, server.location = answer, elsewhere.url
        with pytest.raises(EnvironmentFault, match=f"did not reach Alertmanager {server.url}: HTTP {answer}"):
            sender(server.url).send([known()], NOW)
        assert elsewhere.posted == []


def test_what_is_no_web_server_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(EnvironmentFault, match="did not reach Alertmanager"):
            sender(f"http://127.0.0.1:{server.getsockname()[1]}").send([known()], NOW)
        thread.join(60)
