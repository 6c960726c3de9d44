"""What rules cost: an unused rule leaves no trace, and each rule is measured where it leaves one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from braze_etl.flows.currents_to_amplitude.reader import generated_source
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from fixtures.generate import schema_for
from tests.bench import page
from tests.bench.costs import Cost, Costs, mapping_of, measure_rules
from tests.bench.rules import CASES, CUSTOM, OPEN, PUSH, Case
from tests.bench.scenarios import Scale

_OF_A_RULE = re.compile(r"\b(?:choose|find_loop|change_\w+|name_\w+|verdict|filter_first)\b")
_ELSEWHERE: dict[str, dict[str, Any]] = {
    "choose by type": {"choose": {"exclude": ["users.messages.sms.*"]}},
    "choose by condition": {"choose": {"exclude": [{"events": "*.sms.*", "where": {"app_id": "x"}}]}},
    "rules": {
        "rules": [
            {
                "events": "users.messages.sms.*",
                "name": "{title} of {campaign_name:-none}",
                "parse": {"message_extras": "extra "},
                "lift": ["device"],
                "drop": ["send_id"],
                "rename": {"canvas_*": "Canvas {field}"},
                "copy": {"send_id": "Send"},
                "values": {"category": {"help": "HELP"}},
                "set": {"channel": "sms"},
            }
        ]
    },
    "budget and busy ids": {"identity": {"flag_above": 10}},
}


def source(mapping: dict[str, Any], event_type: str) -> str:
    plan = EventMapping.load(MappingSection.model_validate(mapping)).plan(event_type)
    text = generated_source(json.dumps(schema_for(event_type)).encode(), plan)
    assert text is not None
    return text


@pytest.mark.parametrize("event_type", [OPEN, CUSTOM, PUSH])
def test_the_plain_mapping_has_no_name_of_a_rule_in_its_code(event_type: str) -> None:
    assert _OF_A_RULE.findall(source({}, event_type)) == []


@pytest.mark.parametrize("event_type", [OPEN, CUSTOM, PUSH])
@pytest.mark.parametrize("mapping", _ELSEWHERE.values(), ids=_ELSEWHERE)
def test_rules_about_other_types_leave_the_code_as_it_is(mapping: dict[str, Any], event_type: str) -> None:
    assert source(mapping, event_type) == source({}, event_type)


@pytest.mark.parametrize(
    ("mapping", "event_type", "name"),
    [
        ({"choose": {"exclude": [{"where": {"machine_open": "*"}}]}}, OPEN, "choose"),
        ({"loop_guard": {"names": ["x"]}}, CUSTOM, "find_loop"),
        ({"privacy": {"hash": ["platform"], "salt": "salt"}}, PUSH, "change_platform_0"),
    ],
)
def test_a_rule_about_the_type_is_called_by_its_name(
    mapping: dict[str, Any], event_type: str, name: str
) -> None:
    assert name in _OF_A_RULE.findall(source(mapping, event_type))


def test_a_rule_is_measured_where_it_leaves_a_trace(tmp_path: Path) -> None:
    chosen = [
        Case("again", always=True),
        Case("machine opens", {"choose": {"exclude": [{"events": OPEN, "where": {"machine_open": "*"}}]}}),
        Case("a key of a text", {"rules": [{"rename": {"properties.sku": "SKU"}}]}),
    ]
    costs = measure_rules(tmp_path, Scale(10_000, 1), lambda _: None, chosen)
    measured = {name: [shape for shape, cost in by.items() if cost] for name, by in costs.rules.items()}
    assert measured == {
        "again": ["email opens", "custom events", "push sends"],
        "machine opens": ["email opens"],
        "a key of a text": ["custom events"],
    }
    assert min(costs.plain.values()) > 0


@pytest.mark.parametrize(
    "case", [each for each in CASES if "look-up" not in each.name], ids=lambda case: case.name
)
def test_each_rule_of_the_table_is_a_valid_mapping(tmp_path: Path, case: Case) -> None:
    assert mapping_of(case, tmp_path).plan(OPEN).withheld is None


COSTS = Costs({"opens": 7400.0}, {"one": {"opens": Cost(8140.4, 1.1)}, "other": {"opens": None}}, 5000, 15)


def test_a_rule_without_a_trace_is_called_the_same_code() -> None:
    assert page.rules(COSTS).rows == [
        ["the plain native mapping", "1.00", "7,400"],
        ["one", "1.10", "8,140"],
        ["other", "same code", ""],
    ]


def test_the_table_of_rules_alone_takes_its_place_in_the_page_again() -> None:
    before = page.document(
        [page.Table("First", ["a"], [["b"]]), page.Table("Last", ["a"], [["b"]])], ["m"], []
    )
    once = page.with_table(before, page.rules(COSTS))
    assert once.startswith(before)
    assert page.with_table(once, page.rules(COSTS)) == once
    assert page.with_table(once, page.Table("First", ["a"], [["c"]])).count("## First") == 1
