"""Sail, a Spark Connect server in a wheel, started inside this process (0.03 s).

What an interrupt does (0.7.2): the client is free at once and the session usable; the work ends where the plan
next hands over a batch, within a second for scans and aggregates. A nested-loop join keeps its thread busy until
the batch that it works on is done, which can be minutes; nothing of it is committed or returned.
"""

import os

from dqctl.localworkspace.engine.spark_connect import EngineSession, SparkConnectSession

# Read once by the native library when it starts; its own default writes a line for every session.
os.environ.setdefault("RUST_LOG", "error")

from pysail.spark import SparkConnectServer


class EmbeddedSail:
    """An engine of our own, on a random port of the loopback interface."""

    def __init__(self) -> None:
        self._server = SparkConnectServer(ip="127.0.0.1", port=0)
        self._server.start(background=True)
        address = self._server.listening_address
        self._url = f"sc://{address[0]}:{address[1]}"

    def open_session(self) -> EngineSession:
        """A new session."""
        return SparkConnectSession(self._url, self._server)

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()
