from __future__ import annotations

from math import inf, nan
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Outcome, Reason, Record, Verdict

HOUR = 1_790_000_000.0
OPEN = "users.messages.email.Open"
CUSTOM = "users.behaviors.CustomEvent"
PURCHASE = "users.behaviors.Purchase"


def test_an_event_has_its_keys_in_a_fixed_order(transform: Any, record: Record) -> None:
    purchase = record | {
        "price": 19.99, "product_id": "sku-1", "currency": "EUR", "properties": '{"size": "M"}',
        "ad_id": "ad-1", "ad_id_type": "google_ad_id", "campaign_name": None,
    }  # fmt: skip
    event = transform(PURCHASE, purchase)
    assert event == {
        "user_id": "customer-0001",
        "device_id": "device-0001",
        "event_type": "[Appboy] Purchase",
        "time": 1_790_000_123_000,
        "insert_id": record["id"],
        "library": "Braze",
        "price": 19.99,
        "productId": "sku-1",
        "adid": "ad-1",
        "event_properties": {
            "currency": "EUR", "ad_id": "ad-1", "ad_id_type": "google_ad_id", "[Purchase property] size": "M",
        },
    }  # fmt: skip
    assert list(event) == [
        "user_id", "device_id", "event_type", "time", "insert_id", "library", "price", "productId", "adid",
        "event_properties",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "key"),
    [("google_ad_id", "adid"), ("ios_idfa", "idfa"), ("roku_ad_id", None), (None, None), (["x"], None)],
)
def test_the_advertising_id_goes_under_the_key_of_its_type(
    transform: Any, record: Record, kind: Any, key: str | None
) -> None:
    event = transform("users.behaviors.Location", record | {"ad_id": "ad-1", "ad_id_type": kind})
    assert {name for name in ("adid", "idfa") if name in event} == ({key} if key else set())
    assert event["event_properties"]["ad_id"] == "ad-1"


def test_a_null_advertising_id_sets_nothing(transform: Any, record: Record) -> None:
    event = transform("users.behaviors.Location", record | {"ad_id": None, "ad_id_type": "ios_idfa"})
    assert "idfa" not in event


def test_a_custom_event_is_named_by_its_field_and_its_properties_are_spread(
    transform: Any, record: Record
) -> None:
    custom = record | {
        "name": "Signed up",
        "properties": '{"plan": "pro", "ref": null}',
        "campaign_name": None,
    }
    event = transform(CUSTOM, custom)
    assert event["event_type"] == "[Appboy] [Custom Event] Signed up"
    assert event["event_properties"] == {"[Custom event property] plan": "pro"}


def test_bad_json_goes_whole_under_properties(transform: Any, record: Record) -> None:
    event = transform(CUSTOM, record | {"name": "Signed up", "properties": "plan=pro"})
    assert event["event_properties"]["properties"] == "plan=pro"


def test_price_and_product_are_lifted_for_purchases_only(transform: Any, record: Record) -> None:
    event = transform("users.messages.kakao.Send", record | {"price": 1.5, "product_id": "sku-1"})
    assert "price" not in event
    assert event["event_properties"] == {"campaign_name": "Autumn sale", "price": 1.5, "product_id": "sku-1"}


def test_a_purchase_without_price_has_none(transform: Any, record: Record) -> None:
    event = transform(PURCHASE, record | {"price": None, "product_id": None})
    assert not {"price", "productId"} & event.keys()


def test_null_fields_are_left_out_and_false_zero_and_empty_are_kept(transform: Any, record: Record) -> None:
    event = transform(OPEN, record | {"is_amp": False, "send_time": 0, "user_agent": "", "ip_pool": None})
    assert event["event_properties"] == {
        "campaign_name": "Autumn sale", "is_amp": False, "send_time": 0, "user_agent": "",
    }  # fmt: skip


def test_a_new_type_and_its_new_fields_go_by_rule(transform: Any, record: Record) -> None:
    fields = {"kakao_channel": "news", "timezone": "Asia/Seoul", "content_card_id": "card-1", "codes": ["a"]}
    event = transform("users.messages.kakao.LinkClick", record | fields)
    assert event["event_type"] == "[Appboy] Kakao Link Click"
    assert event["event_properties"] == {
        "campaign_name": "Autumn sale", "kakao_channel": "news", "card_id": "card-1", "codes": ["a"],
    }  # fmt: skip


def test_withheld_types_are_filtered_with_what_to_do_about_it(transform: Any, record: Record) -> None:
    outcome = transform("users.UserOrphan", record)
    assert outcome.reason is Reason.NOT_IN_NATIVE
    assert "mapping.send" in outcome.detail
    assert isinstance(transform("users.UserOrphan", record, send=("users.User*",)), dict)


def test_held_types_are_filtered(transform: Any, record: Record) -> None:
    assert transform("users.messages.kakao.Send", record, unknown_types="hold").reason is Reason.HELD


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"time": None}, "time"),
        ({"time": "now"}, "time"),
        ({"time": True}, "time"),
        ({"time": nan}, "time"),
        ({"time": -5}, "time"),
        ({"duration": inf}, "duration"),
        ({"never_seen": nan}, "never_seen"),
        ({"timezone": -inf}, "timezone"),
    ],
)
def test_a_record_that_makes_no_event_is_quarantined_and_its_field_named(
    transform: Any, record: Record, fields: Record, word: str
) -> None:
    outcome = transform(OPEN, record | fields)
    assert outcome.reason is Reason.INVALID_EVENT
    assert outcome.detail.startswith(word)


def test_a_missing_id_or_time_is_like_a_null_one(transform: Any, record: Record) -> None:
    for field in ("id", "time"):
        short = {name: value for name, value in record.items() if name != field}
        assert transform(OPEN, short).reason is Reason.INVALID_EVENT


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_custom_event_without_a_name_is_quarantined(transform: Any, record: Record, name: Any) -> None:
    outcome = transform(CUSTOM, record | {"name": name})
    assert outcome.reason is Reason.INVALID_EVENT
    assert outcome.detail.startswith("name")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"external_user_id": None, "device_id": None, "id": None}, Reason.NO_IDENTITY),
        ({"external_user_id": "[REDACTED]", "id": None}, Reason.REDACTED_IDENTITY),
        ({"external_user_id": "null", "id": None}, Reason.INVALID_USER_ID),
        ({"external_user_id": None, "device_id": "null", "id": None}, Reason.INVALID_DEVICE_ID),
    ],
)
def test_identity_is_judged_before_the_rest_of_the_event(
    transform: Any, record: Record, fields: Record, reason: Reason
) -> None:
    assert transform(OPEN, record | fields).reason is reason


def test_left_out_device_ids_are_counted_once_for_each_event(mapping: EventMapping, record: Record) -> None:
    mapper = mapper_for(mapping.plan(OPEN))
    for device in ("unknown", "[REDACTED]", "device-1", None):
        mapper(record | {"device_id": device}, HOUR)
    mapper(record | {"device_id": "unknown", "id": None}, HOUR)
    assert mapper.repairs == {"device_id_left_out": 2}


def test_a_shorter_minimum_lets_shorter_ids_through(transform: Any, record: Record) -> None:
    short = record | {"external_user_id": "ann"}
    assert transform(OPEN, short).reason is Reason.INVALID_USER_ID
    assert transform(OPEN, short, min_id_length=3)["user_id"] == "ann"


def test_brazes_own_id_serves_as_device_on_request(transform: Any, record: Record) -> None:
    anonymous = record | {"external_user_id": None, "device_id": ""}
    assert transform(OPEN, anonymous).reason is Reason.NO_IDENTITY
    event = transform(OPEN, anonymous, identity={"anonymous": "braze_id"})
    assert event["device_id"] == "braze:64d2f0c1a2b3c4d5e6f70819"
    assert "user_id" not in event


def test_the_record_is_left_as_it_was(transform: Any, record: Record) -> None:
    custom = record | {"name": "Signed up", "properties": '{"a": 1}'}
    before = dict(custom)
    transform(CUSTOM, custom)
    assert custom == before


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["[REDACTED]", "null", "12345qwert", "f1234", "x-api", "google_ad_id", '{"a": [1, null]}', "{"]
    ),
)
FIELDS = st.one_of(
    st.sampled_from([
        "id", "time", "user_id", "external_user_id", "device_id", "name", "properties", "price", "product_id",
        "ad_id", "ad_id_type", "send_id", "dispatch_id", "timezone", "campaign_name", "content_card_id",
    ]),
    st.text(max_size=12),
)  # fmt: skip
RECORDS = st.dictionaries(FIELDS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=12)
SOUND = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=40),
        "time": st.one_of(st.integers(0, 2**32), st.floats(0, 2**32)),
        "external_user_id": st.text(min_size=3, max_size=40),
        "name": st.text(min_size=1),
    }
)
PLANS = [
    EventMapping.load(options).plan(event_type)
    for options in (
        MappingSection(),
        MappingSection(identity={"anonymous": "braze_id"}, unknown_fields="drop", send=("*",)),
    )
    for event_type in (
        OPEN,
        CUSTOM,
        PURCHASE,
        "users.UserOrphan",
        "users.messages.line.Send",
        "users.kakao.Send",
    )
]
MAPPERS = [mapper_for(plan) for plan in PLANS]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MAPPERS), RECORDS, st.one_of(st.just({}), SOUND), st.floats(0, 4e9))
def test_any_record_becomes_an_event_that_amplitude_takes_or_a_verdict(
    mapper: Any, record: Record, sound: Record, horizon: float
) -> None:
    outcome = mapper(record | sound, horizon)
    if isinstance(outcome, Verdict):
        assert outcome.reason.outcome in {Outcome.FILTERED, Outcome.QUARANTINED}
        assert outcome.detail
        return
    event = orjson.loads(orjson.dumps(outcome))
    assert {"event_type", "time", "insert_id", "library", "event_properties"} <= event.keys()
    ids = [event[key] for key in ("user_id", "device_id") if key in event]
    assert ids
    refused = mapper.plan.identity.refused
    assert all(5 <= len(value) <= 1024 and value.lower() not in refused for value in ids)
    assert "[REDACTED]" not in ids
    assert isinstance(event["time"], int)
    assert 0 <= event["time"] < 253_402_300_800_000
    assert event["insert_id"]
    assert None not in event["event_properties"].values()
