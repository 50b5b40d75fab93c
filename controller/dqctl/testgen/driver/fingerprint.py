# mypy: disable-error-code="import-not-found"
"""Fingerprints of the secrets that TestGen stores with its connections.

A fingerprint is an HMAC under a key that the request brings: whoever knows the key and a secret can tell whether
the stored one is the same, and nothing else is said. ``None`` means that nothing is stored, or that what is
stored cannot be decrypted with the stack's keys.
"""

# ruff: noqa: S608 - SQL text out of names that TestGen's models have

import hashlib
import hmac
from typing import Any

from sqlalchemy import text
from testgen.common.encrypt import DecryptText
from testgen.common.models import database_session


def serve(request: dict[str, Any], say: Any) -> dict[str, Any]:
    """``{"fingerprints": {connection_id: {column: fingerprint}}}`` of the ``columns`` of all connections."""
    del say
    key = bytes.fromhex(request["key"])
    columns = request["columns"]
    with database_session() as session:
        listed = ", ".join(f'"{column}"' for column in columns)
        rows = session.execute(text(f"SELECT connection_id, {listed} FROM connections")).all()
    return {
        "fingerprints": {
            str(row[0]): {column: fingerprint(key, row[i]) for i, column in enumerate(columns, 1)} for row in rows
        }
    }


def fingerprint(key: bytes, stored: Any) -> str | None:
    """The fingerprint of one stored secret."""
    if stored is None:
        return None
    try:
        plain = DecryptText(bytes(stored))
    except ValueError:  # wrong keys leave bytes that are no text, or padding that is none
        return None
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()
