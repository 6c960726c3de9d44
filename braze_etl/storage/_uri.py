"""From a URI in the configuration to a store and the prefix in it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from braze_etl.errors import ConfigError
from braze_etl.storage._access import StoreAccess
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.port import Store

_NO_ACCESS = StoreAccess()


def open_store(uri: str, *, access: StoreAccess = _NO_ACCESS, must_exist: bool = True) -> tuple[Store, str]:
    """Return the store that *uri* names, and the prefix of what belongs to it: nothing is contacted yet.

    `s3://bucket/prefix` gives the bucket and `prefix/`; a path or `file:///path` gives that folder and no
    prefix. Without *must_exist*, a folder that is not there lists as empty; the first `put` makes it.
    `ConfigError` for anything else.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return FolderStore(Path(uri).expanduser(), must_exist=must_exist), ""
    if scheme.lower() == "s3":
        return _s3(uri, rest, access)
    if scheme.lower() == "file":
        return FolderStore(_local_path(uri, rest), must_exist=must_exist), ""
    raise ConfigError(
        f"there is no store for {uri!r}: the scheme {scheme!r} is unknown",
        remedy="write s3://bucket/prefix, a path, or file:///absolute/path",
    )


def _s3(uri: str, rest: str, access: StoreAccess) -> tuple[Store, str]:
    # The client library takes a third of a second to import, and a job on folders has no need of it.
    from braze_etl.storage.s3 import S3Store

    bucket, _, path = rest.partition("/")
    if not bucket:
        raise ConfigError(f"{uri!r} names no bucket", remedy="write s3://bucket or s3://bucket/prefix")
    prefix = path.strip("/")
    return S3Store(bucket, access), f"{prefix}/" if prefix else ""


def _local_path(uri: str, rest: str) -> Path:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise ConfigError(
            f"{uri!r} names a folder on another machine, or none",
            remedy="write file:///absolute/path (three slashes), or the path alone",
        )
    return Path("/" + unquote(path))
