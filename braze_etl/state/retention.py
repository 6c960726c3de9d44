"""How long the ledger keeps a row of each file, and how the older ones become sums a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from braze_etl.clock import Clock, iso
from braze_etl.errors import UsageError
from braze_etl.state.ledger import Ledger, day_of

EVERY: Final = timedelta(days=1)
BUDGET: Final = 2.0
"""Seconds of one run that pruning may take, and one step more; the next run goes on."""
_NOTE: Final = "prune"


def prune(
    ledger: Ledger,
    keep: timedelta,
    clock: Clock,
    should_stop: Callable[[], bool],
    *,
    newest_hour: datetime | None,
) -> None:
    """Prune files whose hour is older than *keep*, once a day; under the lease, with nothing in flight.

    They are that much older than *newest_hour*, the newest that a whole listing of the source has found: by a
    wrong clock, or after a long pause, nothing is old. A day with files that are due and not delivered is
    left alone, and so is every later one: an hour of which files were pruned counts as delivered.
    """
    if newest_hour is None:
        return
    now, fact = clock.now(), ledger.get_note(_NOTE)
    if "finished_at" in fact and abs(now - datetime.fromisoformat(fact["finished_at"])) < EVERY:
        return
    oldest_due = ledger.summary().backlog.oldest_hour or now
    before = day_of(min(min(now, newest_hour) - keep, oldest_due))
    if before <= ledger.created_at:
        return  # nothing was settled before that
    place, end = fact.get("next", ""), clock.monotonic() + BUDGET
    while place is not None:
        place = ledger.prune(before, place)
        if should_stop() or clock.monotonic() >= end:
            break
    ledger.put_note(_NOTE, {"finished_at": iso(now)} if place is None else {"next": place})


def refuse_pruned(ledger: Ledger, since: datetime) -> None:
    """Raise `UsageError` for hours from *since* on of which it can't be told any more what was delivered."""
    through = ledger.pruned_through()
    if through is None or since >= through + timedelta(days=1):
        return
    raise UsageError(
        f"the ledger knows no single files any more of days up to {through.date()} (state.keep): what of "
        "them was delivered can't be told from what was not",
        remedy=f"Begin at {(through + timedelta(days=1)).date()}; or have `backfill --resend` send all of "
        "these hours again, narrowed by --event-type to what was never sent: Amplitude counts twice what it "
        "has from more than 7 days ago.",
    )
