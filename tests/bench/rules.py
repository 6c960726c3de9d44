"""The rules of a mapping, one at a time: what `make bench` measures the cost of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from braze_etl.engine.books import TaskBooks, tags_of
from braze_etl.engine.due import DueFile
from braze_etl.engine.meter import Allowance
from braze_etl.engine.tasks import Grant, Task
from braze_etl.mapping.identity import People
from braze_etl.mapping.lookup import LookupTable
from braze_etl.model import Event, FileRef
from tests.people import suppressing

OPEN = "users.messages.email.Open"
CUSTOM = "users.behaviors.CustomEvent"
PUSH = "users.messages.pushnotification.Send"
TYPES = {"email opens": OPEN, "custom events": CUSTOM, "push sends": PUSH}

TABLE_ROWS = 1_000_000
LISTED = 100_000
_GRANTED_AT_ONCE = 10_000

Step: TypeAlias = Callable[[list[Event]], object]
"""What a worker does with the events of a block, beyond mapping."""
MakePeople: TypeAlias = Callable[[Path], People]
"""Makes the lists and tables of a rule in a folder."""


def nobody(_folder: Path) -> People:
    """No lists, no tables."""
    return People()


@dataclass(frozen=True)
class Case:
    """One rule: the `mapping` section with it alone, its lists of people, what it has a worker do.

    It is measured where the generated code shows a trace of it, or `always`.
    """

    name: str
    mapping: Mapping[str, Any] = field(default_factory=dict)
    people: MakePeople = nobody
    step: Callable[[], Step] | None = None
    always: bool = False


def _rule(**parts: Any) -> dict[str, Any]:
    return {"rules": [parts]}


def _without(events: str, **conditions: Any) -> dict[str, Any]:
    return {"choose": {"exclude": [{"events": events, "where": conditions}]}}


def _suppressing(_folder: Path) -> People:
    return People(suppressed=suppressing(*(f"absent-{number:06d}" for number in range(LISTED))))


def _remembering(folder: Path) -> People:
    return People(table=_table(folder))


@dataclass(frozen=True)
class _Forgetful:
    """A table that is asked anew each time, as for people that come once; the file is in the page cache."""

    table: LookupTable

    def find(self, key: str) -> str | None:
        return self.table._look_up(key)


def _forgetting(folder: Path) -> People:
    return People(table=_Forgetful(_table(folder)))


def _table(folder: Path) -> LookupTable:
    path = folder / "ids.db"
    if not path.exists():
        rows = ((f"customer-{number:06d}", f"amplitude-{number:06d}") for number in range(TABLE_ROWS))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE ids (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
            database.executemany("INSERT INTO ids VALUES (?, ?)", rows)
    return LookupTable(path)


def _budget() -> Step:
    moment = datetime(2026, 10, 1, tzinfo=UTC)
    file = DueFile(FileRef("key", "etag", 1, moment, OPEN, moment))
    books, tags = TaskBooks(Task(0, (file,))), tags_of(0, 0, 0, range(10_000))
    allowance = Allowance(lambda _: True, lambda ask: Grant(max(ask.events, _GRANTED_AT_ONCE)))
    return lambda events: allowance.admit(books, 0, events, tags[: len(events)])


CASES = (
    Case("the plain mapping once more", always=True),
    Case("choose: another type is left out", {"choose": {"exclude": ["users.messages.sms.*"]}}),
    Case("choose: machine opens are left out", _without(OPEN, machine_open="*")),
    Case("choose: custom events by a glob on their name", _without(CUSTOM, name="debug_*")),
    Case("rules: name with a field", _rule(name="{title}: {device_model:-none}")),
    Case("rules: rename a glob of fields", _rule(rename={"device_*": "Device {field}"})),
    Case("rules: rename a key of the JSON text", _rule(events=CUSTOM, rename={"properties.sku": "SKU"})),
    Case("rules: drop two fields", _rule(drop=["device_model", "send_id"])),
    Case("rules: keep three fields", _rule(keep=["device_model", "campaign_name", "platform"])),
    Case("rules: add a field", _rule(add=["timezone"])),
    Case("rules: copy a field", _rule(copy={"device_model": "Model"})),
    Case("rules: set a property", _rule(set={"source": "braze"})),
    Case("rules: values of a field", _rule(values={"device_model": {"Pixel 10": "Pixel", "*": "other"}})),
    Case("rules: parse message_extras", _rule(parse={"message_extras": "extra "})),
    Case("rules: lift device", _rule(lift=["device"])),
    Case("privacy: drop pii", {"privacy": {"drop": "pii"}}),
    Case("privacy: hash pii", {"privacy": {"hash": "pii", "salt": "salt"}}),
    Case("privacy: hash external_user_id", {"privacy": {"hash": "external_user_id", "salt": "salt"}}),
    Case(f"privacy: suppress, {LISTED:,} ids", people=_suppressing),
    Case(f"identity: look-up, {TABLE_ROWS:,} rows, remembered", people=_remembering),
    Case(f"identity: look-up, {TABLE_ROWS:,} rows, from the page cache", people=_forgetting),
    Case("identity: prefix", {"identity": {"user_prefix": "braze-"}}),
    Case("identity: lower case", {"identity": {"lower_case": True}}),
    Case("identity: shared ids", {"identity": {"shared": ["guest@acme.example", "kiosk-0001"]}}),
    Case("identity: anonymous: drop", {"identity": {"anonymous": "drop"}}),
    Case("loop guard: names", {"loop_guard": {"names": ["[Amplitude] *"]}}),
    Case("loop guard: a property", {"loop_guard": {"properties": {"source": "amplitude"}}}),
    Case("time: min and max_future", {"time": {"min": "2020-01-01", "max_future": "30d"}}),
    Case("budget that stops types", step=_budget),
    Case("test_events: send", {"test_events": "send"}),
    Case("preset: raw", {"preset": "raw"}),
)
