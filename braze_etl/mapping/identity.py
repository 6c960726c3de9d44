"""Who an event belongs to: Braze's ids, checked against what Amplitude does with them (amplitude.md, 1.4)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from braze_etl.mapping.privacy import Change
from braze_etl.model import Event, Reason, Verdict

_NOBODY = Verdict(Reason.NO_IDENTITY, "neither external_user_id nor device_id")
_ANONYMOUS = Verdict(Reason.NO_IDENTITY, "no external_user_id, and identity.anonymous is drop")
_SUPPRESSED = Verdict(Reason.SUPPRESSED, "the id is on the list of privacy.suppress")
_UNKNOWN = {
    "filter": Verdict(Reason.UNKNOWN_USER, "the id is not in the table of identity.lookup"),
    "quarantine": Verdict(Reason.INVALID_USER_ID, "the id is not in the table of identity.lookup"),
}


class SuppressedIds(Protocol):
    """The ids of people of whom nothing is sent."""

    def covers(self, *ids: object) -> bool:
        """Whether one of *ids* is among them."""
        ...


class UserTable(Protocol):
    """A table from an id of Braze to Amplitude's user id."""

    def find(self, key: str) -> str | None:
        """The user id for *key*; None where the table has none."""
        ...


@dataclass(frozen=True, slots=True)
class People:
    """Lists and tables of ids, which are read beside the mapping; `key` names the record's id to look up.

    `table_version` is another text for another content of the table; empty where nobody asked for it.
    """

    suppressed: SuppressedIds | None = None
    table: UserTable | None = None
    key: Literal["external_user_id", "user_id"] = "external_user_id"
    missing: Literal["pass", "filter", "quarantine"] = "pass"
    table_version: str = ""

    @property
    def decisive_version(self) -> str:
        """The version of a table that decides whether a record is filtered; empty for one that does not."""
        # Looked up by Braze's user id, even a table that lets everybody pass tells who has no identity.
        decides = self.table is not None and (self.missing == "filter" or self.key == "user_id")
        return self.table_version if decides else ""


@dataclass(frozen=True, slots=True)
class IdWords:
    """What is known of ids, whatever a project decides.

    `masked` is what a Braze field transformation leaves of a value; `refused` holds Amplitude's reserved
    words in lower case; `max_length` is in characters.
    """

    masked: str
    refused: AbstractSet[str]
    max_length: int
    braze_id_prefix: str


@dataclass(frozen=True, slots=True)
class IdentityRules(IdWords):
    """What is a good id, and what to do without one.

    `min_length` is in characters. With `anonymous` set to `braze_id`, a record with neither id gets Braze's
    own user_id as its device, behind `braze_id_prefix`. An id that goes on is changed in this order: looked
    up in the table of `people`, lower case, prefix, `hash_user` or `hash_device`.
    """

    min_length: int = 5
    anonymous: Literal["drop", "device", "braze_id"] = "device"
    user_prefix: str = ""
    device_prefix: str = ""
    lower_case: bool = False
    shared: AbstractSet[str] = frozenset()
    hash_user: Change | None = None
    hash_device: Change | None = None
    people: People = field(default=People(), compare=False)

    @property
    def is_plain(self) -> bool:
        """Whether good ids go on as they are, and nothing more is asked about them."""
        return not (
            self.user_prefix
            or self.device_prefix
            or self.lower_case
            or self.shared
            or self.hash_user
            or self.hash_device
            or self.people.suppressed is not None
            or self.people.table is not None
            or self.anonymous == "drop"
        )

    def resolve(self, user: Any, device: Any, braze_id: Any) -> Event | Verdict:
        """Give the identity part of an event (`user_id`, `device_id`), or why there is none.

        *user*, *device* and *braze_id* are the record's external_user_id, device_id and user_id. A device id
        that Amplitude would refuse is left out beside a good user id (see `is_left_out`); a bad user id never
        yields to the device.
        """
        verdict = self._nobody(user, device, braze_id) or self._filtered(user, device, braze_id)
        if verdict is not None:
            return verdict
        found = self._looked_up(user, braze_id)
        if isinstance(found, Verdict):
            return found
        if not is_absent(found):
            return self._with_user(found, device)
        return _ANONYMOUS if self.anonymous == "drop" else self._without_user(device, braze_id)

    def fault(self, value: Any, prefix: str = "") -> str:
        """Say what is wrong with an id, without repeating a person's; empty when it is good."""
        if not isinstance(value, str):
            return "is no text"
        value = value.replace("\0", "")  # as the request leaves it
        length = len(prefix) + len(value)
        if length < self.min_length:
            return f"has {length} characters; amplitude.min_id_length is {self.min_length}"
        if length > self.max_length:
            return f"has {length} characters; Amplitude would cut it to {self.max_length}"
        if value.lower() in self.refused:
            return f"is {value!r}, which Amplitude refuses as an id"
        return ""

    def _nobody(self, user: Any, device: Any, braze_id: Any) -> Verdict | None:
        by_table = self.people.table is not None and self.people.key == "user_id" and not is_absent(braze_id)
        if not is_absent(user) or by_table:
            return None
        if self.anonymous == "drop":
            return _ANONYMOUS
        if not is_absent(device) or (self.anonymous == "braze_id" and not is_absent(braze_id)):
            return None
        return _NOBODY

    def _filtered(self, user: Any, device: Any, braze_id: Any) -> Verdict | None:
        suppressed = self.people.suppressed
        if suppressed is not None and suppressed.covers(user, device, braze_id):
            return _SUPPRESSED
        field, value = ("device_id", device) if is_absent(user) else ("external_user_id", user)
        if isinstance(value, str) and value in self.shared:
            return Verdict(Reason.SHARED_ID, f"{field} is one of identity.shared")
        return None

    def _looked_up(self, user: Any, braze_id: Any) -> Any:
        """The user id to go on with: the table's, where it has one."""
        people = self.people
        key = user if people.key == "external_user_id" else braze_id
        if people.table is None or is_absent(key) or key == self.masked:
            return user
        found = people.table.find(str(key))
        return user if found is None and people.missing == "pass" else found or _UNKNOWN.get(people.missing)

    def _with_user(self, user: Any, device: Any) -> Event | Verdict:
        if user == self.masked:
            return self._redacted("external_user_id")
        if fault := self.fault(user, self.user_prefix):
            return Verdict(Reason.INVALID_USER_ID, f"external_user_id {fault}")
        identity = {"user_id": self._user(user)}
        if not self._is_bad_device(device):
            identity["device_id"] = self._device(device)
        return identity

    def _is_bad_device(self, device: Any) -> bool:
        return (
            is_absent(device)
            or device == self.masked
            or bool(self.fault(device, self.device_prefix))
            or device in self.shared
        )

    def _without_user(self, device: Any, braze_id: Any) -> Event | Verdict:
        if is_absent(device):
            return self._of_braze_id(braze_id)
        if device == self.masked:
            return self._redacted("device_id")
        if fault := self.fault(device, self.device_prefix):
            return Verdict(Reason.INVALID_DEVICE_ID, f"device_id {fault}")
        return {"device_id": self._device(device)}

    def _of_braze_id(self, braze_id: Any) -> Event | Verdict:
        if self.anonymous != "braze_id" or is_absent(braze_id):
            return _NOBODY
        if braze_id == self.masked:
            return self._redacted("user_id")
        device = f"{self.braze_id_prefix}{braze_id}"
        if fault := self.fault(device, self.device_prefix):
            return Verdict(Reason.INVALID_DEVICE_ID, f"the device id made of user_id {fault}")
        return {"device_id": self._device(device)}

    def _user(self, user: str) -> str:
        user = self.user_prefix + (user.lower() if self.lower_case else user)
        return user if self.hash_user is None else str(self.hash_user(user))

    def _device(self, device: str) -> str:
        device = self.device_prefix + device
        return device if self.hash_device is None else str(self.hash_device(device))

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
