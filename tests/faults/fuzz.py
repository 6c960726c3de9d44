"""Mutated Avro files, read under limits of memory and time: no crash, no hang, nothing silently dropped.

`python -m tests.faults.fuzz N SEED` (`make fuzz N=10000`) reads N files and prints what came of them.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from types import FrameType
from typing import Any, NoReturn

import fastavro

from braze_etl.braze.currents.container import AvroFile
from braze_etl.errors import UnreadableFileError
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, Event, FileRef, Verdict
from fixtures.generate import sample_record, schema_for
from tests.faults.hostile import KINDS
from tests.volume.measuring import peak_kb

EVENT_TYPES = ("users.messages.email.Open", "users.behaviors.Purchase", "users.behaviors.CustomEvent")
CODECS = ("null", "deflate", "snappy", "zstandard", "bzip2", "xz")
MEMORY = 1_500_000_000
"""Bytes of address space; a block may ask for 256 MB when inflated."""
PEAK_MB = 420
"""Of the whole process: 70 to begin with, a block of 256 once, and what reads it; twice would be 580."""
SECONDS_A_FILE = 20.0
_HOSTILE = 0.02
"""Share of the files that began as one that asks for more than there is."""
_SYNC = 16
_NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """A sound file, where its blocks begin and end, and what each becomes."""

    event_type: str
    data: bytes
    header: int
    blocks: tuple[slice, ...]
    outcomes: dict[bytes, list[Event | Verdict]]

    @property
    def sync(self) -> bytes:
        return self.data[self.header - _SYNC : self.header]


@dataclass
class Tally:
    """What came of the files."""

    files: int = 0
    unreadable: int = 0
    blocks: int = 0
    damages: int = 0
    untouched: int = 0
    records: int = 0
    slowest: float = 0.0

    def __str__(self) -> str:
        return (
            f"files={self.files} unreadable={self.unreadable} blocks={self.blocks} damages={self.damages} "
            f"untouched={self.untouched} records={self.records} slowest_s={self.slowest:.2f} "
            f"peak_mb={peak_kb(os.getpid()) // 1024}"
        )


def make_sample(codec: str, event_type: str, rng: Random, reader: EventReader) -> Sample:
    stream = io.BytesIO()
    records = [sample_record(event_type, rng.randrange(10**6)) for _ in range(40)]
    marker = rng.randbytes(_SYNC)
    fastavro.writer(
        stream, schema_for(event_type), records, codec=codec, sync_interval=900, sync_marker=marker
    )
    data = stream.getvalue()
    file = AvroFile(io.BytesIO(data), len(data))
    slices = tuple(slice(block.offset, _end(block)) for block in file.blocks())
    mapped = list(reader.read(_ref(event_type, data), io.BytesIO(data)))
    outcomes = {
        data[part]: list(block.outcomes)
        for part, block in zip(slices, mapped, strict=True)
        if not isinstance(block, Damage)
    }
    return Sample(event_type, data, file.header.length, slices, outcomes)


def _end(item: Any) -> int:
    return int(item.offset + (item.length if isinstance(item, Damage) else item.size))


def _ref(event_type: str, data: bytes) -> FileRef:
    return FileRef("fuzz.avro", "e", len(data), _NOON, event_type, _NOON)


# --- mutations: each takes and gives the bytes of a file -------------------------------------------------


def _range(data: bytes, rng: Random, most: int = 3000) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randint(1, most))


def flip_bits(data: bytes, rng: Random, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: Random, _other: bytes) -> bytes:
    return data[: rng.randrange(1, len(data))]


def remove_range(data: bytes, rng: Random, _other: bytes) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def duplicate_range(data: bytes, rng: Random, _other: bytes) -> bytes:
    start, end = _range(data, rng)
    return data[:end] + data[start:]


def splice(data: bytes, rng: Random, other: bytes) -> bytes:
    start, end = _range(other, rng)
    at = rng.randrange(len(data))
    return data[:at] + other[start:end] + data[at + rng.choice([0, end - start]) :]


def noise(data: bytes, rng: Random, _other: bytes) -> bytes:
    start, end = _range(data, rng, 200)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def huge_number(data: bytes, rng: Random, _other: bytes) -> bytes:
    at = rng.randrange(len(data))
    number = rng.choice(
        [b"\xfe\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80" * 12, b"\xfe\xff\xff\xff\x7f"]
    )
    return data[:at] + number + data[at + rng.choice([0, 1, 2, len(number)]) :]


def damage_header(data: bytes, rng: Random, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 4])):
        changed[rng.randrange(min(len(changed), 600))] = rng.randrange(256)
    return bytes(changed)


MUTATIONS: tuple[Callable[[bytes, Random, bytes], bytes], ...] = (
    flip_bits,
    truncate,
    remove_range,
    duplicate_range,
    splice,
    noise,
    huge_number,
    damage_header,
)


def untouched(sample: Sample, data: bytes) -> dict[int, bytes]:
    """Blocks of *sample* that stand in *data* as they were, the marker before them too, by their offset.

    Without the marker before it nobody can tell where a block begins. In a file whose header was touched
    nothing is promised of any.
    """
    if data[: sample.header] != sample.data[: sample.header]:
        return {}
    found: dict[int, bytes] = {}
    for part in sample.blocks:
        block = sample.data[part]
        at = data.find(sample.sync + block, sample.header - _SYNC)
        while at >= 0:
            found[at + _SYNC] = block
            at = data.find(sample.sync + block, at + 1)
    return found


def check(sample: Sample, data: bytes, reader: EventReader, tally: Tally) -> None:
    """Read *data* and assert what is promised of it."""
    tally.files += 1
    expected = untouched(sample, data)
    try:
        _every_byte_is_accounted_for(data)
        found = _events_of(sample, data, reader, tally)
    except UnreadableFileError:
        tally.unreadable += 1
        assert not expected, "a file with sound blocks counts as unreadable"
        return
    for offset, block in expected.items():
        assert found.get(offset) == sample.outcomes[block], f"the sound block at {offset} did not come out"
    tally.untouched += len(expected)


def _every_byte_is_accounted_for(data: bytes) -> None:
    file = AvroFile(io.BytesIO(data), len(data))
    at = file.header.length
    for item in file.blocks():
        assert item.offset == at, f"a gap before {item.offset}"
        at = _end(item)
        assert at > item.offset
    assert at == len(data), f"the last {len(data) - at} bytes are not accounted for"


def _events_of(
    sample: Sample, data: bytes, reader: EventReader, tally: Tally
) -> dict[int, list[Event | Verdict]]:
    found: dict[int, list[Event | Verdict]] = {}
    for block in reader.read(_ref(sample.event_type, data), io.BytesIO(data)):
        if isinstance(block, Damage):
            assert block.detail
            tally.damages += 1
            continue
        found[block.offset] = list(block.outcomes)
        assert len(found[block.offset]) == block.count, f"the block at {block.offset} lost records"
        tally.blocks += 1
        tally.records += block.count
    return found


def fuzz(files: int, seed: int) -> Tally:
    """Read that many mutated files; an `AssertionError` names the one that broke a promise."""
    rng = Random(seed)
    reader = EventReader(EventMapping.load(MappingSection()))
    samples = [make_sample(codec, kind, rng, reader) for codec in CODECS for kind in EVENT_TYPES]
    tally = Tally()
    for number in range(files):
        chance = Random(f"{seed}/{number}")
        sample, other = chance.choice(samples), chance.choice(samples)
        if chance.random() < _HOSTILE:
            sample = _hostile(chance)
        data = sample.data
        for mutation in chance.choices(MUTATIONS, k=chance.choice([1, 1, 1, 2, 3])):
            data = mutation(data, chance, other.data) or data
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SECONDS_A_FILE)
        try:
            check(sample, data, reader, tally)
        except Exception as error:
            raise AssertionError(f"file {seed}/{number}: {type(error).__name__}: {error}") from error
        tally.slowest = max(tally.slowest, time.monotonic() - began)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return tally


def _hostile(chance: Random) -> Sample:
    """A file of which nothing is promised but that reading it ends, in this memory."""
    data = KINDS[chance.choice(list(KINDS))]()
    return Sample(EVENT_TYPES[0], data, len(data), (), {})


def _too_slow(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise AssertionError(f"no file may take {SECONDS_A_FILE} s")


def main() -> int:
    """Read under limits; the figures on stdout, a traceback and exit 1 for a broken promise."""
    files, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_slow)
    tally = fuzz(files, seed)
    sys.stdout.write(f"{tally}\n")
    assert (
        peak_kb(os.getpid()) // 1024 < PEAK_MB
    )  # `ru_maxrss` begins with what the program that started it had
    return 0


if __name__ == "__main__":
    sys.exit(main())
