"""The journal of a rotation: there before anything changes, gone when everything has."""

import json
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from dqctl.errors import EnvironmentFault
from dqctl.redaction import MASK, redact
from dqctl.stack import rotation
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS, ensure_secrets, new_secret, read_secret


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    paths = StackPaths(tmp_path, "default")
    ensure_secrets(paths)
    return paths


def test_what_is_begun_is_pending_until_its_end(paths: StackPaths) -> None:
    assert not rotation.is_pending(paths)
    assert rotation.pending(paths) is None
    begun = rotation.begin(paths, {"jwt_key": SecretStr("a" * 44)})
    assert rotation.is_pending(paths)
    assert rotation.pending(paths) == begun
    rotation.end(paths)
    assert not rotation.is_pending(paths)
    rotation.end(paths)


def test_a_journal_alone_changes_no_secret(paths: StackPaths) -> None:
    before = {name: read_secret(paths, name) for name in LENGTHS}
    begun = rotation.begin(paths, {name: new_secret(name) for name in LENGTHS})
    assert {name: read_secret(paths, name) for name in LENGTHS} == before
    for _ in range(2):
        rotation.replace(paths, begun, "jwt_key")
    assert read_secret(paths, "jwt_key") == begun.secrets["jwt_key"] != before["jwt_key"]
    assert read_secret(paths, "decrypt_salt") == before["decrypt_salt"]


def test_journal_and_secrets_are_for_their_owner_alone(paths: StackPaths) -> None:
    begun = rotation.begin(paths, {"jwt_key": new_secret("jwt_key")})
    rotation.replace(paths, begun, "jwt_key")
    assert stat.S_IMODE(paths.secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths.secrets.iterdir()} == {0o600}


def test_what_a_killed_writer_left_goes_with_the_journal(paths: StackPaths) -> None:
    rotation.begin(paths, {"jwt_key": new_secret("jwt_key")})
    for name in (".rotation.json.x1", ".config.env.x2", ".jwt_key.x3"):
        (paths.secrets / name).write_text("half a secret")
    rotation.end(paths)
    assert {path.name for path in paths.secrets.iterdir()} == set(LENGTHS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": "x", "secrets": {}}', '{"id": 1'])
def test_a_journal_that_cannot_be_read_stays_and_is_told(paths: StackPaths, text: str) -> None:
    (paths.secrets / "rotation.json").write_text(text)
    with pytest.raises(EnvironmentFault, match="cannot be read") as told:
        rotation.pending(paths)
    assert "do not delete it" in told.value.hint
    assert rotation.is_pending(paths)


def test_new_secrets_fit_and_are_redacted(paths: StackPaths) -> None:
    for name, length in LENGTHS.items():
        value = new_secret(name)
        assert len(value.get_secret_value()) == length
        assert value.get_secret_value().isalnum()
        assert value != new_secret(name)
        assert redact(f"<{value.get_secret_value()}>") == f"<{MASK}>"


def test_a_journal_is_redacted_as_soon_as_it_is_read(paths: StackPaths) -> None:
    value = "Zq9" * 14
    content = {"id": "6a8d0e1c-0f58-4a5c-9a0e-6f1f5bd5b0aa", "secrets": {"jwt_key": value, "unknown": "x"}}
    (paths.secrets / "rotation.json").write_text(json.dumps(content))
    found = rotation.pending(paths)
    assert found is not None
    assert set(found.secrets) == {"jwt_key"}
    assert value not in redact(f"it is {value}")
