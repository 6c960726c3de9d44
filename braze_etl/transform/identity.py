"""Who an event belongs to: Braze's ids, checked against what Amplitude does with them (amplitude.md, 1.4)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from braze_etl.model import Event, Reason, Verdict

_NOBODY = Verdict(Reason.NO_IDENTITY, "neither external_user_id nor device_id")


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """What is a good id, and what to do without one.

    `masked` is what a Braze field transformation leaves of a value; `refused` holds Amplitude's reserved
    words in lower case; lengths are in characters. With `anonymous` set to `braze_id`, a record with neither
    id gets Braze's own user_id as its device, behind `braze_id_prefix`.
    """

    masked: str
    refused: AbstractSet[str]
    max_length: int
    braze_id_prefix: str
    min_length: int = 5
    anonymous: Literal["device", "braze_id"] = "device"

    def resolve(self, user: Any, device: Any, braze_id: Any) -> Event | Verdict:
        """Give the identity part of an event (`user_id`, `device_id`), or why there is none.

        *user*, *device* and *braze_id* are the record's external_user_id, device_id and user_id. A device id
        that Amplitude would refuse is left out beside a good user id (see `is_left_out`); a bad user id never
        yields to the device.
        """
        if is_absent(user):
            return self._without_user(device, braze_id)
        if user == self.masked:
            return self._redacted("external_user_id")
        if fault := self.fault(user):
            return Verdict(Reason.INVALID_USER_ID, f"external_user_id {fault}")
        if is_absent(device) or device == self.masked or self.fault(device):
            return {"user_id": user}
        return {"user_id": user, "device_id": device}

    def fault(self, value: Any) -> str:
        """Say what is wrong with an id, without repeating a person's; empty when it is good."""
        if not isinstance(value, str):
            return "is no text"
        length = len(value)
        if length < self.min_length:
            return f"has {length} characters; amplitude.min_id_length is {self.min_length}"
        if length > self.max_length:
            return f"has {length} characters; Amplitude would cut it to {self.max_length}"
        if value.lower() in self.refused:
            return f"is {value!r}, which Amplitude refuses as an id"
        return ""

    def _without_user(self, device: Any, braze_id: Any) -> Event | Verdict:
        if is_absent(device):
            return self._of_braze_id(braze_id)
        if device == self.masked:
            return self._redacted("device_id")
        if fault := self.fault(device):
            return Verdict(Reason.INVALID_DEVICE_ID, f"device_id {fault}")
        return {"device_id": device}

    def _of_braze_id(self, braze_id: Any) -> Event | Verdict:
        if self.anonymous != "braze_id" or is_absent(braze_id):
            return _NOBODY
        if braze_id == self.masked:
            return self._redacted("user_id")
        device = f"{self.braze_id_prefix}{braze_id}"
        if fault := self.fault(device):
            return Verdict(Reason.INVALID_DEVICE_ID, f"the device id made of user_id {fault}")
        return {"device_id": device}

    def _redacted(self, field: str) -> Verdict:
        return Verdict(
            Reason.REDACTED_IDENTITY,
            f"{field} is {self.masked}: sent, it would merge all users into one; "
            "remove its field transformation in Braze",
        )


def is_left_out(device: Any, identity: Event) -> bool:
    """Whether `resolve` gave *identity* without the record's *device* id, though there was one."""
    return "device_id" not in identity and not is_absent(device)


def is_absent(value: Any) -> bool:
    """Whether an id field holds nobody: null or empty."""
    return value is None or value == ""
