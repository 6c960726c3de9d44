from __future__ import annotations

import gzip
from collections import Counter

import orjson
import pytest
from pydantic import SecretStr

from braze_etl.amplitude.destination import Mend, encode, mend_nothing
from braze_etl.amplitude.settings import Amplitude
from braze_etl.delivery.destination import Body, DictItems, Encoded, Oversize, Unencodable
from braze_etl.errors import DeliveryError
from braze_etl.model import Event
from tests.delivery.conftest import KEY, event, settings

NESTED: dict[str, object] = {}
_level = NESTED
for _ in range(251):
    _inner: dict[str, object] = {}
    _level["deeper"] = _inner
    _level = _inner


def written(events: list[Event], settings: Amplitude, *, gzip: bool, mend: Mend = mend_nothing) -> Encoded:
    return encode(DictItems(events), settings, gzip=gzip, limit=settings.limits.bytes, mend=mend)


def test_the_body_is_what_the_batch_api_takes() -> None:
    body = written([event(0)], settings(min_id_length=3), gzip=False)
    assert isinstance(body, Body)
    expected = {"api_key": KEY, "events": [event(0)], "options": {"min_id_length": 3}}
    assert orjson.loads(body.wire) == expected
    assert body.raw_size == len(body.wire)


def test_a_compressed_body_holds_the_same_and_counts_its_json() -> None:
    plain = written([event(i) for i in range(50)], settings(), gzip=False)
    packed = written([event(i) for i in range(50)], settings(), gzip=True)
    assert isinstance(plain, Body)
    assert isinstance(packed, Body)
    assert gzip.decompress(packed.wire) == plain.wire
    assert packed.raw_size == plain.raw_size > len(packed.wire)


def test_a_body_over_the_limit_is_refused_by_its_json_size() -> None:
    body = written([event(0, event_properties={"text": "x" * 1000})], settings(max_bytes=1000), gzip=True)
    assert isinstance(body, Oversize)
    assert body.size > body.limit == 1000


@pytest.mark.parametrize("value", ["\ud800", 2**64, -(2**63) - 1, NESTED])
def test_events_that_are_no_json_are_found(value: object) -> None:
    events = [event(0), event(1, event_properties={"odd": value}), event(2)]
    body = written(events, settings(), gzip=False)
    assert isinstance(body, Unencodable)
    assert list(body.items) == [1]
    assert "not JSON" in body.items[1]


def test_a_key_that_is_no_text_is_no_events_fault() -> None:
    with pytest.raises(DeliveryError) as caught:
        written([event(0)], settings().model_copy(update={"api_key": SecretStr("\ud800")}), gzip=False)
    assert "amplitude.api_key" in caught.value.remedy
    assert caught.value.__context__ is None


def mend(event: Event, repairs: Counter[str]) -> None:
    """Stands for what `transform` mends: writes every property as a text."""
    event["event_properties"] = {"mended": repr(event["event_properties"])}
    repairs["mended"] += 1


@pytest.mark.parametrize("value", ["a\0b", "\ud800", 2**53, -(2**63), 2**70, NESTED, {"a\0": 1}])
def test_what_json_can_not_carry_is_mended_once_and_counted(value: object) -> None:
    events = [event(0, event_properties={"fine": 1}), event(1, event_properties={"odd": value})]
    body = written(events, settings(), gzip=True, mend=mend)
    assert isinstance(body, Body)
    assert body.repairs == {"mended": 2}
    assert orjson.loads(gzip.decompress(body.wire))["events"] == events
    assert b"\\u0000" not in gzip.decompress(body.wire)


@pytest.mark.parametrize("value", ["Größe", 2**53 - 1, 1.5, True, ["a", {"b": None}], "\x01", "\\u000"])
def test_a_body_that_is_fine_is_not_looked_at_again(value: object) -> None:
    body = written([event(0, event_properties={"fine": value})], settings(), gzip=False, mend=mend)
    assert isinstance(body, Body)
    assert not body.repairs
    assert orjson.loads(body.wire)["events"][0]["event_properties"] == {"fine": value}


def test_without_anything_to_mend_with_a_nul_is_left_where_it_is() -> None:
    body = written([event(0, event_properties={"odd": "a\0b"})], settings(), gzip=False)
    assert isinstance(body, Body)
    assert orjson.loads(body.wire)["events"][0]["event_properties"] == {"odd": "a\0b"}


def test_only_what_can_not_be_mended_is_to_blame() -> None:
    def mend_text(event: Event, repairs: Counter[str]) -> None:
        if event["insert_id"] == "0":
            mend(event, repairs)

    events = [event(number, event_properties={"odd": 2**60}) for number in range(3)]
    body = written(events, settings(), gzip=False, mend=mend_text)
    assert isinstance(body, Unencodable)
    assert list(body.items) == [1, 2]
