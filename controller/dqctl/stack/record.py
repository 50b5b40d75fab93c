"""What is installed: ``stack.json``, without secrets."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.stack.paths import StackPaths


class LakebaseRecord(BaseModel):
    """The Lakebase that a stack's metadata lives in. ``host`` and what follows are None until they are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str
    mark: str | None = Field(
        default=None, description="What the project that dqctl made is tagged with; None: somebody else made it."
    )
    endpoint: str | None = None
    host: str | None = None
    port: int = Field(default=5432, gt=0, lt=65536)
    ca_file: Path | None = Field(default=None, description="Certificates that its own is checked with.")


class ThrowAway(BaseModel):
    """What says of everything that a stack has outside of its directory that it may be removed, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, str]


class StackRecord(BaseModel):
    """One stack. ``installed`` is False while an install is not complete, and after an uninstall."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    installed: bool
    runtime: Literal["local", "docker"] = "local"
    testgen_version: str = Field(pattern=r"^\d+(\.\d+)+$")
    postgres_version: str
    postgres_port: int | None = Field(gt=0, lt=65536, description="On 127.0.0.1; None: not published (docker).")
    postgres_account: str | None = Field(
        description="Account that PostgreSQL runs as; None is dqctl's own, or the image's."
    )
    scheduler: bool = Field(default=False, description="Whether TestGen's scheduler runs all the time (docker).")
    controller: bool = Field(default=False, description="Whether the controller runs all the time (docker).")
    lakebase: LakebaseRecord | None = Field(
        default=None, description="None: the stack has a PostgreSQL of its own."
    )
    throw_away: ThrowAway | None = Field(
        default=None, description="Nobody misses the stack: its PostgreSQL does not wait for the disk."
    )
    created: datetime
    updated: datetime

    @property
    def metadata(self) -> Literal["disposable", "lakebase"]:
        """The kind of its metadata store."""
        return "lakebase" if self.lakebase else "disposable"


def read_record(paths: StackPaths) -> StackRecord | None:
    """The record of the stack, None when nothing was ever installed.

    Raises ``EnvironmentFault`` when the file is damaged, or of a format that this dqctl does not know.
    """
    try:
        return StackRecord.model_validate_json(paths.record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFault(f"{paths.record} cannot be read: {error}", "check who owns it") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise EnvironmentFault(
            f"{paths.record} is no record that this dqctl knows: {where or 'file'}: {problem['msg'].lower()}",
            "a newer dqctl may have written it: update dqctl. Your data is safe; nothing was changed",
        ) from None


def write_record(paths: StackPaths, record: StackRecord) -> None:
    """Replace the record."""
    write_atomically(paths.record, record.model_dump_json(indent=2) + "\n", PRIVATE_FILE)
