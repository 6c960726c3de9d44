"""Lifecycle rules of the buckets: what deletes or archives files before this job is done with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from braze_etl.config import duration_text
from braze_etl.errors import StoreError
from braze_etl.run.assembly import open_source, store_access
from braze_etl.run.checks.finding import Check, Finding, fail, ok, skipped, warn
from braze_etl.run.checks.site import Site
from braze_etl.storage import open_store


def of_source(site: Site) -> Finding:
    """Files that go before they are delivered, or before what was set aside of them can be replayed."""
    return _judged(site, "source", _source)


def of_state(site: Site) -> Finding:
    """A ledger that goes."""
    return _judged(site, "state", _state)


def of_quarantine(site: Site) -> Finding:
    """What was set aside, and goes before anybody has looked."""
    return _judged(site, "quarantine", _quarantine)


def _judged(site: Site, name: str, judge: Callable[[Site, timedelta], Finding]) -> Finding:
    if not getattr(site.settings, name).uri.startswith("s3://"):
        return skipped(f"the {name} is on this disk")
    try:
        lifetime = _lifetime(site, name)
    except StoreError as error:
        # Not `ok`: a rule may well be there. Not `fail`: nothing else needs this right.
        return skipped(f"the rules can't be read: {error.message}; {error.remedy}")
    if lifetime is None:
        return ok("no lifecycle rule deletes or archives what lies there")
    return judge(site, lifetime)


def _lifetime(site: Site, name: str) -> timedelta | None:
    if name == "source":
        store, prefix = open_source(site.settings)
    else:
        section = getattr(site.settings, name)
        store, prefix = open_store(section.uri, access=store_access(site.settings, section))
    return store.lifetime(prefix)


def _source(site: Site, lifetime: timedelta) -> Finding:
    settings, seen = site.settings, f"a lifecycle rule deletes or archives files {_after(lifetime)}"
    if lifetime <= settings.window.objective:
        return fail(
            f"{seen}, and they have {duration_text(settings.window.objective)} to be delivered",
            "Let the rule wait for weeks: a file that is gone can't be delivered, nor replayed.",
        )
    if lifetime < settings.quarantine.payload_ttl and settings.quarantine.payload is False:
        return warn(
            f"{seen}; what is set aside can't be replayed after that",
            "Let the rule wait longer, or set quarantine.payload to auto.",
        )
    return ok(seen)


def _state(_site: Site, lifetime: timedelta) -> Finding:
    return fail(
        f"a lifecycle rule deletes or archives objects of the ledger {_after(lifetime)}",
        "Take its prefix out of the rule; one that expires former versions is welcome.",
    )


def _quarantine(_site: Site, lifetime: timedelta) -> Finding:
    return warn(
        f"a lifecycle rule deletes or archives what was set aside {_after(lifetime)}",
        "Take its prefix out of the rule, or see to it that somebody looks before: what is gone can't be "
        "replayed, and nothing says any more that it was there. quarantine.payload_ttl removes the records.",
    )


def _after(lifetime: timedelta) -> str:
    return f"after {duration_text(lifetime)}" if lifetime else "at once, or on a fixed day"


CHECKS: Final = (
    Check("source.lifecycle", of_source, needs=("source.list",), reads=("source",)),
    Check("state.lifecycle", of_state, reads=("state", "source")),
    Check("quarantine.lifecycle", of_quarantine, reads=("quarantine", "source")),
)
