import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dqctl.localworkspace.tokens import OWNER, TOKEN_LIFETIME, Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


def login(tokens: Tokens) -> str:
    principal = json.loads(tokens.principal_file.read_text())
    issued = tokens.issue(principal["client_id"], principal["client_secret"])
    assert issued is not None
    return issued


def test_the_personal_token_is_the_owners_and_stays_over_a_restart(tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.token_file.read_text().strip()
    assert tokens.identify(token) == OWNER
    assert Tokens(tmp_path).identify(token) == OWNER


def test_an_oauth_token_is_its_principals_and_stays_over_a_restart(tokens: Tokens, tmp_path: Path) -> None:
    issued = login(tokens)
    identity = Tokens(tmp_path).identify(issued)
    assert identity is not None
    assert identity.is_service_principal
    assert identity.user_name == json.loads(tokens.principal_file.read_text())["client_id"]


def test_an_oauth_token_ends_after_an_hour(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = login(tokens)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_LIFETIME - 5)
    assert tokens.identify(issued)
    monkeypatch.setattr(time, "time", lambda: now + TOKEN_LIFETIME + 5)
    assert tokens.identify(issued) is None


_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from dqctl.localworkspace.tokens import Tokens
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
Tokens(Path(sys.argv[1]))
"""


def test_a_full_disk_leaves_no_empty_credentials(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nobody_elses_token_is_taken(tokens: Tokens, tmp_path: Path) -> None:
    issued = login(tokens)
    prefix, client, expires, serial, signature = issued.split(".")
    assert login(tokens) != issued
    other = Tokens(tmp_path / "other") if (tmp_path / "other").mkdir() is None else tokens
    for forged in (
        "",
        "ü",
        prefix,
        issued + "x",
        f"{prefix}.{client}.{int(expires) + 1}.{serial}.{signature}",
        f"{prefix}.somebody.{expires}.{serial}.{signature}",
        f"{prefix}.{client}.{expires}.{serial}0.{signature}",
        f"{prefix}.{client}.{expires}.{serial}.",
        login(other),
        other.token_file.read_text().strip(),
    ):
        assert tokens.identify(forged) is None, forged


@pytest.mark.parametrize(("client_id", "secret"), [("", ""), ("x", None), (None, "x"), (None, "ü")])
def test_a_wrong_login_gets_no_token(tokens: Tokens, client_id: str | None, secret: str | None) -> None:
    principal = json.loads(tokens.principal_file.read_text())
    given_id = principal["client_id"] if client_id is None else client_id
    assert tokens.issue(given_id, principal["client_secret"] if secret is None else secret) is None


def test_what_is_secret_is_for_the_owner_alone(tokens: Tokens, tmp_path: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
