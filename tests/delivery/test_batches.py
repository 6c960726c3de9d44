from __future__ import annotations

from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from braze_etl.delivery.batches import Batch, BatchBuilder
from tests.delivery.conftest import event, settings

T = TypeVar("T")


def add(builder: BatchBuilder[T], number: int, tag: T, size_hint: int = 0) -> Batch[T] | None:
    """Add one event."""
    taken, full = builder.add([event(number)], [tag], size_hint)
    assert taken == 1
    return full


def test_a_batch_is_full_at_its_number_of_events() -> None:
    builder: BatchBuilder[str] = BatchBuilder(settings(max_events=3).limits)
    assert add(builder, 0, "a") is None
    assert add(builder, 1, "b") is None
    full = add(builder, 2, "c")
    assert full is not None
    assert full.tags == ["a", "b", "c"]
    assert [one["insert_id"] for one in full.items] == ["0", "1", "2"]
    assert len(builder) == 0


def test_a_batch_is_full_when_its_records_promise_enough_json() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings(max_bytes=3000).limits)
    assert add(builder, 0, 0, size_hint=600) is None
    full = add(builder, 1, 1, size_hint=600)
    assert full is not None
    assert full.tags == [0, 1]


def test_the_hint_counts_anew_for_the_next_batch() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings(max_bytes=3000).limits)
    assert add(builder, 0, 0, size_hint=1000) is not None
    assert add(builder, 1, 1, size_hint=900) is None


def test_flushing_gives_the_rest_once() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings().limits)
    add(builder, 0, 7)
    rest = builder.flush()
    assert rest is not None
    assert rest.tags == [7]
    assert builder.flush() is None


def test_many_events_are_added_up_to_the_one_that_makes_the_batch_full() -> None:
    builder: BatchBuilder[int] = BatchBuilder(settings(max_events=3).limits)
    events = [event(number) for number in range(5)]
    taken, full = builder.add(events, range(5))
    assert taken == 3
    assert full is not None
    assert full.tags == [0, 1, 2]
    assert builder.add(events[3:], range(3, 5)) == (2, None)
    assert len(builder) == 2


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1500)), max_size=8))
def test_adding_many_fills_the_same_batches_as_adding_one_by_one(parts: list[tuple[int, int]]) -> None:
    some, each = (BatchBuilder[int](settings(max_events=30, max_bytes=30_000).limits) for _ in range(2))
    batches, expected = [], []
    for count, size in parts:
        tags = list(range(count))
        expected += [full.tags for tag in tags if (full := add(each, tag, tag, size_hint=size)) is not None]
        while tags:
            taken, full = some.add([event(tag) for tag in tags], tags, size)
            batches += [full.tags] if full is not None else []
            tags = tags[taken:]
    assert batches == expected
    assert len(some) == len(each)
