"""Mappings of any kind for property tests: each rule may be there, alone or with others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from tests.people import suppressing

TYPES = (
    "users.behaviors.CustomEvent",
    "users.behaviors.Purchase",
    "users.behaviors.Location",
    "users.messages.email.Open",
    "users.messages.pushnotification.Send",
    "users.new.Thing",
    "users.UserOrphan",
)
_FIELDS = st.sampled_from(
    [
        "campaign_name", "campaign_id", "name", "price", "product_id", "properties", "message_extras",
        "platform", "ad_id", "latitude", "email_address", "user_agent", "url", "timezone", "machine_open",
        "new_field",
        "properties.size", "properties.user",
        "message_extras.tier", "device_model", "external_user_id", "time",
    ]
)  # fmt: skip
_GLOBS = _FIELDS | st.sampled_from(["*", "*_id", "c*", "properties.*", "*.*", "p*"])
_WORDS = st.sampled_from(["a", "size", "campaign_name", "[Purchase property] size", "b c"])
_PATTERNS = _WORDS | st.sampled_from(["{field}", "x {property}", "{property} {field}"])
_SCALARS = st.sampled_from(["ios", "M", "true", "7", 7, 2.5, True, False, None])
_WANTED = st.lists(_SCALARS | st.sampled_from(["*", "a*", "!i*", "Test*"]), min_size=1, max_size=2)
_VALUES = st.sampled_from(["M", "true", "7", "*", "ios"])
_TEXTS = st.sampled_from(["message_extras", "properties", "url"])
_PREFIXES = st.sampled_from(["", "e "])
_EVENTS = st.lists(
    st.sampled_from([*TYPES, "*", "engagement", "behavior", "users.messages.*"]), min_size=1, max_size=3
)
_NAMES = st.sampled_from(
    [
        "{title}", "B: {name_before}", "{event_type}", "{campaign_name:-}", "{platform:-any} {title}",
        "{price:-0}", "{user_agent:-}{timezone:-}", "fixed", "[Amplitude] {campaign_name:-}",
        "{machine_open:-}", "x" * 1000 + "{name:-}",
    ]
)  # fmt: skip


def _some(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the keys."""
    return st.fixed_dictionaries({}, optional=parts)


def _texts(items: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(items, max_size=3)


_RULES = _some(
    events=_EVENTS,
    name=_NAMES,
    parse=st.dictionaries(_TEXTS, _PREFIXES, max_size=2),
    lift=st.lists(st.sampled_from(["device", "location"]), max_size=2),
    add=_texts(_GLOBS),
    keep=_texts(_GLOBS),
    drop=_texts(_GLOBS),
    rename=st.dictionaries(_GLOBS, _PATTERNS, max_size=3),
    copy=st.dictionaries(_FIELDS, _texts(_WORDS), max_size=2),
    values=st.dictionaries(_FIELDS, st.dictionaries(_VALUES, _SCALARS), max_size=2),
    set=st.dictionaries(_WORDS, _SCALARS, max_size=2),
)
_SELECTORS = st.lists(
    _some(events=_EVENTS, where=st.dictionaries(_FIELDS, _WANTED, max_size=2)).filter(bool),
    max_size=2,
)
_PRIVATE = _texts(_GLOBS.filter(lambda name: name not in ("time", "*", "p*", "c*")) | st.just("pii"))
_OPTIONS = _some(
    preset=st.sampled_from(["native", "raw"]),
    send=st.just(["*"]),
    fields=st.just(["new_field"]),
    unknown_types=st.sampled_from(["send", "hold"]),
    unknown_fields=st.sampled_from(["send", "drop"]),
    test_events=st.sampled_from(["filter", "send"]),
    choose=_some(include=_SELECTORS, exclude=_SELECTORS),
    rules=st.lists(_RULES, max_size=3),
    privacy=st.fixed_dictionaries({"salt": st.just("s")}, optional={"drop": _PRIVATE, "hash": _PRIVATE}),
    identity=_some(
        anonymous=st.sampled_from(["drop", "device", "braze_id"]),
        user_prefix=st.sampled_from(["", "p-"]),
        device_prefix=st.sampled_from(["", "d-"]),
        lower_case=st.booleans(),
        shared=st.just(["customer-2"]),
    ),
    loop_guard=_some(names=st.just(["a*"]), properties=st.just({"size": ["M"]})),
    purchase=_some(revenue=st.sampled_from(["count", "ignore"])),
    time=_some(min=st.just("2024-01-01"), max_future=st.sampled_from(["0s", "30d"])),
)


class _Table:
    """Every other person is in it."""

    def find(self, key: str) -> str | None:
        return f"crm-{key[:20]}" if len(key) % 2 else None


_LISTS = st.builds(
    People,
    suppressed=st.none() | st.just(suppressing("customer-1", "device-1")),
    table=st.none() | st.just(_Table()),
    key=st.sampled_from(["external_user_id", "user_id"]),
    missing=st.sampled_from(["pass", "filter", "quarantine"]),
)


def mappings() -> st.SearchStrategy[EventMapping]:
    """Any mapping, with any lists of people."""
    options = _OPTIONS.map(MappingSection.model_validate)
    return st.builds(EventMapping.load, options, _LISTS, min_id_length=st.sampled_from([1, 5]))
