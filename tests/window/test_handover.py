"""docs/handover.md, carried out: a type that moves at an hour is sent from that hour on, and once."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.docs.pages import ROOT, blocks
from tests.window.test_changed_only import Place, place

__all__ = ["place"]

OPEN, START = "users.messages.email.Open", "users.behaviors.app.SessionStart"
PAGE = ROOT / "docs/handover.md"
FIRST: dict[str, Any] = {
    "choose": {"include": ["users.messages.pushnotification.*", "users.behaviors.app.*"]}
}
SECOND: dict[str, Any] = {"choose": {"include": [*FIRST["choose"]["include"], "users.messages.email.*"]}}


def the_command(cut: datetime) -> list[str]:
    """The backfill of the page, with the hour of this test's wave."""
    section = PAGE.read_text().partition("## 4. Cut at an hour")[2].partition("## 5.")[0]
    (line,) = [block.text for block in blocks(PAGE) if block.text in section]
    return [word.replace("2026-12-01T14", f"{cut:%Y-%m-%dT%H}") for word in shlex.split(line)[1:]]


def test_a_wave_that_moves_at_an_hour_is_sent_from_that_hour_on_once(place: Place) -> None:
    cut = datetime.now(UTC) - timedelta(hours=5)

    def write(event_type: str, *users: str, after: int) -> list[str]:
        at = cut + timedelta(hours=after)
        return place.write(event_type, *users, hour=at.hour, day=f"{at:%Y-%m-%d}")

    place.decide(**FIRST)
    sessions = write(START, "customer-0001", after=-1)
    write(OPEN, "customer-0001", "customer-0002", after=-1)
    assert place.run()["exit_code"] == 0
    assert place.held() == sorted(sessions)

    from_the_hour_on = write(OPEN, "customer-0003", "customer-0004", after=0)
    place.run()
    place.decide(**SECOND)
    new = write(OPEN, "customer-0005", after=1)
    place.run()
    assert place.held() == sorted([*sessions, *new])
    assert place.work.do(*the_command(cut)).code == 0
    assert place.held() == sorted([*sessions, *new, *from_the_hour_on])
    sent = place.received()
    assert place.work.do(*the_command(cut)).code == 0
    assert (place.received(), place.run()["events"]["accepted"]) == (sent, 0)
