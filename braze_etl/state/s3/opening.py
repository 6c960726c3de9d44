"""The creation of a ledger in S3, and what is checked each time that one is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from braze_etl.errors import StateError
from braze_etl.state.ledger import Creation, check_identity, missing
from braze_etl.state.s3.head import HEAD, Head, Heads
from braze_etl.state.s3.objects import Objects

_BARE: Final = ", ETags without quotes"
"""Behind the name of a store that was tried: how it wants them."""
CONDITIONS_REMEDY: Final = (
    "Keep the state in a store that honours If-None-Match and If-Match on writes, as Amazon S3 does, "
    "or in SQLite on a volume."
)


def opened(
    objects: Objects,
    heads: Heads,
    creation: Creation,
    *,
    create: bool,
    read_only: bool,
    server: str,
    token: Callable[[], str],
) -> Head:
    """Find the head, or create it where *create* allows; *server* names the store, wherever it is moved to.

    Conditional writes are tried at creation, and again when the state was carried to another server: what the
    head says of the old one does not hold for it. A reader does not rely on them.
    """
    head = heads.find()
    if head is None:
        refuse_remains(objects)
        if read_only or not create:
            raise missing(objects.place, read_only=read_only)
        head = _created(objects, heads, creation, server=server, token=token)
    check_identity(objects.place, head.identity, creation.identity)
    objects.bare_etags = head.checked.endswith(_BARE)
    if head.checked != _checked(objects, server) and not read_only:
        refuse_without_conditions(objects, token)
        checked = _checked(objects, server)
        head = heads.commit(lambda found, _: replace(found, checked=checked))
    return head


def _created(
    objects: Objects, heads: Heads, creation: Creation, *, server: str, token: Callable[[], str]
) -> Head:
    creation.vouch(creation.start_at)
    refuse_without_conditions(objects, token)
    first = Head(
        identity=creation.identity,
        start_at=creation.start_at,
        created_at=creation.created_at,
        checked=_checked(objects, server),
    )
    return heads.create(first)


def refuse_without_conditions(objects: Objects, token: Callable[[], str]) -> None:
    """Raise `StateError` where the store gets a condition wrong that the lease relies on."""
    name = f"probe/{token()}"
    try:
        wrong = objects.try_conditions(name)
    except StateError as error:
        raise StateError(
            f"The store of {objects.place} can't be written, or takes no conditional writes: {error.message}",
            remedy=f"{error.remedy.rstrip('.')}. If it is the condition that is refused: {CONDITIONS_REMEDY}",
        ) from error
    objects.discard([name])
    if wrong:
        raise StateError(
            f"The store of {objects.place} {wrong}: two runs could both hold the lease.",
            remedy=CONDITIONS_REMEDY,
        )


def refuse_remains(objects: Objects) -> None:
    """A ledger that has lost its head must not be taken for none: files that are done would be sent again.

    A reader is told so too: `missing` has the remedy for a first run, which would then be refused.
    """
    for each in objects.listed():
        if not each.key.startswith("probe/"):
            raise StateError(
                f"There is no {HEAD} in {objects.place}, but there are other objects, such as {each.key}.",
                remedy=f"If this was a ledger, bring {HEAD} back (the bucket's versioning), or delete the "
                "rest for a fresh start; else give the ledger a prefix of its own in state.uri.",
            )


def _checked(objects: Objects, server: str) -> str:
    place = f"{objects.place} at {server}" if server else objects.place
    return place + _BARE if objects.bare_etags else place
