"""A Delta table's protocol action: what a reader and a writer have to know before they touch the table."""

from dqctl.localworkspace.transaction_log import Action

# The features that each writer version of old brings, which newer tables name one by one.
_BROUGHT_BY = {
    "appendOnly": 2, "invariants": 2, "checkConstraints": 3, "changeDataFeed": 4, "generatedColumns": 4,
    "columnMapping": 5, "identityColumns": 6,
}  # fmt: skip
_BY_NAME = 7
_READS_BY_NAME = 3


def with_feature(protocol: Action, feature: str) -> Action:
    """The protocol of a table that uses a feature which writers alone have to know."""
    if protocol["minWriterVersion"] >= _BY_NAME:
        return protocol | {"writerFeatures": sorted({*protocol.get("writerFeatures", ()), feature})}
    return protocol | {"minWriterVersion": max(protocol["minWriterVersion"], _BROUGHT_BY[feature])}


def joined(one: Action, other: Action) -> Action:
    """A protocol that has what either has: a table's is never lowered."""
    reader = max(one["minReaderVersion"], other["minReaderVersion"])
    writer = max(one["minWriterVersion"], other["minWriterVersion"])
    found: Action = {"minReaderVersion": reader, "minWriterVersion": writer}
    if writer >= _BY_NAME:
        found["writerFeatures"] = sorted(_written(one) | _written(other))
    if reader >= _READS_BY_NAME:
        found["readerFeatures"] = sorted(_read(one) | _read(other))
    return found


def _written(protocol: Action) -> set[str]:
    if protocol["minWriterVersion"] >= _BY_NAME:
        return set(protocol.get("writerFeatures", ()))
    return {name for name, version in _BROUGHT_BY.items() if version <= protocol["minWriterVersion"]}


def _read(protocol: Action) -> set[str]:
    if protocol["minReaderVersion"] >= _READS_BY_NAME:
        return set(protocol.get("readerFeatures", ()))
    return {"columnMapping"} if protocol["minReaderVersion"] == _READS_BY_NAME - 1 else set()
