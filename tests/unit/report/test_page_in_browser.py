"""The page in a real browser, where there is one: its policy lets its own script run, and nothing else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dqctl.records import RunContent
from dqctl.report.model import build
from dqctl.report.render import Form, write
from unit.report import flights

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


def _dom(content: RunContent, folder: Path) -> str:
    """The page as it stands when its script has run."""
    write(build(content, flights.history(), generated_at=flights.GENERATED_AT), Form.HTML, folder / "report.html")
    assert BROWSER is not None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    own = (f"--user-data-dir={folder / 'browser'}", "--virtual-time-budget=2000", "--dump-dom")
    found = subprocess.run(
        [BROWSER, *options, *own, (folder / "report.html").as_uri()],
        check=True,
        capture_output=True,
        timeout=90,
    )
    return found.stdout.decode()


def test_script_takes_over_within_the_pages_policy(tmp_path: Path) -> None:
    dom = _dom(flights.many(500), tmp_path)
    assert "500 shown" in dom
    assert not re.search(r'<form class="filters"[^>]*hidden', dom)
    assert '<option value="flights_0000">' in dom


def test_hostile_data_does_not_run(tmp_path: Path) -> None:
    rows = [{**row, "table_name": HOSTILE, "result_message": HOSTILE} for row in flights.results()]
    run = flights.run("test", test_suite=HOSTILE, error_message=HOSTILE, status="error")
    dom = _dom(flights.content(run, dq_test_results=rows), tmp_path)
    assert "151 shown" in dom
    (title,) = re.findall(r"<head>.*?<title>(.*?)</title>", dom, flags=re.DOTALL)
    assert title.startswith("&lt;/script&gt;")
    assert "<img" not in dom.replace("&lt;", "").split('id="data"')[0]
