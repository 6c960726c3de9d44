"""What the names in a run report's `warnings` and `repairs` mean, in words."""

from __future__ import annotations

from typing import Final

WARNINGS: Final = {
    "nothing_selected": "nothing below source.uri is selected: see source.uri, integrations, event_types",
    "damaged_segments": "damaged segments of the quarantine that were put beside, below `damaged/`",
    "misnamed_files": "files that end in .avro below an event type, with a name or an hour nobody can read",
    "clock_differs": "this machine's clock is a minute or more off that of S3 or Amplitude",
    "empty_event_folders": "event types that S3 lists, and then shows no object of: are all keys to be seen?",
    "unordered_folders": "event types that the store does not list in the order of keys: read to their end",
    "overdue_files": "files that were older than window.objective when they were found",
    "unfamiliar_files": "files of hours delivered before, none of which the ledger knows: nothing was sent",
    "late_files": "files that only the sweep behind the look-back found",
    "out_of_reach_files": "files left due because the store did not give them as listed: see `unavailable`",
    "before_start_not_counted": "the files before the ledger's start were not counted; the next run tries",
    "short_ingests": "requests for which Amplitude took fewer events than were sent, without saying which",
    "resent_after_7_days": "files sent again, by `--resend`, after Amplitude had forgotten their ids",
    "older_than_deduplication": "replayed entries older than 7 days, which Amplitude may count twice",
    "not_comparable_files": "files left alone by `--changed-only`: what their mapping sent can't be told",
    "busy_ids": "ids with more events a day than mapping.identity.flag_above",
    "budget_month_warned": "budget.warn_at of the month is spent",
    "budget_month_used_up": "the month's bound is used up",
    "budget_day_warned": "budget.warn_at of the day is spent",
    "budget_day_used_up": "the day's bound is used up",
}

CHANGED_LATE: Final = "changed more than 7 days after delivery: `backfill --resend` would send them again"

REPAIRS: Final = {
    "text_cut": "a text beyond 1,024 characters was cut there",
    "json_left_whole": "a text that is no JSON object, or nests too deep, was sent as the text it is",
    "nul_removed": "NUL characters were taken out of a text",
    "surrogates_replaced": "halves of surrogate pairs became U+FFFD",
    "integer_as_text": "an integer beyond 2^53 was sent as text",
    "number_left_out": "NaN or infinity was left out",
    "device_id_left_out": "a device id that Amplitude refuses was left out beside a good user id",
}
