"""Who may come in: the personal access token, the service principal, and what is signed with the server's key."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN_LIFETIME = 3600  # seconds; that of Databricks' OAuth tokens
_PREFIX = "dqctl-oauth"


@dataclass(frozen=True)
class Identity:
    """Who sent a request. ``user_name`` is an e-mail address or a service principal's client id."""

    user_name: str
    is_service_principal: bool = False


OWNER = Identity("owner@dqctl.invalid")


def private_text(path: Path, make: str) -> str:
    """The text of a private file, which is made with ``make`` as its text when it is not there. Mode 0600."""
    if not path.exists():
        # Whole or not at all: an empty signing key, left by a server that was killed, would sign for everybody.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(make)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(name)  # unlike a rename it never replaces what another has made meanwhile
        finally:
            Path(name).unlink()
    return path.read_text(encoding="utf-8").strip()


class Signer:
    """Signs what the server hands out and has to know again, also after a restart."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, *parts: str) -> str:
        """The signature of ``parts``, safe in a URL."""
        digest = hmac.digest(self._key, json.dumps(parts).encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_signed(self, signature: str, *parts: str) -> bool:
        """Whether ``signature`` is that of ``parts``."""
        return hmac.compare_digest(signature.encode(), self.sign(*parts).encode())


class Tokens:
    """The credentials of one data directory, made on first use.

    ``token`` holds the personal access token; ``service-principal.json`` client id and secret for OAuth. OAuth
    tokens last ``lifetime`` seconds, which may be made short to see what clients do.
    """

    def __init__(self, directory: Path) -> None:
        self.token_file = directory / "token"
        self.principal_file = directory / "service-principal.json"
        self.secrets_file = directory / "secrets.json"
        self.lifetime = TOKEN_LIFETIME
        self._token = private_text(self.token_file, f"dapi{secrets.token_hex(16)}\n")
        made = {"client_id": secrets.token_hex(16), "client_secret": f"dose{secrets.token_hex(16)}"}
        principal = json.loads(private_text(self.principal_file, json.dumps(made, indent=2) + "\n"))
        self._client_id: str = principal["client_id"]
        self._client_secret: str = principal["client_secret"]
        self.signer = Signer(bytes.fromhex(private_text(directory / "signing.key", secrets.token_hex(32))))

    def identify(self, bearer: str) -> Identity | None:
        """Whose token it is; None when it is nobody's, or has expired."""
        if hmac.compare_digest(bearer.encode(), self._token.encode()):
            return OWNER
        prefix, _, rest = bearer.partition(".")
        client_id, _, rest = rest.partition(".")
        expires, _, rest = rest.partition(".")
        serial, _, signature = rest.partition(".")
        if prefix != _PREFIX or not expires.isdecimal() or int(expires) < time.time():
            return None
        if not self.signer.is_signed(signature, "oauth", client_id, expires, serial):
            return None
        return Identity(client_id, is_service_principal=True)

    def listed(self, identity: Identity) -> list[dict[str, Any]]:
        """The personal access tokens of somebody, as ``token/list`` has them: never the tokens themselves."""
        if identity != OWNER:
            return []
        made = int(self.token_file.stat().st_mtime * 1000)
        name = hashlib.sha256(self._token.encode()).hexdigest()
        return [{"token_id": name, "creation_time": made, "expiry_time": -1, "comment": "the local workspace's"}]

    def issue(self, client_id: str, client_secret: str) -> str | None:
        """An OAuth token that lasts ``lifetime`` seconds; None when the service principal is not known."""
        known = hmac.compare_digest(client_id.encode(), self._client_id.encode())
        if not (hmac.compare_digest(client_secret.encode(), self._client_secret.encode()) and known):
            return None
        expires = str(int(time.time()) + self.lifetime)
        serial = secrets.token_hex(8)  # two of the same second are two: one of them may be revoked
        signature = self.signer.sign("oauth", client_id, expires, serial)
        return f"{_PREFIX}.{client_id}.{expires}.{serial}.{signature}"
