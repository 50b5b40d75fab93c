"""What an unchanged databricks-sql-connector sees of a local workspace, as one JSON object on stdout.

Runs in Pythons that have nothing but the connector. Arguments: host, port, HTTP path, token file, CA file, and a
directory for files.
"""

import contextlib
import io
import json
import pathlib
import sys
import threading
import time

import databricks.sql
from databricks import sql

HOST, PORT, HTTP_PATH, TOKEN_FILE, CA_FILE, DIRECTORY = sys.argv[1:]
TOKEN = pathlib.Path(TOKEN_FILE).read_text().strip()
TYPES = """
select true, 1Y, 2S, 3, 4L, cast(1.5 as float), 2.5D, 1.25, 'text', binary('raw'), date'2024-02-29',
  timestamp'2024-02-29 12:30:00', array(1, 2), map('k', 1), named_struct('a', 1), cast(null as int)
"""


def connect(token=TOKEN, **options):
    # By port, flags and telemetry would still be asked for on 443.
    direct = (
        {} if PORT == "443" else {"_port": int(PORT), "_tls_trusted_ca_file": CA_FILE, "enable_telemetry": False}
    )
    return sql.connect(
        server_hostname=HOST,
        http_path=HTTP_PATH,
        access_token=token,
        staging_allowed_local_path=DIRECTORY,
        **direct,
        **options,
    )


def failure(call):
    try:
        call()
    except databricks.sql.exc.Error as error:
        return [type(error).__name__, str(error)]
    return None


def types(cursor):
    cursor.execute(TYPES)
    row = cursor.fetchone()
    return [column[1] for column in cursor.description], [str(value) for value in row]


def chunked(cursor):
    cursor.arraysize = 20_000
    cursor.execute("select id, concat('row ', cast(id as string)) as text from range(300000) order by id")
    count, total, last = 0, 0, None
    while rows := cursor.fetchmany(70_000):
        count += len(rows)
        total += sum(row[0] for row in rows)
        last = rows[-1][1]
    return count, total, last


def cancelled(connection):
    cursor = connection.cursor()
    outcome = []
    endless = "select count(*) from range(100000000) a cross join range(100000) b where a.id * b.id % 7 = 3"
    thread = threading.Thread(target=lambda: outcome.append(failure(lambda: cursor.execute(endless))))
    thread.start()
    time.sleep(1.5)
    began = time.monotonic()
    cursor.cancel()
    thread.join(60)
    seconds = time.monotonic() - began
    cursor.execute("select 1")
    again = cursor.fetchall()[0][0]
    return {
        "outcome": outcome[0] if outcome else None,
        "seconds": seconds,
        "again": again,
        "seconds_until_again": time.monotonic() - began,
    }


def staged(cursor):
    directory = pathlib.Path(DIRECTORY)
    source, target = directory / "up load.bin", directory / "down.bin"
    content = bytes(range(256)) * 8000
    source.write_bytes(content)
    cursor.execute("create schema if not exists main.probe")
    cursor.execute("create volume if not exists main.probe.files")
    volume = "/Volumes/main/probe/files/a b/ü.bin"
    cursor.execute(f"PUT '{source}' INTO '{volume}' OVERWRITE")
    refused = failure(lambda: cursor.execute(f"PUT '{source}' INTO '{volume}'"))
    cursor.execute(f"GET '{volume}' TO '{target}'")
    same = target.read_bytes() == content
    cursor.execute(f"PUT '__input_stream__' INTO '{volume}' OVERWRITE", input_stream=io.BytesIO(b"short"))
    cursor.execute(f"GET '{volume}' TO '{target}'")
    short = target.read_bytes().decode()
    cursor.execute(f"REMOVE '{volume}'")
    return {
        "same": same,
        "short": short,
        "refused": refused,
        "gone": failure(lambda: cursor.execute(f"GET '{volume}' TO '{target}'")),
    }


def asynchronous(cursor):
    cursor.execute_async("select sum(id) from range(1000)")
    states = {cursor.get_query_state().name}
    while cursor.is_query_pending():
        time.sleep(0.05)
    cursor.get_async_execution_result()
    return cursor.fetchall()[0][0], sorted(states - {"PENDING", "RUNNING"} | {"SUCCEEDED"})


def metadata(cursor):
    found = {}
    for name in ("catalogs", "schemas", "tables", "columns"):
        getattr(cursor, name)()
        found[name] = [column[0] for column in cursor.description], len(cursor.fetchall())
    return found


def main():
    began = time.monotonic()
    with contextlib.closing(connect(catalog="main", schema="default")) as connection:
        connected = time.monotonic() - began
        with connection.cursor() as cursor:
            cursor.execute("select :number + 1, :text, :nothing", {"number": 41, "text": "a 'b'", "nothing": None})
            found = {
                "version": databricks.sql.__version__,
                "seconds_to_connect": connected,
                "parameters": [str(value) for value in cursor.fetchone()],
                "types": types(cursor),
                "chunked": chunked(cursor),
                "staged": staged(cursor),
                "asynchronous": asynchronous(cursor),
                "metadata": metadata(cursor),
                "missing_table": failure(lambda: cursor.execute("select * from nowhere")),
                "too_many_parameters": failure(
                    lambda: cursor.execute(
                        "select " + ", ".join(f":p{i}" for i in range(257)), {f"p{i}": i for i in range(257)}
                    )
                ),
            }
            cursor.execute("create or replace table main.probe.t as select id from range(10)")
            cursor.execute("insert into main.probe.t values (11), (12)")
            found["rowcount"] = cursor.rowcount
        found["cancelled"] = cancelled(connection)
    found["bad_token"] = failure(lambda: connect(token="dapi" + "0" * 32))
    found["bad_catalog"] = failure(lambda: connect(catalog="nowhere"))
    sys.stdout.write(json.dumps(found))


main()
