import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.redaction import MASK
from dqctl.services.scrubbing import learn_secrets, scrub, scrub_document
from dqctl.settings import load


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("password=hunter2", f"password={MASK}"),
        ("PGPASSWORD: hunter2, user: me", f"PGPASSWORD: {MASK}, user: me"),
        ("TG_DECRYPT_SALT=abc\nTG_ANALYTICS=no", f"TG_DECRYPT_SALT={MASK}\nTG_ANALYTICS=no"),
        ("client_secret => 's p a c e'", f"client_secret => '{MASK}'"),
        ('{"token": "a b", "n": 1}', f'{{"token": "{MASK}", "n": 1}}'),
        ('"{\\"token\\": \\"a b\\"}"', f'"{{\\"token\\": \\"{MASK}\\"}}"'),
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {MASK}"),
        ("authorization: basic dXNlcjpodW50ZXIy", f"authorization: basic {MASK}"),
        ("postgresql://me:hunter2@host/db", f"postgresql://{MASK}@host/db"),
        ("https://host/path?x=1", "https://host/path?x=1"),
        ("got dapi0123456789abcdef", f"got {MASK}"),
        ("dose0123456789abcdef0123", MASK),
        ("SCRAM-SHA-256$4096:c2FsdA==$a:b end", f"{MASK} end"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", MASK),
        ("a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", f"a\n{MASK}\nb"),
        ("-----BEGIN PRIVATE KEY-----\ncut off here", MASK),
        # What people need to read stays.
        ('FATAL:  password authentication failed for user "testgen"', None),
        ("2026-11-21 05:48:02.378 UTC [1] LOG:  database system is ready", None),
        ("check the token or the service principal", None),
        ("run: dqctl publish --pending", None),
    ],
)
def test_credentials_go_and_the_rest_stays(text: str, scrubbed: str | None) -> None:
    assert scrub(text) == (text if scrubbed is None else scrubbed)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


def test_a_known_secret_is_found_in_the_middle_of_base64(tmp_path: Path) -> None:
    secret = "4711-planted-and-known-4711"
    learn_secrets(load({"home": tmp_path}, {"DATABRICKS_TOKEN": secret}))
    for before in range(6):
        for after in range(4):
            raw = b"u" * before + secret.encode() + b"!" * after
            for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
                assert MASK in scrub(f"x {encoded.decode()} y")
    assert scrub(secret.encode().hex()) == MASK


def test_the_secrets_of_the_stack_are_learnt_from_its_files(tmp_path: Path) -> None:
    secrets = tmp_path / "stacks" / "default" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "one").write_text("from-a-file-of-its-own\n")
    (secrets / "config.env").write_text(
        "# PASSWORD=of a comment\nTG_X_PASSWORD=from-a-line\nTG_HOST=a-harmless-host\n"
    )
    (secrets / "rotation.json").write_text(
        '{"new": {"jwt_key": "from-a-rotation"}, "n": 1, "old": ["and-its-list"]}'
    )
    learn_secrets(load({"home": tmp_path}, {}))
    assert scrub("from-a-rotation and-its-list") == f"{MASK} {MASK}"
    assert scrub("from-a-file-of-its-own from-a-line a-harmless-host") == f"{MASK} {MASK} a-harmless-host"


def test_a_document_stays_a_document() -> None:
    document = {
        "password": "hunter2",
        "Env": ["POSTGRES_PASSWORD=hunter2", "PATH=/bin"],
        "secret_count": 5,
        "tokens": {"token": None, "list_of_tokens": ["a"]},
        "path": "/x",
    }
    scrubbed = scrub_document(document)
    assert json.loads(json.dumps(scrubbed)) == {
        "password": MASK,
        "Env": [f"POSTGRES_PASSWORD={MASK}", "PATH=/bin"],
        "secret_count": 5,
        "tokens": {"token": None, "list_of_tokens": [MASK]},
        "path": "/x",
    }
