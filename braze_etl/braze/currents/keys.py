"""The grammar of Currents object keys (reference: currents.md, 1.1).

::

    <prefix>/dataexport.<cluster>.<connection>.integration.<id>/event_type=<type>/date=<YYYY-MM-DD-HH>/<tail>

The tail is `<schema id>/<zone>/<file>` in the older layout and `version=<n>/<environment>/<file>` in the
newer; the file is the integration folder's name with `+<partition>+<offset>.avro`. Braze reserves the right
to change names, so any tail that ends in `.avro` is taken, and no cluster or connection is enumerated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_INTEGRATION = r"dataexport\.[^./+]+\.[^./+]+\.integration\.(?P<integration>[^/+]+)"
_FOLDER = re.compile(_INTEGRATION)
_FILE = re.compile(rf"(?:.*/)?{_INTEGRATION}\+[0-9]+\+[0-9]+\.avro", re.DOTALL)
_KEY = re.compile(
    r"(?:(?P<before>.+)/)?event_type=(?P<event_type>[^/]+)/date=(?P<date>[0-9-]{13})/(?P<tail>.*\.avro)",
    re.DOTALL,
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{2})")


@dataclass(frozen=True, slots=True)
class CurrentsKey:
    """What the key of a Currents file says. `hour` is the UTC hour in which Braze queued the events."""

    integration: str
    event_type: str
    hour: datetime


def parse_key(key: str) -> CurrentsKey | None:
    """Take a key apart; None if it is no Currents file.

    The integration is read from the `dataexport.` folder, or, where the key begins below it (a copy of one
    connector's folder), from the file's name.
    """
    found = _KEY.fullmatch(key)
    hour = _hour(found["date"]) if found else None
    if found is None or hour is None or not _is_utf8(key):
        return None
    integration = integration_of((found["before"] or "").rpartition("/")[2])
    if integration is None:
        file = _FILE.fullmatch(found["tail"])
        integration = file["integration"] if file else None
    return CurrentsKey(integration, found["event_type"], hour) if integration else None


def integration_of(folder: str) -> str | None:
    """The id in the name of a `dataexport.` folder; None for the name of another folder."""
    found = _FOLDER.fullmatch(folder)
    return found["integration"] if found else None


def date_folder(hour: datetime) -> str:
    """Return the name of the folder of an hour: `date=2026-10-01-05`."""
    utc = hour.astimezone(UTC)
    return f"date={utc.year:04}-{utc.month:02}-{utc.day:02}-{utc.hour:02}"


def _hour(text: str) -> datetime | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, tzinfo=UTC)
    except ValueError:
        return None


def _is_utf8(key: str) -> bool:
    # A local file's name may hold bytes that are no text: such a key could be stored nowhere.
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)


def hour_of_key(key: str) -> datetime | None:
    """The hour in the key of a file; None where that is no key of Currents."""
    parsed = parse_key(key)
    return parsed.hour if parsed else None
