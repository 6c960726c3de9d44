"""The ledger: whether it is there and ours, who is at work, and how the last runs went."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from braze_etl.clock import duration_text, iso
from braze_etl.commands.doctor.check import Check, Finding, fail, ok, skipped, warn
from braze_etl.commands.doctor.site import Site
from braze_etl.engine import quarantine_stop as bound
from braze_etl.engine.clock_skew import BORN_WRONG
from braze_etl.engine.forecast import SHORTER_PATIENCE, distance, too_patient
from braze_etl.flows.pipeline import open_quarantine
from braze_etl.state.ledger import RunRecord

_LONG: Final = timedelta(hours=12)
_NO_LEDGER: Final = "there is no ledger yet"

_READS: Final = ("state", "source", "amplitude.region", "amplitude.project")


def ledger(site: Site) -> Finding:
    """Whether it can be read, and belongs to this project and region."""
    state, books = site.settings.state, site.ledger
    if books is None:
        if state.create == "auto":
            return ok(f"{_NO_LEDGER}; the first run makes one at {state.uri}")
        return fail(
            f"{_NO_LEDGER} at {state.uri}, and state.create is never: every run will be refused",
            "If there never was one, set state.create to auto for the first run alone (a configuration of "
            "`init` does with BRAZE_ETL_STATE_CREATE=auto). If there was, bring it back first.",
        )
    if books.start_at > site.clock.now():
        return fail(
            f"{state.uri} starts at {iso(books.start_at)}, which is in the future: until then all is skipped",
            BORN_WRONG,
        )
    version = books.summary.schema_version
    return ok(f"{state.uri} starts at {iso(books.start_at)}; schema {version}")


def lease(site: Site) -> Finding:
    """Who is at work."""
    books = site.ledger
    if books is None:
        return skipped(_NO_LEDGER)
    if books.holder is None:
        return ok("free")
    seen = f"held by {books.holder}"
    if site.clock.now() - books.holder.since > _LONG:
        return warn(seen, "See whether that run is alive; `braze-etl state unlock` ends a lease in S3.")
    return ok(seen)


def schedule(site: Site) -> Finding:
    """How often it runs, and how long ago it last saw the whole source."""
    books = site.ledger
    if books is None or books.summary.last_listing is None:
        return ok("no run has listed the source yet; schedule one every 10 to 60 minutes")
    age, window = site.clock.now() - books.summary.last_listing, site.settings.window
    seen = f"the last complete listing was {age / timedelta(hours=1):,.1f} hours ago{_every(books.runs)}"
    remedy = (
        f"See why it does not run: the objective is {duration_text(window.objective)} (docs/runbooks.md)."
    )
    if age >= window.objective:
        return fail(seen, remedy)
    return warn(seen, remedy) if age >= window.warn_at else ok(seen)


def patience(site: Site) -> Finding:
    """Whether a run gives an outage of Amplitude up before it ends, and before the next one begins."""
    given = site.settings.amplitude.give_up_after
    if words := too_patient(given, site.ledger.runs if site.ledger else []):
        return warn(words, SHORTER_PATIENCE)
    return ok(f"a run ends after {duration_text(given)} of nothing but failures")


def backlog(site: Site) -> Finding:
    """What is due and old, as the last listing found it."""
    books = site.ledger
    oldest = books.summary.backlog.oldest_hour if books else None
    if books is None or oldest is None:
        return ok("nothing is left from the last listing")
    age, window = site.clock.now() - oldest, site.settings.window
    seen = f"{books.summary.backlog.files:,} files wait, the oldest for {age / timedelta(hours=1):,.0f} hours"
    if age >= window.warn_at:
        return warn(
            seen, "`braze-etl status` forecasts when it is delivered; run longer, or with more workers."
        )
    return ok(seen)


def budget(site: Site) -> Finding:
    """How much of the month and the day is left."""
    account = site.ledger.account if site.ledger else None
    if account is None or not account.terms.bounded:
        return skipped("budget sets no bound, or there is no ledger yet")
    seen = "; ".join(str(line) for line in account.lines if line.limit is not None)
    if any(line.warned for line in account.lines):
        return warn(seen, "docs/budget.md says what happens at the bound.")
    return ok(seen)


def throttling(site: Site) -> Finding:
    """Whether Amplitude holds users, devices or the whole project back."""
    runs = site.ledger.runs if site.ledger else []
    throttled = sum(run.report.get("requests", {}).get("throttled", 0) for run in runs)
    deferred = sum(site.ledger.summary.deferred.values()) if site.ledger else 0
    if not throttled and not deferred:
        return ok(f"no throttling in the last {len(runs)} runs")
    return warn(
        f"{throttled:,} throttled requests in the last {len(runs)} runs, {deferred:,} records deferred",
        "One user or device delays nobody else here. With mapping.identity.flag_above, `plan --exact` names "
        "ids with very many events; identity.shared takes them out, and amplitude.rate bounds the whole.",
    )


def quarantine(site: Site) -> Finding:
    """What was set aside, and waits for somebody."""
    if site.ledger and (stop := site.ledger.quarantine_stop):
        return fail(f"nothing is sent: {bound.stop_words(stop)}", bound.REMEDY)
    entries = open_quarantine(site.settings).depth()
    if entries:
        return warn(
            f"{entries:,} entries", "`braze-etl quarantine list` says why; mend, then `quarantine replay`."
        )
    return ok("empty")


def _every(runs: list[RunRecord]) -> str:
    """How often runs begin."""
    between = distance(runs)
    return f"; runs begin every {between / timedelta(minutes=1):,.0f} minutes" if between else ""


CHECKS: Final = (
    Check("state.ledger", ledger, reads=_READS),
    Check("state.lease", lease, needs=("state.ledger",), reads=_READS),
    Check("schedule", schedule, needs=("state.ledger",), reads=_READS),
    Check("amplitude.give_up_after", patience, needs=("state.ledger",), reads=_READS),
    Check("backlog", backlog, needs=("state.ledger",), reads=_READS),
    Check("budget", budget, needs=("state.ledger",), reads=_READS),
    Check("throttling", throttling, needs=("state.ledger",), reads=_READS),
    Check("quarantine.entries", quarantine, needs=("state.ledger",), reads=("quarantine", *_READS)),
)
