"""`braze-etl preview`: the Amplitude events that one file becomes; sends nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from braze_etl.braze.currents.container import AvroFile, Block
from braze_etl.braze.currents.keys import parse_key
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.clock import hour_of
from braze_etl.commands._options import checked_config, config_option
from braze_etl.commands._output import plain_table, stdout_console
from braze_etl.commands.mapping.inspect import FieldMapping
from braze_etl.errors import SourceGoneError, UsageError
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, Event, FileRef, Reason, Record, Verdict
from braze_etl.quoting import json_text, visible
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import Store
from braze_etl.uri import S3Place, parse_uri

_LONGEST = 60


@click.command()
@click.argument("source")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=5, show_default=True, help="Records to show."
)
@config_option
@click.option("--output", type=click.Choice(["json", "text"]), default="json", show_default=True)
def preview(source: str, count: int, config_path: Path | None, output: str) -> int:
    """Show the events that SOURCE (a path or an s3 uri) becomes, one JSON object a line.

    As text, each record stands beside its event, field by field, with the rule that decided.
    """
    config = checked_config(config_path) if config_path else None
    settings = config.require("source.endpoint", "source.region", "mapping") if config else None
    for number, shown in enumerate(islice(preview_file(source, settings), count), 1):
        if output == "text":
            _print(number, shown)
        else:
            sys.stdout.write(json_text(_facts(shown)) + "\n")
    return 0


def _facts(shown: Preview) -> dict[str, Any]:
    outcome = shown.outcome
    if isinstance(outcome, Verdict):
        return {"not_sent": outcome.reason.value, "detail": outcome.detail}
    return outcome


def _print(number: int, shown: Preview) -> None:
    console, outcome = stdout_console(), shown.outcome
    if isinstance(outcome, Verdict):
        end = f"not sent: {outcome.reason.value} ({outcome.detail})"
    else:
        end = f"sent as {outcome['event_type']}"
    console.print(f"record {number} of {shown.plan.event_type}: {end}", markup=False)
    console.print(_table(shown))
    console.print()


def _table(shown: Preview) -> Table:
    table = plain_table("field", "in Currents", "in Amplitude", "by")
    for row in shown.rows():
        before = _short(row.before) if row.field else ""
        lines = (
            visible(f"{key.removeprefix('event_properties.')} = {_short(value)}")
            for key, value in row.after.items()
        )
        table.add_row(escape(row.field), escape(before), Text("\n".join(lines)), escape(row.rule))
    return table


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@dataclass(frozen=True, slots=True)
class Row:
    """A field before and after: its value, and where that went; a row without a field is added on the way."""

    field: str
    before: Any
    after: dict[str, Any]
    rule: str


@dataclass(frozen=True, slots=True)
class Preview:
    """One record, and what becomes of it; a record that nobody can read is None."""

    record: Record | None
    outcome: Event | Verdict
    plan: TypePlan
    preset: str

    def rows(self) -> Iterator[Row]:
        """The record field by field, nulls left out, beside the event, if there is one."""
        left = _flat(self.outcome)
        for field, value in (self.record or {}).items():
            if value is not None:
                mapped = FieldMapping.of(field, self.plan, self.preset)
                after = {key: left.pop(key) for key in self._places(field) if key in left}
                yield Row(field, value, after, "" if isinstance(self.outcome, Verdict) else mapped.rule)
        for key, value in left.items():
            yield Row("", None, {key: value}, "set by the mapping")

    def _places(self, field: str) -> Iterator[str]:
        """The keys of the event, as `_flat` has them, that may come from a field."""
        plan = self.plan
        top = {"external_user_id": "user_id", "device_id": "device_id", "time": "time", "id": "insert_id"}
        yield from (top[field],) if field in top else ()
        yield from ("event_type",) if any(part.field == field for part in plan.naming.fields) else ()
        yield from (
            key
            for group in (plan.lifted, *plan.lifted_groups)
            for name, key in group.items()
            if name == field
        )
        yield from plan.advertising_ids.values() if field == "ad_id" else ()
        yield from (f"event_properties.{name}" for name, _ in plan.targets(field))
        for explosion in plan.explosions:
            if explosion.field == field:
                begin = f"event_properties.{explosion.prefix}"
                yield from (key for key in _flat(self.outcome) if key.startswith(begin))


def _flat(outcome: Event | Verdict) -> dict[str, Any]:
    """An event as one level of keys: those of its properties stand behind `event_properties.`."""
    if isinstance(outcome, Verdict):
        return {}
    top = {key: value for key, value in outcome.items() if key != "event_properties"}
    return top | {f"event_properties.{key}": value for key, value in outcome["event_properties"].items()}


def preview_file(source: str, settings: Settings | None) -> Iterator[Preview]:
    """Map the records of *source* (a path or an s3 uri) under the settings, or under the defaults.

    Raises `UsageError` if there is no such file, `UnreadableFileError` if it can't be read.
    """
    mapping = open_mapping(settings) if settings else EventMapping.load(MappingSection())
    access = settings.source.access() if settings else StoreAccess()
    store, key = _locate(source, access)
    try:
        with closing(store.open(key)) as stream:
            file = AvroFile(stream, name=key)
            records = RecordReader(file.schema_json)
            previewer = _Previewer(records, mapping, _ref(key, source, records.event_type or ""))
            for block in file.blocks():
                yield from previewer.block(block)
    except SourceGoneError as error:
        raise UsageError(error.message, remedy="Check the path, or the bucket and key.") from None


class _Previewer:
    """Maps the records of one file, and shows them as they were."""

    def __init__(self, records: RecordReader, mapping: EventMapping, ref: FileRef) -> None:
        self._records = records
        self._reader = EventReader(mapping)
        self._ref = ref
        self._plan = mapping.plan(ref.event_type)
        self._preset = mapping.options.preset

    def block(self, block: Block | Damage) -> Iterator[Preview]:
        if isinstance(block, Damage):
            yield self._unreadable(block.offset, block.detail)
            return
        try:
            records = self._records.decode(block)
        except DamagedBlock as damage:
            yield self._unreadable(block.offset, str(damage))
            return
        yield from map(self._record, records)

    def _record(self, record: Record | Verdict) -> Preview:
        if isinstance(record, Verdict):
            return Preview(None, record, self._plan, self._preset)
        outcome = self._reader.from_payload(self._ref, record)
        if not isinstance(outcome, Verdict):
            mend_event(outcome, Counter())
        return Preview(record, outcome, self._plan, self._preset)

    def _unreadable(self, offset: int, detail: str) -> Preview:
        verdict = Verdict(Reason.DAMAGED_BLOCK, f"at byte {offset}: {detail}")
        return Preview(None, verdict, self._plan, self._preset)


def _locate(source: str, access: StoreAccess) -> tuple[Store, str]:
    path = parse_uri(source)
    if isinstance(path, S3Place):
        store, _ = open_store(S3Place(path.bucket, "").uri, access=access)
        return store, path.key
    if not path.is_file():
        raise UsageError(f"there is no file {source}", remedy="Check the path.")
    store, _ = open_store(str(path.parent), access=access)
    return store, path.name


def _ref(key: str, source: str, of_schema: str) -> FileRef:
    """What the key says; a file outside of a Currents layout is taken by its schema's name, as of now."""
    parsed = parse_key(source) or parse_key(key)
    now = datetime.now(UTC)
    ref = FileRef(key, "", 0, now, of_schema, hour_of(now))
    return replace(ref, event_type=parsed.event_type, hour=parsed.hour) if parsed else ref
