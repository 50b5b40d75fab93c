"""PUT, GET and REMOVE of volume files: the row that tells the client where to send or fetch the bytes."""

import time
from urllib.parse import quote

import pyarrow as pa

from dqctl.localworkspace.contract import Staging as StagingResult
from dqctl.localworkspace.tokens import Signer

PATH = "/staging"
LIFETIME = 15 * 60

_METHODS = {"PUT": {"PUT"}, "GET": {"GET", "HEAD"}, "REMOVE": {"DELETE"}}


class Staging:
    """Makes presigned URLs below ``base_url``, the server as one client reaches it."""

    def __init__(self, signer: Signer, base_url: str) -> None:
        self._signer = signer
        self._base_url = base_url

    def row(self, staging: StagingResult) -> pa.Table:
        """The one row that the connectors expect of a staging operation."""
        return pa.table(
            {
                "operation": pa.array([staging.operation], pa.string()),
                "localFile": pa.array([staging.local_file], pa.string()),
                "presignedUrl": pa.array([self.url(staging)], pa.string()),
                "headers": pa.array(["{}"], pa.string()),
            }
        )

    def url(self, staging: StagingResult) -> str:
        """A URL that is good for this operation on this file alone, for 15 minutes, without a token."""
        expires = int(time.time()) + LIFETIME
        signature = self._signer.sign("staging", staging.operation, staging.volume_path, str(expires))
        query = f"operation={staging.operation}&expires={expires}&signature={signature}"
        return f"{self._base_url}{PATH}{quote(staging.volume_path)}?{query}"


def is_permitted(signer: Signer, method: str, path: str, operation: str, expires: str, signature: str) -> bool:
    """Whether a presigned request is genuine, fits its method, and is in time."""
    if not expires.isdecimal() or int(expires) < time.time():
        return False
    genuine = signer.is_signed(signature, "staging", operation, path, expires)
    return genuine and method in _METHODS.get(operation, ())
