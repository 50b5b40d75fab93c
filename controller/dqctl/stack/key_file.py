"""A file that carries a stack's keys to another host, sealed with a passphrase.

scrypt makes the key of the passphrase, AES-256-GCM seals: who lacks the passphrase reads nothing, and a file that
was changed in any place is refused. What stands in clear says of which stack it is, and how to open it; it is
part of what is sealed.
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.redaction import register, reveal

# 128 MB and half a second for every guess.
_COST = 2**17
_NONCE = 12
_SALT = 16
_MINIMUM = 12  # characters of a passphrase: the file is made to travel


class _Head(BaseModel):
    """What stands in clear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    what: Literal["keys of a dqctl stack"] = "keys of a dqctl stack"
    stack: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    kdf: Literal["scrypt"] = "scrypt"
    n: int = Field(default=_COST, ge=2**14, le=2**20)
    salt: Base64Bytes
    nonce: Base64Bytes

    def bound(self) -> bytes:
        return self.model_dump_json().encode()


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    head: _Head
    sealed: Base64Bytes


def write(path: Path, stack: str, keys: Mapping[str, SecretStr], passphrase: SecretStr) -> None:
    """Seal ``keys`` of ``stack`` into ``path`` (0600); ``UsageError`` when there is a file already."""
    if path.exists():
        raise UsageError(f"{path} is there already", "name another file, or remove this one; nothing was written")
    head = _Head(stack=stack, salt=_encoded(os.urandom(_SALT)), nonce=_encoded(os.urandom(_NONCE)))
    plain = json.dumps({name: reveal(value) for name, value in keys.items()}).encode()
    sealed = AESGCM(_key(head, passphrase)).encrypt(head.nonce, plain, head.bound())
    file = _File(head=head, sealed=_encoded(sealed))
    try:
        write_atomically(path, file.model_dump_json(indent=2) + "\n", PRIVATE_FILE)
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be written: {error.strerror}", "name another place") from error


def read(path: Path, passphrase: SecretStr) -> tuple[str, Mapping[str, SecretStr]]:
    """The stack that the keys in ``path`` are of, and the keys.

    Raises ``UsageError`` when the passphrase does not open it, or when it is no such file, or was changed.
    """
    try:
        file = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check --file") from error
    except ValidationError as error:
        raise UsageError(
            f"{path} holds no keys that this dqctl can read: {error.errors()[0]['msg'].lower()}",
            "name the file that dqctl credentials export wrote, as it was written",
        ) from None
    try:
        plain = AESGCM(_key(file.head, passphrase)).decrypt(file.head.nonce, file.sealed, file.head.bound())
    except (InvalidTag, ValueError):  # the latter for a nonce of no such length
        raise UsageError(
            f"the passphrase does not open {path}, or the file was changed since it was written",
            "check the passphrase; if it is right, copy the file anew. Nothing was changed",
        ) from None
    values: dict[str, Any] = json.loads(plain)
    for value in values.values():
        register(value)
    return file.head.stack, {name: SecretStr(value) for name, value in values.items()}


def read_passphrase(path: Path) -> SecretStr:
    """The passphrase in the file ``path``, without the end of its line; ``UsageError`` when it is short."""
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the passphrase {path} cannot be read: {error}", "check --passphrase-file") from None
    if len(value) < _MINIMUM:
        raise UsageError(
            f"the passphrase in {path} has {len(value)} characters, {_MINIMUM} are needed",
            "the file with the keys is made to travel: whoever gets it can try passphrases for years",
        )
    register(value)
    return SecretStr(value)


def _key(head: _Head, passphrase: SecretStr) -> bytes:
    return Scrypt(salt=head.salt, length=32, n=head.n, r=8, p=1).derive(reveal(passphrase).encode())


def _encoded(value: bytes) -> bytes:
    return base64.b64encode(value)
