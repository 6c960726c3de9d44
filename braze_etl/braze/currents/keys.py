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
from typing import Literal, TypeAlias

Layout: TypeAlias = Literal["schema-id", "version", "unknown"]

_INTEGRATION = (
    r"dataexport\.(?P<cluster>[^./+]+)\.(?P<connection>[^./+]+)\.integration\.(?P<integration>[^/+]+)"
)
_FOLDER = re.compile(_INTEGRATION)
_FILE = re.compile(rf"(?:.*/)?{_INTEGRATION}\+(?P<partition>[0-9]+)\+(?P<offset>[0-9]+)\.avro", re.DOTALL)
_KEY = re.compile(
    r"(?:(?P<before>.+)/)?event_type=(?P<event_type>[^/]+)/date=(?P<date>[0-9-]{13})/(?P<tail>.*\.avro)",
    re.DOTALL,
)
_TAIL = re.compile(r"(?P<named>version=)?(?P<version>[0-9]+)/(?P<environment>[^/]+)/[^/]+")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{2})")
_ENDING = re.compile(r".*\+(?P<partition>[0-9]+)\+(?P<offset>[0-9]+)\.avro", re.DOTALL)


@dataclass(frozen=True, slots=True)
class IntegrationFolder:
    """The parts of a `dataexport.` folder's name: a connector of a Braze cluster."""

    cluster: str
    connection: str
    integration: str


@dataclass(frozen=True, slots=True)
class CurrentsKey:
    """What the key of a Currents file says.

    `hour` is the UTC hour in which Braze queued the events. `version` is the Currents release, or in the
    older layout the schema id. With an `unknown` layout, `version` and `environment` are None; `partition`
    and `offset` are None where the file's name does not end as documented.
    """

    prefix: str
    cluster: str
    connection: str
    integration: str
    event_type: str
    hour: datetime
    version: int | None
    layout: Layout
    environment: str | None
    partition: int | None
    offset: int | None


def parse_key(key: str) -> CurrentsKey | None:
    """Take a key apart; None if it is no Currents file.

    The integration is read from the `dataexport.` folder, or, where the key begins below it (a copy of one
    connector's folder), from the file's name.
    """
    found = _KEY.fullmatch(key)
    hour = _hour(found["date"]) if found else None
    if found is None or hour is None or not _is_utf8(key):
        return None
    prefix, folder = _integration(found["before"] or "", found["tail"])
    if folder is None:
        return None
    tail, ending = _TAIL.fullmatch(found["tail"]), _ENDING.fullmatch(found["tail"])
    return CurrentsKey(
        prefix=prefix,
        cluster=folder.cluster,
        connection=folder.connection,
        integration=folder.integration,
        event_type=found["event_type"],
        hour=hour,
        version=int(tail["version"]) if tail else None,
        layout=_layout(tail),
        environment=tail["environment"] if tail else None,
        partition=int(ending["partition"]) if ending else None,
        offset=int(ending["offset"]) if ending else None,
    )


def parse_integration_folder(name: str) -> IntegrationFolder | None:
    """Take the name of a `dataexport.` folder apart; None if it is none."""
    found = _FOLDER.fullmatch(name)
    return IntegrationFolder(found["cluster"], found["connection"], found["integration"]) if found else None


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


def _integration(before: str, tail: str) -> tuple[str, IntegrationFolder | None]:
    prefix, _, name = before.rpartition("/")
    folder = parse_integration_folder(name)
    if folder is not None:
        return prefix, folder
    found = _FILE.fullmatch(tail)
    if found is None:
        return before, None
    return before, IntegrationFolder(found["cluster"], found["connection"], found["integration"])


def _layout(tail: re.Match[str] | None) -> Layout:
    if tail is None:
        return "unknown"
    return "version" if tail["named"] else "schema-id"


def _is_utf8(key: str) -> bool:
    # A local file's name may hold bytes that are no text: such a key could be stored nowhere.
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)


def hour_of_key(key: str) -> datetime | None:
    """The hour in the key of a file; None where that is no key of Currents."""
    parsed = parse_key(key)
    return parsed.hour if parsed else None
