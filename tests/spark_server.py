"""A real Spark with Delta behind Spark Connect, for tests: as an engine it does what the embedded one has to do.

Spark itself comes from PyPI, Delta from Maven Central, once a machine. One server serves a whole test run,
whichever of its workers asks first, and ends with the process that it is told to watch.
"""

import contextlib
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock

from tiers import cache, unavailable

# A client and a server of Spark Connect have to be of one version.
VERSION = importlib.metadata.version("pyspark-client")
DELTA = ("io.delta:delta-spark_4.2_2.13:4.4.0", "io.delta:delta-storage:4.4.0")
_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
_CONFIGURATION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Few rows on two cores: hundreds of tasks without rows are what would take time, and a Java program compiled
    # for each plan, a second look at each plan, and megabytes of log.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.log.level": "WARN",
    "spark.ui.enabled": "false",
    "spark.connect.grpc.binding.address": "127.0.0.1",
}
# A server of some minutes: what the second compiler makes quicker, it never pays back (a third of all its time).
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def shared_server(run: Path, watched: int) -> str:
    """URL of the one server of a test run whose directory is ``run``; it ends when process ``watched`` is gone."""
    run.mkdir(parents=True, exist_ok=True)
    url = run / "spark.url"
    with FileLock(run / "spark.lock", timeout=600):
        if not url.exists():
            url.write_text(_start(run, watched), encoding="utf-8")
    return url.read_text(encoding="utf-8")


def _start(run: Path, watched: int) -> str:
    home, jars = _programs()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "spark.connect.grpc.binding.port": str(port),
        "spark.local.dir": str(run / "local"),
    }
    argv = [
        *(
            str(home / "bin" / "spark-submit"),
            "--class",
            "org.apache.spark.sql.connect.service.SparkConnectServer",
        ),
        *("--master", "local[2]", "--driver-memory", "1g", "--driver-java-options", _JAVA),
        *("--jars", ",".join(str(each) for each in jars)),
        *(part for key, value in (_CONFIGURATION | own).items() for part in ("--conf", f"{key}={value}")),
    ]
    log = run / "spark.log"
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, __file__, str(watched), *argv],
            cwd=run,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"SPARK_HOME": str(home)},
            check=True,
        )
    server = Path("/proc", (run / "spark.pid").read_text(encoding="utf-8"))
    end = time.monotonic() + 180
    while not _listens(port):
        if not server.exists() or time.monotonic() > end:
            unavailable("spark", f"the server did not start: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)
    return f"sc://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _programs() -> tuple[Path, list[Path]]:
    """Spark's home and Delta's jars, fetched once a machine."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            unavailable("spark", f"there is no {program}")
    place = cache() / f"spark-{VERSION}"
    with FileLock(f"{place}.lock", timeout=600):
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as half_made:
                new = Path(half_made) / "spark"
                _fetch(new)
                new.rename(place)
    return place / "pyspark", sorted((place / "jars").glob("*.jar"))


def _fetch(place: Path) -> None:
    # Its jars and scripts are all that is wanted of the package: no dependencies, no environment.
    install = ["uv", "--quiet", "pip", "install", "--no-deps", "--target", str(place), f"pyspark=={VERSION}"]
    commands = [[sys.executable, "-m", *install]]
    for artifact in DELTA:
        copy = ["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy", f"-Dartifact={artifact}"]
        commands.append(["mvn", "--batch-mode", "--quiet", *copy, f"-DoutputDirectory={place / 'jars'}"])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            unavailable("spark", f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")


def _watch(watched: int, argv: list[str]) -> None:
    """Run ``argv`` until it ends or process ``watched`` does; in a child, which belongs to nobody."""
    server = subprocess.Popen(argv)
    Path("spark.pid").write_text(str(server.pid), encoding="utf-8")
    if os.fork():
        os._exit(0)
    while all(Path("/proc", str(each)).exists() for each in (server.pid, watched)):
        time.sleep(0.5)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2:])
