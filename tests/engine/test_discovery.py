from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice

from braze_etl.engine.due import Discovery, DueFile
from braze_etl.errors import StoreError
from braze_etl.model import FileRef, OpenPositions, Reason
from tests.engine.due_files import deferred


def test_due_files_come_back_in_their_order_however_many(make_ref: Callable[..., FileRef]) -> None:
    files = [DueFile(make_ref(f"f{number:06}", size=10)) for number in range(30_000)]
    with Discovery() as found:
        found.collect(iter(files))
        assert (found.files, found.bytes) == (30_000, 300_000)
        assert list(found.due_files()) == files
        assert found.backlog.backlog().files == 30_000


def test_what_has_to_wait_is_owed_but_not_worked_on(make_ref: Callable[..., FileRef], now: datetime) -> None:
    later = OpenPositions(Reason.DAILY_QUOTA, now, {1: (2,)})
    with Discovery() as found:
        found.collect([deferred(make_ref("a"), later=(later,)), DueFile(make_ref("b"))])
        assert found.files == 2
        assert [due.ref.key for due in found.due_files()] == ["b"]


def test_a_listing_that_breaks_off_keeps_what_it_found(make_ref: Callable[..., FileRef]) -> None:
    def broken() -> Iterator[DueFile]:
        yield DueFile(make_ref("a"))
        raise StoreError("the bucket is gone")

    with Discovery() as found:
        found.collect(broken())
        assert [due.ref.key for due in found.due_files()] == ["a"]
        assert found.error is not None
        assert not found.complete


def test_what_ends_because_of_a_stop_is_not_complete_and_may_be_gone_on_with(
    make_ref: Callable[..., FileRef],
) -> None:
    files = iter([DueFile(make_ref(f"f{number}")) for number in range(10)])
    with Discovery() as found:
        found.collect(islice(files, 3), lambda: True)
        assert (found.files, found.complete) == (3, False)
        found.collect(files, lambda: False)
        assert (found.files, found.complete) == (10, True)
