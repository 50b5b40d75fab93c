import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from dqctl.errors import UsageError
from dqctl.testgen.state import saved
from dqctl.testgen.state.sealing import SEALED, Keys

DOCS = Path(__file__).parents[3] / "docs" / "state.md"
KEYS = Keys(SecretStr("a-salt"), SecretStr("a-password"))
# As PostgreSQL's json_object writes it.
ROW = '{"id" : "1", "observability_api_key" : "ob\\"s\\u0001é😀\\n", "project_name" : null}'


def test_sealed_row_opens_to_the_very_text_and_shows_nothing() -> None:
    sealed = KEYS.seal("testgen.projects", ROW)
    assert "ob" not in sealed.replace("observability", "")
    assert json.loads(sealed)["observability_api_key"].startswith("dqctl-sealed:1:")
    assert KEYS.open("testgen.projects", sealed) == ROW
    assert KEYS.seal("testgen.projects", ROW) != sealed  # equal secrets cannot be told


def test_rows_without_secrets_stay_as_they_are() -> None:
    empty = '{"id" : "1", "observability_api_key" : null}'
    no_url = '{"connection_id" : "1", "url" : ""}'
    for relation, row in (
        ("testgen.projects", empty),
        ("testgen.test_results", ROW),
        ("testgen.projects", "{}"),
        ("testgen.connections", no_url),
    ):
        assert KEYS.seal(relation, row) == row
        assert KEYS.open(relation, row) == row


@pytest.mark.parametrize("other", [("a-salt", "b"), ("b", "a-password"), ("a-saltb", "a-password")])
def test_other_keys_open_nothing_and_have_another_fingerprint(other: tuple[str, str]) -> None:
    keys = Keys(*map(SecretStr, other))
    with pytest.raises(UsageError, match="sealed under other keys"):
        keys.open("testgen.projects", KEYS.seal("testgen.projects", ROW))
    assert keys.fingerprint != KEYS.fingerprint


def test_sealed_value_is_good_in_its_own_column_only() -> None:
    sealed = json.loads(KEYS.seal("testgen.projects", ROW))["observability_api_key"]
    moved = json.dumps({"password": sealed})
    with pytest.raises(UsageError):
        KEYS.open("testgen.auth_users", moved)


def test_keys_show_in_no_text() -> None:
    assert "a-password" not in repr(KEYS) + KEYS.fingerprint


def test_what_is_not_saved_and_what_is_sealed_stand_in_the_docs() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for name, reason in saved.TRANSIENT.items():
        assert f"| `{name}` | {reason} |" in page
    for relation, columns in SEALED.items():
        for column in columns:
            assert f"`{relation.removeprefix('testgen.')}.{column}`" in page


@pytest.mark.parametrize(
    ("name", "transient"),
    [
        ("testgen.stg_test_definition_updates", True), ("testgen.test_results", False), ("dqctl.published", False),
        ("dqctl.state_changes", True), ("testgen.state_changes", False), ("dqctl.foreground", True),
    ],
)  # fmt: skip
def test_transient_tables_are_those_of_the_list(name: str, transient: bool) -> None:
    assert saved.is_transient(name) is transient
