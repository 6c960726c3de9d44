"""The beginnings of a few files: how dense they are, and how many of their records Amplitude would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import Final

from braze_etl.braze.currents.container import AvroFile, Block
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.errors import AccessDeniedError, FileError
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.model import Damage, FileRef, Reason, Record, Verdict
from braze_etl.state.ledger import BacklogLine
from braze_etl.storage.store import Store

_BEGINNING: Final = 512 * 1024
"""Bytes; writers of Avro make blocks of 16 to 64 KB."""
_WHOLE: Final = 16_000_000
_RECORDS: Final = 500
"""Looked at in one file."""
_ID_FIELDS: Final = ("external_user_id", "device_id")


@dataclass(slots=True)
class Sample:
    """What was seen; samples add up. Sizes are in stored bytes, `reads` counts ranged reads.

    `reasons` counts the records that have no id, or one that Amplitude would refuse; `short_ids` the lengths
    (prefixes included) of those that are shorter than `min_id_length`; `test_events` are in neither.
    `denied` are the refusals of files that this job has no right to read, `faults` what else was wrong.
    """

    files: int = 0
    reads: int = 0
    records: int = 0
    test_events: int = 0
    header_bytes: int = 0
    block_bytes: int = 0
    codecs: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    short_ids: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    denied: list[AccessDeniedError] = field(default_factory=list)

    def add(self, other: Sample) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def judged(self) -> int:
        """Records whose ids were looked at."""
        return self.records - self.test_events

    @property
    def without_identity(self) -> int:
        """Records that belong to nobody."""
        return self.reasons[Reason.NO_IDENTITY]

    @property
    def refused(self) -> int:
        """Records with an id that Amplitude would refuse, or that says nobody."""
        return self.reasons.total() - self.without_identity

    def share(self, records: int) -> float | None:
        """*records* as a share of those that were judged; None where there were none."""
        return round(records / self.judged, 4) if self.judged else None

    def events(self, line: BacklogLine) -> int | None:
        """About how many records these files hold, at the density of the sample; None where it has none."""
        if not self.records:
            return None
        headers = line.files * self.header_bytes / self.files
        return max(line.files, round((line.bytes - headers) * self.records / self.block_bytes))


def total(samples: Iterable[Sample]) -> Sample:
    whole = Sample()
    for each in samples:
        whole.add(each)
    return whole


class Sampler:
    """Reads the beginnings of files of one store, as the mapping would judge their ids."""

    def __init__(self, store: Store, mapping: EventMapping) -> None:
        self._store = store
        self._mapping = mapping

    def read(self, ref: FileRef) -> Sample:
        """Look at the first records of a file: one ranged read, and a second where one block is very long.

        What can't be read is among the sample's `faults` or `denied`; `StoreError` is raised.
        """
        sample = Sample()
        try:
            self._read(ref, _BEGINNING, sample)
            if not sample.records and not sample.faults and _BEGINNING < ref.size <= _WHOLE:
                self._read(ref, ref.size, sample)
        except AccessDeniedError as error:
            sample.denied.append(error)
        except FileError as error:
            sample.faults.append(error.message)
        sample.files = 1 if sample.records else 0
        return sample

    def _read(self, ref: FileRef, length: int, sample: Sample) -> None:
        sample.reads += 1
        opened = self._store.open(ref.key, length=min(length, ref.size), etag=ref.etag, size=ref.size or None)
        with closing(opened) as stream:
            file = AvroFile(stream, name=ref.key)
            records = RecordReader(file.schema_json)
            plan, horizon = self._mapping.plan(ref.event_type), ref.hour.timestamp()
            for block in _whole_blocks(file, sample, is_all=length >= ref.size):
                if not sample.records:
                    sample.header_bytes, sample.codecs = block.offset, Counter({file.header.codec: 1})
                for record in _decoded(block, records, sample):
                    _judge(record, plan, horizon, sample)
                if sample.records >= _RECORDS:
                    return


def _whole_blocks(file: AvroFile, sample: Sample, *, is_all: bool) -> Iterator[Block]:
    for item in file.blocks():
        if isinstance(item, Damage):
            # Of a beginning, the last block is cut off by us.
            if is_all:
                sample.faults.append(item.detail)
            return
        yield item


def _decoded(block: Block, reader: RecordReader, sample: Sample) -> Iterator[Record]:
    try:
        decoded = reader.decode(block)
    except DamagedBlock as damage:
        sample.faults.append(str(damage))
        return
    sample.records += block.count
    sample.block_bytes += block.size
    yield from (record for record in decoded if not isinstance(record, Verdict))


def _judge(record: Record, plan: TypePlan, horizon: float, sample: Sample) -> None:
    """Count what becomes of a record's ids; *horizon* is its file's hour in epoch seconds."""
    if _is_test(record, plan, horizon):
        sample.test_events += 1
        return
    outcome = plan.identity.resolve(*(record.get(name) for name in (*_ID_FIELDS, "user_id")))
    if isinstance(outcome, Verdict):
        sample.reasons[outcome.reason] += 1
        if outcome.reason in (Reason.INVALID_USER_ID, Reason.INVALID_DEVICE_ID):
            _note_length(outcome.reason, record, plan, sample)


def _is_test(record: Record, plan: TypePlan, horizon: float) -> bool:
    if plan.placeholders is None:
        return False
    echoes = [
        name for name, value in record.items() if isinstance(value, str) and value.lower() == name.lower()
    ]
    return bool(plan.placeholders.found(record, echoes, horizon))


def _note_length(reason: Reason, record: Record, plan: TypePlan, sample: Sample) -> None:
    rules, of_user = plan.identity, reason is Reason.INVALID_USER_ID
    value = record.get("external_user_id" if of_user else "device_id")
    prefix = rules.user_prefix if of_user else rules.device_prefix
    if isinstance(value, str) and value.lower() not in rules.refused:
        length = len(prefix) + len(value)
        if length < rules.min_length:
            sample.short_ids[length] += 1
