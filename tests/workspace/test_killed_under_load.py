"""The workspace is killed at random moments while clients change things: nothing is half done afterwards."""

import hashlib
import http.client
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from rest_clients import ask

pytestmark = pytest.mark.local

LOST = (OSError, http.client.HTTPException)
ROUNDS = 2


class Load:
    """Clients that work until the server is gone, and know what was acknowledged."""

    def __init__(self, endpoint: Endpoint, round_: int) -> None:
        self._endpoint = endpoint
        self._round = round_
        self.files: dict[str, str] = {}  # acknowledged: path to checksum
        self.schemas: set[str] = set()
        self.dropped: set[str] = set()
        self.rows: list[int] = []
        self.secrets: set[str] = set()
        self.tokens: set[str] = set()
        works = (self._upload, self._make_schemas, self._insert, self._keep_secrets, self._make_tokens)
        self._threads = [threading.Thread(target=self._until_gone, args=(work,)) for work in works]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    @property
    def has_begun(self) -> bool:
        return bool(self.files and self.schemas and self.rows and self.secrets and self.tokens)

    def _until_gone(self, work: Any) -> None:
        number = 0
        try:
            while True:
                work(number)
                number += 1
                time.sleep(0.02)  # enough happens as it is
        except LOST:
            pass

    def _upload(self, number: int) -> None:
        name = f"deep{number % 3}/r{self._round}-{number}"
        content = os.urandom(random.randint(1, 300_000))  # noqa: S311
        path = f"/api/2.0/fs/files/Volumes/main/default/v/{name}"
        if ask(self._endpoint, "PUT", path, content)[0] == 204:
            self.files[name] = hashlib.sha256(content).hexdigest()

    def _make_schemas(self, number: int) -> None:
        name = f"r{self._round}s{number}"
        body = json.dumps({"name": name, "catalog_name": "main"})
        if ask(self._endpoint, "POST", "/api/2.1/unity-catalog/schemas", body)[0] == 200:
            self.schemas.add(name)
        if number % 2:
            self.schemas.discard(name)  # it may be gone before anybody hears of it
            if ask(self._endpoint, "DELETE", f"/api/2.1/unity-catalog/schemas/main.{name}")[0] == 200:
                self.dropped.add(name)

    def _insert(self, number: int) -> None:
        value = self._round * 1_000_000 + number
        if execute(self._endpoint, f"INSERT INTO main.default.t VALUES ({value}), ({value})") is not None:
            self.rows.append(value)

    def _keep_secrets(self, number: int) -> None:
        body = json.dumps({"scope": "s", "key": f"r{self._round}k{number}", "string_value": str(number)})
        if ask(self._endpoint, "POST", "/api/2.0/secrets/put", body)[0] == 200:
            self.secrets.add(f"r{self._round}k{number}")

    def _make_tokens(self, number: int) -> None:
        body = json.dumps({"comment": f"r{self._round}t{number}"})
        status, _, answer = ask(self._endpoint, "POST", "/api/2.0/token/create", body)
        if status == 200:
            self.tokens.add(answer["token_value"])


def execute(endpoint: Endpoint, statement: str) -> list[list[str]] | None:
    """The rows of a statement; None when it failed."""
    body = json.dumps({"statement": statement, "warehouse_id": "local", "wait_timeout": "50s"})
    answer = ask(endpoint, "POST", "/api/2.0/sql/statements", body)[2]
    if answer["status"]["state"] != "SUCCEEDED":
        return None
    rows: list[list[str]] = answer["result"]["data_array"]
    return rows


@pytest.mark.feature("Limits", "kill -9 under load: what was acknowledged is there, and nothing is half done")
def test_nothing_is_half_done_when_the_server_is_killed_under_load(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    endpoint = control.start(data_dir)
    try:
        for statement in ("CREATE VOLUME main.default.v", "CREATE TABLE main.default.t (n INT)"):
            assert execute(endpoint, statement) is not None
        assert ask(endpoint, "POST", "/api/2.0/secrets/scopes/create", '{"scope": "s"}')[0] == 200
        loads = []
        for round_ in range(1, ROUNDS + 1):
            load = Load(endpoint, round_)
            load.start()
            deadline = time.monotonic() + 120
            while not load.has_begun:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(random.random())  # noqa: S311 - at any moment
            os.kill(endpoint.pid, signal.SIGKILL)
            load.join()
            loads.append(load)
            endpoint = control.start(data_dir)
        for load in loads:
            check(endpoint, load)
        check_rows(endpoint, loads)
        assert list((data_dir / "uploads").iterdir()) == []
        log = (data_dir / "logs" / "server.log").read_text()
        assert "Traceback" not in log, log[-4000:]
    finally:
        control.stop(data_dir)


def check(endpoint: Endpoint, load: Load) -> None:
    """What was acknowledged is there, and what is there is whole."""
    (volume,) = (endpoint.data_dir / "volumes").glob("main/default/v-*")
    for name, checksum in load.files.items():
        assert hashlib.sha256((volume / name).read_bytes()).hexdigest() == checksum, name
    listed = ask(endpoint, "GET", "/api/2.1/unity-catalog/schemas?catalog_name=main")[2]["schemas"]
    found = {each["name"] for each in listed}
    assert load.schemas <= found
    assert not load.dropped & found
    keys = {each["key"] for each in ask(endpoint, "GET", "/api/2.0/secrets/list?scope=s")[2]["secrets"]}
    assert load.secrets <= keys
    for token in load.tokens:
        headers = {"Authorization": f"Bearer {token}"}
        assert ask(endpoint, "GET", "/api/2.0/preview/scim/v2/Me", headers=headers)[0] == 200
        break  # that they are listed says it of the others
    comments = [each["comment"] for each in ask(endpoint, "GET", "/api/2.0/token/list")[2]["token_infos"]]
    assert len(load.tokens) <= len(comments)


def check_rows(endpoint: Endpoint, loads: list[Load]) -> None:
    """Both rows of an INSERT, or none; both of those that were acknowledged."""
    rows = execute(endpoint, "SELECT n, count(*) FROM main.default.t GROUP BY n")
    assert rows is not None
    assert {count for _, count in rows} == {"2"}
    assert {value for load in loads for value in load.rows} <= {int(value) for value, _ in rows}
