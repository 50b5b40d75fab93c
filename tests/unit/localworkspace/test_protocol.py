from typing import Any

import pytest

from dqctl.localworkspace.protocol import joined, with_feature

OLD = {"minReaderVersion": 1, "minWriterVersion": 2}
NAMED = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["v"], "writerFeatures": ["v"]}


def test_a_feature_raises_an_old_protocol_and_is_named_in_a_new_one() -> None:
    assert with_feature(OLD, "checkConstraints") == {"minReaderVersion": 1, "minWriterVersion": 3}
    assert with_feature({**OLD, "minWriterVersion": 5}, "checkConstraints")["minWriterVersion"] == 5
    assert with_feature(NAMED, "checkConstraints") == {**NAMED, "writerFeatures": ["checkConstraints", "v"]}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (OLD, {"minReaderVersion": 1, "minWriterVersion": 3}, {"minReaderVersion": 1, "minWriterVersion": 3}),
        (OLD, NAMED, {**NAMED, "writerFeatures": ["appendOnly", "invariants", "v"]}),
        (
            {"minReaderVersion": 2, "minWriterVersion": 5},
            NAMED,
            {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["columnMapping", "v"],
                "writerFeatures": [
                    "appendOnly", "changeDataFeed", "checkConstraints", "columnMapping", "generatedColumns",
                    "invariants", "v",
                ],
            },
        ),
    ],
)  # fmt: skip
def test_joined_protocols_have_what_either_has(
    one: dict[str, Any], other: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert joined(one, other) == expected
    assert joined(other, one) == expected
