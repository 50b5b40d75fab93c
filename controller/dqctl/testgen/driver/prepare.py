# mypy: disable-error-code="import-not-found"
"""What a job finds when it begins: no session of the job before it, and what its own ask of the warehouse.

TestGen (5.33.3 to 5.134.0) hands databricks-sqlalchemy (2.0.9, 2.0.10) a URL, of which it reads host, token,
http_path, catalog and schema only, and connect_args of its own: nothing that is stored with a connection gets into
the session. SQLAlchemy's event ``do_connect`` is where the connector's ``session_configuration`` can be added. It
travels with the call that opens the session and costs no statement.
"""

import sys
from typing import Any

from sqlalchemy import Engine, event, text
from testgen.common.database import database_service
from testgen.common.models import database_session

# All-purpose clusters know the parameters of SQL warehouses by Spark's names only; their HTTP path tells them:
# sql/protocolv1/o/<workspace>/<cluster>.
CLUSTER = "protocolv1"
NAMES_ON_CLUSTERS = {
    "ANSI_MODE": "spark.sql.ansi.enabled",
    "LEGACY_TIME_PARSER_POLICY": "spark.sql.legacy.timeParserPolicy",
}

_wanted: dict[str, str] = {}


def serve(request: dict[str, Any], say: Any) -> dict[str, Any]:
    """Prepare for the job that follows; ``parameters`` are for its sessions on Databricks."""
    del say
    # 5.33.3 keeps what it read of its own tables for minutes: what was provisioned before is newer.
    if "streamlit" in sys.modules:
        sys.modules["streamlit"].cache_data.clear()
    # Up to 5.92.2 TestGen keeps the target's engine when the target changes: a job would read the tables of the
    # one before it. No version knows that a pooled session was opened for another kind of job.
    cache = database_service.engine_cache
    if cache.target_db is not None:
        cache.target_db.dispose()
        cache.target_db = None
    ask_for(request["parameters"])
    return {}


def prepare_job(job_id: str, job_key: str, parameters: dict[str, str]) -> None:
    """Ask for ``parameters`` in a process that runs one job, if it is one of ``job_key``."""
    with database_session() as session:
        found = session.scalar(text("SELECT job_key FROM job_executions WHERE id = :id"), {"id": job_id})
    if found == job_key:
        ask_for(parameters)


def ask_for(parameters: dict[str, str]) -> None:
    """Open the sessions that are to come with ``parameters``."""
    if not event.contains(Engine, "do_connect", add_parameters):
        event.listen(Engine, "do_connect", add_parameters)
    _wanted.clear()
    _wanted.update(parameters)


def add_parameters(dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
    """Add what is asked for to what the connector is about to be called with."""
    if dialect.name != "databricks" or not _wanted:
        return
    cluster = CLUSTER in str(named.get("http_path"))
    asked = {NAMES_ON_CLUSTERS.get(name, name) if cluster else name: value for name, value in _wanted.items()}
    named["session_configuration"] = asked | (named.get("session_configuration") or {})
