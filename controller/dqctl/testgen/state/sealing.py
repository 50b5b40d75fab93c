"""Values that TestGen stores in clear, or hashed, and that nobody who reads the saved state shall see.

They are sealed in the row before it leaves, under a key that is derived from the stack's own decrypt keys: who has
these has the connections' secrets anyway, which TestGen encrypts under them and which travel as they are.
"""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from dqctl.errors import UsageError
from dqctl.redaction import reveal

SEALED: Mapping[str, tuple[str, ...]] = {
    "testgen.projects": ("observability_api_key",),  # in clear, up to 5.134.0
    "testgen.auth_users": ("password",),  # a hash
    "testgen.oauth2_clients": ("client_secret",),  # in clear
    "testgen.connections": ("url",),  # of connections by URL, which may hold a password
}
"""Their columns, by table. What TestGen encrypts is of type bytea (``dqctl.testgen.encrypted``)."""

_MARK = "dqctl-sealed:1:"
_NONCE = 12


@dataclass(frozen=True)
class Keys:
    """The stack's decrypt keys, as far as the state needs them."""

    salt: SecretStr
    password: SecretStr

    @property
    def fingerprint(self) -> str:
        """Tells these keys from others and gives nothing of them away: both are drawn from 62^32 and more."""
        return self._derived("fingerprint").hex()[:32]

    def seal(self, relation: str, row: str) -> str:
        """``row``, a text of ``rows.document``, with its secrets sealed."""
        columns = SEALED.get(relation, ())
        values: dict[str, str | None] = json.loads(row) if columns else {}
        if not any(values.get(column) for column in columns):
            return row
        for column in columns:
            if value := values.get(column):
                values[column] = self.hide(f"{relation}.{column}", value)
        return _text(values)

    def open(self, relation: str, row: str) -> str:
        """What ``seal`` made of a row, opened: that very text.

        Raises ``UsageError`` when it was sealed under other keys.
        """
        columns = SEALED.get(relation, ())
        values: dict[str, str | None] = json.loads(row) if columns else {}
        sealed = [column for column in columns if (values.get(column) or "").startswith(_MARK)]
        if not sealed:
            return row
        for column in sealed:
            values[column] = self.show(f"{relation}.{column}", values[column] or "")
        return _text(values)

    def hide(self, place: str, value: str) -> str:
        """``value``, sealed for one place: it cannot be opened as that of another."""
        nonce = os.urandom(_NONCE)
        secret = self._cipher.encrypt(nonce, value.encode(), place.encode())
        return _MARK + base64.b64encode(nonce + secret).decode()

    def show(self, place: str, sealed: str) -> str:
        """What ``hide`` made, opened; ``UsageError`` when it was sealed under other keys."""
        whole = base64.b64decode(sealed.removeprefix(_MARK))
        try:
            return self._cipher.decrypt(whole[:_NONCE], whole[_NONCE:], place.encode()).decode()
        except InvalidTag:
            raise UsageError(
                f"{place} is sealed under other keys than those of this stack",
                "bring the keys of the stack that saved it: dqctl credentials export there, import here",
            ) from None

    @property
    def _cipher(self) -> AESGCM:
        return AESGCM(self._derived("seal"))

    def _derived(self, purpose: str) -> bytes:
        message = f"dqctl state {purpose} {reveal(self.salt)}".encode()
        return hmac.new(reveal(self.password).encode(), message, hashlib.sha256).digest()


def _text(values: Mapping[str, str | None]) -> str:
    """As PostgreSQL's ``json_object`` writes it, so that the digest is the same."""
    return json.dumps(values, ensure_ascii=False, separators=(", ", " : "))
