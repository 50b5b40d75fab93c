"""A session of a lakehouse with short words for what tests do all the time."""

from typing import Any

import pytest

from dqctl.localworkspace.contract import Parameter, Result, Session, StatementError


class Client:
    """Runs statements and unpacks what they return."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def execute(self, statement: str, *parameters: Parameter) -> Result:
        return self.session.execute(statement, parameters)

    def rows(self, statement: str, *parameters: Parameter) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.execute(statement, *parameters).table.to_pylist()]

    def value(self, statement: str, *parameters: Parameter) -> Any:
        ((value,),) = self.rows(statement, *parameters)
        return value

    def affected(self, statement: str, *parameters: Parameter) -> int | None:
        return self.execute(statement, *parameters).affected_rows

    def error(self, statement: str, *parameters: Parameter) -> StatementError:
        with pytest.raises(StatementError) as caught:
            self.execute(statement, *parameters)
        return caught.value
