from __future__ import annotations

import gzip

import orjson
import pytest
from pydantic import SecretStr

from braze_etl.delivery.body import Body, Oversize, Unencodable, encode
from braze_etl.errors import DeliveryError
from tests.delivery.conftest import KEY, event, settings

NESTED: dict[str, object] = {}
_level = NESTED
for _ in range(251):
    _inner: dict[str, object] = {}
    _level["deeper"] = _inner
    _level = _inner


def test_the_body_is_what_the_batch_api_takes() -> None:
    body = encode([event(0)], settings(min_id_length=3), gzip=False)
    assert isinstance(body, Body)
    expected = {"api_key": KEY, "events": [event(0)], "options": {"min_id_length": 3}}
    assert orjson.loads(body.wire) == expected
    assert body.raw_size == len(body.wire)


def test_a_compressed_body_holds_the_same_and_counts_its_json() -> None:
    plain = encode([event(i) for i in range(50)], settings(), gzip=False)
    packed = encode([event(i) for i in range(50)], settings(), gzip=True)
    assert isinstance(plain, Body)
    assert isinstance(packed, Body)
    assert gzip.decompress(packed.wire) == plain.wire
    assert packed.raw_size == plain.raw_size > len(packed.wire)


def test_a_body_over_the_limit_is_refused_by_its_json_size() -> None:
    body = encode([event(0)], settings(max_bytes=100), gzip=True)
    assert isinstance(body, Oversize)
    assert body.size > body.limit == 100


@pytest.mark.parametrize("value", ["\ud800", 2**64, -(2**63) - 1, NESTED])
def test_events_that_are_no_json_are_found(value: object) -> None:
    events = [event(0), event(1, event_properties={"odd": value}), event(2)]
    body = encode(events, settings(), gzip=False)
    assert isinstance(body, Unencodable)
    assert list(body.events) == [1]
    assert "not JSON" in body.events[1]


def test_a_key_that_is_no_text_is_no_events_fault() -> None:
    with pytest.raises(DeliveryError) as caught:
        encode([event(0)], settings(api_key=SecretStr("\ud800")), gzip=False)
    assert "amplitude.api_key" in caught.value.remedy
    assert caught.value.__context__ is None
