import base64
import json
import logging
import urllib.parse

import pytest
from pydantic import SecretStr

from dqctl.redaction import MASK, RedactingFormatter, redact, register, reveal

SECRET = "p#$'\" w\\ö=%/+rd"


@pytest.fixture(autouse=True)
def _known() -> None:
    register(SECRET)


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        "'" + SECRET.replace("'", "''") + "'",
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_taken_out_however_it_is_spelled(written: str) -> None:
    said = redact(f"before {written} after")
    assert MASK in said
    assert written not in said
    assert said.startswith("before ")
    assert said.endswith(" after")


def test_a_secret_that_was_used_is_known_from_then_on() -> None:
    assert reveal(SecretStr("used-just-now")) == "used-just-now"
    assert redact("it is used-just-now.") == f"it is {MASK}."


def test_a_secret_inside_another_leaves_nothing_of_the_longer_one() -> None:
    register("inner-zq91", "outer-inner-zq91-outer")
    assert redact("outer-inner-zq91-outer") == MASK


def test_a_traceback_in_a_log_is_redacted() -> None:
    formatter = RedactingFormatter("%(message)s")
    try:
        raise ValueError(f"cannot log in with {SECRET}")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 0, "failed", None, (type(error), error, error.__traceback__)
        )
    written = formatter.format(record)
    assert "ValueError" in written
    assert SECRET not in written


def test_short_words_are_no_secrets() -> None:
    register("on")
    assert redact("connection") == "connection"
