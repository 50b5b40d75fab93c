"""The base of everything that a systems file declares: no unknown key, no value in an error message."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """Refuses unknown keys, naming the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in value:
                if key not in known:
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key {key}{nearest}",
                        {"key": str(key), "nearest": nearest(key, known)},
                    )
        return value


def nearest(word: Any, known: list[str]) -> str:
    """What to say about an unknown word: ``; did you mean schema?``, or what there is."""
    if close := difflib.get_close_matches(str(word), known, n=1):
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def text(longest: int, shortest: int = 1) -> StringConstraints:
    """A text of bounded length, as the column that takes it."""
    return StringConstraints(min_length=shortest, max_length=longest, strip_whitespace=True)


# "/" divides system and suite on the command line.
_NAME = r"^[^/\x00-\x1f\x7f]+$"
SystemName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=30)]
ConnectionName = Annotated[
    str, StringConstraints(pattern=_NAME, max_length=40, strip_whitespace=True, min_length=1)
]
TableGroupName = Annotated[
    str, StringConstraints(pattern=_NAME, max_length=100, strip_whitespace=True, min_length=1)
]
SuiteName = Annotated[str, StringConstraints(pattern=_NAME, max_length=200, strip_whitespace=True, min_length=1)]
