"""Objects that are written only if they are as the writer believes: the ground for locks and shared state.

With PutObject, S3 takes `If-None-Match: *` (there must be no such object) and `If-Match` (it must have this
ETag): Amazon S3 User Guide, "Conditional writes". Servers that only look like S3 may ignore both: whoever
relies on them has to try them first. An ETag stands in quotes (RFC 9110), but Ceph 16 and what is built on it
(DigitalOcean Spaces) compare it with one that has none, and answer that it is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from braze_etl.errors import ConfigError, StoreError
from braze_etl.storage._access import StoreAccess
from braze_etl.storage.port import Store
from braze_etl.uri import S3Place, parse_uri

_NO_ACCESS = StoreAccess()
_NO_ETAG = "0" * 32


@dataclass(frozen=True, slots=True)
class Version:
    """An object as it was read: its bytes, and the ETag to hand to `replace`, without quotes.

    `modified` and `read_at` are both told by the server (Last-Modified, Date), in whole seconds: their
    difference is the object's age, whatever the clock of this machine says.
    """

    data: bytes
    etag: str
    modified: datetime
    read_at: datetime


class ConditionalStore(Store, Protocol):
    """A `Store` that also writes under conditions. Small objects: they are read whole.

    `bare_etags`: `If-Match` goes without quotes. `try_etags` finds out whether it has to.
    """

    bare_etags: bool

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


def try_etags(store: ConditionalStore, key: str) -> str:
    """Write over the object *key*, which nobody else does, with right ETags and wrong ones, in both forms.

    The form that the store honours is kept in it. Returns what the store does wrong, or nothing. It is found
    out here, and never by trying a refused write again: a store that ignores the other form would write over
    what somebody else has written.
    """
    for store.bare_etags in (False, True):
        try:
            if store.replace(key, b"wrong", _NO_ETAG) is not None:
                return "ignores If-Match"
            found = store.read(key)
            etag = store.replace(key, b"first", found.etag) if found else None
        except StoreError:
            if store.bare_etags:
                raise
            continue  # some find fault with the quotes: InvalidArgument
        if etag is not None:
            again = store.replace(key, b"second", etag)
            return "" if again else "refuses If-Match with the ETag that it gave to a writer"
    return "refuses If-Match with the ETag that it gave to a reader"


def open_conditional_store(uri: str, *, access: StoreAccess = _NO_ACCESS) -> tuple[ConditionalStore, str]:
    """Return the store that an `s3://bucket/prefix` names, and the prefix; nothing is contacted yet."""
    from braze_etl.storage._s3_conditional import S3ConditionalStore

    place = parse_uri(uri)
    if not isinstance(place, S3Place):
        raise ConfigError(f"{uri!r} is no place for conditional writes", remedy="write s3://bucket/prefix")
    return S3ConditionalStore(place.bucket, access), place.prefix
