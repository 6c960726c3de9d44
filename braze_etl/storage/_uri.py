"""From a URI in the configuration to a store and the prefix in it."""

from __future__ import annotations

from datetime import datetime

from braze_etl.storage._access import StoreAccess
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.port import Store
from braze_etl.uri import S3Place, parse_uri

_NO_ACCESS = StoreAccess()


def open_store(
    uri: str, *, access: StoreAccess = _NO_ACCESS, must_exist: bool = True, gives_way: bool = False
) -> tuple[Store, str]:
    """Return the store that *uri* names, and the prefix of what belongs to it: nothing is contacted yet.

    `s3://bucket/prefix` gives the bucket and `prefix/`; a path or `file:///path` gives that folder and no
    prefix. Without *must_exist*, a folder that is not there lists as empty; the first `put` makes it.
    With *gives_way*, calls are given up when the run has to stop (see `S3Store`). `ConfigError` for anything
    else.
    """
    place = parse_uri(uri)
    if not isinstance(place, S3Place):
        return FolderStore(place, must_exist=must_exist), ""
    # The client library takes a third of a second to import, and a job on folders has no need of it.
    from braze_etl.storage.s3 import S3Store

    return S3Store(place.bucket, access, gives_way=gives_way), place.prefix


def server_time(uri: str, *, access: StoreAccess = _NO_ACCESS) -> datetime | None:
    """What time it is by the server of that store, going by its last answer to this process.

    None where it has not told, and for a folder, whose clock is that of this machine.
    """
    if not isinstance(parse_uri(uri), S3Place):
        return None
    from braze_etl.storage._s3_client import clock_of

    return clock_of(access).now()
