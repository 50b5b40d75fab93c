"""Secrets in a systems file: references to them, never the secrets themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from dqctl.errors import UsageError
from dqctl.settings import read_secret_file
from dqctl.testgen.systems.strict import Strict

INSTEAD = "write {env: NAME} or {file: PATH} instead"


class SecretReference(Strict):
    """Where a secret is: an environment variable, or a file (relative to the systems file)."""

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise PydanticCustomError("literal_secret", f"a secret must not stand in the file: {INSTEAD}")
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> "SecretReference":
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError("secret_reference", f"a secret comes from one place: {INSTEAD}")
        return self


class Sources(BaseModel):
    """The places that references point into. ``base`` is the directory of the systems file."""

    model_config = ConfigDict(frozen=True)

    environment: Mapping[str, str]
    base: Path

    def resolve(self, reference: SecretReference, whose: str) -> SecretStr:
        """The secret; ``UsageError`` when it is not there, or TestGen cannot store it."""
        if reference.env is not None:
            value = self.environment.get(reference.env, "")
            if not value:
                raise UsageError(
                    f"{whose} refers to the environment variable {reference.env}, which is not set",
                    f"set {reference.env}, or refer to a file: {{file: PATH}}",
                )
        else:
            path = self.base / Path(str(reference.file)).expanduser()
            value = read_secret_file(path, whose)
        return storable(SecretStr(value), whose)


def storable(secret: SecretStr, whose: str) -> SecretStr:
    """``secret`` if TestGen can encrypt it.

    Its encoder pads by characters, not bytes (testgen.common.encrypt, all versions up to 5.134): a secret with
    a character outside ASCII fails there, in the middle of a change.
    """
    if not secret.get_secret_value().isascii():
        raise UsageError(
            f"the secret of {whose} has a character outside ASCII, which TestGen cannot store",
            "change the secret",
        )
    return secret
