# mypy: disable-error-code="import-not-found"
"""Whether this version of TestGen can work with its database: every model is read, every secret decrypted.

It reads one row of each of TestGen's tables through TestGen's own models, nothing of any target. Of secrets only
an HMAC under a key that the request brings is said, as in ``fingerprint``.
"""

# ruff: noqa: S608 - SQL text out of names that the database has

import base64
import hashlib
import hmac
import importlib
import pkgutil
from functools import cache
from typing import Any

from Crypto.Cipher import AES
from Crypto.Protocol.KDF import PBKDF2
from sqlalchemy import select, text
from testgen import settings
from testgen.common import models
from testgen.common.encrypt import DecryptText
from testgen.common.models import Base, database_session

BLOCK = AES.block_size
# As dqctl.testgen.encrypted: every column of type bytea is one that TestGen encrypts.
COLUMNS = """
    SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND a.atttypid = 'bytea'::regtype AND NOT a.attisdropped
    ORDER BY 1, 2
"""


def serve(request: dict[str, Any], say: Any) -> dict[str, Any]:
    """``models`` that were read; ``secrets``: by column, the fingerprints of its values, sorted.

    A value that cannot be decrypted has no fingerprint and counts in ``lost``.
    """
    del say
    key = bytes.fromhex(request["key"])
    for module in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"{models.__name__}.{module.name}")
    secrets: dict[str, list[str]] = {}
    lost: dict[str, int] = {}
    with database_session() as session:
        read = [mapper.class_ for mapper in Base.registry.mappers]
        undecoded = []
        for model in read:
            try:
                session.execute(select(model).limit(1)).first()
            except ValueError as error:  # a secret that the keys do not fit, which is counted below
                undecoded.append(error)
        for table, column in session.execute(text(COLUMNS)).all():
            name = f"{table}.{column}"
            found = session.execute(text(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')).all()
            prints = [fingerprint(key, bytes(value)) for (value,) in found]
            secrets[name] = sorted(each for each in prints if each)
            if missing := prints.count(None):
                lost[name] = missing
    if undecoded and not lost:
        raise undecoded[0]
    return {"models": len(read), "secrets": {name: of for name, of in secrets.items() if of}, "lost": lost}


def fingerprint(key: bytes, stored: bytes) -> str | None:
    """The fingerprint of one stored secret; ``None`` when the keys do not fit it."""
    try:
        packed = base64.b64decode(stored, validate=True)
        padded = AES.new(own_key(), AES.MODE_CBC, packed[:BLOCK]).decrypt(packed[BLOCK:])
        plain = DecryptText(stored)
    except ValueError:  # no base64, no whole blocks, or no text
        return None
    # As in ``seal``: TestGen does not look at the padding, and a wrong key makes an empty text of short secrets.
    if not padded or not 1 <= padded[-1] <= BLOCK or padded[-padded[-1] :] != padded[-1:] * padded[-1]:
        return None
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()


@cache
def own_key() -> bytes:
    """The key of TestGen's encryption, as in ``seal``."""
    password, salt = settings.APP_ENCRYPTION_SECRET, settings.APP_ENCRYPTION_SALT
    return bytes(PBKDF2(password.encode("ascii"), salt.encode("ascii"), 64, 1000)[:32])
