"""What a ledger keeps of a verification."""

from __future__ import annotations

from typing import Any


def note(missing: int = 25, *, repaired: int = 0, **facts: Any) -> dict[str, Any]:
    """The note of one that expected 1,000 events of a day, and did not find so many."""
    total = {
        "expected": 1000,
        "present": 1000 - missing,
        "missing": missing,
        "repeated": 0,
        "too_early": 0,
    }
    return {
        "exit_code": 6 if missing > repaired else 0,
        "pipeline": "eu",
        "from": "2026-10-01T00:00:00Z",
        "until": "2026-10-02T00:00:00Z",
        "run_id": None,
        "export": "amplitude://export",
        "started_at": "2026-10-03T04:17:00Z",
        "finished_at": "2026-10-03T04:18:00Z",
        "total": total,
        "missing_by_event_type": {"users.messages.email.Open": missing} if missing else {},
        "foreign": 7,
        "not_comparable": 0,
        "repaired": repaired,
        **facts,
    }
