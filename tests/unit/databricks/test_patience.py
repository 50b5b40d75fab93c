import itertools

import pytest
from pydantic import SecretStr

from dqctl.clock import Clock
from dqctl.databricks.failures import (
    Conflict,
    CredentialsRefused,
    NobodyThere,
    SessionGone,
    StatementFailed,
    Unreachable,
)
from dqctl.databricks.patience import Patience, only_reads
from dqctl.databricks.target import PersonalToken, ServicePrincipal, Target
from dqctl.errors import DatabricksRefused, DqctlError

PERSONAL = Target("h", "/p", "c", "s", PersonalToken(SecretStr("t")), patience=60.0)
PRINCIPAL = Target("h", "/p", "c", "s", ServicePrincipal("id", SecretStr("s")), patience=60.0)


def pauses(error: DqctlError, target: Target = PERSONAL, *, step: float = 0.0, count: int = 99) -> list[float]:
    """The pauses after the same failure, again and again, while each attempt takes ``step`` seconds."""
    now = itertools.count(step=step)
    patience = Patience(target, Clock(monotonic=lambda: float(next(now))), lambda: 1.0)
    found = itertools.takewhile(
        lambda pause: pause is not None, (patience.pause_after(error) for _ in range(count))
    )
    return [pause for pause in found if pause is not None]


def test_conflicts_are_tried_five_times_after_pauses_that_grow() -> None:
    assert pauses(Conflict("")) == [1.0, 2.0, 4.0, 8.0]


def test_what_is_lost_is_tried_until_the_patience_ends() -> None:
    assert pauses(Unreachable(""), count=7) == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    # Two looks at the clock an attempt: 20 s each.
    assert len(pauses(Unreachable(""), step=20.0)) == 3


def test_what_is_lost_is_tried_once_more_even_when_the_connector_used_up_the_time() -> None:
    assert len(pauses(Unreachable(""), step=1000.0)) == 1


def test_a_session_that_the_server_lost_is_replaced_however_long_the_statement_took() -> None:
    assert pauses(SessionGone(""), step=1000.0) == [0.25] * 4


def test_a_token_is_renewed_once_and_a_personal_one_cannot_be() -> None:
    assert pauses(CredentialsRefused(""), PRINCIPAL) == [0.0]
    assert pauses(CredentialsRefused(""), PERSONAL) == []


@pytest.mark.parametrize("final", [NobodyThere(""), StatementFailed(""), DatabricksRefused("")])
def test_what_another_attempt_does_not_mend_is_final(final: DqctlError) -> None:
    assert pauses(final, PRINCIPAL) == []


def test_a_session_is_given_up_when_it_is_of_no_use_any_more() -> None:
    patience = Patience(PRINCIPAL, Clock())
    assert patience.needs_new_session(SessionGone(""))
    assert patience.needs_new_session(CredentialsRefused(""))
    assert not patience.needs_new_session(Conflict(""))
    patience.pause_after(Unreachable(""))
    assert not patience.needs_new_session(Unreachable(""))
    patience.pause_after(Unreachable(""))
    assert patience.needs_new_session(Unreachable(""))


@pytest.mark.parametrize(
    ("statement", "reads"),
    [
        ("SELECT 1", True),
        ("  (select 1)", True),
        ("-- who\n/* what */ SHOW TABLES", True),
        ("DESCRIBE HISTORY t", True),
        ("VALUES (1)", True),
        ("INSERT INTO t VALUES (1)", False),
        ("-- SELECT\nDELETE FROM t", False),
        ("/* SELECT */ MERGE INTO t", False),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", False),
        ("FROM x INSERT INTO t SELECT *", False),
        ("SELECTED", False),
        ("", False),
    ],
)
def test_only_what_surely_reads_may_be_sent_twice(statement: str, reads: bool) -> None:
    assert only_reads(statement) is reads
