"""Taking secrets out of text that leaves the machine, or that others wrote: logs, configuration, inspections.

Three nets: every secret that the stack and the settings hold, in all the ways it can be spelled; what looks like
a credential, whoever's it is; and whatever stands behind a name such as ``password``. Rather a harmless value too
many than a secret too few.
"""

import base64
import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dqctl.databricks.profile import read_profile
from dqctl.errors import UsageError
from dqctl.redaction import MASK, redact, register
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths

_LONG = 12  # characters; what is shorter stands in other text by chance when it is encoded
_NAMES = (
    r"password|passwd|pwd|passphrase|secret|token|credential|api[_-]?key|(?:private|hashing|access)[_-]?key|salt"
)
_NAMED = re.compile(
    rf"""((?:{_NAMES})[\w.-]*\\?["']?\s*(?:=>|[=:])\s*)(\\?"[^"\n]*"|'[^'\n]*'|[^\s,;&"'{{}}\[\]()<>]+)""",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_CREDENTIALS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user and password in a URL
    re.compile(r"(?<=bearer )\s*[\w.~+/=%-]{6,}", re.IGNORECASE),
    re.compile(r"(?<=basic )\s*[A-Za-z0-9+/=]{12,}", re.IGNORECASE),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),  # a JSON web token
    re.compile(r"\bdapi[\w./+%=-]{6,}"),  # Databricks: a personal access token
    re.compile(r"\bdose[0-9a-f]{16,}"),  # Databricks: a service principal's secret
    re.compile(r"\bSCRAM-SHA-256\$\S+"),  # PostgreSQL's way to keep a password
)


def learn_secrets(settings: Settings) -> None:
    """Register every secret that can be found, for ``scrub`` and for all that dqctl writes from now on.

    One that cannot be read cannot be learnt, and could hardly have been used.
    """
    _learn(settings.databricks_token)
    _learn(settings.databricks_client_secret)
    if settings.databricks_config_profile:
        with contextlib.suppress(UsageError):
            profile = read_profile(settings.databricks_config_profile, os.environ)
            for name, value in profile.values.items():
                if _SECRET_NAME.search(name):
                    _learn(value)
    paths = StackPaths(settings.home, settings.stack)
    for directory in (paths.secrets, paths.mounted):
        for path in directory.rglob("*"):
            _learn_file(path)
    if settings.workspace:
        for path in (settings.workspace / "server").glob("*token*"):
            _learn_file(path)


def _learn_file(path: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        text = path.read_text(encoding="utf-8").strip()
        if path.suffix == ".json":
            _learn_document(json.loads(text))
            return
        if "\n" not in text:
            _learn(text)
            return
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if _SECRET_NAME.search(name) and not name.startswith("#"):
                _learn(value.strip())


def _learn_document(value: Any) -> None:
    """All text in a file of secrets, such as one that keeps the old and the new while they are exchanged."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(each, str):
            _learn(each)
        else:
            _learn_document(each)


def _learn(secret: SecretStr | str | None) -> None:
    plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if not plain:
        return
    register(plain)
    if len(plain) >= _LONG:
        register(plain.encode().hex(), *_inside_base64(plain.encode()))


def _inside_base64(secret: bytes) -> list[str]:
    """What a secret looks like in the middle of a longer text in base64, at any of the three alignments."""
    found = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        whole = encoded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]  # what its neighbours do not reach
        found += [whole, whole.translate(str.maketrans("+/", "-_"))]
    return found


def scrub(text: str) -> str:
    """``text`` without what is, or looks like, a secret."""
    text = redact(text)
    for credential in _CREDENTIALS:
        text = credential.sub(MASK, text)
    return _NAMED.sub(_mask_value, text)


def scrub_document(value: Any, name: str = "") -> Any:
    """The same for what is going to be JSON: keys stay, and it stays JSON."""
    match value:
        case dict():
            return {scrub(str(key)): scrub_document(each, str(key)) for key, each in value.items()}
        case list() | tuple():
            return [scrub_document(each, name) for each in value]
        case str():
            return MASK if value and _SECRET_NAME.search(name) else scrub(value)
        case _:
            return value


def _mask_value(found: re.Match[str]) -> str:
    name, value = found.groups()
    if value.startswith("\\"):
        return f'{name}\\"{MASK}\\"'
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{quote}{MASK}{quote}"
