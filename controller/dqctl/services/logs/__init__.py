"""What the parts of a stack wrote: TestGen, PostgreSQL, the installation, the stack's local workspace."""

from dqctl.services.logs.reading import follow, read
from dqctl.services.logs.sources import LogLine, Source, find_sources

__all__ = ["LogLine", "Source", "find_sources", "follow", "read"]
