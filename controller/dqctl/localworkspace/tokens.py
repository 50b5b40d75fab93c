"""Who may come in: the personal access token, the service principal, and what is signed with the server's key."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN_LIFETIME = 3600  # seconds; that of Databricks' OAuth tokens
MOST_TOKENS = 600  # of one user, as on Databricks
_PREFIX = "dqctl-oauth"


@dataclass(frozen=True)
class Identity:
    """Who sent a request. ``user_name`` is an e-mail address or a service principal's client id."""

    user_name: str
    is_service_principal: bool = False


class QuotaExceeded(Exception):  # noqa: N818 - named for what it is
    """Somebody has as many tokens as one may have."""


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
    """The credentials of one data directory, made on first use; safe to use from many threads.

    ``token`` holds the personal access token that is always there; others are made with the API, and kept as
    checksums in ``tokens.json``. ``service-principal.json``: client id and secret for OAuth. OAuth tokens last
    ``lifetime`` seconds, which may be made short to see what clients do.
    """

    def __init__(self, directory: Path) -> None:
        self.token_file = directory / "token"
        self.principal_file = directory / "service-principal.json"
        self.secrets_file = directory / "secrets.json"
        self.lifetime = TOKEN_LIFETIME
        self._lock = threading.Lock()
        self._token = private_text(self.token_file, f"dapi{secrets.token_hex(16)}\n")
        made = {"client_id": secrets.token_hex(16), "client_secret": f"dose{secrets.token_hex(16)}"}
        principal = json.loads(private_text(self.principal_file, json.dumps(made, indent=2) + "\n"))
        self._client_id: str = principal["client_id"]
        self._client_secret: str = principal["client_secret"]
        self.signer = Signer(bytes.fromhex(private_text(directory / "signing.key", secrets.token_hex(32))))
        self._made_file = directory / "tokens.json"
        kept = self._made_file.read_text(encoding="utf-8") if self._made_file.exists() else "{}"
        self._made: dict[str, dict[str, Any]] = json.loads(kept)

    def identify(self, bearer: str) -> Identity | None:
        """Whose token it is; None when it is nobody's, or has expired."""
        if hmac.compare_digest(bearer.encode(), self._token.encode()):
            return OWNER
        prefix, _, rest = bearer.partition(".")
        if prefix != _PREFIX:
            return self._owner_of(bearer)
        client_id, _, rest = rest.partition(".")
        expires, _, rest = rest.partition(".")
        serial, _, signature = rest.partition(".")
        if not (expires.isascii() and expires.isdecimal()) or int(expires[:15]) < time.time():
            return None
        if not self.signer.is_signed(signature, "oauth", client_id, expires, serial):
            return None
        return Identity(client_id, is_service_principal=True)

    def _owner_of(self, bearer: str) -> Identity | None:
        # By its checksum: looking one up takes as long for a wrong token as for a right one.
        with self._lock:
            made = self._made.get(_checksum(bearer))
        if made is None or 0 <= made["expiry_time"] <= time.time() * 1000:
            return None
        return Identity(made["owner"], is_service_principal=made["owner"] != OWNER.user_name)

    def make(self, identity: Identity, comment: str, seconds: int | None) -> tuple[str, dict[str, Any]]:
        """A new personal access token for somebody, which lasts so many seconds (None: until it is deleted).

        Its text is returned and not kept, with what ``listed`` says of it. ``QuotaExceeded`` when there are
        ``MOST_TOKENS``.
        """
        token, made_at = f"dapi{secrets.token_hex(16)}", int(time.time() * 1000)
        made = {
            "owner": identity.user_name,
            "creation_time": made_at,
            "expiry_time": -1 if seconds is None else made_at + seconds * 1000,
            "comment": comment,
        }
        with self._lock:
            if sum(each["owner"] == identity.user_name for each in self._made.values()) >= MOST_TOKENS:
                raise QuotaExceeded(f"a user has at most {MOST_TOKENS} tokens")
            self._keep(self._made | {_checksum(token): made})
        return token, _information(_checksum(token), made)

    def revoke(self, identity: Identity, token_id: str) -> bool:
        """Delete one of somebody's tokens; whether there was such a one. ``token`` itself stays."""
        with self._lock:
            found = [key for key, each in self._made.items() if _id(key) == token_id and _is_of(each, identity)]
            if found:
                self._keep({key: each for key, each in self._made.items() if key not in found})
        return bool(found)

    def listed(self, identity: Identity) -> list[dict[str, Any]]:
        """The personal access tokens of somebody, as ``token/list`` has them: never the tokens themselves."""
        with self._lock:
            found = [_information(key, each) for key, each in self._made.items() if _is_of(each, identity)]
        if identity == OWNER:
            about = {
                "creation_time": int(self.token_file.stat().st_mtime * 1000),
                "expiry_time": -1,
                "comment": "the local workspace's",
            }
            found.insert(0, _information(_checksum(self._token), about))
        return found

    def _keep(self, made: dict[str, dict[str, Any]]) -> None:
        new = self._made_file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(made, file)
            file.flush()
            os.fsync(file.fileno())  # a token that was deleted must not come back
        new.replace(self._made_file)
        self._made = made

    def issue(self, client_id: str, client_secret: str) -> str | None:
        """An OAuth token that lasts ``lifetime`` seconds; None when the service principal is not known."""
        known = hmac.compare_digest(client_id.encode(), self._client_id.encode())
        if not (hmac.compare_digest(client_secret.encode(), self._client_secret.encode()) and known):
            return None
        expires = str(int(time.time()) + self.lifetime)
        serial = secrets.token_hex(8)  # two of the same second are two: one of them may be revoked
        signature = self.signer.sign("oauth", client_id, expires, serial)
        return f"{_PREFIX}.{client_id}.{expires}.{serial}.{signature}"


def _checksum(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _id(checksum: str) -> str:
    # Not the checksum itself: what is listed says nothing of what is kept.
    return hashlib.sha256(checksum.encode()).hexdigest()


def _information(checksum: str, about: dict[str, Any]) -> dict[str, Any]:
    shown = {name: about[name] for name in ("creation_time", "expiry_time", "comment")}
    return {"token_id": _id(checksum), **shown}


def _is_of(made: dict[str, Any], identity: Identity) -> bool:
    return bool(made["owner"] == identity.user_name)
