"""What only a real warehouse can settle about profiles: that it takes what is asked of their sessions.

DQCTL_LIVE_HOST, _HTTP_PATH and _TOKEN say which.
"""

import pytest
from databricks import sql

from dqctl.databricks.target import PersonalToken, Target
from dqctl.redaction import reveal
from dqctl.testgen import sessions

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("text", ["no date", "2013-01-01 05:00:00"])
def test_a_text_that_is_no_date_is_null_in_the_session_of_a_profile(target: Target, text: str) -> None:
    assert isinstance(target.auth, PersonalToken)
    with (
        sql.connect(
            server_hostname=target.host,
            http_path=target.http_path,
            access_token=reveal(target.auth.token),
            session_configuration=dict(sessions.parameters("run-profile", "off")),
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET")
        found = {str(row[0]).upper(): row[1] for row in cursor.fetchall()}
        cursor.execute(f"SELECT to_date('{text}', 'yyyy-MM-dd') AS day")
        assert [row[0] for row in cursor.fetchall()] == [None], found
