"""Secrets in a systems file: references to them, never the secrets themselves."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from dqctl.errors import UsageError
from dqctl.settings import read_secret_file
from dqctl.testgen.systems.strict import Strict, text

INSTEAD = "write {env: NAME}, {file: PATH} or {scope: SCOPE, key: KEY} instead"

SecretScopes = Callable[[str, str], SecretStr]
"""Reads a secret of a Databricks scope, by scope and key; raises ``DqctlError`` when it cannot."""


class SecretReference(Strict):
    """Where a secret is: an environment variable (or the file that ``NAME_FILE`` names), a file (relative to the
    systems file), or a Databricks secret scope of the stack's own workspace.
    """

    env: str | None = None
    file: Path | None = None
    scope: Annotated[str, text(128)] | None = None
    key: Annotated[str, text(128)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_literal(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise PydanticCustomError("literal_secret", f"a secret must not stand in the file: {INSTEAD}")
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> "SecretReference":
        if (self.scope is None) != (self.key is None):
            raise PydanticCustomError("secret_reference", "a secret of a scope is {scope: SCOPE, key: KEY}")
        if sum(place is not None for place in (self.env, self.file, self.scope)) != 1:
            raise PydanticCustomError("secret_reference", f"a secret comes from one place: {INSTEAD}")
        return self


class Sources(BaseModel):
    """The places that references point into. ``base`` is the directory of the systems file."""

    model_config = ConfigDict(frozen=True)

    environment: Mapping[str, str]
    base: Path
    scopes: SecretScopes | None = None

    def resolve(self, reference: SecretReference, whose: str) -> SecretStr:
        """The secret; ``UsageError`` when it is not there, or TestGen cannot store it."""
        return storable(self.find(reference, whose), whose)

    def find(self, reference: SecretReference, whose: str) -> SecretStr:
        """The same for a secret that TestGen does not store."""
        if reference.env is not None:
            return self._of_environment(reference.env, whose)
        if reference.file is not None:
            return SecretStr(read_secret_file(self.base / reference.file.expanduser(), whose))
        scope, key = str(reference.scope), str(reference.key)
        if self.scopes is None:
            raise UsageError(
                f"{whose} refers to the secret {key} of scope {scope}, and no Databricks workspace is set",
                "set DATABRICKS_HOST or DQCTL_WORKSPACE, or refer to {env: NAME} or {file: PATH}",
            )
        return self.scopes(scope, key)

    def _of_environment(self, name: str, whose: str) -> SecretStr:
        if value := self.environment.get(name):
            return SecretStr(value)
        if path := self.environment.get(f"{name}_FILE"):
            return SecretStr(read_secret_file(Path(path), f"{name}_FILE"))
        raise UsageError(
            f"{whose} refers to the environment variable {name}, which is not set",
            f"looked for: variable {name}; a file named by variable {name}_FILE. Set one of them, or refer to a "
            "file: {file: PATH}",
        )


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
