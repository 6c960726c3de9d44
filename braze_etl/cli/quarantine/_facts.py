"""One entry as JSON values."""

from __future__ import annotations

from typing import Any

from braze_etl.clock import iso
from braze_etl.quarantine import Entry


def facts(entry: Entry) -> dict[str, Any]:
    """What is known of an entry; never its payload."""
    return {
        "id": entry.id,
        "reason": entry.reason.value,
        "event_type": entry.event_type,
        "detail": entry.detail,
        "key": entry.position.key,
        "etag": entry.position.etag,
        "block": entry.position.block,
        "record": entry.position.record,
        "run_id": entry.run_id,
        "at": iso(entry.at),
    }
