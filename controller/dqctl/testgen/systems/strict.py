"""The base of everything that a systems file declares: no unknown key, no value in an error message."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError


class Strict(BaseModel):
    """Refuses unknown keys, naming the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=False)

    @model_validator(mode="wrap")
    @classmethod
    def _only_known_keys(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, Mapping):
            return handler(value)
        known = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = [key for key in value if key not in known]
        if not unknown:
            return handler(value)
        # The rest is checked all the same, so that all mistakes are told at once; what a misspelt key was to be
        # is not missing besides.
        problems = [_unknown(key, known) for key in unknown]
        meant = {name for key in unknown for name in _close(key, known)}
        try:
            handler({key: content for key, content in value.items() if key in known})
        except ValidationError as error:
            problems += [
                _again(found)
                for found in error.errors(include_url=False, include_input=False)
                if not (found["type"] == "missing" and found["loc"][-1] in meant and len(found["loc"]) == 1)
            ]
        raise ValidationError.from_exception_data(cls.__name__, problems, hide_input=True)


def _unknown(key: Any, known: list[str]) -> InitErrorDetails:
    about = {"key": str(key), "nearest": nearest(key, known)}
    return InitErrorDetails(
        type=PydanticCustomError("unknown_key", "unknown key {key}{nearest}", about), loc=(str(key),), input=None
    )


def _again(found: ErrorDetails) -> InitErrorDetails:
    # Its message is made already: as a custom error it needs no context and shows no input.
    return InitErrorDetails(type=PydanticCustomError(found["type"], found["msg"]), loc=found["loc"], input=None)


def _close(word: Any, known: list[str]) -> list[str]:
    return difflib.get_close_matches(str(word), known, n=1)


def nearest(word: Any, known: list[str]) -> str:
    """What to say about an unknown word: ``; did you mean schema?``, or what there is."""
    if close := _close(word, known):
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
