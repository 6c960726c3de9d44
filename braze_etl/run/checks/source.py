"""The source: as whom it is read, whether it can be, and whether Braze still writes to it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final

from braze_etl.clock import iso
from braze_etl.config import Settings, StoreSection, duration_text
from braze_etl.currents import parse_key
from braze_etl.model import Reason
from braze_etl.run.assembly import store_access
from braze_etl.run.checks.finding import Check, Finding, fail, ok, skipped, warn
from braze_etl.run.checks.site import Site
from braze_etl.storage import find_caller

_QUIET: Final = timedelta(hours=6)
_GIVEN_UP: Final = timedelta(days=5)
"""So long does Braze keep events of a connector whose credentials fail (currents.md, 1.3)."""


def identity(site: Site) -> Finding:
    """As whom S3 sees this job, store by store."""
    sections: dict[str, tuple[str, StoreSection]] = _sections(site.settings)
    seen = Counter[str]()
    for name, (uri, section) in sections.items():
        if uri.startswith("s3://"):
            bucket = uri.removeprefix("s3://").partition("/")[0]
            caller = find_caller(bucket, store_access(site.settings, section))
            asked = "" if caller.confirmed else ", not asked of AWS: the server is another"
            seen[f"{name}: {caller.name} (by {caller.method}{asked})"] += 1
    return ok("; ".join(seen)) if seen else skipped("no store is in S3")


def _sections(settings: Settings) -> dict[str, tuple[str, StoreSection]]:
    return {
        "source": (settings.source.uri, settings.source),
        "state": (settings.state.uri, settings.state),
        "quarantine": (settings.quarantine.uri, settings.quarantine),
    }


def listing(site: Site) -> Finding:
    """The right to list, and whether there are event types below."""
    types = sorted({folder.event_type for folder in site.folders})
    if not types:
        return fail(
            f"{site.settings.source.uri} can be listed, and has no selected event type below it",
            "Point source.uri at the folder that holds the dataexport. folders; see source.event_types and "
            "source.integrations. A new connector writes its first file after 5 to 30 minutes.",
        )
    return ok(f"{site.settings.source.uri} can be listed: {len(types)} event types")


def fresh(site: Site) -> Finding:
    """Whether Braze still writes; when it stops, it tells the owner of the connector, and nobody here."""
    if not site.recent:
        return fail("there is no file below the event types", _SILENT)
    newest = site.recent[-1]
    # Not when it was modified: a copy of an old bucket is no sign of life.
    age = max(timedelta(0), site.clock.now() - newest.hour - timedelta(hours=1))
    ago = f"{age / timedelta(hours=1):,.1f} hours ago"
    seen = f"the newest file is of the hour {iso(newest.hour)}, which ended {ago} ({newest.event_type})"
    if age >= _GIVEN_UP and site.settings.source.uri.startswith("s3://"):
        return fail(seen, _SILENT)
    return warn(seen, _SILENT) if age >= _QUIET else ok(seen)


_SILENT: Final = (
    "See in Braze whether the Current is on and its credentials hold; it can't write to a bucket with SSE-KMS"
    " or Object Lock. What it can't write for days is lost for good, here too."
)


def connectors(site: Site) -> Finding:
    """Connectors that write the same events side by side."""
    writers: dict[str, set[str]] = {}
    for ref in site.recent:
        key = parse_key(ref.key)
        writers.setdefault(ref.event_type, set()).add(key.integration if key else "")
    ids = sorted(set().union(*writers.values()))
    twice = sorted(name for name, each in writers.items() if len(each) > 1)
    if twice:
        return warn(
            f"{len(twice)} event types, such as {twice[0]}, come from several connectors: {', '.join(ids)}",
            "If they export the same workspace, each event is sent twice: name one in source.integrations.",
        )
    return ok(f"connectors at work: {', '.join(ids) or 'none'}")


def reading(site: Site) -> Finding:
    """The right to read, and whether a recent file decodes."""
    archived = [ref for ref in site.recent if ref.archived]
    sample = site.sample
    if sample.records:
        codecs = ", ".join(sample.codecs)
        seen = f"{sample.records:,} records of {sample.files} recent files were read; codecs: {codecs}"
        if sample.faults:
            return warn(f"{seen}; {len(sample.faults)} files at fault: {sample.faults[0]}", _DAMAGED)
        return ok(seen)
    if archived:
        return fail(
            f"{len(archived)} recent files are archived", "Let files be archived later than delivered."
        )
    return fail(
        f"no recent file could be read: {sample.faults[0] if sample.faults else 'there is none'}",
        "Allow s3:GetObject below source.uri, and kms:Decrypt where the files are encrypted with a key.",
    )


_DAMAGED: Final = "Such files are set aside, and the others delivered: `quarantine list` will name them."


def lifecycle(site: Site) -> Finding:
    """Rules of the bucket that delete files before they are delivered, or could be replayed."""
    store, prefix = site.source
    lifetime, settings = store.lifetime(prefix), site.settings
    if lifetime is None:
        return ok("no rule that deletes files is known (or there is no right to read the rules)")
    seen = f"the bucket deletes files after {duration_text(lifetime)}"
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


def sent(site: Site) -> Finding:
    """Which of the source's event types the mapping sends."""
    reasons = Counter(site.mapping.plan(name).withheld for name in {each.event_type for each in site.folders})
    seen = f"{reasons.pop(None, 0)} event types are sent"
    left = ", ".join(f"{count} {reason.value}" for reason, count in reasons.items() if reason is not None)
    seen += f"; not sent: {left}" if left else ""
    if seen.startswith("0 "):
        return fail(seen, "Name event types in mapping.choose.include: `braze-etl mapping list` shows all.")
    if reasons[Reason.HELD]:
        return warn(
            seen, "Types that this release does not know are held: docs/drift.md says how to send them."
        )
    return ok(seen)


CHECKS: Final = (
    Check("identity", identity, reads=("source", "state", "quarantine")),
    Check("source.list", listing, reads=("source",)),
    Check("source.fresh", fresh, needs=("source.list",), reads=("source", "mapping")),
    Check("source.connectors", connectors, needs=("source.list",), reads=("source", "mapping")),
    Check("source.read", reading, needs=("source.list",), reads=("source", "mapping")),
    Check("source.lifecycle", lifecycle, needs=("source.list",), reads=("source",)),
    Check("mapping.sends", sent, needs=("source.list",), reads=("source", "mapping")),
)
