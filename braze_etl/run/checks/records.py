"""What is in recent files: whose events they are, and whether Amplitude takes the ids."""

from __future__ import annotations

from typing import Final

from braze_etl.model import Reason
from braze_etl.run.checks.finding import Check, Finding, fail, ok, skipped, warn
from braze_etl.run.checks.site import Site
from braze_etl.run.starting.sampling import Sample

_MANY: Final = 0.25
_HALF: Final = 0.5
_THIN: Final = 100


def identity(site: Site) -> Finding:
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
    Check("records.identity", identity, needs=("source.read",)),
    Check("records.ids", ids, needs=("source.read",)),
    Check("records.test_events", test_events, needs=("source.read",)),
)
