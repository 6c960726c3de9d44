from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from braze_etl.engine.books import Awaited
from braze_etl.engine.due import WHOLE_FILE, DueFile, Place
from braze_etl.model import FileRef, OpenPositions, Reason
from tests.engine.due_files import deferred, replayed


def test_nothing_is_awaited_of_a_file_that_is_read_for_the_first_time(
    make_ref: Callable[..., FileRef],
) -> None:
    assert Awaited(DueFile(make_ref("a"))).places() == []


def test_open_records_are_met_by_their_block_and_only_as_far_as_it_goes(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    part = OpenPositions(Reason.THROTTLED, now, {100: (2, 7), 900: (0,)})
    awaited = Awaited(deferred(make_ref("a"), part))
    awaited.met(100, 5)
    assert sorted(awaited.places()) == [(100, 7), (900, 0)]
    awaited.met_record(100, 7)
    assert awaited.take() == [(900, 0)]
    assert awaited.places() == []


def test_a_stretch_is_met_by_its_block_and_the_whole_file_by_none(make_ref: Callable[..., FileRef]) -> None:
    reasons: dict[Place, tuple[Reason, ...]] = {
        WHOLE_FILE: (Reason.UNREADABLE_FILE,),
        (100, None): (Reason.DAMAGED_BLOCK,),
        (100, 3): (Reason.REJECTED,),
    }
    awaited = Awaited(replayed(make_ref("a"), reasons))
    awaited.met(100, 4)
    assert awaited.places() == [WHOLE_FILE]


def test_the_stretch_comes_before_the_records_of_it(make_ref: Callable[..., FileRef]) -> None:
    again = replayed(make_ref("a"), {(100, 0): (Reason.REJECTED,), (100, None): (Reason.DAMAGED_BLOCK,)})
    assert Awaited(again).take_block(100) == [(100, None), (100, 0)]
