"""Sail, a Spark Connect server in a wheel, started inside this process (0.03 s)."""

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
        return SparkConnectSession(self._url)

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()
