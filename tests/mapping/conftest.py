"""Records, mappings and the reference tables for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.config.yaml import YamlReader
from braze_etl.mapping.identity import People
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Event, Record, Verdict

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
HOUR = 1_790_000_000.0

Table: TypeAlias = dict[str, dict[str, Any]]
Transform: TypeAlias = Callable[..., Event | Verdict]


def _table(name: str) -> Table:
    path = REFERENCE / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout (../shared/reference)")
    table: Table = json.loads(path.read_text(encoding="utf-8"))
    return table


@pytest.fixture(scope="session")
def native() -> Table:
    """What the connector's documentation says of each event type."""
    return _table("native-mapping.json")


@pytest.fixture(scope="session")
def catalogue() -> Table:
    """The event types of Currents and their fields: name -> [Avro type, nullable, note]."""
    return _table("currents-events.json")


@pytest.fixture(scope="session")
def mapping() -> EventMapping:
    """The native preset on its defaults."""
    return EventMapping.load(MappingSection())


@pytest.fixture
def record() -> Record:
    """A record with all that an event needs and one property."""
    return {
        "id": "0a1b2c3d-0000-4000-8000-00000000000a",
        "time": 1_790_000_123,
        "user_id": "64d2f0c1a2b3c4d5e6f70819",
        "external_user_id": "customer-0001",
        "device_id": "device-0001",
        "campaign_name": "Autumn sale",
    }


@pytest.fixture
def transform() -> Transform:
    """Map one record of a type: `transform(event_type, record, horizon=..., **options)`."""

    def run(
        event_type: str, record: Record, *, horizon: float = HOUR, min_id_length: int = 5, **options: Any
    ) -> Event | Verdict:
        mapping = EventMapping.load(MappingSection(**options), min_id_length=min_id_length)
        plan = mapping.plan(event_type)
        return mapper_for(plan)(record, horizon)

    return run


@pytest.fixture
def mapped(record: Record) -> Transform:
    """Map a record by a mapping as it is written: `mapped(text, event_type, fields, people=None)`."""

    def run(text: str, event_type: str, fields: Record, people: People | None = None) -> Event | Verdict:
        options = MappingSection.model_validate(YamlReader().read(text))
        plan = EventMapping.load(options, people).plan(event_type)
        return mapper_for(plan)(record | fields, HOUR)

    return run
