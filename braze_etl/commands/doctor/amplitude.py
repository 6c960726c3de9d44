"""Amplitude: the way there, the keys and their region, the clock, and one marked event."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy

from braze_etl.amplitude.dashboard import event_types
from braze_etl.amplitude.probe import post
from braze_etl.amplitude.rest import RestApi
from braze_etl.clock import iso
from braze_etl.commands.doctor.check import Check, Finding, fail, ok, skipped, warn
from braze_etl.commands.doctor.site import Site
from braze_etl.delivery.destination import Accepted, Standing
from braze_etl.delivery.http import Kind, NoReply, Reply, shown_url
from braze_etl.engine.clock_skew import REMEDY, SOME, worst_skew

TEST_EVENT: Final = "[braze_etl] Test"
_SECONDS: Final = 10
_MUCH: Final = timedelta(minutes=5)
"""S3 refuses requests that are off by 15 minutes."""
_REMEDIES: Final = {
    Kind.DNS: "Let this machine resolve the name; behind a proxy, set HTTPS_PROXY.",
    Kind.TLS: "If a proxy signs with its own CA, name its bundle in REQUESTS_CA_BUNDLE.",
    Kind.PROXY: "Correct HTTPS_PROXY, or take the host out of it with NO_PROXY.",
    Kind.URL: "Correct amplitude.endpoint.",
}
_PASSING: Final = frozenset({408, 429, *range(500, 600)})
_BETWEEN: Final = (
    "Something between answers in Amplitude's place: a proxy, a firewall, a portal that wants a login, or the"
    " server of amplitude.endpoint. Let requests to this host through, or correct HTTPS_PROXY or endpoint."
)
_WAY: Final = "Allow outgoing HTTPS to this host: firewall, security group, network policy, or HTTPS_PROXY."

_READS: Final = ("amplitude",)


def reachable(site: Site) -> Finding:
    """Name, connection, certificate and proxy."""
    (answer, standing), url = site.probed, site.settings.amplitude.url
    if isinstance(answer, NoReply):
        return fail(f"{answer.words}{_through(url)}", _REMEDIES.get(answer.kind, _WAY))
    if standing.standing is Standing.UNCLEAR and _is_foreign(answer):
        return fail(
            f"{shown_url(url)} answers{_through(url)} in words that are not Amplitude's: {answer.words}",
            _BETWEEN,
        )
    return ok(f"{shown_url(url)} answers{_through(url)}")


def _is_foreign(answer: Reply) -> bool:
    """Whether it is no JSON, as Amplitude's answers are, and no passing trouble of its servers either."""
    return answer.body is None and answer.status not in _PASSING


def key(site: Site) -> Finding:
    """Whether the key is good in the region, as far as a request without events tells."""
    (_, standing), amplitude = site.probed, site.settings.amplitude
    if standing.standing is Standing.FINE:
        return ok(f"Amplitude takes the key in region {amplitude.region}, project {amplitude.project}")
    if standing.standing is Standing.UNCLEAR:
        return warn(
            f"Amplitude does not say whether the key is good: {standing.words}", "Try again in some minutes."
        )
    return fail(standing.words, f"{standing.remedy}{_other_region(site)}")


def _other_region(site: Site) -> str:
    amplitude = site.settings.amplitude
    if amplitude.endpoint is not None or not site.probed[1].key_refused:
        return ""
    other = "EU" if amplitude.region == "US" else "US"
    if site.is_taken_at(other):
        return f" The key is good in the other region: set amplitude.region to {other}."
    return f" It is not good in region {other} either."


def read(site: Site) -> Finding:
    """Whether both keys are good where Amplitude is read: by one question, asked once."""
    amplitude = site.settings.amplitude
    if not amplitude.secret_key.get_secret_value():
        return skipped("amplitude.secret_key is not set; `verify` needs it, and so does `explain` to ask")
    with closing(RestApi(amplitude, site.clock, attempts=1)) as api:
        known = len(event_types(api))
    return ok(f"{shown_url(amplitude.read_url(''))} takes both keys; it has {known:,} event types")


def clock(site: Site) -> Finding:
    """The clock of this machine, against those of the servers."""
    _ask_the_time(site)
    if not site.server_times:
        return skipped("no server told its time")
    skew = worst_skew(site.server_times)
    if abs(skew.ahead) >= _MUCH:
        return fail(str(skew), REMEDY)
    return warn(str(skew), REMEDY) if abs(skew.ahead) >= SOME else ok(str(skew))


def _ask_the_time(site: Site) -> None:
    parts = urlsplit(site.settings.amplitude.url)
    try:
        # Without the key: any answer has a Date.
        answer = requests.head(f"{parts.scheme}://{parts.netloc}/", timeout=_SECONDS, allow_redirects=False)
        theirs = parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)
    except (requests.RequestException, KeyError, ValueError):
        return  # `amplitude.reachable` is where this is told
    site.server_times["Amplitude"] = (theirs, site.clock.now())


def send_test(site: Site) -> Finding:
    """Send one marked event, which anybody can tell from real ones."""
    event = marked_event(site.token, site.clock.now())
    with closing(site.settings.amplitude.connect(site.clock)) as transport:
        answer, decision = post(transport, site.settings.amplitude, event)
    if isinstance(decision, Accepted):
        return ok(
            f"accepted: event {TEST_EVENT!r}, device id {event['device_id']}. In Amplitude, look for that "
            "device id among the users; it shows within minutes"
        )
    words = getattr(decision, "words", "") or getattr(answer, "words", "")
    return fail(f"the test event was not accepted: {words}", getattr(decision, "remedy", "") or "Try again.")


def marked_event(token: str, now: datetime) -> dict[str, object]:
    """The event: a device and an insert_id made for it, and no user."""
    return {
        "event_type": TEST_EVENT,
        "device_id": f"braze-etl-test-{token}",
        "insert_id": f"braze-etl-test-{token}",
        "time": int(now.timestamp() * 1000),
        "event_properties": {"sent_by": "braze-etl doctor", "at": iso(now)},
    }


def _through(url: str) -> str:
    proxy = select_proxy(url, get_environ_proxies(url))
    return f", through the proxy {shown_url(proxy)}" if proxy else ""


CHECKS: Final = (
    Check("amplitude.reachable", reachable, reads=_READS),
    Check("amplitude.key", key, needs=("amplitude.reachable",), reads=_READS),
    Check("amplitude.read", read, reads=_READS),
    Check("clock", clock, reads=_READS),
)
SEND_TEST: Final = Check("amplitude.test_event", send_test, needs=("amplitude.key",), reads=_READS)
