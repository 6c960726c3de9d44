"""What must not travel: `privacy.drop` and `privacy.hash`, and that nothing goes around them."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest

from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.privacy import WithoutQuery
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Event, Record, Verdict

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))
HOUR = 1_790_000_000.0
OPEN = "users.messages.email.Open"
CLICK = "users.messages.email.Click"
PUSH = "users.messages.pushnotification.Send"
CUSTOM = "users.behaviors.CustomEvent"
PURCHASE = "users.behaviors.Purchase"
LOCATION = "users.behaviors.Location"
MAIL = "ann@people.example"


def sha(text: str, salt: str = "s") -> str:
    return hashlib.sha256((salt + text).encode()).hexdigest()


def said(event: Event | Verdict) -> str:
    """The whole of an event, as it travels."""
    assert isinstance(event, dict), event
    return orjson.dumps(event).decode()


CUSTOM_MAIL = {"name": "joined", "properties": json.dumps({"email_address": MAIL, "plan": "pro"})}
INNER = f'{{"user": {{"email_address": "{MAIL}"}}}}'
WAYS: list[tuple[str, str, Record]] = [
    ("", OPEN, {"email_address": MAIL}),
    ("preset: raw", OPEN, {"email_address": MAIL}),
    ("rules: [{add: ['*']}]", OPEN, {"email_address": MAIL}),
    ("rules: [{copy: {email_address: to}}]", OPEN, {"email_address": MAIL}),
    ("rules: [{rename: {email_address: to}}]", OPEN, {"email_address": MAIL}),
    ("rules: [{values: {email_address: {x: y}}}]", OPEN, {"email_address": MAIL}),
    ("rules: [{name: 'To {email_address:-nobody}'}]", OPEN, {"email_address": MAIL}),
    ("fields: [work_email_address]", OPEN, {"work_email_address": MAIL}),
    ("", CUSTOM, CUSTOM_MAIL),
    ("preset: raw", CUSTOM, CUSTOM_MAIL),
    ("rules: [{copy: {properties.email_address: to}}]", CUSTOM, CUSTOM_MAIL),
    ("rules: [{values: {properties.email_address: {x: y}}}]", CUSTOM, CUSTOM_MAIL),
    ("", CUSTOM, {"name": "n", "properties": INNER}),
    ("", CUSTOM, {"name": "n", "properties": f'{{"users": [{{"email_address": "{MAIL}"}}]}}'}),
    ("", CUSTOM, {"name": "n", "properties": f'{{"Email_Address": "{MAIL}"}}'}),
    ("preset: raw", CUSTOM, {"name": "n", "properties": f'{{"users": [{{"email_address": "{MAIL}"}}]}}'}),
    ("rules: [{copy: {properties.user: u}}]", CUSTOM, {"name": "n", "properties": INNER}),
    ("rules: [{values: {properties.user: {x: y}}}]", CUSTOM, {"name": "n", "properties": INNER}),
    ("", CUSTOM, {"name": "n", "properties": f'{{"email_address": "{MAIL}", "ratio": NaN}}'}),
    ("", CUSTOM, {"name": "n", "properties": f'{{"email_address": "{MAIL}"'}),
    ("preset: raw", CUSTOM, {"name": "n", "properties": f'{{"email_address": "{MAIL}"'}),
    ("", PUSH, {"message_extras": f'{{"email_address": "{MAIL}"}}'}),
    ("rules: [{parse: {message_extras: ''}}]", PUSH, {"message_extras": f'{{"email_address": "{MAIL}"}}'}),
    ("rules: [{parse: {message_extras: ''}}]", PUSH, {"message_extras": f"email_address={MAIL}"}),
]  # fmt: skip


@pytest.mark.parametrize(("mapping", "event_type", "fields"), WAYS)
@pytest.mark.parametrize(
    "privacy", ["{drop: [email_address, work_*]}", "{drop: '*email_address'}", "{drop: pii}"]
)
def test_what_is_dropped_is_nowhere_in_the_event(
    mapped: Any, mapping: str, event_type: str, fields: Record, privacy: str
) -> None:
    inner = mapping.removeprefix("{").removesuffix("}")
    assert MAIL in said(mapped(f"{{{inner}}}", event_type, fields))
    event = mapped(f"{{{inner}, privacy: {privacy}}}" if inner else f"privacy: {privacy}", event_type, fields)
    assert MAIL not in said(event)


@pytest.mark.parametrize(("mapping", "event_type", "fields"), WAYS)
def test_what_is_hashed_is_nowhere_in_the_event(
    mapped: Any, mapping: str, event_type: str, fields: Record
) -> None:
    section = "privacy: {hash: ['*email_address'], salt: s}"
    event = mapped(f"{{{mapping}, {section}}}" if mapping else section, event_type, fields)
    assert MAIL not in said(event)


def test_what_is_not_private_beside_it_still_travels(mapped: Any) -> None:
    user = f'{{"email_address": "{MAIL}", "tier": "gold"}}'
    text = f'{{"user": {user}, "tags": [{{"phone": 1, "a": 2}}, "x"]}}'
    fields = {"name": "n", "properties": text, "campaign_name": None}
    clean = {"user": {"tier": "gold"}, "tags": [{"a": 2}, "x"]}
    native = mapped("privacy: {drop: pii}", CUSTOM, fields)
    assert native["event_properties"] == {f"[Custom event property] {key}": clean[key] for key in clean}
    raw = mapped("{preset: raw, privacy: {drop: pii}}", CUSTOM, fields)
    assert json.loads(raw["event_properties"]["properties"]) == clean
    hashed = mapped("privacy: {hash: pii, salt: s}", CUSTOM, fields)["event_properties"]
    assert hashed["[Custom event property] user"] == {"email_address": sha(MAIL), "tier": "gold"}
    assert hashed["[Custom event property] tags"] == [{"phone": sha("1"), "a": 2}, "x"]


@pytest.mark.parametrize("name", ["[Promo] seen", "{draft}", "[1"])
def test_the_name_of_a_custom_event_is_no_json_whatever_it_looks_like(mapped: Any, name: str) -> None:
    event = mapped("privacy: {drop: pii}", CUSTOM, {"name": name, "properties": "{}"})
    assert event["event_type"] == f"[Appboy] [Custom Event] {name}"


@pytest.mark.parametrize(
    ("privacy", "text", "properties"),
    [
        ("{drop: properties.plan}", '{"plan": "pro", "size": "M"}', {"size": "M"}),
        ("{drop: properties.p*}", '{"plan": "pro", "size": "M"}', {"size": "M"}),
        ("{drop: properties}", '{"plan": "pro", "size": "M"}', {}),
        ("{hash: properties.plan, salt: s}", '{"plan": "pro", "a": 1}', {"plan": sha("pro"), "a": 1}),
        ("{hash: properties, salt: s}", '{"plan": "pro"}', {"properties": sha('{"plan": "pro"}')}),
        ("{drop: properties.user.name}", '{"user": {"name": "Ann", "age": 7}}', {"user": {"age": 7}}),
        ("{drop: 'properties.[x] y'}", '{"[x] y": 1, "x y": 2}', {"x y": 2}),
        ("{drop: pii}", '{"plan": "pro", "email": "a", "Phone": "b", "Last_Name": "c"}', {"plan": "pro"}),
    ],
)  # fmt: skip
def test_keys_of_a_json_text_are_private_by_their_path(
    mapped: Any, privacy: str, text: str, properties: Record
) -> None:
    event = mapped(f"privacy: {privacy}", CUSTOM, {"name": "n", "properties": text, "campaign_name": None})
    prefix = "[Custom event property] "
    assert {key.removeprefix(prefix): value for key, value in event["event_properties"].items()} == properties


PERSONAL = {
    "email_address", "channel_identifier", "native_line_id", "bsuid", "home_city", "phone_number",
    "to_phone_number", "user_phone_number", "inbound_phone_number", "push_token", "push_to_start_token",
    "update_token", "push_token_device_id", "ad_id", "latitude", "longitude", "altitude", "first_name",
    "last_name", "dob", "gender", "custom_attributes", "message_body", "message_extras", "quick_reply_text",
    "flow_response_json", "media_urls", "input", "output", "tool_arguments", "raw_response", "abort_log",
    "retry_log", "bounce_reason", "deferral_reason", "error",
}  # fmt: skip
"""Of the fields of the catalogue, what tells who somebody is, where they are, or what they said."""


def raw_values(event_type: str, record: Record) -> Record:
    """The record with a value in each personal field that can be told from all others."""
    fields: Record = {name: f"secret of {name}" for name in PERSONAL & record.keys()}
    fields |= {name: f"https://x.example/{name}?secret=1#secret" for name in record if name.endswith("url")}
    numbers = ("latitude", "longitude", "altitude")
    fields |= {name: 12.345678 for name in numbers if name in record}
    if event_type in (CUSTOM, PURCHASE):
        fields["properties"] = (
            '{"first_name": "secret", "sub": [{"latitude": 12.345678, "url": "/a?secret"}]}'
        )
    return {**record, "external_user_id": "customer-0001", **fields}


@cache
def hiding(preset: str, way: str) -> EventMapping:
    """A mapping that hides the group, and does with the rest whatever could bring it back."""
    rule = {"add": "*", "lift": ["device", "location"], "copy": {"email_address": "to"}}
    sections = {"privacy": {way: "pii", "salt": "s"}, "rules": [rule]}
    return EventMapping.load(MappingSection.model_validate({"preset": preset, "send": "*", **sections}))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_nothing_of_the_group_pii_is_in_any_event(path: Path) -> None:
    record = raw_values(path.stem, json.loads(path.read_text(encoding="utf-8"))["record"])
    for preset, way in product(("native", "raw"), ("drop", "hash")):
        event = said(mapper_for(hiding(preset, way).plan(path.stem))(record, HOUR))
        assert "secret" not in event
        assert "12.345678" not in event
        assert "adid" not in event


URLS = [
    ("https://shop.example/a?b=1#c", "https://shop.example/a"),
    ("https://ann:pw@shop.example:8443/a?b=1", "https://shop.example:8443/a"),
    ("https://shop.example", "https://shop.example"),
    ("/path?b=1", "/path"),
    ("myapp://open/7?b=1", "myapp://open/7"),
    (f"mailto:{MAIL}?subject=x", "mailto:"),
    ("tel:+491701234567", "tel:"),
    ("https://ann:pw@[x/?b", None),
    ("no url", "no url"),
    ("", ""),
    (7, 7),
    (["/a?b", None, "/c"], ["/a", None, "/c"]),
]


@pytest.mark.parametrize(("url", "sent"), URLS)
def test_of_an_address_only_the_place_is_left(url: Any, sent: Any) -> None:
    assert WithoutQuery()(url) == sent


def test_pii_takes_the_query_from_urls_and_sends_the_rest(mapped: Any) -> None:
    fields = {"url": f"https://shop.example/a?to={MAIL}", "campaign_name": "A"}
    event = mapped("privacy: {drop: pii}", CLICK, fields)
    assert event["event_properties"] == {"url": "https://shop.example/a", "campaign_name": "A"}
    event = mapped("privacy: {drop: [pii, url]}", CLICK, fields)
    assert event["event_properties"] == {"campaign_name": "A"}


def test_a_hash_is_of_salt_and_value_as_text(mapped: Any) -> None:
    fields = {
        "email_address": MAIL,
        "is_amp": True,
        "send_time": 7,
        "codes": ["a", None],
        "campaign_name": None,
    }
    hashed = mapped("privacy: {hash: [email_address, is_amp, send_time, codes], salt: s}", OPEN, fields)
    assert hashed["event_properties"] == {
        "email_address": sha(MAIL), "is_amp": sha("true"), "send_time": sha("7"), "codes": [sha("a"), None],
    }  # fmt: skip
    other = mapped("privacy: {hash: email_address, salt: t}", OPEN, fields)
    assert other["event_properties"]["email_address"] == sha(MAIL, "t")


def test_what_is_named_twice_is_dropped(mapped: Any) -> None:
    event = mapped("privacy: {drop: email_address, hash: pii, salt: s}", OPEN, {"email_address": MAIL})
    assert "email_address" not in event["event_properties"]


def test_a_hash_may_stand_in_a_name(mapped: Any) -> None:
    private = "privacy: {hash: [email_address, name], salt: s}"
    mapping = f"{{{private}, rules: [{{name: '{{name_before}} {{email_address:-}}'}}]}}"
    event = mapped(mapping, CUSTOM, {"name": "ate", "email_address": MAIL})
    assert event["event_type"] == f"[Appboy] [Custom Event] {sha('ate')} {sha(MAIL)}"


def test_ids_may_be_hashed_and_are_good_ids_then(mapped: Any) -> None:
    private = "privacy: {hash: [external_user_id, device_id], salt: s}"
    mapping = f"{{{private}, identity: {{user_prefix: p., lower_case: true}}}}"
    event = mapped(mapping, OPEN, {"external_user_id": "Customer-1"})
    assert event["user_id"] == sha("p.customer-1")
    assert event["device_id"] == sha("device-0001")
    assert "customer-1" not in said(event).lower()
    anonymous = mapped(
        "{privacy: {hash: device_id, salt: s}, identity: {anonymous: braze_id}}",
        OPEN,
        {"external_user_id": None, "device_id": None},
    )
    assert anonymous["device_id"] == sha("braze:64d2f0c1a2b3c4d5e6f70819")


@pytest.mark.parametrize(
    "privacy", ["{drop: ad_id}", "{hash: ad_id, salt: s}", "{drop: pii}", "{hash: pii, salt: s}"]
)
def test_a_private_advertising_id_is_not_sent_at_the_top_either(mapped: Any, privacy: str) -> None:
    fields = {"ad_id": "ad-0001", "ad_id_type": "google_ad_id"}
    assert mapped("", LOCATION, fields)["adid"] == "ad-0001"
    event = mapped(f"privacy: {privacy}", LOCATION, fields)
    assert "adid" not in event
    assert "ad-0001" not in said(event)


def test_a_private_price_is_not_at_the_top_and_not_a_property(mapped: Any) -> None:
    event = mapped("privacy: {drop: [price, product_id]}", PURCHASE, {"price": 9.5, "product_id": "sku-1"})
    assert "9.5" not in said(event)
    assert "sku-1" not in said(event)


def test_conditions_see_what_braze_wrote(mapped: Any) -> None:
    mapping = (
        "{privacy: {drop: email_address}, choose: {exclude: [{where: {email_address: '*@people.example'}}]}}"
    )
    assert isinstance(mapped(mapping, OPEN, {"email_address": MAIL}), Verdict)
    assert isinstance(mapped(mapping, OPEN, {"email_address": "bo@other.example"}), dict)


def test_the_salt_is_in_no_words_about_the_mapping() -> None:
    options = MappingSection.model_validate({"privacy": {"hash": "pii", "salt": "very-secret"}})
    mapping = EventMapping.load(options)
    plan = mapping.plan(OPEN)
    for text in (repr(options), str(options.as_dict()), repr(plan), mapping.fingerprint):
        assert "very-secret" not in text


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("privacy: {drop: pii}\nrules: [{name: 'E {properties:-x}'}]", CUSTOM_MAIL),
        ("privacy: {drop: properties.email_address}\nrules: [{name: 'E {properties:-x}'}]", CUSTOM_MAIL),
        ("privacy: {drop: pii}", {"name": "a", "properties": f'{{"page_url": {{"to": "{MAIL}"}}}}'}),
        ("privacy: {drop: pii}", {"name": "a", "properties": f'{{"urls_url": [{{"email": "{MAIL}"}}]}}'}),
        ("privacy: {drop: pii}", {"name": "a", "properties": f'{{"userEmail": "{MAIL}"}}'}),
        ("privacy: {drop: pii}", CUSTOM_MAIL | {"brand_new": f' {{"email_address": "{MAIL}"}}'}),
        ("privacy: {drop: pii}", CUSTOM_MAIL | {"brand_new": f'[{{"email_address": "{MAIL}"}}]'}),
        (
            "privacy: {drop: pii}\nfields: brand_new\nrules: [{parse: {brand_new: 'b '}}]",
            CUSTOM_MAIL | {"brand_new": f'[{{"email_address": "{MAIL}"}}]'},
        ),
    ],
)
def test_no_json_carries_a_private_key_out(text: str, fields: Record, mapped: Any) -> None:
    event = mapped(text.replace("{drop: pii}", "{drop: pii, salt: s}"), CUSTOM, fields)
    assert MAIL not in said(event)


def test_a_new_text_that_only_looks_like_one_is_sent_as_it_is(mapped: Any) -> None:
    event = mapped("privacy: {drop: pii}", CUSTOM, {"name": "a", "properties": "{}", "mood": "fine"})
    assert event["event_properties"]["mood"] == "fine"
