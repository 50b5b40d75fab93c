"""Reading results out of TestGen's metadata database, complete and in the shape of ``records``.

    from dqctl.testgen.reader import MetadataReader

``sources`` says where each published column is found, ``select`` turns that and the columns that a version really
has into SQL, ``metadata`` runs it.
"""

from dqctl.testgen.reader.metadata import FinishedRun, MetadataReader, StoredRun

__all__ = ["FinishedRun", "MetadataReader", "StoredRun"]
