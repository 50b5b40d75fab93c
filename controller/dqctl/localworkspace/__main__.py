"""``python -m dqctl.localworkspace``: the server in the foreground, for containers and for ``control.start``."""

import argparse
import gc
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_CALLS = 12_000
_STACK_BYTES = 64 * 1024 * 1024  # of each thread from here on; only what is used is taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 1 when it cannot start, with the reason in the last line of the log."""
    parser = argparse.ArgumentParser(prog="python -m dqctl.localworkspace", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="default: that of the last time, else any")
    parser.add_argument("--proxy-port", type=int, default=0, help="likewise")
    parser.add_argument(
        "--proxy-address",
        action="append",
        dest="proxy_addresses",
        help="beside loopback; may be given more than once",
    )
    parser.add_argument(
        "--everywhere", action="store_true", help="HTTPS in every network, not on loopback alone: for a container"
    )
    parser.add_argument("--engine", default="sail", help="sail, or the URL of a Spark Connect cluster")
    parser.add_argument("--catalog", action="append", dest="catalogs", help="may be given more than once")
    parser.add_argument(
        "--postgres-programs", type=Path, help="PostgreSQL's directory that has bin, for Lakebase; kept"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Nested statements are read and written by recursion, a dozen calls a bracket: Python's 1,000 are 60 brackets.
    sys.setrecursionlimit(_CALLS)
    threading.stack_size(_STACK_BYTES)
    # What others gave this process is private to it, and gRPC sends even loopback through a proxy.
    os.umask(0o077)
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ.update(no_grpc_proxy=",".join(filter(None, ("localhost,127.0.0.1", others))))
    # What imports make stays: looking for garbage in it is a fifth of the start, and goes on with each statement.
    gc.disable()
    from dqctl.localworkspace.server import AlreadyRunning, Options, run

    gc.freeze()
    gc.enable()
    try:
        run(
            Options(
                data_dir=given.data_dir,
                port=given.port,
                proxy_port=given.proxy_port,
                engine=given.engine,
                catalogs=tuple(given.catalogs or ("main",)),
                proxy_addresses=tuple(given.proxy_addresses or ()),
                everywhere=given.everywhere,
                postgres_programs=given.postgres_programs,
            )
        )
    except (AlreadyRunning, OSError, OverflowError) as error:  # the last: a port that is no port
        logging.getLogger(__name__).error("cannot start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
