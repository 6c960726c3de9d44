from __future__ import annotations

from typing import get_args

import pytest

from braze_etl.mapping.presets import load_preset
from braze_etl.mapping.settings import MappingSection

PRESETS = get_args(MappingSection.model_fields["preset"].annotation)


@pytest.mark.parametrize("name", PRESETS)
def test_a_type_is_listed_once_and_its_groups_exist(name: str) -> None:
    preset = load_preset(name)
    assert not preset.documented.keys() & preset.undocumented.keys()
    for entry in [*preset.documented.values(), *preset.undocumented.values()]:
        assert set(entry.groups) <= preset.field_groups.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_every_documented_type_has_a_title_and_no_two_share_one(name: str) -> None:
    titles = [entry.title for entry in load_preset(name).documented.values()]
    assert None not in titles
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", PRESETS)
def test_no_field_is_both_dropped_and_listed(name: str) -> None:
    preset = load_preset(name)
    for event_type, entry in preset.documented.items():
        assert not entry.drop & preset.known_fields(entry), event_type
        assert not preset.never_properties & preset.known_fields(entry), event_type


def test_a_type_without_a_list_knows_what_any_type_knows() -> None:
    preset = load_preset("native")
    assert preset.known_fields(preset.undocumented["users.messages.survey.Response"]) == preset.all_fields
    assert {"campaign_id", "retry_log", "email_address"} <= preset.all_fields
