"""Whether Amplitude has an event: asked by its person's activity (amplitude-read.md, 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from braze_etl.amplitude.dashboard import activity, find_user, insert_id_of
from braze_etl.amplitude.export import parse_time
from braze_etl.amplitude.rest import RestApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.clock import Clock
from braze_etl.errors import KeyRefusedError, ReadError
from braze_etl.mapping.mapper import milliseconds
from braze_etl.model import Record

_MOST: Final = 10_000
"""Events of a person that are looked at: 20 requests of the 360 an hour."""
_ASIDE: Final = timedelta(days=1)
"""Activity comes by time, which Amplitude corrects by the clocks of devices."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether Amplitude has an event; None where it was not asked, or can't tell. `words` say why."""

    has_it: bool | None
    words: str


NOT_ASKED: Final = Presence(None, "not asked")


def look_up(person: str | None, record: Record | None, settings: Amplitude, clock: Clock) -> Presence:
    """Ask Amplitude for the event of a record, under the id by which it knows the *person*.

    What keeps it from answering is told in words.
    """
    if not settings.secret_key.get_secret_value():
        return Presence(None, "not asked: amplitude.secret_key is not set")
    if person is None or record is None:
        return Presence(None, "not asked: there is no id by which it could know the person")
    try:
        with closing(RestApi(settings, clock)) as api:
            number = find_user(api, person)
            if number is None:
                return Presence(False, "it knows nobody by the id of this event")
            return _among(
                activity(api, number, most=_MOST), record.get("id"), milliseconds(record.get("time"))
            )
    except (KeyRefusedError, ReadError) as error:
        return Presence(None, f"it could not be asked: {error.message}. {error.remedy}")


def _among(events: Iterator[dict[str, Any]], insert_id: object, time: int | None) -> Presence:
    """Look for the event among those of its person, the latest first."""
    sent = None if time is None else datetime.fromtimestamp(time / 1000, UTC)
    looked_at = shown = 0
    for event in events:
        found, at = insert_id_of(event), parse_time(event.get("event_time"))
        if found is not None and found == insert_id:
            uploaded = event.get("server_upload_time") or "a time that it does not tell"
            return Presence(
                True, f"as {event.get('event_type')}, uploaded {uploaded}, library {event.get('library')}"
            )
        if sent is not None and at is not None and at < sent - _ASIDE:
            break
        looked_at, shown = looked_at + 1, shown + (found is not None)
    if looked_at >= _MOST:  # a page may bring more than was asked for: sessions stay whole
        return Presence(None, f"it is not among the {_MOST:,} latest events of its person")
    if looked_at and not shown:
        return Presence(None, f"of {looked_at:,} events of its person, none is shown with an insert_id")
    return Presence(False, f"it is not among the {looked_at:,} events of its person since a day before it")
