import pytest

from dqctl.report.model import RunReport, build
from dqctl.report.profiles import Likelihood, by_error, is_ansi
from dqctl.report.render import Form, render
from unit.report import flights


def _profile(*, ansi: bool = True) -> RunReport:
    return build(flights.profile_run(ansi=ansi), generated_at=flights.GENERATED_AT)


def test_incomplete_columns_come_first() -> None:
    errors = [column.error is None for column in _profile().columns]
    assert errors == sorted(errors)
    assert len(_profile().incomplete_columns) == 16
    assert not _profile(ansi=False).incomplete_columns


@pytest.mark.parametrize(
    "error",
    [
        '[CAST_INVALID_INPUT] The value \'abc\' of the type "STRING" cannot be cast to "DATE".',
        "[CANNOT_PARSE_TIMESTAMP] Unparseable date. If necessary set spark.sql.ansi.enabled to false",
        "[INCONSISTENT_BEHAVIOR_CROSS_VERSION.PARSE_DATETIME_BY_NEW_PARSER] You may get a different result due to "
        "the upgrading to Spark >= 3.0: Fail to parse '1/2/2020' in the new parser.",
        "expected numeric datetime field at byte offset 0",
        "invalid timestamp: x",
    ],
)
def test_errors_of_ansi_mode_are_known(error: str) -> None:
    assert is_ansi(error)


@pytest.mark.parametrize("error", [None, "PERMISSION_DENIED: no SELECT on table", "connection reset by peer"])
def test_other_errors_are_not_blamed_on_ansi_mode(error: str | None) -> None:
    assert not is_ansi(error)


def test_columns_that_failed_alike_are_told_together() -> None:
    groups = by_error(_profile().columns)
    assert [(table, len(names)) for table, names, _ in groups] == [
        ("airlines", 2),
        ("airports", 4),
        ("flights", 4),
        ("planes", 5),
        ("weather", 1),
    ]


def test_anomalies_are_sorted_by_likelihood() -> None:
    found = [anomaly.likelihood for anomaly in _profile().anomalies]
    assert found == [
        Likelihood.DEFINITE,
        Likelihood.DEFINITE,
        Likelihood.LIKELY,
        Likelihood.POSSIBLE,
        Likelihood.PII,
    ]


def test_sampled_share_is_how_much_was_read() -> None:
    sampled = {column.table: column.sampled_share for column in _profile().columns}
    assert sampled["flights"] == pytest.approx(0.08)
    assert sampled["planes"] is None


def test_values_of_personal_data_are_in_no_form() -> None:
    rows = [
        {
            **flights.profile_run().rows["dq_profile_columns"][0],
            "pii_flag": "A/ID/SSN",
            "min_text": "078-05-1120",
            "max_text": "078-05-1121",
            "frequent_values": '{"values": [{"ct": 1, "value": "078-05-1122"}]}',
            "query_error": None,
        }
    ]
    report = build(
        flights.content(flights.run("profile"), dq_profile_columns=rows), generated_at=flights.GENERATED_AT
    )
    for form in Form:
        assert "078-05" not in render(report, form), form


def test_missing_values_are_nulls_and_empty_texts() -> None:
    column = {**flights.profile_run().rows["dq_profile_columns"][0], "record_ct": 200, "null_value_ct": 10}
    column |= {"zero_length_ct": 40}
    report = build(
        flights.content(flights.run("profile"), dq_profile_columns=[column]), generated_at=flights.GENERATED_AT
    )
    assert report.columns[0].missing_share == 0.25


@pytest.mark.parametrize(
    "text", [None, "", "UA | 58665", "[1]", '{"values": null}', '{"values": [{"ct": "x"}]}', "{"]
)
def test_frequent_values_of_another_shape_are_left_out(text: str | None) -> None:
    column = {**flights.profile_run().rows["dq_profile_columns"][0], "frequent_values": text, "pii_flag": None}
    report = build(
        flights.content(flights.run("profile"), dq_profile_columns=[column]), generated_at=flights.GENERATED_AT
    )
    assert report.columns[0].frequent == ()
