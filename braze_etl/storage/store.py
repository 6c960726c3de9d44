"""The one port to object stores: what a folder and S3 have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing: size in bytes, `modified` aware in UTC, `etag` without quotes.

    `archived`: it is in a class of storage from which it has to be restored before it can be read.
    """

    key: str
    etag: str
    size: int
    modified: datetime
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a listing: objects, and (with a delimiter) the common prefixes below.

    `in_order`: unless it says no, the store listed them in the order of their keys by itself.
    """

    objects: tuple[StoredObject, ...]
    prefixes: tuple[str, ...]
    in_order: bool = True


class Store(Protocol):
    """Objects by key. Keys sort by their UTF-8 bytes; S3 keys are whole, without the bucket.

    Every method raises `SourceGoneError` for an object that is not there (or no longer has the asked etag),
    `FileUnavailableError` for one that is not given as listed (`AccessDeniedError` for want of rights),
    and `StoreError` for all else that keeps it from its work (no bucket, no folder, no network).
    """

    @property
    def uri(self) -> str:
        """Where this is, for people: `s3://bucket` or the folder's path."""
        ...

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        """List keys that begin with *prefix* and lie behind *start_after*, each once; lazy, a request a page.

        They come in order, but for a store that turns out to have none in the middle of a listing: what it
        had listed so far was given before, and the rest follows in an order of its own.

        With *delimiter* `/`, what lies deeper than one level comes as common prefixes that end in `/`.
        """
        ...

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        """Open a stream on the bytes from *offset* (*length* of them, or all); the caller closes it.

        With *etag*, another content than that one is `SourceGoneError`; with *size*, the bytes of the whole,
        an answer of another length is `FileUnavailableError`.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object whole: a reader sees the old content or the new, also after a crash."""
        ...

    def lifetime(self, prefix: str = "") -> timedelta | None:
        """How long objects below *prefix* can be read before the store itself deletes or archives them.

        None where it never does; zero where it does so at once, or on a fixed day. `StoreError` where that
        can't be known: few jobs have the right to ask.
        """
        ...

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        """Find out whether objects below *prefix* can be read, written and removed; what is there stays.

        A folder is asked for its rights, file by file, and for room for so many bytes; in S3 a probe is
        written, read and removed again. `StoreError` without the room;
        `AccessDeniedError` names what is out of reach.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; what is not there counts as deleted."""
        ...


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

    `bare_etags`: `If-Match` goes without quotes. `probe.try_etags` finds out whether it has to.
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
