"""Lakebase's rule for passwords of roles: at least 12 characters, at least 60 bits of entropy, in the clear.

PostgreSQL has the rule as a library that the wheel does not ship, so it is kept where statements come by. What a
function or a DO block makes of a password is not seen.
"""

import math
import re

_MINIMUM = 12
_BITS = 60.0
_CLASSES = ((re.compile("[a-z]"), 26), (re.compile("[A-Z]"), 26), (re.compile("[0-9]"), 10))
_OTHERS = re.compile("[^a-zA-Z0-9]"), 32
_SETS_PASSWORD = re.compile(
    r"\b(?:CREATE|ALTER)\s+(?:ROLE|USER)\b[^;]*?\bPASSWORD\s+E?'((?:[^']|'')*)'", re.IGNORECASE | re.DOTALL
)
_HASHED = re.compile(r"(?:SCRAM-SHA-256\$|md5[0-9a-f]{32}$)")


def is_strong(password: str) -> bool:
    """Whether Lakebase takes it. What is hashed already cannot be judged, and is not taken."""
    if len(password) < _MINIMUM or _HASHED.match(password):
        return False
    symbols = sum(size for pattern, size in (*_CLASSES, _OTHERS) if pattern.search(password))
    return len(password) * math.log2(symbols) >= _BITS


def checked(statement: str) -> str:
    """The statement; in place of one that sets a weak password, one that fails as Lakebase does."""
    if all(is_strong(found.replace("''", "'")) for found in _SETS_PASSWORD.findall(statement)):
        return statement
    return (
        "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'insecure password', HINT = 'A password"
        " has at least 12 characters and 60 bits of entropy, and is given in the clear.'; END $$"
    )
