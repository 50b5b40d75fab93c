"""What is worth a second try, by the texts that TestGen keeps of an error."""

import pytest

from dqctl.services.work_retry import passing

PASSES = [
    "Error refreshing columns for data catalog. (psycopg2.OperationalError) server closed the connection "
    "unexpectedly"
    "\n\tThis probably means the server terminated abnormally",
    "(psycopg2.errors.AdminShutdown) terminating connection due to administrator command",
    '(psycopg2.OperationalError) connection to server at "10.0.0.7", port 5432 failed: Connection refused',
    "FATAL:  the database system is starting up",
    "(databricks.sql.exc.RequestError) Error during request to server. : Max retries exceeded",
    "(databricks.sql.exc.OperationalError) HTTP 503: Service Unavailable",
    "429 Too Many Requests",
    "Error during request to server: TEMPORARILY_UNAVAILABLE: the warehouse is starting",
    "(psycopg2.errors.DeadlockDetected) deadlock detected",
]
STAYS = [
    "",
    'relation "sales.orders" does not exist',
    "permission denied for table orders",
    '(psycopg2.OperationalError) connection to server at "10.0.0.7", port 5432 failed: FATAL:  password '
    'authentication failed for user "probe"',
    "[TABLE_OR_VIEW_NOT_FOUND] The table or view `main`.`x` cannot be found. SQLSTATE: 42P01",
    "[CAST_INVALID_INPUT] The value '429' of the type STRING cannot be cast to INT",
    "division by zero",
    "canceling statement due to statement timeout",
    "interrupted: it was not done after 3 s, its own limit",
]


@pytest.mark.parametrize("message", PASSES)
def test_what_passes_by_itself(message: str) -> None:
    why = passing(message)
    assert why is not None
    assert len(why) <= 160
    assert "\n" not in why


@pytest.mark.parametrize("message", STAYS)
def test_what_would_be_the_same_again(message: str) -> None:
    assert passing(message) is None
