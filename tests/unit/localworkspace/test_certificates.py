import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dqctl.localworkspace.certificates import Certificates

HOST = "workspace.example.invalid"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    made = Certificates(tmp_path, HOST)
    made.ensure()
    return made


def handshake(certificates: Certificates, name: str, ca_file: Path | None = None) -> None:
    """A TLS handshake as strict as Python 3.13's default."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.server_file, certificates.server_key_file)
    client = ssl.create_default_context(cafile=str(ca_file or certificates.ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except (ssl.SSLError, OSError):
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with here:
            client.wrap_socket(here, server_hostname=name).close()
    finally:
        thread.join(20)


@pytest.mark.parametrize("name", [HOST, "localhost", "127.0.0.1"])
def test_clients_that_trust_the_authority_accept_every_name(certificates: Certificates, name: str) -> None:
    handshake(certificates, name)


@pytest.mark.parametrize("name", ["example.com", "127.0.0.2"])
def test_it_is_good_for_no_other_name(certificates: Certificates, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates, name)


def test_another_authority_is_not_trusted(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other", HOST)
    other.ensure()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificates, HOST, other.ca_file)


def test_what_is_good_stays(certificates: Certificates, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    certificates.ensure()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_certificate_near_its_end_is_renewed_under_the_same_authority(certificates: Certificates) -> None:
    authority, server = certificates.ca_file.read_bytes(), certificates.server_file.read_bytes()
    certificates.ensure(datetime.now(UTC) + timedelta(days=397 - 29))
    assert certificates.ca_file.read_bytes() == authority
    assert certificates.server_file.read_bytes() != server
    certificates.ensure()
    handshake(certificates, HOST)


@pytest.mark.parametrize("name", ["ca.pem", "ca.key", "server.pem", "server.key"])
@pytest.mark.parametrize("damage", ["remove", "empty"])
def test_damaged_files_are_made_again(certificates: Certificates, tmp_path: Path, name: str, damage: str) -> None:
    (tmp_path / name).unlink()
    if damage == "empty":
        (tmp_path / name).touch()
    certificates.ensure()
    handshake(certificates, HOST)


def test_another_host_name_gets_another_certificate(certificates: Certificates, tmp_path: Path) -> None:
    renamed = Certificates(tmp_path, "other.invalid")
    renamed.ensure()
    handshake(renamed, "other.invalid")


def test_keys_are_for_the_owner_alone(certificates: Certificates, tmp_path: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.key")}
    assert modes == {"ca.key": 0o600, "server.key": 0o600}
