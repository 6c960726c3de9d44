"""What one file becomes, record by record, whether it is sent or not; nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from braze_etl.braze.currents.container import AvroFile, Block
from braze_etl.braze.currents.keys import parse_key
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.clock import hour_of
from braze_etl.errors import SourceGoneError, UsageError
from braze_etl.flows.currents_to_amplitude.mapping import open_mapping
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.mapping.limits import mend_event
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, Event, FileRef, Reason, Record, Verdict
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from braze_etl.storage.store import Store
from braze_etl.uri import S3Place, parse_uri


@dataclass(frozen=True, slots=True)
class Preview:
    """One record, and what becomes of it; a record that nobody can read is None."""

    record: Record | None
    outcome: Event | Verdict
    plan: TypePlan
    preset: str

    def as_dict(self) -> dict[str, Any]:
        """The event as it is sent, or why there is none: `not_sent`, a reason, and `detail` in words."""
        if isinstance(self.outcome, Verdict):
            return {"not_sent": self.outcome.reason.value, "detail": self.outcome.detail}
        return self.outcome


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
            reader, ref = EventReader(mapping), _ref(key, source, records.event_type or "")
            plan, preset = mapping.plan(ref.event_type), mapping.options.preset
            for block in file.blocks():
                for record, outcome in _outcomes(block, records, reader, ref):
                    yield Preview(record, outcome, plan, preset)
    except SourceGoneError as error:
        raise UsageError(error.message, remedy="Check the path, or the bucket and key.") from None


def _outcomes(
    block: Block | Damage, records: RecordReader, reader: EventReader, ref: FileRef
) -> Iterator[tuple[Record | None, Event | Verdict]]:
    """Each record of a block as it was, with what becomes of it."""
    try:
        decoded = (
            [_unreadable(block.offset, block.detail)] if isinstance(block, Damage) else records.decode(block)
        )
    except DamagedBlock as damage:
        decoded = [_unreadable(block.offset, str(damage))]
    for record in decoded:
        if isinstance(record, Verdict):
            yield None, record
            continue
        outcome = reader.from_payload(ref, record)
        if not isinstance(outcome, Verdict):
            mend_event(outcome, Counter())
        yield record, outcome


def _unreadable(offset: int, detail: str) -> Verdict:
    return Verdict(Reason.DAMAGED_BLOCK, f"at byte {offset}: {detail}")


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
