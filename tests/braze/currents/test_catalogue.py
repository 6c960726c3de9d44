from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from braze_etl.braze.currents.catalogue import EventType, load_catalogue

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "currents-events.json"
AVRO_TYPES = {"string", "int", "long", "float", "boolean", "array<string>", "array<null|string>"}


@pytest.fixture(scope="module")
def reference() -> dict[str, dict[str, Any]]:
    if not REFERENCE.exists():
        pytest.skip(f"the reference list {REFERENCE.name} is not beside this checkout")
    return cast("dict[str, dict[str, Any]]", json.loads(REFERENCE.read_text()))


def status_of(text: str) -> str:
    return "announced" if "announced" in text else text.split(maxsplit=1)[0]


def test_the_catalogue_has_the_types_of_the_reference_list(reference: dict[str, dict[str, Any]]) -> None:
    assert set(load_catalogue()) == set(reference)


def test_category_channel_and_status_are_those_of_the_reference_list(
    reference: dict[str, dict[str, Any]],
) -> None:
    ours = {name: (kind.category, kind.channel, kind.status) for name, kind in load_catalogue().items()}
    theirs = {
        name: (entry["category"], entry.get("channel"), status_of(entry["status"]))
        for name, entry in reference.items()
    }
    assert ours == theirs


def test_every_field_has_the_type_of_the_reference_list(reference: dict[str, dict[str, Any]]) -> None:
    for name, kind in load_catalogue().items():
        ours = {key: (value.avro, value.nullable) for key, value in kind.fields.items()}
        theirs = {key: (avro, nullable) for key, (avro, nullable, _) in reference[name]["fields"].items()}
        assert ours == theirs, name


def test_personal_fields_are_those_that_the_reference_list_calls_so(
    reference: dict[str, dict[str, Any]],
) -> None:
    ours = {(name, key) for name, kind in load_catalogue().items() for key, f in kind.fields.items() if f.pii}
    theirs = {
        (name, key)
        for name, entry in reference.items()
        for key, (_, _, description) in entry["fields"].items()
        if description.startswith("PII")
    }
    assert ours == theirs


def test_only_current_types_have_fields_and_all_of_them_can_be_identified() -> None:
    for name, kind in load_catalogue().items():
        assert bool(kind.fields) == (kind.status == "current"), name
        if kind.fields:
            assert {"id", "time"} <= set(kind.fields), name
            assert {f.avro for f in kind.fields.values()} <= AVRO_TYPES, name


def test_types_and_fields_come_in_the_order_of_their_names() -> None:
    catalogue = load_catalogue()
    assert list(catalogue) == sorted(catalogue)
    for kind in catalogue.values():
        assert list(kind.fields) == sorted(kind.fields), kind.name


def test_the_catalogue_is_shared_and_can_not_be_changed() -> None:
    catalogue = cast("dict[str, EventType]", load_catalogue())
    assert catalogue is load_catalogue()
    with pytest.raises(TypeError):
        catalogue["users.Invented"] = catalogue["users.UserOrphan"]
