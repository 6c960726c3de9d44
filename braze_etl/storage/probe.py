"""Trying whether a store honours conditional writes, before a ledger relies on them."""

from __future__ import annotations

from collections.abc import Callable

from braze_etl.errors import StateError
from braze_etl.state.s3.objects import Objects


def try_conditions(objects: Objects, token: Callable[[], str]) -> None:
    """Write a probe under conditions that hold and that don't; `StateError` when the store gets one wrong.

    The form of ETags that the store honours is kept in *objects*.
    """
    name = f"probe/{token()}"
    try:
        wrong = _wrong_answer(objects, name)
    except StateError as error:
        # Some servers refuse a condition that they don't know: NotImplemented, InvalidArgument.
        raise StateError(
            f"The store of {objects.place} can't be written, or takes no conditional writes: {error.message}",
            remedy=f"{error.remedy.rstrip('.')}. If it is the condition that is refused: {_REMEDY}",
        ) from error
    objects.discard([name])
    if wrong:
        raise StateError(
            f"The store of {objects.place} {wrong}: two runs could both hold the lease.", remedy=_REMEDY
        )


_REMEDY = (
    "Keep the state in a store that honours If-None-Match and If-Match on writes, as Amazon S3 does, "
    "or in SQLite on a volume."
)


def _wrong_answer(objects: Objects, name: str) -> str:
    if objects.write(name, b"1", None) is None:
        return "refuses If-None-Match on an object that does not exist"
    if objects.write(name, b"2", None) is not None:
        return "ignores If-None-Match"
    return objects.try_etags(name)
