"""Trying whether a store honours conditional writes, before a ledger relies on them."""

from __future__ import annotations

from typing import Final

from braze_etl.errors import StoreError
from braze_etl.storage.store import ConditionalStore

_NO_ETAG: Final = "0" * 32


def try_conditions(store: ConditionalStore, key: str) -> str:
    """Write the object *key*, which is not there, under conditions that hold and that don't.

    Returns what the store does wrong, or nothing. Errors are the store's: some servers refuse a condition
    that they don't know (NotImplemented, InvalidArgument). The object is left behind.
    """
    if store.create(key, b"1") is None:
        return "refuses If-None-Match on an object that does not exist"
    if store.create(key, b"2") is not None:
        return "ignores If-None-Match"
    return try_etags(store, key)


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
