import re

import jinja2
import pytest

from dqctl.runtime.templates import render
from dqctl.stack.secrets import LENGTHS

SECRETS = {name: f"{name}VALUE" for name in LENGTHS}


def config_env(**change: object) -> str:
    values: dict[str, object] = {"host": "127.0.0.1", "port": 5432, "database": "datakitchen"}
    values |= {"role": "testgen", "ca_file": None}
    return render("config.env", **(values | SECRETS | change))


def parse(text: str) -> dict[str, str]:
    """As TestGen 5.134.0 does (``testgen.settings``), which is shorter than a parser ought to be."""
    found = {}
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            key, _, value = stripped.partition("=")
            found[key] = value
    return found


def test_testgens_own_parser_reads_every_value_as_it_is() -> None:
    found = parse(config_env())
    assert found["TG_METADATA_DB_PASSWORD"] == "postgres_passwordVALUE"
    assert found["TG_DECRYPT_PASSWORD"] == "decrypt_passwordVALUE"
    assert found["TG_STANDALONE_MODE"] == "no"
    assert all(found.values()), "an empty value counts as unset"
    assert not any(set(value) & set("'\" \t") for value in found.values())


def test_every_variable_has_its_reason_above_it() -> None:
    lines = config_env().splitlines()
    reasons = 0
    for line in lines:
        reasons = reasons + 1 if line.startswith("#") else reasons
        assert line.startswith("#") or re.fullmatch(r"[A-Z_]+=\S+", line), line
    assert reasons >= 7


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_missing_value_is_an_error_and_no_empty_line(name: str) -> None:
    values = {"host": "h", "port": 1, "database": "d", "role": "r", "ca_file": None} | SECRETS
    del values[name]
    with pytest.raises(jinja2.UndefinedError, match=name):
        render("config.env", **values)


def test_postgresql_listens_on_the_given_address_alone() -> None:
    text = render("postgresql.conf", host="127.0.0.1", port=40123, durable=True)
    assert "listen_addresses = '127.0.0.1'\n" in text
    assert "port = 40123\n" in text
    assert "unix_socket_directories = ''\n" in text
    assert "fsync = on\n" in text


def test_what_is_thrown_away_waits_for_no_disk_and_leaves_no_shared_memory() -> None:
    text = render("postgresql.conf", host="127.0.0.1", port=40123, durable=False)
    assert "fsync = off\n" in text
    assert "fsync = on" not in text
    assert "dynamic_shared_memory_type = 'mmap'\n" in text


def test_lakebase_is_encrypted_and_nobody_else_is_taken_for_it() -> None:
    found = parse(config_env(host="ep-1.database.cloud.databricks.com", ca_file="/run/dqctl/lakebase-ca.pem"))
    assert found["TG_METADATA_DB_SSLMODE"] == "verify-full"
    assert found["TG_METADATA_DB_SSLROOTCERT"] == "/run/dqctl/lakebase-ca.pem"


def test_the_stacks_own_server_has_no_tls() -> None:
    assert not [name for name in parse(config_env()) if "SSL" in name]
