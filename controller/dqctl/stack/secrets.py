"""The stack's secrets: made by a CSPRNG, one file each, 0600 in a 0700 directory.

Only a rotation overwrites them (``dqctl.stack.rotation``).

They are letters and digits only: TestGen's ``config.env`` knows no quotes, its set-up puts values into SQL and
URLs unescaped, and a metadata password with a space fails (5.134.0 and before).
"""

import os
import secrets
import string
import tempfile
from pathlib import Path

from pydantic import SecretStr

from dqctl.errors import EnvironmentFault
from dqctl.files import ensure_private_dir
from dqctl.redaction import register, reveal
from dqctl.stack.paths import StackPaths

_ALPHABET = string.ascii_letters + string.digits
_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)

# What each is for, and its length. TestGen base64-decodes the JWT key: 44 of these letters are valid base64.
LENGTHS = {
    "postgres_password": 40,  # of the metadata database's role
    "testgen_password": 32,  # of TestGen's first user
    "decrypt_salt": 32,  # TestGen's own encryption of connection secrets
    "decrypt_password": 40,  # the same
    "jwt_key": 44,  # TestGen's API
}


# Of what stands beside TestGen, made where that is wanted: no part of its keys, and nothing to rotate.
BESIDE = {"grafana_password": 32}  # of Grafana's first user


def missing_secrets(paths: StackPaths) -> tuple[str, ...]:
    """The names of those that ``ensure_secrets`` would make."""
    return tuple(name for name in LENGTHS if not (paths.secrets / name).exists())


def ensure_secrets(paths: StackPaths) -> tuple[str, ...]:
    """Make the secrets that are missing; the names of those that were made."""
    ensure_private_dir(paths.secrets)
    return tuple(name for name, length in LENGTHS.items() if _create(paths.secrets / name, _generate(length)))


def ensure_secret(paths: StackPaths, name: str) -> tuple[str, ...]:
    """Make one of ``BESIDE``, unless it is there; its name if it was made."""
    ensure_private_dir(paths.secrets)
    return (name,) if _create(paths.secrets / name, _generate(BESIDE[name])) else ()


def adopt_secret(paths: StackPaths, name: str, value: SecretStr) -> bool:
    """Make the secret ``name`` with a value from elsewhere; False when the stack has one, which stays."""
    ensure_private_dir(paths.secrets)
    return _create(paths.secrets / name, reveal(value))


def new_secret(name: str) -> SecretStr:
    """Another value for the secret ``name``, registered for redaction; it is written nowhere."""
    value = _generate(LENGTHS[name])
    register(value)
    return SecretStr(value)


def read_secret(paths: StackPaths, name: str) -> SecretStr:
    """The secret ``name``, registered for redaction; ``EnvironmentFault`` when it is not there."""
    path = paths.secrets / name
    try:
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFault(f"secret {path} cannot be read: {error}", _LOST) from None
    if not value:
        raise EnvironmentFault(f"secret {path} is empty", _LOST)
    register(value)
    return SecretStr(value)


_LOST = "restore the file from your backup of the stack's directory; without it the stack's state cannot be read"


def _generate(length: int) -> str:
    while True:
        value = "".join(secrets.choice(_ALPHABET) for _ in range(length))
        # Servers that judge passwords (Lakebase, passwordcheck) want all three; one in a thousand has no digit.
        if all(any(letter in kind for letter in value) for kind in _KINDS):
            return value


def _create(path: Path, value: str) -> bool:
    """Make the file with its whole content in one step, unless it is there; whether it was made."""
    if path.exists():
        return False
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what another install made meanwhile.
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        Path(temporary).unlink(missing_ok=True)
    return True
