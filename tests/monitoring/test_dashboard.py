"""The Grafana dashboard: every query names a metric and labels that exist, and is valid PromQL."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.queries import problems_of


@pytest.fixture
def dashboard(configs: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((configs / "dashboard.json").read_text())
    return loaded


def targets(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_query_names_an_existing_metric_and_label(dashboard: dict[str, Any]) -> None:
    found = [
        problem
        for target in targets(dashboard)
        for problem in problems_of(target["expr"], shown=target["legendFormat"])
    ]
    assert found == []


def test_every_query_is_for_the_chosen_pipelines(dashboard: dict[str, Any]) -> None:
    for target in targets(dashboard):
        selectors = re.findall(r"braze_etl_\w+(\{[^}]*\})?", target["expr"])
        assert all('pipeline=~"$pipeline"' in selector for selector in selectors), target["expr"]


def test_every_panel_takes_the_chosen_source_and_has_a_place_of_its_own(dashboard: dict[str, Any]) -> None:
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "pipeline"]
    taken = set[tuple[int, int]]()
    for panel in dashboard["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"]
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (grid["x"] + column, grid["y"] + row) for column in range(grid["w"]) for row in range(grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_what_the_operators_asked_for_is_shown(dashboard: dict[str, Any]) -> None:
    asked = " ".join(target["expr"] for target in targets(dashboard))
    for name in (
        "records_total",
        "event_to_accepted_seconds",
        "window_objective_seconds",
        "backlog_files",
        "source_newest_hour_timestamp_seconds",
        "window_deadline_timestamp_seconds",
        "requests_total",
        "quarantine_entries",
        "budget_spent_events",
    ):
        assert f"braze_etl_{name}" in asked


def test_every_query_is_valid(dashboard: dict[str, Any], tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        print("skipped: promtool is not here (Debian package prometheus); queries were not parsed")
        pytest.skip("promtool is not here (Debian package prometheus)")
    rules = [
        {"record": f"q{number}", "expr": target["expr"].replace("$__rate_interval", "15m")}
        for number, target in enumerate(targets(dashboard))
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    checked = subprocess.run(
        [promtool, "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
