"""Alert rules: what they ask for exists, they fire when they should, and each leads to its runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.queries import problems_of

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks.md"
PAGES = {"BrazeEtlKeyRefused", "BrazeEtlNoSuccessfulRun", "BrazeEtlObjectiveAtRisk"}


@pytest.fixture
def rules(configs: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((configs / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def headings() -> set[str]:
    """The anchors of the runbooks' headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_only_three_alerts_page(rules: list[dict[str, Any]]) -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules}
    assert {name for name, severity in severities.items() if severity == "page"} == PAGES
    assert set(severities.values()) == {"page", "ticket"}


def test_each_alert_leads_to_a_section_of_the_runbooks(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        document, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert document == "docs/runbooks.md"
        assert anchor == rule["alert"].lower()
        assert anchor in headings()
        assert rule["annotations"]["summary"]


def test_there_is_a_runbook_for_each_exit_code() -> None:
    for code in (0, 1, 2, 3, 4, 5, 6, 11, 130, 143):
        assert any(re.match(rf"exit-(\d+-and-)?{code}\b", anchor) for anchor in headings()), code


def test_alerts_ask_for_metrics_and_labels_that_exist(rules: list[dict[str, Any]]) -> None:
    problems = [problem for rule in rules for problem in problems_of(rule["expr"])]
    assert problems == []


def test_alerts_fire_when_they_should(configs: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        print("skipped: promtool is not here (Debian package prometheus); the alert rules were not tried")
        pytest.skip("promtool is not here (Debian package prometheus)")
    tried = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yaml"],
        cwd=configs,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_each_alert_is_tried(configs: Path, rules: list[dict[str, Any]]) -> None:
    tests = yaml.safe_load((configs / "alerts_test.yaml").read_text())["tests"]
    tried = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", [])
        if case.get("exp_alerts")
    }
    assert tried == {rule["alert"] for rule in rules}
