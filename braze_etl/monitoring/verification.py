"""The newest verification, as the ledger remembers it: for `status`, the report, metrics and notices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NOTE: Final = "verification"
"""The name of the ledger's note; empty where there was none yet."""


def still_missing(note: Mapping[str, Any]) -> int:
    """Events that Amplitude has not, and that no repair has sent again since."""
    missing: int = note["total"]["missing"] - note["repaired"]
    return max(0, missing)


def words(note: Mapping[str, Any]) -> str:
    """The numbers in a few words, and of what."""
    total, missing = note["total"], still_missing(note)
    repaired = f", {note['repaired']:,} sent again" if note["repaired"] else ""
    early = f", {total['too_early']:,} too early to tell" if total["too_early"] else ""
    found = f"{missing:,} of {total['expected']:,} events are missing" if missing else "nothing is missing"
    among = "" if missing else f" among {total['expected']:,} events"
    return f"{found}{among}{repaired}{early}, of {_what(note)}"


def _what(note: Mapping[str, Any]) -> str:
    if note["run_id"]:
        return f"run {note['run_id']}"
    return f"the hours from {note['from']} to before {note['until']}"
