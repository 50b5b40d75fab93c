"""Keys on their way to another host: nobody without the passphrase, nothing that was changed on the way."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.stack import key_file

KEYS = {"decrypt_salt": SecretStr("s" * 32), "decrypt_password": SecretStr("p" * 40)}
PASSPHRASE = SecretStr("correct horse battery")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    key_file.write(path, "shop", KEYS, PASSPHRASE)
    return path


def test_keys_come_out_as_they_went_in(sealed: Path) -> None:
    assert key_file.read(sealed, PASSPHRASE) == ("shop", KEYS)
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    for value in KEYS.values():
        assert value.get_secret_value() not in sealed.read_text()


def test_two_files_of_the_same_keys_have_nothing_in_common(sealed: Path, tmp_path: Path) -> None:
    key_file.write(tmp_path / "other.json", "shop", KEYS, PASSPHRASE)
    one, two = (json.loads(path.read_text()) for path in (sealed, tmp_path / "other.json"))
    assert one["sealed"] != two["sealed"]
    assert not {one["head"][name] for name in ("salt", "nonce")} & {
        two["head"][name] for name in ("salt", "nonce")
    }


def test_another_passphrase_opens_nothing(sealed: Path) -> None:
    with pytest.raises(UsageError, match="the passphrase does not open"):
        key_file.read(sealed, SecretStr("correct horse batterz"))


@settings(max_examples=25)
@given(st.data())
def test_a_file_that_was_changed_anywhere_is_refused(sealed: Path, data: st.DataObject) -> None:
    text = sealed.read_bytes()
    place = data.draw(st.integers(0, len(text) - 2))
    letter = data.draw(st.integers(0, 255).filter(lambda each: each != text[place]))
    changed = sealed.with_name("changed.json")
    changed.write_bytes(text[:place] + bytes([letter]) + text[place + 1 :])
    # White space between is no part of what is written, nor are unused bits at the end of base64.
    try:
        found = key_file.read(changed, PASSPHRASE)
    except UsageError:
        return
    assert found == ("shop", KEYS)


def test_a_nonce_that_was_cut_is_refused_too(sealed: Path) -> None:
    found = json.loads(sealed.read_text())
    found["head"]["nonce"] = "AAAA"
    changed = sealed.with_name("cut.json")
    changed.write_text(json.dumps(found))
    with pytest.raises(UsageError, match="does not open"):
        key_file.read(changed, PASSPHRASE)


def test_the_stack_in_its_head_cannot_be_exchanged(sealed: Path) -> None:
    changed = sealed.with_name("exchanged.json")
    changed.write_text(sealed.read_text().replace('"shop"', '"ship"'))
    with pytest.raises(UsageError, match="does not open"):
        key_file.read(changed, PASSPHRASE)


def test_a_head_that_asks_for_all_memory_is_refused(sealed: Path) -> None:
    said = json.loads(sealed.read_text())
    said["head"]["n"] = 2**40
    changed = sealed.with_name("greedy.json")
    changed.write_text(json.dumps(said))
    with pytest.raises(UsageError, match="holds no keys that this dqctl can read"):
        key_file.read(changed, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff\xfe", b'{"head": {}, "sealed": ""}'])
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="holds no keys"):
        key_file.read(path, PASSPHRASE)
    with pytest.raises(UsageError, match="cannot be read"):
        key_file.read(tmp_path / "none", PASSPHRASE)


def test_a_file_that_is_there_is_not_overwritten(sealed: Path, tmp_path: Path) -> None:
    before = sealed.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        key_file.write(sealed, "shop", KEYS, PASSPHRASE)
    assert sealed.read_bytes() == before
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        key_file.write(tmp_path / "none" / "keys.json", "shop", KEYS, PASSPHRASE)


def test_a_passphrase_is_what_its_file_says_without_the_end_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(" pässphrase # $ \\ \r\n".encode())
    assert key_file.read_passphrase(path).get_secret_value() == " pässphrase # $ \\ "
    path.write_text("elevenchars\n")
    with pytest.raises(UsageError, match="11 characters, 12 are needed"):
        key_file.read_passphrase(path)
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(UsageError, match="cannot be read"):
        key_file.read_passphrase(path)
