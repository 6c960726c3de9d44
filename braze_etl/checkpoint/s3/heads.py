"""Reading the head, and changing it under condition: the one place where the ledger's state moves on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import orjson

from braze_etl.checkpoint._rules import check_version
from braze_etl.checkpoint.s3.head import Head, from_json, latest_schema, migrated, to_json, version_of
from braze_etl.checkpoint.s3.objects import ObjectGoneError, Objects
from braze_etl.errors import StateError
from braze_etl.storage import Version

HEAD: Final = "head.json"
_ATTEMPTS: Final = 8

Change: TypeAlias = Callable[[Head, str], Head]
"""From a head to the next, whose objects bear the given stamp; it may be asked again, of a newer head."""

_T = TypeVar("_T")


class Heads:
    """The head as it was last read or written. *token* gives a few random letters for a stamp.

    While a lease is held, `generation` is its number: a head of a newer one means that another run has taken
    over, and nothing is stored any more.
    """

    def __init__(self, objects: Objects, *, read_only: bool, token: Callable[[], str]) -> None:
        self._objects = objects
        self.read_only: Final = read_only
        self._token = token
        self._head: Head | None = None
        self._etag = ""
        self.read_at: datetime | None = None
        self.generation: int | None = None

    def find(self) -> Head | None:
        """Read the head; None when there is none."""
        self._head = None
        found = self._objects.read(HEAD)
        if found is None:
            return None
        self._head, self._etag, self.read_at = self._parsed(found), found.etag, found.read_at
        return self._head

    def refresh(self) -> Head:
        """Read the head again."""
        head = self.find()
        if head is None:
            raise StateError(
                f"The ledger {self._objects.place} has lost its {HEAD}.",
                remedy="Bring that object back (the bucket's versioning), or a copy of the whole ledger.",
            )
        return head

    def current(self) -> Head:
        """The head as it was last seen; it may be older than the ledger."""
        return self._head or self.refresh()

    def fresh(self) -> Head:
        """The head as it is; the holder of a lease has no need to ask."""
        return self.refresh() if self.generation is None else self.current()

    def reading(self, work: Callable[[Head], _T]) -> _T:
        """Do *work* on the head's objects, and again on a newer head when they were compacted away."""
        head = self.current()
        for _ in range(_ATTEMPTS):
            try:
                return work(head)
            except ObjectGoneError:
                newer = self.refresh()
                if newer.stamp == head.stamp:
                    raise
                head = newer
        raise self._restless()

    def create(self, head: Head) -> Head:
        """Write the first head, or take that of somebody who was quicker."""
        first = replace(head, sequence=1, stamp=self._stamp(head))
        etag = self._objects.write(HEAD, to_json(first), None)
        if etag is None:
            return self.refresh()
        self._head, self._etag = first, etag
        return first

    def new_stamp(self) -> str:
        """A name for objects that are written before it is known which head will name them."""
        return self._stamp(self.current())

    def commit(self, change: Change) -> Head:
        """Store what *change* makes of the head; `StateError` when that can't be done, or may no longer."""
        self._check_writable()
        for _ in range(_ATTEMPTS):
            head = self.current()
            self._check_fence(head)
            stamp = self._stamp(head)
            changed = self._changed(change, head, stamp)
            if changed is not None and self._put(changed):
                return changed
        raise self._restless()

    def _changed(self, change: Change, head: Head, stamp: str) -> Head | None:
        """The next head; None when this one is so old that its objects are gone."""
        try:
            return replace(
                change(head, stamp),
                sequence=head.sequence + 1,
                stamp=stamp,
                schema_version=latest_schema(),
            )
        except ObjectGoneError:
            if self.refresh().stamp == head.stamp:
                raise
            return None

    def _put(self, head: Head) -> bool:
        # Until the answer is there, nobody knows which head is the last one.
        self._head, etag = None, self._etag
        new_etag = self._objects.write(HEAD, to_json(head), etag)
        if new_etag is None:
            # Lost; or won, if the answer did not arrive and the client library has sent it again.
            return self.refresh().stamp == head.stamp
        self._head, self._etag = head, new_etag
        return True

    def _stamp(self, head: Head) -> str:
        return f"{head.sequence + 1:x}-{self._token()}"

    def _parsed(self, found: Version) -> Head:
        try:
            value = orjson.loads(found.data)
        except ValueError as error:
            raise self._objects.damaged(HEAD, error) from error
        version = version_of(value)
        if version is None:
            raise StateError(
                f"The object {self._objects.place}/{HEAD} belongs to another program.",
                remedy="Give the ledger a prefix of its own in state.uri.",
            )
        check_version(self._objects.place, version, latest_schema(), read_only=self.read_only)
        try:
            return from_json(migrated(value, version))
        except (KeyError, TypeError, ValueError) as error:
            raise self._objects.damaged(HEAD, error) from error

    def _check_writable(self) -> None:
        if self.read_only:
            raise StateError(
                f"The ledger {self._objects.place} can't be written: it is open for reading only.",
                remedy="Open it for writing to store something.",
            )

    def _check_fence(self, head: Head) -> None:
        if self.generation is None or head.generation <= self.generation:
            return
        raise StateError(
            f"The lease of {self._objects.place} was taken over while this run stood still; "
            "what it did since then is not stored, and counts as not done.",
            remedy="Nothing to repair: the other run goes on. See what stops this machine for more than a "
            "minute (a suspended machine, a paused container), or whether `state unlock` was used.",
        )

    def _restless(self) -> StateError:
        return StateError(
            f"The ledger {self._objects.place} is changed by others again and again.",
            remedy="See which runs share this state.uri; each pipeline needs one of its own.",
        )
