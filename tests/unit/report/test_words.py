import pytest

from dqctl.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, words.NOTHING), (0, "0 %"), (1, "100 %"), (0.99999, "99.9 %"), (0.00001, "0.1 %"), (0.1234, "12.3 %")],
)
def test_only_all_is_hundred_percent(value: float | None, text: str) -> None:
    assert words.share(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, words.NOTHING),
        (0, "0.0 s"),
        (8.94, "8.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3780, "1 h 3 min"),
    ],
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_enumerations_end_with_and() -> None:
    assert words.enumeration([]) == ""
    assert words.enumeration(["a"]) == "a"
    assert words.enumeration(["a", "b", "c"]) == "a, b and c"
