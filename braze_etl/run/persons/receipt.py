"""The receipt of an erasure: what was looked at and removed, and what is left for others to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from braze_etl.clock import iso
from braze_etl.config import Settings
from braze_etl.quarantine import Found

_NO_LIST: Final = "a list, and name that as mapping.privacy.suppress"


@dataclass(frozen=True, slots=True)
class Remnant:
    """A place that this program does not reach, and what to do there."""

    place: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was looked at and removed, by place; the person only by a hash of their id.

    `salted`: the hash is one of salt and id. `suppressed`: the list of `privacy.suppress` covers the id.
    """

    at: datetime
    pipeline: str
    id_sha256: str
    salted: bool
    dry_run: bool
    places: Mapping[str, Found]
    suppressed: bool
    beyond_reach: tuple[Remnant, ...]

    @property
    def found(self) -> int:
        """How many things held the person."""
        return sum(each.found for each in self.places.values())

    def as_dict(self) -> dict[str, Any]:
        """The receipt as JSON values."""
        done = "found" if self.dry_run else "removed"
        return {
            "exit_code": 0,
            "erased_at": iso(self.at),
            "pipeline": self.pipeline,
            "id_sha256": self.id_sha256,
            "salted": self.salted,
            "dry_run": self.dry_run,
            "places": {
                name: {"looked_at": each.looked_at, done: each.found} for name, each in self.places.items()
            },
            "suppressed": self.suppressed,
            "beyond_reach": [{"place": each.place, "remedy": each.remedy} for each in self.beyond_reach],
        }


def receipt(
    settings: Settings,
    id_: str,
    at: datetime,
    places: Mapping[str, Found],
    *,
    suppressed: bool,
    dry_run: bool,
) -> Receipt:
    """Write the receipt for what was found of a person in these places."""
    digest = hash_of(settings, id_)
    return Receipt(
        at=at,
        pipeline=settings.pipeline,
        id_sha256=digest,
        salted=bool(settings.mapping.privacy.salt.get_secret_value()),
        dry_run=dry_run,
        places=places,
        suppressed=suppressed,
        beyond_reach=tuple(_beyond_reach(settings, digest, suppressed=suppressed)),
    )


def hash_of(settings: Settings, id_: str) -> str:
    """SHA-256 of the project's salt, if it has one, and an id: an entry of its suppress list."""
    salt = settings.mapping.privacy.salt.get_secret_value()
    return sha256(f"{salt}{id_}".encode()).hexdigest()


def _beyond_reach(settings: Settings, digest: str, *, suppressed: bool) -> Iterator[Remnant]:
    lookup, list_ = settings.mapping.identity.lookup, settings.mapping.privacy.suppress
    held = "" if suppressed else f"; until then add sha256:{digest} to {list_ or _NO_LIST}"
    yield Remnant(
        f"the source {settings.source.uri}",
        "its files still hold the person's records, and a run, a backfill or a replay reads them again: "
        f"delete or rewrite them, or let them expire{held}",
    )
    yield Remnant(
        f"the Amplitude project {settings.amplitude.project}",
        "have its User Privacy API (POST /api/2/deletions/users) delete the user; that takes up to 30 days, "
        "and events that are sent later make the user anew",
    )
    yield Remnant("Braze", "delete the user there (POST /users/delete), or it goes on to export their events")
    if lookup is not None:
        yield Remnant(
            f"the look-up table {lookup.uri}", "remove the person's row; the next run copies it anew"
        )
    yield Remnant(
        "copies by others",
        "backups, former versions of objects in buckets with versioning, and whatever reads the log; on S3 "
        "the next day's first run deletes the objects of the ledger that were replaced",
    )
