"""Objects that are written only if they are as the writer believes: the ground for locks and shared state.

With PutObject, S3 takes `If-None-Match: *` (there must be no such object) and `If-Match` (it must have this
ETag): Amazon S3 User Guide, "Conditional writes". Servers that only look like S3 may ignore both: whoever
relies on them has to try them first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from braze_etl.errors import ConfigError
from braze_etl.storage._access import StoreAccess
from braze_etl.storage.port import Store
from braze_etl.uri import S3Place, parse_uri

_NO_ACCESS = StoreAccess()


@dataclass(frozen=True, slots=True)
class Version:
    """An object as it was read: its bytes, and the ETag to hand to `replace`, unchanged.

    `modified` and `read_at` are both told by the server (Last-Modified, Date), in whole seconds: their
    difference is the object's age, whatever the clock of this machine says.
    """

    data: bytes
    etag: str
    modified: datetime
    read_at: datetime


class ConditionalStore(Store, Protocol):
    """A `Store` that also writes under conditions. Small objects: they are read whole."""

    def read(self, key: str) -> Version | None:
        """Read an object; None when there is none."""
        ...

    def create(self, key: str, data: bytes) -> str | None:
        """Write an object that does not exist and return its ETag; None when somebody else has written it."""
        ...

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Write over the version with that ETag and return the new ETag; None when it is that no longer.

        None also after a success whose answer was lost: the request was sent again, and found its own work.
        The caller reads the object and knows its own bytes.
        """
        ...


def open_conditional_store(uri: str, *, access: StoreAccess = _NO_ACCESS) -> tuple[ConditionalStore, str]:
    """Return the store that an `s3://bucket/prefix` names, and the prefix; nothing is contacted yet."""
    from braze_etl.storage._s3_conditional import S3ConditionalStore

    place = parse_uri(uri)
    if not isinstance(place, S3Place):
        raise ConfigError(f"{uri!r} is no place for conditional writes", remedy="write s3://bucket/prefix")
    return S3ConditionalStore(place.bucket, access), place.prefix
