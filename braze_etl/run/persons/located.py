"""One file that a setting names, on this machine or in S3: its version and its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from braze_etl.errors import ConfigError, FileError, SourceGoneError, StoreError
from braze_etl.storage import Store, StoreAccess, open_store
from braze_etl.uri import S3Place, parse_uri


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
