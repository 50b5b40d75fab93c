import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.report.results import Parameter, parameters, shortened

NAMES = ("baseline_value", "baseline_value_ct", "threshold_value", "subset_condition", "match_table_name")


def test_parameters_are_told_apart_and_explained() -> None:
    assert parameters("baseline_avg=1.5; threshold_value=0.5") == (
        Parameter("baseline_avg", "Baseline: average", "1.5"),
        Parameter("threshold_value", "Threshold", "0.5"),
    )


def test_value_that_looks_like_more_parameters_stays_whole() -> None:
    text = "subset_condition=note = `a; b=c; d`; threshold_value=0"
    assert [p.value for p in parameters(text)] == ["note = `a; b=c; d`", "0"]


@pytest.mark.parametrize("text", [None, ""])
def test_no_parameters_are_none(text: str | None) -> None:
    assert parameters(text) == ()


@pytest.mark.parametrize("text", ["anything at all", "x=1; threshold_value=2"])
def test_parameters_that_nobody_understands_are_shown_as_they_are(text: str) -> None:
    assert parameters(text) == (Parameter("input_parameters", "Parameters", text),)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(alphabet="ab1 =,.`()\n"), min_size=1))
def test_parameters_come_back_as_testgen_joined_them(given_values: dict[str, str]) -> None:
    text = "; ".join(f"{name}={value}" for name, value in given_values.items())
    assert {p.name: p.value for p in parameters(text)} == given_values


def test_long_lists_of_columns_are_shortened() -> None:
    assert shortened("a, b, c, d") == "a, b, c, d"
    assert shortened("a, b, c, d, e") == "a, b, c and 2 more"
    assert shortened(None) is None
