"""What programs without TLS say goes on under TLS, the certificate checked."""

import contextlib
import errno
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqctl.localworkspace.certificates import Certificates
from dqctl.runtime.tls_relay import HOST, relay

SASL = struct.pack("!i", 10)
START = b"\0\0\0\x0cstartup!"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return made(tmp_path_factory.mktemp("certificates"))


def made(directory: Path) -> Certificates:
    found = Certificates(directory, HOST)
    found.ensure()
    return found


@contextlib.contextmanager
def server(certificates: Certificates, answer: bytes, tls: bytes = b"S") -> Iterator[tuple[int, list[bytes]]]:
    """A PostgreSQL that asks how a password is to be proven, and says everything back after that."""
    heard: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_file, certificates.server_key_file)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with plain, contextlib.suppress(OSError):
                    heard.append(plain.recv(8))
                    plain.sendall(tls)
                    if tls != b"S":
                        continue
                    with context.wrap_socket(plain, server_side=True) as secured:
                        heard.append(secured.recv(len(START)))
                        secured.sendall(answer)
                        while piece := secured.recv(1 << 16):
                            secured.sendall(piece)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive()


@contextlib.contextmanager
def client_of(here: int) -> Iterator[socket.socket]:
    """A program that has begun to speak."""
    with socket.create_connection((HOST, here), timeout=20) as connection:
        connection.sendall(START)
        yield connection


def received(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (piece := connection.recv(count - len(found))):
        found += piece
    return found


def test_everything_goes_there_and_back_under_tls(certificates: Certificates) -> None:
    answer = message(b"R", SASL + b"SCRAM-SHA-256\0\0")
    payload = bytes(range(256)) * 8000
    with (
        server(certificates, answer) as (port, heard),
        relay("localhost", port, certificates.ca_file) as here,
        client_of(here) as client,
    ):
        assert received(client, len(answer)) == answer
        sender = threading.Thread(target=client.sendall, args=(payload,))
        sender.start()
        assert received(client, len(payload)) == payload
        sender.join()
    assert heard == [struct.pack("!ii", 8, 80877103), START]


def test_the_way_that_binds_a_password_to_tls_is_not_offered(certificates: Certificates) -> None:
    answer = message(b"R", SASL + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
    wanted = message(b"R", SASL + b"SCRAM-SHA-256\0\0")
    with (
        server(certificates, answer) as (port, _),
        relay("localhost", port, certificates.ca_file) as here,
        client_of(here) as client,
    ):
        assert received(client, len(wanted)) == wanted


def test_an_error_of_the_server_is_passed_on_as_it_is(certificates: Certificates) -> None:
    answer = message(b"E", b"SFATAL\0C53300\0Mtoo many connections\0\0")
    with (
        server(certificates, answer) as (port, _),
        relay("localhost", port, certificates.ca_file) as here,
        client_of(here) as client,
    ):
        assert received(client, len(answer)) == answer


@pytest.mark.parametrize(("host", "own", "tls"), [("localhost", False, b"S"), ("localhost", True, b"N")])
def test_a_server_that_cannot_be_trusted_hears_nothing(
    certificates: Certificates, tmp_path: Path, host: str, own: bool, tls: bytes
) -> None:
    trusted = certificates if own else made(tmp_path)
    with (
        server(certificates, b"", tls) as (port, heard),
        relay(host, port, trusted.ca_file) as here,
        client_of(here) as client,
    ):
        assert received(client, 1) == b""
    assert START not in heard


def test_nobody_listens_when_the_block_is_over(certificates: Certificates) -> None:
    with server(certificates, b"") as (port, _):
        with relay("localhost", port, certificates.ca_file) as here:
            pass
        with socket.socket() as late:
            assert late.connect_ex((HOST, here)) == errno.ECONNREFUSED
