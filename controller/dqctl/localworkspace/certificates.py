"""The workspace's own certificate authority, and the server certificate that it signs."""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=397)  # the most that clients accept of public ones
RENEW_BEFORE = timedelta(days=30)


class Certificates:
    """The files of one data directory: ``ca.pem`` to be trusted by clients, ``server.pem`` and its key."""

    def __init__(self, directory: Path, host: str) -> None:
        self.ca_file = directory / "ca.pem"
        self.server_file = directory / "server.pem"
        self.server_key_file = directory / "server.key"
        self._ca_key_file = directory / "ca.key"
        self._host = host

    def ensure(self, now: datetime | None = None) -> None:
        """Make what is missing; renew the server's certificate when it ends within 30 days.

        The authority stays, so that clients which trust it need not be told.
        """
        now = now or datetime.now(UTC)
        if not self._ca_file_is_good(now):
            self._make_authority(now)
        if not self._server_file_is_good(now):
            self._make_server(now)

    def _ca_file_is_good(self, now: datetime) -> bool:
        try:
            authority, key = self._authority()
        except (FileNotFoundError, ValueError):
            return False
        return authority.public_key() == key.public_key() and _is_in_time(authority, now)

    def _server_file_is_good(self, now: datetime) -> bool:
        try:
            server = x509.load_pem_x509_certificate(self.server_file.read_bytes())
            key = serialization.load_pem_private_key(self.server_key_file.read_bytes(), None)
        except (FileNotFoundError, ValueError):
            return False
        authority, authority_key = self._authority()
        try:
            authority_key.public_key().verify(
                server.signature, server.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256())
            )
            names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one mends it
            return False
        fits = server.issuer == authority.subject and server.public_key() == key.public_key()
        return fits and names == self._names() and _is_in_time(server, now)

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = serialization.load_pem_private_key(self._ca_key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{self._ca_key_file} holds no key of an elliptic curve")
        return x509.load_pem_x509_certificate(self.ca_file.read_bytes()), key

    def _names(self) -> x509.SubjectAlternativeName:
        return x509.SubjectAlternativeName(
            [
                x509.DNSName(self._host),
                x509.DNSName("localhost"),
                x509.DNSName("host.docker.internal"),  # this machine, for its containers: PostgreSQL has no proxy
                x509.IPAddress(IPv4Address("127.0.0.1")),
            ]
        )

    def _make_authority(self, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        # The serial number in the name keeps a new authority apart from an old one that is still trusted.
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "dqctl local workspace"),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{x509.random_serial_number():x}"[:16]),
            ]
        )
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self._ca_key_file, _pem(key), 0o600)
        _write(self.ca_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def _make_server(self, now: datetime) -> None:
        authority, authority_key = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._host)]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + SERVER_LIFETIME)
            .add_extension(self._names(), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            # Python 3.13 verifies strictly, and misses it otherwise.
            .add_extension(issuer_key, critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        _write(self.server_key_file, _pem(key), 0o600)
        _write(self.server_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _is_in_time(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    new = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    new.replace(path)
