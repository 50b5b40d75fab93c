"""A profile of ``~/.databrickscfg``, the file that Databricks' own tools share.

It is read here rather than by ``databricks-sdk``: what it holds is known without importing the SDK, and a token or
a service principal in it can be handed to TestGen like any other.
"""

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from dqctl.errors import UsageError

DEFAULT_FILE = "~/.databrickscfg"
_SETTINGS = "__settings__"  # the CLI's own section
_NOWHERE = "\0"


@dataclass(frozen=True)
class Profile:
    """One section of the file. ``values`` has what is not empty, by the SDK's names of attributes."""

    name: str
    file: Path
    values: Mapping[str, SecretStr]

    def plain(self, name: str) -> str:
        """A value that is no secret; empty when it is not there."""
        found = self.values.get(name)
        return found.get_secret_value() if found else ""

    @property
    def host(self) -> str:
        """Its host, bare."""
        return bare_host(self.plain("host"))

    def __str__(self) -> str:
        """What it is called in messages."""
        return f"profile {self.name} in {self.file}"


def bare_host(host: str) -> str:
    """A host without scheme and path, as it may be written with."""
    return host.removeprefix("https://").split("/")[0]


def profile_file(environment: Mapping[str, str]) -> Path:
    """The file that profiles are in: ``DATABRICKS_CONFIG_FILE``, else the usual one."""
    return Path(environment.get("DATABRICKS_CONFIG_FILE") or DEFAULT_FILE).expanduser()


def read_profile(name: str, environment: Mapping[str, str]) -> Profile:
    """The profile ``name``; ``UsageError`` when there is none, or the file cannot be read."""
    file = profile_file(environment)
    # As the SDK reads it (0.156): DEFAULT is a profile like any other, nothing is inherited, % means itself.
    sections = configparser.ConfigParser(default_section=_NOWHERE, interpolation=None)
    try:
        sections.read_string(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"profile {name} is set, and {file} is not there",
            f"make it: databricks configure --profile {name}; or unset DATABRICKS_CONFIG_PROFILE",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", "check its permissions") from None
    except configparser.Error as error:
        # The error quotes the line, which may be the one with the secret.
        raise UsageError(f"{file} is no file of profiles: {type(error).__name__}", "mend it") from None
    names = [section for section in sections.sections() if section != _SETTINGS]
    if name not in names:
        raise UsageError(
            f"{file} has no profile {name}",
            f"it has: {', '.join(names) or 'none'}; change DATABRICKS_CONFIG_PROFILE",
        )
    found = {key: value.strip() for key, value in sections[name].items() if value}
    return Profile(name, file, {key: SecretStr(value) for key, value in found.items() if value})
