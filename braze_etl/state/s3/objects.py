"""The ledger's objects by their names, packed and unpacked, with every trouble told as the ledger's."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

import orjson

from braze_etl.errors import AbandonedError, FileError, SourceGoneError, StateError, StoreError, TooSlowError
from braze_etl.state.ledger import understood
from braze_etl.storage.probe import try_conditions
from braze_etl.storage.store import ConditionalStore, StoredObject, Version

_T = TypeVar("_T")

_LEVEL: Final = 6
_SUFFIX: Final = ".json.gz"
_RIGHTS: Final = (
    "Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on the place of state.uri; "
    "without the last, S3 says the same of an object that is not there."
)


def packed(name: str) -> str:
    """The whole name of a packed object."""
    return name + _SUFFIX


def _unpacked(data: bytes) -> Any:
    try:
        return orjson.loads(gzip.decompress(data))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error


class ObjectGoneError(StateError):
    """An object that the head names is not there: it was compacted away, or somebody deleted it."""


class Objects:
    """The objects below *prefix*. Those that are named without a suffix are packed JSON, written once."""

    def __init__(self, store: ConditionalStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self.place: Final = f"{store.uri}/{prefix}".rstrip("/")

    @property
    def bare_etags(self) -> bool:
        """See `ConditionalStore`."""
        return self._store.bare_etags

    @bare_etags.setter
    def bare_etags(self, bare: bool) -> None:
        self._store.bare_etags = bare

    def try_conditions(self, name: str) -> str:
        """See `try_conditions`, of the storage; the form of ETags that the store honours is kept here."""
        with self.in_our_words():
            return try_conditions(self._store, self._prefix + name)

    def get(self, name: str, of: Callable[[Any], _T]) -> _T:
        """Read a packed object, and give what *of* makes of it; `ObjectGoneError` when it is not there."""
        with self.in_our_words():
            try:
                with self._store.open(self._prefix + packed(name)) as stream:
                    data = stream.read()
            except SourceGoneError as error:
                raise self._gone(name) from error
        with self.understood(packed(name)):
            return of(_unpacked(data))

    def put(self, name: str, value: Any) -> None:
        """Write a packed object. It is on record once the head names it, and not before."""
        data = gzip.compress(orjson.dumps(value), _LEVEL, mtime=0)
        with self.in_our_words():
            self._store.put(self._prefix + packed(name), data)

    def delete(self, names: Iterable[str]) -> None:
        """Delete packed objects."""
        self.discard(map(packed, names))

    def listed(self) -> Iterator[StoredObject]:
        """List all that lies below the prefix, by whole names: those of packed objects have their suffix."""
        with self.in_our_words():
            for page in self._store.pages(self._prefix):
                for each in page.objects:
                    yield replace(each, key=each.key.removeprefix(self._prefix))

    def read(self, name: str) -> Version | None:
        """Read a plain object that changes; None when there is none."""
        with self.in_our_words():
            return self._store.read(self._prefix + name)

    def write(self, name: str, data: bytes, etag: str | None) -> str | None:
        """Write a plain object over the version *etag* (None: there is none yet); None when that is lost."""
        with self.in_our_words():
            if etag is None:
                return self._store.create(self._prefix + name, data)
            return self._store.replace(self._prefix + name, data, etag)

    def discard(self, names: Iterable[str]) -> None:
        """Delete objects by their whole names."""
        with self.in_our_words():
            self._store.delete(self._prefix + name for name in names)

    def understood(self, name: str) -> AbstractContextManager[None]:
        """See `understood`: turns what comes of an object of another shape into `StateError`."""
        return understood(self.place, name)

    @contextmanager
    def in_our_words(self) -> Iterator[None]:
        """Turn the store's errors into `StateError`."""
        try:
            yield
        except AbandonedError:
            raise  # it is no trouble of the ledger's
        except (StoreError, TooSlowError) as error:
            raise StateError(
                f"The ledger {self.place} can't be reached: {error.message}.", remedy=error.remedy
            ) from error
        except FileError as error:
            raise StateError(f"The ledger {self.place}: {error.message}.", remedy=_RIGHTS) from error

    def _gone(self, name: str) -> ObjectGoneError:
        return ObjectGoneError(
            f"The ledger {self.place} is damaged: {packed(name)} is gone.",
            remedy="Bring that object back (the bucket's versioning), or a copy of the whole ledger.",
        )
