import pytest

from dqctl.localworkspace.lakebase.passwords import checked, is_strong
from dqctl.stack.secrets import new_secret

STRONG = "abcDEF123456ghijk"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "weak",
        "aB3$efgh",
        "123456789012345678",
        "abcdefghijkl",
        f"SCRAM-SHA-256$4096:{STRONG}",
        f"md5{'0a' * 16}",
    ],
)
def test_what_is_short_or_plain_or_hashed_is_refused(password: str) -> None:
    assert not is_strong(password)


@pytest.mark.parametrize("password", [STRONG, "abcdefghijklm", "aB3$efghijkl"])
def test_sixty_bits_are_enough(password: str) -> None:
    assert is_strong(password)


def test_every_password_that_dqctl_makes_is_taken() -> None:
    assert all(is_strong(new_secret("postgres_password").get_secret_value()) for _ in range(200))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE x LOGIN PASSWORD 'weak'",
        "create user x with encrypted password 'weak'",
        "ALTER ROLE \"x y\"\n PASSWORD 'weak' VALID UNTIL '2030-01-01'",
        f"CREATE ROLE a PASSWORD '{STRONG}'; ALTER USER b PASSWORD E'weak'",
        "ALTER ROLE x PASSWORD 'it''s'",
    ],
)
def test_a_statement_with_a_weak_password_is_replaced_by_one_that_fails(statement: str) -> None:
    assert "insecure password" in checked(statement)


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE ROLE x LOGIN CREATEDB PASSWORD '{STRONG}'",
        "ALTER ROLE x PASSWORD NULL",
        "SELECT 'weak' AS password",
        "CREATE ROLE x; SELECT 1 AS password",
    ],
)
def test_other_statements_stay_as_they_are(statement: str) -> None:
    assert checked(statement) == statement
