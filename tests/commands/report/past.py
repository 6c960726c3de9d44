"""Pasts to look back on: run records as the ledger keeps them, made up but consistent."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from braze_etl.clock import iso
from braze_etl.state.ledger import RunRecord

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
SENT = (
    "users.messages.email.Open",
    "users.messages.email.Click",
    "users.messages.pushnotification.Open",
    "users.messages.inappmessage.Impression",
    "users.messages.contentcard.Impression",
    "users.behaviors.app.SessionStart",
    "users.behaviors.CustomEvent",
    "users.behaviors.Purchase",
    "users.messages.sms.ShortLinkClick",
    "users.canvas.Entry",
    "users.messages.pushnotification.IosForeground",
    "users.campaigns.Conversion",
    "users.messages.whatsapp.Read",
)
HELD_BACK = ("users.messages.email.Send", "users.messages.pushnotification.Send")


def report(
    at: datetime,
    books: dict[str, dict[str, int]],
    *,
    reasons: dict[str, int] | None = None,
    age: float = 1.0,
    seconds: float = 90.0,
    exit_code: int = 0,
    left: int = 0,
    latency: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A run report in the form of CONTRACT.md; *books* are of (accepted, filtered, quarantined, deferred)."""
    events = Counter[str]()
    for each in books.values():
        each["read"] = sum(each.values())
        events.update(each)
    return {
        "started_at": iso(at),
        "finished_at": iso(at + timedelta(seconds=seconds)),
        "exit_code": exit_code,
        "files": {"discovered": 60, "done": 60 - left, "failed": 0, "remaining": left, "bytes": 9_000_000},
        "events": dict(events),
        "by_event_type": books,
        "bytes_read": {name: each["read"] * 170 for name, each in books.items()},
        "reasons": reasons or {},
        "latency": {"hour_to_accepted": None if latency is None else latency * 3600},
        "requests": {
            "sent": 21,
            "retried": 1,
            "throttled": 0,
            "bytes_raw": 31_000_000,
            "bytes_wire": 2_900_000,
        },
        "window": {"oldest_undelivered": None, "hours_left": round(48 - age, 2)},
        "forecast": {"bytes_left": left * 150_000},
        "seconds": seconds,
        "events_per_second": round(events["read"] / seconds, 1),
        **more,
    }


def books(accepted: int = 0, filtered: int = 0, quarantined: int = 0, deferred: int = 0) -> dict[str, int]:
    """The books of an event type."""
    return {"accepted": accepted, "filtered": filtered, "quarantined": quarantined, "deferred": deferred}


def run(at: datetime, told: dict[str, Any], command: str = "run") -> RunRecord:
    """A run that ended with this report."""
    told = {"command": command, **told}
    end = datetime.fromisoformat(told["finished_at"])
    return RunRecord(f"{at:%Y%m%dT%H%M%SZ}-{command[0]}", command, at, end, told["exit_code"], told)


def busy_past(runs: int = 720, every: timedelta = timedelta(hours=1)) -> Iterator[RunRecord]:
    """A month of an ordinary pipeline, the oldest run first: a bad day with a backlog, some quarantine."""
    chance = random.Random(7)
    for number in range(runs):
        at = NOW - every * (runs - number)
        trouble = 0.55 < number / runs < 0.62
        age = 30 * (number / runs - 0.55) / 0.07 if trouble else chance.uniform(0.6, 2.2)
        yield run(at, _told(at, chance, age=age, trouble=trouble))


def _told(at: datetime, chance: random.Random, *, age: float, trouble: bool) -> dict[str, Any]:
    swing = (1.4 if 8 <= at.hour <= 21 else 0.5) * (0.15 if trouble else 1.0)
    lines = {
        name: books(
            round(chance.uniform(2_000, 3_000) * swing / (place + 1)), chance.randrange(12), place % 3 == 0
        )
        for place, name in enumerate(SENT)
    }
    lines |= {name: books(filtered=round(4_000 * swing)) for name in HELD_BACK}
    lines["users.messages.email.Open"]["deferred"] = 250 if trouble else 0
    return report(
        at,
        lines,
        reasons={
            "not_in_native": sum(lines[name]["filtered"] for name in HELD_BACK),
            "no_identity": sum(lines[name]["filtered"] for name in SENT),
            "redacted_identity": 3,
            "invalid_user_id": 1,
            "rejected": 1,
            **({"throttled": 250} if trouble else {}),
        },
        age=age,
        latency=age * 0.8 + 0.4,
        seconds=chance.uniform(40, 120),
        exit_code=4 if trouble else 3 if chance.random() < 0.3 else 0,
        left=round(age * 40) if trouble else 0,
    )
