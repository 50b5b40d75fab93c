"""The unit of systemd's, and what systemd is told."""

import configparser
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from dqctl.services.controller.unit import notify, render
from dqctl.settings import Settings

ANALYZE = shutil.which("systemd-analyze")


def test_a_unit_has_what_the_sidecar_finds_and_no_secret(tmp_path: Path) -> None:
    environment = {
        "DQCTL_CATALOG": 'a "b" 100%', "DATABRICKS_TOKEN": "dapi-secret", "DATABRICKS_TOKEN_FILE": "/etc/t",
        "PATH": "/bin", "SOMETHING": "else",
    }  # fmt: skip
    text, left_out = render(Settings(home=tmp_path, stack="shop"), environment)
    assert left_out == ("DATABRICKS_TOKEN",)
    assert "dapi-secret" not in text
    assert "SOMETHING" not in text
    assert 'Environment="DQCTL_CATALOG=a \\"b\\" 100%%"' in text
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    assert parser["Service"]["ExecStart"].endswith(f"--home {tmp_path} --stack shop controller run")
    assert parser["Service"]["KillMode"] == "process"
    assert "dqctl-shop-controller.service" in text.partition("\n")[0]


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "dqctl-default-controller.service"
    file.write_text(render(Settings(home=tmp_path), {})[0])
    argv = [str(ANALYZE), "verify", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert file.name not in done.stderr, done.stderr


def test_systemd_is_told_where_it_wants_to_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notify("READY=1")  # nobody asked
    where = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(where))
        monkeypatch.setenv("NOTIFY_SOCKET", str(where))
        notify("READY=1")
        assert channel.recv(100) == b"READY=1"
    where.unlink()
    notify("WATCHDOG=1")  # nobody hears it any more
