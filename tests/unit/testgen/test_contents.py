"""What differs between two databases, in words."""

from dqctl.testgen.contents import Contents


def contents(**what: object) -> Contents:
    known = {"tables": {"a": (2, 20), "b": (1, 5)}, "sequences": {"s": (3, True)}, "objects": {"function": 1}}
    return Contents(**(known | what))  # type: ignore[arg-type] # the values are those of each field


def test_the_same_contents_differ_in_nothing() -> None:
    assert contents().differences(contents()) == ()
    assert contents().rows == 3


def test_every_difference_is_told() -> None:
    other = contents(
        tables={"a": (2, 21), "c": (0, 0)}, sequences={"s": (3, False)}, objects={"function": 1, "trigger": 2}
    )
    assert contents().differences(other) == (
        "a has other values",
        "b is missing",
        "c is too many",
        "sequence s differs",
        "number of trigger differs",
    )


def test_another_number_of_rows_is_told_as_such() -> None:
    fewer = contents(tables={"a": (1, 20), "b": (1, 5)})
    assert contents().differences(fewer) == ("a has 1 rows in place of 2",)


def test_a_sequence_that_others_used_meanwhile_is_not_compared() -> None:
    assert contents(sequences={}).differences(contents()) == ()
    assert contents().differences(contents(sequences={})) == ("sequence s differs",)
