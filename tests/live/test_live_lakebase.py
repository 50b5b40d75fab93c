"""What only a real Lakebase can settle before TestGen's metadata may live there.

DQCTL_LIVE_LAKEBASE names an endpoint of a project for tests, projects/P/branches/B/endpoints/E, where the token's
principal may create roles.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from databricks.sdk import WorkspaceClient
from pydantic import SecretStr

from dqctl.databricks.auth import PersonalToken
from dqctl.databricks.target import Target
from dqctl.runtime.lakebase import LakebaseServer, find_ca_file

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(600),
]
# As TestGen connects (5.134, database_service.py).
OPTIONS = "-csearch_path=testgen -c TimeZone=UTC"


@dataclass(frozen=True)
class Lakebase:
    """An endpoint, and a credential for it."""

    status: Any
    user: str
    password: str = field(repr=False)

    def connect(self, host: str, database: str, **more: Any) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=host,
            dbname=database,
            user=self.user,
            password=self.password,
            sslmode="require",
            connect_timeout=60,
            autocommit=True,
            **more,
        )


@pytest.fixture
def lakebase(target: Target, needed: Callable[..., list[str]]) -> Lakebase:
    (name,) = needed("an endpoint of Lakebase", "LAKEBASE")
    assert isinstance(target.auth, PersonalToken)
    client: Any = WorkspaceClient(
        host=f"https://{target.host}", token=target.auth.token.get_secret_value(), auth_type="pat"
    )
    credential = client.postgres.generate_database_credential(endpoint=name)
    status = client.postgres.get_endpoint(name).status
    return Lakebase(status, client.current_user.me().user_name, credential.token)


def test_the_documented_database_is_there_and_so_is_the_one_that_testgen_begins_with(lakebase: Lakebase) -> None:
    # TestGen's set-up connects to a database called postgres; where it fails, dqctl has to create one.
    for database in ("databricks_postgres", "postgres"):
        with lakebase.connect(lakebase.status.hosts.host, database) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (database,)


def test_options_of_a_session_hold_on_the_direct_host(lakebase: Lakebase) -> None:
    with lakebase.connect(lakebase.status.hosts.host, "databricks_postgres", options=OPTIONS) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("testgen",)
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)


def test_the_pooler_is_no_place_for_testgen(lakebase: Lakebase) -> None:
    # In transaction mode PgBouncer refuses the options, or forgets them: that dqctl avoids it has to stay right.
    try:
        with lakebase.connect(
            lakebase.status.hosts.read_write_pooled_host, "databricks_postgres", options=OPTIONS
        ) as connection:
            assert connection.execute("SHOW search_path").fetchone() != ("testgen",)
    except psycopg.OperationalError as refused:
        assert str(refused)  # noqa: PT017 - either is an answer


def test_a_compute_that_sleeps_says_after_how_long(lakebase: Lakebase) -> None:
    # The pages of AWS and Azure contradict each other; dqctl has to set it. None means that it never sleeps.
    sleeps = lakebase.status.suspend_timeout_duration
    assert sleeps is None or sleeps.seconds >= 60


def test_a_role_needs_a_password_of_some_strength(lakebase: Lakebase) -> None:
    name = f"dqctl_live_{secrets.token_hex(4)}"
    with lakebase.connect(lakebase.status.hosts.host, "databricks_postgres") as connection:
        with pytest.raises(psycopg.Error):
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'weak'".encode())
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{secrets.token_urlsafe(24)}aA1!'".encode())
        connection.execute(f"DROP ROLE {name}".encode())


def test_a_role_that_may_only_make_databases_is_enough(lakebase: Lakebase) -> None:
    # What dqctl gives TestGen (5.134): no CREATEROLE, and a database that is made and renamed by its owner.
    name, password = f"dqctl_live_{secrets.token_hex(4)}", f"{secrets.token_urlsafe(24)}aA1"
    host = lakebase.status.hosts.host
    with lakebase.connect(host, "databricks_postgres") as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{password}'".encode())
        try:
            role = Lakebase(lakebase.status, name, password)
            with role.connect(host, "postgres", options=OPTIONS) as connection:
                connection.execute(f"CREATE DATABASE {name}_making".encode())
                connection.execute(f"ALTER DATABASE {name}_making RENAME TO {name}".encode())
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        finally:
            owner.execute(f"DROP ROLE {name}".encode())


def test_a_role_may_change_its_own_password_and_is_told_when_it_is_weak(lakebase: Lakebase) -> None:
    # dqctl sends it in the clear, inside of TLS: whether Lakebase would take SCRAM's verifier is the question.
    name, password = f"dqctl_live_{secrets.token_hex(4)}", f"{secrets.token_urlsafe(24)}aA1"
    host = lakebase.status.hosts.host
    with lakebase.connect(host, "databricks_postgres") as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        try:
            with Lakebase(lakebase.status, name, password).connect(host, "postgres") as connection:
                with pytest.raises(psycopg.Error):
                    connection.execute(f"ALTER ROLE {name} PASSWORD 'weak'".encode())
                connection.execute(f"ALTER ROLE {name} PASSWORD '{password}2'".encode())
            Lakebase(lakebase.status, name, f"{password}2").connect(host, "postgres").close()
        finally:
            owner.execute(f"DROP ROLE {name}".encode())


def test_the_certificate_is_one_that_the_systems_store_vouches_for(lakebase: Lakebase) -> None:
    server = LakebaseServer(
        lakebase.status.hosts.host, 5432, find_ca_file(None), SecretStr(lakebase.password), lakebase.user
    )
    server.connect("databricks_postgres").close()
