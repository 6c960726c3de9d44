"""The source: as whom it is read, whether Braze still writes to it, and what a sample of its records is."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Final

from braze_etl.braze.currents.keys import parse_key
from braze_etl.braze.currents.volumes import spread
from braze_etl.clock import iso
from braze_etl.commands.doctor.check import Check, Finding, fail, ok, skipped, warn
from braze_etl.commands.doctor.site import Site
from braze_etl.flows.currents_to_amplitude.sampling import Sample
from braze_etl.model import FileRef, Reason
from braze_etl.storage.opening import server_time
from braze_etl.storage.s3_client import find_caller
from braze_etl.uri import S3Place, is_in_s3, parse_any

_QUIET: Final = timedelta(hours=6)
_DOUBLES: Final = 5
"""Event types of several connectors whose newest files are compared, of up to so many connectors each."""
_WRITERS: Final = 4
_SIDE_BY_SIDE: Final = timedelta(hours=24)
_GIVEN_UP: Final = timedelta(days=5)
"""So long does Braze keep events of a connector whose credentials fail (currents.md, 1.3)."""

_SILENT: Final = (
    "See in Braze whether the Current is on and its credentials hold; it can't write to a bucket with SSE-KMS"
    " or Object Lock. What it can't write for days is lost for good, here too."
)

_TWICE: Final = (
    "If they export the same workspace, each event is sent twice: name one in source.integrations."
)

_DAMAGED: Final = "Such files are set aside, and the others delivered: `quarantine list` will name them."

_NEW: Final = (
    "To send one, name it in mapping.send, and in mapping.choose.include where that lists types"
    " (docs/drift.md). To be told of it no more, leave it out with `!name` in source.event_types."
)

_MANY: Final = 0.25
_HALF: Final = 0.5
_THIN: Final = 100


def identity(site: Site) -> Finding:
    """As whom S3 sees this job, store by store."""
    seen = []
    for name in ("source", "state", "quarantine"):
        uri, access = site.at(name)
        place = parse_any(uri)
        if isinstance(place, S3Place):
            caller = find_caller(place.bucket, access)
            asked = "" if caller.confirmed else ", not asked of AWS: the server is another"
            seen.append(f"{name}: {caller.name} (by {caller.method}{asked})")
    return ok("; ".join(seen)) if seen else skipped("no store is in S3")


def listing(site: Site) -> Finding:
    """The right to list, and whether there are event types below."""
    types = sorted({folder.event_type for folder in site.folders})
    source = site.settings.source
    if (told := server_time(source.uri, access=source.access())) is not None:
        site.server_times["S3 (source)"] = (told, site.clock.now())
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
    ended = f"ended {_ago(age)}" if age else "has not ended yet"
    seen = f"the newest file is of the hour {iso(newest.hour)}, which {ended} ({newest.event_type})"
    if age >= _GIVEN_UP and is_in_s3(site.settings.source.uri):
        return fail(seen, _SILENT)
    return warn(seen, _SILENT) if age >= _QUIET else ok(seen)


def _ago(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    return f"{hours:,.1f} hours ago" if hours >= 1 else f"{age / timedelta(minutes=1):.0f} minutes ago"


def connectors(site: Site) -> Finding:
    """Connectors that write the same events side by side."""
    doubles = site.doubles
    for name in spread(sorted(doubles), _DOUBLES):
        files = sorted(site.newest(spread(doubles[name], _WRITERS)), key=lambda ref: ref.hour)
        # One that was made anew has the files of the one before beside it: that wrote last when this began.
        if len(files) > 1 and files[-1].hour - files[-2].hour <= _SIDE_BY_SIDE:
            ids = _writers(files)
            return warn(
                f"{len(doubles)} event types, such as {name}, come from several connectors: {ids}", _TWICE
            )
    return ok(f"connectors at work: {_writers(site.recent) or 'none'}")


def _writers(files: list[FileRef]) -> str:
    keys = (parse_key(ref.key) for ref in files)
    return ", ".join(sorted({key.integration for key in keys if key}))


def reading(site: Site) -> Finding:
    """The right to read, and whether a recent file decodes."""
    archived = [ref for ref in site.recent if ref.archived]
    sample = site.sample
    if sample.denied:
        first, files = sample.denied[0], f"{len(sample.denied)} of {len(site.recent)} recent files"
        remedy = (
            f"{first.remedy[:1].upper()}{first.remedy[1:]}; or leave such types out with source.event_types."
        )
        return fail(f"{files} could not be read: {first.message}", remedy)
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
        "Look at one of them with `braze-etl preview`: they are no Currents files, or damaged.",
    )


def sends(site: Site) -> Finding:
    """Which of the source's event types the mapping sends."""
    plans = [site.mapping.plan(name) for name in sorted({each.event_type for each in site.folders})]
    reasons = Counter(plan.withheld.value for plan in plans if plan.withheld is not None)
    sent = len(plans) - reasons.total()
    left = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    seen = f"{sent} event types are sent" + (f"; not sent: {left}" if left else "")
    if not sent:
        return fail(seen, "Name event types in mapping.choose.include: `braze-etl mapping list` shows all.")
    # Whatever keeps it off: a list of what is chosen was written before the type was there.
    new = [plan.event_type for plan in plans if plan.withheld is not None and not plan.listed]
    if new:
        return warn(f"{seen}. This release does not know: {', '.join(new)}", _NEW)
    return ok(seen)


def record_identity(site: Site) -> Finding:
    """Records of nobody: neither external id nor device id. Braze's own connector drops them, too."""
    sample = site.sample
    if not sample.judged:
        return skipped("the sample has no record that is no test event")
    share = sample.without_identity / sample.judged
    seen = f"{sample.without_identity:,} of {_sampled(sample)} ({share:.1%}) belong to nobody{_thin(sample)}"
    if share < _MANY:
        return ok(seen)
    found = fail if share == 1 else warn
    return found(
        seen,
        "They are filtered as no_identity. Set external ids in Braze; events of anonymous users that have no "
        "device id (e-mail, SMS, Canvas) can be sent with mapping.identity.anonymous: braze_id.",
    )


def ids(site: Site) -> Finding:
    """Ids that Amplitude refuses, and the `min_id_length` that would help."""
    sample = site.sample
    if not sample.judged:
        return skipped("the sample has no record that is no test event")
    if not sample.refused:
        return ok(f"Amplitude takes the ids of all {_sampled(sample)}{_thin(sample)}")
    reasons = ", ".join(
        f"{count:,} {reason.value}"
        for reason, count in sample.reasons.items()
        if reason is not Reason.NO_IDENTITY
    )
    share = sample.refused / sample.judged
    found = fail if share >= _HALF else warn
    seen = f"{sample.refused:,} of {_sampled(sample)} ({share:.1%}): {reasons}{_thin(sample)}"
    return found(seen, _mend(site))


def _sampled(sample: Sample) -> str:
    return f"{sample.judged:,} sampled records of {sample.files:,} files"


def _thin(sample: Sample) -> str:
    """Of a thin sample, a share says little."""
    return "; few to judge by" if sample.judged < _THIN else ""


def _mend(site: Site) -> str:
    sample, remedies = site.sample, []
    if sample.short_ids:
        least, records = min(sample.short_ids), sample.short_ids.total()
        remedies.append(
            f"{records:,} have ids of fewer than {site.settings.amplitude.min_id_length} characters: "
            f"amplitude.min_id_length: {least} would take them all, if these are real ids."
        )
    if sample.reasons[Reason.REDACTED_IDENTITY]:
        remedies.append("Ids are [REDACTED]: take the field transformation of external_user_id off in Braze.")
    return (
        " ".join(remedies) or "Words such as null or unknown are no ids: correct them where Braze gets them."
    )


def test_events(site: Site) -> Finding:
    """Placeholders of Braze's button "Send Test Events"."""
    sample = site.sample
    if site.settings.mapping.test_events == "send":
        return warn("mapping.test_events is send: placeholders would be real events", "Set it to filter.")
    return ok(f"{sample.test_events:,} of {sample.records:,} sampled records are test events, and filtered")


CHECKS: Final = (
    Check("identity", identity, reads=("source", "state", "quarantine")),
    Check("source.list", listing, reads=("source",)),
    Check("source.fresh", fresh, needs=("source.list",), reads=("source", "mapping")),
    Check("source.connectors", connectors, needs=("source.list",), reads=("source", "mapping")),
    Check("source.read", reading, needs=("source.list",), reads=("source", "mapping")),
    Check("mapping.sends", sends, needs=("source.list",), reads=("source", "mapping")),
    Check("records.identity", record_identity, needs=("source.read",)),
    Check("records.ids", ids, needs=("source.read",)),
    Check("records.test_events", test_events, needs=("source.read",)),
)
