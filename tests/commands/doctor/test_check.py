from __future__ import annotations

from braze_etl.commands.doctor.check import Check, Finding, Status, examine
from braze_etl.commands.doctor.site import Site
from braze_etl.errors import StoreError
from tests.commands.doctor.conftest import MakeSite


def good(_site: Site) -> Finding:
    return Finding(Status.OK, "well")


def refused(_site: Site) -> Finding:
    raise StoreError("no rights", remedy="give them")


def broken(_site: Site) -> Finding:
    raise KeyError("x")


def status(site: Site, *checks: Check) -> list[str]:
    return [each.finding.status.value for each in examine(checks, site)]


def test_a_check_that_fails_hides_no_other(make_site: MakeSite) -> None:
    found = list(examine([Check("a", refused), Check("b", broken), Check("c", good)], make_site()))
    assert [each.finding.status for each in found] == [Status.FAIL, Status.FAIL, Status.OK]
    assert found[0].as_dict() == {"check": "a", "status": "fail", "seen": "no rights", "remedy": "give them"}
    assert "KeyError" in found[1].finding.seen


def test_what_hangs_on_a_failed_check_is_skipped(make_site: MakeSite) -> None:
    checks = (Check("a", refused), Check("b", good, needs=("a",)), Check("c", good, needs=("b",)))
    assert status(make_site(), *checks) == ["fail", "skipped", "skipped"]


def test_what_waits_for_a_variable_is_skipped(make_site: MakeSite) -> None:
    site = make_site(source={"uri": "${WHERE}"})
    checks = (Check("a", good, reads=("source",)), Check("b", good, reads=("state",)))
    assert status(site, *checks) == ["skipped", "ok"]
