"""A process that changes the catalog is killed at random moments; what it was told is done is done, and whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client

# As many as are quick; more of them find more.
KILLS = int(os.environ.get("DQCTL_TEST_KILLS", "30"))

# Forks, so that a round costs milliseconds: a child changes names until it is killed, with statements that need no
# engine, and says after each that it is done; the parent, which never touches Delta, opens the catalog and looks.
KILLING = """
__file__ = "killing"  # pyspark takes a main module without one for a doctest
import json, os, random, signal, sys, time
from pathlib import Path
from dqctl.localworkspace.catalog import Catalog
from dqctl.localworkspace.context import Context, WriterLocks
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.router import route
from dqctl.localworkspace.sql.statement import parse
from dqctl.localworkspace.volumes import Volumes

data_dir, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = random.Random(seed)

def statements(round):
    for k in range(10000):
        t, u = f"t{round}_{k}", f"u{round}_{k}"
        yield f"CREATE TABLE {t} (a INT)", {t: None}, ()
        yield f"ALTER TABLE {t} RENAME TO {u}", {u: None}, (t,)
        yield f"ALTER TABLE {u} ADD COLUMNS (b STRING FIRST, c INT)", {}, ()
        yield f"COMMENT ON TABLE {u} IS 'done'", {u: "done"}, ()
        yield f"CREATE OR REPLACE TABLE {u} (z DATE) COMMENT 'again'", {u: "again"}, ()
        yield f"DROP TABLE {u}", {}, (u,)
        yield f"UNDROP TABLE {u}", {u: "again"}, ()
        yield f"CREATE SCHEMA {u}", {}, ()
        yield f"CREATE VOLUME {u}.files", {}, ()
        yield f"DROP SCHEMA {u} CASCADE", {}, ()
        if k % 3:
            yield f"DROP TABLE {u} PURGE", {}, (u,)

def work(round, done):
    catalog = Catalog(data_dir, ["main"])
    context = Context(catalog, Volumes(catalog), None, WriterLocks(), Namespace("main", "default"))
    for statement, _, _ in statements(round):
        route(parse(statement), context)
        os.write(done, b".")

def names():
    return {table.name.name: table.comment for table in Catalog(data_dir, ["main"]).tables("main", "default")}

Catalog(data_dir, ["main"])
before, found = names(), []
for round in range(rounds):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        work(round, writing)
        os._exit(0)
    os.close(writing)
    acknowledged = len(os.read(reading, 1))  # it has begun
    time.sleep(random.random() * 0.1)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while more := os.read(reading, 65536):
        acknowledged += len(more)
    os.close(reading)
    wanted, possible = dict(before), []
    for number, (_, there, gone) in enumerate(statements(round), 1):
        wanted = {name: comment for name, comment in (wanted | there).items() if name not in gone}
        if number >= acknowledged:
            possible.append(wanted)
        if number > acknowledged:
            break
    now = names()
    found.append({"acknowledged": acknowledged, "good": os.WIFSIGNALED(status) and now in possible})
    before = now
print(json.dumps({"rounds": found, "names": before}))
"""


def killed(data_dir: Path, seed: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", KILLING, str(data_dir), str(KILLS), str(seed)],
        capture_output=True,
        text=True,
        timeout=120 + 10 * KILLS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_was_done_survives_kills_at_any_moment(tmp_path: Path) -> None:
    found = killed(tmp_path, seed=os.getpid())
    assert [each for each in found["rounds"] if not each["good"]] == []
    assert sum(each["acknowledged"] for each in found["rounds"]) > KILLS
    lakehouse = open_lakehouse(tmp_path)
    client = Client(lakehouse.open_session(None, None, {}))
    for name in found["names"]:
        assert client.rows(f"SELECT * FROM {name}") == []
    # What is on disk is what the catalog names, or has dropped and keeps for a while.
    kept = client.execute("SHOW TABLES DROPPED").table.num_rows + len(found["names"])
    assert len(list((tmp_path / "tables" / "main" / "default").iterdir())) == kept
    lakehouse.close()
