from __future__ import annotations

import pytest

from tests.monitoring.queries import problems_of


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("sum(braze_etl_record_total)", "no metric braze_etl_record_total"),
        ('braze_etl_records_total{kind="x"}', "has no label kind"),
        ('braze_etl_records_total{outcome="sent"}', "outcome is never sent"),
        ("sum by (reason) (braze_etl_files_total)", "has the label reason"),
        ("rate(braze_etl_file_to_accepted_seconds[5m])", "no metric braze_etl_file_to_accepted_seconds "),
        ("vector(1)", "no metric in"),
    ],
)
def test_a_query_for_what_does_not_exist_is_found_out(expression: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(expression))


def test_a_legend_names_a_label_that_is_there() -> None:
    assert list(problems_of("sum by (reason) (braze_etl_records_total)", shown="{{reason}}")) == []
    assert list(problems_of("sum(braze_etl_files_total)", shown="{{reason}}"))
