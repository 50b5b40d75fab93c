import threading
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.redaction import MASK, redact
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS, ensure_secrets, read_secret


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    return StackPaths(tmp_path, "default")


def values(paths: StackPaths) -> dict[str, str]:
    return {name: read_secret(paths, name).get_secret_value() for name in LENGTHS}


def test_secrets_are_made_once_and_never_overwritten(paths: StackPaths) -> None:
    assert ensure_secrets(paths) == tuple(LENGTHS)
    before = values(paths)
    assert ensure_secrets(paths) == ()
    assert values(paths) == before
    assert len(set(before.values())) == len(before)


def test_only_the_missing_one_is_made(paths: StackPaths) -> None:
    ensure_secrets(paths)
    before = values(paths)
    (paths.secrets / "jwt_key").unlink()
    assert ensure_secrets(paths) == ("jwt_key",)
    assert {name for name, value in values(paths).items() if value != before[name]} == {"jwt_key"}


def test_secrets_are_letters_and_digits_for_parsers_without_quotes(paths: StackPaths) -> None:
    ensure_secrets(paths)
    for name, value in values(paths).items():
        assert len(value) == LENGTHS[name]
        assert value.isascii()
        assert value.isalnum()


def test_files_are_private_and_nothing_is_left_beside_them(paths: StackPaths) -> None:
    ensure_secrets(paths)
    assert {path.name for path in paths.secrets.iterdir()} == set(LENGTHS)
    assert paths.secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in paths.secrets.iterdir()} == {0o600}


def test_two_at_once_agree(paths: StackPaths) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(ensure_secrets(paths))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(LENGTHS)


def test_a_secret_that_was_read_never_shows(paths: StackPaths) -> None:
    ensure_secrets(paths)
    secret = read_secret(paths, "postgres_password")
    assert redact(f"pw={(paths.secrets / 'postgres_password').read_text()}").strip() == f"pw={MASK}"
    assert secret.get_secret_value() not in repr(secret)


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_lost_secret_says_that_only_a_backup_helps(paths: StackPaths, content: str | None) -> None:
    ensure_secrets(paths)
    path = paths.secrets / "decrypt_password"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(EnvironmentFault) as raised:
        read_secret(paths, "decrypt_password")
    assert "backup" in raised.value.hint
