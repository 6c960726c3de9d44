"""Whatever the mapping and the record: an event that Amplitude takes, or a verdict with its words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Outcome, Record, Verdict
from braze_etl.sandbox.amplitude.project import Project
from tests.any_mapping import TYPES, mappings

KEY = "0123456789abcdef0123456789abcdef"
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    [
        "[REDACTED]", "null", "x-api", "f1234", "google_ad_id", "x" * 1100, "\0", "\ud800", "a\0b",
        '{"size": "M", "user": {"phone": "\\ud800"}}', '{"a": [1, null, NaN]}', "{", "[1]", '{"a":' * 500,
        '{"a":' * 500 + "NaN" + "}" * 500, "https://a:b@[x", "https://a:b@c/d?e=f#g",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
FIELDS = st.sampled_from(
    [
        "id", "time", "user_id", "external_user_id", "device_id", "name", "properties", "message_extras",
        "price", "product_id", "ad_id", "ad_id_type", "platform", "os_version", "device_model", "latitude",
        "longitude", "campaign_name", "campaign_id", "email_address", "url", "timezone", "machine_open",
        "new_field",
    ]
)  # fmt: skip
RECORDS = st.dictionaries(FIELDS, VALUES, max_size=12)
SOUND: Record = {"id": "a1", "time": 1_790_000_000, "external_user_id": "customer-3", "name": "ate cake"}
HASHING = EventMapping.load(
    MappingSection.model_validate({"privacy": {"hash": ["external_user_id"], "salt": "s"}})
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mappings(), st.sampled_from(TYPES), RECORDS, st.booleans(), st.floats(0, 4e9))
@example(HASHING, TYPES[0], {"external_user_id": "half \ud83d"}, True, 0.0)
def test_any_record_under_any_mapping_is_taken_by_amplitude_or_has_a_reason(
    mapping: EventMapping, event_type: str, record: Record, is_sound: bool, horizon: float
) -> None:
    outcome = mapper_for(mapping.plan(event_type))({**record, **SOUND} if is_sound else record, horizon)
    if isinstance(outcome, Verdict):
        assert outcome.reason.outcome in {Outcome.FILTERED, Outcome.QUARANTINED}
        assert outcome.detail
        return
    mend_event(outcome, Counter())
    assert None not in outcome["event_properties"].values()
    shortest = {"min_id_length": mapping.min_id_length}
    body: dict[str, Any] = {"api_key": KEY, "events": [outcome], "options": shortest}
    reply = Project(api_key=KEY).ingest("/batch", orjson.dumps(body, option=orjson.OPT_STRICT_INTEGER))
    assert reply.status == 200, reply.body


@settings(max_examples=60, deadline=None)
@given(mappings(), st.sampled_from(TYPES), RECORDS)
def test_a_record_stays_as_it_was_and_the_same_one_gives_the_same_event(
    mapping: EventMapping, event_type: str, record: Record
) -> None:
    whole = {**record, **SOUND}
    before = repr(whole)
    mapper = mapper_for(mapping.plan(event_type))
    first = repr(mapper(whole, 0.0))
    assert repr(mapper(whole, 0.0)) == first
    assert repr(whole) == before
