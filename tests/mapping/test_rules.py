"""What the rules of a mapping do to names and properties, as they are written."""

from __future__ import annotations

from typing import Any

import pytest

from braze_etl.model import Event, Reason, Record, Verdict

OPEN = "users.messages.email.Open"
PUSH = "users.messages.pushnotification.Open"
CUSTOM = "users.behaviors.CustomEvent"
PURCHASE = "users.behaviors.Purchase"
LOCATION = "users.behaviors.Location"
SESSION_END = "users.behaviors.app.SessionEnd"
SESSION = "users.behaviors.app.SessionStart"

CAMPAIGN = "rules: [{name: '{campaign_name:-no campaign} opened'}]"
DURATION = "rules: [{name: 'x {duration:-?}'}]"
CAKE = {"name": "ate cake", "platform": None}
NAMES: list[tuple[str, str, Record, str]] = [
    ("", OPEN, {}, "[Appboy] Email Open"),
    ("preset: raw", OPEN, {}, OPEN),
    ("rules: [{name: 'Mail: {title}'}]", OPEN, {}, "Mail: Email Open"),
    ("rules: [{name: '{name_before} (Braze)'}]", OPEN, {}, "[Appboy] Email Open (Braze)"),
    ("rules: [{name: '{event_type}'}]", OPEN, {}, OPEN),
    (CAMPAIGN, OPEN, {"campaign_name": "A"}, "A opened"),
    (CAMPAIGN, OPEN, {"campaign_name": None}, "no campaign opened"),
    (CAMPAIGN, OPEN, {"campaign_name": ""}, "no campaign opened"),
    ("rules: [{name: 'Opened{campaign_name:-}'}]", OPEN, {"campaign_name": None}, "Opened"),
    ("rules: [{name: 'x {is_amp:-?}'}]", OPEN, {"is_amp": True}, "x true"),
    (DURATION, SESSION_END, {"duration": 2.5}, "x 2.5"),
    (DURATION, SESSION_END, {"duration": 3}, "x 3"),
    (DURATION, SESSION_END, {"duration": 0}, "x 0"),
    ("rules: [{name: '1 {title}'}, {name: '2 {name_before}'}]", OPEN, {}, "2 1 Email Open"),
    ("rules: [{name: '1 {title}'}, {name: '2 {title}'}]", OPEN, {}, "2 Email Open"),
    (f"rules: [{{events: {PUSH}, name: Pushed}}]", OPEN, {}, "[Appboy] Email Open"),
    ("rules: [{events: engagement, name: Engaged}]", OPEN, {}, "Engaged"),
    ("rules: [{events: behavior, name: Engaged}]", OPEN, {}, "[Appboy] Email Open"),
    ("rules: [{events: ['!behavior'], name: Engaged}]", OPEN, {}, "Engaged"),
    ("rules: [{events: ['*', '!*.email.*'], name: Engaged}]", OPEN, {}, "[Appboy] Email Open"),
    ("", CUSTOM, CAKE, "[Appboy] [Custom Event] ate cake"),
    ("preset: raw", CUSTOM, CAKE, CUSTOM),
    ("rules: [{name: '{title}'}]", CUSTOM, CAKE, "[Custom Event] ate cake"),
    (f"rules: [{{events: {CUSTOM}, name: '{{name}}'}}]", CUSTOM, CAKE, "ate cake"),
    ("rules: [{name: '{platform:-any}: {title}'}]", CUSTOM, CAKE, "any: [Custom Event] ate cake"),
    (CAMPAIGN, OPEN, {"campaign_name": "{title}"}, "{title} opened"),
]


@pytest.mark.parametrize(("mapping", "event_type", "fields", "name"), NAMES)
def test_events_are_called_what_the_last_rule_says(
    mapped: Any, mapping: str, event_type: str, fields: Record, name: str
) -> None:
    assert mapped(mapping, event_type, fields)["event_type"] == name


@pytest.mark.parametrize(
    ("mapping", "name"),
    [
        ("rules: [{events: users.behaviors.CustomEvent, name: '{name}'}]", "[Amplitude] Start Session"),
        ("rules: [{events: users.behaviors.CustomEvent, name: '${name}'}]", "identify"),
        ("rules: [{name: '{campaign_name:-}'}]", "Sale"),
        ("rules: [{name: '[Amplitude] {campaign_name:-}'}]", "Merged User"),
    ],
)
def test_a_name_that_amplitude_would_refuse_is_quarantined(mapped: Any, mapping: str, name: str) -> None:
    campaign = "Merged User" if name == "Merged User" else None
    outcome = mapped(mapping, CUSTOM, {"name": name, "campaign_name": campaign})
    assert outcome.reason is Reason.INVALID_EVENT
    assert "the name " in outcome.detail


PROPERTIES: list[tuple[str, Record, Record]] = [
    ("{add: [timezone]}", {"timezone": "UTC"}, {"timezone": "UTC"}),
    ("{add: ['time*']}", {"timezone": "UTC"}, {"timezone": "UTC"}),
    ("{add: [external_user_id, user_id, id, time, device_id]}", {}, {}),
    ("{keep: [esp, 'send_*']}", {"esp": 1, "send_id": 2, "campaign_id": 3}, {"esp": 1, "send_id": 2}),
    ("{keep: []}", {"esp": 1}, {}),
    ("{drop: ['*_id']}", {"esp": 1, "send_id": 2}, {"esp": 1}),
    ("{drop: ['*'], set: {a: 1}}", {"esp": 1}, {"a": 1}),
    ("{drop: esp}, {add: esp}", {"esp": 1}, {"esp": 1}),
    ("{add: timezone, drop: timezone}", {"timezone": "UTC"}, {}),
    ("{rename: {esp: Provider}}", {"esp": 1}, {"Provider": 1}),
    ("{rename: {'e*': 'c.{field}'}}", {"esp": 1, "send_id": 2}, {"c.esp": 1, "send_id": 2}),
    ("{rename: {'*': 'b {property}'}}", {"content_card_id": 1}, {"b card_id": 1}),
    ("{rename: {'*': 'b {field}'}}", {"content_card_id": 1}, {"b content_card_id": 1}),
    ("{rename: {'*': 'a {property}'}}, {rename: {'*': 'b {property}'}}", {"esp": 1}, {"b a esp": 1}),
    ("{rename: {'*': 'a {property}', esp: 'c {property}'}}", {"esp": 1}, {"c a esp": 1}),
    ("{rename: {timezone: zone}}", {"timezone": "UTC"}, {}),
    ("{copy: {esp: [a, b]}}", {"esp": 1}, {"esp": 1, "a": 1, "b": 1}),
    ("{copy: {timezone: zone}}", {"timezone": "UTC"}, {"zone": "UTC"}),
    ("{copy: {esp: c}, drop: esp}", {"esp": 1}, {"c": 1}),
    ("{copy: {external_user_id: who}}", {}, {"who": "customer-0001"}),
    ("{values: {esp: {ses: SES}}}", {"esp": "ses"}, {"esp": "SES"}),
    ("{values: {esp: {ses: SES}}}", {"esp": "other"}, {"esp": "other"}),
    ("{values: {esp: {ses: SES, '*': rest}}}", {"esp": "other"}, {"esp": "rest"}),
    ("{values: {esp: {'*': null}}}", {"esp": "other"}, {}),
    ("{values: {is_amp: {true: 1, false: 0}}}", {"is_amp": True}, {"is_amp": 1}),
    ("{values: {send_time: {7: seven}}}", {"send_time": 7}, {"send_time": "seven"}),
    ("{values: {codes: {a: A, b: null}}}", {"codes": ["a", "b", "c"]}, {"codes": ["A", "c"]}),
    ("{values: {esp: {ses: SES}}, copy: {esp: c}}", {"esp": "ses"}, {"esp": "SES", "c": "SES"}),
    ("{set: {a: mail, b: 2, on: true, d: 0.5}}", {}, {"a": "mail", "b": 2, "on": True, "d": 0.5}),
    ("{set: {esp: constant}}", {"esp": 1}, {"esp": "constant"}),
    ("{set: {esp: null}}", {"esp": 1}, {"esp": 1}),
    ("{set: {a: 1}}, {set: {a: null}}", {}, {}),
    ("{events: engagement, set: {a: 1}}, {events: behavior, set: {b: 1}}", {}, {"a": 1}),
]


@pytest.mark.parametrize(("rules", "fields", "properties"), PROPERTIES)
def test_properties_are_what_the_rules_make_of_fields(
    mapped: Any, rules: str, fields: Record, properties: Record
) -> None:
    event = mapped(f"rules: [{rules}]", OPEN, {"campaign_name": None, **fields})
    assert event["event_properties"] == properties


@pytest.mark.parametrize(
    "mapping", ["unknown_fields: drop, rules: [{add: [new]}]", "unknown_fields: drop, fields: [new]"]
)
def test_a_new_field_is_sent_when_it_is_named(mapped: Any, mapping: str) -> None:
    event = mapped(f"{{{mapping}}}", OPEN, {"campaign_name": None, "new": 1, "newer": 2})
    assert event["event_properties"] == {"new": 1}


EXTRAS = '{"tier": "gold", "n": 2, "none": null, "a.b": 1, "[x]": 3}'
CART = '{"size": "M", "note": "x"}'
ALL = {"tier": "gold", "n": 2, "a.b": 1, "[x]": 3}
KEYS: list[tuple[str, str, Record]] = [
    ("{parse: {message_extras: 'e '}}", EXTRAS, {"e tier": "gold", "e n": 2, "e a.b": 1, "e [x]": 3}),
    ("{parse: {message_extras: ''}}", EXTRAS, ALL),
    ("{parse: {message_extras: ''}}", "no JSON", {"message_extras": "no JSON"}),
    ("{parse: {message_extras: ''}}", "[1]", {"message_extras": "[1]"}),
    ("{parse: {message_extras: ''}, drop: message_extras.tier}", EXTRAS, {"n": 2, "a.b": 1, "[x]": 3}),
    ("{parse: {message_extras: ''}, drop: 'message_extras.[x]'}", EXTRAS, {"tier": "gold", "n": 2, "a.b": 1}),
    ("{parse: {message_extras: ''}, drop: message_extras}", EXTRAS, {}),
    ("{parse: {message_extras: ''}, drop: message_extras}", "no JSON", {}),
    ("{parse: {message_extras: ''}, drop: 'mess*'}", EXTRAS, {}),
    ("{parse: {message_extras: ''}, drop: '*.n'}", EXTRAS, {"tier": "gold", "a.b": 1, "[x]": 3}),
    (
        "{parse: {message_extras: ''}}, {drop: mess*}, {add: message_extras.n}",
        EXTRAS,
        {"message_extras.n": 2},
    ),
    ("{parse: {message_extras: 'e '}, keep: message_extras.tier}", EXTRAS, {"e tier": "gold"}),
    ("{parse: {message_extras: ''}, keep: message_extras}", EXTRAS, ALL),
    ("{parse: {message_extras: ''}, keep: campaign_id}", EXTRAS, {}),
    ("{parse: {message_extras: ''}, rename: {'*': 'x {field}'}}", '{"a.b": 1}', {"x a.b": 1}),
    ("{parse: {message_extras: 'e '}, rename: {message_extras.n: '{property}!'}}", '{"n": 1}', {"e n!": 1}),
    ("{parse: {message_extras: ''}, copy: {message_extras.n: [m, o]}}", '{"n": 1}', {"n": 1, "m": 1, "o": 1}),
    ("{parse: {message_extras: ''}, values: {message_extras.n: {1: one}}}", '{"n": 1}', {"n": "one"}),
    ("{parse: {message_extras: ''}, values: {message_extras.n: {1: null}}}", '{"n": 1}', {}),
    ("{parse: {message_extras: 'e '}}", '{"": 1}', {"e ": 1}),
    ("{parse: {message_extras: 'e '}, drop: '*x'}", '{"": 1}', {"e ": 1}),
]


@pytest.mark.parametrize(("rules", "text", "properties"), KEYS)
@pytest.mark.parametrize("preset", ["native", "raw"])
def test_json_texts_are_taken_apart_and_their_keys_have_rules_like_fields(
    mapped: Any, rules: str, text: str, properties: Record, preset: str
) -> None:
    mapping = f"{{preset: {preset}, rules: [{rules}]}}"
    event = mapped(mapping, PUSH, {"campaign_name": None, "message_extras": text})
    assert event["event_properties"] == properties


@pytest.mark.parametrize(
    ("mapping", "properties"),
    [
        ("", {"[Purchase property] size": "M", "[Purchase property] note": "x"}),
        ("rules: [{drop: properties.note}]", {"[Purchase property] size": "M"}),
        ("rules: [{drop: 'properties.*'}]", {}),
        ("rules: [{drop: properties}]", {}),
        ("rules: [{keep: properties.note, rename: {properties.note: Note}}]", {"Note": "x"}),
        ("{preset: raw, rules: [{keep: properties}]}", {"properties": CART}),
        ("{preset: raw, rules: [{parse: {properties: ''}}]}", {"size": "M", "note": "x"}),
        ("{preset: raw, rules: [{parse: {properties: 'p '}, drop: properties.note}]}", {"p size": "M"}),
    ],
)
def test_the_properties_of_a_purchase_are_under_the_same_rules(
    mapped: Any, mapping: str, properties: Record
) -> None:
    event = mapped(mapping, PURCHASE, {"campaign_name": None, "properties": CART})
    assert event["event_properties"] == properties


def top_of(outcome: Event | Verdict) -> Record:
    """What stands at the top of an event beside what every event has there."""
    assert isinstance(outcome, dict)
    usual = {"user_id", "device_id", "event_type", "time", "insert_id", "library", "event_properties"}
    return {key: value for key, value in outcome.items() if key not in usual}


DEVICE = {"platform": "ios", "os_version": "18.1", "device_model": "iPhone"}
PLACE = {"latitude": 48.1, "longitude": 11}
GEO = {"location_lat": 48.1, "location_lng": 11}
BOTH = "{rules: [{lift: [device, location]}], privacy: {drop: [pii]}}"
SKU = {"price": 9.5, "product_id": "sku-1"}
LIFTS: list[tuple[str, str, Record, Record]] = [
    ("rules: [{lift: device}]", SESSION, DEVICE, DEVICE),
    ("rules: [{lift: [device]}]", PUSH, DEVICE, DEVICE),
    ("rules: [{lift: device}]", SESSION, {**DEVICE, "os_version": None}, {}),
    ("rules: [{lift: device}]", SESSION, {"platform": "ios"}, {}),
    ("rules: [{lift: device}]", SESSION, {**DEVICE, "platform": 7}, {}),
    ("rules: [{lift: device}]", OPEN, DEVICE, {}),
    ("rules: [{lift: [device, location]}]", "users.messages.email.Click", {**DEVICE, **PLACE}, {}),
    ("rules: [{lift: location}]", LOCATION, PLACE, GEO),
    ("rules: [{lift: location}]", LOCATION, {"latitude": 48.1}, {}),
    ("rules: [{lift: location}]", LOCATION, {**PLACE, "latitude": "48"}, {}),
    ("rules: [{lift: [location, device]}]", LOCATION, {**PLACE, **DEVICE}, {**GEO, **DEVICE}),
    ("{rules: [{lift: device}], privacy: {drop: [device_model]}}", SESSION, DEVICE, {}),
    (BOTH, LOCATION, {**PLACE, **DEVICE}, DEVICE),
    ("{preset: raw, rules: [{lift: device}]}", SESSION, DEVICE, DEVICE),
    ("", PURCHASE, SKU, {"price": 9.5, "productId": "sku-1"}),
    ("purchase: {revenue: ignore}", PURCHASE, SKU, {}),
    ("preset: raw", PURCHASE, SKU, {}),
    ("{preset: raw, purchase: {revenue: count}}", PURCHASE, SKU, {"price": 9.5, "productId": "sku-1"}),
]


@pytest.mark.parametrize(("mapping", "event_type", "fields", "top"), LIFTS)
def test_amplitudes_own_fields_are_set_as_whole_groups(
    mapped: Any, mapping: str, event_type: str, fields: Record, top: Record
) -> None:
    assert top_of(mapped(mapping, event_type, fields)) == top


def test_what_is_lifted_by_a_rule_stays_a_property(mapped: Any) -> None:
    event = mapped("rules: [{lift: device}]", SESSION, {**DEVICE, "campaign_name": None})
    assert event["event_properties"] == DEVICE


@pytest.mark.parametrize("preset", ["native", "raw"])
def test_a_purchase_that_makes_no_revenue_keeps_price_and_product_as_properties(
    mapped: Any, preset: str
) -> None:
    fields = {**SKU, "campaign_name": None}
    ignored = mapped(f"{{preset: {preset}, purchase: {{revenue: ignore}}}}", PURCHASE, fields)
    counted = mapped(f"{{preset: {preset}, purchase: {{revenue: count}}}}", PURCHASE, fields)
    assert ignored["event_properties"] == {"price": 9.5, "product_id": "sku-1"}
    assert counted["event_properties"] == {}


TIMES: list[tuple[str, int, bool]] = [
    ("", 0, True),
    ("", 253_402_300_799, True),
    ("time: {min: 2026-01-01}", 1_767_225_600, True),
    ("time: {min: 2026-01-01}", 1_767_225_599, False),
    ("time: {max_future: 1h}", 1_790_003_600, True),
    ("time: {max_future: 1h}", 1_790_003_601, False),
    ("time: {max_future: 0s}", 1_790_000_000, True),
    ("time: {max_future: 0s}", 1_790_000_001, False),
]


@pytest.mark.parametrize(("mapping", "time", "sent"), TIMES)
def test_times_are_bounded_where_the_mapping_says_so(
    mapped: Any, mapping: str, time: int, *, sent: bool
) -> None:
    outcome = mapped(mapping, OPEN, {"time": time})
    if sent:
        assert outcome["time"] == time * 1000
    else:
        assert outcome.reason is Reason.INVALID_EVENT
        assert "time." in outcome.detail


AD = {"ad_id": "AAAA-1", "ad_id_type": "ios_idfa"}
PAID = {"price": 3.5, "product_id": "SKU-7", "currency": "EUR", "properties": "{}"}
HERE = {"latitude": 52.5, "longitude": 13.4}


@pytest.mark.parametrize(
    ("text", "event_type", "fields", "keys"),
    [
        ("rules: [{drop: [ad_id, ad_id_type]}]", SESSION, AD, {"idfa"}),
        ("rules: [{keep: platform}]", SESSION, AD, {"idfa"}),
        ("rules: [{values: {ad_id: {'*': null}}}]", SESSION, AD, {"idfa"}),
        ("rules: [{drop: [price, product_id]}]", PURCHASE, PAID, {"price", "productId"}),
        ("rules: [{lift: location, drop: [latitude]}]", LOCATION, HERE, {"location_lat", "location_lng"}),
    ],
)
def test_what_a_rule_takes_away_is_not_at_the_top_either(
    text: str, event_type: str, fields: Record, keys: set[str], mapped: Any
) -> None:
    assert keys <= mapped("rules: [{lift: location}]", event_type, fields).keys()
    assert not keys & mapped(text, event_type, fields).keys()


def test_values_of_one_rule_are_those_that_the_next_one_sees(mapped: Any) -> None:
    rules = "rules: [{values: {device_class: {mobile: phone}}}, {values: {'device_*': {phone: handset}}}]"
    event = mapped(rules, OPEN, {"device_class": "mobile"})
    assert event["event_properties"]["device_class"] == "handset"
    rules = "rules: [{values: {device_class: {mobile: null}}}, {values: {device_class: {phone: handset}}}]"
    event = mapped(rules, OPEN, {"device_class": "mobile"})
    assert "device_class" not in event["event_properties"]


def test_a_copy_of_a_glob_is_one_of_each_field(mapped: Any) -> None:
    event = mapped("rules: [{copy: {'campaign_n*': of}}]", OPEN, {})
    assert event["event_properties"]["of"] == "Autumn sale"
