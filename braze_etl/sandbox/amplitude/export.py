"""What is held, as Amplitude exports it: a zip of gzip members of JSON lines (amplitude-read.md, 2.3, 2.4).

Not documented, and chosen here: how many events a member has, and that every second one is deflated on top.
`user_properties` are those of the event: the state of a user is not kept.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby, islice
from typing import Any, Final

import orjson

APP: Final = 187520
"""The project's number."""
HOUR: Final = 3_600_000
"""In milliseconds."""

_A_MEMBER: Final = 20_000
_AS_SENT: Final = (
    *("adid", "city", "country", "device_brand", "device_manufacturer", "device_model", "dma", "event_type"),
    *("idfa", "language", "location_lat", "location_lng", "os_name", "os_version", "partner_id", "platform"),
    *("region", "user_id", "device_id"),
)
_RENAMED: Final = {
    "device_carrier": "carrier",
    "device_type": "device_model",
    "ip_address": "ip",
    "version_name": "app_version",
}
_OBJECTS: Final = ("event_properties", "user_properties", "group_properties", "groups", "plan")
_EMPTY: Final = {
    **dict.fromkeys(("$insert_key", "amplitude_attribution_ids", "amplitude_event_type", "device_family")),
    **dict.fromkeys(("paying", "sample_rate", "source_id", "start_version")),
    "$schema": 13,
    "app": APP,
    "data": {"path": "/batch"},
    "data_type": "event",
    "global_user_properties": {},
    "is_attribution_event": False,
}


def exported(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event that is held, with the server's fields, as a line of the export has it."""
    uploaded = event["server_upload_time"]
    times = _text(uploaded)
    happened = _text(event.get("event_time", uploaded))
    row = {name: event.get(name) for name in _AS_SENT}
    row |= {name: event.get(sent) for name, sent in _RENAMED.items()}
    row |= {name: event.get(name) or {} for name in _OBJECTS}
    number = f"{event.get('insert_id')}\0{event.get('device_id')}\0{uploaded}".encode("utf-8", "replace")
    uuid = hashlib.blake2b(number, digest_size=16).hexdigest()
    return {
        **_EMPTY,
        **row,
        "$insert_id": event.get("insert_id") or uuid,
        "amplitude_id": amplitude_id(event),
        "client_event_time": happened,
        "client_upload_time": times,
        "event_id": event.get("event_id", 0),
        "event_time": happened,
        "library": event.get("library", "http/2.0"),
        "processed_time": times,
        "server_received_time": times,
        "server_upload_time": times,
        "session_id": event.get("session_id", -1),
        "user_creation_time": None,
        "uuid": f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}",
    }


def amplitude_id(event: Mapping[str, Any]) -> int:
    """The number of an event's user, or of its device where it names no user."""
    return _number_of(str(event.get("user_id") or event.get("device_id")))


def zipped(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Pack events in their order of arrival; the hours stand in the names of the members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for hour, of_hour in groupby(events, lambda event: event["server_upload_time"] // HOUR):
            moment = datetime.fromtimestamp(hour * HOUR / 1000, UTC)
            for part, lines in enumerate(_parts(of_hour)):
                name = f"{APP}/{APP}_{moment:%Y-%m-%d}_{moment.hour}#{part}.json.gz"
                kind = zipfile.ZIP_DEFLATED if part % 2 else zipfile.ZIP_STORED
                archive.writestr(name, gzip.compress(lines, 1, mtime=0), kind)
    return buffer.getvalue()


def _parts(events: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    while lines := [orjson.dumps(exported(event)) for event in islice(events, _A_MEMBER)]:
        yield b"\n".join((*lines, b""))


@lru_cache(maxsize=65_536)
def _text(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"


@lru_cache(maxsize=65_536)
def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=5).digest(), "big")
