"""Table groups and suites, as a systems file declares them, and the columns of TestGen that they set.

Defaults are TestGen's own and are written even when the file is silent: a setting that leaves the file goes back
to its default. The exceptions are None: TestGen's default, whatever that version's is, left alone.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from dqctl.testgen.systems.strict import Strict, SuiteName, TableGroupName, text
from dqctl.testgen.systems.verdicts import FAIL_ON

# TestGen splits these at commas and puts them between quotes.
Mask = Annotated[str, StringConstraints(pattern=r"^[^,'\"]+$", min_length=1, strip_whitespace=True)]
Masks = tuple[Mask, ...]
_LONGEST_LIST = 2000

Label = Annotated[str, text(40)]


class Component(Strict):
    """How DataOps Observability knows the suite."""

    key: Annotated[str, text(100)] | None = None
    type: Annotated[str, text(100)] | None = None
    name: Annotated[str, text(100)] | None = None


class Suite(Strict):
    """A test suite. ``severity`` overrules that of the test types; ``generation_sets`` None is Standard.

    ``fail_on`` is what makes ``run-tests`` fail when its command line does not say; None is fail.
    """

    name: SuiteName
    renamed_from: SuiteName | None = None
    description: Annotated[str, text(1000)] | None = None
    severity: Literal["Fail", "Warning", "Log"] | None = None
    fail_on: Literal["fail", "warning", "error", "never"] | None = None
    export: bool = True
    component: Component = Component()
    exclude_from_scores: bool = False
    generation_sets: tuple[Annotated[str, text(100)], ...] | None = None

    def columns(self) -> dict[str, Any]:
        """The suite's columns, and ``fail_on``; ``generation_sets`` only where the file has them."""
        sets = {} if self.generation_sets is None else {"generation_sets": list(self.generation_sets)}
        return sets | {
            "test_suite_description": self.description,
            "severity": self.severity,
            FAIL_ON: self.fail_on,
            "export_to_observability": self.export,
            "component_key": self.component.key,
            "component_type": self.component.type,
            "component_name": self.component.name,
            "dq_score_exclude": self.exclude_from_scores,
        }


class Sampling(Strict):
    """Profiling reads ``percent`` of a table, but not less than ``min_rows`` rows."""

    percent: int = Field(default=30, ge=1, le=100)
    min_rows: int = Field(default=100_000, ge=1)


class Labels(Strict):
    """What TestGen's data catalog says about the tables of a group."""

    data_source: Label | None = None
    source_system: Label | None = None
    source_process: Label | None = None
    data_location: Label | None = None
    business_domain: Label | None = None
    stakeholder_group: Label | None = None
    transform_level: Label | None = None
    data_product: Label | None = None


class TableGroup(Strict):
    """Tables of one schema that are profiled together. A table must fit ``tables``, ``include`` and ``exclude``.

    ``include`` and ``exclude`` are LIKE patterns in which ``_`` is itself; ``tables`` are names.
    """

    name: TableGroupName
    renamed_from: TableGroupName | None = None
    schema_name: Annotated[str, text(100)] | None = Field(default=None, alias="schema")
    description: Annotated[str, text(1000)] | None = None
    tables: Masks = ()
    include: Masks = ("%",)
    exclude: Masks = ()
    id_columns: Masks | None = None
    surrogate_key_columns: Masks | None = None
    sampling: Sampling | None = None
    delay_days: int = Field(default=0, ge=0, le=999)
    flag_critical_elements: bool = True
    flag_personal_data: bool = True
    skip_excluded_elements: bool = True
    on_dashboard: bool = True
    labels: Labels = Labels()
    suites: tuple[Suite, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "TableGroup":
        for masks in (self.tables, self.include, self.exclude, self.id_columns, self.surrogate_key_columns):
            if masks and len(",".join(masks)) > _LONGEST_LIST:
                raise PydanticCustomError(
                    "too_long", f"a list of tables or masks is longer than TestGen's {_LONGEST_LIST} characters"
                )
        return self

    def columns(self, default_schema: str | None) -> dict[str, Any]:
        """The table group's columns."""
        sampling = self.sampling or Sampling()
        own = {
            "profile_id_column_mask": self.id_columns,
            "profile_sk_column_mask": self.surrogate_key_columns,
        }
        return {column: _joined(masks) for column, masks in own.items() if masks is not None} | {
            "table_group_schema": self.schema_name or default_schema,
            "description": self.description,
            "profiling_table_set": _joined(self.tables),
            "profiling_include_mask": _joined(self.include),
            "profiling_exclude_mask": _joined(self.exclude),
            "profile_use_sampling": self.sampling is not None,
            "profile_sample_percent": sampling.percent,
            "profile_sample_min_count": sampling.min_rows,
            "profiling_delay_days": self.delay_days,
            "profile_flag_cdes": self.flag_critical_elements,
            "profile_flag_pii": self.flag_personal_data,
            "profile_exclude_xde": self.skip_excluded_elements,
            "include_in_dashboard": self.on_dashboard,
            **self.labels.model_dump(),
        }


def _joined(masks: Masks | None) -> str | None:
    return ",".join(masks) if masks else None
