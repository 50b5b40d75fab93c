"""The stack's own settings file: what ``install`` was given, so that cron needs no flags."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from dqctl.errors import UsageError
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.settings import Settings

# Secrets never go into a file of settings; the others say which stack it is.
_NEVER = frozenset({"databricks_token", "databricks_client_secret", "home", "stack"})
# Where both are set those after the colon count: whoever gives the first means it to count from now on.
_INSTEAD_OF = {
    "databricks_host": ("workspace",),
    "databricks_config_profile": ("workspace",),
    "databricks_warehouse_id": ("http_path",),
    "warehouse_name": ("http_path", "databricks_warehouse_id"),
}
_HEADER = "# Written by dqctl install: the settings that it was given. A flag or a variable goes before them.\n"


def check(given: Mapping[str, str]) -> None:
    """``UsageError`` for a name that is no setting or must not be kept, and for two that exclude each other."""
    for name in given:
        if name in _NEVER or name not in Settings.model_fields:
            raise UsageError(f"{name!r} cannot be kept in the settings of a stack", "leave it to a variable")
    for name, others in _INSTEAD_OF.items():
        for other in others:
            if name in given and other in given:
                raise UsageError(f"{_words(name)} and {_words(other)} are both given", "give one of them")


def remember(path: Path, given: Mapping[str, str]) -> bool:
    """Add ``given`` to the settings in ``path``, replacing those of the same name; whether anything changed.

    A host or a profile replaces a local workspace, a warehouse's id or name its path. Raises
    what ``check`` raises, and ``UsageError`` for a file that is damaged.
    """
    check(given)
    before, after = _before_and_after(path, given)
    if after == before:
        return False
    # A JSON string is a TOML basic string, as long as DEL is escaped too.
    lines = [f"{name} = {_toml(value)}\n" for name, value in sorted(after.items())]
    write_atomically(path, _HEADER + "".join(lines), PRIVATE_FILE)
    return True


def changed(path: Path, given: Mapping[str, str]) -> tuple[str, ...]:
    """The settings that ``remember`` would change in ``path``."""
    before, after = _before_and_after(path, given)
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def _before_and_after(path: Path, given: Mapping[str, str]) -> tuple[dict[str, object], dict[str, object]]:
    before = _read(path)
    replaced = {other for name, others in _INSTEAD_OF.items() if name in given for other in others}
    return before, {name: value for name, value in before.items() if name not in replaced} | dict(given)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"settings file {path} cannot be read: {error}", "mend or remove it") from None
