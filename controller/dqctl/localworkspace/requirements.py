"""What the server needs that plain dqctl does not bring: the modules of the extra ``workspace``.

Looked for, not imported: who starts a server waits for it anyway, and who only looks at one needs none of this.
"""

from importlib.util import find_spec

INSTALL = "pip install 'dqctl[workspace]'"

# By module, not by distribution: pyspark is there with ``pyspark-client`` as with the whole of ``pyspark``.
SERVER = ("deltalake", "pyspark", "sqlglot", "starlette", "thrift", "uvicorn")
EMBEDDED_ENGINE = ("pysail",)


def missing(engine: str) -> list[str]:
    """The modules that a server with this ``engine`` (``sail`` or a URL) would miss in this environment."""
    wanted = SERVER + (EMBEDDED_ENGINE if engine == "sail" else ())
    return [module for module in wanted if find_spec(module) is None]
