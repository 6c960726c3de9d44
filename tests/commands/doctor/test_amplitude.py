from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.doctor.amplitude import SEND_TEST, TEST_EVENT, marked_event
from braze_etl.commands.doctor.check import Finding, examine
from braze_etl.commands.doctor.site import Site
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import ReadOptions
from braze_etl.sandbox.server import SandboxServer
from tests.commands.doctor.conftest import MakeSite, look
from tests.workplace import KEY, Workplace

ASKED = ("amplitude.reachable", "amplitude.key")


def test_a_good_key_is_fine(make_site: MakeSite, workplace: Workplace) -> None:
    site = make_site()
    assert look(site, "amplitude.reachable").status == "ok"
    assert look(site, *ASKED).status == "ok"
    assert list(workplace.project.events()) == []


def test_a_host_that_refuses_connections_fails(make_site: MakeSite) -> None:
    site = make_site(amplitude={"endpoint": "http://127.0.0.1:9"})
    found = look(site, "amplitude.reachable")
    assert (found.status, "refused" in found.seen) == ("fail", True)
    assert look(site, *ASKED).status == "skipped"


def test_a_name_that_nobody_knows_fails_with_its_own_remedy(make_site: MakeSite) -> None:
    found = look(
        make_site(amplitude={"endpoint": "http://amplitude.invalid", "insecure": True}), "amplitude.reachable"
    )
    assert (found.status, "resolve" in found.remedy) == ("fail", True)


def test_the_proxy_is_told_without_its_password(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://anna:secret@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    found = look(
        make_site(amplitude={"endpoint": "http://amplitude.test", "insecure": True}), "amplitude.reachable"
    )
    assert found.status == "fail"
    assert "through the proxy http://127.0.0.1:9" in found.seen
    assert "secret" not in found.seen + found.remedy


def test_a_refused_key_fails(make_site: MakeSite) -> None:
    found = look(make_site(amplitude={"api_key": "f" * 32}), *ASKED)
    assert (found.status, "refused the API key" in found.seen) == ("fail", True)


@pytest.mark.parametrize("status", [200, 403])
def test_an_answer_of_somebody_else_in_amplitudes_place_fails(
    make_site: MakeSite, workplace: Workplace, status: int
) -> None:
    page = "<html>Please log in</html>"
    workplace.inject(f"- do: {{reply: {{status: {status}, body: '{page}'}}}}")
    site = make_site()
    found = look(site, "amplitude.reachable")
    assert (found.status, page in found.seen) == ("fail", True)
    assert "answers in Amplitude's place" in found.remedy
    assert look(site, *ASKED).status == "skipped"


def test_an_answer_that_tells_nothing_is_a_warning(make_site: MakeSite, workplace: Workplace) -> None:
    workplace.inject("- do: {reply: {status: 503}}")
    assert look(make_site(), *ASKED).status == "warn"


SECRET = "fedcba9876543210fedcba9876543210"


def reading(place: Workplace, secret: str = SECRET, **more: str) -> dict[str, Any]:
    return {"amplitude": {"secret_key": secret, "read_endpoint": place.amplitude.url, **more}}


def test_both_keys_are_tried_where_amplitude_is_read(make_site: MakeSite, workplace: Workplace) -> None:
    assert look(make_site(), "amplitude.read").status == "skipped"
    workplace.become(Project(api_key=KEY, reads=ReadOptions(secret_key=SECRET)))
    good = look(make_site(**reading(workplace)), "amplitude.read")
    assert (good.status, "takes both keys" in good.seen) == ("ok", True)
    bad = look(make_site(**reading(workplace, "0" * 32)), "amplitude.read")
    assert (bad.status, "refused the keys" in bad.seen, "secret_key" in bad.remedy) == ("fail", True, True)
    assert "0" * 32 not in bad.seen


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("- do: {reply: {status: 503}}", "503"),
        ("- do: {reply: {status: 200, body: '<html>Please log in</html>'}}", "did not answer what was asked"),
        ("- do: {reply: {status: 404}}", "does not answer at"),
    ],
)
def test_a_read_endpoint_that_is_somebody_elses_is_asked_once(
    make_site: MakeSite, workplace: Workplace, script: str, words: str
) -> None:
    workplace.inject(script)
    found = look(make_site(**reading(workplace)), "amplitude.read")
    assert (found.status, words in found.seen, "times in a row" in found.seen) == ("fail", True, False)


@pytest.fixture
def in_either(
    make_site: MakeSite, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Site]]:
    """Makes sites with a key, for a region US that is the workplace's Amplitude; another one is region EU."""
    with SandboxServer(Project(api_key="e" * 32)) as european:
        urls = {"US": f"{workplace.amplitude.url}/batch", "EU": f"{european.url}/batch"}
        monkeypatch.setattr("braze_etl.amplitude.settings.endpoint_url", lambda region, _: urls[region])
        yield lambda key: make_site(amplitude={"endpoint": None, "api_key": key})


@pytest.mark.parametrize(
    ("letter", "hint"), [("e", "amplitude.region to EU"), ("f", "not good in region EU")]
)
def test_the_other_region_is_asked_where_the_key_is_refused(
    in_either: Callable[[str], Site], letter: str, hint: str
) -> None:
    found = look(in_either(letter * 32), *ASKED)
    assert (found.status, hint in found.remedy) == ("fail", True)


def test_a_clock_that_is_right_is_fine(make_site: MakeSite, s3_server: str) -> None:
    assert look(make_site(amplitude={"endpoint": s3_server}), "clock").status == "ok"


@pytest.mark.parametrize(("minutes", "status"), [(2, "warn"), (-20, "fail")])
def test_a_clock_that_is_wrong_is_told(
    make_site: MakeSite, s3_server: str, minutes: int, status: str
) -> None:
    clock = ManualClock(datetime.now(UTC) + timedelta(minutes=minutes))
    site = make_site(clock=clock, amplitude={"endpoint": s3_server})
    found = look(site, "clock")
    assert found.status == status
    assert ("ahead of" if minutes > 0 else "behind") in found.seen


def test_where_nobody_tells_the_time_the_clock_is_skipped(make_site: MakeSite) -> None:
    assert look(make_site(amplitude={"endpoint": "http://127.0.0.1:9"}), "clock").status == "skipped"


def send(site: Site) -> Finding:
    (examined,) = examine([SEND_TEST], site)
    return examined.finding


def test_the_test_event_arrives_marked_and_is_told_where(make_site: MakeSite, workplace: Workplace) -> None:
    found = send(make_site())
    assert found.status == "ok"
    (event,) = workplace.project.events()
    assert event["event_type"] == TEST_EVENT
    assert "user_id" not in event
    assert event["device_id"] in found.seen


def test_a_test_event_that_is_refused_fails(make_site: MakeSite, workplace: Workplace) -> None:
    assert send(make_site(amplitude={"api_key": "f" * 32})).status == "fail"
    workplace.inject("- do: {reply: {status: 503}}")
    assert send(make_site()).status == "fail"


def test_each_test_event_has_ids_of_its_own() -> None:
    now = datetime(2026, 10, 1, tzinfo=UTC)
    one, two = marked_event("a", now), marked_event("b", now)
    assert one["insert_id"] != two["insert_id"]
    assert one["time"] == 1790812800000
