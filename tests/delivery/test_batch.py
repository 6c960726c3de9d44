from __future__ import annotations

from braze_etl.delivery import BatchBuilder
from tests.delivery.conftest import event, settings


def test_a_batch_is_full_at_its_number_of_events() -> None:
    builder: BatchBuilder[str] = BatchBuilder(settings(max_events=3))
    assert builder.add(event(0), "a") is None
    assert builder.add(event(1), "b") is None
    full = builder.add(event(2), "c")
    assert full is not None
    assert full.tags == ["a", "b", "c"]
    assert [one["insert_id"] for one in full.events] == ["0", "1", "2"]
    assert len(builder) == 0


def test_a_batch_is_full_when_its_records_promise_enough_json() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings(max_bytes=3000))
    assert builder.add(event(0), 0, size_hint=600) is None
    full = builder.add(event(1), 1, size_hint=600)
    assert full is not None
    assert full.tags == [0, 1]


def test_the_hint_counts_anew_for_the_next_batch() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings(max_bytes=3000))
    assert builder.add(event(0), 0, size_hint=1000) is not None
    assert builder.add(event(1), 1, size_hint=900) is None


def test_flushing_gives_the_rest_once() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings())
    builder.add(event(0), 7)
    rest = builder.flush()
    assert rest is not None
    assert rest.tags == [7]
    assert builder.flush() is None
