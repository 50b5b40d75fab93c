"""Secrets are planted wherever an archive for support takes something from; the unpacked archive is searched."""

import base64
import json
import os
import stat
import tarfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CommandLine, Said
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS
from workspaces import running_workspace

pytestmark = pytest.mark.local

# Known to dqctl by its setting; the others only look like what they are.
TOKEN = "dapi-planted/token+4711%2B"
FOREIGN = {
    "token": "dapi0123456789abcdef0123456789abcdef",
    "bearer": "opaque-bearer-4711-planted",
    "json web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ",
    "password": "planted-p4ssw0rd",
    "quoted password": "planted p4ssw0rd with spaces",
    "url": "planted-in-a-url",
    "key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCplanted",
    "secret": "dose0123456789abcdef0123456789abcdef",
}
LINES = f"""\
2026-11-21 05:48:02.378 UTC [1] LOG:  sent {FOREIGN["token"]} along
Authorization: Bearer {FOREIGN["bearer"]}
cookie eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ
password={FOREIGN["password"]} and PGPASSWORD: {FOREIGN["password"]}
{{"db_password": "{FOREIGN["quoted password"]}", "harmless": "stays-here-4711"}}
postgresql://somebody:{FOREIGN["url"]}@db.example.com/sales
-----BEGIN PRIVATE KEY-----
{FOREIGN["key"]}
-----END PRIVATE KEY-----
client {FOREIGN["secret"]}
"""


def planting(secret: str) -> list[str]:
    """How a secret can stand in a file: plain, quoted, and inside of something encoded."""
    raw = secret.encode()
    quoted = [urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), json.dumps(secret)]
    encoded = [base64.b64encode(b"x" * before + raw + b":xx").decode() for before in range(3)]
    basic = base64.urlsafe_b64encode(f"user:{secret}".encode()).decode()
    return [secret, raw.hex(), *quoted, *encoded, f"Authorization: Basic {basic}"]


def spellings(secret: str) -> set[str]:
    """What is to be found nowhere; of a secret in base64 what does not depend on its neighbours."""
    raw = secret.encode()
    found = {secret, urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]}
    found.add(raw.hex())
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + raw + b":xx").decode()
        found.add(encoded[4 if before else 0 : (before + len(raw)) * 4 // 3 - 1])
    return found


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as endpoint:
        yield endpoint


@pytest.fixture
def planted(fresh_stack: Settings, endpoint: Endpoint) -> tuple[CommandLine, dict[str, str]]:
    """A stack whose files hold secrets where none belong, and the secrets by name."""
    settings = fresh_stack
    open_runtime(settings, silent)
    paths = StackPaths(settings.home, settings.stack)
    secrets = {name: (paths.secrets / name).read_text().strip() for name in LENGTHS}
    secrets |= {"workspace token": endpoint.token_file.read_text().strip(), "DATABRICKS_TOKEN": TOKEN} | FOREIGN
    every_way = "\n".join(
        way for name, secret in secrets.items() if name not in FOREIGN for way in planting(secret)
    )
    for log in (paths.logs / "testgen.log", paths.logs / "install.log", paths.postgres / "log" / "start.log"):
        with log.open("a") as file:
            file.write(LINES + every_way + "\n")
    (paths.root / "compose.yaml").write_text(
        f"environment:\n  POSTGRES_PASSWORD: {secrets['postgres_password']}\n"
    )
    (paths.root / "images.json").write_text(json.dumps({"engine": {"token": FOREIGN["password"]}}))
    (paths.root / "settings.toml").write_text(f'workspace = "{endpoint.data_dir}"\n')
    return CommandLine(settings.home, {"DATABRICKS_TOKEN": TOKEN}), secrets


def unpack(archive: Path, into: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        opened.extractall(into, filter="data")
        assert {stat.S_IMODE(member.mode) for member in opened.getmembers()} == {0o600}
    (top,) = into.iterdir()
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


def test_no_planted_secret_is_in_the_archive(planted: tuple[CommandLine, dict[str, str]], tmp_path: Path) -> None:
    run, secrets = planted
    archive = tmp_path / "support.tar.gz"
    said = run("doctor", "--bundle", archive)
    texts = unpack(archive, tmp_path / "unpacked")
    found = [
        (name, secret)
        for name, text in texts.items()
        for secret, value in secrets.items()
        if any(way in text for way in spellings(value))
    ]
    assert found == []
    assert not any(way in said.everything for value in secrets.values() for way in spellings(value))
    # It is no empty archive, and what is harmless stays.
    assert {"findings.json", "status.json", "versions.json", "settings.json", "files.txt"} <= set(texts)
    assert {"stack/stack.json", "stack/secrets/config.env", "logs/testgen.log", "logs/postgres.log"} <= set(texts)
    assert "logs/workspace.log" in texts
    assert "missing.txt" not in texts, texts["missing.txt"]
    assert "stays-here-4711" in texts["logs/testgen.log"]
    assert "TG_METADATA_DB_HOST=127.0.0.1" in texts["stack/secrets/config.env"]
    assert json.loads(texts["settings.json"])["DATABRICKS_TOKEN"] == "********"
    assert json.loads(texts["versions.json"])["testgen_packages"]["dataops-testgen"] == "5.134.0"
    assert json.loads(texts["status.json"])["healthy"] is True
    assert json.loads(texts["stack/images.json"]) == {"engine": {"token": "********"}}
    assert "secrets/jwt_key" in texts["files.txt"]


def test_what_is_searched_would_be_found(planted: tuple[CommandLine, dict[str, str]]) -> None:
    run, secrets = planted
    text = (run.home / "stacks" / "default" / "logs" / "testgen.log").read_text()
    assert [name for name, value in secrets.items() if value not in text] == []
    assert all(way in text for name, value in secrets.items() if name not in FOREIGN for way in spellings(value))


def test_it_is_for_its_owner_and_says_what_is_in_it(
    planted: tuple[CommandLine, dict[str, str]], tmp_path: Path
) -> None:
    run, _ = planted
    archive = tmp_path / "support.tar.gz"
    document = run.document("doctor", "--bundle", archive)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [archive]
    texts = unpack(archive, tmp_path / "unpacked")
    members = {each["name"]: each["size"] for each in document["bundle"]["members"]}
    assert members == {name: len(text.encode()) for name, text in texts.items()}
    assert document["bundle"]["path"] == str(archive)
    assert document["bundle"]["size"] == archive.stat().st_size
    said = run("doctor", "--bundle", tmp_path / "another.tar.gz")
    assert "logs/postgres.log" in said.err


def test_a_file_that_exists_is_not_replaced(planted: tuple[CommandLine, dict[str, str]], tmp_path: Path) -> None:
    run, _ = planted
    archive = tmp_path / "support.tar.gz"
    archive.write_text("precious")
    said = run("doctor", "--bundle", archive, code=2)
    assert "exists, and is not replaced" in said.err
    assert archive.read_text() == "precious"


def test_a_place_that_cannot_be_written_is_told(
    planted: tuple[CommandLine, dict[str, str]], tmp_path: Path
) -> None:
    run, _ = planted
    assert "cannot be written" in run("doctor", "--bundle", tmp_path / "nowhere" / "a.tar.gz", code=2).err


def test_a_broken_stack_gets_an_archive_all_the_same(
    planted: tuple[CommandLine, dict[str, str]], tmp_path: Path
) -> None:
    run, secrets = planted
    stack = run.home / "stacks" / "default"
    record = (stack / "stack.json").read_text()
    (stack / "stack.json").write_text("{")
    archive = tmp_path / "support.tar.gz"
    said: Said = run("doctor", "--bundle", archive, code=3)
    (stack / "stack.json").write_text(record)
    assert "stack.record" in said.out
    texts = unpack(archive, tmp_path / "unpacked")
    assert texts["stack/stack.json"].startswith("{")
    assert "status: " in texts["missing.txt"]
    assert "logs: " in texts["missing.txt"] or "logs/testgen.log" in texts
    assert not [name for name, value in secrets.items() for text in texts.values() if value in text]


def test_before_an_install_there_is_something_to_send_too(tmp_path: Path) -> None:
    archive = tmp_path / "support.tar.gz"
    CommandLine(tmp_path / "home")("doctor", "--bundle", archive)
    texts = unpack(archive, tmp_path / "unpacked")
    assert "findings.json" in texts
    assert os.cpu_count() == json.loads(texts["versions.json"])["processors"]
