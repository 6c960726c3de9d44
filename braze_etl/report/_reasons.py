"""The reasons of CONTRACT.md in words, for people who don't know them by name."""

from __future__ import annotations

from typing import Final

MEANINGS: Final = {
    "not_in_native": "the native connector does not send this event type",
    "not_selected": "the configuration does not select it",
    "held": "held back by the budget, or as an unknown event type",
    "test_event": "a test event of Braze",
    "no_identity": "neither a user id nor a device id",
    "suppressed": "the person is on the suppress list",
    "shared_id": "an id that many people share",
    "unknown_user": "the look-up table does not know the id",
    "from_amplitude": "came from Amplitude in the first place",
    "redacted_identity": "Braze has redacted the user id",
    "invalid_user_id": "Amplitude would refuse the user id",
    "invalid_device_id": "Amplitude would refuse the device id",
    "invalid_event": "Amplitude would refuse the event as it is",
    "rejected": "Amplitude refused the event",
    "silenced": "Amplitude has silenced the device",
    "too_large": "larger than a request may be",
    "damaged_block": "a damaged stretch of a file",
    "unreadable_file": "a file that could not be read",
    "source_gone": "the file was deleted before it was read",
    "throttled": "the user sends more than Amplitude takes at a time",
    "daily_quota": "the user is over the daily quota of Amplitude",
    "failing": "Amplitude did not answer",
}
