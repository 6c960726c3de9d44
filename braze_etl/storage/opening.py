"""From a URI in the configuration to a store and the prefix in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from braze_etl.errors import ConfigError, FileError, SourceGoneError, StoreError, UsageError
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import ConditionalStore, Store
from braze_etl.uri import S3Place, is_in_s3, parse_any, parse_ledger, parse_uri

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

    None where it has not told, and for what is on this machine, whose clock is that of the job.
    """
    if not is_in_s3(uri):
        return None
    from braze_etl.storage.s3_client import clock_of

    return clock_of(access).now()


@dataclass(frozen=True, slots=True)
class Located:
    """A file that the job can't do without; `what` it is, for people. `path` is None for an object in S3.

    Every method raises `ConfigError` for a file that is not there, and `StoreError` for one out of reach.
    """

    what: str
    uri: str
    store: Store
    key: str
    path: Path | None = None

    def version(self) -> str:
        """The etag: another one for another content."""
        for page in self.store.pages(self.key):
            for stored in page.objects:
                if stored.key == self.key:
                    return stored.etag
        raise self._missing()

    def beginning(self, length: int = 100) -> bytes:
        """The first bytes."""
        with self.reading() as stream:
            return stream.read(length)

    @contextmanager
    def reading(self, version: str = "") -> Iterator[BinaryIO]:
        """Open it, in this *version* if one is given."""
        try:
            with closing(self.store.open(self.key, etag=version)) as stream:
                yield stream
        except SourceGoneError as error:
            if version:
                raise StoreError(
                    f"the {self.what} {self.uri} was replaced while it was read", remedy="Start again."
                ) from error
            raise self._missing() from error
        except FileError as error:
            raise StoreError(
                f"the {self.what} can't be read: {error.message}", remedy=error.remedy
            ) from error

    def _missing(self) -> ConfigError:
        return missing(self.what, self.uri)


def locate(what: str, uri: str, access: StoreAccess) -> Located:
    """Find the file that *uri* (a path, `file:///path`, `s3://bucket/key`) names; nothing in S3 is asked yet.

    `ConfigError` for a path that is no file.
    """
    place = parse_uri(uri, f"the {what}")
    if isinstance(place, S3Place):
        store, _ = open_store(S3Place(place.bucket, "").uri, access=access)
        return Located(what, uri, store, place.key)
    path = place
    if not path.is_file():
        raise missing(what, uri)
    path = path.absolute()
    store, _ = open_store(str(path.parent), access=access)
    return Located(what, str(path), store, path.name, path)


def missing(what: str, uri: str) -> ConfigError:
    """The error for a file that is not there."""
    return ConfigError(
        f"there is no {what} {uri}",
        remedy="Put it there, or correct its setting below `mapping`; without it nothing is sent.",
    )


class Places(NamedTuple):
    """The URIs of ledger and quarantine."""

    state: str
    quarantine: str


def places(source: str, pipeline: str, state: str | None) -> Places:
    """Say where the state of a pipeline goes: to *state*, or beside the source.

    `UsageError` for a place below the source, and for a whole bucket: the quarantine would lie in the ledger.
    """
    ledger = state or _beside(source, pipeline)
    found = Places(ledger, _quarantine_beside(ledger, pipeline))
    for place in found:
        if lies_below(place, source):
            raise UsageError(
                f"{place} lies below {source}: the job would write among the files of the source, and look "
                "there for event types",
                remedy="Name a place for the ledger with --state, such as s3://acme-state/braze-etl/ledger.",
            )
    return found


def lies_below(uri: str, other: str) -> bool:
    """Whether what is at *uri* is a part of what is at *other*."""
    return _place(uri).startswith(_place(other))


def _beside(source: str, pipeline: str) -> str:
    place = parse_uri(source)
    if not isinstance(place, S3Place):
        return f"sqlite:///state/{pipeline}.db"
    return S3Place(place.bucket, f"braze-etl/{pipeline}/ledger").uri


def _quarantine_beside(ledger: str, pipeline: str) -> str:
    place = parse_ledger(ledger)
    if not isinstance(place, S3Place):
        return str((place.parent if place else Path("state")) / f"{pipeline}-quarantine")
    above, slash, name = place.key.rstrip("/").rpartition("/")
    if not name:
        raise UsageError(
            f"{ledger} is a whole bucket: the quarantine would lie among the objects of the ledger",
            remedy="Name a place in it with --state, such as s3://acme-state/braze-etl/ledger.",
        )
    return S3Place(
        place.bucket, f"{above}{slash}{'quarantine' if name == 'ledger' else f'{name}-quarantine'}"
    ).uri


def _place(uri: str) -> str:
    """The URI in a form in which a part begins with the whole."""
    match parse_any(uri):
        case S3Place() as place:
            return f"s3://{place.bucket}/{place.prefix}"
        case Path() as path:
            return f"{str(path.resolve()).rstrip('/')}/"
    return uri


def open_conditional_store(uri: str, *, access: StoreAccess = _NO_ACCESS) -> tuple[ConditionalStore, str]:
    """Return the store that an `s3://bucket/prefix` names, and the prefix; nothing is contacted yet."""
    from braze_etl.storage.s3 import S3ConditionalStore

    place = parse_uri(uri)
    if not isinstance(place, S3Place):
        raise ConfigError(f"{uri!r} is no place for conditional writes", remedy="write s3://bucket/prefix")
    return S3ConditionalStore(place.bucket, access), place.prefix
