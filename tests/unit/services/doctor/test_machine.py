import shutil
from pathlib import Path

import pytest

from dqctl.services.doctor import machine
from dqctl.services.doctor.findings import Verdict


@pytest.mark.parametrize(
    ("free", "installed", "verdict"),
    [
        (machine.DISK_NEEDED - 1, True, Verdict.FAILED),
        (machine.DISK_NEEDED, True, Verdict.WARNING),
        (machine.DISK_WANTED - 1, False, Verdict.FAILED),
        (machine.DISK_WANTED, False, Verdict.OK),
    ],
)
def test_what_is_not_installed_yet_needs_more_space(
    free: int, installed: bool, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = machine.judge_space((tmp_path / "not" / "there" / "yet",), installed=installed)
    assert found.verdict is verdict
    assert str(tmp_path) in found.evidence


def test_memory_is_what_the_narrowest_limit_leaves(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16000000 kB\nMemAvailable:    4000000 kB\n")
    groups = tmp_path / "groups"
    (groups / "memory").mkdir(parents=True)
    assert machine.available_memory(tmp_path, groups) == 4_000_000 * 1024
    (groups / "memory.max").write_text("max\n")
    (groups / "memory.current").write_text("123\n")
    assert machine.available_memory(tmp_path, groups) == 4_000_000 * 1024
    (groups / "memory.max").write_text("1000000000\n")
    (groups / "memory.current").write_text("400000000\n")
    assert machine.available_memory(tmp_path, groups) == 600_000_000
    (groups / "memory" / "memory.limit_in_bytes").write_text("500000000\n")
    (groups / "memory" / "memory.usage_in_bytes").write_text("600000000\n")
    assert machine.available_memory(tmp_path, groups) == 0
    assert machine.available_memory(tmp_path / "nowhere", groups) is None
