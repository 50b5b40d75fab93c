# mypy: disable-error-code="import-not-found"
"""What another password and other keys make of what TestGen stores, computed by TestGen's own code.

Nothing is read from or written to the database here. The keys that count now are those of TestGen's settings.
"""

import base64
from typing import Any

from Crypto.Cipher import AES
from Crypto.Protocol.KDF import PBKDF2
from Crypto.Random import get_random_bytes
from testgen import settings
from testgen.common.encrypt import DecryptText, encrypt_ui_password

BLOCK = AES.block_size


def serve(request: dict[str, Any], say: Any) -> dict[str, Any]:
    """``values``, encrypted anew with ``salt`` and ``password``, and the hash of ``ui_password``.

    A value that the keys of now do not decrypt is ``None`` in the answer.
    """
    del say
    answer: dict[str, Any] = {"values": [], "hash": None}
    if request["ui_password"] is not None:
        answer["hash"] = encrypt_ui_password(request["ui_password"])
    if request["values"]:
        before = settings.APP_ENCRYPTION_SALT, settings.APP_ENCRYPTION_SECRET
        after = request["salt"], request["password"]
        keys = key(*before), key(*after)
        answer["values"] = [sealed_anew(value, before, after, keys) for value in request["values"]]
    return answer


def key(salt: str, password: str) -> bytes:
    """The key of TestGen's encryption (``testgen.common.encrypt``, the same from 2.24.8 to 5.134.0)."""
    return bytes(PBKDF2(password.encode("ascii"), salt.encode("ascii"), 64, 1000)[:32])


def sealed_anew(
    value: str, before: tuple[str, str], after: tuple[str, str], keys: tuple[bytes, bytes]
) -> str | None:
    """One stored value under the new key; ``None`` when the old key does not fit it."""
    try:
        stored = base64.b64decode(value, validate=True)
        padded = AES.new(keys[0], AES.MODE_CBC, stored[:BLOCK]).decrypt(stored[BLOCK:])
        plain = decrypted(value, before)
    except ValueError:  # no base64, no whole blocks, or no text
        return None
    # TestGen's own decryption does not look at the padding: a wrong key makes an empty text of most short secrets.
    if not padded or not 1 <= padded[-1] <= BLOCK or padded[-padded[-1] :] != padded[-1:] * padded[-1]:
        return None
    iv = get_random_bytes(BLOCK)
    new = base64.b64encode(iv + AES.new(keys[1], AES.MODE_CBC, iv).encrypt(padded)).decode("ascii")
    if decrypted(new, after) != plain:
        raise RuntimeError("TestGen does not decrypt what was encrypted anew")
    return new


def decrypted(value: str, secrets: tuple[str, str]) -> str:
    """What TestGen itself makes of a stored value with these secrets."""
    settings.APP_ENCRYPTION_SALT, settings.APP_ENCRYPTION_SECRET = secrets
    return str(DecryptText(value.encode("ascii")))
